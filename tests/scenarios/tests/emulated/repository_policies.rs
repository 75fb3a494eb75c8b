//! The policies of repositories that are created: set once, completed where a run died in between, never overwritten.

use emulator::{Access, Image, aws::ApiError};
use scenarios::{
    World,
    world::{DESTINATION, push_event},
};
use serde_json::{Value, json};

use crate::support::{failed, pushed, watched};

const REPOSITORY: &str = "mirror/team/app";

fn lifecycle() -> Value {
    json!({ "rules": [{
        "rulePriority": 1,
        "selection": { "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14 },
        "action": { "type": "expire" },
    }] })
}

fn policy() -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{ "Sid": "pull", "Effect": "Allow",
        "Principal": { "AWS": "arn:aws:iam::333344445555:root" }, "Action": "ecr:BatchGetImage" }] })
}

/// A destination that creates repositories with both policies: one written as JSON, one as a text.
async fn creating() -> (World, Image) {
    let mut world = World::ecr(|destination| destination).await;
    let settings = json!({ "lifecycle_policy": lifecycle(), "repository_policy": policy().to_string() });
    world.registry_config(DESTINATION).insert("create_repository".into(), settings);
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

/// A policy as the repository has it.
fn set(world: &World, key: &str) -> Option<Value> {
    let settings = world.destination.store().settings(REPOSITORY)?;
    Some(serde_json::from_str(settings.get(key)?.as_str()?).unwrap())
}

#[tokio::test]
async fn a_repository_gets_its_policies_when_it_is_created() {
    watched(async {
        let (world, image) = creating().await;
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(set(&world, "lifecyclePolicyText"), Some(lifecycle()));
        assert_eq!(set(&world, "policyText"), Some(policy()));

        // A repository that this process has seen to is not asked about again.
        let other = Image::small(2);
        other.push_to(world.source.store(), "team/app", "v2");
        world.forget();
        pushed(&mut function, "team/app", "v2", &other.digest).await;
        for operation in ["GetLifecyclePolicy", "GetRepositoryPolicy", "PutLifecyclePolicy", "SetRepositoryPolicy"] {
            assert_eq!(world.aws.count("ecr", operation), 0, "{operation}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_repository_that_a_run_left_half_made_is_completed_by_the_next() {
    watched(async {
        for refused in ["PutLifecyclePolicy", "SetRepositoryPolicy"] {
            let (world, image) = creating().await;
            world.aws.fail_next(refused, ApiError::client("InvalidParameterException", "no"), 1);
            let mut function = world.function("on-push", &[]).await;
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "InvalidConfig", "{message}");
            assert!(message.contains(REPOSITORY) && message.contains("policy"), "{message}");
            assert!(world.destination.store().repositories().contains(&REPOSITORY.to_owned()), "it was half made");
            drop(function);

            // Another process, as after a crash.
            let mut function = world.function("on-push", &[]).await;
            assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
            assert_eq!(set(&world, "lifecyclePolicyText"), Some(lifecycle()), "{refused}");
            assert_eq!(set(&world, "policyText"), Some(policy()), "{refused}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_somebody_set_stays_and_a_repository_with_images_gets_none() {
    watched(async {
        let (world, image) = creating().await;
        let (store, mine) = (world.destination.store(), json!({ "rules": [] }));
        store.create_repository(REPOSITORY);
        world.ecr.put_policy("222233334444", "eu-west-1", REPOSITORY, "lifecyclePolicyText", &mine);
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(set(&world, "lifecyclePolicyText"), Some(mine), "a human's word stands");
        assert_eq!(set(&world, "policyText"), Some(policy()), "an empty repository without one gets it");

        // An old repository may be without a policy on purpose, and a lifecycle policy deletes images.
        Image::small(3).push_to(store, "mirror/team/old", "v0");
        image.push_to(world.source.store(), "team/old", "v1");
        assert_eq!(pushed(&mut function, "team/old", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(store.settings("mirror/team/old"), Some(json!({})));
        // Nor when all that it has is archived.
        let archived = Image::small(4);
        archived.push_to(store, "mirror/team/cold", "v0");
        store.archive("mirror/team/cold", &archived.digest);
        image.push_to(world.source.store(), "team/cold", "v1");
        assert_eq!(pushed(&mut function, "team/cold", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(store.settings("mirror/team/cold"), Some(json!({})));
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_may_not_be_set_is_an_error_and_no_silence() {
    watched(async {
        let (world, image) = creating().await;
        world.ecr.deny("PutLifecyclePolicy");
        let mut function = world.function("on-push", &[]).await;
        for _ in 0..2 {
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "Denied", "{message}");
            assert!(message.contains("ecr:PutLifecyclePolicy") && message.contains(REPOSITORY), "{message}");
        }
        world.destination.store().deny(REPOSITORY, Access::Create);
        world.ecr.allow("PutLifecyclePolicy");
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(set(&world, "lifecyclePolicyText"), Some(lifecycle()));
    })
    .await;
}

#[tokio::test]
async fn tags_that_are_excepted_from_immutability_move_and_the_others_dont() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        let settings = json!({
            "tag_mutability": "IMMUTABLE_WITH_EXCLUSION",
            "tag_mutability_exclusions": ["latest", "dev-*"],
        });
        world.registry_config(DESTINATION).insert("create_repository".into(), settings);
        let (one, two) = (Image::small(1), Image::small(2));
        let mut function = world.function("on-push", &[]).await;
        for tag in ["latest", "dev-7", "v1"] {
            one.push_to(world.source.store(), "team/app", tag);
            assert_eq!(pushed(&mut function, "team/app", tag, &one.digest).await["outcome"], "synced");
        }
        let filter = |text: &str| json!({ "filterType": "WILDCARD", "filter": text });
        let settings = world.destination.store().settings(REPOSITORY).unwrap();
        assert_eq!(settings["imageTagMutability"], "IMMUTABLE_WITH_EXCLUSION");
        assert_eq!(settings["imageTagMutabilityExclusionFilters"], json!([filter("latest"), filter("dev-*")]));
        for tag in ["latest", "dev-7", "v1"] {
            two.push_to(world.source.store(), "team/app", tag);
        }
        for tag in ["latest", "dev-7"] {
            assert_eq!(pushed(&mut function, "team/app", tag, &two.digest).await["outcome"], "synced");
        }
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &two.digest)).await;
        assert_eq!(error_type, "TagImmutable", "{message}");
        assert!(message.contains(&one.digest) && message.contains(&two.digest), "{message}");
    })
    .await;
}
