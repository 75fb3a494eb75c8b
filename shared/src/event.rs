//! EventBridge's events of ECR: the wire shapes, and what they mean here. Pure. Both functions take them: `on-push` as
//! they are, `fanout` as a message's body.
//!
//! Source: Amazon ECR user guide, "Amazon ECR events and EventBridge"; captured events (see `events/README.md`).

mod scan;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::{Error, ErrorType},
    oci::{AttachedTag, OCI_INDEX},
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
    /// A tag was deleted, or an image; what was known of it.
    Deleted(Pushed),
    /// A scan of an image is finished; the image under each of its tags, or by its digest where it has none.
    Scanned(Vec<Pushed>),
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
    manifest_media_type: Option<String>,
    artifact_media_type: Option<String>,
}

/// The configurations of images: what else has no tag and another type is attached to something.
const IMAGES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// Reads an event.
///
/// # Errors
/// `InvalidEvent`: it is no event of ECR, or one that lacks what every such event has.
pub fn read(payload: Value) -> Result<Event, Error> {
    let event: EventBridgeEvent<Value> = serde_json::from_value(payload).map_err(|error| {
        invalid(&format!("it is no EventBridge event ({error}); expected `source`, `detail-type` and `detail`"))
    })?;
    if event.source != "aws.ecr" {
        return Err(invalid(&format!("its source is `{}`, expected `aws.ecr`", event.source)));
    }
    // Which of them a pushed signature raises is not documented (Amazon ECR user guide, "Amazon ECR events"). EventBridge's
    // list of ECR's events names the last one alone, without a sample.
    let unsampled = event.detail_type == "ECR Artifact Action";
    let refers = event.detail_type == "ECR Referrer Action" || unsampled;
    if event.detail_type != "ECR Image Action" && !refers {
        let (kind, detail) = (event.detail_type, event.detail);
        return match kind.as_str() {
            scan::DETAIL_TYPE => scan::read(detail, &registry_of(event.account, event.region)?),
            _ => Ok(Event::Ignored(format!("`{kind}` is no push"))),
        };
    }
    let action: ImageAction = match serde_json::from_value(event.detail) {
        Ok(action) => action,
        Err(error) if unsampled => {
            return Ok(Event::Ignored(format!("an `ECR Artifact Action` of another form: {error}")));
        }
        Err(error) => return Err(invalid(&format!("its `detail`: {error}"))),
    };
    let deleted = match action.action_type.as_str() {
        "PUSH" => false,
        "DELETE" => true,
        other => return Ok(Event::Ignored(format!("action-type is {other}, neither PUSH nor DELETE"))),
    };
    if action.result != "SUCCESS" {
        let what = if deleted { "deletion" } else { "push" };
        return Ok(Event::Ignored(format!("the {what} ended with {}, not SUCCESS", action.result)));
    }
    let tag = action.image_tag.filter(|tag| !tag.is_empty());
    let digest = match action.image_digest.filter(|digest| !digest.is_empty()).map(|digest| digest.parse()) {
        None => None,
        Some(Ok(digest)) => Some(digest),
        // A tag is resolved anew; AWS's own sample event has a digest of 58 digits.
        Some(Err(error)) if tag.is_some() || deleted => {
            tracing::warn!(%error, "the event's image-digest is not used");
            None
        }
        Some(Err(error)) => return Err(invalid(&format!("its `detail.image-digest`: {error}"))),
    };
    if tag.is_none() && digest.is_none() && !deleted {
        return Err(invalid("its `detail` has neither an image-tag nor an image-digest"));
    }
    let registry = registry_of(event.account, event.region)?;
    let is_image = |kind: String| kind.is_empty() || IMAGES.contains(&kind.as_str());
    let attached = match &tag {
        Some(tag) => AttachedTag::of(tag).is_some(),
        // An index that refers to an image has no configuration to be told by.
        None => {
            refers
                || !action.artifact_media_type.is_none_or(is_image)
                || action.manifest_media_type.is_some_and(|kind| kind == OCI_INDEX)
        }
    };
    let about = Pushed { registry, repository: action.repository_name, tag, digest, at: event.time.map(Into::into) };
    Ok(match (deleted, attached) {
        (true, _) => Event::Deleted(about),
        (false, true) => Event::Attached(about),
        (false, false) => Event::Pushed(about),
    })
}

fn invalid(reason: &str) -> Error {
    Error::new(ErrorType::InvalidEvent, format!("the event can't be used: {reason}"))
}

/// The registry of an event: no event carries its host, which follows from the account and the region.
fn registry_of(account: Option<String>, region: Option<String>) -> Result<String, Error> {
    let account = account.filter(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()));
    let account = account.ok_or_else(|| invalid("its `account` is missing or not 12 digits"))?;
    let region = region.filter(|region| !region.is_empty());
    let region = region.ok_or_else(|| invalid("its `region` is missing"))?;
    let registry = EcrHost::of_event(&account, &region);
    match EcrHost::parse(&registry) {
        Some(_) => Ok(registry),
        None => Err(invalid(&format!("its `region` `{region}` is none"))),
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
