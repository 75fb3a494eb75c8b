use transfer::{config::Config, request::ExistingTag, settings::Environment};

use super::*;

fn rules(json: &str) -> Rules {
    Config::parse(json, &Environment::from(&|_| None)).unwrap().rules
}

fn read_with_no_rules(body: &str) -> Result<Vec<SyncRequest>, Error> {
    read(body, &rules("{}")).map(|(requests, _)| requests)
}

#[test]
fn both_ends_may_be_named() {
    let body = r#"{"source":"docker.io/alpine:3.20","destination":"ghcr.io/acme/alpine:3.20","existing_tag":"keep"}"#;
    let requests = read_with_no_rules(body).unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].source.to_string(), "docker.io/library/alpine:3.20");
    assert_eq!(requests[0].options.existing_tag, ExistingTag::Keep);
}

#[test]
fn destinations_may_come_from_the_rules() {
    let rules = rules(r#"{"rules":[{"destinations":["ghcr.io/a/{name}","quay.io/a/{name}"]}]}"#);
    let body = r#"{"source":"111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:v1"}"#;
    let destinations: Vec<_> =
        read(body, &rules).unwrap().0.iter().map(|request| request.destination.to_string()).collect();
    assert_eq!(destinations, ["ghcr.io/a/app:v1", "quay.io/a/app:v1"]);
    let error = read_with_no_rules(body).unwrap_err();
    assert!(error.message.contains("no destination"), "{error}");
}

#[test]
fn what_on_push_queues_reads_back_as_it_was() {
    let request = SyncRequest {
        source: "111122223333.dkr.ecr.us-east-1.amazonaws.com/app:v1".parse().unwrap(),
        destination: "ghcr.io/acme/app:v1".parse().unwrap(),
        expected: Some(transfer::oci::Digest::of(b"x")),
        options: SyncOptions { existing_tag: ExistingTag::Fail },
        pushed_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        repeated: false,
    };
    let body = serde_json::to_string(&ImageMessage::from(&request)).unwrap();
    assert_eq!(read_with_no_rules(&body).unwrap(), [request]);
}

#[test]
fn a_continuation_reads_back_as_it_was() {
    let request = SyncRequest {
        source: "docker.io/library/alpine:3.20".parse().unwrap(),
        destination: "ghcr.io/acme/alpine:3.20".parse().unwrap(),
        expected: None,
        options: SyncOptions::default(),
        pushed_at: None,
        repeated: false,
    };
    let begun = Begun { invocations: 2, fruitless: 1, cut: vec!["sha256:1".to_owned()], ..Begun::default() };
    let body = serde_json::to_string(&Continuation::of(&request, begun.clone())).unwrap();
    assert_eq!(read(&body, &rules("{}")).unwrap(), (vec![request], begun));
    let later = body.replace(r#""version":1"#, r#""version":9"#);
    let error = read(&later, &rules("{}")).unwrap_err();
    assert!(error.message.contains("version 9") && error.message.contains("redrive"), "{error}");
}

#[test]
fn what_is_no_message_says_why() {
    for (body, error_type, part) in [
        ("", ErrorType::InvalidEvent, "message"),
        ("[]", ErrorType::InvalidEvent, "message"),
        (r#"{"source":"ghcr.io/a/b:c","destinaton":"x"}"#, ErrorType::InvalidEvent, "destinaton"),
        (r#"{"backfill":{"repository":"x"}}"#, ErrorType::InvalidEvent, "a backfill is not taken"),
        (r#"{"detail-type":"ECR Image Action","detail":{}}"#, ErrorType::InvalidEvent, "EventBridge"),
        (r#"{"source":"alpine","destination":"ghcr.io/a/b:c"}"#, ErrorType::InvalidReference, "alpine"),
        (r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/b:c"}"#, ErrorType::InvalidReference, "same"),
        (
            r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/d:c","platforms":["linux/amd64"]}"#,
            ErrorType::InvalidEvent,
            "platforms",
        ),
        (
            r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/d:c","expected_digest":"1"}"#,
            ErrorType::InvalidEvent,
            "expected_digest",
        ),
    ] {
        let error = read_with_no_rules(body).unwrap_err();
        assert_eq!(error.error_type, error_type, "{body}");
        assert!(error.message.contains(part), "{body}: {error}");
    }
}
