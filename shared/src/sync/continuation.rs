//! What an invocation leaves for the next one, where the time of one is too short for an image.
//!
//! Blobs that were committed need no mention: the next inventory finds them. What would be lost is an upload that is half
//! sent, so that one is told of: where it goes on, how far it came, and the running sum of what was sent.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use url::Url;

use super::transfer::Mark;
use crate::oci::{Blob, Digest};

/// Invocations in a row that may move nothing.
pub(super) const MOST_FRUITLESS: u32 = 2;

/// What earlier invocations did of a sync, beside what its destination tells by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// How many invocations have worked on it.
    pub invocations: u32,
    /// How many of them, the last ones, moved nothing.
    pub fruitless: u32,
    /// Uploads that are half sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uploads: Vec<HalfSent>,
    /// Digests of blobs that were cut by the end of an invocation and have no session to go on in: they are sent in
    /// chunks, where the registry takes those, so that the next end leaves one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<String>,
}

/// An upload that goes on where it was.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalfSent {
    /// The blob.
    pub digest: String,
    /// Where the upload goes on. Registries sign these: whoever has one can write to this upload, so it is in no log.
    pub location: String,
    /// Bytes that the registry has.
    pub offset: u64,
    /// Bytes that the sum is over; the last frame that was sent may not be among them.
    pub summed: u64,
    /// The running hash's state, base64.
    pub sum: String,
    /// The least size of a chunk in bytes, where the registry says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_chunk: Option<u64>,
}

impl std::fmt::Debug for HalfSent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HalfSent({} at byte {})", self.digest, self.offset)
    }
}

impl Begun {
    /// The blob's half-sent upload, if there is one that can be used.
    pub(super) fn upload(&self, blob: &Blob) -> Option<GoOn> {
        let half = self.uploads.iter().find(|half| half.digest == blob.digest.as_str())?;
        let hasher = blob.digest.hasher_from(&BASE64_STANDARD.decode(&half.sum).ok()?)?;
        let within = half.summed <= half.offset && half.offset <= blob.size;
        let location = Url::parse(&half.location).ok().filter(|_| within)?;
        let mark = Mark { offset: half.summed, hasher };
        Some(GoOn { location, offset: half.offset, mark, least_chunk: half.least_chunk })
    }

    /// Whether the blob was cut by the end of an invocation, or is half sent already.
    pub(super) fn needs_chunks(&self, blob: &Blob) -> bool {
        let digest = blob.digest.as_str();
        self.cut.iter().any(|cut| cut == digest) || self.uploads.iter().any(|half| half.digest == digest)
    }

    /// How many bytes of the blob its half-sent upload has.
    pub(super) fn reached(&self, digest: &str) -> u64 {
        self.uploads.iter().find(|half| half.digest == digest).map_or(0, |half| half.offset)
    }
}

/// Where an upload goes on.
#[derive(Clone)]
pub(super) struct GoOn {
    pub(super) location: Url,
    /// Bytes that the registry has.
    pub(super) offset: u64,
    /// Where the sum goes on: at `offset`, or a little before.
    pub(super) mark: Mark,
    pub(super) least_chunk: Option<u64>,
}

impl GoOn {
    pub(super) fn save(&self, digest: &Digest) -> HalfSent {
        HalfSent {
            digest: digest.to_string(),
            location: self.location.to_string(),
            offset: self.offset,
            summed: self.mark.offset,
            sum: BASE64_STANDARD.encode(self.mark.hasher.save()),
            least_chunk: self.least_chunk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> Blob {
        Blob { digest: Digest::of(b"abcdef"), size: 6, foreign: false }
    }

    fn half(offset: u64) -> HalfSent {
        let mut hasher = blob().digest.hasher();
        hasher.update(b"ab");
        let location = Url::parse("https://registry.example.test/v2/a/blobs/uploads/1?_state=secret").unwrap();
        GoOn { location, offset, mark: Mark { offset: 2, hasher }, least_chunk: None }.save(&blob().digest)
    }

    #[test]
    fn a_saved_upload_reads_back() {
        let begun = Begun { uploads: vec![half(3)], ..Begun::default() };
        let text = serde_json::to_string(&begun).unwrap();
        let begun: Begun = serde_json::from_str(&text).unwrap();
        let mut go_on = begun.upload(&blob()).unwrap();
        assert_eq!((go_on.offset, go_on.mark.offset), (3, 2));
        go_on.mark.hasher.update(b"cdef");
        assert_eq!(go_on.mark.hasher.finish(), blob().digest);
        assert!(begun.needs_chunks(&blob()));
        assert!(!format!("{begun:?}").contains("secret"));
    }

    #[test]
    fn one_that_makes_no_sense_is_not_used() {
        let bad = [
            half(7),
            half(1),
            HalfSent { sum: "?".to_owned(), ..half(3) },
            HalfSent { sum: String::new(), ..half(3) },
            HalfSent { location: "nowhere".to_owned(), ..half(3) },
            HalfSent { digest: Digest::of(b"").to_string(), ..half(3) },
        ];
        for half in bad {
            let begun = Begun { uploads: vec![half.clone()], ..Begun::default() };
            assert!(begun.upload(&blob()).is_none(), "{half:?}");
        }
    }
}
