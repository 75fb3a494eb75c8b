//! One invocation: an event in, results out.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bootstrap::{HandlerError, Invocation};
use serde::Serialize;
use transfer::{
    compose::App,
    error::{Error, ErrorType},
    event::{self, Event},
    queue::{ImageMessage, Queue},
    request::SyncRequest,
    rules::{Pushed, RemovalVerdict, Routes, Verdict},
    sync::{Begun, Outcome, RemovalReport, SyncReport},
};

/// What the function answers.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    results: Vec<Entry>,
}

/// One destination's part of the answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Entry {
    Synced(Box<SyncReport>),
    Removed(Box<RemovalReport>),
    Queued { outcome: &'static str, source: String, destination: String },
    Ignored { outcome: &'static str, reason: String },
}

/// Replicates what the event tells of.
pub(crate) async fn handle(app: Arc<App>, invocation: Invocation) -> Result<Answer, HandlerError> {
    let mut refused = None;
    let (mut asked_at, now) = (None, SystemTime::now());
    let (verdict, pushed_at) = match event::read(invocation.payload.clone())? {
        Event::Pushed(pushed) => {
            let routes: Routes = app.config.rules.routes(&pushed)?;
            refused = routes.refused;
            (routes.verdict, pushed.at)
        }
        Event::Scanned(images) => {
            // Its image may be old, and a scan of another of an index's images may be running.
            asked_at = Some(now);
            (app.config.rules.scanned(&images)?, None)
        }
        Event::Attached(pushed) => {
            let routes = app.config.rules.attached(&pushed)?;
            refused = routes.refused;
            (routes.verdict, pushed.at)
        }
        Event::Deleted(deleted) => return removed(&app, &invocation, &deleted).await,
        Event::Ignored(reason) => return Ok(ignored(reason)),
    };
    let mut requests = match verdict {
        Verdict::Sync(requests) => requests,
        Verdict::Ignore(reason) => return Ok(ignored(reason.to_owned())),
    };
    requests.iter_mut().for_each(|request| request.heard = true);
    if let (Some(queue), 2..) = (invocation.queue(&app), requests.len()) {
        let sent = invocation.ends.bound(queued(&queue, &requests)).await;
        let answer = sent.map_err(|passed| {
            Error::new(ErrorType::DeadlineExceeded, format!("sending {} messages: {passed}", requests.len()))
        })??;
        // What can't go where a rule sends it is told when the rest is on its way.
        return refused.map_or(Ok(answer), |error| Err(error.into()));
    }
    // Where there is a queue, `fanout` may have the same image.
    let tried = pushed_at.is_some_and(|at| probably_repeated(at, now));
    let repeated = app.queue.is_some() || tried;
    let mut results = Vec::with_capacity(requests.len());
    for request in requests {
        let request = SyncRequest { repeated, tried, asked_at, ..request };
        let place = [request];
        let Some(mut report) = invocation.sync(&app, &place, &Begun::default()).await else { continue };
        waits(&invocation, &app, &place, &mut report).await;
        results.push(report);
    }
    match failure(&results).or(refused) {
        Some(error) => Err(error.into()),
        None => Ok(Answer { results: results.into_iter().map(|report| Entry::Synced(Box::new(report))).collect() }),
    }
}

/// Removes what follows a deleted tag, one destination after the other: each takes a few requests.
async fn removed(app: &App, invocation: &Invocation, deleted: &Pushed) -> Result<Answer, HandlerError> {
    let requests = match app.config.rules.removals(deleted)? {
        RemovalVerdict::Remove(requests) => requests,
        RemovalVerdict::Ignore(reason) => return Ok(ignored(reason.to_owned())),
    };
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    let number = requests.len();
    for request in requests {
        let (removal, back) = invocation.remove(app, &request, deleted).await?;
        let mut synced = None;
        if let Some((request, mut report)) = back {
            waits(invocation, app, &[request], &mut report).await;
            synced = Some(report);
        }
        let failed = removal.error.clone().or_else(|| synced.as_ref()?.error.clone());
        errors.extend(failed.map(|error| (removal.destination.clone(), error)));
        results.push(Entry::Removed(Box::new(removal)));
        results.extend(synced.map(|report| Entry::Synced(Box::new(report))));
    }
    match worst(&errors, number) {
        Some(error) => Err(error.into()),
        None => Ok(Answer { results }),
    }
}

/// Puts what is held for its scan on the queue, where it can wait for longer than Lambda would run the event again.
async fn waits(invocation: &Invocation, app: &App, place: &[SyncRequest], report: &mut SyncReport) {
    let (Outcome::Held, Some(queue)) = (report.outcome, invocation.queue(app)) else { return };
    let trouble = match invocation.ends.bound(queued(&queue, place)).await {
        Ok(Ok(_)) => return report.queued(),
        Ok(Err(error)) => error.to_string(),
        Err(passed) => passed.to_string(),
    };
    tracing::error!(error = trouble, "what is held could not be queued; Lambda runs the event again");
}

/// Whether Lambda may have run the event before. No event says so, but Lambda runs a failed one again after one minute
/// and then two (Lambda developer guide, "Asynchronous invocation"), and a fresh event comes within seconds.
fn probably_repeated(pushed: SystemTime, now: SystemTime) -> bool {
    const RETRIES: Range<Duration> = Duration::from_secs(50)..Duration::from_secs(6 * 3600);
    now.duration_since(pushed).is_ok_and(|age| RETRIES.contains(&age))
}

fn ignored(reason: String) -> Answer {
    tracing::info!(outcome = "ignored", reason, "ignored");
    Answer { results: vec![Entry::Ignored { outcome: "ignored", reason }] }
}

/// Several destinations: a message for each, so that each has an invocation, and tries, of its own.
async fn queued(queue: &dyn Queue, requests: &[SyncRequest]) -> Result<Answer, Error> {
    let messages = requests.chunks(1).filter_map(ImageMessage::of);
    let bodies: Result<Vec<String>, _> = messages.map(|message| serde_json::to_string(&message)).collect();
    let bodies = bodies.map_err(|error| Error::new(ErrorType::InvalidEvent, error.to_string()))?;
    queue.send(bodies).await?;
    let entry = |request: &SyncRequest| Entry::Queued {
        outcome: "queued",
        source: request.source.to_string(),
        destination: request.destination.to_string(),
    };
    tracing::info!(outcome = "queued", messages = requests.len(), "queued");
    Ok(Answer { results: requests.iter().map(entry).collect() })
}

/// The invocation's error, if any sync failed. One that may succeed later comes first: Lambda runs the event again
/// then, which is what it needs, and what cannot be mended fails again as plainly.
fn failure(reports: &[SyncReport]) -> Option<Error> {
    let failed = reports.iter().filter_map(|report| Some((report.destination.clone(), report.error.clone()?)));
    worst(&failed.collect::<Vec<_>>(), reports.len())
}

/// The error of `number` destinations, of which these failed.
fn worst(errors: &[(String, Error)], number: usize) -> Option<Error> {
    let (_, main) = errors.iter().min_by_key(|(_, error)| error.class() == transfer::error::Class::Never)?;
    if number == 1 {
        return Some(main.clone());
    }
    let texts: Vec<String> =
        errors.iter().map(|(destination, error)| format!("{destination}: {}: {error}", error.error_type)).collect();
    Some(Error::new(main.error_type, format!("{} of {number} destinations failed: {}", errors.len(), texts.join("; "))))
}
