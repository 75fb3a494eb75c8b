//! Bad input and registries that must not be trusted: a clear error each, and a destination that is as it was.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod artifacts;
mod blobs;
mod certificates;
mod configuration;
mod digests;
mod events;
mod ground;
mod indexes;
mod manifests;
mod messages;
mod missing;
mod puts;
mod redirects;
mod rights;
mod secrets;
mod token_realms;
mod upload_locations;
