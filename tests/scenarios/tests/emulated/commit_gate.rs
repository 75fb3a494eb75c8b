//! ECR takes a manifest later than it takes its blobs: nothing is put before ECR calls the blobs available.

use std::time::Duration;

use emulator::{
    Image, Kind,
    aws::{Api, Call},
    image::raw_layer,
};
use scenarios::{World, world::push_event};
use serde_json::json;

use crate::support::{assert_children_first, failed, multi_platform, pushed, watched};

/// Waits until ECR calls all blobs of the mirror available; the question is the API's own.
async fn validated(world: &World, image: &Image) {
    loop {
        let call = Call {
            operation: "BatchCheckLayerAvailability".into(),
            region: "eu-west-1".into(),
            access_key: "AKIA222233334444".into(),
            body: json!({ "repositoryName": "mirror/team/app", "layerDigests": image.blobs() }),
        };
        let answer = world.ecr.call(call).await.expect("the repository is there");
        let layers = answer["layers"].as_array().expect("layers are a list");
        if layers.iter().filter(|layer| layer["layerAvailability"] == "AVAILABLE").count() == image.blobs().len() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn no_manifest_is_put_before_the_gate_opens() {
    watched(async {
        let world = World::ecr(|destination| destination.validation_lag(Duration::from_secs(1))).await;
        let index = multi_platform(1, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!((&result["outcome"], &result["retries"]), (&"synced".into(), &0.into()), "waiting is no retry");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_children_first(world.destination.store(), "mirror/team/app", &index.digest);

        let calls = world.aws.calls();
        let checks: Vec<_> = calls.iter().filter(|call| call.operation == "BatchCheckLayerAvailability").collect();
        assert!((3..=9).contains(&checks.len()), "{} checks: polled, and not in a hurry", checks.len());
        let opened = checks.last().unwrap().at;
        let journal = world.destination.journal();
        let last_blob = journal.of(Kind::UploadPut).iter().filter_map(|put| put.finished).max().unwrap();
        assert!(opened - last_blob >= Duration::from_millis(900), "{:?}", opened - last_blob);
        let puts = journal.of(Kind::ManifestPut);
        assert_eq!(puts.len(), 3, "none was put twice");
        assert!(puts.iter().all(|put| put.at >= opened && put.status == 201));
        assert_eq!(journal.count(Kind::UploadPut), 5, "each blob is sent once");
    })
    .await;
}

#[tokio::test]
async fn a_gate_that_stays_shut_fails_for_now_and_the_next_run_only_puts_the_manifest() {
    watched(async {
        let mut world = World::ecr(|destination| destination.validation_lag(Duration::from_secs(2))).await;
        world.config["limits"] = json!({ "manifest_commit_wait_ms": 300 });
        let image = Image::builder().layer(raw_layer(1, 20_000)).layer(raw_layer(2, 30_000)).build();
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "BlobUnavailable", "{message}");
        assert!(message.contains("manifest_commit_wait_ms"), "it says what to turn: {message}");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0);
        assert_eq!(world.destination.store().tags("mirror/team/app").len(), 0);
        assert_eq!(world.destination.journal().count(Kind::UploadPut), 3);

        validated(&world, &image).await;
        world.forget();
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!((&result["outcome"], &result["blobs"]["present"]), (&"synced".into(), &3.into()), "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(world.destination.journal().count(Kind::UploadStart), 0);
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
        assert_eq!(world.source.journal().count(Kind::BlobGet), 0);
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_ecr_loses_between_gate_and_manifest_is_sent_again() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let image = Image::builder().layer(raw_layer(1, 20_000)).build();
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let layer = image.layers[0].digest();
        let unknown = format!(
            "Layers with digests '[{layer}]' do not exist in the repository with name 'mirror/team/app' in the registry \
             with id '222233334444'"
        );
        let refusal = emulator::Action::error(404, "BLOB_UNKNOWN", &unknown);
        world.destination.faults().add(emulator::Fault::on(Kind::ManifestPut).then(refusal));
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 2);
        assert_eq!(world.destination.journal().count(Kind::UploadPut), 2, "what is there after all is not sent again");
        assert!(result["retries"].as_u64() > Some(0));
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    })
    .await;
}
