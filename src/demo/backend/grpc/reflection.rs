//! What the messages of `demo.Chat` look like, for clients that ask.

use crate::probe::grpc::messages::{
    ReflectedFiles, ReflectionError, ReflectionRequest, ReflectionResponse,
};
use prost::Message;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use tonic::Code;

/// The one service that is described.
pub(super) const CHAT: &str = "demo.Chat";
const FILE: &str = "demo/chat.proto";

/// The answer to one question.
pub(super) fn answer(ask: &ReflectionRequest) -> ReflectionResponse {
    let is_known = ask.file_by_filename.as_deref() == Some(FILE)
        || ask.file_containing_symbol.as_deref() == Some(CHAT);
    if is_known {
        let files = ReflectedFiles { files: vec![file().encode_to_vec()] };
        return ReflectionResponse { files: Some(files), error: None };
    }
    let message = "no such file or service".to_owned();
    let error = ReflectionError { code: Code::NotFound.into(), message };
    ReflectionResponse { files: None, error: Some(error) }
}

/// The file of the service, as protobuf describes itself.
fn file() -> FileDescriptorProto {
    let text = |name: &str, number| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        ..FieldDescriptorProto::default()
    };
    let line = DescriptorProto {
        name: Some("Line".to_owned()),
        field: vec![text("id", 1), text("text", 2)],
        ..DescriptorProto::default()
    };
    let method = |name: &str, answers_many| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".demo.Line".to_owned()),
        output_type: Some(".demo.Line".to_owned()),
        server_streaming: Some(answers_many),
        ..MethodDescriptorProto::default()
    };
    let chat = ServiceDescriptorProto {
        name: Some("Chat".to_owned()),
        method: vec![method("Echo", false), method("Follow", true)],
        ..ServiceDescriptorProto::default()
    };
    FileDescriptorProto {
        name: Some(FILE.to_owned()),
        package: Some("demo".to_owned()),
        message_type: vec![line],
        service: vec![chat],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}
