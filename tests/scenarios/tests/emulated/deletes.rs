//! A tag that was deleted at the source, between two ECR registries: what is removed, what stays, and why.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, aws::ApiError};
use scenarios::{
    EventSource, Function, Outcome, World,
    world::{DESTINATION, delete_event},
};
use serde_json::{Value, json};

use crate::support::{LIMIT, assert_nothing_written, eventually, failed, logged_results, results, watched};

const MIRROR: &str = "mirror/team/app";

/// A world whose rule follows deletions so far, with an image under `v1` and `v1.0` at the destination, and none of it at
/// the source.
async fn world(delete: Option<&str>) -> (World, Image) {
    let mut world = World::ecr(|destination| destination).await;
    if let Some(delete) = delete {
        world.rule().insert("delete".into(), delete.into());
    }
    world.source.store().create_repository("team/app");
    let image = Image::small(1);
    for tag in ["v1", "v1.0"] {
        image.push_to(world.destination.store(), MIRROR, tag);
    }
    (world, image)
}

async fn deleted(function: &mut Function, tag: &str, digest: &str) -> Value {
    let mut results = results(function, delete_event("team/app", tag, digest)).await;
    assert_eq!(results.len(), 1, "{results:?}");
    results.remove(0)
}

/// The function with its queues `work` and `dead`.
async fn fanout(world: &World) -> Function {
    let work = world.aws.sqs().create("work", Duration::from_secs(30));
    let dead = world.aws.sqs().create("dead", Duration::from_secs(30));
    let env = [("TRANSSHIP_QUEUE_URL", work.as_str()), ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())];
    world.function("fanout", &env).await
}

fn assert_says(result: &Value, outcome: &str, part: &str) {
    assert_eq!(result["outcome"], outcome, "{result}");
    assert!(result["reason"].as_str().is_some_and(|reason| reason.contains(part)), "`{part}` is not in: {result}");
}

fn tags(world: &World) -> Vec<String> {
    world.destination.store().tags(MIRROR)
}

#[tokio::test]
async fn a_deleted_tag_is_removed_and_the_images_other_tags_stay() {
    watched(async {
        let (world, image) = world(Some("untag")).await;
        let mut function = world.function("on-push", &[]).await;
        let result = deleted(&mut function, "v1", &image.digest).await;
        assert_says(&result, "untagged", "deleted at the source");
        assert_eq!(result["destination"], format!("{DESTINATION}/{MIRROR}:v1"));
        assert_eq!(result["digest"], image.digest);
        assert_eq!(tags(&world), ["v1.0"]);
        world.destination.store().is_whole(MIRROR, "v1.0").unwrap();
        let calls = world.aws.calls();
        let call = calls.iter().find(|call| call.operation == "BatchDeleteImage").unwrap();
        assert_eq!(call.request["imageIds"], json!([{ "imageTag": "v1" }]), "by the tag alone, never by the digest");
        assert_eq!((world.source.journal().len(), world.destination.journal().len()), (2, 3));
        assert_eq!(result["requests"], json!({ "source": 2, "destination": 3, "aws_api": 6 }), "{result}");

        // Delivered again.
        let again = deleted(&mut function, "v1", &image.digest).await;
        assert_says(&again, "current", "no such tag");
        assert_eq!(world.aws.count("ecr", "BatchDeleteImage"), 1);
        eventually("both are logged", || logged_results(&function).len() == 2).await;
        let line = function.records().into_iter().find(|record| record["result"]["outcome"] == "untagged").unwrap();
        assert_eq!(
            (&line["Untagged"], &line["Failed"], &line["Destination"]),
            (&1.into(), &0.into(), &DESTINATION.into())
        );
    })
    .await;
}

