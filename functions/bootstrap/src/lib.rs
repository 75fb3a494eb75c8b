//! How both functions start: logs, settings, the Lambda runtime; once for each cold start.

use std::{
    fmt,
    future::Future,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::{Value, json};
use transfer::{
    compose::App,
    deadline::Deadline,
    error::{Error, ErrorType},
    oci::{Digest, Reference},
    provider::Provider,
    queue::{ImageMessage, Queue, Traced},
    registry::{Run, Side},
    request::{RemovalRequest, SyncRequest},
    rules::{Pushed, RemovalVerdict, Verdict, is_same_place},
    settings::{Environment, variable},
    sync::{Begun, RemovalReport, SyncReport},
    telemetry::{self, Work},
    trace::TraceHeader,
};

/// MiB of memory for which Lambda gives one virtual CPU (AWS Lambda developer guide, "Configure Lambda function memory").
const MIB_PER_CPU: u64 = 1769;

/// The longest that cancelling uploads may take behind the deadline, twice. Chosen: a DELETE takes one round trip.
const LONGEST_ENDING: Duration = Duration::from_secs(4);

/// The longest that Lambda lets an invocation run (AWS Lambda developer guide, "Lambda quotas").
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// One invocation, as a handler sees it.
pub struct Invocation {
    /// The event.
    pub payload: Value,
    /// Lambda's id for it, and the trace that its work belongs to; all its log lines carry them, and the messages that
    /// it sends the trace.
    pub work: Work,
    /// When its work must have ended, time to report left over.
    pub deadline: Deadline,
    /// When its report must have ended, with a moment left for the answer.
    pub ends: Deadline,
}

impl Invocation {
    /// The queue that messages of this work go to, where there is one.
    #[must_use]
    pub fn queue<'a>(&'a self, app: &'a App) -> Option<Traced<'a>> {
        Some(app.queue.as_ref()?.of_trace(self.work.trace.as_ref()))
    }

    /// Syncs the first of `place`, whose others are further tags of its image, and reports it; `None` where there is none.
    /// Where there is a queue and the time runs out, the rest of the work goes there with the further tags, and the outcome
    /// is `continued`; that the message could not be sent leaves the failure that the time ran out.
    pub async fn sync(&self, app: &App, place: &[SyncRequest], begun: &Begun) -> Option<SyncReport> {
        let request = place.first()?;
        let deadline = match &app.queue {
            Some(_) => self.deadline.handing_over((self.deadline.left() / 10).min(HAND_OVER)),
            None => self.deadline,
        };
        let mut report = app.syncer.go_on(request, begun, deadline).await;
        if let (Some(queue), Some(left)) = (self.queue(app), report.left.take()) {
            match self.ends.bound(hand_over(&queue, place, left)).await {
                Ok(Ok(())) => report.continued(),
                Ok(Err(error)) => tracing::error!(error = %error, "the rest of the work could not be handed over"),
                Err(passed) => tracing::error!(error = %passed, "the rest of the work could not be handed over"),
            }
        }
        telemetry::report(&app.environment.function_name, &self.work, request, &report);
        // Elsewhere than at ECR a 404 may be the answer to anything, and nobody tells of deletions.
        let tells = app.config.registry(request.source.registry()).provider == Provider::Ecr;
        if let Some(copied) = report.source_is_gone.take().filter(|_| tells) {
            let back = Box::pin(self.deleted_meanwhile(app, request, copied)).await;
            return Some(back.unwrap_or(report));
        }
        match report.awaits.take() {
            Some(subject) => Some(Box::pin(self.image_first(app, request, &subject)).await.unwrap_or(report)),
            None => Some(report),
        }
    }

    /// Syncs the image that something was attached to, with all that is attached: by each of its tags that a rule sends to
    /// the same place, or by its digest if it has none and a rule takes that. The last report, or that of a failure; `None`: it doesn't go
    /// there.
    async fn image_first(&self, app: &App, request: &SyncRequest, subject: &Digest) -> Option<SyncReport> {
        let (source, place) = (&request.source, &request.destination);
        // Its tags, if what was pushed is no artifact, have events of their own.
        let tags = match source.digest() == Some(subject) {
            true => Vec::new(),
            false => match self.tags_of(app, source, subject).await {
                Ok(tags) => tags,
                Err(error) => return Some(SyncReport::failed(request, error)),
            },
        };
        let (mut last, mut refused): (Option<SyncReport>, Option<Error>) = (None, None);
        let untagged = tags.is_empty().then_some(None);
        for tag in tags.into_iter().map(Some).chain(untagged) {
            let pushed = Pushed {
                registry: source.registry().to_owned(),
                repository: source.repository().to_owned(),
                tag,
                digest: Some(subject.clone()),
                at: request.pushed_at,
            };
            // What can't go elsewhere was told by its own push.
            let images = match app.config.rules.routes(&pushed).map(|routes| routes.verdict) {
                Ok(Verdict::Sync(images)) => images,
                Ok(Verdict::Ignore(_)) => continue,
                Err(error) => {
                    refused.get_or_insert(error);
                    continue;
                }
            };
            let there = |image: &SyncRequest| {
                let destination = &image.destination;
                (destination.registry(), destination.repository()) == (place.registry(), place.repository())
            };
            for image in images.into_iter().filter(there) {
                // Cosign's tags are looked for, whatever event told of what was attached.
                let image = SyncRequest { heard: true, repeated: request.repeated, tried: true, ..image };
                let report = self.sync(app, &[image], &Begun::default()).await;
                let failed = last.as_ref().is_some_and(|last| last.error.is_some());
                last = if failed { last } else { report.or(last) };
            }
        }
        last.or_else(|| Some(SyncReport::failed(request, refused?)))
    }

    /// The tags that an image has at the source.
    async fn tags_of(&self, app: &App, source: &Reference, image: &Digest) -> Result<Vec<String>, Error> {
        let run = Run { meter: Arc::default(), deadline: self.deadline };
        let listing = app.listings.listing(source.registry(), Side::Source, run)?;
        self.deadline.bound(listing.tags_of(source.repository(), image)).await.map_err(|passed| {
            let text = format!("asking for the tags of {image} at {source}: {passed}");
            Error::new(ErrorType::DeadlineExceeded, text)
        })?
    }

    /// Removes what was put of a tag that was deleted at the source meanwhile, where the rules follow deletions: the event of
    /// that may have found nothing here. It is reported as a removal; another try of the sync would find no tag to copy, so
    /// that a failure is none of it. What is answered is the sync of a tag that came back.
    async fn deleted_meanwhile(&self, app: &App, request: &SyncRequest, copied: Digest) -> Option<SyncReport> {
        let source = &request.source;
        let deleted = Pushed {
            registry: source.registry().to_owned(),
            repository: source.repository().to_owned(),
            tag: source.tag().map(str::to_owned),
            digest: Some(copied),
            at: None,
        };
        let removals = match app.config.rules.removals(&deleted) {
            Ok(RemovalVerdict::Remove(removals)) => removals,
            Ok(RemovalVerdict::Ignore(reason)) => {
                tracing::info!(%source, reason, "the tag was deleted at the source while it was copied, and stays");
                return None;
            }
            Err(error) => {
                tracing::error!(%source, %error, "what follows the deletion of the tag can't be told");
                return None;
            }
        };
        let removal = removals.iter().find(|of| is_same_place(&of.destination, &request.destination))?;
        match self.remove(app, removal, &deleted).await {
            Ok((_, back)) => back.map(|(_, report)| report),
            Err(error) => {
                tracing::error!(%source, %error, "the tag can't be synced again");
                None
            }
        }
    }

    /// Removes a tag as `deleted` was at the source, and reports it. Where the source turns out to have the tag after all
    /// and the destination hasn't, it is synced as if pushed; that request and its report are answered too.
    ///
    /// # Errors
    /// What the rules say of their own mistakes.
    pub async fn remove(
        &self,
        app: &App,
        request: &RemovalRequest,
        deleted: &Pushed,
    ) -> Result<(RemovalReport, Option<(SyncRequest, SyncReport)>), Error> {
        let report = app.remover.run(request, self.deadline).await;
        telemetry::removal(&app.environment.function_name, &self.work, request, &report);
        if !report.source_is_back {
            return Ok((report, None));
        }
        let pushed = Pushed { digest: None, at: None, ..deleted.clone() };
        let Verdict::Sync(requests) = app.config.rules.routes(&pushed)?.verdict else { return Ok((report, None)) };
        let back = requests.into_iter().find(|sync| is_same_place(&sync.destination, &request.destination));
        let Some(back) = back else { return Ok((report, None)) };
        // Its push was another event, whose time nobody knows here.
        let back = SyncRequest { repeated: true, asked_at: deleted.at, ..back };
        let synced = self.sync(app, std::slice::from_ref(&back), &Begun::default()).await;
        let synced = synced.map(|synced| (back, synced));
        Ok((report, synced))
    }
}

/// Before the end of an invocation's time, its running chunks are the last; a tenth of a short time. Chosen: a chunk of
/// 16 MiB at half a megabyte a second.
const HAND_OVER: Duration = Duration::from_secs(30);

async fn hand_over(queue: &dyn Queue, place: &[SyncRequest], left: Begun) -> Result<(), Error> {
    let message = ImageMessage::of(place).map(|message| ImageMessage { begun: Some(left), ..message });
    let body = serde_json::to_string(&message);
    queue.send(vec![body.map_err(|error| Error::new(ErrorType::InvalidEvent, error.to_string()))?]).await
}

/// A handler's failure, as Lambda is told: `errorType` and `errorMessage`.
#[derive(Debug)]
pub struct HandlerError(pub Error);

impl From<Error> for HandlerError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<HandlerError> for Diagnostic {
    fn from(HandlerError(error): HandlerError) -> Self {
        Self { error_type: error.error_type.name().to_owned(), error_message: error.message }
    }
}

/// Starts a function and serves invocations until Lambda ends the process.
///
/// A configuration that can't be used is reported as an error of the init phase, and the process ends.
pub fn start<H, F, R>(handler: H) -> ExitCode
where
    H: Fn(Arc<App>, Invocation) -> F,
    F: Future<Output = Result<R, HandlerError>>,
    R: Serialize,
{
    let environment = Environment::read();
    telemetry::init(&environment);
    let runtime = match tokio_runtime(environment.memory_mib) {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let app = match App::new(environment).await {
            Ok(app) => Arc::new(app),
            Err(error) => {
                tracing::error!(error_type = error.error_type.name(), error_message = error.message, "init failed");
                report_init_error(&error).await;
                return ExitCode::FAILURE;
            }
        };
        let margin = app.config.limits.deadline_margin;
        let serve = service_fn(|event: LambdaEvent<Value>| {
            let LambdaEvent { payload, context } = event;
            let (work, report) = time_left(context.deadline(), SystemTime::now(), margin);
            // Of the margin, the first part is for what must not be left behind, the rest for saying what was done.
            let ending = (report - work).min(LONGEST_ENDING) / 2;
            let (deadline, ends) = (Deadline::after(work).with_ending(ending), Deadline::after(report));
            let trace = context.xray_trace_id.as_deref().and_then(TraceHeader::read);
            let work = Work { request_id: context.request_id, trace };
            let invocation = Invocation { payload, work, deadline, ends };
            handler(Arc::clone(&app), invocation)
        });
        match lambda_runtime::run(serve).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, "the Lambda runtime ended");
                ExitCode::FAILURE
            }
        }
    })
}

