//! What a destination can't hold: refused, with the rule, the destination and the limit.

use transfer::{
    config::Config,
    error::ErrorType,
    rules::{Pushed, Verdict},
    settings::Environment,
};

/// The text of the error that a push to a destination ends with; `None`: it goes there.
fn refused(destination: &str, repository: &str, tag: &str) -> Option<String> {
    let config = format!(r#"{{"rules":[{{"name":"mirror","destinations":["{destination}"]}}]}}"#);
    let rules = Config::parse(&config, &Environment::from(&|_| None)).unwrap().rules;
    let pushed = Pushed {
        registry: "111122223333.dkr.ecr.us-east-1.amazonaws.com".into(),
        repository: repository.into(),
        tag: Some(tag.into()),
        digest: None,
        at: None,
    };
    match rules.routes(&pushed).map(|routes| routes.verdict) {
        Ok(Verdict::Sync(requests)) => {
            assert_eq!(requests.len(), 1);
            None
        }
        Ok(Verdict::Ignore(reason)) => panic!("ignored: {reason}"),
        Err(error) => {
            assert_eq!(error.error_type, ErrorType::InvalidReference, "{error}");
            assert!(error.message.contains("rule `mirror`") && error.message.contains(repository), "{error}");
            Some(error.message)
        }
    }
}

#[test]
fn what_a_destination_cannot_hold_is_told_with_the_limit() {
    let deep = "a/".repeat(100) + "a";
    let ecr = "222233334444.dkr.ecr.eu-west-1.amazonaws.com";
    for (destination, repository, tag, part) in [
        ("ghcr.io/acme/{name}:{tag}-{tag}".to_owned(), "app", "x".repeat(64), Some("this one has 129 characters")),
        ("ghcr.io/acme/{name}:{tag}-{tag}".to_owned(), "app", "x".repeat(63), None),
        ("ghcr.io/acme/{name}-{tag}:v1".to_owned(), "app", "V1".to_owned(), Some("lower-case letters")),
        (
            "ghcr.io/{repository}/{repository}".to_owned(),
            &deep,
            "v1".to_owned(),
            Some("up to 256 characters, this one 403"),
        ),
        ("registry.example.test/{repository}/x{name}".to_owned(), &"a".repeat(230), "v1".to_owned(), Some("up to 256")),
        ("registry.example.test/x/{repository}".to_owned(), &"a".repeat(232), "v1".to_owned(), Some("over 255")),
        (
            "docker.io/acme/{repository}".to_owned(),
            "team/app",
            "v1".to_owned(),
            Some("docker.io/acme/team/app:v1: Docker Hub"),
        ),
        ("docker.io/acme/{name}".to_owned(), "team/app", "v1".to_owned(), None),
        (
            format!("{ecr}/{{name}}"),
            "team/a",
            "v1".to_owned(),
            Some("ECR takes names of 2 to 256 characters, and `a` has 1"),
        ),
        (format!("{ecr}/{{name}}"), "team/ab", "v1".to_owned(), None),
        ("europe-docker.pkg.dev/project/{repository}".to_owned(), "app", "v1".to_owned(), Some("three components")),
        ("public.ecr.aws/alias/{name}".to_owned(), "team/a--b", "v1".to_owned(), Some("a double one")),
    ] {
        let text = refused(&destination, repository, &tag);
        match (part, &text) {
            (Some(part), Some(text)) => assert!(text.contains(part), "{text}"),
            (None, None) => {}
            _ => panic!("{destination}: {text:?}"),
        }
    }
}

#[test]
fn what_no_image_could_ever_have_is_told_at_start() {
    for (destination, part) in [
        ("europe-docker.pkg.dev/project/{name}", "three components at least"),
        ("docker.io/acme/team/{repository}", "two components"),
        ("ghcr.io/{name}", "OWNER/IMAGE"),
    ] {
        let config = format!(r#"{{"rules":[{{"destinations":["{destination}"]}}]}}"#);
        let error = Config::parse(&config, &Environment::from(&|_| None)).unwrap_err();
        assert_eq!(error.error_type, ErrorType::InvalidConfig);
        assert!(error.message.contains("rules[0].destinations[0]") && error.message.contains(part), "{error}");
    }
}
