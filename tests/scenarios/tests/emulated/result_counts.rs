//! The numbers of a result are those that the registries counted.

use emulator::{Image, Kind, Origin, Personality, image::raw_layer};
use scenarios::World;
use serde_json::Value;

use crate::support::{multi_platform, pushed, watched};

/// Compares a result with the journals since the last [`World::forget`].
fn assert_counted(world: &World, result: &Value) {
    let (source, destination) = (world.source.journal(), world.destination.journal());
    let requests = |journal: &emulator::Journal| journal.len() - journal.count(Kind::Token);
    assert_eq!(result["requests"]["source"], requests(source), "{result}");
    assert_eq!(result["requests"]["destination"], requests(destination), "{result}");
    assert_eq!(result["requests"]["aws_api"], world.aws.calls().len(), "{result}");
    assert_eq!(result["manifests"]["pushed"], destination.count_status(Kind::ManifestPut, 201), "{result}");
    assert_eq!(result["blobs"]["transferred"], destination.count_status(Kind::UploadPut, 201), "{result}");
    assert_eq!(result["blobs"]["mounted"], destination.count_status(Kind::Mount, 201), "{result}");
    let read: u64 = source.of(Kind::BlobGet).iter().map(|entry| entry.response_bytes).sum();
    assert_eq!(result["bytes"]["read"], read, "{result}");
    let uploads = [Kind::UploadPut, Kind::UploadPatch].into_iter().flat_map(|kind| destination.of(kind));
    let written: u64 = uploads.map(|entry| entry.request_bytes).sum();
    assert_eq!(result["bytes"]["written"], written, "{result}");
}

#[tokio::test]
async fn the_result_tells_what_the_journals_count() {
    watched(async {
        for world in [
            World::ecr(|destination| destination).await,
            World::to(Personality::Plain, |plain| plain.open()).await,
            World::to(Personality::Ghcr, |ghcr| ghcr.open()).await,
        ] {
            let index = multi_platform(1, &["linux/amd64", "linux/arm64"]);
            index.push_to(world.source.store(), "team/app", "v1");
            world.destination.store().create_repository("mirror/team/app");
            let mut function = world.function("on-push", &[]).await;
            let first = pushed(&mut function, "team/app", "v1", &index.digest).await;
            assert_counted(&world, &first);
            assert_eq!(first["source"], format!("{}/team/app:v1", world.source_host));
            assert_eq!(first["destination"], format!("{}/mirror/team/app:v1", world.destination_host));
            assert_eq!(first["digest"], index.digest);
            assert_eq!((&first["retries"], &first["throttled"]), (&0.into(), &0.into()));
            assert_eq!(first["blobs"]["transferred"], 5);
            assert_eq!(first["manifests"]["present"], 0);

            world.forget();
            let again = pushed(&mut function, "team/app", "v1", &index.digest).await;
            assert_counted(&world, &again);
            assert_eq!((&again["outcome"], &again["manifests"]["present"]), (&"current".into(), &1.into()));

            // One child is new, one is there with its blobs.
            let larger = multi_platform(1, &["linux/amd64", "linux/arm64", "linux/s390x"]);
            larger.push_to(world.source.store(), "team/app", "v2");
            world.forget();
            let partly = pushed(&mut function, "team/app", "v2", &larger.digest).await;
            assert_counted(&world, &partly);
            assert_eq!(partly["manifests"]["present"], 2);
            assert_eq!(partly["manifests"]["pushed"], 2);
            assert_eq!(partly["blobs"]["transferred"], 2);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_spared_is_counted_in_bytes() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let (held, new) = (raw_layer(1, 40_000), raw_layer(2, 5_000));
        let image = Image::builder().layer(held.clone()).layer(new).build();
        image.push_to(world.source.store(), "team/app", "v1");
        held.push_to(world.destination.store(), "mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_counted(&world, &result);
        assert_eq!(result["bytes"]["avoided"], 40_000);
        assert_eq!(result["bytes"]["written"], 5_000 + image.config.len());
        assert_eq!(result["blobs"]["present"], 1);
        assert_eq!(world.source.journal().count_at(Origin::Blobs, Kind::BlobGet), 2);
    })
    .await;
}
