use transfer::{config::Config, request::ExistingTag, settings::Environment};

use super::*;

fn rules(json: &str) -> Rules {
    Config::parse(json, &Environment::from(&|_| None)).unwrap().rules
}

fn syncs(body: &str, rules: &Rules) -> Result<Vec<SyncRequest>, Error> {
    match read(body, rules)? {
        Message::Sync(Syncs { places, .. }) => Ok(places.into_iter().flatten().collect()),
        Message::Backfill(order) => panic!("{body} is a backfill: {order:?}"),
        Message::Remove(deleted, _) => panic!("{body} tells of a deletion: {deleted:?}"),
        Message::Ignored(reason) => panic!("{body} was ignored: {reason}"),
    }
}

fn synced(places: Vec<Vec<SyncRequest>>, begun: Begun) -> Message {
    Message::Sync(Syncs { places, begun, refused: None })
}

fn read_with_no_rules(body: &str) -> Result<Vec<SyncRequest>, Error> {
    syncs(body, &rules("{}"))
}

/// Source and destination of each sync.
fn ends(requests: &[SyncRequest]) -> Vec<(String, String)> {
    requests.iter().map(|request| (request.source.to_string(), request.destination.to_string())).collect()
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
        syncs(body, &rules).unwrap().iter().map(|request| request.destination.to_string()).collect();
    assert_eq!(destinations, ["ghcr.io/a/app:v1", "quay.io/a/app:v1"]);
    let error = read_with_no_rules(body).unwrap_err();
    assert!(error.message.contains("no destination"), "{error}");
}

