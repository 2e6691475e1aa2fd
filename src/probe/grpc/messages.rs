//! The messages of two services that every gRPC server may offer: health checking and reflection.
//!
//! Written out by hand, with the fields that are used here; unknown ones are passed over. An oneof
//! is a row of optional fields, which is the same on the wire.

use prost::Message;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct HealthCheckRequest {
    /// Whose health; empty for the server as a whole.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct HealthCheckResponse {
    /// See [`ServingStatus`].
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub status: i32,
}

/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ServingStatus {
    /// Not said.
    Unknown = 0,
    /// Healthy.
    Serving = 1,
    /// Not healthy.
    NotServing = 2,
    /// Only of `Watch`: there is no such service.
    ServiceUnknown = 3,
}

/// `grpc.reflection.v1.ServerReflectionRequest`, which v1alpha has as well. One field is set.
#[derive(Clone, PartialEq, Message)]
pub struct ReflectionRequest {
    /// Asks for the file of that name.
    #[prost(string, optional, tag = "3")]
    pub file_by_filename: Option<String>,
    /// Asks for the file that declares that service, message or enumeration.
    #[prost(string, optional, tag = "4")]
    pub file_containing_symbol: Option<String>,
}

/// `grpc.reflection.v1.ServerReflectionResponse`, which v1alpha has as well.
#[derive(Clone, PartialEq, Message)]
pub struct ReflectionResponse {
    /// Files, often with those that they import.
    #[prost(message, optional, tag = "4")]
    pub files: Option<ReflectedFiles>,
    /// Why there is no answer.
    #[prost(message, optional, tag = "7")]
    pub error: Option<ReflectionError>,
}

/// `grpc.reflection.v1.FileDescriptorResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct ReflectedFiles {
    /// Each a `google.protobuf.FileDescriptorProto`.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub files: Vec<Vec<u8>>,
}

/// `grpc.reflection.v1.ErrorResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct ReflectionError {
    /// A status code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// In words.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// Of `google.protobuf.FileDescriptorProto` what tells which other files it needs.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileHead {
    /// The path by which others import it.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The paths that it imports.
    #[prost(string, repeated, tag = "3")]
    pub imports: Vec<String>,
}

/// `google.protobuf.FileDescriptorSet`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileSet {
    /// Each a `google.protobuf.FileDescriptorProto`.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub files: Vec<Vec<u8>>,
}

impl ServingStatus {
    /// The name in the JSON mapping.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}
