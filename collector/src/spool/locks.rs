//! The locks of the handover, by one name: its tests put others in their place.

pub(super) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
