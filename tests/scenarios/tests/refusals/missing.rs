//! What is not there, at either end.

use emulator::{Access, Image, Kind, Personality, Registry, image, store::Store};
use scenarios::{Function, World, watchdog::watch, world::DESTINATION};
use serde_json::json;

use crate::ground::{LIMIT, MIRROR, REPOSITORY, impatient, pushed, refused, synced};

fn seeded(store: &Store) -> Image {
    let image = Image::builder().layer(image::layer(1, 5000)).layer(image::layer(2, 5000)).build();
    image.push_to(store, REPOSITORY, "v1");
    image
}

/// A world whose destination is an ECR registry without the repository, and an image to go there.
async fn without_repository() -> (World, Image) {
    let world = World::ecr(|destination| destination).await;
    let image = seeded(world.source.store());
    (world, image)
}

#[tokio::test]
async fn a_source_tag_that_is_not_there_is_named() {
    watch("a_source_tag_that_is_not_there_is_named", LIMIT, |_| async {
        let (world, image) = without_repository().await;
        world.destination.store().create_repository(MIRROR);
        let mut function = world.function("on-push", &[]).await;
        let parts = ["v9", "111122223333.dkr.ecr.us-east-1.amazonaws.com", "team/app"];
        refused(&world, &mut function, pushed("v9", &image.digest)).await.is("SourceNotFound", &parts);
        // Where the destination has something under the name, the source is asked in another way.
        image.push_to(world.destination.store(), MIRROR, "v9");
        refused(&world, &mut function, pushed("v9", &image.digest)).await.is("SourceNotFound", &parts);
    })
    .await;
}

#[tokio::test]
async fn a_source_repository_that_is_not_there_is_named() {
    watch("a_source_repository_that_is_not_there_is_named", LIMIT, |_| async {
        let (world, image) = without_repository().await;
        world.destination.store().create_repository(MIRROR);
        world.source.store().remove_repository(REPOSITORY);
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("SourceNotFound", &["111122223333.dkr.ecr", "team/app", "NAME_UNKNOWN", "does not exist"]);
    })
    .await;
}

#[tokio::test]
async fn a_source_blob_that_is_not_there_is_named() {
    watch("a_source_blob_that_is_not_there_is_named", LIMIT, |_| async {
        let (world, image) = without_repository().await;
        world.destination.store().create_repository(MIRROR);
        let mut function = world.function("on-push", &[]).await;
        for blob in image.blobs() {
            let bytes = world.source.store().blob_bytes(REPOSITORY, &blob).unwrap();
            world.source.store().remove_blob(REPOSITORY, &blob);
            let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
            refusal.is("SourceNotFound", &["reading blob", &blob, "111122223333.dkr.ecr", "team/app"]);
            world.source.store().put_blob(REPOSITORY, bytes);
            // What came before the refusal would not be read again.
            world.destination.store().remove_repository(MIRROR);
            world.destination.store().create_repository(MIRROR);
        }
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

/// The refusal of an image whose repository is not there, before a byte of it has moved.
async fn repository_is_refused(world: &World, function: &mut Function, digest: &str, parts: &[&str]) {
    let refusal = refused(world, function, pushed("v1", digest)).await;
    refusal.is("RepositoryNotFound", &[&["mirror/team/app", "create the repository"], parts].concat());
    assert_eq!(world.source.journal().count(Kind::BlobGet), 0, "nothing was read for nothing");
    assert!(world.destination.store().repositories().is_empty());
}

#[tokio::test]
async fn a_destination_repository_that_is_not_there_is_an_error_that_says_how_to_allow_it() {
    watch("a_destination_repository_that_is_not_there_is_an_error_that_says_how_to_allow_it", LIMIT, |_| async {
        let (mut world, image) = without_repository().await;
        let parts = ["222233334444", "eu-west-1", "create_repository"];
        let mut function = world.function("on-push", &[]).await;
        repository_is_refused(&world, &mut function, &image.digest, &parts).await;
        assert_eq!(world.destination.journal().count(Kind::UploadStart), 1, "whether a push makes it was tried");

        // The configuration allows it, and the role may not.
        world.registry_config(DESTINATION).insert("create_repository".into(), json!({}));
        world.destination.store().deny(MIRROR, Access::Create);
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("Denied", &["creating ECR repository mirror/team/app", "222233334444", "ecr:CreateRepository"]);
        world.destination.store().allow(MIRROR);
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_hangs_up_on_a_missing_repository_is_told_the_same_way() {
    watch("a_registry_that_hangs_up_on_a_missing_repository_is_told_the_same_way", LIMIT, |_| async {
        let mut world = World::ecr(emulator::Builder::missing_repository_eof).await;
        impatient(&mut world);
        let image = seeded(world.source.store());
        let mut function = world.function("on-push", &[]).await;
        let parts = ["222233334444", "create_repository"];
        repository_is_refused(&world, &mut function, &image.digest, &parts).await;
    })
    .await;
}

#[tokio::test]
async fn a_repository_that_another_kind_of_registry_does_not_make_is_named() {
    watch("a_repository_that_another_kind_of_registry_does_not_make_is_named", LIMIT, |_| async {
        let plain = Registry::builder(Personality::Plain).creates_repositories(false);
        let world = World::build(|source| source, plain, None).await;
        let image = seeded(world.source.store());
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("RepositoryNotFound", &[&world.destination_host, "mirror/team/app", "create the repository"]);
        assert!(world.destination.store().repositories().is_empty());
    })
    .await;
}
