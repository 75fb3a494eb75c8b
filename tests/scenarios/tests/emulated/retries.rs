//! Passing troubles: tried again by their one owner, counted, and never at the price of a broken image.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, Layer, Origin, Personality, Registry, image::raw_layer};
use scenarios::{World, world::push_event};
use serde_json::{Value, json};

use crate::support::{digits, failed, pushed, replicated, watched};

/// An image of 300 kB, a place for it, and the function's answer to its push after `script` was played.
async fn synced_despite(world: &World, script: impl FnOnce(&World, &Image)) -> (Value, Image) {
    let image = Image::builder().layer(raw_layer(1, 200_000)).layer(raw_layer(2, 100_000)).build();
    image.push_to(world.source.store(), "team/app", "v1");
    world.destination.store().create_repository("mirror/team/app");
    script(world, &image);
    let mut function = world.function("on-push", &[]).await;
    let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
    assert_eq!(result["outcome"], "synced", "{result}");
    assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), Some(image.digest.clone()));
    world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    (result, image)
}

async fn ecr() -> World {
    World::ecr(|destination| destination).await
}

#[tokio::test]
async fn an_unavailable_manifest_is_asked_for_again() {
    watched(async {
        let world = ecr().await;
        let down = Action::error(503, "UNAVAILABLE", "try later");
        let (result, _) = synced_despite(&world, |world, _| {
            world.source.faults().add(Fault::on(Kind::ManifestGet).then(down));
        })
        .await;
        assert_eq!((&result["retries"], &result["throttled"]), (&1.into(), &0.into()));
        assert_eq!(world.source.journal().count(Kind::ManifestGet), 2);
    })
    .await;
}

