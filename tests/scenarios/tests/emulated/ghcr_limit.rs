//! GHCR ends an upload after ten minutes. Here it does so within a moment, which to a function is a break like any other;
//! what it says of one after ten minutes is seen in `scale/upload_limit.rs`.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, Personality, image::raw_layer};
use scenarios::{World, world::push_event};
use serde_json::json;

use crate::support::{eventually, failed, pushed, watched};

const LIMIT: Duration = Duration::from_millis(400);

/// The layer takes twice the time that there is.
const RATE: u64 = 250_000;
const LAYER: usize = 200_000;

async fn world(times: usize) -> (World, Image) {
    let mut world = World::to(Personality::Ghcr, |ghcr| ghcr.open().upload_limit(LIMIT)).await;
    world.config["limits"] = json!({ "blob_concurrency": 1, "max_attempts": 2 });
    let image = Image::builder().layer(raw_layer(1, LAYER)).build();
    image.push_to(world.source.store(), "team/app", "v1");
    // The largest blob goes first.
    world.destination.faults().add(Fault::on(Kind::UploadPatch).times(times).then(Action::SlowRead(RATE)));
    (world, image)
}

#[tokio::test]
async fn an_upload_that_was_ended_is_begun_anew() {
    watched(async {
        let (world, image) = world(1).await;
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!((&result["outcome"], &result["retries"]), (&json!("synced"), &json!(1)), "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(world.destination.journal().count(Kind::UploadStart), image.blobs().len() + 1);
    })
    .await;
}

#[tokio::test]
async fn one_that_never_gets_through_ends_with_its_tries() {
    watched(async {
        let (world, image) = world(usize::MAX).await;
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Unavailable", "{message}");
        assert!(message.contains(image.layers[0].digest()), "{message}");
        assert!(!message.contains("ends an upload"), "it was no ten minutes: {message}");
        assert_eq!(world.destination.journal().count(Kind::UploadStart), 2);
        let store = world.destination.store();
        assert_eq!((store.tag("mirror/team/app", "v1"), store.manifests("mirror/team/app").len()), (None, 0));
        eventually("nothing is left open", || world.destination.open_uploads() == 0).await;
    })
    .await;
}
