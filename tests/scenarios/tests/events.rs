//! The samples in `events/`: valid, consistent, and each one explained.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

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
}

#[test]
fn samples_of_batches_have_one_record_of_one_queue_with_a_json_object() {
    let (_, events) = events();
    let batches: Vec<_> = events.iter().filter(|(name, _)| name.starts_with("sqs-")).collect();
    assert_eq!(batches.len(), 7);
    let mut ids = BTreeSet::new();
    for (name, event) in batches {
        let [record] = &event["Records"].as_array().unwrap()[..] else { panic!("{name}: one record") };
        let body: Value = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
        assert!(body.is_object(), "{name}");
        assert_eq!(record["eventSourceARN"], "arn:aws:sqs:us-east-1:111122223333:transship", "{name}");
        ids.insert(record["messageId"].as_str().unwrap());
    }
    assert_eq!(ids.len(), 7, "each is a message of its own");
    let body = events["sqs-eventbridge.json"]["Records"][0]["body"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), events["ecr-push.json"]);
}
