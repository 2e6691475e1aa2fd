//! Messages that prost writes and reads, for tonic, which leaves that to whoever uses it.

use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Writes `T` and reads `U`.
pub(super) struct Prost<T, U>(PhantomData<(T, U)>);

// === impl Prost ===

impl<T, U> Prost<T, U> {
    /// It has no state.
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Prost<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Prost<T, U>;
    type Decoder = Prost<T, U>;

    fn encoder(&mut self) -> Self::Encoder {
        Prost::new()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Prost::new()
    }
}

impl<T: Message, U> Encoder for Prost<T, U> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(to).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl<T, U: Message + Default> Decoder for Prost<T, U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(from).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}
