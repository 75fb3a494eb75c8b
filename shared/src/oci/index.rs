//! An index by its entries, and the same index without some of them.

use std::ops::Range;

use serde::{Deserialize, de::IgnoredAny};

use super::{Platform, manifest::is_blob, platform::Described};

/// What an index says of one of its entries, as far as it decides whether the entry is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its digest, as it is written.
    pub digest: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What an index's entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// An image (or an index) for this platform.
    For(Platform),
    /// BuildKit's attestations of the image with this digest.
    Attests(String),
    /// A manifest or an index whose platform only it can tell.
    Untold,
    /// A blob, or an artifact: for no platform.
    Other,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: Option<String>,
    digest: String,
    #[serde(default)]
    platform: Option<Described>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

/// Source: BuildKit, "Image attestation storage".
#[derive(Deserialize)]
struct Annotations {
    #[serde(default, rename = "vnd.docker.reference.type")]
    reference_type: Option<String>,
    #[serde(default, rename = "vnd.docker.reference.digest")]
    reference_digest: Option<String>,
}

impl From<Descriptor> for Entry {
    fn from(descriptor: Descriptor) -> Self {
        let attests = descriptor
            .annotations
            .filter(|annotations| annotations.reference_type.as_deref() == Some("attestation-manifest"))
            .and_then(|annotations| annotations.reference_digest);
        let platform = descriptor.platform.and_then(|described| described.platform());
        let of_artifact = descriptor.artifact_type.is_some_and(|artifact_type| !artifact_type.is_empty());
        let kind = match (attests, platform) {
            (Some(image), _) => EntryKind::Attests(image),
            (None, Some(platform)) => EntryKind::For(platform),
            (None, None) if of_artifact || descriptor.media_type.as_deref().is_some_and(is_blob) => EntryKind::Other,
            (None, None) => EntryKind::Untold,
        };
        Self { digest: descriptor.digest, kind }
    }
}

/// The entries of an index, in its order.
///
/// # Errors
/// The bytes are none of an index.
pub fn entries(index: &[u8]) -> Result<Vec<Entry>, serde_json::Error> {
    let index: Index = serde_json::from_slice(index)?;
    Ok(index.manifests.into_iter().map(Entry::from).collect())
}

/// The same index without those of its entries that `keep` has `false` for. No other byte is changed: what nobody here
/// knows stays, and whoever does the same gets the same bytes.
///
/// `None`: the bytes, which were parsed before, are none of an index with so many entries.
#[must_use]
pub fn cut(index: &[u8], keep: &[bool]) -> Option<Vec<u8>> {
    let spans = Scan { bytes: index, at: 0 }.entries()?;
    if spans.len() != keep.len() {
        return None;
    }
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return Some(index.to_vec()) };
    let mut left = index[..first.start].to_vec();
    let mut is_first = true;
    for (position, span) in spans.iter().enumerate().filter(|(position, _)| keep[*position]) {
        if !is_first {
            // The comma before it, and the white space around that.
            left.extend_from_slice(&index[spans[position - 1].end..span.start]);
        }
        left.extend_from_slice(&index[span.clone()]);
        is_first = false;
    }
    left.extend_from_slice(&index[last.end..]);
    Some(left)
}

/// The same index with `entries`, written and with commas between them, behind its own. No other byte is changed.
///
/// `None`: the bytes, which were parsed before, are none of an index with a list.
pub(super) fn with(index: &[u8], entries: &str) -> Option<Vec<u8>> {
    let mut scan = Scan { bytes: index, at: 0 };
    scan.find_list()?;
    let behind_bracket = {
        let mut scan = Scan { bytes: index, at: scan.at };
        scan.eat(b'[').then_some(scan.at)?
    };
    let own = scan.list()?;
    let at = own.last().map_or(behind_bracket, |last| last.end);
    let comma = if own.is_empty() || entries.is_empty() { "" } else { "," };
    Some([&index[..at], comma.as_bytes(), entries.as_bytes(), &index[at..]].concat())
}

