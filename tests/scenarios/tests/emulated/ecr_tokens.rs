//! ECR's authorization tokens: one for each registry, kept, replaced once when it is refused.

use emulator::{Action, Fault, Image, Kind, Personality, Registry, aws::ApiError};
use scenarios::{World, world::push_event};

use crate::support::{assert_nothing_written, failed, pushed, watched};

const EXPIRED: &str = "Your authorization token has expired. Reauthenticate and try again.";

/// A world with `v1` to `v9` at the source, all different.
async fn with_tags(world: World) -> (World, Vec<Image>) {
    let images: Vec<Image> = (0..9).map(Image::small).collect();
    for (number, image) in images.iter().enumerate() {
        image.push_to(world.source.store(), "team/app", &format!("v{number}"));
    }
    world.destination.store().create_repository("mirror/team/app");
    (world, images)
}

#[tokio::test]
async fn a_token_is_fetched_once_for_each_registry_and_kept_over_invocations() {
    watched(async {
        let (world, images) = with_tags(World::ecr(|destination| destination).await).await;
        let mut function = world.function("on-push", &[]).await;
        for (number, image) in images.iter().take(3).enumerate() {
            pushed(&mut function, "team/app", &format!("v{number}"), &image.digest).await;
        }
        let calls = world.aws.calls();
        let tokens: Vec<_> = calls.iter().filter(|call| call.operation == "GetAuthorizationToken").collect();
        let regions: Vec<_> = tokens.iter().map(|call| call.region.as_str()).collect();
        assert_eq!(regions.len(), 2, "{regions:?}");
        assert!(regions.contains(&"us-east-1") && regions.contains(&"eu-west-1"), "{regions:?}");
        assert_eq!(function.starts(), 1);
        // ECR's scheme is known beforehand: no request is spent on being refused.
        for registry in [&world.source, &world.destination] {
            assert!(registry.journal().entries().iter().all(|entry| entry.status < 400 || entry.status == 404));
        }
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_is_replaced_once_whichever_status_says_so() {
    watched(async {
        for status in [401, 403] {
            let destination = Registry::builder(Personality::Ecr).account("222233334444").region("eu-west-1");
            let destination = destination.expired_status(status);
            let host = Some(scenarios::world::DESTINATION);
            let world = World::build(|source| source.expired_status(status), destination, host).await;
            let (world, images) = with_tags(world).await;
            let mut function = world.function("on-push", &[]).await;
            pushed(&mut function, "team/app", "v0", &images[0].digest).await;

            world.source.expire_tokens();
            world.destination.expire_tokens();
            world.forget();
            let result = pushed(&mut function, "team/app", "v1", &images[1].digest).await;
            assert_eq!(result["outcome"], "synced", "{status}");
            assert_eq!(world.aws.count("ecr", "GetAuthorizationToken"), 2, "{status}: one for each registry");
            for registry in [&world.source, &world.destination] {
                let refused = registry.journal().entries().iter().filter(|entry| entry.status == status).count();
                assert_eq!(refused, 1, "{status}: what is known to be stale is not sent again");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_expires_while_blobs_are_sent_is_replaced_and_the_blob_sent_again() {
    watched(async {
        for status in [401, 403] {
            let (world, images) = with_tags(World::ecr(|destination| destination).await).await;
            let expired = Action::error(status, "DENIED", EXPIRED);
            world.destination.faults().add(Fault::on(Kind::UploadPut).then(expired));
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, "team/app", "v0", &images[0].digest).await;
            assert_eq!((&result["outcome"], &result["blobs"]["transferred"]), (&"synced".into(), &2.into()));
            world.destination.store().is_whole("mirror/team/app", "v0").unwrap();
            assert_eq!(world.aws.count("ecr", "GetAuthorizationToken"), 3, "{status}: two, and the fresh one");
            assert_eq!(world.destination.journal().count(Kind::UploadPut), 3, "{status}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_stays_refused_ends_the_sync_after_one_fresh_one() {
    watched(async {
        let (world, images) = with_tags(World::ecr(|destination| destination).await).await;
        let refused = Action::error(401, "UNAUTHORIZED", "who are you");
        world.destination.faults().add(Fault::any().forever().then(refused));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v0", &images[0].digest)).await;
        assert_eq!(error_type, "Unauthorized", "{message}");
        assert!(message.contains(scenarios::world::DESTINATION) && message.contains("mirror/team/app"), "{message}");
        assert_eq!(world.destination.journal().len(), 2);
        assert_eq!(world.source.journal().count(Kind::BlobGet), 0);
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_that_cannot_be_replaced_names_the_registry_and_changes_nothing() {
    watched(async {
        let (world, images) = with_tags(World::ecr(|destination| destination).await).await;
        let mut function = world.function("on-push", &[]).await;
        pushed(&mut function, "team/app", "v0", &images[0].digest).await;
        world.destination.expire_tokens();
        world.forget();
        let refusal = ApiError::client("AccessDeniedException", "not authorized to perform: ecr:GetAuthorizationToken");
        world.aws.fail_next("GetAuthorizationToken", refusal, 9);
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &images[1].digest)).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains("222233334444") && message.contains("GetAuthorizationToken"), "{message}");
        assert_nothing_written(&world.destination);
        assert_eq!(world.aws.count("ecr", "GetAuthorizationToken"), 1, "a refusal is not asked for again");
    })
    .await;
}

#[tokio::test]
async fn what_is_denied_is_denied_to_a_fresh_token_too_and_not_asked_a_third_time() {
    watched(async {
        let (world, images) = with_tags(World::ecr(|destination| destination).await).await;
        world.destination.store().deny("mirror/team/app", emulator::Access::Pull);
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v0", &images[0].digest)).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains("mirror/team/app"), "{message}");
        assert_eq!(world.destination.journal().count_status(Kind::ManifestHead, 403), 2);
        assert_eq!(world.destination.journal().len(), 2);
        assert_eq!(world.aws.count("ecr", "GetAuthorizationToken"), 3, "two, and a fresh one");

        // An answer with a text says what it is: no fresh token is tried on it.
        world.destination.store().allow("mirror/team/app");
        world.destination.store().deny("mirror/team/app", emulator::Access::Push);
        world.forget();
        let (error_type, message) = failed(&mut function, push_event("team/app", "v0", &images[0].digest)).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains("ecr:InitiateLayerUpload"), "{message}");
        assert_eq!(world.aws.count("ecr", "GetAuthorizationToken"), 0);
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0);
    })
    .await;
}
