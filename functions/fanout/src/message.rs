//! Message bodies: what they ask for. Pure.

use std::{
    mem::take,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};
use transfer::{
    backfill::Order,
    error::{Error, ErrorType},
    event::{self, Event},
    oci::{Digest, Reference},
    queue::{FurtherTag, ImageMessage, MESSAGE_VERSION, places},
    request::{Referrers, RemovalRequest, SyncOptions, SyncRequest},
    rules::{Pushed, RemovalVerdict, Routes, Rules, Verdict},
    sync::Begun,
};

/// What a body asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// An image.
    Sync(Syncs),
    /// A tag that was deleted, and the tags that follow it.
    Remove(Pushed, Vec<RemovalRequest>),
    /// A source to be listed.
    Backfill(Box<Order>),
    /// Nothing to do; why.
    Ignored(String),
}

/// What a message's image asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Syncs {
    /// Its syncs, those of one place together. The first one of a place copies, the others put further tags.
    pub(crate) places: Vec<Vec<SyncRequest>>,
    /// What earlier invocations have done of the first one.
    pub(crate) begun: Begun,
    /// Where else the rules send it, and why it can't go there: told when the rest is done.
    pub(crate) refused: Option<Error>,
}

/// Reads a message body: an image with both ends, one whose destinations come from `rules`, a backfill, or
/// an event of EventBridge, which may target the queue.
///
/// # Errors
/// `InvalidEvent`: it is no message of ours, or of another version, or no rule takes its image. `InvalidReference`: an
/// end is no reference. What the rules say of their own mistakes.
pub(crate) fn read(body: &str, rules: &Rules) -> Result<Message, Error> {
    // A list would be read as an object's values, in order.
    let object: Map<String, Value> = match serde_json::from_str(body) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(invalid(&format!("it is no JSON object; {EXPECTED}"))),
        Err(error) => return Err(invalid(&format!("it is no JSON ({error}); {EXPECTED}"))),
    };
    if object.contains_key("detail-type") {
        return pushed(Value::Object(object), rules);
    }
    check_version(object.get("version"))?;
    if object.contains_key("backfill") {
        return Ok(Message::Backfill(Box::new(Order::read(body)?)));
    }
    image(body, rules)
}

const EXPECTED: &str = "expected {\"source\":…,\"destination\":…}";

fn invalid(reason: &str) -> Error {
    Error::new(ErrorType::InvalidEvent, format!("the message can't be used: {reason}"))
}

/// Before anything else is read: a message of another version may have fields that mean what nobody here knows.
fn check_version(version: Option<&Value>) -> Result<(), Error> {
    match version {
        None => Ok(()),
        Some(version) if version.as_u64() == Some(MESSAGE_VERSION) => Ok(()),
        Some(version) => Err(invalid(&format!(
            "its `version` is {version}, this function knows {MESSAGE_VERSION}; deploy the one that wrote it, then send \
             the message again"
        ))),
    }
}

/// An event, treated as `on-push` does.
fn pushed(event: Value, rules: &Rules) -> Result<Message, Error> {
    let mut refused = None;
    let mut verdict = match event::read(event)? {
        Event::Pushed(pushed) => {
            let routes: Routes = rules.routes(&pushed)?;
            refused = routes.refused;
            routes.verdict
        }
        Event::Scanned(images) => rules.scanned(&images)?,
        Event::Attached(pushed) => {
            let routes = rules.attached(&pushed)?;
            refused = routes.refused;
            routes.verdict
        }
        Event::Deleted(deleted) => {
            return Ok(match rules.removals(&deleted)? {
                RemovalVerdict::Remove(requests) => Message::Remove(deleted, requests),
                RemovalVerdict::Ignore(reason) => Message::Ignored(reason.to_owned()),
            });
        }
        Event::Ignored(reason) => return Ok(Message::Ignored(reason)),
    };
    if let Verdict::Sync(requests) = &mut verdict {
        requests.iter_mut().for_each(|request| request.heard = true);
    }
    Ok(match verdict {
        Verdict::Sync(requests) => Message::Sync(Syncs { places: places(requests), begun: Begun::default(), refused }),
        Verdict::Ignore(reason) => Message::Ignored(reason.to_owned()),
    })
}

