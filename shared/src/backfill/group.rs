//! From single tags to messages: tags of one digest that go to one repository are one message. Pure.

use std::collections::HashMap;

use crate::{
    error::{Error, ErrorType},
    oci::{AttachedTag, Digest},
    queue::ImageMessage,
    request::{SyncOptions, SyncRequest},
};

/// Tags of one message: each is looked at in turn, in one invocation. Chosen.
const MOST_TAGS: usize = 100;

/// What requests of one message have in common: an image, and the place that it goes to.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Key<'r> {
    source: (&'r str, &'r str),
    digest: &'r Digest,
    destination: (&'r str, &'r str),
    options: &'r SyncOptions,
}

impl<'r> Key<'r> {
    /// `None`: it isn't known which image it is.
    pub(super) fn of(request: &'r SyncRequest) -> Option<Self> {
        Some(Self {
            source: (request.source.registry(), request.source.repository()),
            digest: request.expected.as_ref()?,
            destination: (request.destination.registry(), request.destination.repository()),
            options: &request.options,
        })
    }
}

/// Groups requests, in the order in which each group began; one whose digest isn't known stays alone. As
/// [`crate::queue::places`] does, for a thousand of them.
pub(super) fn groups(requests: &[SyncRequest]) -> Vec<Vec<SyncRequest>> {
    let mut groups: Vec<Vec<SyncRequest>> = Vec::new();
    let mut known: HashMap<Key<'_>, usize> = HashMap::new();
    for request in requests {
        let Some(key) = Key::of(request) else {
            groups.push(vec![request.clone()]);
            continue;
        };
        match known.get(&key) {
            Some(&at) if groups[at].len() < MOST_TAGS && is_tagged(request) => groups[at].push(request.clone()),
            _ => {
                if is_tagged(request) {
                    known.insert(key, groups.len());
                }
                groups.push(vec![request.clone()]);
            }
        }
    }
    groups
}

/// Whether both ends are tags, as those of a message with several are.
fn is_tagged(request: &SyncRequest) -> bool {
    request.source.digest().is_none() && request.destination.tag().is_some()
}

/// The message of a group.
pub(super) fn body(group: &[SyncRequest]) -> Result<String, Error> {
    serde_json::to_string(&ImageMessage::of(group))
        .map_err(|error| Error::new(ErrorType::InvalidEvent, error.to_string()))
}

/// Whether a tag belongs to another image: cosign's `sha256-<hex>.sig`, `.att` and `.sbom`, and the index that stands in
/// for the referrers API (OCI distribution-spec, "Referrers Tag Schema").
pub(super) fn is_attachment(tag: &str) -> bool {
    AttachedTag::of(tag).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(source: &str, destination: &str, digest: Option<&[u8]>) -> SyncRequest {
        SyncRequest {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            expected: digest.map(Digest::of),
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
    fn tags_of_one_digest_are_one_message() {
        let to = |tag: &str, digest: Option<&[u8]>| {
            request(&format!("ghcr.io/a/b:{tag}"), &format!("quay.io/a/b:{tag}"), digest)
        };
        let requests = [
            to("v1", Some(b"1")),
            to("v2", Some(b"2")),
            to("v1.2", Some(b"1")),
            to("x", None),
            to("y", None),
            request("ghcr.io/a/b:v1", "quay.io/a/other:v1", Some(b"1")),
            request("ghcr.io/a/b:v1.3", "quay.io/a/b:mirror-v1.3", Some(b"1")),
        ];
        let groups = groups(&requests);
        let tags = |group: &Vec<SyncRequest>| group.iter().map(|r| r.destination.tag().unwrap().to_owned()).collect();
        let tags: Vec<Vec<String>> = groups.iter().map(tags).collect();
        assert_eq!(tags, [vec!["v1", "v1.2", "mirror-v1.3"], vec!["v2"], vec!["x"], vec!["y"], vec!["v1"]]);
        let message: serde_json::Value = serde_json::from_str(&body(&groups[0]).unwrap()).unwrap();
        assert_eq!(message["source"], "ghcr.io/a/b:v1");
        let further = serde_json::json!([
            { "source": "v1.2", "destination": "v1.2" },
            { "source": "v1.3", "destination": "mirror-v1.3" },
        ]);
        assert_eq!(message["tags"], further);
        assert!(!body(&groups[1]).unwrap().contains("tags"));
    }

    #[test]
    fn a_message_has_a_hundred_tags_at_most() {
        let requests: Vec<_> =
            (0..250).map(|n| request(&format!("ghcr.io/a/b:v{n}"), &format!("quay.io/a/b:v{n}"), Some(b"1"))).collect();
        assert_eq!(groups(&requests).iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    }

    #[test]
    fn attachments_are_told_by_their_tags() {
        let hex = "0f".repeat(32);
        for (tag, is) in [
            (format!("sha256-{hex}"), true),
            (format!("sha256-{hex}.sig"), true),
            (format!("sha256-{hex}.att"), true),
            (format!("sha256-{hex}0"), false),
            (format!("sha256-{}.sig", &hex[1..]), false),
            (format!("sha256-{}", hex.to_uppercase()), false),
            ("sha256-main".to_owned(), false),
            ("v1".to_owned(), false),
        ] {
            assert_eq!(is_attachment(&tag), is, "{tag}");
        }
    }
}