/// Where in a JSON text something stands.
struct Scan<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Scan<'_> {
    /// Where the entries of an index stand.
    fn entries(mut self) -> Option<Vec<Range<usize>>> {
        self.find_list()?;
        self.list()
    }

    /// Goes to the list of an index.
    fn find_list(&mut self) -> Option<()> {
        self.eat(b'{').then_some(())?;
        loop {
            let key = self.value()?;
            // It may be written with escapes.
            let key: String = serde_json::from_slice(&self.bytes[key]).ok()?;
            self.eat(b':').then_some(())?;
            if key == "manifests" {
                return Some(());
            }
            self.value()?;
            self.eat(b',').then_some(())?;
        }
    }

    fn list(&mut self) -> Option<Vec<Range<usize>>> {
        let mut spans = Vec::new();
        self.eat(b'[').then_some(())?;
        if self.eat(b']') {
            return Some(spans);
        }
        loop {
            spans.push(self.value()?);
            if self.eat(b']') {
                return Some(spans);
            }
            self.eat(b',').then_some(())?;
        }
    }

    /// The next value of any kind.
    fn value(&mut self) -> Option<Range<usize>> {
        self.pass_space();
        let start = self.at;
        let mut values = serde_json::Deserializer::from_slice(self.bytes.get(start..)?).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        self.at = start + values.byte_offset();
        Some(start..self.at)
    }

    /// Whether the next byte that is no space is this one, which is passed then.
    fn eat(&mut self, byte: u8) -> bool {
        self.pass_space();
        let is_next = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn pass_space(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_out_leaves_every_other_byte() {
        let index = "{ \"a\" : [1, {\"manifests\": [9]}],\n \"manifest\\u0073\":[ {\"x\":\"]}\"} ,\n\t{\"y\":-1.5e3},{\"z\":null}\r ], \"b\":\"\\\"\" }\n";
        for (keep, left) in [
            ([true, true, true], "[ {\"x\":\"]}\"} ,\n\t{\"y\":-1.5e3},{\"z\":null}\r ]"),
            ([true, false, true], "[ {\"x\":\"]}\"},{\"z\":null}\r ]"),
            ([false, true, false], "[ {\"y\":-1.5e3}\r ]"),
            ([false, false, true], "[ {\"z\":null}\r ]"),
            ([true, true, false], "[ {\"x\":\"]}\"} ,\n\t{\"y\":-1.5e3}\r ]"),
        ] {
            let whole = index.replace("[ {\"x\":\"]}\"} ,\n\t{\"y\":-1.5e3},{\"z\":null}\r ]", left);
            let cut = cut(index.as_bytes(), &keep).unwrap();
            assert_eq!(String::from_utf8(cut.clone()).unwrap(), whole);
            serde_json::from_slice::<serde_json::Value>(&cut).unwrap();
        }
    }

    #[test]
    fn what_is_no_index_is_not_cut() {
        for text in ["", "[]", "{}", "{\"manifests\":1}", "{\"manifests\":[{},{}]}", "{\"a\":1 \"b\":2}"] {
            assert_eq!(cut(text.as_bytes(), &[true]), None, "{text}");
        }
        assert_eq!(cut(b"{\"manifests\":[]}", &[]).unwrap(), b"{\"manifests\":[]}");
    }

    #[test]
    fn entries_are_told_apart() {
        let index = serde_json::json!({"manifests": [
            {"digest": "a", "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
            {"digest": "b", "platform": {"os": "unknown", "architecture": "unknown"}, "annotations":
                {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": "a", "c": "d"}},
            {"digest": "c", "mediaType": "application/vnd.oci.image.index.v1+json"},
            {"digest": "d", "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"},
            {"digest": "e", "artifactType": "application/spdx+json"},
            {"digest": "f", "platform": {"os": "", "architecture": ""}, "annotations": null, "artifactType": null},
        ]});
        let entries = entries(index.to_string().as_bytes()).unwrap();
        let kinds: Vec<&EntryKind> = entries.iter().map(|entry| &entry.kind).collect();
        let arm = EntryKind::For("linux/arm64".parse().unwrap());
        let attests = EntryKind::Attests("a".into());
        let (untold, other) = (EntryKind::Untold, EntryKind::Other);
        assert_eq!(kinds, [&arm, &attests, &untold, &other, &other, &untold]);
    }
}
