use super::*;

/// One of the samples in `events/`.
fn sample(name: &str) -> Value {
    let path = format!("{}/../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

fn pushed(name: &str) -> Pushed {
    match read(sample(name)).unwrap() {
        Event::Pushed(pushed) => pushed,
        other => panic!("{name} was taken for {other:?}"),
    }
}

#[test]
fn pushes_are_read() {
    let push = pushed("ecr-push");
    assert_eq!(push.registry, "111122223333.dkr.ecr.us-east-1.amazonaws.com");
    assert_eq!((push.repository.as_str(), push.tag.as_deref()), ("team/app", Some("v1.4.0")));
    assert!(push.digest.is_some() && push.at.is_some());
    assert!(pushed("ecr-push-image").tag.is_some());
    assert!(pushed("ecr-push-index").tag.is_some());
    for name in ["ecr-push-untagged", "ecr-push-untagged-absent"] {
        let push = pushed(name);
        assert!(push.tag.is_none() && push.digest.is_some(), "{name}");
    }
}

#[test]
fn what_is_no_push_is_ignored_with_a_reason() {
    for (name, part) in [
        ("ecr-push-failed", "FAILURE"),
        ("ecr-archive", "UPDATE_STORAGE_CLASS"),
        ("ecr-referrer", "UPDATE_STORAGE_CLASS"),
        ("ecr-replication", "ECR Replication Action"),
        ("ecr-pull-through", "ECR Pull Through Cache Action"),
    ] {
        match read(sample(name)).unwrap() {
            Event::Ignored(reason) => assert!(reason.contains(part), "{name}: {reason}"),
            other => panic!("{name} was taken for {other:?}"),
        }
    }
}

#[test]
fn what_was_attached_to_an_image_is_told_from_images() {
    let attached = |event: Value| match read(event).unwrap() {
        Event::Attached(pushed) => pushed,
        other => panic!("taken for {other:?}"),
    };
    let signature = attached(sample("ecr-push-signature"));
    assert!(signature.tag.is_some_and(|tag| tag.ends_with(".sig")));
    let referrer = attached(sample("ecr-push-referrer"));
    assert!(referrer.tag.is_none() && referrer.digest.is_some());
    let mut event = sample("ecr-referrer");
    event["detail"]["action-type"] = "PUSH".into();
    assert!(attached(event.clone()).tag.is_none());
    event["detail-type"] = "ECR Artifact Action".into();
    assert!(attached(event.clone()).tag.is_none());
    // No sample of it is known, so another form is none of its events that mean anything here.
    event["detail"] = serde_json::json!({ "artifact": "team/app" });
    assert!(matches!(read(event), Ok(Event::Ignored(reason)) if reason.contains("ECR Artifact Action")));
}

#[test]
fn deletions_are_read_with_what_they_tell() {
    let deleted = |event| match read(event).unwrap() {
        Event::Deleted(deleted) => deleted,
        other => panic!("{other:?}"),
    };
    let tag = deleted(sample("ecr-delete"));
    assert_eq!((tag.repository.as_str(), tag.tag.as_deref()), ("team/app", Some("v1.0.0")));
    assert!(tag.digest.is_some());
    let mut untagged = sample("ecr-delete");
    untagged["detail"]["image-tag"] = "".into();
    assert_eq!(deleted(untagged).tag, None);
    let mut failed = sample("ecr-delete");
    failed["detail"]["result"] = "FAILURE".into();
    assert!(matches!(read(failed).unwrap(), Event::Ignored(reason) if reason.contains("deletion ended with FAILURE")));
}

#[test]
fn finished_scans_are_read_with_each_of_their_tags() {
    let scanned = |event| match read(event).unwrap() {
        Event::Scanned(images) => images,
        other => panic!("{other:?}"),
    };
    let images = scanned(sample("ecr-scan"));
    assert_eq!((images.len(), images[0].tag.as_deref()), (1, Some("v1.4.0")));
    assert!(images[0].digest.is_some() && images[0].at.is_none());
    let mut untagged = sample("ecr-scan");
    untagged["detail"]["image-tags"] = serde_json::json!([]);
    assert_eq!(scanned(untagged.clone())[0].tag, None);
    untagged["detail"].as_object_mut().unwrap().remove("image-digest");
    assert!(matches!(read(untagged).unwrap(), Event::Ignored(_)));
    let mut failed = sample("ecr-scan");
    failed["detail"]["scan-status"] = "FAILED".into();
    assert!(matches!(read(failed).unwrap(), Event::Ignored(reason) if reason.contains("FAILED")));
}

#[test]
fn a_null_tag_is_no_tag() {
    let mut event = sample("ecr-push-untagged");
    event["detail"]["image-tag"] = Value::Null;
    assert!(matches!(read(event).unwrap(), Event::Pushed(push) if push.tag.is_none()));
}

#[test]
fn what_is_no_event_of_ecr_fails_and_says_what_is_wrong() {
    let change = |path: &[&str], value: Option<Value>| {
        let mut event = sample("ecr-push");
        let (last, parents) = path.split_last().unwrap();
        let object = parents.iter().fold(&mut event, |at, key| &mut at[*key]).as_object_mut().unwrap();
        match value {
            Some(value) => object.insert((*last).to_owned(), value),
            None => object.remove(*last),
        };
        event
    };
    for (event, part) in [
        (Value::Null, "EventBridge"),
        (serde_json::json!({"Records": []}), "detail-type"),
        (change(&["source"], Some("aws.s3".into())), "aws.s3"),
        (change(&["detail", "repository-name"], None), "repository-name"),
        (change(&["detail", "action-type"], Some(5.into())), "detail"),
        (change(&["account"], Some("12".into())), "account"),
        (change(&["region"], None), "region"),
        (change(&["region"], Some("a/b".into())), "region"),
    ] {
        let error = read(event).unwrap_err();
        assert_eq!(error.error_type, ErrorType::InvalidEvent);
        assert!(error.message.contains(part), "{part}: {error}");
    }
    let mut nothing = sample("ecr-push-untagged");
    nothing["detail"]["image-digest"] = "sha256:12".into();
    assert!(read(nothing).unwrap_err().message.contains("image-digest"));
}

#[test]
fn a_tagged_event_with_an_impossible_digest_is_resolved_by_its_tag() {
    let mut event = sample("ecr-push");
    // As in AWS's own sample: 58 digits.
    event["detail"]["image-digest"] = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234".into();
    assert!(matches!(read(event).unwrap(), Event::Pushed(push) if push.digest.is_none() && push.tag.is_some()));
}
