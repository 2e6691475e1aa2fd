//! Descriptor sets, which are no text and so have no golden cases.

use super::super::{Inputs, Loaded, Location, Sources, load};
use crate::probe::grpc::Call;
use crate::probe::spec::Action;
use prost::Message;
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use std::fs;

/// `chat.Chat` with `Send`, which takes a `chat.Line` and answers with one.
fn set() -> Vec<u8> {
    let text = FieldDescriptorProto {
        name: Some("text".to_owned()),
        number: Some(1),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        ..FieldDescriptorProto::default()
    };
    let line = DescriptorProto {
        name: Some("Line".to_owned()),
        field: vec![text],
        ..DescriptorProto::default()
    };
    let send = MethodDescriptorProto {
        name: Some("Send".to_owned()),
        input_type: Some(".chat.Line".to_owned()),
        output_type: Some(".chat.Line".to_owned()),
        ..MethodDescriptorProto::default()
    };
    let chat = ServiceDescriptorProto {
        name: Some("Chat".to_owned()),
        method: vec![send],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("chat.proto".to_owned()),
        package: Some("chat".to_owned()),
        message_type: vec![line],
        service: vec![chat],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// Loads a probe whose `grpc:` block has these lines, beside a good set and a broken one.
fn load_block(lines: &str) -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("chat.binpb"), set()).expect("a file");
    fs::write(folder.path().join("broken.binpb"), [0xff; 9]).expect("a file");
    let indented = lines.replace('\n', "\n      ");
    let text = format!(
        "probes:\n  - name: p\n    every: 10s\n    grpc:\n      url: http://127.0.0.1:1\n      {indented}\n"
    );
    fs::write(folder.path().join("p.yaml"), text).expect("a file");
    load(&Inputs {
        sources: Sources::Disk {
            config: Location::implicit(folder.path().join("radiosonde.yaml")),
            probes: Location::explicit(folder.path()),
            alerts: Location::implicit(folder.path().join("alerts")),
        },
        env: &|_| None,
        attribute_is_kept: &|_| true,
        insecure: false,
    })
}

/// Guarantees that a descriptor set is read, watched for changes, and holds a definition to its
/// types before anything runs.
#[test]
fn a_definition_is_held_to_its_descriptors() {
    let check = |lines: &str, expected: &[&str]| {
        let found: Vec<String> =
            load_block(lines).problems.iter().map(|problem| problem.message.clone()).collect();
        assert_eq!(found, expected, "{lines}");
    };
    let send = "method: chat.Chat/Send\ndescriptor_set: chat.binpb\n";
    check(&format!("{send}message: {{ text: hi }}"), &[]);
    check(&format!("{send}message: {{ text: \"${{run.id}}\" }}"), &[]);
    check(send.trim_end(), &[]);
    check(
        &format!("{send}message: {{ txt: hi }}"),
        &["the message is not a chat.Line: unrecognized field name 'txt'"],
    );
    check(
        &format!("{send}message: [ {{}}, {{}} ]"),
        &["`chat.Chat/Send` takes one message, not 2"],
    );
    check(
        &format!("{send}messages: 2"),
        &["`chat.Chat/Send` answers with one message, and `messages` asks for more"],
    );
    check(
        "method: chat.Chat/Sent\ndescriptor_set: chat.binpb",
        &["`chat.Chat` has no method `Sent`; there are: Send"],
    );
    check(
        "method: chat.Chut/Send\ndescriptor_set: chat.binpb",
        &["there is no service `chat.Chut`; there are: chat.Chat"],
    );
    let loaded = load_block(&format!("{send}message: {{ text: hi }}"));
    let settings = loaded.settings.expect("no mistakes");
    assert!(settings.files.iter().any(|file| file.ends_with("chat.binpb")));
    let Action::Grpc(step) = &settings.probes[0].steps[0].action else { unreachable!("gRPC") };
    assert!(matches!(&step.call, Call::Method { descriptors: Some(_), .. }));
}

/// Guarantees that what is no descriptor set is said to be none.
#[test]
fn a_broken_set_is_refused() {
    let loaded = load_block("method: chat.Chat/Send\ndescriptor_set: broken.binpb");
    let [problem] = loaded.problems.as_slice() else { unreachable!("{:?}", loaded.problems) };
    assert!(problem.message.starts_with("broken.binpb is no usable descriptor set: "));
    assert!(problem.hint.as_ref().is_some_and(|hint| hint.contains("protoc")));
    let loaded = load_block("method: chat.Chat/Send\ndescriptor_set: p.yaml");
    assert_eq!(loaded.problems.len(), 1);
}
