//! A provider that is configured wrongly sends blobs in a way that the registry does not take: it fails for good, and
//! says so. Where every way works, that is shown too.

use emulator::{Builder, Image, Kind, Personality, Registry, image::raw_layer};
use scenarios::World;
use serde_json::{Value, json};

use crate::support::{delivered, eventually, image_message, logged_results, replicated, watched};

const MIB: usize = 1 << 20;

/// A repository that every kind takes.
const REPOSITORY: &str = "project/images/app";

/// What goes wrong at a registry, and how.
#[derive(Debug, Clone, Copy)]
struct Case {
    at: Personality,
    provider: &'static str,
    size: usize,
    /// Of the function's budget.
    buffer_bytes: Option<u64>,
    /// What the message has to say of the registry's answer.
    said: &'static str,
}

async fn world(at: Personality, provider: &str, size: usize) -> (World, Image) {
    world_to(Registry::builder(at).open(), provider, size).await
}

async fn world_to(destination: Builder, provider: &str, size: usize) -> (World, Image) {
    let source = Registry::builder(Personality::Plain).open();
    let mut world = World::between(source, destination).await;
    let host = world.destination_host.clone();
    world.registry_config(&host).insert("provider".into(), provider.into());
    world.destination.store().create_repository(REPOSITORY);
    let image = Image::builder().layer(raw_layer(1, size)).build();
    image.push_to(world.source.store(), REPOSITORY, "v1");
    (world, image)
}

/// The message that copies the image.
fn message(world: &World) -> (String, String) {
    let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
    (of(&world.source_host), of(&world.destination_host))
}

/// Over either protocol: over HTTP/1.1 a registry that has answered closes while the rest of the blob is under way to it.
async fn fails_for_good(case: Case) {
    for http1 in [false, true] {
        fails_over(case, http1).await;
    }
}

async fn fails_over(case: Case, http1: bool) {
    // At ECR Public no upload would begin: its refusals of `HEAD` are a case of their own.
    let destination = Registry::builder(case.at).open().answer_blob_heads();
    let destination = if http1 { destination.http1_only() } else { destination };
    let (mut world, image) = world_to(destination, case.provider, case.size).await;
    world.config["limits"] = json!({ "blob_concurrency": 1 });
    if let Some(bytes) = case.buffer_bytes {
        world.config["limits"]["buffer_bytes"] = bytes.into();
    }
    let dead = world.aws.sqs().create("dead", std::time::Duration::from_secs(30));
    let mut function = world.function("fanout", &[("TRANSSHIP_DEAD_LETTER_QUEUE_URL", &dead)]).await;
    let (from, to) = message(&world);
    delivered(&world, &mut function, &image_message(from, to)).await;
    eventually("the failure is logged", || !logged_results(&function).is_empty()).await;
    let result = logged_results(&function).pop().unwrap();
    assert_eq!(
        (&result["outcome"], &result["error_type"]),
        (&json!("failed"), &json!("InvalidConfig")),
        "{case:?}: {result}"
    );
    let text = result["error_message"].as_str().unwrap();
    for part in [case.said, "provider", &world.destination_host, REPOSITORY, image.layers[0].digest()] {
        assert!(text.contains(part), "{case:?}: `{part}` is not in: {text}");
    }
    assert_eq!(result["retries"], 0, "{case:?}, HTTP/1.1 {http1}: no other try can do");
    assert_eq!(world.aws.sqs().messages("dead").len(), 1, "{case:?}: the message is not delivered again");
    let store = world.destination.store();
    assert_eq!((store.tag(REPOSITORY, "v1"), store.manifests(REPOSITORY).len()), (None, 0), "{case:?}");
    assert!(!store.has_blob(REPOSITORY, image.layers[0].digest()), "{case:?}");
    assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0, "{case:?}");
    eventually("the upload is cancelled", || world.destination.open_uploads() == 0).await;
}

/// Tests run beside each other; the cases of one run one by one.
fn case(at: Personality, provider: &'static str, size: usize, said: &'static str) -> Case {
    Case { at, provider, size, buffer_bytes: None, said }
}

#[tokio::test]
async fn acr_takes_no_large_put() {
    watched(fails_for_good(case(Personality::Acr, "generic", 21 * MIB, "413"))).await;
}

#[tokio::test]
async fn acr_takes_no_large_patch() {
    watched(fails_for_good(case(Personality::Acr, "ghcr", 21 * MIB, "413"))).await;
}

#[tokio::test]
async fn artifact_registry_takes_no_patch() {
    watched(fails_for_good(case(Personality::Gar, "ghcr", 300_000, "405"))).await;
}

#[tokio::test]
async fn artifact_registry_takes_no_chunks() {
    watched(fails_for_good(case(Personality::Gar, "acr", 300_000, "405"))).await;
}

#[tokio::test]
async fn ghcr_takes_no_large_range() {
    watched(fails_for_good(case(Personality::Ghcr, "acr", 5 * MIB, "REQUESTED_RANGE_NOT_SATISFIABLE"))).await;
}

#[tokio::test]
async fn docker_hub_takes_no_large_put() {
    watched(fails_for_good(case(Personality::DockerHub, "generic", 21 * MIB, "400"))).await;
}