#[tokio::test]
async fn without_the_setting_nothing_is_followed() {
    watched(async {
        let (world, image) = world(None).await;
        let mut function = world.function("on-push", &[]).await;
        let result = deleted(&mut function, "v1", &image.digest).await;
        assert_says(&result, "ignored", "no rule that matches follows deletions");
        assert_eq!(world.source.journal().len() + world.destination.journal().len() + world.aws.calls().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn the_last_tag_of_an_image_goes_only_where_the_rule_says_so() {
    watched(async {
        let (mut world, image) = world(Some("untag")).await;
        world.destination.store().remove_tag(MIRROR, "v1.0");
        let mut function = world.function("on-push", &[]).await;
        let result = deleted(&mut function, "v1", &image.digest).await;
        assert_says(&result, "kept", "last tag");
        assert_eq!(tags(&world), ["v1"]);
        assert_eq!(world.aws.count("ecr", "BatchDeleteImage"), 0);

        world.rule().insert("delete".into(), "image".into());
        let mut function = world.function("on-push", &[]).await;
        let result = deleted(&mut function, "v1", &image.digest).await;
        assert_says(&result, "deleted", "last one");
        assert_eq!(world.destination.store().manifest(MIRROR, &image.digest), None, "ECR removes it with its last tag");
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_has_moved_at_either_end_stays() {
    watched(async {
        let (world, image) = world(Some("image")).await;
        let other = Image::small(2);
        other.push_to(world.destination.store(), MIRROR, "v1");
        let mut function = world.function("on-push", &[]).await;
        let result = deleted(&mut function, "v1", &image.digest).await;
        assert_says(&result, "kept", &format!("holds {}", other.digest));

        // Pushed again before the event came: the push has an event of its own.
        other.push_to(world.source.store(), "team/app", "v1.0");
        let result = deleted(&mut function, "v1.0", &image.digest).await;
        assert_says(&result, "kept", "the source has the tag again");
        assert_eq!(tags(&world), ["v1", "v1.0"]);
        assert_eq!(world.aws.count("ecr", "BatchDeleteImage"), 0);
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn an_archived_image_has_its_tag_still() {
    watched(async {
        let (world, image) = world(Some("image")).await;
        image.push_to(world.source.store(), "team/app", "v1");
        world.source.store().archive("team/app", &image.digest);
        let mut function = world.function("on-push", &[]).await;
        let result = deleted(&mut function, "v1", &image.digest).await;
        assert_says(&result, "kept", "archived");
        assert_eq!(tags(&world), ["v1", "v1.0"]);
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_comes_back_while_it_is_removed_is_synced() {
    watched(async {
        let (world, image) = world(Some("untag")).await;
        image.push_to(world.source.store(), "team/app", "v1");
        // The first look finds nothing, as if the push had come right behind it.
        let gone = Action::error(404, "MANIFEST_UNKNOWN", "Requested image not found");
        world.source.faults().add(Fault::on(Kind::ManifestHead).times(1).then(gone));
        world.aws.fail_next("DescribeImages", ApiError::client("ImageNotFoundException", "no"), 1);
        let mut function = world.function("on-push", &[]).await;
        let results = results(&mut function, delete_event("team/app", "v1", &image.digest)).await;
        assert_eq!(world.aws.count("ecr", "BatchDeleteImage"), 1);
        let outcomes: Vec<_> = results.iter().map(|result| result["outcome"].clone()).collect();
        assert_eq!(outcomes, ["untagged", "synced"], "{results:?}");
        assert_eq!(tags(&world), ["v1", "v1.0"]);

        // And where an earlier try was cut between the two.
        world.destination.store().remove_tag(MIRROR, "v1");
        let results = crate::support::results(&mut function, delete_event("team/app", "v1", &image.digest)).await;
        let outcomes: Vec<_> = results.iter().map(|result| result["outcome"].clone()).collect();
        assert_eq!(outcomes, ["kept", "synced"], "{results:?}");
        assert_eq!(tags(&world), ["v1", "v1.0"]);
    })
    .await;
}

#[tokio::test]
async fn an_event_that_says_too_little_is_ignored() {
    watched(async {
        let (world, image) = world(Some("image")).await;
        let mut function = world.function("on-push", &[]).await;
        let mut absent = delete_event("team/app", "v1", &image.digest);
        absent["detail"].as_object_mut().unwrap().remove("image-tag");
        for (event, part) in [
            (delete_event("team/app", "", &image.digest), "no tag"),
            (absent, "no tag"),
            (delete_event("team/app", "v1", "sha256:12"), "which digest"),
            (delete_event("team/app", "v1", ""), "which digest"),
        ] {
            let results = results(&mut function, event).await;
            assert_says(&results[0], "ignored", part);
        }
        assert_eq!(world.source.journal().len() + world.destination.journal().len() + world.aws.calls().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_missing_repository_has_nothing_to_remove() {
    watched(async {
        let (world, image) = world(Some("image")).await;
        world.destination.store().remove_repository(MIRROR);
        let mut function = world.function("on-push", &[]).await;
        assert_says(&deleted(&mut function, "v1", &image.digest).await, "current", "no such tag");
        assert_eq!(world.aws.count("ecr", "BatchDeleteImage"), 0);
    })
    .await;
}

#[tokio::test]
async fn an_image_that_an_index_lists_is_not_removed_and_the_error_says_so() {
    watched(async {
        let (world, _) = world(Some("image")).await;
        let child = Image::small(7);
        let index = emulator::Index::of(&[&child]);
        index.push_to(world.destination.store(), MIRROR, "all");
        world.destination.store().set_tag(MIRROR, "one", &child.digest);
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, delete_event("team/app", "one", &child.digest)).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains("index") && message.contains(MIRROR), "{message}");
        assert_eq!(world.destination.store().tag(MIRROR, "one"), Some(child.digest));
    })
    .await;
}

#[tokio::test]
async fn missing_rights_are_named_and_a_throttled_call_is_tried_again() {
    watched(async {
        let (world, image) = world(Some("untag")).await;
        let mut function = world.function("on-push", &[]).await;
        world.ecr.deny("BatchDeleteImage");
        let (error_type, message) = failed(&mut function, delete_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains("ecr:BatchDeleteImage") && message.contains(MIRROR), "{message}");
        world.ecr.allow("BatchDeleteImage");
        assert_eq!(tags(&world), ["v1", "v1.0"]);
        world.aws.fail_next("BatchDeleteImage", ApiError::client("ThrottlingException", "Rate exceeded"), 1);
        let result = deleted(&mut function, "v1", &image.digest).await;
        assert_eq!((&result["outcome"], &result["throttled"]), (&"untagged".into(), &1.into()), "{result}");
    })
    .await;
}

#[tokio::test]
async fn several_destinations_are_done_one_after_the_other_by_both_functions() {
    watched(async {
        let (mut world, image) = world(Some("untag")).await;
        let to = |prefix: &str| format!("{DESTINATION}/{prefix}/{{repository}}");
        world.rule().insert("destinations".into(), json!([to("one"), to("two"), to("mirror")]));
        for repository in ["one/team/app", "two/team/app"] {
            for tag in ["v1", "v1.0"] {
                image.push_to(world.destination.store(), repository, tag);
            }
        }
        world.destination.store().set_tag("one/team/app", "v1", &Image::small(3).digest);
        Image::small(3).push_to(world.destination.store(), "one/team/app", "v1");
        let url = world.aws.sqs().create("work", Duration::from_secs(30));
        let env = [("TRANSSHIP_QUEUE_URL", url.as_str())];
        let mut on_push = world.function("on-push", &env).await;
        let results = results(&mut on_push, delete_event("team/app", "v1", &image.digest)).await;
        let outcomes: Vec<_> = results.iter().map(|result| result["outcome"].clone()).collect();
        assert_eq!(outcomes, ["kept", "untagged", "untagged"], "{results:?}");
        assert_eq!(world.aws.sqs().messages("work").len(), 0);

        // The event as a message's body, where EventBridge targets the queue.
        world.destination.store().set_tag("two/team/app", "v1", &image.digest);
        world.aws.sqs().send("work", &delete_event("team/app", "v1", &image.digest).to_string());
        let mut fanout = world.function("fanout", &env).await;
        let delivery = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
        eventually("all are logged", || logged_results(&fanout).len() == 3).await;
        let outcomes: Vec<_> = logged_results(&fanout).iter().map(|result| result["outcome"].clone()).collect();
        assert_eq!(outcomes, ["kept", "untagged", "current"]);
        assert_eq!(world.aws.sqs().messages("work").len(), 0);
    })
    .await;
}

/// Each of the two finds the other one's tag, and ECR takes the image with the last: it is put back.
#[tokio::test]
async fn two_deletions_at_once_leave_a_tag_of_the_image() {
    watched(async {
        let (world, image) = world(Some("untag")).await;
        let mut functions = [world.function("on-push", &[]).await, world.function("on-push", &[]).await];
        world.aws.serve_together("BatchDeleteImage", 2);
        let [one, other] = &mut functions;
        let (one, other) = tokio::join!(deleted(one, "v1", &image.digest), deleted(other, "v1.0", &image.digest));
        assert_eq!(world.aws.count("ecr", "BatchDeleteImage"), 2, "both were removed");
        assert!(!tags(&world).is_empty(), "{one}\n{other}");
        for tag in tags(&world) {
            world.destination.store().is_whole(MIRROR, &tag).unwrap();
        }
        let kept: Vec<_> = [&one, &other].into_iter().filter(|result| result["outcome"] == "kept").collect();
        assert_eq!(kept.len(), tags(&world).len(), "{one}\n{other}");
        kept.iter().for_each(|result| assert_says(result, "kept", "at the same time"));
    })
    .await;
}

#[tokio::test]
async fn where_it_can_not_be_told_what_is_left_the_tag_is_put_back() {
    watched(async {
        let (world, image) = world(Some("untag")).await;
        let mut function = world.function("on-push", &[]).await;
        let silent = Action::error(403, "DENIED", "not now");
        world.destination.faults().add(Fault::on(Kind::ManifestHead).path("manifests/v1.0").forever().then(silent));
        // Of the source's image, and of the other tags before the removal: as ever.
        world.aws.serve_together("DescribeImages", 1);
        world.aws.serve_together("DescribeImages", 1);
        world.aws.fail_next("DescribeImages", ApiError::client("AccessDeniedException", "not now"), 1);
        let result = deleted(&mut function, "v1", &image.digest).await;
        assert_says(&result, "kept", "can't be told");
        assert_eq!(world.aws.count("ecr", "BatchDeleteImage"), 1);
        assert_eq!(tags(&world), ["v1", "v1.0"]);
    })
    .await;
}

#[tokio::test]
async fn an_image_that_goes_between_the_looks_is_no_error() {
    watched(async {
        let (world, image) = world(Some("untag")).await;
        let mut function = world.function("on-push", &[]).await;
        let gone = Action::error(404, "MANIFEST_UNKNOWN", "Requested image not found");
        world.destination.faults().add(Fault::on(Kind::ManifestGet).path(&image.digest).then(gone));
        let result = deleted(&mut function, "v1", &image.digest).await;
        assert_says(&result, "current", "while it was looked at");
        assert_eq!(world.aws.count("ecr", "BatchDeleteImage"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_removal_is_not_begun_without_the_time_to_finish_it() {
    watched(async {
        let (world, image) = world(Some("untag")).await;
        let mut function = world.function("on-push", &[]).await;
        let outcome = function.invoke(delete_event("team/app", "v1", &image.digest), Duration::from_secs(5)).await;
        let Outcome::Err { error_type, message } = outcome else { panic!("{outcome:?}") };
        assert_eq!(error_type, "DeadlineExceeded", "{message}");
        assert_eq!(world.aws.count("ecr", "BatchDeleteImage"), 0);
        assert_eq!(tags(&world), ["v1", "v1.0"]);
    })
    .await;
}

/// The look at the source after the removal fails: nothing is lost, and another try says whether the tag is back.
#[tokio::test]
async fn a_failing_last_look_is_tried_again() {
    watched(async {
        let (mut world, image) = world(Some("untag")).await;
        world.config["limits"] = json!({ "max_attempts": 1 });
        let mut fanout = fanout(&world).await;
        world.source.faults().add(Fault::on(Kind::ManifestHead).skip(1).then(Action::status(503)));
        world.aws.sqs().send("work", &delete_event("team/app", "v1", &image.digest).to_string());
        let delivery = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(&mut fanout).await.unwrap();
        assert_eq!((delivery.kept.len(), world.aws.sqs().messages("dead").len()), (1, 0), "{delivery:?}");
        eventually("it is logged", || logged_results(&fanout).len() == 1).await;
        let result = logged_results(&fanout).remove(0);
        assert_eq!(result["error_type"], "Unavailable", "{result}");
        assert!(result["error_message"].as_str().unwrap().contains("was removed"), "{result}");
        assert_eq!(tags(&world), ["v1.0"]);

        let mut function = world.function("on-push", &[]).await;
        image.push_to(world.source.store(), "team/app", "v1");
        let results = results(&mut function, delete_event("team/app", "v1", &image.digest)).await;
        assert_says(&results[0], "kept", "the source has the tag again");
        assert_eq!((&results[1]["outcome"], tags(&world)), (&"synced".into(), vec!["v1".into(), "v1.0".into()]));
    })
    .await;
}

/// One destination's image could not be put back, another one's may succeed later: the letter is not lost by that.
#[tokio::test]
async fn what_is_lost_at_one_destination_is_told_whatever_the_others_say() {
    watched(async {
        let (mut world, image) = world(Some("untag")).await;
        world.config["limits"] = json!({ "max_attempts": 1 });
        let to = |prefix: &str| format!("{DESTINATION}/{prefix}/{{repository}}");
        world.rule().insert("destinations".into(), json!([to("mirror"), to("other")]));
        for tag in ["v1", "v1.0"] {
            image.push_to(world.destination.store(), "other/team/app", tag);
        }
        let mut fanout = fanout(&world).await;
        let faults = world.destination.faults();
        // As if the other tag had gone: the registry says nothing of it, nor takes the image again.
        faults.add(
            Fault::on(Kind::ManifestHead).path(&format!("{MIRROR}/manifests/v1.0")).forever().then(Action::status(403)),
        );
        world.aws.serve_together("DescribeImages", 1);
        world.aws.serve_together("DescribeImages", 1);
        world.aws.fail_next("DescribeImages", ApiError::client("AccessDeniedException", "not now"), 1);
        faults.add(Fault::on(Kind::ManifestPut).forever().then(Action::status(403)));
        faults.add(Fault::any().path("other/team/app").forever().then(Action::status(503)));
        world.aws.sqs().send("work", &delete_event("team/app", "v1", &image.digest).to_string());
        let delivery = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
        let dead = world.aws.sqs().messages("dead");
        assert!(dead.len() == 1 && format!("{:?}", dead[0]).contains("could not be put back"), "{dead:?}");
    })
    .await;
}

/// Another try would find no tag, and nothing to say.
#[tokio::test]
async fn an_image_that_can_not_be_put_back_is_told_for_good() {
    watched(async {
        let (mut world, image) = world(Some("untag")).await;
        world.config["limits"] = json!({ "max_attempts": 2 });
        let mut fanout = fanout(&world).await;
        world.destination.faults().add(Fault::on(Kind::ManifestPut).forever().then(Action::status(503)));
        // The source, the other tags, the removal, the other tags: step by step.
        for operation in ["DescribeImages", "DescribeImages", "BatchDeleteImage", "DescribeImages"] {
            world.aws.serve_together(operation, 2);
        }
        world.aws.sqs().send("work", &delete_event("team/app", "v1", &image.digest).to_string());
        let queue = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT);
        let mut another = world.function("on-push", &[]).await;
        let (delivery, _) = tokio::join!(
            queue.deliver(&mut fanout),
            another.invoke(delete_event("team/app", "v1.0", &image.digest), LIMIT)
        );
        assert_eq!(delivery.unwrap().outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
        let dead = world.aws.sqs().messages("dead");
        assert_eq!(dead.len(), 1);
        let told = format!("{:?}", dead[0]);
        assert!(told.contains("could not be put back") && told.contains("Unavailable"), "{told}");
    })
    .await;
}
