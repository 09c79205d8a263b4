//! Stub.

use std::num::NonZeroU64;

/// A visitor for one day on one site: the first 64 bits of a keyed hash, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pseudonym(pub(crate) NonZeroU64);
