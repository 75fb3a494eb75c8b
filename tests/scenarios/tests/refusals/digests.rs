//! Digests that are none of SHA-256: copied where registries know them, else refused for good, by the algorithm's name.

use emulator::{
    Kind, Personality, Registry, Store,
    digest::sha512,
    image::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST},
};
use scenarios::{World, watchdog::watch};
use serde_json::{Value, json};

use crate::ground::{LIMIT, REPOSITORY, Refusal, message};

/// What of an image has a digest of SHA-512.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Layer,
    Root,
}

/// Puts an image into the source; returns its digest.
fn push(store: &Store, of: Of) -> String {
    let (config, layer) = ("{\"os\":\"linux\",\"architecture\":\"amd64\"}", "a layer");
    let config_digest = store.put_blob(REPOSITORY, config);
    let layer_digest = match of {
        Of::Layer => {
            let digest = sha512(layer.as_bytes());
            store.put_raw_blob(REPOSITORY, &digest, layer);
            digest
        }
        Of::Root => store.put_blob(REPOSITORY, layer),
    };
    let manifest = manifest(&layer_digest, &config_digest, layer.len(), config.len());
    match of {
        Of::Layer => store.put_manifest(REPOSITORY, "v1", OCI_MANIFEST, manifest),
        Of::Root => {
            let digest = sha512(manifest.as_bytes());
            store.put_raw_manifest(REPOSITORY, "v1", &digest, OCI_MANIFEST, manifest);
            digest
        }
    }
}

fn manifest(layer: &str, config: &str, layer_size: usize, config_size: usize) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": config, "size": config_size},
        "layers": [{"mediaType": OCI_LAYER, "digest": layer, "size": layer_size}],
    })
    .to_string()
}

async fn world(to: Personality) -> (World, Value) {
    let source = Registry::builder(Personality::Plain);
    let world = World::between(source, Registry::builder(to).alias("project")).await;
    world.destination.store().create_repository("project/images/app");
    let body = json!({
        "source": format!("{}/{REPOSITORY}:v1", world.source_host),
        "destination": format!("{}/project/images/app:v1", world.destination_host),
    });
    (world, message(&body))
}

#[tokio::test]
async fn sha512_is_copied_where_the_registry_knows_it() {
    watch("sha512_is_copied_where_the_registry_knows_it", LIMIT, |_| async {
        for (to, of) in
            [(Personality::Plain, Of::Layer), (Personality::Plain, Of::Root), (Personality::Harbor, Of::Layer)]
        {
            let (world, event) = world(to).await;
            let digest = push(world.source.store(), of);
            let mut function = world.function("fanout", &[]).await;
            let answer = function.invoke(event, LIMIT).await;
            assert!(
                matches!(answer, scenarios::Outcome::Ok(ref answer) if answer["batchItemFailures"] == json!([])),
                "{answer:?}"
            );
            let store = world.destination.store();
            assert_eq!(store.tag("project/images/app", "v1"), Some(digest), "{to:?} {of:?}");
            store.is_whole("project/images/app", "v1").unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn sha512_is_refused_by_name_where_the_registry_does_not() {
    watch("sha512_is_refused_by_name_where_the_registry_does_not", LIMIT, |_| async {
        let strict = [
            Personality::Ecr,
            Personality::EcrPublic,
            Personality::Ghcr,
            Personality::Gar,
            Personality::Acr,
            Personality::DockerHub,
            Personality::Quay,
        ];
        for (to, of) in strict.into_iter().flat_map(|to| [(to, Of::Layer), (to, Of::Root)]) {
            let (world, event) = world(to).await;
            push(world.source.store(), of);
            refused(&world, event, &format!("{to:?} {of:?}")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_sha512_image_is_not_taken_under_another_digest_in_silence() {
    watch("a_sha512_image_is_not_taken_under_another_digest_in_silence", LIMIT, |_| async {
        // Harbor knows SHA-512 and can't be told to tag such a manifest: it would tag it by SHA-256.
        let (world, event) = world(Personality::Harbor).await;
        push(world.source.store(), Of::Root);
        refused(&world, event, "harbor").await;
    })
    .await;
}

/// The message fails for good, without a try more, and sets no tag.
async fn refused(world: &World, event: Value, what: &str) {
    let dead = world.aws.sqs().create("dead", std::time::Duration::from_secs(30));
    let mut function = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", &dead)]).await;
    let outcome = function.invoke(event, LIMIT).await;
    assert!(matches!(outcome, scenarios::Outcome::Ok(_)), "{what}: {outcome:?}");
    let letter = world.aws.sqs().messages("dead").pop();
    let letter = letter.unwrap_or_else(|| panic!("{what}: {outcome:?} {:#?}", function.lines()));
    let text = |name| letter.attribute(name).unwrap_or_default().to_owned();
    let refusal = Refusal { error_type: text("error_type"), message: text("error_message") };
    refusal.is("ManifestInvalid", &["sha512", "algorithm", "project/images/app", &world.destination_host]);
    let results: Vec<_> = scenarios::flows::logged_results(&function);
    assert_eq!(results[0]["retries"], 0, "{what}: {results:?}");
    assert_eq!(world.destination.store().tag("project/images/app", "v1"), None, "{what}");
}

#[tokio::test]
async fn an_algorithm_that_nobody_can_verify_is_named() {
    watch("an_algorithm_that_nobody_can_verify_is_named", LIMIT, |_| async {
        let (world, event) = world(Personality::Plain).await;
        let store = world.source.store();
        let config = store.put_blob(REPOSITORY, "{}");
        let blake = format!("blake3:{}", "a".repeat(64));
        store.put_manifest(REPOSITORY, "v1", OCI_MANIFEST, manifest(&blake, &config, 7, 2));
        let dead = world.aws.sqs().create("dead", std::time::Duration::from_secs(30));
        let mut function = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", &dead)]).await;
        function.invoke(event, LIMIT).await;
        let letter = world.aws.sqs().messages("dead").pop().expect("it can never succeed");
        assert_eq!(letter.attribute("error_type"), Some("ManifestInvalid"));
        let text = letter.attribute("error_message").unwrap_or_default();
        assert!(text.contains("blake3") && text.contains("sha256") && text.contains("sha512"), "{text}");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0);
    })
    .await;
}
