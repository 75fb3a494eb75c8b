//! The example that explains: what it prints, as the documentation has it, and how it ends.

use std::{env, fs, path::PathBuf, process::Command};

const SOURCE: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";

/// What it ends with, prints, and complains of.
fn explain(arguments: &[&str]) -> (Option<i32>, String, String) {
    let own = env::current_exe().unwrap();
    let folder: PathBuf = own.parent().unwrap().parent().unwrap().join("examples");
    let output = Command::new(folder.join("explain")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The fenced blocks of a language in the documentation.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rules.md")).unwrap();
    let fence = format!("\n```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n").collect()
}

#[test]
fn what_the_documentation_shows_is_what_is_printed() {
    let (config, printed) = (blocks("json").remove(0), blocks("text").remove(0));
    let image = format!("{SOURCE}/team/app:v1.4.0");
    assert_eq!(explain(&[&config, &image]), (Some(0), printed.clone(), String::new()));
    let file = env::temp_dir().join(format!("explain-{}.json", std::process::id()));
    fs::write(&file, config).unwrap();
    assert_eq!(explain(&[file.to_str().unwrap(), &image]), (Some(0), printed, String::new()));
    fs::remove_file(file).unwrap();
}

#[test]
fn rules_are_explained_where_a_certificate_that_they_need_not_is_not_at_hand() {
    let of = |certificate: &str| {
        format!(
            r#"{{"rules":[{{"destinations":["registry.example.test:5000/{{repository}}"]}}],
                "registries":{{"registry.example.test:5000":{{"ca_certificate":"{certificate}"}}}}}}"#
        )
    };
    let image = format!("{SOURCE}/team/app:v1");
    let (code, printed, complaint) = explain(&[&of("file:no-such-ca.pem"), &image]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    assert!(printed.contains("to   registry.example.test:5000/team/app:v1"), "{printed}");
    let (code, _, complaint) = explain(&[&of("no certificate"), &image]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("ca_certificate"), "{complaint}");
}

#[test]
fn every_filter_says_no_by_itself() {
    let config = format!(
        r#"{{"rules":[{{"name":"releases","source":{{"registry":"{SOURCE}","repository":"team/**","exclude":["team/x"]}},
            "tags":{{"include":["v*","[0-9]*"],"exclude":["*-rc*"],"semver":"^1.4"}},
            "destinations":["ghcr.io/acme/{{name}}"]}}]}}"#
    );
    let digest = format!("sha256:{}", "a".repeat(64));
    for (image, no) in [
        (format!("{SOURCE}/team/app:v1.4.0"), ""),
        (
            "ghcr.io/team/app:v1.4.0".to_owned(),
            "source.registry: 111122223333.dkr.ecr.us-east-1.amazonaws.com  (ghcr.io)",
        ),
        (format!("{SOURCE}/other/app:v1.4.0"), "source.repository: team/**  (other/app)"),
        (format!("{SOURCE}/team/x:v1.4.0"), "source.exclude: team/x  (team/x)"),
        (format!("{SOURCE}/team/app:latest"), "tags.include: v* [0-9]*  (latest)"),
        (format!("{SOURCE}/team/app:v1.4.0-rc1"), "tags.exclude: *-rc*  (v1.4.0-rc1)"),
        (format!("{SOURCE}/team/app:v1.3.0"), "tags.semver: ^1.4  (1.3.0)"),
        (format!("{SOURCE}/team/app:v1.4"), "tags.semver: ^1.4  (v1.4, which is no version)"),
        (format!("{SOURCE}/team/app@{digest}"), "untagged: skip  (no tag)"),
    ] {
        let (code, printed, complaint) = explain(&[&config, &image]);
        assert_eq!(complaint, "");
        let lines: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("  no   ")).collect();
        if no.is_empty() {
            assert_eq!((code, lines.len()), (Some(0), 0), "{printed}");
        } else {
            assert_eq!(code, Some(0), "{printed}");
            assert!(lines.contains(&no), "`{no}` is not in {printed}");
            assert!(printed.contains("does not take it") && printed.ends_with("It goes nowhere: no rule takes it.\n"));
        }
    }
}

#[test]
fn what_can_not_be_told_is_said_and_ends_with_2() {
    let config = r#"{"rules":[{"name":"hub","destinations":["docker.io/acme/{repository}"]}]}"#;
    let image = format!("{SOURCE}/team/app:v1");
    for (arguments, part) in [
        (&[][..], "usage: explain CONFIG REFERENCE"),
        (&[config], "usage"),
        (&["no-such-file.json", &image], "no-such-file.json: No such file"),
        (&["{", &image], "InvalidConfig: the configuration can't be used"),
        (&[r#"{"rules":[{"destinations":[]}]}"#, &image], "rules[0].destinations"),
        (&[config, "team/app:v1"], "`team/app:v1` is no image reference"),
    ] {
        let (code, printed, complaint) = explain(arguments);
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{complaint}");
        assert!(complaint.contains(part), "{complaint}");
    }
    let (code, printed, _) = explain(&[config, &image]);
    assert_eq!(code, Some(2));
    for part in ["takes it", "  fails: rule `hub`", "two components", "A push of it fails (InvalidReference)"] {
        assert!(printed.contains(part), "`{part}` is not in {printed}");
    }
}
