//! A run that is repeated while ECR still validates what the first one sent: nothing is sent twice.

use std::time::Duration;

use emulator::{Image, Kind};
use scenarios::{
    EventSource, World,
    flows::{failed, image_message, logged_results},
    world::push_event,
};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{TIMEOUT, image_of, prepare, synced, watched};

const LAG: Duration = Duration::from_secs(4);

/// A world whose destination takes longer to validate a blob than the gate waits, and an image.
async fn slow_to_validate() -> (World, Image) {
    let (mut world, image) = (World::ecr(|ecr| ecr.validation_lag(LAG)).await, image_of(5, 20_000));
    world.config["limits"] = json!({ "manifest_commit_wait_ms": 300 });
    prepare(&world, &image);
    (world, image)
}

fn assert_sent_once(world: &World, image: &Image) {
    assert_eq!(world.destination.journal().count(Kind::UploadPut), image.blobs().len(), "each blob is sent once");
    assert_eq!(world.destination.journal().count(Kind::UploadStart), image.blobs().len());
    assert_eq!(world.destination.open_uploads(), 0);
}

#[tokio::test]
async fn the_process_that_sent_the_blobs_remembers_them() {
    watched(async {
        let (world, image) = slow_to_validate().await;
        let mut function = world.function("on-push", &[]).await;
        let event = push_event("team/app", "v1", &image.digest);
        for _ in 0..3 {
            let (error_type, message) = failed(&mut function, event.clone(), TIMEOUT).await;
            assert_eq!(error_type, "BlobUnavailable", "{message}");
        }
        tokio::time::sleep(LAG).await;
        synced(&world, &mut function, &image.digest).await;
        assert_sent_once(&world, &image);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_comes_again_is_looked_into_by_another_process() {
    watched(async {
        let (world, image) = slow_to_validate().await;
        let from = format!("{}/team/app:v1", world.source_host);
        let to = format!("{}/mirror/team/app:v1", world.destination_host);
        world.aws.sqs().create("work", Duration::from_millis(100));
        world.aws.sqs().send("work", &image_message(from, to));
        for _ in 0..2 {
            let mut function = world.function("fanout", &[]).await;
            EventSource::new(world.aws.sqs(), "work").timeout(TIMEOUT).deliver(&mut function).await.unwrap();
            let result = logged_results(&function).pop().expect("the result is logged");
            assert_eq!(result["error_type"], "BlobUnavailable", "{result}");
            function.kill().await;
            world.aws.sqs().skip_waiting("work");
        }
        assert_sent_once(&world, &image);
    })
    .await;
}

#[tokio::test]
async fn what_another_image_brought_a_moment_ago_is_not_sent_by_a_worker_that_knows_nothing_of_it() {
    watched(async {
        let (world, image) = slow_to_validate().await;
        let sqs = world.aws.sqs();
        let url = sqs.create("work", Duration::from_secs(60));
        let message = |tag: &str| {
            let from = format!("{}/team/app:{tag}", world.source_host);
            image_message(from, format!("{}/mirror/team/app:{tag}", world.destination_host))
        };
        sqs.send("work", &message("v1"));
        let mut first = world.function("fanout", &[]).await;
        EventSource::new(sqs, "work").timeout(TIMEOUT).deliver(&mut first).await.unwrap();
        first.kill().await;
        assert_sent_once(&world, &image);

        // Images with its layers and a configuration of their own: a message that was never received, and a push.
        let of = |tag: &str| Image::builder().layers(image.layers.clone()).label("tag", tag).build();
        for tag in ["v2", "v3"] {
            of(tag).push_to(world.source.store(), "team/app", tag);
        }
        sqs.create("other", Duration::from_secs(60));
        sqs.send("other", &message("v2"));
        let mut second = world.function("fanout", &[]).await;
        EventSource::new(sqs, "other").timeout(TIMEOUT).deliver(&mut second).await.unwrap();
        let mut third = world.function("on-push", &[("TRANSSHIP_QUEUE_URL", url.as_str())]).await;
        let mut event = push_event("team/app", "v3", &of("v3").digest);
        event["time"] = OffsetDateTime::now_utc().format(&Rfc3339).unwrap().into();
        let (error_type, message) = failed(&mut third, event, TIMEOUT).await;
        assert_eq!(error_type, "BlobUnavailable", "{message}");
        let sent = world.destination.journal().count(Kind::UploadPut);
        assert_eq!(sent, image.blobs().len() + 2, "the layers once, and each image's configuration");
    })
    .await;
}

#[tokio::test]
async fn an_event_that_lambda_runs_again_is_looked_into_by_another_process() {
    watched(async {
        let (world, image) = slow_to_validate().await;
        let mut event = push_event("team/app", "v1", &image.digest);
        // A minute old: Lambda runs a failed event again then.
        let pushed = OffsetDateTime::now_utc() - Duration::from_secs(62);
        event["time"] = pushed.format(&Rfc3339).unwrap().into();
        for _ in 0..2 {
            let mut function = world.function("on-push", &[]).await;
            let (error_type, message) = failed(&mut function, event.clone(), TIMEOUT).await;
            assert_eq!(error_type, "BlobUnavailable", "{message}");
        }
        assert_sent_once(&world, &image);
    })
    .await;
}