#[tokio::test]
async fn ecr_takes_no_short_parts() {
    // So small a budget makes chunks of under 5 MiB.
    let short = case(Personality::Ecr, "acr", 12 * MIB, "at least 5MB");
    watched(fails_for_good(Case { buffer_bytes: Some(8 << 20), ..short })).await;
}

#[tokio::test]
async fn ecr_public_takes_no_short_parts() {
    let short = case(Personality::EcrPublic, "acr", 12 * MIB, "at least 5MB");
    watched(fails_for_good(Case { buffer_bytes: Some(8 << 20), ..short })).await;
}

#[tokio::test]
async fn ecr_public_answers_no_head_of_a_blob() {
    watched(async {
        for provider in ["generic", "ghcr", "acr"] {
            let (world, _) = world(Personality::EcrPublic, provider, 9_000).await;
            refused(&world, "Unauthorized", &["looking for blob", "401"]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn every_way_works_where_no_source_says_otherwise() {
    watched(async {
        for at in [Personality::Plain, Personality::Quay, Personality::Harbor] {
            for provider in ["generic", "ghcr", "acr"] {
                let (world, _) = world(at, provider, 17 * MIB).await;
                let mut function = world.function("fanout", &[]).await;
                let (from, to) = message(&world);
                let result = replicated(&world, &mut function, &from, &to).await;
                assert_eq!(
                    (&result["outcome"], &result["retries"]),
                    (&json!("synced"), &json!(0)),
                    "{at:?} {provider}"
                );
                world.destination.store().is_whole(REPOSITORY, "v1").unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_project_at_harbor_is_no_passing_trouble() {
    watched(async {
        let harbor = Registry::builder(Personality::Harbor).open().quota(100_000);
        let world = World::between(Registry::builder(Personality::Plain), harbor).await;
        world.destination.store().create_repository("project/base");
        Image::builder().layer(raw_layer(1, 200_000)).build().push_to(world.source.store(), REPOSITORY, "v1");
        refused(&world, "Denied", &["412", "upper limit"]).await;
    })
    .await;
}

#[tokio::test]
async fn what_must_be_there_before_a_push_is_named() {
    watched(async {
        for (at, error_type, part) in [
            (Personality::Harbor, "Unauthorized", "project project not found"),
            (Personality::Gar, "RepositoryNotFound", "create the repository"),
        ] {
            let open: Builder = Registry::builder(at).open();
            let world = World::between(Registry::builder(Personality::Plain), open).await;
            Image::small(1).push_to(world.source.store(), REPOSITORY, "v1");
            refused(&world, error_type, &[part]).await;
        }
    })
    .await;
}

async fn refused(world: &World, error_type: &str, parts: &[&str]) -> Value {
    let mut function = world.function("fanout", &[]).await;
    let (from, to) = message(world);
    delivered(world, &mut function, &image_message(from, to)).await;
    eventually("the failure is logged", || !logged_results(&function).is_empty()).await;
    let result = logged_results(&function).pop().unwrap();
    let text = result["error_message"].as_str().unwrap();
    assert_eq!(result["error_type"], error_type, "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(world.destination.store().tag(REPOSITORY, "v1"), None);
    eventually("the upload is cancelled", || world.destination.open_uploads() == 0).await;
    result
}

/// Seen instead of the 413: the connection ends. It looks like any broken one, so it is tried again; no tag comes of it.
#[tokio::test]
async fn acr_may_break_the_connection_at_a_large_put() {
    watched(async {
        let destination = Registry::builder(Personality::Acr).open().breaks_off_large_bodies();
        let (mut world, image) = world_to(destination, "generic", 21 * MIB).await;
        world.config["limits"] = json!({ "max_attempts": 2, "blob_concurrency": 1 });
        let result = refused(&world, "Unavailable", &["uploading blob", image.layers[0].digest()]).await;
        assert!(result["retries"].as_u64() >= Some(1), "{result}");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0);

        // In chunks, as ACR wants them, no body comes near the limit.
        let host = world.destination_host.clone();
        world.registry_config(&host).insert("provider".into(), "acr".into());
        let mut function = world.function("fanout", &[]).await;
        let (from, to) = message(&world);
        world.aws.sqs().skip_waiting("work");
        let result = replicated(&world, &mut function, &from, &to).await;
        assert_eq!((&result["outcome"], &result["retries"]), (&json!("synced"), &json!(0)), "{result}");
    })
    .await;
}

/// As version 1.9 said it: not told from a server in trouble, so the message comes again until its queue gives it up.
#[tokio::test]
async fn a_full_project_at_an_old_harbor_looks_like_a_server_in_trouble() {
    watched(async {
        let harbor = Registry::builder(Personality::Harbor).open().quota(100_000).quota_answers_500();
        let mut world = World::between(Registry::builder(Personality::Plain), harbor).await;
        world.config["limits"] = json!({ "max_attempts": 2 });
        world.destination.store().create_repository("project/base");
        Image::builder().layer(raw_layer(1, 200_000)).build().push_to(world.source.store(), REPOSITORY, "v1");
        refused(&world, "Unavailable", &["500", "upper limit"]).await;
        assert_eq!(world.aws.sqs().messages("work").len(), 1, "it comes again");
    })
    .await;
}
