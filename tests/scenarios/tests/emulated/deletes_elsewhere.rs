//! A deleted tag at registries that are not ECR: those that remove a tag alone, and those that must not be asked to.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, Personality};
use scenarios::{EventSource, Outcome, World, world::delete_event};
use serde_json::json;

use crate::support::{LIMIT, failed, results, watched};

/// Where the world's rule leads to.
const MIRROR: &str = "mirror/team/app";

async fn world(personality: Personality, delete: &str) -> (World, Image) {
    let mut world = World::to(personality, |builder| match personality {
        Personality::EcrPublic => builder.alias("mirror"),
        _ => builder,
    })
    .await;
    world.rule().insert("delete".into(), delete.into());
    world.source.store().create_repository("team/app");
    let image = Image::small(1);
    for tag in ["v1", "v1.0"] {
        image.push_to(world.destination.store(), MIRROR, tag);
    }
    (world, image)
}

#[tokio::test]
async fn a_tag_alone_is_removed_wherever_that_can_be_done() {
    watched(async {
        for personality in [Personality::Plain, Personality::Gar, Personality::Quay, Personality::EcrPublic] {
            let (world, image) = world(personality, "untag").await;
            let mut function = world.function("on-push", &[]).await;
            let event = delete_event("team/app", "v1", &image.digest);
            let result = results(&mut function, event.clone()).await;
            assert_eq!(result[0]["outcome"], "untagged", "{personality:?}: {result:?}");
            let store = world.destination.store();
            assert_eq!(store.tags(MIRROR), ["v1.0"], "{personality:?}");
            store.is_whole(MIRROR, "v1.0").unwrap();
            let deletions = world.destination.journal().count(Kind::ManifestDelete);
            assert_eq!(deletions, usize::from(personality != Personality::EcrPublic), "{personality:?}");

            assert_eq!(results(&mut function, event).await[0]["outcome"], "current", "{personality:?}");
            let last = delete_event("team/app", "v1.0", &image.digest);
            let result = results(&mut function, last).await;
            assert_eq!(result[0]["outcome"], "kept", "{personality:?}: {result:?}");
            assert_eq!(store.tags(MIRROR), ["v1.0"], "{personality:?}: it is the last one");
        }
    })
    .await;
}

#[tokio::test]
async fn two_deletions_at_once_leave_a_tag_of_the_image() {
    let at_once = async |personality: Personality| {
        let (world, image) = world(personality, "untag").await;
        let mut functions = [world.function("on-push", &[]).await, world.function("on-push", &[]).await];
        // Long enough for each to find the other one's tag.
        let late = Action::Delay(Duration::from_secs(4));
        world.destination.faults().add(Fault::on(Kind::ManifestDelete).times(2).then(late));
        let [one, other] = &mut functions;
        let (one, other) = tokio::join!(
            results(one, delete_event("team/app", "v1", &image.digest)),
            results(other, delete_event("team/app", "v1.0", &image.digest))
        );
        assert_eq!(world.destination.journal().count(Kind::ManifestDelete), 2, "{one:?} {other:?}");
        let tags = world.destination.store().tags(MIRROR);
        let kept = [&one, &other].into_iter().filter(|results| results[0]["outcome"] == "kept").count();
        assert!(!tags.is_empty() && kept == tags.len(), "{personality:?}: {one:?} {other:?}");
        world.destination.store().is_whole(MIRROR, &tags[0]).unwrap();
    };
    watched(async {
        tokio::join!(at_once(Personality::Plain), at_once(Personality::Gar), at_once(Personality::Quay));
    })
    .await;
}

/// The answer to the removal is lost, and the next try is told that there is no such tag.
#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_looked_after_all_the_same() {
    watched(async {
        let (world, image) = world(Personality::Plain, "untag").await;
        let mut function = world.function("on-push", &[]).await;
        let event = delete_event("team/app", "v1", &image.digest);
        world.destination.faults().add(Fault::on(Kind::ManifestDelete).then(Action::DoThenReset));
        // Nor can the other tag be found any more.
        let gone = Action::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        world
            .destination
            .faults()
            .add(Fault::on(Kind::ManifestHead).path("manifests/v1.0").skip(1).forever().then(gone));
        let result = results(&mut function, event).await;
        assert_eq!(world.destination.journal().count(Kind::ManifestDelete), 2, "{result:?}");
        assert_eq!(result[0]["outcome"], "kept", "{result:?}");
        assert_eq!(world.destination.store().tags(MIRROR), ["v1", "v1.0"]);
    })
    .await;
}

