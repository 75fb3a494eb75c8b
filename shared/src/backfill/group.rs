//! From single tags to messages: tags of one digest that go to one repository are one message. Pure.

use std::collections::HashMap;

use crate::{
    error::{Error, ErrorType},
    oci::Digest,
    queue::ImageMessage,
    request::{ExistingTag, SyncRequest},
};

/// Tags of one message: each is looked at in turn, in one invocation. Chosen.
const MOST_TAGS: usize = 100;

/// What requests of one message have in common.
#[derive(PartialEq, Eq, Hash)]
struct Key<'r> {
    source: (&'r str, &'r str),
    digest: &'r Digest,
    destination: (&'r str, &'r str),
    existing: ExistingTag,
}

/// Groups requests, in the order in which each group began; one whose digest isn't known stays alone.
pub(super) fn groups(requests: &[SyncRequest]) -> Vec<Vec<&SyncRequest>> {
    let mut groups: Vec<Vec<&SyncRequest>> = Vec::new();
    let mut known: HashMap<Key<'_>, usize> = HashMap::new();
    for request in requests {
        let Some(digest) = request.expected.as_ref() else {
            groups.push(vec![request]);
            continue;
        };
        let key = Key {
            source: (request.source.registry(), request.source.repository()),
            digest,
            destination: (request.destination.registry(), request.destination.repository()),
            existing: request.options.existing_tag,
        };
        match known.get(&key).filter(|_| keeps_its_tag(request)) {
            Some(&at) if groups[at].len() < MOST_TAGS => groups[at].push(request),
            _ => {
                known.insert(key, groups.len());
                groups.push(vec![request]);
            }
        }
    }
    groups
}

/// Whether the tag is the same at both ends, as a message's further tags are.
fn keeps_its_tag(request: &SyncRequest) -> bool {
    let (source, destination) = (&request.source, &request.destination);
    source.tag().is_some() && source.digest().is_none() && source.tag() == destination.tag()
}

/// The message of a group.
pub(super) fn body(group: &[&SyncRequest]) -> Result<String, Error> {
    let [first, further @ ..] = group else { return Err(Error::new(ErrorType::InvalidEvent, "a message of no image")) };
    let tags = further.iter().filter_map(|request| request.source.tag().map(str::to_owned)).collect::<Vec<_>>();
    let message =
        ImageMessage { tags: if tags.is_empty() { None } else { Some(tags) }, ..ImageMessage::from(*first) };
    serde_json::to_string(&message).map_err(|error| Error::new(ErrorType::InvalidEvent, error.to_string()))
}

/// Whether a tag belongs to another image: cosign's `sha256-<hex>.sig`, `.att` and `.sbom`, and the index that stands in
/// for the referrers API (OCI distribution-spec, "Referrers Tag Schema").
pub(super) fn is_attachment(tag: &str) -> bool {
    let Some(rest) = tag.strip_prefix("sha256-") else { return false };
    let (hex, suffix) = rest.split_at_checked(64).unwrap_or((rest, ""));
    hex.len() == 64
        && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && (suffix.is_empty() || suffix.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::SyncOptions;

    fn request(source: &str, destination: &str, digest: Option<&[u8]>) -> SyncRequest {
        SyncRequest {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            expected: digest.map(Digest::of),
            options: SyncOptions::default(),
            pushed_at: None,
            repeated: false,
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
        let tags = |group: &Vec<&SyncRequest>| group.iter().map(|r| r.destination.tag().unwrap().to_owned()).collect();
        let tags: Vec<Vec<String>> = groups.iter().map(tags).collect();
        assert_eq!(tags, [vec!["v1", "v1.2"], vec!["v2"], vec!["x"], vec!["y"], vec!["v1"], vec!["mirror-v1.3"]]);
        let message: serde_json::Value = serde_json::from_str(&body(&groups[0]).unwrap()).unwrap();
        assert_eq!(message["source"], "ghcr.io/a/b:v1");
        assert_eq!(message["tags"], serde_json::json!(["v1.2"]));
        assert!(!body(&groups[1]).unwrap().contains("tags"));
    }

    #[test]
    fn a_message_has_a_hundred_tags_at_most() {
        let requests: Vec<_> = (0..250)
            .map(|n| request(&format!("ghcr.io/a/b:v{n}"), &format!("quay.io/a/b:v{n}"), Some(b"1")))
            .collect();
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
