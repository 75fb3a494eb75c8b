//! What ECR's `BatchCheckLayerAvailability` may be asked and may answer: a hundred layers in a call, and a layer that is not
//! there as one that is unavailable or as a failure of its own.

use emulator::{Image, image::raw_layer};
use scenarios::World;

use crate::support::{pushed, watched};

/// More layers than one call takes.
fn image() -> Image {
    Image::builder().layers((0..120).map(|seed| raw_layer(seed, 100))).build()
}

#[tokio::test]
async fn a_call_names_a_hundred_layers_at_most_and_a_failure_is_a_layer_that_is_missing() {
    watched(async {
        for as_failures in [false, true] {
            let world = World::ecr(|destination| destination).await;
            world.destination.store().create_repository("mirror/team/app");
            world.ecr.report_missing_layers_as_failures(as_failures);
            let image = image();
            image.push_to(world.source.store(), "team/app", "v1");
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
            assert_eq!(result["outcome"], "synced", "{as_failures}: {result}");
            assert_eq!(result["blobs"]["transferred"], image.blobs().len(), "{as_failures}: {result}");
            assert_eq!(result["retries"], 0, "{as_failures}: {result}");
            world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
            let calls = world.aws.calls();
            let asked = calls.iter().filter(|call| call.operation == "BatchCheckLayerAvailability");
            let counts: Vec<usize> = asked.map(|call| call.request["layerDigests"].as_array().unwrap().len()).collect();
            assert!(counts.iter().all(|count| (1..=100).contains(count)), "{as_failures}: {counts:?}");
            assert!(counts.contains(&100), "{as_failures}: {counts:?}");
        }
    })
    .await;
}
