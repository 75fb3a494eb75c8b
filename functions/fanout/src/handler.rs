//! One invocation: a batch of messages in, the ones that must come again out.

use std::{
    mem::take,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use bootstrap::{HandlerError, Invocation};
use serde_json::Value;
use tracing::Instrument;
use transfer::{
    compose::App,
    deadline::Deadline,
    error::{Class, Error, ErrorType},
    queue::{self, DeadLetter, Hidden, ImageMessage, Queue},
    request::{RemovalRequest, SyncRequest},
    rules::Pushed,
    sync::Outcome,
    telemetry::{self, BatchCounts, Work},
};

use crate::{
    admission::Admission,
    backfill,
    message::{self, Message, Syncs},
    record::Record,
};

/// How long it is tried to set when a message comes again. Chosen: what is not done in this time leaves the message
/// to its queue's visibility timeout, and the batch goes on.
const HIDING: Duration = Duration::from_secs(5);

/// What became of a message in the end.
enum Became {
    Done,
    Ignored,
    /// Put into the dead-letter queue.
    Buried,
    /// Failed, and back in its queue.
    Returned,
    Unfinished,
}

/// How the work on a message ended.
enum End {
    /// All that it asked for was done, or handed on.
    Done,
    /// It asked for nothing.
    Ignored,
    /// Time ran short before all of it was begun; what was begun is done.
    Unfinished,
    /// It could not be done.
    Failed(Error),
}

/// Does the messages of a batch, one after the other, as far as the time goes.
pub(crate) async fn handle(app: Arc<App>, mut invocation: Invocation) -> Result<SqsBatchResponse, HandlerError> {
    let event: SqsEvent = serde_json::from_value(invocation.payload.take()).map_err(|error| {
        Error::new(ErrorType::InvalidEvent, format!("the event can't be used: it is no SQS event ({error})"))
    })?;
    // Before anything is done: an error of the whole batch brings every message back.
    let records: Option<Vec<Record>> = event.records.into_iter().map(Record::of).collect();
    let records = records
        .ok_or_else(|| Error::new(ErrorType::InvalidEvent, "the event can't be used: a record has no messageId"))?;
    let mut admission = Admission::new(invocation.deadline.left());
    let mut counts = BatchCounts { messages: records.len(), ..BatchCounts::default() };
    let mut response = SqsBatchResponse::default();
    let mut untouched = Vec::new();
    for record in records {
        let end = if admission.admits(record.order(), invocation.deadline.left()) {
            let work = of_message(&invocation, &record);
            let span = tracing::info_span!("message", message_id = record.id, xrayTraceId = tracing::field::Empty);
            if let Some(trace) = &work.work.trace {
                span.record("xrayTraceId", trace.id());
            }
            Box::pin(whole(&app, &work, &admission, &record).instrument(span)).await
        } else {
            Became::Unfinished
        };
        match end {
            Became::Done => counts.done += 1,
            Became::Ignored => counts.ignored += 1,
            Became::Buried => counts.buried += 1,
            Became::Returned => {
                counts.failed += 1;
                admission.returned(record.order());
                response.add_failure(record.id);
            }
            Became::Unfinished => {
                counts.unfinished += 1;
                admission.returned(record.order());
                response.add_failure(record.id.clone());
                untouched.push(record);
            }
        }
    }
    give_back(&app, &invocation, &untouched).await;
    telemetry::batch(&app.environment.function_name, &invocation.work, &counts);
    Ok(response)
}

/// The invocation, for one message's work: what belongs to the trace that the message was sent in.
fn of_message(invocation: &Invocation, record: &Record) -> Invocation {
    let trace = record.trace.clone().or_else(|| invocation.work.trace.clone());
    Invocation {
        payload: Value::Null,
        work: Work { request_id: invocation.work.request_id.clone(), trace },
        deadline: invocation.deadline,
        ends: invocation.ends,
    }
}

/// Does what one message asks for, and sees to it where it could not be done.
async fn whole(app: &App, invocation: &Invocation, admission: &Admission, record: &Record) -> Became {
    match one(app, invocation, admission, record).await {
        End::Done => Became::Done,
        End::Ignored => Became::Ignored,
        End::Unfinished => Became::Unfinished,
        End::Failed(error) if buried(app, invocation, record, &error).await => Became::Buried,
        End::Failed(error) => {
            comes_again(app, invocation, record, &error).await;
            Became::Returned
        }
    }
}

/// Does what one message asks for.
async fn one(app: &App, invocation: &Invocation, admission: &Admission, record: &Record) -> End {
    let Syncs { places, mut begun, refused } = match message::read(&record.body, &app.config.rules) {
        Ok(Message::Sync(syncs)) => syncs,
        Ok(Message::Remove(deleted, requests)) => {
            return removed(app, invocation, admission, &deleted, &requests).await;
        }
        Ok(Message::Backfill(order)) => {
            return backfill::run(app, invocation, &order).await.map_or_else(End::Failed, |()| End::Done);
        }
        Ok(Message::Ignored(reason)) => {
            tracing::info!(message_id = record.id, outcome = "ignored", reason, "ignored");
            return End::Ignored;
        }
        Err(error) => return End::Failed(error),
    };
    if places.len() > 1 && record.order().is_none() && queued(app, invocation, record, &places).await {
        return refused.map_or(End::Done, End::Failed);
    }
    let mut failure = refused;
    let mut is_first = true;
    for mut place in places {
        for request in &mut place {
            // A queue has many workers, and images of one repository share layers.
            request.repeated = true;
            request.asked_at = record.sent_at;
            request.tried |= record.received > 1 || begun.invocations > 0 || is_old(request, SystemTime::now());
        }
        let mut rest = &place[..];
        while let [_, further @ ..] = rest {
            if !is_first && !admission.has_time(invocation.deadline.left()) {
                // What failed for good is found again when the rest is done.
                return failure.filter(|error| error.class() == Class::Later).map_or(End::Unfinished, End::Failed);
            }
            is_first = false;
            let Some(report) = invocation.sync(app, rest, &take(&mut begun)).await else { break };
            // What is left of a place was handed on with it.
            rest = if report.outcome == Outcome::Continued { &[] } else { further };
            if let Some(error) = report.error
                && failure.as_ref().is_none_or(|kept| kept.class() == Class::Never && error.class() == Class::Later)
            {
                failure = Some(error);
            }
        }
    }
    failure.map_or(End::Done, End::Failed)
}

/// Removes what follows a deleted tag, one destination after the other.
async fn removed(
    app: &App,
    invocation: &Invocation,
    admission: &Admission,
    deleted: &Pushed,
    requests: &[RemovalRequest],
) -> End {
    let mut failure: Option<Error> = None;
    for (position, request) in requests.iter().enumerate() {
        if position > 0 && !admission.has_time(invocation.deadline.left()) {
            let told = failure.filter(|error| error.for_good || error.class() == Class::Later);
            return told.map_or(End::Unfinished, End::Failed);
        }
        let error = match invocation.remove(app, request, deleted).await {
            Ok((removal, synced)) => removal.error.or_else(|| synced?.1.error),
            Err(error) => Some(error),
        };
        if let Some(error) = error
            && failure.as_ref().is_none_or(|kept| rank(&error) > rank(kept))
        {
            failure = Some(error);
        }
    }
    failure.map_or(End::Done, End::Failed)
}

/// Which failure of several removals is told. One that left something undone for good is not found again by another try; a
/// letter of it holds the whole event. Any other that never succeeds is.
fn rank(error: &Error) -> u8 {
    match error.class() {
        _ if error.for_good => 2,
        Class::Later => 1,
        Class::Never => 0,
    }
}

/// Whether an earlier message of the push may have failed: one that comes back from a dead-letter queue is a new one.
fn is_old(request: &SyncRequest, now: SystemTime) -> bool {
    /// Chosen: a fresh message is done within seconds, and a look too many costs one request.
    const FRESH: Duration = Duration::from_secs(50);
    request.pushed_at.and_then(|pushed| now.duration_since(pushed).ok()).is_some_and(|age| age >= FRESH)
}

/// Several places: a message for each, so that each has tries, and a dead letter, of its own. One that is bad makes
/// nothing of the others be done again, nor waits with them for one that may succeed later.
///
/// Not in a FIFO queue, where they would end up behind what comes after this message. `false`: they are to be done
/// here, one after the other; a queue that takes no messages makes none of theirs a bad one.
async fn queued(app: &App, invocation: &Invocation, record: &Record, places: &[Vec<SyncRequest>]) -> bool {
    let Some(queue) = invocation.queue(app) else { return false };
    let messages = places.iter().filter_map(|place| ImageMessage::of(place));
    let bodies: Result<Vec<String>, _> = messages.map(|message| serde_json::to_string(&message)).collect();
    let Ok(bodies) = bodies else { return false };
    let number = bodies.len();
    let error = match invocation.deadline.bound(queue.send(bodies)).await {
        Ok(Ok(())) => {
            tracing::info!(message_id = record.id, outcome = "queued", messages = number, "queued");
            return true;
        }
        Ok(Err(error)) => error.to_string(),
        Err(passed) => passed.to_string(),
    };
    tracing::warn!(message_id = record.id, error, "its destinations could not be queued and are done one by one");
    false
}

/// Puts a message that never can succeed into the dead-letter queue; `false`: it must come again.
///
/// Only then is it left out of the answer, and so deleted: killed in between, it is buried twice, and never lost.
async fn buried(app: &App, invocation: &Invocation, record: &Record, error: &Error) -> bool {
    if error.class() == Class::Later {
        return false;
    }
    tracing::error!(
        message_id = record.id,
        error_type = error.error_type.name(),
        error_message = error.message,
        "the message can't succeed without a change"
    );
    let Some(dead_letters) = &app.dead_letters else { return false };
    let letter = DeadLetter {
        body: record.body.clone(),
        reason: error.clone(),
        message_id: record.id.clone(),
        group: record.group.clone(),
        trace: invocation.work.trace.clone(),
    };
    let trouble = match invocation.ends.bound(dead_letters.bury(letter)).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(passed) => passed.to_string(),
    };
    tracing::error!(message_id = record.id, error = trouble, "the message could not be put into the dead-letter queue");
    false
}

