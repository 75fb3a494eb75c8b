//! How artifacts are attached to a manifest: descriptors of referrers, and the tags that stand in where a registry has no
//! referrers API. Pure.

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::{
    Digest, Manifest,
    index::{cut, with},
};

/// The media type of an index, which lists of referrers are.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What cosign ties to a manifest by a tag that is made of its digest.
///
/// Source: cosign, "Signature Specification", "Tag-based Discovery".
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

/// A manifest that refers to another one, as a list of referrers names it. Such a list is not to be trusted with more than
/// the digest: what it says besides is a hint, and sizes and types are those of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The artifact's digest.
    pub digest: Digest,
    /// Whether the list calls it an index.
    pub is_index: bool,
    /// Bytes of its manifest, where the list says so many.
    pub size: Option<u64>,
    /// Its type, where the list says one.
    pub artifact_type: Option<String>,
}

/// What a list of referrers names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferrersList {
    /// Its entries, in its order.
    pub referrers: Vec<Referrer>,
    /// How many of its entries are left out: they have no digest that anybody here could verify.
    pub unreadable: usize,
}

/// A list of referrers: what the API answers, and what stands under the fallback tag.
#[derive(Debug, Deserialize)]
struct List {
    #[serde(deserialize_with = "entries_or_null")]
    manifests: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Entry {
    Listed(Listed),
    Unreadable(IgnoredAny),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    digest: String,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    size: Value,
    #[serde(default)]
    artifact_type: Option<String>,
}

/// Some write `null` for an empty list; what has no list at all is no index.
fn entries_or_null<'de, D: Deserializer<'de>>(member: D) -> Result<Vec<Entry>, D::Error> {
    Ok(Option::deserialize(member)?.unwrap_or_default())
}

impl Entry {
    fn into_referrer(self) -> Option<Referrer> {
        let Self::Listed(listed) = self else { return None };
        let media_type = listed.media_type.unwrap_or_default();
        Some(Referrer {
            digest: listed.digest.parse().ok()?,
            is_index: media_type.contains("image.index") || media_type.contains("manifest.list"),
            size: listed.size.as_u64(),
            artifact_type: listed.artifact_type.filter(|text| !text.is_empty()),
        })
    }
}

/// Reads a list of referrers for its digests. What else its entries say, or fail to say, keeps none of them back.
///
/// # Errors
/// The bytes are no image index. Those of JSON that is something else are `is_data`.
pub fn read_referrers(bytes: &[u8]) -> Result<ReferrersList, serde_json::Error> {
    let list: List = serde_json::from_slice(bytes)?;
    let entries = list.manifests.len();
    let referrers: Vec<Referrer> = list.manifests.into_iter().filter_map(Entry::into_referrer).collect();
    let unreadable = entries - referrers.len();
    Ok(ReferrersList { referrers, unreadable })
}

/// The tag of the index that lists a manifest's referrers where a registry has no API for it.
///
/// Source: OCI distribution-spec, "Referrers Tag Schema": the algorithm cut to 32 characters, the hex to 64.
#[must_use]
pub fn referrers_tag(subject: &Digest) -> String {
    let (algorithm, hex) = subject.as_str().split_once(':').unwrap_or(("", subject.as_str()));
    format!("{algorithm:.32}-{hex:.64}")
}

/// The tags under which cosign keeps what belongs to a manifest.
#[must_use]
pub fn cosign_tags(subject: &Digest) -> Vec<String> {
    let stem = subject.as_str().replace(':', "-");
    COSIGN.iter().map(|suffix| format!("{stem}.{suffix}")).collect()
}

/// A tag that belongs to another manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachedTag {
    /// One of cosign's.
    Cosign(Digest),
    /// The index of a manifest's referrers.
    Index(Digest),
}

impl AttachedTag {
    /// Reads `sha256-<hex>[.suffix]`; `None`: the tag stands for itself.
    #[must_use]
    pub fn of(tag: &str) -> Option<Self> {
        let (algorithm, rest) = tag.split_once('-')?;
        let (hex, suffix) = rest.split_once('.').map_or((rest, None), |(hex, suffix)| (hex, Some(suffix)));
        let subject = format!("{algorithm}:{hex}").parse().ok()?;
        match suffix {
            None => Some(Self::Index(subject)),
            Some(suffix) if COSIGN.contains(&suffix) => Some(Self::Cosign(subject)),
            Some(_) => None,
        }
    }
}

