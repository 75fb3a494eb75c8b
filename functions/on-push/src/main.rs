//! `on-push`: replicates the image that was just pushed to Amazon ECR, as EventBridge tells.

mod handler;

use std::process::ExitCode;

fn main() -> ExitCode {
    bootstrap::start(handler::handle)
}