/// When the work must have ended: the invocation's deadline less the margin, which is never more than a fifth of what
/// there is, so that a short timeout leaves time to work. And when the report must have: with a tenth of that kept.
///
/// `cargo lambda watch` says 600000 to every invocation (seen in 1.9.2): ten minutes after 1970 began. Such a moment is
/// meant as a time from now; Lambda never says one that has passed.
fn time_left(said: SystemTime, now: SystemTime, margin: Duration) -> (Duration, Duration) {
    let left = match said.duration_since(UNIX_EPOCH) {
        Ok(left) if left <= LONGEST_INVOCATION => left,
        _ => said.duration_since(now).unwrap_or_default(),
    };
    let margin = margin.min(left / 5);
    (left - margin, left - margin / 10)
}

/// One thread below two virtual CPUs, where more would only switch; else one for each.
fn tokio_runtime(memory_mib: u64) -> std::io::Result<tokio::runtime::Runtime> {
    let cpus = usize::try_from(memory_mib / MIB_PER_CPU).unwrap_or(1);
    let mut builder = match cpus {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(cpus);
            builder
        }
    };
    builder.enable_all().build()
}

/// Tells Lambda why the function can't start, so that the reason stands in the invocation's error and not just in a
/// log. Best effort: the process ends either way.
async fn report_init_error(error: &Error) {
    let Some(endpoint) = variable("AWS_LAMBDA_RUNTIME_API") else { return };
    let Ok(endpoint) = endpoint.parse() else { return };
    let Ok(client) = lambda_runtime_api_client::Client::builder().with_endpoint(endpoint).build() else { return };
    let body = json!({"errorType": error.error_type.name(), "errorMessage": error.message, "stackTrace": []});
    let request = http::Request::post("/2018-06-01/runtime/init/error")
        .header("Content-Type", "application/json")
        .header("Lambda-Runtime-Function-Error-Type", format!("Transship.{}", error.error_type.name()))
        .body(lambda_runtime_api_client::body::Body::from(body.to_string()));
    if let Ok(request) = request
        && let Err(error) = client.call(request).await
    {
        tracing::error!(%error, "the init error could not be reported");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_of_cargo_lambda_is_a_time_from_now_and_one_of_lambda_a_moment() {
        let (now, seconds) = (UNIX_EPOCH + Duration::from_secs(1_795_339_815), Duration::from_secs);
        let left = |said| time_left(said, now, seconds(5)).0;
        assert_eq!(left(UNIX_EPOCH + Duration::from_millis(600_000)), seconds(595));
        assert_eq!(left(now + seconds(900)), seconds(895));
        assert_eq!(left(now + seconds(3)), Duration::from_millis(2400), "the margin leaves time to work");
        assert_eq!(left(now - seconds(3)), Duration::ZERO);
        assert_eq!(time_left(now + seconds(900), now, seconds(5)).1, Duration::from_millis(899_500));
    }
}