#[tokio::test]
async fn retry_after_is_obeyed_at_both_ends() {
    watched(async {
        let world = ecr().await;
        let (result, _) = synced_despite(&world, |world, _| {
            world.source.faults().add(Fault::on(Kind::ManifestGet).then(Action::throttle(Some(1))));
            world.destination.faults().add(Fault::on(Kind::ManifestPut).then(Action::throttle(Some(1))));
        })
        .await;
        assert_eq!((&result["retries"], &result["throttled"]), (&2.into(), &2.into()));
        for (registry, kind) in [(&world.source, Kind::ManifestGet), (&world.destination, Kind::ManifestPut)] {
            let tries = registry.journal().of(kind);
            assert_eq!(tries.len(), 2);
            let gap = tries[1].at - tries[0].at;
            assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&gap), "{kind:?}: {gap:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_endless_throttle_ends_as_throttled_and_leaves_no_tag() {
    watched(async {
        let mut world = ecr().await;
        world.config["limits"] = json!({ "max_attempts": 3 });
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        world.destination.faults().add(Fault::on(Kind::ManifestPut).forever().then(Action::throttle(None)));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Throttled", "{message}");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 3);
        assert_eq!(world.destination.store().tags("mirror/team/app").len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_read_that_is_cut_ends_with_the_right_bytes() {
    watched(async {
        let world = ecr().await;
        let (result, image) = synced_despite(&world, |world, image| {
            let cut =
                Fault::on(Kind::BlobGet).path(digits(image.layers[0].digest())).then(Action::CutResponseAfter(70_000));
            world.source.faults().add(cut);
        })
        .await;
        assert_eq!(result["retries"], 1, "{result}");
        assert_eq!(result["blobs"]["transferred"], image.blobs().len());
        assert_eq!(result["bytes"]["read"], result["bytes"]["written"], "no byte was read twice: {result}");
        let reads = world.source.journal().of(Kind::BlobGet);
        assert!(reads.iter().any(|read| read.range.as_deref().is_some_and(|range| range.starts_with("bytes="))));
        let journal = world.destination.journal();
        assert_eq!(journal.count(Kind::UploadStart), image.blobs().len(), "the upload went on");
        assert_eq!(journal.count_status(Kind::UploadPut, 201), image.blobs().len());
        assert_eq!(world.destination.open_uploads(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_read_that_is_cut_at_a_source_without_ranges_begins_at_its_start() {
    watched(async {
        let world = World::between(Registry::builder(Personality::Plain), Registry::builder(Personality::Plain)).await;
        let text: String = (0..60_000).map(|line| format!("{line:05}")).collect();
        let layer = Layer::from_bytes("application/vnd.oci.image.layer.v1.tar", text.clone());
        let image = Image::builder().layer(layer.clone()).build();
        image.push_to(world.source.store(), "team/app", "v1");
        let faults = world.source.faults();
        faults.add(Fault::on(Kind::BlobGet).path(digits(layer.digest())).then(Action::CutResponseAfter(70_000)));
        // What a source that ignores `Range` answers to the second read: the whole blob, and 200.
        let whole = Action::Status { code: 200, headers: Vec::new(), body: text };
        let ignored = faults.add(Fault::on(Kind::BlobGet).path(digits(layer.digest())).skip(1).then(whole));
        let mut function = world.function("fanout", &[]).await;
        let (source, destination) = (world.source_host.clone() + "/team/app:v1", world.destination_host.clone());
        let result = replicated(&world, &mut function, &source, &(destination + "/team/app:v1")).await;
        assert_eq!((&result["outcome"], &result["retries"]), (&"synced".into(), &1.into()), "{result}");
        assert_eq!(ignored.count(), 1, "the second read was answered with the whole");
        world.destination.store().is_whole("team/app", "v1").unwrap();
        assert_eq!(world.destination.journal().count(Kind::UploadStart), image.blobs().len());
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_is_reset_begins_anew_after_a_look() {
    watched(async {
        for world in [ecr().await, World::to(Personality::Ghcr, |ghcr| ghcr.open()).await] {
            let kind =
                if world.destination.personality() == Personality::Ecr { Kind::UploadPut } else { Kind::UploadPatch };
            let (result, image) = synced_despite(&world, |world, image| {
                let sends = Fault::on(kind).then(Action::CutRequestAfter(60_000));
                // The largest goes first.
                assert!(image.layers[0].size() > image.layers[1].size());
                world.destination.faults().add(sends);
            })
            .await;
            let journal = world.destination.journal();
            assert_eq!(result["retries"], 1, "{result}");
            assert_eq!(journal.count(Kind::UploadStart), image.blobs().len() + 1);
            let looks = journal.of(Kind::BlobHead);
            let starts = journal.of(Kind::UploadStart);
            assert!(looks.last().unwrap().at < starts.last().unwrap().at, "HEAD first, then the new session");
            assert_eq!(result["blobs"]["transferred"], image.blobs().len());
        }
    })
    .await;
}

#[tokio::test]
async fn an_upload_whose_answer_is_lost_is_found_and_not_sent_again() {
    watched(async {
        let world = ecr().await;
        let (result, image) = synced_despite(&world, |world, _| {
            world.destination.faults().add(Fault::on(Kind::UploadPut).then(Action::DoThenReset));
        })
        .await;
        assert_eq!(world.destination.journal().count(Kind::UploadPut), image.blobs().len());
        assert_eq!(world.destination.journal().count(Kind::UploadStart), image.blobs().len());
        assert_eq!(result["retries"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_manifest_whose_answer_is_lost_is_put_again_even_where_tags_are_immutable() {
    watched(async {
        for immutable in [false, true] {
            let world = ecr().await;
            let (result, _) = synced_despite(&world, |world, _| {
                world.destination.store().set_immutable("mirror/team/app", immutable);
                world.destination.faults().add(Fault::on(Kind::ManifestPut).then(Action::DoThenReset));
            })
            .await;
            assert_eq!(result["retries"], 1, "immutable {immutable}: {result}");
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 2);
        }
    })
    .await;
}

#[tokio::test]
async fn troubles_at_every_step_at_once_are_overcome() {
    watched(async {
        let world = ecr().await;
        let (result, _) = synced_despite(&world, |world, _| {
            for registry in [&world.source, &world.destination] {
                for kind in [Kind::ManifestHead, Kind::ManifestGet, Kind::UploadStart, Kind::ManifestPut] {
                    registry.faults().add(Fault::on(kind).then(Action::Reset));
                    registry.faults().add(Fault::on(kind).skip(1).then(Action::status(500)));
                }
                registry.faults().add(Fault::on(Kind::BlobGet).at(Origin::Registry).then(Action::status(502)));
                registry.faults().add(Fault::on(Kind::BlobGet).at(Origin::Blobs).then(Action::status(503)));
            }
            world.aws.fail_next(
                "GetAuthorizationToken",
                emulator::aws::ApiError::with_status(500, "ServerException", ""),
                1,
            );
        })
        .await;
        assert!(result["retries"].as_u64() >= Some(8), "{result}");
        assert_eq!(result["manifests"]["pushed"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_fails_for_good_leaves_no_tag_and_no_manifest() {
    watched(async {
        let world = ecr().await;
        let image = Image::builder().layer(raw_layer(1, 50_000)).layer(raw_layer(2, 20_000)).build();
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let wrong =
            Fault::on(Kind::BlobGet).path(digits(image.layers[1].digest())).forever().then(Action::CorruptByte(10_000));
        world.source.faults().add(wrong);
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "DigestMismatch", "{message}");
        assert!(message.contains(image.layers[1].digest()), "{message}");
        let store = world.destination.store();
        assert_eq!((store.tags("mirror/team/app").len(), store.manifests("mirror/team/app").len()), (0, 0));
        assert!(!store.has_blob("mirror/team/app", image.layers[1].digest()), "wrong bytes are never committed");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0);
    })
    .await;
}
