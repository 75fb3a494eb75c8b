//! What messages look like: what users write, and what the functions write to each other.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{
    oci::Platform,
    request::{ExistingTag, Referrers, ScanGate, SyncOptions, SyncRequest},
    sync::Begun,
};

/// The version of messages that the functions write, and the one that they read.
pub const MESSAGE_VERSION: u64 = 1;

/// An image to sync, as a message body: what users write too, so it has no required extras.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageMessage {
    /// [`MESSAGE_VERSION`]; users may leave it out. Read before the rest: another version may have other fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// From where.
    pub source: String,
    /// To where; left out: where the rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Further tags of the same image: copied once, they are put one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<FurtherTag>,
    /// Only these platforms, as a rule names them; left out: the whole index, or what the rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Vec<String>>,
    /// What of what is attached to the image goes with it; left out: all, or what the rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrers: Option<Referrers>,
    /// Artifact types that must be attached to the image, or it is not copied, beside those that the rules name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_referrers: Option<Vec<String>>,
    /// What to do with a tag that the destination has, at another digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_tag: Option<ExistingTag>,
    /// What ECR's scan of the image must not have found; left out: no scan is asked for, or what the rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_gate: Option<ScanGate>,
    /// The digest that the push event or the listing named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_digest: Option<String>,
    /// When the image was pushed, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_at_ms: Option<u64>,
    /// Whether it comes of a push event. The functions' own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heard: bool,
    /// Whether it is what was attached to an image, which goes where its image is. The functions' own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
    /// Whether what is attached is looked for everywhere. The functions' own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tried: bool,
    /// What earlier invocations have done of it, whose time was too short. The functions' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
}

/// A further tag of a message's image, within the message's repositories.
///
/// It is a pair, and not just a name for the destination: every tag is resolved anew when it is synced, so that one
/// that has moved at the source since the message was written isn't moved back by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FurtherTag {
    /// The tag at the source; left out: the message's own source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The tag at the destination; left out: the same as at the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

impl ImageMessage {
    /// The message for syncs of one image into one place, as [`places`] puts them together; `None`: there is none.
    #[must_use]
    pub fn of(requests: &[SyncRequest]) -> Option<Self> {
        let (first, further) = requests.split_first()?;
        let millis = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            u64::try_from(since.as_millis()).ok()
        };
        let tag = |request: &SyncRequest| FurtherTag {
            source: request.source.tag().filter(|_| request.source != first.source).map(str::to_owned),
            destination: request.destination.tag().map(str::to_owned),
        };
        Some(Self {
            version: Some(MESSAGE_VERSION),
            source: first.source.to_string(),
            destination: Some(first.destination.to_string()),
            tags: further.iter().map(tag).collect(),
            platforms: first.options.platforms.as_ref().map(|list| list.iter().map(ToString::to_string).collect()),
            referrers: Some(first.options.referrers.clone()),
            require_referrers: Some(first.options.require_referrers.clone()).filter(|types| !types.is_empty()),
            existing_tag: Some(first.options.existing_tag),
            scan_gate: first.options.scan_gate,
            expected_digest: first.expected.as_ref().map(ToString::to_string),
            pushed_at_ms: first.pushed_at.and_then(millis),
            heard: first.heard,
            attached: first.attached,
            tried: requests.iter().any(|request| request.tried),
            begun: None,
        })
    }

    /// How its image is synced: as it says itself, and else as `by_rules`. It gets past no gate of these: of scans the
    /// stricter one holds, and what either requires is required.
    ///
    /// # Errors
    /// What is wrong with `platforms`, and where in it.
    pub fn options(&self, by_rules: SyncOptions) -> Result<SyncOptions, String> {
        let platforms = match &self.platforms {
            Some(list) => Some(Platform::list(list).map_err(|wrong| format!("`platforms`{}", wrong.join("; ")))?),
            None => by_rules.platforms,
        };
        let mut required = by_rules.require_referrers;
        let own = self.require_referrers.iter().flatten();
        let more: Vec<String> = own.filter(|of| !required.contains(of)).cloned().collect();
        required.extend(more);
        Ok(SyncOptions {
            existing_tag: self.existing_tag.unwrap_or(by_rules.existing_tag),
            referrers: self.referrers.clone().unwrap_or(by_rules.referrers),
            require_referrers: required,
            platforms,
            scan_gate: ScanGate::stricter(self.scan_gate, by_rules.scan_gate),
        })
    }
}

