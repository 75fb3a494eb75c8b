use super::*;
use crate::{config::Config, request::ExistingTag, settings::Environment};

const ECR: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";

fn rules(json: &str) -> Result<Rules, Error> {
    let environment = Environment::from(&|_| None);
    Config::parse(&format!(r#"{{"rules":{json}}}"#), &environment).map(|config| config.rules)
}

fn pushed(repository: &str, tag: Option<&str>) -> Pushed {
    Pushed {
        registry: ECR.to_owned(),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest: Some(Digest::of(b"image")),
        at: None,
    }
}

/// What the rules say of it, where it can go everywhere that they send it.
fn verdict(rules: &Rules, pushed: &Pushed) -> Result<Verdict, Error> {
    let Routes { verdict, refused } = rules.routes(pushed)?;
    refused.map_or(Ok(verdict), Err)
}

/// Where a pushed image goes.
fn destinations(rules: &Rules, repository: &str, tag: &str) -> Vec<String> {
    match verdict(rules, &pushed(repository, Some(tag))).unwrap() {
        Verdict::Sync(requests) => requests.iter().map(|request| request.destination.to_string()).collect(),
        Verdict::Ignore(_) => Vec::new(),
    }
}

#[test]
fn globs_stay_within_a_component_unless_doubled() {
    let one = rules(r#"[{"source":{"repository":"team/*"},"destinations":["ghcr.io/a/{repository}"]}]"#).unwrap();
    assert_eq!(destinations(&one, "team/app", "v1"), ["ghcr.io/a/team/app:v1"]);
    assert!(destinations(&one, "team/sub/app", "v1").is_empty());
    let deep = rules(r#"[{"source":{"repository":"team/**"},"destinations":["ghcr.io/a/{name}"]}]"#).unwrap();
    assert_eq!(destinations(&deep, "team/sub/app", "v1"), ["ghcr.io/a/app:v1"]);
    let choice = rules(r#"[{"source":{"repository":"{a,b}/x"},"destinations":["ghcr.io/m/{repository}"]}]"#).unwrap();
    assert_eq!(destinations(&choice, "b/x", "v1").len(), 1);
    assert!(destinations(&choice, "c/x", "v1").is_empty());
}

#[test]
fn tags_must_be_included_not_excluded_and_in_range() {
    let rules = rules(
        r#"[{"tags":{"include":["v*","[0-9]*"],"exclude":["*-rc*"],"semver":">=1.2, <3"},
             "destinations":["ghcr.io/acme/{repository}:{tag}"]}]"#,
    )
    .unwrap();
    for (tag, taken) in [
        ("v1.2.0", true),
        ("2.9.9", true),
        ("v1.1.9", false),
        ("v3.0.0", false),
        ("v1.4.0-rc1", false),
        ("latest", false),
        ("v1", false),
    ] {
        assert_eq!(!destinations(&rules, "app", tag).is_empty(), taken, "{tag}");
    }
}

#[test]
fn every_rule_that_matches_applies_and_each_destination_comes_once() {
    let rules = rules(
        r#"[{"destinations":["ghcr.io/a/{repository}","quay.io/a/{repository}:stable"]},
            {"source":{"registry":"111122223333.DKR.ecr.us-east-1.amazonaws.com"},
             "destinations":["ghcr.io/a/{repository}:{tag}","ghcr.io/b/{repository}"]},
            {"source":{"registry":"ghcr.io"},"destinations":["ghcr.io/c/{repository}"]}]"#,
    )
    .unwrap();
    assert_eq!(destinations(&rules, "app", "v1"), ["ghcr.io/a/app:v1", "quay.io/a/app:stable", "ghcr.io/b/app:v1"]);
}

#[test]
fn an_ecr_registry_is_the_same_by_all_its_names() {
    for host in ["111122223333.dkr.ecr-fips.us-east-1.amazonaws.com", "111122223333.dkr-ecr.us-east-1.on.aws"] {
        let rules =
            rules(&format!(r#"[{{"source":{{"registry":"{host}"}},"destinations":["ghcr.io/a/{{repository}}"]}}]"#));
        assert_eq!(destinations(&rules.unwrap(), "app", "v1").len(), 1, "{host}");
    }
    let other = rules(
        r#"[{"source":{"registry":"111122223333.dkr.ecr.us-east-2.amazonaws.com"},"destinations":["ghcr.io/a/b"]}]"#,
    );
    assert!(destinations(&other.unwrap(), "app", "v1").is_empty());
}

#[test]
fn a_double_star_inside_a_component_is_refused() {
    for glob in ["team-**", "a/**b", "{a/x**,c}"] {
        let error =
            rules(&format!(r#"[{{"source":{{"repository":"{glob}"}},"destinations":["ghcr.io/a/{{name}}"]}}]"#));
        assert!(error.unwrap_err().message.contains("whole path components"), "{glob}");
    }
    let fine = r#"[{"source":{"repository":"{team/**,base}"},"destinations":["ghcr.io/a/{name}"]}]"#;
    assert_eq!(destinations(&rules(fine).unwrap(), "team/a/b", "v1").len(), 1);
}

#[test]
fn a_destination_names_a_tag_or_a_digest_not_both() {
    let error = rules(r#"[{"destinations":["ghcr.io/a/b:{tag}@{digest}"]}]"#).unwrap_err();
    assert!(error.message.contains("a tag and a digest"), "{error}");
}

#[test]
fn untagged_pushes_are_skipped_or_go_by_digest() {
    let untagged = pushed("app", None);
    let skip = rules(r#"[{"destinations":["ghcr.io/a/{repository}"]}]"#).unwrap();
    assert!(matches!(verdict(&skip, &untagged).unwrap(), Verdict::Ignore(reason) if reason.contains("no tag")));
    let keep = rules(r#"[{"untagged":"by-digest","destinations":["ghcr.io/a/{repository}:{tag}"]}]"#).unwrap();
    let Verdict::Sync(requests) = verdict(&keep, &untagged).unwrap() else { panic!("ignored") };
    let digest = Digest::of(b"image");
    assert_eq!(requests[0].destination.to_string(), format!("ghcr.io/a/app@{digest}"));
    assert_eq!(requests[0].source.to_string(), format!("{ECR}/app@{digest}"));
}

#[test]
fn a_digest_in_a_template_pins_the_source() {
    let rules =
        rules(r#"[{"destinations":["ghcr.io/a/{repository}@{digest}","ghcr.io/b/{repository}:{tag}-{digest}"]}]"#)
            .unwrap();
    let Verdict::Sync(requests) = verdict(&rules, &pushed("app", Some("v1"))).unwrap() else { panic!("ignored") };
    let digest = Digest::of(b"image");
    assert_eq!(requests[0].source.to_string(), format!("{ECR}/app@{digest}"));
    assert_eq!(requests[1].destination.tag().unwrap(), format!("v1-{}", digest.as_str().replace(':', "-")));
    assert_eq!(requests[1].source, requests[0].source, "its tag may hold another digest by now");
}

#[test]
fn options_of_the_rule_go_with_the_request() {
    let rules = rules(r#"[{"existing_tag":"keep","destinations":["ghcr.io/a/{repository}"]}]"#).unwrap();
    let Verdict::Sync(requests) = verdict(&rules, &pushed("app", Some("v1"))).unwrap() else { panic!("ignored") };
    assert_eq!(requests[0].options.existing_tag, ExistingTag::Keep);
    assert_eq!(requests[0].expected, Some(Digest::of(b"image")));
}

#[test]
fn a_rule_onto_its_own_source_is_refused_at_start() {
    for (source, destination) in [
        (ECR, format!("{ECR}/{{repository}}")),
        (ECR, format!("{ECR}/{{repository}}:{{tag}}")),
        (ECR, "{registry}/{repository}".to_owned()),
        (r#"111122223333.dkr.ecr.us-east-1.amazonaws.com","repository":"team/app"#, format!("{ECR}/team/app:{{tag}}")),
        (r#"111122223333.dkr.ecr.us-east-1.amazonaws.com","repository":"team/*"#, format!("{ECR}/team/{{name}}")),
        (r#"111122223333.dkr.ecr.us-east-1.amazonaws.com","repository":"team/**"#, format!("{ECR}/{{repository}}")),
    ] {
        let json = format!(r#"[{{"source":{{"registry":"{source}"}},"destinations":["{destination}"]}}]"#);
        let error = rules(&json).unwrap_err();
        assert_eq!(error.error_type, ErrorType::InvalidConfig);
        assert!(error.message.contains("rules[0].destinations[0]") && error.message.contains("own source"), "{error}");
    }
}

#[test]
fn what_leads_only_some_images_onto_themselves_is_no_mistake_of_the_rule() {
    for (repository, destination) in [
        ("team/**", format!("{ECR}/team/{{name}}")),
        ("team/app", format!("{ECR}/team/app:{{tag}}-copy")),
        ("{team,other}/app", format!("{ECR}/team/{{name}}")),
    ] {
        let source = format!(r#"{{"registry":"{ECR}","repository":"{repository}"}}"#);
        rules(&format!(r#"[{{"source":{source},"destinations":["{destination}"]}}]"#)).unwrap();
    }
}

#[test]
fn a_repository_that_no_rule_takes_is_ignored_however_long_its_name_is() {
    let rules = rules(r#"[{"source":{"repository":"team/*"},"destinations":["ghcr.io/a/{name}"]}]"#).unwrap();
    let long = "a".repeat(256);
    assert!(matches!(verdict(&rules, &pushed(&long, Some("v1"))), Ok(Verdict::Ignore(_))));
    let error = verdict(&rules, &pushed(&format!("team/{}", "a".repeat(250)), Some("v1"))).unwrap_err();
    assert!(error.message.contains("over 255"), "{error}");
}

#[test]
fn a_repository_made_of_the_tag_does_not_go_with_images_without_one() {
    for (destination, fits) in [("ghcr.io/a/{name}-{tag}:v1", false), ("ghcr.io/a/{name}:{tag}-{tag}", true)] {
        let rules = rules(&format!(r#"[{{"untagged":"by-digest","destinations":["{destination}"]}}]"#));
        assert_eq!(rules.is_ok(), fits, "{rules:?}");
        rules.err().into_iter().for_each(|error| assert!(error.message.contains("made of the tag"), "{error}"));
    }
}

#[test]
fn an_image_led_onto_itself_is_refused_when_it_comes() {
    let rules = rules(&format!(
        r#"[{{"name":"loop","source":{{"repository":"team/app"}},"destinations":["{ECR}/team/app"]}}]"#
    ))
    .unwrap();
    let error = verdict(&rules, &pushed("team/app", Some("v1"))).unwrap_err();
    assert!(error.message.contains("`loop`") && error.message.contains("onto itself"), "{error}");
}

#[test]
fn a_circle_of_rules_is_fine_and_an_endless_chain_is_not() {
    let other = "444455556666.dkr.ecr.eu-west-1.amazonaws.com";
    let circle = rules(&format!(
        r#"[{{"source":{{"registry":"{ECR}"}},"destinations":["{other}/{{repository}}"]}},
            {{"source":{{"registry":"{other}"}},"destinations":["{ECR}/{{repository}}"]}}]"#
    ))
    .unwrap();
    assert_eq!(destinations(&circle, "app", "v1"), [format!("{other}/app:v1")]);
    for template in [format!("{ECR}/mirror/{{repository}}"), format!("{ECR}/{{repository}}:{{tag}}-copy")] {
        let endless = rules(&format!(r#"[{{"name":"more","destinations":["{template}"]}}]"#)).unwrap();
        let error = verdict(&endless, &pushed("app", Some("v1"))).unwrap_err();
        assert_eq!(error.error_type, ErrorType::InvalidConfig);
        assert!(error.message.contains("`more` feeds itself"), "{error}");
    }
    // Another account's registry is heard of only where a rule names it as a source.
    let away = rules(&format!(r#"[{{"destinations":["{other}/mirror/{{repository}}"]}}]"#)).unwrap();
    assert_eq!(destinations(&away, "app", "v1").len(), 1);
    // Registries that raise no event end every chain.
    let elsewhere = rules(r#"[{"destinations":["ghcr.io/mirror/{repository}"]}]"#).unwrap();
    assert_eq!(destinations(&elsewhere, "app", "v1").len(), 1);
}

#[test]
fn an_endless_chain_is_seen_through_aliases_digests_and_many_destinations() {
    let alias = "111122223333.dkr-ecr.us-east-1.on.aws";
    let by_alias = rules(&format!(r#"[{{"destinations":["{alias}/x/{{repository}}"]}}]"#)).unwrap();
    assert!(verdict(&by_alias, &pushed("app", Some("v1"))).unwrap_err().message.contains("feeds itself"));
    let own = rules(&format!(r#"[{{"source":{{"registry":"{ECR}"}},"destinations":["{alias}/{{repository}}"]}}]"#));
    assert!(own.unwrap_err().message.contains("own source"));
    let itself = rules(&format!(r#"[{{"source":{{"repository":"app"}},"destinations":["{alias}/app"]}}]"#)).unwrap();
    assert!(verdict(&itself, &pushed("app", Some("v1"))).unwrap_err().message.contains("onto itself"));
    let untagged = rules(r#"[{"untagged":"by-digest","destinations":["{registry}/x/{repository}"]}]"#).unwrap();
    assert!(verdict(&untagged, &pushed("app", None)).unwrap_err().message.contains("feeds itself"));
    // Told at once, though there are 4^16 ways to go on.
    let many = rules(
        r#"[{"destinations":["{registry}/a/{repository}","{registry}/b/{repository}","{registry}/c/{repository}",
            "{registry}/d/{repository}"]}]"#,
    );
    assert!(verdict(&many.unwrap(), &pushed("app", Some("v1"))).unwrap_err().message.contains("feeds itself"));
}

#[test]
fn what_gives_no_reference_says_which_rule() {
    let rules = rules(r#"[{"name":"long","destinations":["ghcr.io/{repository}/{repository}:{tag}-{tag}"]}]"#).unwrap();
    let tag = "t".repeat(100);
    let error = verdict(&rules, &pushed("app", Some(&tag))).unwrap_err();
    assert_eq!(error.error_type, ErrorType::InvalidReference);
    assert!(error.message.contains("`long`"), "{error}");
}

#[test]
fn what_can_not_go_to_one_place_goes_to_the_others_by_every_road() {
    let bad = format!("quay.io/a/{{name}}:{{tag}}-{}", "x".repeat(113));
    let good = "quay.io/b/{name}:{tag}";
    let of = |places: &str| {
        let gate = r#""scan_gate":{"severity":"HIGH"},"delete":"untag""#;
        rules(&format!(r#"[{{{gate},"destinations":[{places}]}}]"#)).unwrap()
    };
    let (both, only) = (of(&format!(r#""{bad}","{good}""#)), of(&format!(r#""{bad}""#)));
    let image = pushed("team/app", Some("v1.2.3-20261123-1"));
    let to = |verdict| match verdict {
        Verdict::Sync(requests) => requests.iter().map(|request| request.destination.to_string()).collect(),
        Verdict::Ignore(_) => Vec::new(),
    };
    let Routes { verdict, refused } = both.routes(&image).unwrap();
    assert_eq!(to(verdict), ["quay.io/b/app:v1.2.3-20261123-1"]);
    assert!(refused.unwrap().message.contains("131 characters"));
    assert_eq!(to(both.scanned(std::slice::from_ref(&image)).unwrap()), ["quay.io/b/app:v1.2.3-20261123-1"]);
    let tags = [image.clone(), pushed("team/app", Some("v1"))];
    assert_eq!(to(only.scanned(&tags).unwrap()).len(), 1, "its other tag fits");
    let RemovalVerdict::Remove(removals) = both.removals(&image).unwrap() else { panic!("none is removed") };
    assert_eq!(
        removals.iter().map(|of| of.destination.to_string()).collect::<Vec<_>>(),
        ["quay.io/b/app:v1.2.3-20261123-1"]
    );
    for error in [
        only.routes(&image).unwrap_err(),
        only.scanned(std::slice::from_ref(&image)).unwrap_err(),
        only.removals(&image).unwrap_err(),
    ] {
        assert_eq!(error.error_type, ErrorType::InvalidReference, "{error}");
    }
}

#[test]
fn one_place_by_two_names_comes_once() {
    let (plain, other) = ("222233334444.dkr.ecr.eu-west-1.amazonaws.com", "222233334444.dkr-ecr.eu-west-1.on.aws");
    let rules = rules(&format!(
        r#"[{{"name":"first","destinations":["{other}/m/{{name}}"]}},{{"destinations":["{plain}/m/{{name}}:{{tag}}"]}}]"#
    ))
    .unwrap();
    assert_eq!(destinations(&rules, "app", "v1"), [format!("{other}/m/app:v1")]);
    let explanation = rules.explain(&pushed("app", Some("v1"))).unwrap();
    let WhereTo::Named { by, .. } = &explanation.rules[1].ends[0] else { panic!("{explanation}") };
    assert_eq!(by, "first");
}

#[test]
fn repositories_may_be_left_out() {
    let json = r#"[{"source":{"repository":"team/**","exclude":["team/x/**","**/{tmp,test}"]},"destinations":["ghcr.io/a/{name}"]}]"#;
    let left_out = rules(json).unwrap();
    for (repository, taken) in
        [("team/app", true), ("team/x/app", false), ("team/x", true), ("team/a/tmp", false), ("team/tmp2", true)]
    {
        assert_eq!(!destinations(&left_out, repository, "v1").is_empty(), taken, "{repository}");
        assert_eq!(left_out.take_repository(ECR, repository), taken, "{repository}: nor is it listed");
    }
    let error = rules(&json.replace("team/x/**", "team/x**")).unwrap_err();
    assert!(error.message.contains("rules[0].source.exclude[0]"), "{error}");
}

#[test]
fn ranges_are_as_the_documentation_says() {
    for (range, tag, taken) in [
        (">=1.2, <3", "2.9.9", true),
        ("1.*", "v1.9.0", true),
        ("1.*", "2.0.0", false),
        ("^1.4", "1.3.9", false),
        ("~1.4.2", "1.4.9", true),
        ("~1.4.2", "1.5.0", false),
        ("=1.4.0", "v1.4.0", true),
        (">=1.4.0-rc.1", "1.4.0-rc.2", true),
        (">=1.4.0-rc.1", "1.5.0-rc.1", false),
        (">=1.4.0", "1.5.0-rc.1", false),
        ("*", "1.4", false),
        ("*", "latest", false),
    ] {
        let rules = rules(&format!(r#"[{{"tags":{{"semver":"{range}"}},"destinations":["ghcr.io/a/{{name}}"]}}]"#));
        assert_eq!(!destinations(&rules.unwrap(), "app", tag).is_empty(), taken, "{range}: {tag}");
    }
}

#[test]
fn a_choice_may_be_nothing() {
    let rules = rules(r#"[{"tags":{"include":["v1{,-alpine}"]},"destinations":["ghcr.io/a/{name}"]}]"#).unwrap();
    for (tag, taken) in [("v1", true), ("v1-alpine", true), ("v1-", false)] {
        assert_eq!(!destinations(&rules, "app", tag).is_empty(), taken, "{tag}");
    }
}
