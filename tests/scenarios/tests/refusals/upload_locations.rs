//! An upload goes on at the registry itself, wherever its `Location` points.

use emulator::{Action, Fault, Image, Kind, Personality, Registry};
use scenarios::{World, watchdog::watch};

use crate::ground::{LIMIT, MIRROR, REPOSITORY, impatient, pushed, refused_at, synced};

/// A place where nothing may arrive, which anybody here would trust by its certificate.
async fn evil(world: &World) -> Registry {
    Registry::builder(Personality::Plain).tls(&world.authority).start().await
}

async fn world(personality: Personality) -> (World, Image) {
    let mut world = World::to(personality, |destination| destination.open()).await;
    impatient(&mut world);
    let image = Image::builder().layer(emulator::image::layer(1, 100_000)).build();
    image.push_to(world.source.store(), REPOSITORY, "v1");
    (world, image)
}

/// Every way of leading elsewhere, with the registry and the evil origin filled in.
fn elsewhere(own: &str, evil: &str) -> Vec<String> {
    let port = |host: &str| host.rsplit_once(':').unwrap().1.to_owned();
    let (own_port, evil_port) = (port(own), port(evil));
    let path = "v2/mirror/team/app/blobs/uploads/1?_state=s";
    vec![
        format!("https://{evil}/{path}"),
        format!("//{evil}/{path}"),
        format!("\\\\{evil}/{path}"),
        format!("https:\\\\{evil}\\{path}"),
        format!("https://localhost:{evil_port}/{path}"),
        format!("https://localhost:{own_port}/{path}"),
        format!("https://127.0.0.1/{path}"),
        format!("https://{own}@{evil}/{path}"),
        format!("https://user:{own}@localhost:{evil_port}/{path}"),
        format!("https://127.0.0.1:{own_port}.example.test/{path}"),
        format!("http://{own}/{path}"),
        format!("HTTP://{own}/{path}"),
        format!("ftp://{own}/{path}"),
        format!("https://169.254.170.2/{path}"),
        format!("https://registry.example.test/{path}"),
    ]
}

#[tokio::test]
async fn an_upload_is_not_begun_at_another_origin() {
    watch("an_upload_is_not_begun_at_another_origin", LIMIT, |_| async {
        let (world, image) = world(Personality::Plain).await;
        let evil = evil(&world).await;
        let mut function = world.function("on-push", &[]).await;
        for location in elsewhere(&world.destination_host, &evil.host()) {
            let fault = Fault::on(Kind::UploadStart).forever().then(Action::Location(location.clone()));
            let fired = world.destination.faults().add(fault);
            let refusal = refused_at(&world.destination, &mut function, pushed("v1", &image.digest)).await;
            assert!(fired.count() > 0, "{location}");
            // A text that is no URL leads nowhere; the others lead astray.
            let expected = if refusal.message.contains("is no URL") { "Unavailable" } else { "UnsafeRedirect" };
            refusal.is(expected, &["starting an upload", &world.destination_host, "mirror/team/app"]);
            assert_eq!(world.destination.journal().count(Kind::UploadPut), 0, "{location}");
            world.destination.faults().clear();
        }
        assert_eq!(evil.journal().connections(), 0, "{:?}", evil.journal().entries());
        assert!(world.destination.store().blobs(MIRROR).is_empty());
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn an_upload_does_not_go_on_at_another_origin() {
    watch("an_upload_does_not_go_on_at_another_origin", LIMIT, |_| async {
        // The one sends a single PATCH, the other several: each is answered with a Location.
        for personality in [Personality::Ghcr, Personality::Acr] {
            let (world, image) = world(personality).await;
            let evil = evil(&world).await;
            let mut function = world.function("on-push", &[]).await;
            for location in elsewhere(&world.destination_host, &evil.host()) {
                let fault = Fault::on(Kind::UploadPatch).forever().then(Action::Location(location.clone()));
                let fired = world.destination.faults().add(fault);
                let refusal = refused_at(&world.destination, &mut function, pushed("v1", &image.digest)).await;
                assert!(fired.count() > 0, "{location}");
                let expected = if refusal.message.contains("is no URL") { "Unavailable" } else { "UnsafeRedirect" };
                refusal.is(expected, &["uploading blob", &world.destination_host, "mirror/team/app"]);
                assert_eq!(world.destination.journal().count(Kind::UploadPut), 0, "{location}");
                world.destination.faults().clear();
            }
            assert_eq!(evil.journal().connections(), 0, "{:?}", evil.journal().entries());
            synced(&mut function, pushed("v1", &image.digest)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_without_a_location_is_an_error() {
    watch("an_answer_without_a_location_is_an_error", LIMIT, |_| async {
        let (world, image) = world(Personality::Plain).await;
        let fault = Fault::on(Kind::UploadStart).forever().then(Action::DropHeader("location".into()));
        world.destination.faults().add(fault);
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused_at(&world.destination, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("Unavailable", &["starting an upload", "mirror/team/app", "names no Location"]);
    })
    .await;
}

#[tokio::test]
async fn where_an_upload_stands_is_not_asked_at_another_origin() {
    watch("where_an_upload_stands_is_not_asked_at_another_origin", LIMIT, |_| async {
        let (mut world, image) = world(Personality::Acr).await;
        // The chunk is tried a second time, so that its registry is asked what it has of it.
        world.config["limits"] = serde_json::json!({ "max_attempts": 3, "blob_concurrency": 1 });
        let evil = evil(&world).await;
        let mut function = world.function("on-push", &[]).await;
        for location in elsewhere(&world.destination_host, &evil.host()) {
            let own_port_and_more = location.contains("127.0.0.1:") && location.contains(".example.test");
            if own_port_and_more {
                continue; // it is no URL, so it leads nowhere, and the blob is sent anew
            }
            let faults = world.destination.faults();
            faults.add(Fault::on(Kind::UploadPatch).then(Action::CutRequestAfter(5_000)));
            let fired = faults.add(Fault::on(Kind::UploadStatus).forever().then(Action::Location(location.clone())));
            let refusal = refused_at(&world.destination, &mut function, pushed("v1", &image.digest)).await;
            assert!(fired.count() > 0, "{location}");
            refusal.is("UnsafeRedirect", &["uploading blob", &world.destination_host, "mirror/team/app"]);
            assert_eq!(world.destination.journal().count(Kind::UploadPut), 0, "{location}");
            world.destination.faults().clear();
        }
        assert_eq!(evil.journal().connections(), 0, "{:?}", evil.journal().entries());
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}
