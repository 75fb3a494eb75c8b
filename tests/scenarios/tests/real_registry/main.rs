//! Against registries that nobody here wrote: Debian's `docker-registry` at both ends, images written and read back by
//! Debian's `skopeo`.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod copies;
mod ground;
mod kinds;
mod referrers;
mod refusals;
mod same_registry;
