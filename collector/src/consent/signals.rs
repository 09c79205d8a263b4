//! Stub.

/// What a request's headers say; read once a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderSignals {}

/// What an event's payload says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadSignals {}