/// Puts syncs of one image together by the place they go to: those of one place make one message, which copies once.
/// The order stays.
#[must_use]
pub fn places(requests: Vec<SyncRequest>) -> Vec<Vec<SyncRequest>> {
    let mut places: Vec<Vec<SyncRequest>> = Vec::new();
    for request in requests {
        match places.iter_mut().find(|place| place.first().is_some_and(|first| go_together(first, &request))) {
            Some(place) => place.push(request),
            None => places.push(vec![request]),
        }
    }
    places
}

/// Whether one message can carry both: its further tags differ from it in nothing but their tags.
fn go_together(first: &SyncRequest, next: &SyncRequest) -> bool {
    let (from, to) = (&first.source, &first.destination);
    let tag_of_source = next.source == *from || (next.source.tag().is_some() && next.source.digest().is_none());
    from.registry() == next.source.registry()
        && from.repository() == next.source.repository()
        && to.registry() == next.destination.registry()
        && to.repository() == next.destination.repository()
        && tag_of_source
        && to.tag().is_some()
        && next.destination.tag().is_some()
        && first.options == next.options
        && first.expected == next.expected
        && first.pushed_at == next.pushed_at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(source: &str, destination: &str) -> SyncRequest {
        SyncRequest {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            expected: None,
            options: SyncOptions::default(),
            pushed_at: None,
            asked_at: None,
            repeated: false,
            tried: false,
            heard: false,
            attached: false,
        }
    }

    #[test]
    fn tags_of_one_place_share_a_message() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let places = places(vec![
            request("quay.io/a/app:v1.2", "ghcr.io/b/app:v1.2"),
            request("quay.io/a/app:v1.2", "ghcr.io/c/app:v1.2"),
            request("quay.io/a/app:v1", "ghcr.io/b/app:v1"),
            request("quay.io/a/app:v1.2", "ghcr.io/b/app:stable"),
            request(&format!("quay.io/a/app@{digest}"), &format!("ghcr.io/b/app@{digest}")),
        ]);
        let sizes: Vec<_> = places.iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 1, 1]);
        let body = serde_json::to_value(ImageMessage::of(&places[0]).unwrap()).unwrap();
        let expected = serde_json::json!([{ "source": "v1", "destination": "v1" }, { "destination": "stable" }]);
        assert_eq!(body["tags"], expected);
        assert_eq!((&body["version"], &body["source"]), (&1.into(), &"quay.io/a/app:v1.2".into()));
        assert!(serde_json::to_value(ImageMessage::of(&places[1]).unwrap()).unwrap().get("tags").is_none());
        assert_eq!(ImageMessage::of(&[]), None);
    }

    #[test]
    fn what_the_rules_require_is_required_whatever_a_message_says() {
        let by_rules = || SyncOptions { require_referrers: vec!["a/*".into(), "b/c".into()], ..SyncOptions::default() };
        for (own, expected) in [
            (None, &["a/*", "b/c"][..]),
            (Some(&[][..]), &["a/*", "b/c"]),
            (Some(&["b/c", "d/e"]), &["a/*", "b/c", "d/e"]),
        ] {
            let body =
                serde_json::json!({ "source": "quay.io/a/app:v1", "require_referrers": own, "referrers": false });
            let message: ImageMessage = serde_json::from_value(body).unwrap();
            assert_eq!(message.options(by_rules()).unwrap().require_referrers, expected);
        }
    }

    #[test]
    fn what_is_to_be_done_otherwise_has_a_message_of_its_own() {
        let one = request("quay.io/a/app:v1", "ghcr.io/b/app:v1");
        let kept = SyncRequest {
            options: SyncOptions { existing_tag: ExistingTag::Keep, ..SyncOptions::default() },
            ..request("quay.io/a/app:v2", "ghcr.io/b/app:v2")
        };
        let other = request("quay.io/other/app:v3", "ghcr.io/b/app:v3");
        assert_eq!(places(vec![one, kept, other]).len(), 3);
    }
}
