//! `fanout`: replicates the images that a queue's messages name.

mod admission;
mod handler;
mod message;
mod record;

use std::process::ExitCode;

fn main() -> ExitCode {
    bootstrap::start(handler::handle)
}
