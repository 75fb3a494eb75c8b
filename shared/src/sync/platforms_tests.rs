//! What is kept of an index, against a plain reference implementation.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;

/// Platforms as descriptors have them, and what they are to be taken for.
const PLATFORMS: [(&str, &str); 12] = [
    (r#"{"os":"linux","architecture":"amd64"}"#, "amd64"),
    (r#"{"architecture":"x86_64","os":"Linux","variant":"v1"}"#, "amd64"),
    (r#"{"os":"linux","architecture":"amd64","variant":"v3"}"#, "amd64/v3"),
    (r#"{"os":"linux","architecture":"arm64"}"#, "arm64"),
    (r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#, "arm64"),
    (r#"{"os":"linux","architecture":"arm","variant":"v7"}"#, "arm/v7"),
    (r#"{"os":"linux","architecture":"arm","variant":"v6"}"#, "arm/v6"),
    (r#"{"os":"windows","architecture":"amd64","os.version":"10.0.17763.6532"}"#, "2019"),
    (r#"{"os":"windows","architecture":"amd64","os.version":"10.0.20348.1"}"#, "2022"),
    (r#"{"os":"windows","architecture":"amd64","os.version":"10.0.20348.1","os.features":["win32k"]}"#, "win32k"),
    (r#"{"os":"darwin","architecture":"arm64"}"#, "mac"),
    (r#"{"os":"unknown","architecture":"unknown"}"#, "unknown"),
];

/// What users write, and all that it stands for.
const WANTED: [(&str, &[&str]); 11] = [
    ("linux/amd64", &["amd64"]),
    ("linux/amd64/v3", &["amd64/v3"]),
    ("linux/arm64/v8", &["arm64"]),
    ("linux/aarch64", &["arm64"]),
    ("linux/arm", &["arm/v7"]),
    ("linux/armel", &["arm/v6"]),
    ("windows(10.0.17763)/amd64", &["2019"]),
    ("windows(10.0.20348.7)/amd64", &["2022"]),
    ("windows/amd64", &["2019", "2022"]),
    ("windows(+win32k)/amd64", &["2019", "2022", "win32k"]),
    ("macos/arm64", &["mac"]),
];

/// An entry that a test makes.
#[derive(Debug, Clone)]
enum Made {
    Image(usize),
    /// Of the image at this place among all entries, or of one that is not there.
    Attests(usize),
    Artifact,
}

fn made() -> impl Strategy<Value = Vec<Made>> {
    let one = prop_oneof![
        6 => (0..PLATFORMS.len()).prop_map(Made::Image),
        2 => (0..14_usize).prop_map(Made::Attests),
        1 => Just(Made::Artifact),
    ];
    vec(one, 0..12)
}

fn digest(position: usize) -> String {
    Digest::of(&position.to_le_bytes()).to_string()
}

fn index(made: &[Made]) -> Value {
    let entries = made.iter().enumerate().map(|(position, made)| {
        let mut entry = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(position),
            "size": position,
            "annotations": { "position": position.to_string() },
            "x-unknown": [position, null, { "manifests": [] }],
        });
        match made {
            Made::Image(platform) => entry["platform"] = serde_json::from_str(PLATFORMS[*platform].0).unwrap(),
            Made::Attests(image) => {
                entry["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
                entry["annotations"]["vnd.docker.reference.type"] = "attestation-manifest".into();
                entry["annotations"]["vnd.docker.reference.digest"] = digest(*image).into();
            }
            Made::Artifact => entry["artifactType"] = "application/spdx+json".into(),
        }
        entry
    });
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "annotations": { "of": "the index" },
        "manifests": entries.collect::<Vec<_>>(),
        "subject": { "mediaType": "a/b", "digest": digest(99), "size": 1 },
        "zzz": { "manifests": [1, 2] },
    })
}

/// The positions that are kept; `None`: nothing is wanted of what is there.
fn reference(made: &[Made], wanted: &[usize]) -> Option<Vec<usize>> {
    let is_wanted = |platform: usize| wanted.iter().any(|wanted| WANTED[*wanted].1.contains(&PLATFORMS[platform].1));
    let images = made.iter().filter_map(|made| if let Made::Image(platform) = made { Some(*platform) } else { None });
    let known: Vec<usize> = images.filter(|platform| PLATFORMS[*platform].1 != "unknown").collect();
    if known.is_empty() {
        return Some((0..made.len()).collect());
    }
    if !known.iter().any(|platform| is_wanted(*platform)) {
        return None;
    }
    let stays = |position: usize| match made.get(position) {
        Some(Made::Image(platform)) => is_wanted(*platform),
        Some(Made::Artifact) => true,
        Some(Made::Attests(_)) | None => false,
    };
    let kept = (0..made.len()).filter(|position| match made[*position] {
        Made::Attests(image) => stays(image),
        Made::Image(_) | Made::Artifact => stays(*position),
    });
    Some(kept.collect())
}

/// The index, filtered; `None`: nothing is wanted of what is there.
fn filtered(index: &[u8], platforms: &[Platform]) -> Option<Vec<u8>> {
    let entries = entries(index).unwrap();
    let part = |entry: &Entry| {
        let platforms = if let EntryKind::For(platform) = &entry.kind { vec![platform.clone()] } else { Vec::new() };
        Part { platforms, digests: HashSet::from([entry.digest.clone()]) }
    };
    let parts: Vec<Part> = entries.iter().map(part).collect();
    match choice(&entries, &parts, platforms) {
        Choice::All => Some(index.to_vec()),
        Choice::Some(keep) => Some(cut(index, &keep).unwrap()),
        Choice::Nothing(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn filtering_keeps_order_and_annotations_and_what_nobody_knows(
        made in made(),
        wanted in vec(0..WANTED.len(), 1..4),
        pretty in any::<bool>(),
    ) {
        let whole = index(&made);
        let bytes = if pretty { serde_json::to_vec_pretty(&whole) } else { serde_json::to_vec(&whole) }.unwrap();
        let platforms: Vec<Platform> = wanted.iter().map(|wanted| WANTED[*wanted].0.parse().unwrap()).collect();
        let got = filtered(&bytes, &platforms);
        let Some(kept) = reference(&made, &wanted) else {
            prop_assert_eq!(got, None);
            return Ok(());
        };
        let got = got.expect("something is wanted");
        let mut expected = whole.clone();
        expected["manifests"] = kept.iter().map(|position| whole["manifests"][position].clone()).collect();
        prop_assert_eq!(serde_json::from_slice::<Value>(&got).unwrap(), expected);
        prop_assert!(kept.len() < made.len() || got == bytes, "nothing was cut out: not a byte may differ");
        prop_assert_eq!(filtered(&got, &platforms).expect("it is still there"), got.clone(), "once is enough");
        let mut reversed = platforms.clone();
        reversed.reverse();
        prop_assert_eq!(filtered(&bytes, &reversed).unwrap(), got, "the order of what is wanted is not the index's");
    }
}

#[test]
fn one_manifest_for_two_platforms_is_kept_for_the_wanted_one_alone() {
    let entry = |architecture: &str| json!({ "digest": digest(1), "platform": { "os": "linux", "architecture": architecture } });
    let index = json!({ "manifests": [entry("amd64"), entry("arm64")] }).to_string();
    let left = filtered(index.as_bytes(), &["linux/arm64".parse().unwrap()]).unwrap();
    let left: Value = serde_json::from_slice(&left).unwrap();
    assert_eq!(left, json!({ "manifests": [entry("arm64")] }));
}
