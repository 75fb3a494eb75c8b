//! A module names only what stands lower. The order is the one of the crate's documentation and of
//! `docs/architecture.md`.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeSet, fs, path::Path};

/// The modules, highest first; those of one row don't name each other.
const LAYERS: [&[&str]; 13] = [
    &["compose"],
    &["backfill"],
    &["telemetry", "queue"],
    &["sync"],
    &["ecr", "secrets", "google", "azure"],
    &["aws", "exchange"],
    &["config", "event"],
    &["rules"],
    &["settings"],
    &["registry", "request"],
    &["transport"],
    &["limits", "retry", "provider"],
    &["deadline", "error", "oci", "trace"],
];

fn row(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// The modules of ours that a file names, in code: comments and documentation may point anywhere.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(heads_of_group(group));
        } else {
            found.insert(identifier(rest));
        }
    }
    found
}

/// The first segments inside `{a::b, c::{d, e}, …}`.
fn heads_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut fresh) = (0, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if depth == 0 && fresh && (c.is_alphanumeric() || c == '_') => {
                heads.push(identifier(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn files(folder: &Path, found: &mut Vec<(String, String)>, top: Option<&str>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, found, Some(top.unwrap_or(&name)));
        } else if !name.ends_with("_tests") {
            // Tests at the end of a file may name what they like.
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            found.push((top.unwrap_or(&name).to_owned(), code));
        }
    }
}

#[test]
fn a_module_names_only_what_stands_lower() {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all, None);
    let mut seen = BTreeSet::new();
    for (module, text) in all.iter().filter(|(module, _)| module != "lib") {
        let here = row(module).unwrap_or_else(|| panic!("module `{module}` has no layer; give it one"));
        seen.insert(module.clone());
        for other in named(text).iter().filter(|other| *other != module) {
            let there = row(other).unwrap_or_else(|| panic!("`{module}` names `{other}`, which has no layer"));
            assert!(there > here, "`{module}` names `{other}`, which does not stand lower");
        }
    }
    let expected: BTreeSet<String> = LAYERS.iter().flat_map(|row| row.iter().map(ToString::to_string)).collect();
    assert_eq!(seen, expected, "every layer has a module, and every module a layer");
}

#[test]
fn crates_that_are_fenced_in_stay_inside_their_fence() {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all, None);
    for (crate_name, fence) in [
        ("hyper::", &["transport"][..]),
        ("hyper_util::", &["transport"]),
        ("hyper_rustls::", &["transport"]),
        ("aws_sdk_ecr::", &["ecr", "aws"]),
        ("aws_sdk_ecrpublic::", &["ecr"]),
        ("aws_sdk_sqs::", &["queue"]),
        ("aws_sdk_ssm::", &["compose"]),
        ("aws_sdk_secretsmanager::", &["secrets"]),
        ("aws_credential_types::", &["aws", "google"]),
        ("aws_sigv4::", &["google"]),
        ("env::var", &["settings"]),
    ] {
        for (module, text) in &all {
            assert!(!text.contains(crate_name) || fence.contains(&module.as_str()), "`{module}` uses {crate_name}");
        }
    }
}
