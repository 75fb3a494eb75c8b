//! Message bodies: what they ask for. Pure.

use std::time::{Duration, SystemTime};

use transfer::{
    error::{Error, ErrorType},
    oci::Reference,
    queue::ImageMessage,
    request::{SyncOptions, SyncRequest},
    rules::{Pushed, Rules, Verdict},
};

/// Reads a message body: an image with both ends, or one whose destinations come from `rules`.
///
/// # Errors
/// `InvalidEvent`: it is no message of ours, or no rule takes its image. `InvalidReference`: an end is no reference.
pub(crate) fn read(body: &str, rules: &Rules) -> Result<Vec<SyncRequest>, Error> {
    let invalid = |reason: String| Error::new(ErrorType::InvalidEvent, format!("the message can't be used: {reason}"));
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).unwrap_or_default();
    if object.contains_key("detail-type") {
        let text = "an EventBridge event is not taken by this version; send one message for each image";
        return Err(invalid(text.to_owned()));
    }
    let message: ImageMessage = serde_json::from_str(body)
        .map_err(|error| invalid(format!("{error}; expected {{\"source\":…,\"destination\":…}}")))?;
    if message.platforms.is_some() {
        return Err(invalid(
            "`platforms` is not supported by this version; leave it out to copy the whole index".into(),
        ));
    }
    let reference = |text: &str| {
        text.parse::<Reference>().map_err(|error| Error::new(ErrorType::InvalidReference, error.to_string()))
    };
    let source = reference(&message.source)?;
    let pushed_at = message.pushed_at_ms.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
    let expected = match message.expected_digest {
        Some(text) => Some(text.parse().map_err(|error| invalid(format!("`expected_digest`: {error}")))?),
        None => None,
    };
    if let Some(destination) = message.destination {
        let options = SyncOptions { existing_tag: message.existing_tag.unwrap_or_default() };
        let destination = reference(&destination)?;
        let request = SyncRequest { source, destination, expected, options, pushed_at, repeated: false };
        request.check()?;
        return with_further(request, message.tags.unwrap_or_default()).map_err(invalid);
    }
    if message.tags.is_some() {
        return Err(invalid("`tags` needs a `destination`".to_owned()));
    }
    let pushed = Pushed {
        registry: source.registry().to_owned(),
        repository: source.repository().to_owned(),
        tag: source.tag().map(str::to_owned),
        digest: source.digest().cloned().or(expected),
        at: pushed_at,
    };
    match rules.verdict(&pushed)? {
        Verdict::Sync(mut requests) => {
            for request in &mut requests {
                request.options.existing_tag = message.existing_tag.unwrap_or(request.options.existing_tag);
            }
            Ok(requests)
        }
        Verdict::Ignore(reason) => {
            Err(invalid(format!("it names no destination, and none follows from the rules for {source}: {reason}")))
        }
    }
}

/// The request, and the same of each further tag: copied once, it is there when the others are tagged.
fn with_further(first: SyncRequest, tags: Vec<String>) -> Result<Vec<SyncRequest>, String> {
    let mut requests = vec![first];
    for tag in tags {
        let first = &requests[0];
        let tagged = |place: &Reference| {
            Reference::new(place.registry(), place.repository(), Some(&tag), None)
                .map_err(|error| format!("`tags`: {error}"))
        };
        let request = SyncRequest {
            source: tagged(&first.source)?,
            destination: tagged(&first.destination)?,
            ..first.clone()
        };
        requests.push(request);
    }
    Ok(requests)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
