//! What proxies in front of registries do to connections.

use emulator::{Action, Fault, Image, Kind, Personality, Registry, image::raw_layer};
use scenarios::World;
use serde_json::json;

use crate::support::{replicated, watched};

const REPOSITORY: &str = "project/app";

/// Harbor at both ends, behind a proxy each; one blob at a time, so that each break hits one request.
async fn world() -> (World, Image) {
    let harbor = || Registry::builder(Personality::Harbor).open();
    let mut world = World::between(harbor(), harbor()).await;
    world.config["limits"] = json!({ "blob_concurrency": 1 });
    world.destination.store().create_repository("project/base");
    let image = Image::builder().layer(raw_layer(1, 300_000)).layer(raw_layer(2, 200_000)).build();
    image.push_to(world.source.store(), REPOSITORY, "v1");
    (world, image)
}

#[tokio::test]
async fn a_proxy_that_wants_calm_costs_a_new_connection_and_a_try_each_time() {
    watched(async {
        let (world, _) = world().await;
        let kinds = [Kind::ManifestHead, Kind::BlobHead, Kind::UploadStart, Kind::UploadPut, Kind::ManifestPut];
        let calm = |kind| Fault::on(kind).then(Action::EnhanceYourCalm);
        let fired: Vec<_> = kinds.into_iter().map(|kind| world.destination.faults().add(calm(kind))).collect();
        let read = world.source.faults().add(calm(Kind::ManifestGet));
        let mut function = world.function("fanout", &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;
        let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
        let (from, to) = (of(&world.source_host), of(&world.destination_host));
        let result = replicated(&world, &mut function, &from, &to).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        world.destination.store().is_whole(REPOSITORY, "v1").unwrap();
        assert!(fired.iter().all(|fired| fired.count() == 1) && read.count() == 1);
        assert_eq!(result["retries"], kinds.len() + 1, "each is counted: {result}");
        assert_eq!(world.destination.journal().connections(), 1 + kinds.len() as u64);
        assert_eq!(world.source.journal().connections(), 2);
        assert!(function.lines().iter().any(|line| line.contains("ENHANCE_YOUR_CALM")), "that was the reason");
        assert_eq!(world.destination.open_uploads(), 0);
    })
    .await;
}

#[tokio::test]
async fn one_that_wants_it_again_and_again_stops_no_sync() {
    watched(async {
        let (mut world, image) = world().await;
        world.config["limits"] = json!({ "blob_concurrency": 3 });
        // Every fourth request or so ends the connection, with all that is under way on it.
        let mut fired = Vec::new();
        for registry in [&world.source, &world.destination] {
            for skip in [3, 6, 9] {
                fired.push(registry.faults().add(Fault::any().skip(skip).then(Action::EnhanceYourCalm)));
            }
        }
        let mut function = world.function("fanout", &[]).await;
        let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
        let (from, to) = (of(&world.source_host), of(&world.destination_host));
        let result = replicated(&world, &mut function, &from, &to).await;
        assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(image.digest)), "{result}");
        world.destination.store().is_whole(REPOSITORY, "v1").unwrap();
        let ended = fired.iter().filter(|fired| fired.count() == 1).count();
        assert!(ended >= 4 && result["retries"].as_u64() >= Some(ended as u64), "{ended}: {result}");
    })
    .await;
}
