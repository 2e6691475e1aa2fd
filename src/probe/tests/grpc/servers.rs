//! gRPC servers on loopback that speak frames by hand, so that they can do everything wrong.

use super::super::super::grpc::messages::{
    ReflectedFiles, ReflectionError, ReflectionRequest, ReflectionResponse,
};
use super::super::servers::{Server, raw, write};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use prost::Message;
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// `test.Item`, as a server reads it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Item {
    #[prost(string, tag = "1")]
    pub(super) text: String,
    #[prost(int64, tag = "2")]
    pub(super) number: i64,
    #[prost(bool, tag = "3")]
    pub(super) done: bool,
}

/// A part of an answer.
#[derive(Clone)]
pub(super) enum Part {
    Data(Vec<u8>),
    Trailers(&'static str, &'static str),
    /// Trailers without a status.
    NoStatus,
    Pause(Duration),
    /// Nothing more comes.
    Mute,
}

/// A message with its head.
pub(super) fn frame(message: &impl Message) -> Part {
    framed(0, &message.encode_to_vec())
}

pub(super) fn framed(flags: u8, message: &[u8]) -> Part {
    let mut data = vec![flags];
    data.extend(u32::try_from(message.len()).expect("short").to_be_bytes());
    data.extend(message);
    Part::Data(data)
}

pub(super) fn item(text: &str, number: i64) -> Item {
    Item { text: text.to_owned(), number, done: false }
}

pub(super) const OK: Part = Part::Trailers("0", "");

/// An answer of these parts.
pub(super) fn answer(parts: Vec<Part>) -> Response {
    let frames = futures::stream::iter(parts).filter_map(|part| async {
        let trailers = |pairs: &[(&'static str, &'static str)]| {
            let mut trailers = HeaderMap::new();
            for (name, value) in pairs {
                trailers.insert(*name, value.parse().expect("a value"));
            }
            Some(Ok::<_, Infallible>(Frame::trailers(trailers)))
        };
        match part {
            Part::Data(data) => Some(Ok(Frame::data(Bytes::from(data)))),
            Part::Trailers(status, "") => trailers(&[("grpc-status", status)]),
            Part::Trailers(status, words) => {
                trailers(&[("grpc-status", status), ("grpc-message", words)])
            }
            Part::NoStatus => trailers(&[("x-other", "1")]),
            Part::Pause(pause) => {
                tokio::time::sleep(pause).await;
                None
            }
            Part::Mute => std::future::pending().await,
        }
    });
    let response = Response::builder().header("content-type", "application/grpc+proto");
    response.body(Body::new(StreamBody::new(frames))).expect("a response")
}

/// An answer that is nothing but its status.
pub(super) fn trailers_only(status: &str, words: &str) -> Response {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", status)
        .header("grpc-message", words);
    response.body(Body::empty()).expect("a response")
}

/// All messages of a request.
pub(super) async fn messages<M: Message + Default>(request: Request) -> Vec<M> {
    let mut body = request.into_body().collect().await.expect("a body").to_bytes();
    let mut messages = Vec::new();
    while !body.is_empty() {
        let head = body.split_to(5);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        messages.push(M::decode(body.split_to(length)).expect("a message"));
    }
    messages
}

/// `test/item.proto`, and `test/chat.proto` that imports it and a file of protobuf itself.
pub(super) fn files() -> [FileDescriptorProto; 2] {
    let field = |name: &str, number: i32, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    };
    let since = FieldDescriptorProto {
        type_name: Some(".google.protobuf.Timestamp".to_owned()),
        ..field("since", 4, Type::Message)
    };
    let fields = vec![
        field("text", 1, Type::String),
        field("number", 2, Type::Int64),
        field("done", 3, Type::Bool),
        since,
    ];
    let message = DescriptorProto {
        name: Some("Item".to_owned()),
        field: fields,
        ..DescriptorProto::default()
    };
    let item = FileDescriptorProto {
        name: Some("test/item.proto".to_owned()),
        package: Some("test".to_owned()),
        dependency: vec!["google/protobuf/timestamp.proto".to_owned()],
        message_type: vec![message],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    let method = |name: &str, takes_many: bool, answers_many: bool| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".test.Item".to_owned()),
        output_type: Some(".test.Item".to_owned()),
        client_streaming: Some(takes_many),
        server_streaming: Some(answers_many),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Chat".to_owned()),
        method: vec![
            method("Echo", false, false),
            method("Watch", false, true),
            method("Gather", true, false),
            method("Talk", true, true),
        ],
        ..ServiceDescriptorProto::default()
    };
    let chat = FileDescriptorProto {
        name: Some("test/chat.proto".to_owned()),
        package: Some("test".to_owned()),
        dependency: vec!["test/item.proto".to_owned()],
        service: vec![service],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    [item, chat]
}

