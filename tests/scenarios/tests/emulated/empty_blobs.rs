//! A layer without bytes: taken everywhere but at ECR, which says no once and for all.

use emulator::{Image, Kind, Layer, Personality, Registry, image::raw_layer};
use scenarios::{World, world::SOURCE};
use serde_json::json;

use crate::support::{delivered, eventually, image_message, logged_results, pushed, replicated, watched};

const REPOSITORY: &str = "project/images/app";

fn image() -> Image {
    let empty = Layer::from_bytes(emulator::image::OCI_LAYER, Vec::new());
    Image::builder().layer(raw_layer(1, 5_000)).layer(empty).build()
}

async fn world(to: Personality) -> (World, String, String) {
    let world = World::between(Registry::builder(Personality::Plain), Registry::builder(to).alias("project")).await;
    image().push_to(world.source.store(), REPOSITORY, "v1");
    world.destination.store().create_repository(REPOSITORY);
    let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
    let (from, to) = (of(&world.source_host), of(&world.destination_host));
    (world, from, to)
}

#[tokio::test]
async fn it_goes_to_every_kind_of_registry_that_takes_it() {
    watched(async {
        let ecr = [Personality::Ecr, Personality::EcrPublic];
        for personality in Personality::ALL.into_iter().filter(|personality| !ecr.contains(personality)) {
            let (world, from, to) = world(personality).await;
            let mut function = world.function("fanout", &[]).await;
            let result = replicated(&world, &mut function, &from, &to).await;
            assert_eq!((&result["outcome"], &result["retries"]), (&json!("synced"), &json!(0)), "{personality:?}");
            world.destination.store().is_whole(REPOSITORY, "v1").unwrap();
            assert_eq!(world.destination.store().blob_size(REPOSITORY, image().layers[1].digest()), Some(0));
        }
    })
    .await;
}

#[tokio::test]
async fn at_ecr_it_is_refused_once_and_named() {
    watched(async {
        for personality in [Personality::Ecr, Personality::EcrPublic] {
            let (world, from, to) = world(personality).await;
            let dead = world.aws.sqs().create("dead", std::time::Duration::from_secs(30));
            let mut function = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", &dead)]).await;
            delivered(&world, &mut function, &image_message(from, to)).await;
            eventually("the failure is logged", || !logged_results(&function).is_empty()).await;
            let result = logged_results(&function).pop().unwrap();
            let text = result["error_message"].as_str().unwrap();
            assert_eq!(result["error_type"], "ManifestInvalid", "{personality:?}: {text}");
            for part in ["does not have any parts", "0 bytes", REPOSITORY, image().layers[1].digest()] {
                assert!(text.contains(part), "{personality:?}: `{part}` is not in: {text}");
            }
            assert_eq!(result["retries"], 0, "{personality:?}");
            assert_eq!(world.aws.sqs().messages("dead").len(), 1, "{personality:?}: it is not delivered again");
            assert_eq!(world.aws.sqs().messages("work").len(), 0, "{personality:?}");
            assert_eq!(world.destination.store().tag(REPOSITORY, "v1"), None);
            eventually("uploads are cancelled", || world.destination.open_uploads() == 0).await;
        }
    })
    .await;
}

#[tokio::test]
async fn within_ecr_it_is_mounted() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        world.source.set_blob_mounting(true);
        world.rule().insert("source".into(), json!({ "repository": "team/**" }));
        world.rule().insert("destinations".into(), json!([format!("{SOURCE}/mirror/{{repository}}")]));
        image().push_to(world.source.store(), "team/app", "v1");
        world.source.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image().digest).await;
        assert_eq!((&result["outcome"], &result["blobs"]["mounted"]), (&json!("synced"), &json!(3)));
        assert_eq!(world.source.journal().count(Kind::UploadPut), 0);
        world.source.store().is_whole("mirror/team/app", "v1").unwrap();
    })
    .await;
}
