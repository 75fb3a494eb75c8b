//! Registries and AWS APIs that behave like the real ones, in process, for tests and for `make demo`.
//!
//! Nothing here knows the code under test: the two sides share no line, so that a mistake is not made on both.
#![allow(clippy::expect_used, reason = "test support: what cannot happen here must stop the test at once")]

pub mod apart;
pub mod aws;
pub mod digest;
pub mod entra;
pub mod fault;
pub mod google;
pub mod image;
pub mod journal;
pub mod ledger;
pub mod pki;
mod random;
pub mod registry;
pub mod relay;
mod service;
pub mod stage;
pub mod store;
pub mod token;
pub mod tripwire;

pub use apart::Apart;
pub use entra::Entra;
pub use fault::{Action, Fault, Faults};
pub use google::Google;
pub use image::{Descriptor, Image, ImageBuilder, Index, IndexBuilder, Layer};
pub use journal::{Authorization, Entry, Journal, Kind, Origin};
pub use pki::{Authority, Certificate};
pub use registry::{Builder, Personality, Registry};
pub use relay::Relay;
pub use service::ServiceCall;
pub use store::{Access, ImageStatus, Store, StoredManifest};
pub use tripwire::{Moment, Tripwire};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, and goes on after a panic elsewhere: the panicking test has failed already, the others need not.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
