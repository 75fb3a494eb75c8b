//! What is attached arrives at every kind of registry, and comes from it: by the referrers API where there is one, else by
//! the tag of the subject. (`referrers.rs` has ECR, GHCR and plain registries, each with each.)

use emulator::{Personality, Registry};
use scenarios::{World, attached::Release, flows};
use serde_json::json;

use crate::support::{LIMIT, replicated};

const REPOSITORY: &str = "project/images/app";

/// Between this kind, with the API or without, and a plain registry: in and out.
async fn in_and_out(personality: Personality, api: bool) {
    for out in [false, true] {
        let kind = Registry::builder(personality).alias("project").referrers(api);
        // ECR Public's login is the function's role, as elsewhere in its tests.
        let kind = if personality == Personality::EcrPublic { kind } else { kind.open() };
        let plain = Registry::builder(Personality::Plain);
        let world = if out { World::between(kind, plain).await } else { World::between(plain, kind).await };
        let (from_api, to_api) = if out { (api, true) } else { (true, api) };
        let release = Release::new();
        release.push_to(world.source.store(), REPOSITORY, "v1", from_api);
        world.destination.store().create_repository(REPOSITORY);
        let mut function = world.function("fanout", &[]).await;
        let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
        let (from, to) = (of(&world.source_host), of(&world.destination_host));
        let result = replicated(&world, &mut function, &from, &to).await;
        let which = format!("{} (API: {api}, out: {out}): {result}", personality.name());
        assert_eq!(result["outcome"], "synced", "{which}");
        assert_eq!(result["referrers"], json!({"pushed": 4, "present": 0}), "{which}");
        assert_eq!(result["retries"], 0, "{which}");
        release.assert_arrived(world.destination.store(), REPOSITORY, "v1", to_api);

        let again = replicated(&world, &mut function, &from, &to).await;
        assert_eq!(again["outcome"], "current", "{which}");
        // A read of a manifest is a counted pull at the Hub: there an unchanged index is looked at without its children.
        let present = if out && personality == Personality::DockerHub { 2 } else { 4 };
        assert_eq!(again["referrers"], json!({"pushed": 0, "present": present}), "{which}: {again}");
    }
}

#[tokio::test]
async fn artifact_registry_and_acr_have_the_api() {
    for personality in [Personality::Gar, Personality::Acr] {
        flows::watched(LIMIT, Box::pin(in_and_out(personality, true))).await;
    }
}

#[tokio::test]
async fn harbor_and_quay_have_it_in_their_later_versions() {
    for personality in [Personality::Harbor, Personality::Quay] {
        for api in [true, false] {
            flows::watched(LIMIT, Box::pin(in_and_out(personality, api))).await;
        }
    }
}

#[tokio::test]
async fn docker_hub_is_served_whether_it_has_it_or_not() {
    for api in [true, false] {
        flows::watched(LIMIT, Box::pin(in_and_out(Personality::DockerHub, api))).await;
    }
}

/// The slowest: it is asked at its own pace, 10 uploads and 10 pulls a second.
#[tokio::test]
async fn ecr_public_is_served_whether_it_has_it_or_not() {
    for api in [true, false] {
        flows::watched(LIMIT, Box::pin(in_and_out(Personality::EcrPublic, api))).await;
    }
}
