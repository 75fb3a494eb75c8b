//! What the exceptions of ECR's API mean: for good or not, and what to do. Source: ECR API, errors of `CreateRepository` and
//! `BatchGetImage`, and its common errors.

use emulator::{Image, aws::ApiError};
use scenarios::{
    World,
    world::{DESTINATION, SOURCE, push_event},
};
use serde_json::json;

use crate::{
    backfill,
    support::{failed, pushed, watched},
};

async fn creating() -> (World, Image) {
    let mut world = World::ecr(|destination| destination).await;
    world.registry_config(DESTINATION).insert("create_repository".into(), json!({}));
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

#[tokio::test]
async fn what_no_other_call_changes_is_called_once_and_named() {
    watched(async {
        for (exception, error_type, advice) in [
            ("AccessDeniedException", "Denied", "allow the role to do this"),
            ("BlockedByOrganizationPolicyException", "Denied", "allow the role to do this"),
            ("KmsException", "Denied", "allow the role to use the key"),
            ("InvalidParameterException", "InvalidConfig", ""),
            ("InvalidTagParameterException", "InvalidConfig", ""),
            ("TooManyTagsException", "InvalidConfig", ""),
            ("ValidationException", "InvalidConfig", ""),
            ("UnrecognizedClientException", "Unauthorized", "check the function's role"),
        ] {
            let (world, image) = creating().await;
            world.aws.fail_next("CreateRepository", ApiError::client(exception, "as it says"), 9);
            let mut function = world.function("on-push", &[]).await;
            let (found, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(found, error_type, "{message}");
            for part in ["creating ECR repository mirror/team/app", "222233334444", exception, "as it says", advice] {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
            assert_eq!(world.aws.count("ecr", "CreateRepository"), 1, "{exception}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_passes_is_called_again() {
    watched(async {
        for (status, exception, throttled) in [(500, "ServerException", 0), (400, "ThrottlingException", 1)] {
            let (world, image) = creating().await;
            world.aws.fail_next("CreateRepository", ApiError::with_status(status, exception, "not now"), 1);
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
            assert_eq!((&result["outcome"], &result["retries"]), (&json!("synced"), &json!(1)), "{result}");
            assert_eq!(result["throttled"], throttled, "{exception}");
            assert_eq!(world.aws.count("ecr", "CreateRepository"), 2, "{exception}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_a_cache_of_ecr_does_not_reach_may_be_reached_later() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        world.destination.store().create_repository("mirror/team/app");
        Image::small(1).push_to(world.source.store(), "team/app", "v1");
        let exception = ApiError::client("UnableToGetUpstreamImageException", "the upstream registry does not answer");
        world.aws.fail_next("BatchGetImage", exception, 1);
        let mut fanout = backfill::fanout(&world).await;
        let order = json!({ "backfill": { "repository": format!("{SOURCE}/team/app") } }).to_string();
        world.aws.sqs().send("orders", &order);
        let mapping = scenarios::EventSource::new(world.aws.sqs(), "orders").timeout(crate::support::LIMIT);
        let delivery = mapping.deliver(&mut fanout).await.expect("the message is visible");
        assert_eq!(delivery.kept.len(), 1, "it comes again: {delivery:?}");
        assert_eq!(world.aws.sqs().messages("dead").len(), 0);
        world.aws.sqs().skip_waiting("orders");
        let delivery = mapping.deliver(&mut fanout).await.expect("the message is visible");
        assert!(delivery.kept.is_empty(), "{delivery:?}");
        assert_eq!(backfill::enqueued(&world).len(), 1);
    })
    .await;
}
