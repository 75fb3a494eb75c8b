//! An upload that is given up is cancelled, wherever it stood: nothing is left open at the registry.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, Personality, image::raw_layer};
use scenarios::{Outcome, World, world::push_event};
use serde_json::json;

use crate::support::{eventually, failed, watched};

/// An image with a layer of `size` bytes, on its way to a registry that lets anybody in.
async fn world(to: Personality, size: usize) -> (World, Image) {
    let mut world = match to {
        Personality::Ecr => World::ecr(|builder| builder).await,
        _ => World::to(to, |builder| builder.open()).await,
    };
    world.destination.store().create_repository("mirror/team/app");
    world.config["limits"] = json!({ "max_attempts": 2, "blob_concurrency": 2 });
    let image = Image::builder().layer(raw_layer(1, size)).build();
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

async fn nothing_is_open(world: &World) {
    let starts = world.destination.journal().count_status(Kind::UploadStart, 202);
    assert!(starts > 0, "an upload was begun");
    eventually("all uploads are cancelled", || world.destination.open_uploads() == 0).await;
}

#[tokio::test]
async fn an_upload_whose_close_is_refused_is_cancelled_where_it_stood_last() {
    watched(async {
        // Their PATCHes are answered with a new Location each; the first one is stale then.
        for to in [Personality::Ghcr, Personality::Acr, Personality::DockerHub] {
            let (mut world, image) = world(to, 300_000).await;
            // One beside it would be stopped within its PATCH, and has to ask first where it stood.
            world.config["limits"]["blob_concurrency"] = 1.into();
            let refused = Action::error(403, "DENIED", "requested access to the resource is denied");
            world.destination.faults().add(Fault::on(Kind::UploadPut).forever().then(refused));
            let mut function = world.function("on-push", &[]).await;
            let (error_type, _) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "Denied", "{to:?}");
            nothing_is_open(&world).await;
            let cancels = world.destination.journal().of(Kind::UploadCancel);
            assert!(
                cancels.iter().all(|cancel| cancel.status < 400),
                "{to:?}: at once, and where it stood: {cancels:#?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn an_upload_whose_last_location_was_lost_is_cancelled_where_the_registry_says() {
    watched(async {
        for to in [Personality::Ghcr, Personality::Acr] {
            let (world, image) = world(to, 300_000).await;
            // The registry has moved on, and nobody heard where to.
            world.destination.faults().add(Fault::on(Kind::UploadPatch).forever().then(Action::DoThenReset));
            let mut function = world.function("on-push", &[]).await;
            let (error_type, _) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "Unavailable", "{to:?}");
            nothing_is_open(&world).await;
        }
    })
    .await;
}

#[tokio::test]
async fn uploads_that_the_deadline_breaks_off_are_cancelled() {
    watched(async {
        for (to, stands_still) in [
            (Personality::Plain, Kind::UploadPut),
            (Personality::Ecr, Kind::UploadPut),
            (Personality::Ghcr, Kind::UploadPatch),
            (Personality::Acr, Kind::UploadPatch),
            (Personality::Acr, Kind::UploadPut),
        ] {
            let (mut world, image) = world(to, 3_000_000).await;
            world.config["limits"] = json!({ "request_timeout_ms": 600_000, "deadline_margin_ms": 2_000 });
            let action = Action::StallRequestAfter(if stands_still == Kind::UploadPatch { 5_000 } else { 0 });
            let action = if to == Personality::Acr && stands_still == Kind::UploadPut { Action::Stall } else { action };
            world.destination.faults().add(Fault::on(stands_still).forever().then(action));
            let mut function = world.function("on-push", &[]).await;
            let event = push_event("team/app", "v1", &image.digest);
            let outcome = function.invoke(event, Duration::from_secs(10)).await;
            let Outcome::Err { error_type, message } = outcome else { panic!("{to:?}: {outcome:?}") };
            assert_eq!(error_type, "DeadlineExceeded", "{to:?}: {message}");
            assert!(message.contains("uploading blob"), "it says what it waited for: {message}");
            nothing_is_open(&world).await;
        }
    })
    .await;
}