#[test]
fn a_source_by_tag_and_digest_is_that_digest_for_rules_too() {
    let rules = rules(r#"{"rules":[{"destinations":["ghcr.io/a/{name}","quay.io/a/{name}@{digest}"]}]}"#);
    let (image, digest) = ("111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app", Digest::of(b"x"));
    let requests = syncs(&format!(r#"{{"source":"{image}:v1@{digest}"}}"#), &rules).unwrap();
    let (by_tag, by_digest) = (format!("{image}:v1@{digest}"), format!("{image}@{digest}"));
    let expected = [(by_tag, "ghcr.io/a/app:v1".to_owned()), (by_digest, format!("quay.io/a/app@{digest}"))];
    assert_eq!(ends(&requests), expected);
    // By its tag alone it can't go to all of them, and that is told.
    let Ok(Message::Sync(syncs)) = read(&format!(r#"{{"source":"{image}:v1"}}"#), &rules) else { panic!("no sync") };
    assert_eq!(syncs.places.len(), 1);
    assert!(syncs.refused.unwrap().message.contains(":TAG@DIGEST"));
}

#[test]
fn what_on_push_queues_reads_back_as_it_was() {
    let request = SyncRequest {
        source: "111122223333.dkr.ecr.us-east-1.amazonaws.com/app:v1".parse().unwrap(),
        destination: "ghcr.io/acme/app:v1".parse().unwrap(),
        expected: Some(Digest::of(b"x")),
        options: SyncOptions {
            existing_tag: ExistingTag::Fail,
            platforms: Some(vec!["linux/arm64/v8".parse().unwrap(), "windows(10.0.17763)/amd64".parse().unwrap()]),
            ..SyncOptions::default()
        },
        pushed_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        asked_at: None,
        repeated: false,
        tried: false,
        heard: false,
        attached: false,
    };
    let body = serde_json::to_string(&ImageMessage::of(std::slice::from_ref(&request))).unwrap();
    assert_eq!(read_with_no_rules(&body).unwrap(), std::slice::from_ref(&request));
    let further = SyncRequest {
        source: "111122223333.dkr.ecr.us-east-1.amazonaws.com/app:latest".parse().unwrap(),
        destination: "ghcr.io/acme/app:newest".parse().unwrap(),
        ..request.clone()
    };
    let alias = SyncRequest { destination: "ghcr.io/acme/app:v".parse().unwrap(), ..request.clone() };
    let all = [request, further, alias];
    let body = serde_json::to_string(&ImageMessage::of(&all)).unwrap();
    assert_eq!(read(&body, &rules("{}")).unwrap(), synced(vec![all.to_vec()], Begun::default()));
}

#[test]
fn further_tags_are_pairs_that_each_follow_their_own_source() {
    let body = serde_json::json!({
        "version": 1,
        "source": "quay.io/a/app:v1.2",
        "destination": "ghcr.io/b/app:v1.2",
        "tags": [{ "source": "v1" }, { "source": "latest", "destination": "newest" }, { "destination": "x" },
            { "source": "v1.2" }],
        "expected_digest": format!("sha256:{}", "a".repeat(64)),
    });
    let requests = read_with_no_rules(&body.to_string()).unwrap();
    let expected = [
        ("quay.io/a/app:v1.2", "ghcr.io/b/app:v1.2"),
        ("quay.io/a/app:v1", "ghcr.io/b/app:v1"),
        ("quay.io/a/app:latest", "ghcr.io/b/app:newest"),
        ("quay.io/a/app:v1.2", "ghcr.io/b/app:x"),
    ];
    assert_eq!(ends(&requests), expected.map(|(from, to)| (from.to_owned(), to.to_owned())), "each once");
    assert!(requests.iter().all(|request| request.expected.is_some()));
}

#[test]
fn further_tags_of_an_image_that_the_rules_send_go_through_the_rules_too() {
    let rules = rules(
        r#"{"rules":[{"tags":{"include":["v*"]},"destinations":["ghcr.io/a/{name}","quay.io/a/{name}:{tag}-x"]}]}"#,
    );
    let body = r#"{"source":"quay.io/team/app:v1","tags":[{"source":"latest"},{"source":"v1.2"}]}"#;
    let Message::Sync(Syncs { places, .. }) = read(body, &rules).unwrap() else { panic!("it is a sync") };
    let destinations: Vec<Vec<_>> =
        places.iter().map(|place| ends(place).into_iter().map(|(_, to)| to).collect()).collect();
    let expected = [["ghcr.io/a/app:v1", "ghcr.io/a/app:v1.2"], ["quay.io/a/app:v1-x", "quay.io/a/app:v1.2-x"]];
    assert_eq!(destinations, expected, "by place, and no rule takes `latest`");
}

#[test]
fn an_event_as_a_body_is_what_on_push_would_make_of_it() {
    let rules = rules(
        r#"{"rules":[{"source":{"repository":"team/**"},"destinations":["ghcr.io/a/{name}"],"existing_tag":"keep"}]}"#,
    );
    let event = include_str!("../../../events/ecr-push.json");
    let requests = syncs(event, &rules).unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].source.to_string(), "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:v1.4.0");
    assert!(requests[0].expected.is_some() && requests[0].pushed_at.is_some());
    assert_eq!(requests[0].options.existing_tag, ExistingTag::Keep);
    for (event, part) in [
        (include_str!("../../../events/ecr-push-failed.json"), "FAILURE"),
        (include_str!("../../../events/ecr-scan.json"), "scan_gate"),
        (include_str!("../../../events/ecr-push-untagged.json"), "no tag"),
    ] {
        match read(event, &rules).unwrap() {
            Message::Ignored(reason) => assert!(reason.contains(part), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    let other = event.replace("team/app", "other/app");
    assert_eq!(read(&other, &rules).unwrap(), Message::Ignored("no rule matches".to_owned()));
    let foreign = event.replace("aws.ecr", "aws.s3");
    assert_eq!(read(&foreign, &rules).unwrap_err().error_type, ErrorType::InvalidEvent);
}

#[test]
fn a_version_that_is_not_known_is_said_before_anything_else() {
    for version in ["2", "0", "-1", "\"1\"", "null", "1.5"] {
        let body = format!(r#"{{"version":{version},"source":"ghcr.io/a/b:c","to_be_invented":1}}"#);
        let error = read_with_no_rules(&body).unwrap_err();
        assert_eq!(error.error_type, ErrorType::InvalidEvent);
        assert!(error.message.contains(version) && error.message.contains("knows 1"), "{error}");
    }
}

#[test]
fn the_rest_of_a_sync_reads_back_as_it_was() {
    let request = SyncRequest {
        source: "docker.io/library/alpine:3.20".parse().unwrap(),
        destination: "ghcr.io/acme/alpine:3.20".parse().unwrap(),
        expected: None,
        options: SyncOptions::default(),
        pushed_at: None,
        asked_at: None,
        repeated: false,
        tried: false,
        heard: false,
        attached: false,
    };
    let further = SyncRequest { destination: "ghcr.io/acme/alpine:3".parse().unwrap(), ..request.clone() };
    let begun = Begun { invocations: 2, fruitless: 1, cut: vec!["sha256:1".to_owned()], ..Begun::default() };
    let place = vec![request, further];
    let message = ImageMessage { begun: Some(begun.clone()), ..ImageMessage::of(&place).unwrap() };
    let body = serde_json::to_string(&message).unwrap();
    assert_eq!(read(&body, &rules("{}")).unwrap(), synced(vec![place], begun));
    let unversioned = body.replace(r#""version":1,"#, "");
    assert!(read(&unversioned, &rules("{}")).unwrap_err().message.contains("version"));
}

#[test]
fn what_is_no_message_says_why() {
    for (body, error_type, part) in [
        ("", ErrorType::InvalidEvent, "message"),
        ("[]", ErrorType::InvalidEvent, "message"),
        (r#"{"source":"ghcr.io/a/b:c","destinaton":"x"}"#, ErrorType::InvalidEvent, "destinaton"),
        (r#"{"backfill":{"repositry":"x"}}"#, ErrorType::InvalidEvent, "repositry"),
        (r#"{"version":2,"backfill":{}}"#, ErrorType::InvalidEvent, "`version` is 2"),
        (r#"{"detail-type":"ECR Image Action","detail":{}}"#, ErrorType::InvalidEvent, "EventBridge"),
        (r#"["ghcr.io/a/b:c","ghcr.io/a/d:c"]"#, ErrorType::InvalidEvent, "no JSON object"),
        (r#"{"source":"ghcr.io/a/b:c","source":"ghcr.io/a/d:c"}"#, ErrorType::InvalidEvent, "duplicate field"),
        (
            r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/d:c","tags":[{"name":"x"}]}"#,
            ErrorType::InvalidEvent,
            "`name`",
        ),
        (
            r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/d:c","tags":[{}]}"#,
            ErrorType::InvalidEvent,
            "`tags[0]` names neither",
        ),
        (
            r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/d:c","tags":[{"source":"a b"}]}"#,
            ErrorType::InvalidReference,
            "a b",
        ),
        (
            r#"{"source":"ghcr.io/a/b:c","tags":[{"source":"x","destination":"y"}]}"#,
            ErrorType::InvalidEvent,
            "`tags[0]` may name a `source` alone",
        ),
        (r#"{"source":"alpine","destination":"ghcr.io/a/b:c"}"#, ErrorType::InvalidReference, "alpine"),
        (r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/b:c"}"#, ErrorType::InvalidReference, "same"),
        (
            r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/d:c","platforms":["linux/amd64","linux"]}"#,
            ErrorType::InvalidEvent,
            "`platforms`[1]: `linux` is no platform",
        ),
        (
            r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/d:c","platforms":[]}"#,
            ErrorType::InvalidEvent,
            "`platforms`: an empty list",
        ),
        (
            r#"{"source":"ghcr.io/a/b:c","destination":"ghcr.io/a/d:c","platforms":"linux/amd64"}"#,
            ErrorType::InvalidEvent,
            "sequence",
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
