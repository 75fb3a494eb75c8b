//! An index that can't be copied whole: circles, depth, size, children that are missing or not what it says.

use std::time::{Duration, Instant};

use emulator::{
    Action, Fault, Image, Index, Kind,
    digest::sha256,
    image::{OCI_INDEX, OCI_MANIFEST},
};
use scenarios::{World, watchdog::watch};
use serde_json::json;

use crate::ground::{LIMIT, MIRROR, REPOSITORY, pushed, refused, synced};

async fn world() -> World {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository(MIRROR);
    world
}

/// An index of manifests that need not be there.
fn listing(children: &[(&str, usize)]) -> String {
    let one = |(digest, size): &(&str, usize)| json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": size });
    let children: Vec<_> = children.iter().map(one).collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children }).to_string()
}

#[tokio::test]
async fn indexes_that_list_each_other_end_in_an_error_at_once() {
    watch("indexes_that_list_each_other_end_in_an_error_at_once", LIMIT, |_| async {
        let world = world().await;
        let store = world.source.store();
        let (one, two) = (sha256(b"one"), sha256(b"two"));
        let of_two = listing(&[(&two, 200)]);
        store.put_raw_manifest(REPOSITORY, "circle", &one, OCI_INDEX, of_two.clone());
        store.put_raw_manifest(REPOSITORY, &two, &two, OCI_INDEX, listing(&[(&one, 200)]));
        // The same, entered through an index that is what its digest says.
        let honest = store.put_manifest(REPOSITORY, "entry", OCI_INDEX, of_two);
        let own = sha256(b"own");
        store.put_raw_manifest(REPOSITORY, "self", &own, OCI_INDEX, listing(&[(&own, 200)]));
        let mut function = world.function("on-push", &[]).await;
        for headers in [true, false] {
            for (tag, digest) in [("circle", &one), ("entry", &honest), ("self", &own)] {
                let begun = Instant::now();
                let refusal = refused(&world, &mut function, pushed(tag, digest)).await;
                refusal.is("DigestMismatch", &["reading manifest", "111122223333.dkr.ecr", "team/app", "sha256:"]);
                assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
            }
            if headers {
                // Without the registry's word the bytes alone decide.
                let silent = Action::DropHeader("docker-content-digest".into());
                world.source.faults().add(Fault::any().forever().then(silent));
            }
        }
        assert!(world.source.journal().len() < 40, "{}", world.source.journal().len());
    })
    .await;
}

#[tokio::test]
async fn an_index_nested_too_deep_is_refused_and_one_less_deep_is_copied() {
    watch("an_index_nested_too_deep_is_refused_and_one_less_deep_is_copied", LIMIT, |_| async {
        let world = world().await;
        let mut nested = Index::of(&[&Image::small(1)]);
        for _ in 2..8 {
            nested = Index::builder().child(&nested).build();
        }
        nested.push_to(world.source.store(), REPOSITORY, "eight");
        let deeper = Index::builder().child(&nested).build();
        deeper.push_to(world.source.store(), REPOSITORY, "nine");
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("nine", &deeper.digest)).await;
        refusal.is("ManifestInvalid", &["team/app", &deeper.digest, "nested over 8 deep"]);
        synced(&mut function, pushed("eight", &nested.digest)).await;
        world.destination.store().is_whole(MIRROR, "eight").unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_index_of_too_many_or_too_large_manifests_is_refused_before_they_are_read() {
    watch("an_index_of_too_many_or_too_large_manifests_is_refused_before_they_are_read", LIMIT, |_| async {
        let world = world().await;
        let many: Vec<String> = (0..1001).map(|number: usize| sha256(&number.to_be_bytes())).collect();
        let many: Vec<(&str, usize)> = many.iter().map(|digest| (digest.as_str(), 500)).collect();
        let large: Vec<(&str, usize)> = many.iter().take(9).map(|(digest, _)| (*digest, 4 << 20)).collect();
        let endless: Vec<(&str, usize)> = many.iter().take(9).map(|(digest, _)| (*digest, usize::MAX / 2)).collect();
        let mut function = world.function("on-push", &[]).await;
        for (tag, children, part) in [
            ("many", &many, "over 1000 manifests"),
            ("large", &large, "over 33816576 bytes together"),
            ("endless", &endless, "over 33816576 bytes together"),
        ] {
            world.source.journal().clear();
            let digest = world.source.store().put_manifest(REPOSITORY, tag, OCI_INDEX, listing(children));
            let refusal = refused(&world, &mut function, pushed(tag, &digest)).await;
            refusal.is("ManifestInvalid", &["team/app", &digest, part]);
            assert_eq!(world.source.journal().count(Kind::ManifestGet), 1, "the index alone");
            let lists = if children.len() > 1000 { 0 } else { children.len() + 1 };
            assert_eq!(world.source.journal().count(Kind::Referrers), lists, "{tag}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_child_that_is_missing_is_named() {
    watch("a_child_that_is_missing_is_named", LIMIT, |_| async {
        let world = world().await;
        let (there, missing) = (Image::small(1), Image::small(2));
        let index = Index::of(&[&there, &missing]);
        there.push_to(world.source.store(), REPOSITORY, &there.digest);
        missing.push_blobs_to(world.source.store(), REPOSITORY);
        world.source.store().put_manifest(REPOSITORY, "v1", OCI_INDEX, index.manifest.clone());
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &index.digest)).await;
        refusal.is("SourceNotFound", &["reading manifest", &missing.digest, "111122223333.dkr.ecr", "team/app"]);
        missing.push_to(world.source.store(), REPOSITORY, &missing.digest);
        synced(&mut function, pushed("v1", &index.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn a_child_of_other_bytes_or_of_another_size_is_refused() {
    watch("a_child_of_other_bytes_or_of_another_size_is_refused", LIMIT, |_| async {
        let world = world().await;
        let store = world.source.store();
        let image = Image::small(1);
        image.push_to(store, REPOSITORY, &image.digest);
        let mut function = world.function("on-push", &[]).await;
        for (tag, size) in [("short", image.manifest.len() - 1), ("long", image.manifest.len() + 1), ("none", 0)] {
            let index = store.put_manifest(REPOSITORY, tag, OCI_INDEX, listing(&[(&image.digest, size)]));
            let refusal = refused(&world, &mut function, pushed(tag, &index)).await;
            refusal
                .is("DigestMismatch", &[&image.digest, "111122223333.dkr.ecr", "team/app", "the index that lists it"]);
        }
        let lie = sha256(b"another child");
        store.put_raw_manifest(REPOSITORY, &lie, &lie, OCI_MANIFEST, image.manifest.clone());
        let index = store.put_manifest(REPOSITORY, "lie", OCI_INDEX, listing(&[(&lie, image.manifest.len())]));
        let refusal = refused(&world, &mut function, pushed("lie", &index)).await;
        refusal.is("DigestMismatch", &[&lie, &image.digest, "111122223333.dkr.ecr", "team/app"]);
    })
    .await;
}
