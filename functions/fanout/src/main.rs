//! `fanout`: replicates the images that a queue's messages name, and finds those that are missing.

mod admission;
mod backfill;
mod handler;
mod message;
mod record;

use std::process::ExitCode;

fn main() -> ExitCode {
    bootstrap::start(handler::handle)
}
