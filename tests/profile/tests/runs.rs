//! The program itself, on a handful of tiny images: what it prints is what was copied.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use serde_json::Value;

fn run(words: &str) -> Value {
    let ended = Command::new(env!("CARGO_BIN_EXE_profile")).args(words.split_whitespace()).arg("--json").output();
    let ended = ended.unwrap();
    assert!(ended.status.success(), "{words}: {}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}

const TINY: &str = "--images 3 --large 1 --large-layers 4 --large-bytes 300KiB";

#[test]
fn every_destination_gets_every_image() {
    for name in ["plain", "ghcr", "acr", "gar", "docker-hub", "quay", "harbor", "ecr-public", "ecr"] {
        let all = run(&format!("{TINY} --destination {name}"));
        let (small, large) = (&all["phases"]["small"]["median"], &all["phases"]["large"]["median"]);
        // Of each image: its manifest twice, two lists for what is attached, and three blobs.
        assert_eq!(small["source_requests"], 21.0, "{name}: {all}");
        assert!(large["peak_resident_mib"].as_f64().unwrap() > 1.0, "{name}: {all}");
        assert!(large["cpu_seconds"].as_f64().unwrap() > 0.0, "{name}: {all}");
    }
}

#[test]
fn settings_reach_what_they_set() {
    let peak = |words: &str, key: &str| run(&format!("{TINY} {words}"))["phases"]["large"]["median"][key].clone();
    assert_eq!(peak("--blob-concurrency 1", "source_peak_streams"), 1.0);
    assert_eq!(peak("--streams 2", "source_peak_streams"), 2.0);
    assert_eq!(peak("--http1 --blob-concurrency 1", "source_peak_streams_per_connection"), 1.0);
    // A blob read counts at the registry and where it was redirected to: a manifest twice, two lists, and five blobs.
    assert_eq!(peak("--redirects", "source_requests"), 14.0);
    // Copies that begin together each connect before one finds out that it could have shared.
    let connections = peak("--connections 2 --threads 2 --window 65535", "source_connections");
    assert!(connections.as_f64().unwrap() >= 2.0, "{connections}");
}

#[test]
fn waits_are_waited_for() {
    for words in ["--latency 50", "--rtt 50"] {
        let all = run(&format!("--images 1 --large 0 {words} --repeat 2"));
        let phase = &all["phases"]["small"];
        assert_eq!(phase["runs"].as_array().unwrap().len(), 2);
        // The manifest is read, a blob is read and written, the manifest is put: four, whatever else goes on beside.
        assert!(phase["median"]["seconds"].as_f64().unwrap() > 0.2, "{words}: {all}");
    }
}