/// Both files and what they import, as `protoc` writes them.
pub(super) fn descriptor_set() -> Vec<u8> {
    let timestamp = prost_reflect::DescriptorPool::global()
        .get_file_by_name("google/protobuf/timestamp.proto")
        .expect("well known");
    let file = std::iter::once(timestamp.file_descriptor_proto().clone()).chain(files()).collect();
    FileDescriptorSet { file }.encode_to_vec()
}

/// Answers reflection from these files, one at a time: imports have to be asked for.
pub(super) async fn reflect(request: Request, files: BTreeMap<String, Vec<u8>>) -> Response {
    let mut parts = Vec::new();
    for ask in messages::<ReflectionRequest>(request).await {
        let symbol = ask.file_containing_symbol.as_deref();
        let by_symbol = symbol.filter(|symbol| *symbol == "test.Chat").map(|_| "test/chat.proto");
        let name = ask.file_by_filename.as_deref().or(by_symbol);
        let file = name.and_then(|name| files.get(name));
        let missing = ReflectionError { code: 5, message: "no such file".to_owned() };
        parts.push(frame(&ReflectionResponse {
            files: file.map(|file| ReflectedFiles { files: vec![file.clone()] }),
            error: file.is_none().then_some(missing),
        }));
    }
    parts.push(OK);
    answer(parts)
}

/// A server that greets in HTTP/2, waits for a request and then sends these bytes.
pub(super) async fn scripted(bytes: Vec<u8>, then_close: bool) -> Server {
    raw(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            write(&mut stream, h2_frame(4, 0, 0, &[])).await;
            // Preface, settings and the head of the request, in one read or several.
            let mut seen = Vec::new();
            while !seen.windows(9).any(|w| w[3] == 1 && w[5..9] == [0, 0, 0, 1]) {
                if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            write(&mut stream, bytes).await;
            if !then_close {
                super::super::servers::linger(stream).await;
            }
        }
    })
    .await
}

/// A frame of HTTP/2.
pub(super) fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// As much of the OTLP trace service as its tests need.
pub(super) fn collector_set() -> Vec<u8> {
    const PACKAGE: &str = "opentelemetry.proto.collector.trace.v1";
    let field = |name: &str, number, kind: Type, type_name: &str| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: (!type_name.is_empty()).then(|| format!(".{PACKAGE}.{type_name}")),
        ..FieldDescriptorProto::default()
    };
    let repeated = FieldDescriptorProto {
        label: Some(Label::Repeated.into()),
        ..field("resource_spans", 1, Type::Message, "Spans")
    };
    let message = |name: &str, field: Vec<FieldDescriptorProto>| DescriptorProto {
        name: Some(name.to_owned()),
        field,
        ..DescriptorProto::default()
    };
    let export = MethodDescriptorProto {
        name: Some("Export".to_owned()),
        input_type: Some(format!(".{PACKAGE}.Request")),
        output_type: Some(format!(".{PACKAGE}.Response")),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("TraceService".to_owned()),
        method: vec![export],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("trace_service.proto".to_owned()),
        package: Some(PACKAGE.to_owned()),
        message_type: vec![
            message("Spans", Vec::new()),
            message("Request", vec![repeated]),
            message("Partial", vec![field("rejected_spans", 1, Type::Int64, "")]),
            message("Response", vec![field("partial_success", 1, Type::Message, "Partial")]),
        ],
        service: vec![service],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}
