//! Server reflection: the descriptions of a method's messages, asked of the server itself.
//!
//! First the file that declares the service, then round by round the files that those import and
//! that did not come along. `grpc.reflection.v1`, or v1alpha where the server does not know that.

use super::super::dial::StepContext;
use super::super::failure::{Attempt, failure, quote};
use super::channel::{Channel, Event};
use super::code::{Code, Ending};
use super::framing;
use super::messages::{FileHead, FileSet, ReflectionRequest, ReflectionResponse};
use super::schema::{Descriptors, Method, split_path};
use crate::model::probe::FailureReason;
use bytes::BytesMut;
use prost::Message;
use prost_reflect::DescriptorPool;
use std::collections::BTreeMap;

/// No more files are read.
const MAX_FILES: usize = 500;
/// No more bytes of files are read.
const MAX_BYTES: usize = 16 << 20;

const VERSIONS: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// How to do without.
const HINT: &str = "give the probe a descriptor_set";

/// The files that have come, by their names.
#[derive(Debug, Default)]
struct Files {
    by_name: BTreeMap<String, (FileHead, Vec<u8>)>,
    bytes: usize,
}

/// Finds out what the messages of `path` look like.
///
/// # Errors
/// When the server offers no reflection, does not know the method, or its files make no sense.
pub(super) async fn method(
    channel: &mut Channel,
    path: &str,
    with: StepContext<'_>,
) -> Attempt<Method> {
    let service = split_path(path).map_or(path, |(service, _)| service);
    let first = ReflectionRequest {
        file_containing_symbol: Some(service.to_owned()),
        ..ReflectionRequest::default()
    };
    let mut files = Files::default();
    let version = first_round(channel, &first, &mut files, with).await?;
    loop {
        let missing = files.missing();
        if missing.is_empty() {
            break;
        }
        if files.by_name.len() + missing.len() > MAX_FILES {
            return Err(wrong(format!("it needs more than {MAX_FILES} files")));
        }
        let asks: Vec<ReflectionRequest> = missing
            .into_iter()
            .map(|name| ReflectionRequest { file_by_filename: Some(name), ..Default::default() })
            .collect();
        if let Some(ending) = ask(channel, version, &asks, &mut files, with).await? {
            return Err(wrong(format!("it ended with {ending}")));
        }
    }
    let set = FileSet { files: files.by_name.into_values().map(|(_, file)| file).collect() };
    // Megabytes take a while to read, in which no other probe of this thread would run.
    let parsing = tokio::task::spawn_blocking(move || Descriptors::parse(&set.encode_to_vec()));
    let parsed = with.deadline.run("reading what the server's reflection says", parsing).await?;
    let descriptors = parsed
        .map_err(|_| failure(FailureReason::Local, "the files could not be read"))?
        .map_err(|error| wrong(format!("its files are unusable: {}", quote(&error))))?;
    descriptors.method(path).map_err(|error| wrong(quote(&error)))
}

/// Asks for the service's own file in the versions that there are; hands back the one that the
/// server speaks.
async fn first_round(
    channel: &mut Channel,
    first: &ReflectionRequest,
    files: &mut Files,
    with: StepContext<'_>,
) -> Attempt<&'static str> {
    let asks = std::slice::from_ref(first);
    for version in VERSIONS {
        match ask(channel, version, asks, files, with).await? {
            None => return Ok(version),
            Some(ending) if ending.code == Code::UNIMPLEMENTED => {}
            Some(ending) => return Err(wrong(format!("it ended with {ending}; {HINT}"))),
        }
    }
    Err(wrong(format!("the server does not offer it; {HINT}")))
}

/// Asks questions in one call and reads as many answers. An ending before the last answer is handed
/// back.
async fn ask(
    channel: &mut Channel,
    version: &str,
    asks: &[ReflectionRequest],
    files: &mut Files,
    with: StepContext<'_>,
) -> Attempt<Option<Ending>> {
    let mut body = BytesMut::new();
    asks.iter().for_each(|ask| framing::append(&ask.encode_to_vec(), &mut body));
    let mut reply = channel.call(version, body.freeze(), with).await?;
    for ask in asks {
        let answer = match reply.next("asking the server's reflection", with).await? {
            Event::Message(_, message) => message,
            Event::End(_, ending) => return Ok(Some(ending)),
        };
        let answer = ReflectionResponse::decode(answer)
            .map_err(|error| wrong(format!("an answer makes no sense: {error}")))?;
        files.add(ask, answer)?;
    }
    Ok(None)
}

fn wrong(words: impl AsRef<str>) -> crate::model::probe::Failure {
    failure(FailureReason::Protocol, format!("the server's reflection: {}", words.as_ref()))
}

// === impl Files ===

impl Files {
    /// Keeps the files of an answer.
    fn add(&mut self, asked: &ReflectionRequest, answer: ReflectionResponse) -> Attempt<()> {
        let name = asked.file_by_filename.as_deref();
        let subject = name.or(asked.file_containing_symbol.as_deref()).unwrap_or_default();
        let known = name.and_then(well_known);
        let files = match (answer.files, answer.error, known) {
            (Some(answer), _, _) => answer.files,
            // Servers leave out what every client has.
            (None, _, Some(file)) => vec![file],
            (None, Some(error), None) => {
                let said = quote(&error.message);
                let code = u16::try_from(error.code).map_or(Code(2), Code);
                return Err(wrong(format!("`{}`: {code} ({said}); {HINT}", quote(subject))));
            }
            (None, None, None) => return Err(wrong("an answer has no files")),
        };
        for file in files {
            self.bytes += file.len();
            if self.bytes > MAX_BYTES {
                return Err(wrong(format!("its files have more than {MAX_BYTES} bytes")));
            }
            let head = FileHead::decode(file.as_slice())
                .map_err(|error| wrong(format!("a file makes no sense: {error}")))?;
            self.by_name.insert(head.name.clone(), (head, file));
            if self.by_name.len() > MAX_FILES {
                return Err(wrong(format!("it needs more than {MAX_FILES} files")));
            }
        }
        // A server that answers with another file would be asked for ever.
        if name.is_some_and(|name| !self.by_name.contains_key(name)) {
            return Err(wrong(format!("`{}` did not come when it was asked for", quote(subject))));
        }
        Ok(())
    }

    /// Imports that have not come.
    fn missing(&self) -> Vec<String> {
        let imports = self.by_name.values().flat_map(|(head, _)| &head.imports);
        let missing = imports.filter(|import| !self.by_name.contains_key(*import));
        let missing: std::collections::BTreeSet<&String> = missing.collect();
        missing.into_iter().cloned().collect()
    }
}

/// The files that come with protobuf itself, such as `google/protobuf/timestamp.proto`.
fn well_known(name: &str) -> Option<Vec<u8>> {
    DescriptorPool::global().get_file_by_name(name).map(|file| file.encode_to_vec())
}