/// Keeps a message that failed out of sight until its next try.
async fn comes_again(app: &App, invocation: &Invocation, record: &Record, error: &Error) {
    let wait = queue::delay(record.received, error.retry_after);
    tracing::warn!(
        message_id = record.id,
        error_type = error.error_type.name(),
        error_message = error.message,
        received = record.received,
        wait_s = wait.as_secs(),
        "the message comes again"
    );
    hide(app, invocation, &[(record, wait)]).await;
}

/// Makes messages that were not begun visible at once: nothing was wrong with them. In a FIFO group they stay behind
/// the one that failed, as long as that is hidden.
async fn give_back(app: &App, invocation: &Invocation, records: &[Record]) {
    if records.is_empty() {
        return;
    }
    tracing::info!(messages = records.len(), "not all messages could be begun; they come again at once");
    let now: Vec<_> = records.iter().map(|record| (record, Duration::ZERO)).collect();
    hide(app, invocation, &now).await;
}

/// Best effort: a message that it does not reach comes again after its queue's visibility timeout.
async fn hide(app: &App, invocation: &Invocation, records: &[(&Record, Duration)]) {
    // A batch is of one queue.
    let arn = records.first().and_then(|(record, _)| record.queue_arn.as_deref());
    let Some(queue) = arn.and_then(|arn| app.source_queues.of(arn)) else { return };
    let hidden = |(record, wait): &(&Record, Duration)| Some(Hidden { receipt: record.receipt.clone()?, wait: *wait });
    let messages: Vec<Hidden> = records.iter().filter_map(hidden).collect();
    if messages.is_empty() {
        return;
    }
    let trouble = match Deadline::after(HIDING.min(invocation.ends.left())).bound(queue.hide(messages)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {HIDING:?}, or the invocation's time"),
    };
    tracing::warn!(error = trouble, "when messages are visible again could not be set; their queue decides");
}