/// What a list of referrers is to lose when it is written anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Entries of these: the registry has them no more.
    pub gone: Vec<Digest>,
    /// Entries that are no descriptors: the registry takes no list with such.
    pub unsound: bool,
}

impl Dropped {
    fn keeps(&self, entry: &Value) -> bool {
        let is_gone = self.gone.iter().any(|digest| entry["digest"] == digest.as_str());
        !is_gone && (!self.unsound || is_sound(entry))
    }
}

/// Whether an entry of a list is a descriptor with all that one must have, of an algorithm that is known here.
///
/// Source: OCI image-spec, "OCI Content Descriptors".
fn is_sound(entry: &Value) -> bool {
    let digest = entry["digest"].as_str().is_some_and(|digest| digest.parse::<Digest>().is_ok());
    digest && entry["mediaType"].as_str().is_some_and(|text| !text.is_empty()) && entry["size"].is_u64()
}

/// Whether some entry of a list is no descriptor.
#[must_use]
pub fn has_unsound(list: &[u8]) -> bool {
    let list: Value = serde_json::from_slice(list).unwrap_or_default();
    list["manifests"].as_array().is_some_and(|entries| !entries.iter().all(is_sound))
}

/// The list of `bytes` without what is `dropped`, and with the referrers that it lacks; every other byte stays as it is.
///
/// # Errors
/// The bytes are no image index.
pub fn merged_referrers(
    bytes: Option<&[u8]>,
    dropped: &Dropped,
    more: &[&Manifest],
) -> Result<Vec<u8>, serde_json::Error> {
    let empty = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).to_string();
    let bytes = bytes.unwrap_or(empty.as_bytes());
    let mut index: Map<String, Value> = serde_json::from_slice(bytes)?;
    let listed = match index.get("manifests") {
        Some(Value::Array(listed)) => listed.as_slice(),
        Some(Value::Null) => &[],
        _ => return Err(serde::de::Error::missing_field("manifests")),
    };
    let keep: Vec<bool> = listed.iter().map(|entry| dropped.keeps(entry)).collect();
    let mut new: Vec<Value> = Vec::new();
    for manifest in more {
        let digest = manifest.digest.as_str();
        let kept = listed.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(entry, _)| entry);
        if !kept.chain(&new).any(|entry| entry["digest"] == digest) {
            new.push(descriptor(manifest));
        }
    }
    let entries: Vec<String> = new.iter().map(Value::to_string).collect();
    let merged = cut(bytes, &keep).and_then(|left| with(&left, &entries.join(",")));
    if let Some(merged) = merged {
        return Ok(merged);
    }
    // There is no list in it to be added to: `null`.
    let kept = listed.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(entry, _)| entry.clone());
    let all = kept.chain(new).collect();
    index.insert("manifests".to_owned(), Value::Array(all));
    serde_json::to_vec(&index)
}

/// A list of referrers as a manifest that can be put. What it lists is not looked at: whoever wrote it may have written
/// anything.
#[must_use]
pub fn referrers_index(bytes: Vec<u8>) -> Manifest {
    let own = serde_json::from_slice::<Value>(&bytes).map(|mut index| index["mediaType"].take());
    let media_type = match own {
        Ok(Value::String(own)) if !own.is_empty() => own,
        _ => OCI_INDEX.to_owned(),
    };
    Manifest {
        digest: Digest::of(&bytes),
        media_type,
        bytes: bytes.into(),
        children: Vec::new(),
        blobs: Vec::new(),
        is_index: true,
        subject: None,
        artifact_type: None,
        layer_types: Vec::new(),
    }
}

/// A referrer's descriptor, made of its own bytes: its type is the manifest's `artifactType`, or its configuration's media
/// type; its annotations are the manifest's.
///
/// Source: OCI distribution-spec, "Listing Referrers".
fn descriptor(manifest: &Manifest) -> Value {
    let mut descriptor = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest.as_str(),
        "size": manifest.bytes.len(),
    });
    if let Some(artifact_type) = &manifest.artifact_type {
        descriptor["artifactType"] = json!(artifact_type);
    }
    // It has been read once already, as what it is.
    let annotations = serde_json::from_slice(&manifest.bytes).map(|mut whole: Value| whole["annotations"].take());
    if let Ok(annotations @ Value::Object(_)) = annotations {
        descriptor["annotations"] = annotations;
    }
    descriptor
}

#[cfg(test)]
#[path = "referrer_tests.rs"]
mod tests;
