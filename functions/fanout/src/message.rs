//! Message bodies: what they ask for. Pure.

use std::time::{Duration, SystemTime};

use transfer::{
    error::{Error, ErrorType},
    oci::Reference,
    queue::{CONTINUATION_VERSION, Continuation, ImageMessage},
    request::{SyncOptions, SyncRequest},
    rules::{Pushed, Rules, Verdict},
    sync::Begun,
};

/// Reads a message body: an image with both ends, or one whose destinations come from `rules`, or one that an earlier
/// invocation began; and what that did.
///
/// # Errors
/// `InvalidEvent`: it is no message of ours, or no rule takes its image. `InvalidReference`: an end is no reference.
pub(crate) fn read(body: &str, rules: &Rules) -> Result<(Vec<SyncRequest>, Begun), Error> {
    let invalid = |reason: String| Error::new(ErrorType::InvalidEvent, format!("the message can't be used: {reason}"));
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).unwrap_or_default();
    for (key, what) in [("backfill", "a backfill"), ("detail-type", "an EventBridge event")] {
        if object.contains_key(key) {
            return Err(invalid(format!("{what} is not taken by this version; send one message for each image")));
        }
    }
    if object.contains_key("continue") {
        let message: Continuation = serde_json::from_str(body).map_err(|error| invalid(error.to_string()))?;
        if message.version != CONTINUATION_VERSION {
            return Err(invalid(format!(
                "it is a continuation of version {}, this function knows {CONTINUATION_VERSION}; deploy one version of both \
                 functions, then redrive it",
                message.version
            )));
        }
        return Ok((image(message.image, rules)?, message.begun));
    }
    let message: ImageMessage = serde_json::from_str(body)
        .map_err(|error| invalid(format!("{error}; expected {{\"source\":…,\"destination\":…}}")))?;
    Ok((image(message, rules)?, Begun::default()))
}

fn image(message: ImageMessage, rules: &Rules) -> Result<Vec<SyncRequest>, Error> {
    let invalid = |reason: String| Error::new(ErrorType::InvalidEvent, format!("the message can't be used: {reason}"));
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
        return Ok(vec![request]);
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

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
