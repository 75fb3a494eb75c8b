//! ECR's quotas of what may be held: asked once, refused for good, and said by name with what to do.

use std::time::Duration;

use emulator::{Builder, Image, Kind, Personality, aws::ApiError};
use scenarios::{Function, Outcome, World, world::push_event};
use serde_json::json;

use crate::{
    backfill,
    support::{assert_nothing_written, delivered, failed, image_message, replicated, watched},
};

/// From ECR to ECR of another account, or to ECR Public, that `change` makes small.
async fn worlds(change: impl Fn(Builder) -> Builder) -> [World; 2] {
    let public = World::to(Personality::EcrPublic, |builder| change(builder.alias("mirror"))).await;
    [World::ecr(change).await, public]
}

/// The service that a world's destination is of, as AWS names it.
fn service(world: &World) -> &'static str {
    if world.destination.personality() == Personality::Ecr { "ecr" } else { "ecr-public" }
}

async fn fanout(world: &World) -> Function {
    let dead = world.aws.sqs().create("dead", Duration::from_secs(30));
    world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", &dead)]).await
}

fn ends(world: &World, tag: &str) -> (String, String) {
    (format!("{}/team/app:{tag}", world.source_host), format!("{}/mirror/team/app:{tag}", world.destination_host))
}

/// Has `fanout` try a tag that can't be copied; answers the reason that its letter gives.
async fn buried(world: &World, function: &mut Function, tag: &str) -> String {
    let (source, destination) = ends(world, tag);
    let before = world.aws.sqs().messages("dead").len();
    let delivery = delivered(world, function, &image_message(source, destination)).await;
    assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })), "it does not come again");
    let letters = world.aws.sqs().messages("dead");
    assert_eq!((letters.len(), world.aws.sqs().messages("work").len()), (before + 1, 0));
    let letter = letters.last().unwrap();
    let message = letter.attribute("error_message").unwrap().to_owned();
    assert_eq!(letter.attribute("error_type"), Some("Denied"), "{message}");
    message
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[tokio::test]
async fn a_repository_beyond_the_quota_is_asked_for_once_and_refused_for_good() {
    watched(async {
        for mut world in worlds(|builder| builder.repository_quota(1)).await {
            let (host, service) = (world.destination_host.clone(), service(&world));
            world.registry_config(&host).insert("create_repository".into(), json!({}));
            world.destination.store().create_repository("mirror/other");
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let parts = [
                "creating ECR",
                "mirror/team/app",
                "LimitExceededException",
                "maximum allowed number of repositories which is '1'",
                "quota of the account",
                "ask AWS to raise it",
            ];
            let mut function = world.function("on-push", &[]).await;
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "Denied", "{message}");
            assert_says(&message, &parts);
            // The SDK takes the exception for throttling, and would have made four calls of it.
            assert_eq!(world.aws.count(service, "CreateRepository"), 1);

            let mut fanout = fanout(&world).await;
            assert_says(&buried(&world, &mut fanout, "v1").await, &parts);
            assert_eq!(world.aws.count(service, "CreateRepository"), 2);
            assert_nothing_written(&world.destination);
            assert_eq!(world.source.journal().count(Kind::BlobGet), 0);

            world.destination.store().remove_repository("mirror/other");
            let (source, destination) = ends(&world, "v1");
            assert_eq!(replicated(&world, &mut fanout, &source, &destination).await["outcome"], "synced", "{service}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_image_beyond_the_quota_is_put_once_and_no_right_is_asked_for() {
    watched(async {
        for world in worlds(|builder| builder.image_quota(2)).await {
            world.destination.store().create_repository("mirror/team/app");
            let mut fanout = fanout(&world).await;
            // A further tag of an image that is there is no further image.
            for (seed, tag) in [(1, "v1"), (2, "v2"), (2, "v2-again")] {
                Image::small(seed).push_to(world.source.store(), "team/app", tag);
                let (source, destination) = ends(&world, tag);
                assert_eq!(replicated(&world, &mut fanout, &source, &destination).await["outcome"], "synced", "{tag}");
            }
            Image::small(3).push_to(world.source.store(), "team/app", "v3");
            world.forget();
            let message = buried(&world, &mut fanout, "v3").await;
            let said = ["putting manifest", "403", "maximum allowed number of images which is '2'", "lifecycle policy"];
            assert_says(&message, &said);
            assert_says(&message, &["lifecycle policy", "ask AWS to raise it"]);
            assert!(!message.contains("the right to"), "{message}");
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
            assert_eq!(world.destination.store().tag("mirror/team/app", "v3"), None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_tag_beyond_the_quota_of_its_image_is_put_once() {
    watched(async {
        for world in worlds(|builder| builder.tag_quota(2)).await {
            world.destination.store().create_repository("mirror/team/app");
            let mut fanout = fanout(&world).await;
            for tag in ["v1", "v2", "v3"] {
                Image::small(1).push_to(world.source.store(), "team/app", tag);
            }
            for tag in ["v1", "v2"] {
                let (source, destination) = ends(&world, tag);
                assert_eq!(replicated(&world, &mut fanout, &source, &destination).await["outcome"], "synced", "{tag}");
            }
            world.forget();
            let message = buried(&world, &mut fanout, "v3").await;
            assert_says(&message, &["403", "maximum allowed number of tags per image which is '2'", "can't be raised"]);
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
            assert_eq!(world.destination.store().tags("mirror/team/app"), ["v1", "v2"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_quota_that_a_backfill_meets_is_asked_about_once() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        world.destination.store().create_repository("mirror/team/app");
        Image::small(1).push_to(world.source.store(), "team/app", "v1");
        let exceeded = ApiError::client("LimitExceededException", "a limit of the account would be exceeded");
        world.aws.fail_next("BatchGetImage", exceeded, 9);
        let mut fanout = backfill::fanout(&world).await;
        let order = json!({ "repository": format!("{}/team/app", world.source_host) });
        let summary = backfill::backfilled(&world, &mut fanout, order).await;
        assert_eq!(summary["error_type"], "Denied", "{summary}");
        assert_says(summary["error_message"].as_str().unwrap(), &["ecr:BatchGetImage", "mirror/team/app", "quota"]);
        assert_eq!(world.aws.count("ecr", "BatchGetImage"), 1);
        assert_eq!(world.aws.sqs().messages("dead").len(), 1);
    })
    .await;
}
