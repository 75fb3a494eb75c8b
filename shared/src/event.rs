//! EventBridge's events of ECR: the wire shapes, and what they mean here. Pure. Both functions take them: `on-push` as
//! they are, `fanout` as a message's body.
//!
//! Source: Amazon ECR user guide, "Amazon ECR events and EventBridge"; captured events (see `events/README.md`).

use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::{Error, ErrorType},
    oci::AttachedTag,
    provider::EcrHost,
    rules::Pushed,
};

/// What an event asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// An image was pushed.
    Pushed(Pushed),
    /// Something was attached to an image: an artifact that refers to it, or a tag that is made of its digest.
    Attached(Pushed),
    /// Nothing to do; why.
    Ignored(String),
}

/// The `detail` of an `ECR Image Action`. `image-tag` is `""`, null or missing where the push had no tag.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ImageAction {
    action_type: String,
    result: String,
    repository_name: String,
    image_digest: Option<String>,
    image_tag: Option<String>,
    artifact_media_type: Option<String>,
}

/// Why nothing is done with what was attached to an image.
pub const NOWHERE: &str = "it is attached to an image, and no rule copies what is attached to images of its repository";

/// The configurations of images: what else has no tag and another type is attached to something.
const IMAGES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// Reads an event.
///
/// # Errors
/// `InvalidEvent`: it is no event of ECR, or one that lacks what every such event has.
pub fn read(payload: Value) -> Result<Event, Error> {
    let invalid = |reason: String| Error::new(ErrorType::InvalidEvent, format!("the event can't be used: {reason}"));
    let event: EventBridgeEvent<Value> = serde_json::from_value(payload).map_err(|error| {
        invalid(format!("it is no EventBridge event ({error}); expected `source`, `detail-type` and `detail`"))
    })?;
    if event.source != "aws.ecr" {
        return Err(invalid(format!("its source is `{}`, expected `aws.ecr`", event.source)));
    }
    // Which of the two a pushed signature raises is not documented (Amazon ECR user guide, "Amazon ECR events").
    let refers = event.detail_type == "ECR Referrer Action";
    if event.detail_type != "ECR Image Action" && !refers {
        return Ok(Event::Ignored(format!("`{}` is no push", event.detail_type)));
    }
    let action: ImageAction =
        serde_json::from_value(event.detail).map_err(|error| invalid(format!("its `detail`: {error}")))?;
    if action.action_type != "PUSH" {
        return Ok(Event::Ignored(format!("action-type is {}, not PUSH", action.action_type)));
    }
    if action.result != "SUCCESS" {
        return Ok(Event::Ignored(format!("the push ended with {}, not SUCCESS", action.result)));
    }
    let tag = action.image_tag.filter(|tag| !tag.is_empty());
    let digest = match action.image_digest.filter(|digest| !digest.is_empty()).map(|digest| digest.parse()) {
        None => None,
        Some(Ok(digest)) => Some(digest),
        // A tag is resolved anew; AWS's own sample event has a digest of 58 digits.
        Some(Err(error)) if tag.is_some() => {
            tracing::warn!(%error, "the event's image-digest is not used");
            None
        }
        Some(Err(error)) => return Err(invalid(format!("its `detail.image-digest`: {error}"))),
    };
    if tag.is_none() && digest.is_none() {
        return Err(invalid("its `detail` has neither an image-tag nor an image-digest".to_owned()));
    }
    // No event carries the registry's host: it follows from the account and the region.
    let account = event.account.filter(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()));
    let account = account.ok_or_else(|| invalid("its `account` is missing or not 12 digits".to_owned()))?;
    let region = event.region.filter(|region| !region.is_empty());
    let region = region.ok_or_else(|| invalid("its `region` is missing".to_owned()))?;
    let registry = EcrHost::of_event(&account, &region);
    if EcrHost::parse(&registry).is_none() {
        return Err(invalid(format!("its `region` `{region}` is none")));
    }
    let attached = match &tag {
        Some(tag) => AttachedTag::of(tag).is_some(),
        None => {
            refers
                || action.artifact_media_type.is_some_and(|kind| !kind.is_empty() && !IMAGES.contains(&kind.as_str()))
        }
    };
    let at = event.time.map(Into::into);
    let pushed = Pushed { registry, repository: action.repository_name, tag, digest, at };
    Ok(if attached { Event::Attached(pushed) } else { Event::Pushed(pushed) })
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
