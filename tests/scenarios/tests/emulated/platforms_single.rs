//! Platforms of what doesn't say them in an index: single images, artifacts, and entries that have to be looked into.

use emulator::{
    Descriptor, Image, Index, Kind, Layer, Personality,
    image::{OCI_CONFIG, raw_layer},
};
use scenarios::{EventSource, world::push_event};
use serde_json::json;

use crate::{
    backfill::fanout,
    platforms::{MIRROR, REPOSITORY, attested, index_at, world},
    support::{LIMIT, assert_nothing_written, failed, pushed, watched},
};

#[tokio::test]
async fn a_single_image_is_one_of_them_by_its_configuration_or_an_error() {
    watched(async {
        for to in [Personality::Ecr, Personality::Plain] {
            let wanted = json!(["linux/arm64/v8", "windows(10.0.17763)/amd64"]);
            let world = world(to, wanted).await;
            let mut function = world.function("on-push", &[]).await;
            let windows = json!({"os": "windows", "architecture": "amd64", "os.version": "10.0.17763.1", "rootfs": {}});
            let arm = Image::builder().platform("linux/arm64").layer(raw_layer(1, 9_000)).build();
            let docker = Image::builder().docker().platform("linux/arm64/v8").build();
            let server = Image::builder().config(OCI_CONFIG, windows.to_string()).build();
            for (tag, image) in [("arm", &arm), ("docker", &docker), ("server", &server)] {
                image.push_to(world.source.store(), REPOSITORY, tag);
                let result = pushed(&mut function, REPOSITORY, tag, &image.digest).await;
                assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(image.digest)));
                assert_eq!(result.get("source_digest"), None, "it is the image itself: {result}");
                world.destination.store().is_whole(MIRROR, tag).unwrap();
                world.forget();
                assert_eq!(pushed(&mut function, REPOSITORY, tag, &image.digest).await["outcome"], "current");
                let (source, destination) = (world.source.journal(), world.destination.journal());
                assert_eq!((source.len(), destination.len()), (1, 1), "its configuration is not read again");
            }
            let other = Image::builder().platform("linux/arm/v7").build();
            let newer = json!({"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1"});
            let newer = Image::builder().config(OCI_CONFIG, newer.to_string()).build();
            world.forget();
            for (image, has) in [(other, "linux/arm/v7"), (newer, "windows(10.0.20348.1)/amd64")] {
                image.push_to(world.source.store(), REPOSITORY, "other");
                let (error_type, message) = failed(&mut function, push_event(REPOSITORY, "other", &image.digest)).await;
                assert_eq!(error_type, "PlatformNotFound", "{message}");
                let wanted = "linux/arm64, windows(10.0.17763)/amd64";
                assert!(message.contains(has) && message.contains(wanted), "{message}");
            }
            assert_nothing_written(&world.destination);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_for_no_platform_is_not_filtered() {
    watched(async {
        let world = world(Personality::Ecr, json!(["linux/arm64"])).await;
        let chart = Image::builder().artifact("application/vnd.cncf.helm.config.v1+json");
        let chart = chart.layer(Layer::from_bytes("application/tar+gzip", "a chart")).build();
        // Cosign's signatures borrow the configuration of an image, and fill nothing in.
        let signature = json!({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers"}});
        let signature = Image::builder().config(OCI_CONFIG, signature.to_string()).build();
        let charts = Index::of(&[&chart]);
        let mut function = world.function("on-push", &[]).await;
        chart.push_to(world.source.store(), REPOSITORY, "chart");
        signature.push_to(world.source.store(), REPOSITORY, "signature");
        charts.push_to(world.source.store(), REPOSITORY, "charts");
        for (tag, digest) in [("chart", chart.digest), ("signature", signature.digest), ("charts", charts.digest)] {
            let result = pushed(&mut function, REPOSITORY, tag, &digest).await;
            assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(digest)), "{tag}: {result}");
        }
    })
    .await;
}

#[tokio::test]
async fn entries_that_say_nothing_are_looked_into() {
    watched(async {
        let world = world(Personality::Plain, json!(["linux/arm64"])).await;
        let image = |seed, platform: &str| Image::builder().platform(platform).layer(raw_layer(seed, 5_000)).build();
        let silent = |image: &Image| Descriptor { platform: None, ..image.descriptor() };
        let (amd, arm) = (image(1, "linux/amd64"), image(2, "linux/arm64"));
        let (with, without) =
            (Index::of(&[&image(3, "linux/arm64"), &image(4, "linux/386")]), Index::of(&[&image(5, "linux/s390x")]));
        let index = Index::builder()
            .child_as(&amd, silent(&amd))
            .child_as(&arm, silent(&arm))
            .child(&with)
            .child(&without)
            .child(&image(6, "linux/arm64"))
            .build();
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, REPOSITORY, "v1", &index.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        let (whole, _) = index_at(world.source.store(), REPOSITORY, "v1");
        let (filtered, digest) = index_at(world.destination.store(), MIRROR, "v1");
        let kept = [1, 2, 4].map(|position| whole["manifests"][position].clone());
        assert_eq!(filtered["manifests"], json!(kept));
        world.destination.store().is_whole(MIRROR, "v1").unwrap();
        assert!(world.destination.store().manifest(MIRROR, &with.digest).is_some(), "an index is kept whole");

        world.forget();
        let result = pushed(&mut function, REPOSITORY, "v1", &index.digest).await;
        assert_eq!((&result["outcome"], &result["digest"]), (&json!("current"), &json!(digest)), "{result}");
        assert_eq!(world.destination.journal().len(), 1);
        assert_eq!(world.source.journal().count(Kind::ManifestGet), 5, "it, two images and two indexes");
        assert_eq!(world.source.journal().count(Kind::BlobGet), 4, "two configurations, each led on");
    })
    .await;
}

#[tokio::test]
async fn a_message_whose_platforms_are_not_there_is_a_dead_letter_that_says_what_is() {
    watched(async {
        let world = world(Personality::Ecr, json!(["linux/amd64"])).await;
        attested(1).push_to(world.source.store(), REPOSITORY, "v1");
        let mut fanout = fanout(&world).await;
        let [source, destination] = [(&world.source_host, REPOSITORY), (&world.destination_host, MIRROR)]
            .map(|(host, repository)| format!("{host}/{repository}:v1"));
        let body = json!({ "source": source, "destination": destination, "platforms": ["linux/s390x"] });
        world.aws.sqs().send("work", &body.to_string());
        let delivery = EventSource::new(world.aws.sqs(), "work").timeout(LIMIT).deliver(&mut fanout).await.unwrap();
        assert!(delivery.kept.is_empty(), "{delivery:?}");
        let letter = world.aws.sqs().messages("dead").pop().unwrap();
        assert_eq!(letter.attribute("error_type"), Some("PlatformNotFound"));
        assert!(letter.attribute("error_message").unwrap().contains("it has linux/amd64, linux/arm64, linux/arm/v7"));
        assert_nothing_written(&world.destination);
    })
    .await;
}
