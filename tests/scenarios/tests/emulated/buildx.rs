//! What BuildKit makes: indexes with attestations, and caches that are indexes of blobs.

use emulator::{
    Image, Kind, Layer, Personality, Registry, Store,
    image::{OCI_EMPTY, OCI_INDEX, raw_layer},
};
use scenarios::{World, attached::attested};
use serde_json::json;

use crate::support::{delivered, eventually, image_message, logged_results, replicated, watched};

const REPOSITORY: &str = "project/images/app";

/// The kinds that it goes to: one each that takes blobs by PUT, PATCH and chunks, and both ECRs.
const KINDS: [Personality; 6] = [
    Personality::Ecr,
    Personality::EcrPublic,
    Personality::Plain,
    Personality::Ghcr,
    Personality::Gar,
    Personality::Acr,
];

async fn arrives_verbatim(to: Personality, push: impl Fn(&Store) -> String) {
    let world = World::between(Registry::builder(Personality::Plain), Registry::builder(to).alias("project")).await;
    let digest = push(world.source.store());
    let (source, destination) = (world.source.store(), world.destination.store());
    destination.create_repository(REPOSITORY);
    let mut function = world.function("fanout", &[]).await;
    let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
    let result = replicated(&world, &mut function, &of(&world.source_host), &of(&world.destination_host)).await;
    assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(digest)), "{to:?}");
    destination.is_whole(REPOSITORY, "v1").unwrap();
    assert_eq!(destination.manifests(REPOSITORY), source.manifests(REPOSITORY), "{to:?}");
    for digest in source.manifests(REPOSITORY) {
        assert_eq!(destination.manifest(REPOSITORY, &digest), source.manifest(REPOSITORY, &digest), "{to:?}");
    }
}

#[tokio::test]
async fn an_index_with_attestations_arrives_verbatim() {
    watched(async {
        for to in KINDS {
            arrives_verbatim(to, |store| attested(&["linux/amd64", "linux/arm64"]).push_to(store, REPOSITORY, "v1"))
                .await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_artifact_with_the_empty_configuration_arrives_verbatim() {
    watched(async {
        for to in KINDS {
            arrives_verbatim(to, |store| {
                let artifact = Image::builder().artifact("application/vnd.example.settings.v1");
                assert_eq!(OCI_EMPTY, "application/vnd.oci.empty.v1+json");
                artifact
                    .layer(Layer::from_bytes("application/json", "{\"a\":1}"))
                    .build()
                    .push_to(store, REPOSITORY, "v1")
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_artifact_manifest_of_before_oci_1_1_arrives_verbatim() {
    watched(async {
        for to in [Personality::Ecr, Personality::Plain] {
            arrives_verbatim(to, |store| {
                let blob = store.put_blob(REPOSITORY, "an SBOM");
                let media_type = "application/vnd.cncf.oras.artifact.manifest.v1+json";
                let manifest = json!({
                    "mediaType": media_type,
                    "artifactType": "text/sbom+json",
                    "blobs": [{"mediaType": "text/sbom+json", "digest": blob, "size": 7}],
                });
                store.put_manifest(REPOSITORY, "v1", media_type, manifest.to_string())
            })
            .await;
        }
    })
    .await;
}

/// A cache as `--cache-to type=registry` writes it without `image-manifest=true`: an index that lists layers and its own
/// configuration.
fn push_cache(store: &Store) -> String {
    let layers: Vec<_> = (1..=2).map(|seed| raw_layer(seed, 5_000)).collect();
    layers.iter().for_each(|layer| layer.push_to(store, REPOSITORY));
    let config = json!({"layers": [{"layer": layers[0].digest()}]}).to_string();
    let config_digest = store.put_blob(REPOSITORY, config.clone());
    let mut manifests: Vec<_> = layers
        .iter()
        .map(|layer| json!({"mediaType": emulator::image::OCI_LAYER, "digest": layer.digest(), "size": layer.size()}))
        .collect();
    let kind = "application/vnd.buildkit.cacheconfig.v0";
    manifests.push(json!({"mediaType": kind, "digest": config_digest, "size": config.len()}));
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    store.put_manifest(REPOSITORY, "v1", OCI_INDEX, index.to_string())
}

#[tokio::test]
async fn a_cache_that_is_an_index_of_blobs_arrives_where_registries_take_it() {
    watched(async {
        for to in [Personality::Plain, Personality::Harbor] {
            arrives_verbatim(to, push_cache).await;
        }
    })
    .await;
}

#[tokio::test]
async fn where_they_do_not_it_is_refused_once_and_no_tag_is_set() {
    watched(async {
        for to in [Personality::Ecr, Personality::Quay] {
            let world =
                World::between(Registry::builder(Personality::Plain), Registry::builder(to).alias("project")).await;
            push_cache(world.source.store());
            world.destination.store().create_repository(REPOSITORY);
            let mut function = world.function("fanout", &[]).await;
            let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
            delivered(&world, &mut function, &image_message(of(&world.source_host), of(&world.destination_host))).await;
            eventually("the failure is logged", || !logged_results(&function).is_empty()).await;
            let result = logged_results(&function).pop().unwrap();
            let text = result["error_message"].as_str().unwrap();
            assert_eq!(result["error_type"], "ManifestInvalid", "{to:?}: {text}");
            for part in ["putting manifest", "404", "image-manifest=true", REPOSITORY] {
                assert!(text.contains(part), "{to:?}: `{part}` is not in: {text}");
            }
            assert_eq!(world.destination.store().tag(REPOSITORY, "v1"), None);
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1, "{to:?}: no other try mends it");
        }
    })
    .await;
}
