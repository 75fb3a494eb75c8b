use transfer::{config::Config, request::ExistingTag, settings::Environment};

use super::*;

fn rules(json: &str) -> Rules {
    Config::parse(json, &Environment::from(&|_| None)).unwrap().rules
}

fn read_with_no_rules(body: &str) -> Result<Vec<SyncRequest>, Error> {
    read(body, &rules("{}"))
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
        read(body, &rules).unwrap().iter().map(|request| request.destination.to_string()).collect();
    assert_eq!(destinations, ["ghcr.io/a/app:v1", "quay.io/a/app:v1"]);
    let error = read_with_no_rules(body).unwrap_err();
    assert!(error.message.contains("no destination"), "{error}");
}

#[test]
fn further_tags_are_requests_of_their_own() {
    let body = r#"{"source":"ghcr.io/a/b:v1","destination":"quay.io/c/d:v1","tags":["v1.2","latest"]}"#;
    let requests = read_with_no_rules(body).unwrap();
    let ends: Vec<_> =
        requests.iter().map(|request| (request.source.to_string(), request.destination.to_string())).collect();
    let of = |tag: &str| (format!("ghcr.io/a/b:{tag}"), format!("quay.io/c/d:{tag}"));
    assert_eq!(ends, [of("v1"), of("v1.2"), of("latest")]);
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
fn what_is_no_message_says_why() {
    for (body, error_type, part) in [
        ("", ErrorType::InvalidEvent, "message"),
        ("[]", ErrorType::InvalidEvent, "message"),
        (r#"{"source":"ghcr.io/a/b:c","destinaton":"x"}"#, ErrorType::InvalidEvent, "destinaton"),
        (r#"{"source":"ghcr.io/a/b:c","tags":["d"]}"#, ErrorType::InvalidEvent, "`tags` needs"),
        (r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/d:c","tags":["-"]}"#, ErrorType::InvalidEvent, "`tags`"),
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
