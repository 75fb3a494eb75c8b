//! The program itself, with images of a few kilobytes and the one other tool that the tests have anyway.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// Where cargo put this program, and so the functions, which `make test` builds before it runs anything.
fn functions() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bench")).parent().unwrap()
}

fn bench(out: &Path, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("--functions").arg(functions()).arg("--out").arg(out);
    command.args("--runs 1 --layer-bytes 100KiB --large-bytes 300KiB".split_whitespace());
    command.args(words.split_whitespace()).output().unwrap()
}

#[test]
fn every_case_is_measured_by_transship_and_another_tool() {
    let out = tempfile::tempdir().unwrap();
    let ended = bench(out.path(), "--tool skopeo --tool ocync --rtt 2");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let record: Value = serde_json::from_slice(&fs::read(out.path().join("bench.json")).unwrap()).unwrap();
    let text = fs::read_to_string(out.path().join("bench.md")).unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), text.trim());

    let cases = record["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 6, "{record:#}");
    for (name, case) in cases {
        for tool in ["Transship", "skopeo"] {
            let figures = &case[tool]["figures"];
            for key in ["seconds", "cpu_seconds", "peak_resident_bytes", "source_requests", "destination_requests"] {
                assert!(figures[key]["median"].as_f64().unwrap() > 0.0, "{name}, {tool}, {key}: {case:#}");
            }
        }
        let written = case["Transship"]["figures"]["destination_received_bytes"]["median"].as_f64().unwrap();
        let expected = match name.as_str() {
            "first" | "far" => 8.0 * 102_400.0,
            "one-layer" => 65_536.0,
            "large" => 307_200.0,
            _ => 0.0,
        };
        // Configuration and manifests come to it; of the small platforms all that there is.
        let most = if name == "platforms" { 200_000.0 } else { expected + 10_000.0 };
        assert!(written >= expected && written <= most, "{name}: {written} bytes written, not about {expected}");
        assert_eq!(name == "again", written == 0.0, "{name}");
        // A tool that is not here is told of in every case.
        assert!(case["ocync"]["error"].is_string() || case["ocync"]["figures"].is_object(), "{name}: {case:#}");
    }
    assert_eq!(record["cases"]["platforms"]["Transship"]["figures"]["attached"]["min"], 4.0);
    assert!(text.contains("| … from the event |") && text.contains("| ocync |"), "{text}");
}

#[test]
fn without_another_tool_there_is_no_benchmark() {
    let out = tempfile::tempdir().unwrap();
    let ended = bench(out.path(), "--tool none-of-them");
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("none of the other tools is here"));
    assert!(!out.path().join("bench.md").exists());
}