fn image(body: &str, rules: &Rules) -> Result<Message, Error> {
    let message: ImageMessage = serde_json::from_str(body).map_err(|error| invalid(&format!("{error}; {EXPECTED}")))?;
    if message.begun.is_some() && message.version.is_none() {
        return Err(invalid("it is the rest of a sync (`begun`), and says no `version`"));
    }
    if let Some(wrong) = message.referrers.iter().flat_map(Referrers::mistakes).next() {
        return Err(invalid(&format!("`referrers`.{wrong}")));
    }
    let source = reference(&message.source)?;
    let expected = match &message.expected_digest {
        Some(text) => Some(text.parse().map_err(|error| invalid(&format!("`expected_digest`: {error}")))?),
        None => None,
    };
    let ends = match &message.destination {
        Some(destination) => Some(tags(&source, &reference(destination)?, &message.tags)?),
        None => None,
    };
    let pushed_at = message.pushed_at_ms.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
    if let Some(wrong) = message.scan_gate.and_then(|gate| gate.mistake()) {
        return Err(invalid(&format!("`scan_gate`.{wrong}")));
    }
    let mut refused = None;
    let mut requests = match ends {
        Some(ends) => {
            let options = message.options(SyncOptions::default()).map_err(|wrong| invalid(&wrong))?;
            let (heard, attached, tried) = (message.heard, message.attached, message.tried);
            let request = |(source, destination)| {
                let (expected, options) = (expected.clone(), options.clone());
                SyncRequest {
                    source,
                    destination,
                    expected,
                    options,
                    pushed_at,
                    asked_at: None,
                    repeated: false,
                    tried,
                    heard,
                    attached,
                }
            };
            ends.into_iter().map(request).collect()
        }
        None => by_rules(&source, &message, expected.as_ref(), pushed_at, rules, &mut refused)?,
    };
    let mut seen = Vec::new();
    requests.retain(|request| {
        let is_new = !seen.contains(&request.destination);
        seen.push(request.destination.clone());
        is_new
    });
    requests.iter().try_for_each(SyncRequest::check)?;
    Ok(Message::Sync(Syncs { places: places(requests), begun: message.begun.unwrap_or_default(), refused }))
}

/// The ends of a message that names both, and of its further tags.
fn tags(
    source: &Reference,
    destination: &Reference,
    further: &[FurtherTag],
) -> Result<Vec<(Reference, Reference)>, Error> {
    let mut ends = vec![(source.clone(), destination.clone())];
    for (position, tag) in further.iter().enumerate() {
        let name = tag.destination.as_ref().or(tag.source.as_ref());
        let name = name.ok_or_else(|| invalid(&format!("`tags[{position}]` names neither source nor destination")))?;
        if destination.tag().is_none() {
            return Err(invalid("`tags` are further tags, and its `destination` has none; name it by one of them"));
        }
        let from = match &tag.source {
            Some(tag) => tagged(source, tag)?,
            None => source.clone(),
        };
        ends.push((from, tagged(destination, name)?));
    }
    Ok(ends)
}

/// What the rules say of a message's image and of its further tags; what they can't send where they should goes to `refused`.
fn by_rules(
    source: &Reference,
    message: &ImageMessage,
    expected: Option<&Digest>,
    at: Option<SystemTime>,
    rules: &Rules,
    refused: &mut Option<Error>,
) -> Result<Vec<SyncRequest>, Error> {
    let mut sources = vec![source.clone()];
    for (position, tag) in message.tags.iter().enumerate() {
        match tag {
            FurtherTag { source: Some(tag), destination: None } => sources.push(tagged(source, tag)?),
            _ => {
                return Err(invalid(&format!(
                    "`tags[{position}]` may name a `source` alone, as the rules name the destinations"
                )));
            }
        }
    }
    let mut requests = Vec::new();
    let mut ignored = None;
    for source in sources {
        let pushed = Pushed {
            registry: source.registry().to_owned(),
            repository: source.repository().to_owned(),
            tag: source.tag().map(str::to_owned),
            digest: source.digest().or(expected).cloned(),
            at,
        };
        let routes = match rules.routes(&pushed) {
            Ok(routes) => routes,
            Err(error) => {
                refused.get_or_insert(error);
                continue;
            }
        };
        *refused = refused.take().or(routes.refused);
        match routes.verdict {
            Verdict::Sync(found) => requests.extend(found.into_iter().map(|request| {
                // A message that names tag and digest means that digest, wherever the tag has moved since.
                let means = source.digest().is_some() && request.source.digest().is_none();
                SyncRequest { source: if means { source.clone() } else { request.source.clone() }, ..request }
            })),
            Verdict::Ignore(reason) => ignored = ignored.or(Some((source, reason))),
        }
    }
    if let (true, Some(error)) = (requests.is_empty(), refused.take_if(|_| requests.is_empty())) {
        return Err(error);
    }
    if let (true, Some((source, reason))) = (requests.is_empty(), ignored) {
        let text = format!("it names no destination, and none follows from the rules for {source}: {reason}");
        return Err(invalid(&text));
    }
    for request in &mut requests {
        request.options = message.options(take(&mut request.options)).map_err(|wrong| invalid(&wrong))?;
    }
    Ok(requests)
}

fn reference(text: &str) -> Result<Reference, Error> {
    text.parse()
        .map_err(|error: transfer::oci::ReferenceError| Error::new(ErrorType::InvalidReference, error.to_string()))
}

/// The same repository's other tag.
fn tagged(reference: &Reference, tag: &str) -> Result<Reference, Error> {
    Reference::new(reference.registry(), reference.repository(), Some(tag), None)
        .map_err(|error| Error::new(ErrorType::InvalidReference, error.to_string()))
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