#[tokio::test]
async fn with_image_the_last_tag_goes_and_the_rest_is_the_registrys_garbage_collection() {
    watched(async {
        let (world, image) = world(Personality::Plain, "image").await;
        let mut function = world.function("on-push", &[]).await;
        for tag in ["v1", "v1.0"] {
            let result = results(&mut function, delete_event("team/app", tag, &image.digest)).await;
            assert_eq!(result[0]["outcome"], "untagged", "{result:?}");
        }
        assert!(world.destination.store().tags(MIRROR).is_empty());
        assert!(world.destination.store().manifest(MIRROR, &image.digest).is_some(), "never by digest");
        assert_eq!(world.destination.journal().count(Kind::TagsList), 0, "no other tag matters");
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_deletes_by_digest_alone_is_said_to_and_the_message_is_put_aside() {
    watched(async {
        // Harbor says 405; Docker's own registry of version 2 reads the tag as a digest.
        for refusal in [None, Some(Action::error(400, "DIGEST_INVALID", "provided digest did not match"))] {
            let personality = if refusal.is_none() { Personality::Harbor } else { Personality::Plain };
            let (world, image) = world(personality, "untag").await;
            if let Some(refusal) = refusal {
                world.destination.faults().add(Fault::on(Kind::ManifestDelete).forever().then(refusal));
            }
            let dead = world.aws.sqs().create("dead", Duration::from_secs(30));
            world.aws.sqs().create("work", Duration::from_secs(30));
            world.aws.sqs().send("work", &delete_event("team/app", "v1", &image.digest).to_string());
            let mut fanout = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())]).await;
            let delivery = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(&mut fanout).await.unwrap();
            assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
            let letters = world.aws.sqs().messages("dead");
            assert_eq!(letters.len(), 1);
            let message = letters[0].attribute("error_message").unwrap_or_default().to_owned();
            assert_eq!(letters[0].attribute("error_type"), Some("InvalidConfig"), "{message}");
            assert!(message.contains("removes no single tags") && message.contains("v1"), "{message}");
            assert_eq!(world.destination.store().tags(MIRROR), ["v1", "v1.0"]);
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_registry_does_not_tell_of_other_tags_keeps_the_tag() {
    watched(async {
        let (world, image) = world(Personality::Plain, "untag").await;
        let mut function = world.function("on-push", &[]).await;
        let event = delete_event("team/app", "v1", &image.digest);
        let refused = Action::error(403, "DENIED", "no");
        world.destination.faults().add(Fault::on(Kind::TagsList).times(1).then(refused));
        let (error_type, message) = failed(&mut function, event.clone()).await;
        assert_eq!(error_type, "Denied", "{message}");

        // Registries of before OCI 1.1 need not say what a tag points to.
        let silent = Action::DropHeader("docker-content-digest".into());
        world.destination.faults().add(Fault::on(Kind::ManifestHead).path("manifests/v1.0").forever().then(silent));
        let (error_type, message) = failed(&mut function, event).await;
        assert_eq!(error_type, "InvalidConfig", "{message}");
        assert!(message.contains("may be the last tag"), "{message}");
        assert_eq!(world.destination.journal().count(Kind::ManifestDelete), 0);
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_takes_the_image_along_is_found_out() {
    watched(async {
        let (mut world, image) = world(Personality::Acr, "untag").await;
        let mut function = world.function("on-push", &[]).await;
        let refused = function.ready().await.unwrap_err();
        assert!(format!("{refused:?}").contains("all its tags"), "{refused:?}");

        // Configured as another kind, it shows.
        let host = world.destination_host.clone();
        world.registry_config(&host).insert("provider".into(), "generic".into());
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, delete_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "InvalidConfig", "{message}");
        assert!(message.contains("went with it") && message.contains("leave `delete` out"), "{message}");
        assert_eq!(world.destination.store().tag(MIRROR, "v1"), Some(image.digest), "it is put back");
    })
    .await;
}
