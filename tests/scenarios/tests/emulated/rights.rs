//! What takes a right of its own is done by both functions: the roles that are deployed are judged by it (`infra/tests`).

use emulator::{Image, Personality, aws::ApiError};
use scenarios::{
    Function, World,
    world::{DESTINATION, push_event},
};
use serde_json::json;

use crate::support::{delivered, logged_results, watched};

const BINARIES: [&str; 2] = ["on-push", "fanout"];

/// Has either function replicate the push of an image: from the event itself, or from a message with the event in it.
async fn replicates(world: &World, binary: &str, function: &mut Function, digest: &str) {
    let event = push_event("team/app", "v1", digest);
    match binary {
        "on-push" => drop(function.invoke(event, crate::support::LIMIT).await),
        _ => drop(delivered(world, function, &event.to_string()).await),
    }
}

fn outcome(function: &Function) -> Option<String> {
    logged_results(function).last().and_then(|result| result["outcome"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn either_function_reads_its_configuration_and_makes_a_repository_with_all_that_it_gets() {
    watched(async {
        for binary in BINARIES {
            let mut world = World::ecr(|destination| destination).await;
            let settings = json!({
                "encryption": { "type": "KMS", "kms_key": "alias/ecr" },
                "tags": { "team": "platform" },
                "lifecycle_policy": { "rules": [] },
                "repository_policy": { "Version": "2012-10-17", "Statement": [] },
            });
            world.registry_config(DESTINATION).insert("create_repository".into(), settings);
            world.aws.ssm().put_secure("/transship/config", &world.config.to_string());
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let config = [("TRANSSHIP_CONFIG", "ssm:/transship/config")];
            // The first dies in between, so that the next has to look at what it finds.
            world.aws.fail_next("PutLifecyclePolicy", ApiError::client("InvalidParameterException", "no"), 1);
            for expected in ["failed", "synced"] {
                let mut function = world.function(binary, &config).await;
                replicates(&world, binary, &mut function, &image.digest).await;
                crate::support::eventually("the result is logged", || outcome(&function).is_some()).await;
                assert_eq!(outcome(&function).as_deref(), Some(expected), "{binary}");
            }
            for operation in [
                "CreateRepository",
                "GetLifecyclePolicy",
                "GetRepositoryPolicy",
                "DescribeImages",
                "PutLifecyclePolicy",
                "SetRepositoryPolicy",
            ] {
                assert!(world.aws.count("ecr", operation) > 0, "{binary}: {operation}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn either_function_assumes_a_registrys_role() {
    watched(async {
        for binary in BINARIES {
            let mut world = World::ecr(|destination| destination).await;
            let role = "arn:aws:iam::222233334444:role/transship-push";
            world.registry_config(DESTINATION).insert("role_arn".into(), role.into());
            world.destination.store().create_repository("mirror/team/app");
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let mut function = world.function(binary, &[]).await;
            replicates(&world, binary, &mut function, &image.digest).await;
            world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
            assert_eq!(world.aws.count("sts", "AssumeRole"), 1, "{binary}");
        }
    })
    .await;
}

#[tokio::test]
async fn either_function_makes_a_repository_of_ecr_public() {
    watched(async {
        for binary in BINARIES {
            let mut world = World::to(Personality::EcrPublic, |builder| builder.alias("mirror")).await;
            let host = world.destination_host.clone();
            world.registry_config(&host).insert("create_repository".into(), json!({ "tags": { "team": "platform" } }));
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let mut function = world.function(binary, &[]).await;
            replicates(&world, binary, &mut function, &image.digest).await;
            world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
            assert_eq!(world.aws.count("ecr-public", "CreateRepository"), 1, "{binary}");
        }
    })
    .await;
}

#[tokio::test]
async fn either_function_asks_why_an_image_is_not_there() {
    watched(async {
        for binary in BINARIES {
            let world = World::ecr(|destination| destination).await;
            world.destination.store().create_repository("mirror/team/app");
            world.source.store().create_repository("team/app");
            let mut function = world.function(binary, &[]).await;
            replicates(&world, binary, &mut function, &Image::small(1).digest).await;
            assert_eq!(world.aws.count("ecr", "DescribeImages"), 1, "{binary}: archived, or gone?");
        }
    })
    .await;
}
