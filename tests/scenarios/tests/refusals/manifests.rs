//! A manifest that can't be copied: too large, of other bytes than its digest, of no known kind, or of no sense.

use emulator::{
    Action, Fault, Image, Kind,
    digest::sha256,
    image::{self, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST},
};
use scenarios::{World, watchdog::watch};
use serde_json::{Value, json};

use crate::ground::{LIMIT, MIRROR, REPOSITORY, Refusal, pushed, refused, synced};

const LARGEST: usize = 4 * 1024 * 1024;

async fn world() -> World {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository(MIRROR);
    world
}

/// An image whose manifest has exactly this many bytes.
fn of_size(size: usize) -> Image {
    let with =
        |length: usize| Image::builder().layer(image::layer(1, 100)).annotation("padding", &"x".repeat(length)).build();
    let image = with(size - with(0).manifest.len());
    assert_eq!(image.manifest.len(), size);
    image
}

/// What becomes of bytes that a tag names, under a media type.
async fn of_bytes(media_type: &str, bytes: &[u8]) -> Refusal {
    let world = world().await;
    let digest = world.source.store().put_manifest(REPOSITORY, "v1", media_type, bytes.to_vec());
    let mut function = world.function("on-push", &[]).await;
    refused(&world, &mut function, pushed("v1", &digest)).await
}

#[tokio::test]
async fn a_manifest_over_4_mib_is_refused_and_one_of_4_mib_is_copied() {
    watch("a_manifest_over_4_mib_is_refused_and_one_of_4_mib_is_copied", LIMIT, |_| async {
        let world = world().await;
        let mut function = world.function("on-push", &[]).await;
        let parts = ["reading manifest v1", "111122223333.dkr.ecr", "team/app", "over 4194304 bytes"];
        for size in [LARGEST + 1, 3 * LARGEST] {
            let image = of_size(size);
            image.push_to(world.source.store(), REPOSITORY, "v1");
            refused(&world, &mut function, pushed("v1", &image.digest)).await.is("ManifestTooLarge", &parts);
            // Without a length nothing warns; the reading itself has to stop.
            let unannounced = Fault::on(Kind::ManifestGet).forever().then(Action::NoContentLength);
            world.source.faults().add(unannounced);
            refused(&world, &mut function, pushed("v1", &image.digest)).await.is("ManifestTooLarge", &parts);
            world.source.faults().clear();
        }
        let image = of_size(LARGEST);
        image.push_to(world.source.store(), REPOSITORY, "v2");
        synced(&mut function, pushed("v2", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn a_manifest_of_other_bytes_than_its_digest_is_refused() {
    watch("a_manifest_of_other_bytes_than_its_digest_is_refused", LIMIT, |_| async {
        let world = world().await;
        let image = Image::small(1);
        image.push_blobs_to(world.source.store(), REPOSITORY);
        let lie = sha256(b"another manifest");
        world.source.store().put_raw_manifest(REPOSITORY, "v1", &lie, OCI_MANIFEST, image.manifest.clone());
        let mut function = world.function("on-push", &[]).await;
        let parts = ["reading manifest", "111122223333.dkr.ecr", "team/app", &image.digest, &lie];
        // By tag the registry's own header is what is broken; by digest it is what was asked for.
        refused(&world, &mut function, pushed("v1", &lie)).await.is("DigestMismatch", &parts);
        world.destination.store().put_manifest(MIRROR, "v1", OCI_MANIFEST, Image::small(2).manifest);
        refused(&world, &mut function, pushed("v1", &lie)).await.is("DigestMismatch", &parts);

        let bit = Fault::on(Kind::ManifestGet).forever().then(Action::CorruptByte(40));
        world.source.faults().add(bit);
        let image = Image::small(3);
        image.push_to(world.source.store(), REPOSITORY, "v3");
        let refusal = refused(&world, &mut function, pushed("v3", &image.digest)).await;
        refusal.is("DigestMismatch", &["team/app", &image.digest]);
    })
    .await;
}

#[tokio::test]
async fn schema_1_is_refused_and_says_what_to_do() {
    watch("schema_1_is_refused_and_says_what_to_do", LIMIT, |_| async {
        let schema_1 = json!({
            "schemaVersion": 1, "name": "team/app", "tag": "v1", "architecture": "amd64",
            "fsLayers": [{ "blobSum": sha256(b"layer") }], "history": [{ "v1Compatibility": "{}" }],
        });
        for media_type in [
            "application/vnd.docker.distribution.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "application/json",
        ] {
            let refusal = of_bytes(media_type, schema_1.to_string().as_bytes()).await;
            let parts = ["reading manifest v1", "team/app", "schema 1 is not copied", "push the image again"];
            refusal.is("UnsupportedMediaType", &parts);
        }
    })
    .await;
}

#[tokio::test]
async fn a_media_type_that_contradicts_itself_or_is_not_known_is_refused() {
    watch("a_media_type_that_contradicts_itself_or_is_not_known_is_refused", LIMIT, |_| async {
        let image = Image::small(1);
        for (media_type, bytes) in [(DOCKER_MANIFEST, image.manifest.to_vec()), (OCI_INDEX, image.manifest.to_vec())] {
            let refusal = of_bytes(media_type, &bytes).await;
            refusal.is("ManifestInvalid", &["team/app", "mediaType", OCI_MANIFEST, "contradicts", media_type]);
        }
        let unknown = "application/vnd.example.thing.v1+json";
        let thing = json!({ "schemaVersion": 2, "mediaType": unknown, "things": [] });
        let refusal = of_bytes(unknown, thing.to_string().as_bytes()).await;
        refusal.is("UnsupportedMediaType", &["team/app", unknown, "neither an image, nor an index"]);
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_makes_no_sense_is_refused() {
    watch("a_manifest_that_makes_no_sense_is_refused", LIMIT, |_| async {
        let world = world().await;
        let mut function = world.function("on-push", &[]).await;
        let layer = |digest: &str, size: Value| {
            let layer = json!({ "mediaType": image::OCI_LAYER, "digest": digest, "size": size });
            let config = json!({ "mediaType": image::OCI_CONFIG, "digest": sha256(b"{}"), "size": 2 });
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] }).to_string()
        };
        let two_sizes = layer(&sha256(b"{}"), json!(3));
        for (number, bytes) in [
            "<html>sign in</html>".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST }).to_string(),
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": {} }).to_string(),
            layer("sha256:12", json!(1)),
            layer(&format!("sha256:{}", "z".repeat(64)), json!(1)),
            layer("sha256:../../../../v2/other/blobs/sha256:0000000000000000000000000000000000000000", json!(1)),
            layer(&format!("md5:{}", "0".repeat(32)), json!(1)),
            layer(&sha256(b"x"), json!(-1)),
            layer(&sha256(b"x"), json!(1.5)),
            layer(&sha256(b"x"), json!("1")),
            two_sizes,
        ]
        .into_iter()
        .enumerate()
        {
            let tag = format!("v{number}");
            let digest = world.source.store().put_manifest(REPOSITORY, &tag, OCI_MANIFEST, bytes.clone());
            let refusal = refused(&world, &mut function, pushed(&tag, &digest)).await;
            assert!(["ManifestInvalid", "UnsupportedMediaType"].contains(&refusal.error_type.as_str()), "{bytes}");
            let error_type = refusal.error_type.clone();
            refusal.is(&error_type, &["reading manifest", &tag, "111122223333", "team/app"]);
        }
    })
    .await;
}
