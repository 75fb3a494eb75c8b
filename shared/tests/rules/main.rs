//! Rules, from the outside: as the configuration writes them, and as `explain` prints what they say.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod explain;
mod holds;
mod model;
