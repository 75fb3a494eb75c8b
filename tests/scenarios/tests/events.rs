//! The samples in `events/`: valid, consistent, and each one explained.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

fn events() -> (String, BTreeMap<String, Value>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let json = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
    };
    (readme, json.map(read).collect())
}

#[test]
fn every_sample_is_explained_and_every_explanation_has_its_sample() {
    let (readme, events) = events();
    let explained: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut sorted = explained.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, events.keys().collect::<Vec<_>>());
}

#[test]
fn samples_of_ecr_have_the_envelope_and_whole_digests() {
    let (_, events) = events();
    for (name, event) in events.iter().filter(|(name, _)| name.starts_with("ecr-")) {
        assert_eq!((&event["source"], &event["account"]), (&"aws.ecr".into(), &"111122223333".into()), "{name}");
        assert!(event["resources"].is_array() && event["detail"].is_object(), "{name}");
        let digest = event["detail"]["image-digest"].as_str().unwrap();
        let hex = digest.strip_prefix("sha256:").unwrap();
        assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{name}: {digest}");
    }
    assert_eq!(events["ecr-push-untagged.json"]["detail"]["image-tag"], "");
    assert!(events["ecr-push-untagged-absent.json"]["detail"]["image-tag"].is_null());
    let body = events["sqs-image.json"]["Records"][0]["body"].as_str().unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(body["source"].is_string() && body["destination"].is_string());
}
