//! Layers that registries do not hold: left where their `urls` say.

use emulator::{
    Image, Index, Personality,
    image::{foreign_layer, raw_layer},
};
use scenarios::World;

use crate::support::{digits, pushed, watched};

#[tokio::test]
async fn a_foreign_layer_is_neither_asked_for_nor_read_nor_sent() {
    watched(async {
        for world in [World::ecr(|destination| destination).await, World::to(Personality::Plain, |plain| plain).await] {
            let windows = foreign_layer(1, 9_000, "https://mcr.example.test/layer");
            let oci =
                Image::builder().platform("windows/amd64").layer(windows.clone()).layer(raw_layer(2, 4_000)).build();
            let docker = Image::builder().docker().layer(windows.clone()).layer(raw_layer(3, 4_000)).build();
            let index = Index::of(&[&oci, &docker]);
            index.push_to(world.source.store(), "team/app", "v1");
            world.destination.store().create_repository("mirror/team/app");
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
            assert_eq!((&result["outcome"], &result["blobs"]["transferred"]), (&"synced".into(), &4.into()));
            assert_eq!(result["bytes"]["avoided"], 0, "what registries never hold is not spared");
            world.destination.store().is_whole("mirror/team/app", "v1").unwrap();

            for registry in [&world.source, &world.destination] {
                let about_it = |entry: &emulator::Entry| {
                    let query = entry.query.as_deref().unwrap_or_default();
                    entry.path.contains(digits(windows.digest())) || query.contains(digits(windows.digest()))
                };
                assert!(!registry.journal().entries().iter().any(about_it));
            }
            let asked_aws = world.aws.calls().iter().any(|call| call.request.to_string().contains(windows.digest()));
            assert!(!asked_aws, "the layer was asked for at ECR");
        }
    })
    .await;
}

#[tokio::test]
async fn a_layer_with_urls_that_may_be_distributed_is_copied() {
    watched(async {
        let world = World::to(Personality::Plain, |plain| plain).await;
        let layer =
            foreign_layer(1, 9_000, "https://elsewhere.example.test/layer").media_type(emulator::image::OCI_LAYER);
        let bytes = raw_layer(1, 9_000);
        assert_eq!(layer.digest(), bytes.digest());
        let image = Image::builder().layer(layer.clone()).build();
        image.push_to(world.source.store(), "team/app", "v1");
        bytes.push_to(world.source.store(), "team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!(result["outcome"], "synced");
        assert!(world.destination.store().has_blob("mirror/team/app", layer.digest()), "urls are a hint, no excuse");
    })
    .await;
}
