//! How artifacts are attached to a manifest: descriptors of referrers, and the tags that stand in where a registry has no
//! referrers API. Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Digest, Manifest};

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

/// A list of referrers: what the API answers, and what stands under the fallback tag.
#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    manifests: Option<Vec<Listed>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    digest: String,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    size: Value,
    #[serde(default)]
    artifact_type: Option<String>,
}

/// Reads a list of referrers. Entries whose digest nobody here could verify are left out.
///
/// # Errors
/// The bytes are no image index.
pub fn read_referrers(bytes: &[u8]) -> Result<Vec<Referrer>, serde_json::Error> {
    let list: List = serde_json::from_slice(bytes)?;
    let listed = list.manifests.unwrap_or_default().into_iter();
    let referrers = listed.filter_map(|listed| {
        Some(Referrer {
            digest: listed.digest.parse().ok()?,
            is_index: listed.media_type.contains("image.index") || listed.media_type.contains("manifest.list"),
            size: listed.size.as_u64(),
            artifact_type: listed.artifact_type.filter(|text| !text.is_empty()),
        })
    });
    Ok(referrers.collect())
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

/// The list of `bytes` without what is `gone`, and with the referrers that it lacks; every other entry stays as it is.
///
/// # Errors
/// The bytes are no JSON object.
pub fn merged_referrers(
    bytes: Option<&[u8]>,
    gone: &[Digest],
    more: &[&Manifest],
) -> Result<Vec<u8>, serde_json::Error> {
    let mut index: Map<String, Value> = match bytes {
        Some(bytes) => serde_json::from_slice(bytes)?,
        None => Map::from_iter([
            ("schemaVersion".to_owned(), json!(2)),
            ("mediaType".to_owned(), json!(OCI_INDEX)),
            ("manifests".to_owned(), json!([])),
        ]),
    };
    let mut listed = match index.remove("manifests") {
        Some(Value::Array(listed)) => listed,
        _ => Vec::new(),
    };
    listed.retain(|entry| !gone.iter().any(|digest| entry["digest"] == digest.as_str()));
    for manifest in more {
        if !listed.iter().any(|entry| entry["digest"] == manifest.digest.as_str()) {
            listed.push(descriptor(manifest));
        }
    }
    index.insert("manifests".to_owned(), Value::Array(listed));
    serde_json::to_vec(&index)
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
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::of(b"subject")
    }

    #[test]
    fn tags_are_made_of_the_subject_and_read_back() {
        let subject = digest();
        let hex = subject.as_str().strip_prefix("sha256:").unwrap();
        assert_eq!(referrers_tag(&subject), format!("sha256-{hex}"));
        assert_eq!(cosign_tags(&subject)[0], format!("sha256-{hex}.sig"));
        assert_eq!(AttachedTag::of(&referrers_tag(&subject)), Some(AttachedTag::Index(subject.clone())));
        for tag in cosign_tags(&subject) {
            assert_eq!(AttachedTag::of(&tag), Some(AttachedTag::Cosign(subject.clone())));
        }
        for tag in [
            "v1",
            &format!("sha256-{hex}.src"),
            "sha256-abc",
            &format!("sha256-{hex}."),
            &format!("md5-{hex}.sig"),
            "sha256-",
        ] {
            assert_eq!(AttachedTag::of(tag), None, "{tag}");
        }
        let long: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert_eq!(referrers_tag(&long), format!("sha512-{}", "a".repeat(64)));
    }

    #[test]
    fn a_list_is_read_for_its_digests_alone() {
        let subject = digest();
        let list = json!({"schemaVersion": 2, "manifests": [
            {"mediaType": OCI_INDEX, "digest": subject.as_str(), "size": 9_999_999_999_u64, "artifactType": "a/b"},
            {"mediaType": "x", "digest": "md5:abc", "size": 1},
            {"digest": subject.as_str()},
        ]});
        let read = read_referrers(list.to_string().as_bytes()).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].is_index, read[0].artifact_type.as_deref()), (true, Some("a/b")));
        assert_eq!((read[1].is_index, read[1].artifact_type.as_deref()), (false, None));
        assert_eq!(read_referrers(b"{\"manifests\":null}").unwrap(), []);
        assert!(read_referrers(b"<html>").is_err());
    }

    #[test]
    fn a_merged_list_keeps_what_is_there_and_adds_what_lacks() {
        let bytes = json!({
            "schemaVersion": 2,
            "artifactType": "application/spdx+json",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest().as_str(), "size": 2},
            "layers": [],
            "annotations": {"made": "today"},
        });
        let bytes = bytes.to_string();
        let manifest = Manifest::parse(bytes.clone().into(), Digest::of(bytes.as_bytes()), None).unwrap();
        let first = merged_referrers(None, &[], &[&manifest, &manifest]).unwrap();
        let index: Value = serde_json::from_slice(&first).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        let entry = &index["manifests"][0];
        assert_eq!(entry["digest"], manifest.digest.as_str());
        assert_eq!(entry["size"], bytes.len());
        assert_eq!(entry["artifactType"], "application/spdx+json");
        assert_eq!(entry["annotations"]["made"], "today");
        let foreign =
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "x": 1, "manifests": [{"digest": "d", "y": 2}]});
        let both: Value =
            serde_json::from_slice(&merged_referrers(Some(foreign.to_string().as_bytes()), &[], &[&manifest]).unwrap())
                .unwrap();
        assert_eq!((&both["x"], &both["manifests"][0]["y"]), (&json!(1), &json!(2)));
        assert_eq!(both["manifests"].as_array().unwrap().len(), 2);
        let gone = merged_referrers(Some(&first), std::slice::from_ref(&manifest.digest), &[]).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&gone).unwrap()["manifests"], json!([]));
    }
}
