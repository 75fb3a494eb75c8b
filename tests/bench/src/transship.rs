//! Transship's own binary under a Runtime API, as Lambda runs it: started, given one event, ended.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use scenarios::{
    Outcome, RuntimeApi, Settings,
    function::lambda_environment,
    world::{SOURCE, push_event},
};
use serde_json::{Value, json};

use crate::{
    cases::{Case, MIRROR},
    error::Error,
    process::{Running, Taken},
    wire::Ends,
};

/// What the function still does when it has answered: it writes its last lines and asks for the next event.
const AFTERWARDS: Duration = Duration::from_millis(50);

/// What it is to do, and with what.
pub(crate) struct Work<'a> {
    /// The binary `on-push`.
    pub(crate) program: &'a Path,
    /// A folder to run in.
    pub(crate) folder: &'a Path,
    /// Where its output goes.
    pub(crate) output: Stdio,
    /// The registries.
    pub(crate) ends: &'a Ends,
    /// Who signed their certificates.
    pub(crate) ca: &'a str,
    /// What is copied.
    pub(crate) case: Case,
    /// The digest of that.
    pub(crate) digest: &'a str,
    /// Megabytes that the function may have.
    pub(crate) memory_mb: u32,
}

/// What a run took: `seconds` end with the answer, not with the process, and then from the hand-over of the event.
pub(crate) async fn run(work: Work<'_>, limit: Duration) -> Result<(Taken, f64), Error> {
    let api = RuntimeApi::start().await;
    let (repository, tag) = work.case.image();
    let failed = |reason: String| Error::Transship { case: work.case.name(), reason };
    let Settings { region, account, .. } = Settings::default();
    let mut command = Command::new(work.program);
    command.env_clear().envs(lambda_environment("on-push", work.memory_mb, &region, &account));
    command.env("AWS_LAMBDA_RUNTIME_API", api.address()).env("LAMBDA_TASK_ROOT", work.folder);
    command.env("TRANSSHIP_CONFIG", config(work.ends, work.ca).to_string());
    command.current_dir(work.folder).stdin(Stdio::null()).stdout(work.output).stderr(Stdio::null());

    let event = push_event(repository, tag, work.digest);
    let mut running = Running::start(&mut command)?;
    let outcome = tokio::select! {
        biased;
        outcome = api.invoke(&event, limit) => outcome,
        ended = running.ended() => return Err(failed(format!("it ended: {:?}", ended?.status))),
    };
    let seconds = running.begun.elapsed().as_secs_f64();
    let before = api.first_poll().map(|at| (at - running.begun).as_secs_f64());
    tokio::time::sleep(AFTERWARDS).await;
    running.kill();
    let taken = Taken { seconds, ..running.ended().await? };
    match &outcome {
        Outcome::Ok(answer) if is_done(answer) => Ok((taken, seconds - before.unwrap_or_default())),
        _ => Err(failed(format!("{outcome:?}"))),
    }
}

/// Whether one image was copied, or was there.
fn is_done(answer: &Value) -> bool {
    let outcomes = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    matches!(outcomes, [one] if one["outcome"] == "synced" || one["outcome"] == "current")
}

/// As in production, but for `endpoint` and `ca_certificate`, which lead to this machine, and for `provider`: what ECR's
/// API adds is no part of what other tools do.
fn config(ends: &Ends, ca: &str) -> Value {
    let entry = |at: &str| json!({ "endpoint": format!("https://{at}"), "ca_certificate": ca, "provider": "generic" });
    json!({
        "rules": [{ "destinations": [format!("{}/{MIRROR}/{{repository}}:{{tag}}", ends.destination)] }],
        "registries": { SOURCE: entry(&ends.source), ends.destination.as_str(): entry(&ends.destination) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_was_not_copied_is_no_result() {
        let answer = |outcome: &str| json!({ "results": [{ "outcome": outcome }] });
        assert!(is_done(&answer("synced")) && is_done(&answer("current")));
        assert!(!is_done(&answer("ignored")) && !is_done(&answer("failed")) && !is_done(&json!({ "results": [] })));
    }
}
