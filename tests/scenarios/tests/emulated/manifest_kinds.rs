//! Every kind of manifest arrives byte for byte, children before what lists them, the tag last.

use emulator::{Image, Index, Kind, Layer, Personality, image::raw_layer};
use scenarios::World;

use crate::support::{assert_children_first, pushed, watched};

/// Replicates `team/app:v1` to ECR and to a plain registry, and compares all manifests below it.
async fn arrives_verbatim(push: impl Fn(&emulator::Store) -> String) {
    for world in [World::ecr(|destination| destination).await, World::to(Personality::Plain, |plain| plain).await] {
        let digest = push(world.source.store());
        let (source, destination) = (world.source.store(), world.destination.store());
        destination.create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &digest).await;
        assert_eq!((&result["outcome"], &result["digest"]), (&"synced".into(), &digest.as_str().into()));

        destination.is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(destination.tag("mirror/team/app", "v1"), Some(digest.clone()));
        assert_eq!(destination.manifests("mirror/team/app"), source.manifests("team/app"));
        for digest in source.manifests("team/app") {
            // Digest, media type and bytes.
            assert_eq!(destination.manifest("mirror/team/app", &digest), source.manifest("team/app", &digest));
        }
        assert_children_first(destination, "mirror/team/app", &digest);
        let puts = world.destination.journal().of(Kind::ManifestPut);
        assert_eq!(puts.len(), source.manifests("team/app").len(), "each once");
        assert!(puts.last().unwrap().path.ends_with("/manifests/v1"), "the tag is last");
        let last_upload = world.destination.journal().of(Kind::UploadPut).last().unwrap().finished.unwrap();
        assert!(puts.iter().all(|put| put.at > last_upload), "no manifest before the last blob");
    }
}

#[tokio::test]
async fn an_oci_image_arrives_verbatim() {
    watched(arrives_verbatim(|store| {
        let image = Image::builder().layer(raw_layer(1, 5_000)).annotation("org.example.note", "kept");
        image.extra("org.example.unknown", serde_json::json!({"kept": [1, 2]})).build().push_to(store, "team/app", "v1")
    }))
    .await;
}

#[tokio::test]
async fn a_docker_schema_2_image_arrives_verbatim() {
    watched(arrives_verbatim(|store| {
        Image::builder().docker().layer(raw_layer(1, 5_000)).build().push_to(store, "team/app", "v1")
    }))
    .await;
}

#[tokio::test]
async fn a_docker_manifest_list_arrives_verbatim() {
    watched(arrives_verbatim(|store| {
        let image = |seed, platform| {
            Image::builder().docker().platform(platform).layer(raw_layer(seed, 5_000)).label("for", platform).build()
        };
        let (amd, arm) = (image(1, "linux/amd64"), image(2, "linux/arm64/v8"));
        Index::builder().docker().child(&amd).child(&arm).build().push_to(store, "team/app", "v1")
    }))
    .await;
}

#[tokio::test]
async fn an_index_nested_three_deep_arrives_verbatim() {
    watched(arrives_verbatim(|store| {
        let image = |seed| Image::builder().layer(raw_layer(seed, 5_000)).build();
        let lowest = Index::of(&[&image(1), &image(2)]);
        let middle = Index::builder().child(&lowest).child(&image(3)).annotation("level", "middle").build();
        // The lowest is listed by two: it must still be put before both.
        let top = Index::builder().child(&image(4)).child(&lowest).child(&middle).build();
        top.push_to(store, "team/app", "v1")
    }))
    .await;
}

#[tokio::test]
async fn an_artifact_with_an_empty_configuration_arrives_verbatim() {
    watched(arrives_verbatim(|store| {
        let chart = Layer::from_bytes("application/vnd.cncf.helm.chart.content.v1.tar+gzip", vec![7; 3_000]);
        let artifact = Image::builder().artifact("application/vnd.cncf.helm.config.v1+json");
        artifact
            .layer(chart.annotation("org.opencontainers.image.title", "app.tgz"))
            .build()
            .push_to(store, "team/app", "v1")
    }))
    .await;
}

#[tokio::test]
async fn an_artifact_that_refers_to_an_image_arrives_verbatim() {
    watched(arrives_verbatim(|store| {
        let subject = Image::small(1).descriptor();
        let sbom = Layer::from_bytes("application/spdx+json", &b"{\"spdxVersion\":\"SPDX-2.3\"}"[..]);
        let artifact = Image::builder().artifact("application/spdx+json").layer(sbom).subject(&subject);
        artifact.build().push_to(store, "team/app", "v1")
    }))
    .await;
}

#[tokio::test]
async fn an_artifact_whose_layer_is_its_configuration_arrives_verbatim() {
    watched(arrives_verbatim(|store| {
        // The specification's way to say that there is no content: one blob, named twice.
        let nothing = Layer::from_bytes(emulator::image::OCI_EMPTY, &b"{}"[..]);
        Image::builder()
            .artifact("application/vnd.example.flag")
            .layer(nothing)
            .build()
            .push_to(store, "team/app", "v1")
    }))
    .await;
}

#[tokio::test]
async fn a_child_that_is_listed_twice_is_read_and_put_once() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let image = Image::builder().layer(raw_layer(1, 5_000)).build();
        let again = emulator::Descriptor { platform: None, ..image.descriptor() };
        let index = Index::builder().child(&image).child_as(&image, again).build();
        index.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!(result["manifests"]["pushed"], 2);
        assert_eq!(world.source.journal().count(Kind::ManifestGet), 2);
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 2);
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    })
    .await;
}
