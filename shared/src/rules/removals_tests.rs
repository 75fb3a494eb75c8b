use super::*;
use crate::{config::Config, request::Delete, settings::Environment};

const HOST: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";

fn config(rules: &str) -> Result<Rules, String> {
    Config::parse(&format!(r#"{{"rules":[{rules}]}}"#), &Environment::from(&|_| None))
        .map(|config| config.rules)
        .map_err(|error| error.message)
}

fn deleted(tag: Option<&str>, known: bool) -> Pushed {
    Pushed {
        registry: HOST.to_owned(),
        repository: "team/app".to_owned(),
        tag: tag.map(str::to_owned),
        digest: known.then(|| crate::oci::Digest::of(b"x")),
        at: None,
    }
}

fn destinations(verdict: RemovalVerdict) -> Vec<(String, Delete)> {
    match verdict {
        RemovalVerdict::Remove(requests) => {
            requests.into_iter().map(|request| (request.destination.to_string(), request.delete)).collect()
        }
        RemovalVerdict::Ignore(reason) => panic!("{reason}"),
    }
}

fn reason(verdict: RemovalVerdict) -> &'static str {
    match verdict {
        RemovalVerdict::Ignore(reason) => reason,
        RemovalVerdict::Remove(requests) => panic!("{requests:?}"),
    }
}

#[test]
fn only_rules_that_say_so_follow_a_deletion_and_each_tag_once() {
    let rules = config(
        r#"{"destinations":["quay.io/none/{name}"]},
           {"destinations":["quay.io/a/{name}","quay.io/b/{name}:x-{tag}"],"delete":"untag"},
           {"tags":{"include":["v*"]},"destinations":["quay.io/a/{name}","quay.io/c/{name}"],"delete":"image"}"#,
    )
    .unwrap();
    let found = destinations(rules.removals(&deleted(Some("v1"), true)).unwrap());
    let expected = [
        ("quay.io/a/app:v1", Delete::Untag),
        ("quay.io/b/app:x-v1", Delete::Untag),
        ("quay.io/c/app:v1", Delete::Image),
    ];
    assert_eq!(found, expected.map(|(destination, delete)| (destination.to_owned(), delete)));
    assert_eq!(destinations(rules.removals(&deleted(Some("edge"), true)).unwrap()).len(), 2);
}

#[test]
fn of_two_rules_for_one_place_the_one_that_removes_less_holds() {
    let own = "222233334444.dkr.ecr.eu-west-1.amazonaws.com/a/{name}";
    let fips = "222233334444.dkr.ecr-fips.eu-west-1.amazonaws.com/a/{name}";
    for (one, other) in [("image", "untag"), ("untag", "image")] {
        for second in [own, fips] {
            let rules = config(&format!(
                r#"{{"destinations":["{own}"],"delete":"{one}"}},{{"destinations":["{second}"],"delete":"{other}"}}"#
            ))
            .unwrap();
            let found = destinations(rules.removals(&deleted(Some("v1"), true)).unwrap());
            let place = own.replace("{name}", "app:v1");
            assert_eq!(found, [(place, Delete::Untag)], "{one}, then {other} at {second}");
        }
    }
}

#[test]
fn what_is_not_followed_says_why() {
    let rules = config(r#"{"tags":{"include":["v*"]},"destinations":["quay.io/a/{name}"],"delete":"untag"}"#).unwrap();
    assert!(reason(rules.removals(&deleted(None, true)).unwrap()).contains("no tag"));
    assert!(reason(rules.removals(&deleted(Some("v1"), false)).unwrap()).contains("which digest"));
    assert!(reason(rules.removals(&deleted(Some("edge"), true)).unwrap()).contains("no rule"));
    let off = config(r#"{"destinations":["quay.io/a/{name}"]}"#).unwrap();
    assert!(reason(off.removals(&deleted(Some("v1"), true)).unwrap()).contains("no rule"));
}

#[test]
fn a_rule_that_could_remove_too_much_or_never_anything_is_refused_at_load() {
    for (rule, part) in [
        (r#"{"destinations":["quay.io/a/{name}:stable"],"delete":"untag"}"#, "keep the source's tags apart"),
        (r#"{"destinations":["quay.io/a/{name}@{digest}"],"delete":"untag"}"#, "keep the source's tags apart"),
        (r#"{"destinations":["quay.io/a/{name}"],"delete":"untag","platforms":["linux/amd64"]}"#, "platforms"),
        (r#"{"destinations":["docker.io/acme/{name}"],"delete":"untag"}"#, "docker.io takes no deletions"),
        (r#"{"destinations":["ghcr.io/acme/{name}"],"delete":"image"}"#, "ghcr.io takes no deletions"),
        (r#"{"destinations":["acme.azurecr.io/{name}"],"delete":"untag"}"#, "all its tags"),
        (r#"{"destinations":["quay.io/a/{name}"],"delete":"everything"}"#, "expected `untag` or `image`"),
    ] {
        let mistakes = config(rule).unwrap_err();
        assert!(mistakes.contains(part) && mistakes.contains("rules[0]"), "{part} is not in: {mistakes}");
    }
}
