//! Who may not, and who can't show who he is.

use emulator::{Access, Image, Kind, Personality, Registry, aws::ApiError};
use scenarios::{World, watchdog::watch, world::SOURCE};
use serde_json::json;

use crate::ground::{LIMIT, MIRROR, REPOSITORY, assert_no_secret_is_told, impatient, pushed, refused, synced};

async fn world() -> (World, Image) {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository(MIRROR);
    let image = Image::small(1);
    image.push_to(world.source.store(), REPOSITORY, "v1");
    (world, image)
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_with_its_repository() {
    watch("a_right_that_is_missing_is_named_with_its_repository", LIMIT, |_| async {
        let (world, image) = world().await;
        let mut function = world.function("on-push", &[]).await;
        let (source, destination) = (world.source.store(), world.destination.store());
        for (store, name, access, parts) in [
            (source, REPOSITORY, Access::Pull, ["111122223333.dkr.ecr", "team/app", "403", "the right to"]),
            (destination, MIRROR, Access::Pull, ["222233334444.dkr.ecr", "mirror/team/app", "403", "the right to"]),
            (destination, MIRROR, Access::Push, ["222233334444.dkr.ecr", "mirror/team/app", "ecr:", "the right to"]),
        ] {
            store.deny(name, access);
            refused(&world, &mut function, pushed("v1", &image.digest)).await.is("Denied", &parts);
            store.allow(name);
        }
        assert_eq!(world.destination.journal().count_status(Kind::UploadStart, 201), 0);
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn a_call_of_ecrs_api_that_is_denied_is_named_with_its_account() {
    watch("a_call_of_ecrs_api_that_is_denied_is_named_with_its_account", LIMIT, |_| async {
        let (world, image) = world().await;
        for (operation, doing, account, region) in [
            ("GetAuthorizationToken", "getting an ECR authorization token", "111122223333", "us-east-1"),
            (
                "BatchCheckLayerAvailability",
                "checking layers of ECR repository mirror/team/app",
                "222233334444",
                "eu-west-1",
            ),
        ] {
            world.ecr.deny(operation);
            let mut function = world.function("on-push", &[]).await;
            let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
            let action = format!("ecr:{operation}");
            refusal.is("Denied", &[doing, account, region, "AccessDeniedException", &action]);
            world.ecr.allow(operation);
            synced(&mut function, pushed("v1", &image.digest)).await;
            world.destination.store().remove_repository(MIRROR);
            world.destination.store().create_repository(MIRROR);
        }
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_and_an_error_where_it_cannot_be() {
    watch("an_expired_token_is_renewed_once_and_an_error_where_it_cannot_be", LIMIT, |_| async {
        // ECR has been seen to answer either.
        for status in [401, 403] {
            let source = |builder: emulator::Builder| builder.expired_status(status);
            let ecr = Registry::builder(Personality::Ecr).account("222233334444").region("eu-west-1");
            let ecr = ecr.expired_status(status);
            let world = World::build(source, ecr, Some(scenarios::world::DESTINATION)).await;
            world.destination.store().create_repository(MIRROR);
            let mut function = world.function("on-push", &[]).await;
            for seed in 1..4 {
                let tag = format!("v{seed}");
                let image = Image::small(seed);
                image.push_to(world.source.store(), REPOSITORY, &tag);
                world.forget();
                if seed == 2 {
                    world.source.expire_tokens();
                    world.destination.expire_tokens();
                }
                if seed == 3 {
                    // The tokens end, and the role has lost its right to new ones.
                    world.ecr.deny("GetAuthorizationToken");
                    world.destination.expire_tokens();
                    world.source.expire_tokens();
                    let refusal = refused(&world, &mut function, pushed(&tag, &image.digest)).await;
                    let parts = ["111122223333", "team/app", "authorization token", "AccessDeniedException"];
                    refusal.is("Denied", &parts);
                    world.ecr.allow("GetAuthorizationToken");
                }
                synced(&mut function, pushed(&tag, &image.digest)).await;
                let tokens = world.aws.count("ecr", "GetAuthorizationToken");
                assert!(tokens <= 4, "{tokens} tokens for two registries (status {status}, round {seed})");
                // One for each token that was refused, and one that was not.
                assert_eq!(u64::try_from(world.source.journal().count(Kind::ManifestGet)).unwrap(), seed);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn credentials_that_are_not_taken_are_an_error_that_names_the_registry() {
    watch("credentials_that_are_not_taken_are_an_error_that_names_the_registry", LIMIT, |_| async {
        for tokens in [false, true] {
            let locked = |builder: emulator::Builder| match tokens {
                true => builder.token_server("robot", "right"),
                false => builder.basic("robot", "right"),
            };
            let mut world = World::to(Personality::Plain, locked).await;
            let host = world.destination_host.clone();
            let image = Image::small(1);
            image.push_to(world.source.store(), REPOSITORY, "v1");
            let mut function = world.function("on-push", &[]).await;
            let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
            refusal.is("Unauthorized", &[&host, "mirror/team/app", "configured", "credentials"]);

            world.registry_config(&host).insert("credentials".into(), json!("env:LOGIN"));
            let mut function = world.function("on-push", &[("LOGIN", "robot:wrong-hunter2")]).await;
            let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
            refusal.is("Unauthorized", &[&host, "mirror/team/app", "401", "credentials"]);
            assert_no_secret_is_told(&function, &["hunter2"]);
            let asked = world.destination.journal().len();
            assert!(asked <= 4, "a wrong password is not tried over and over: {asked} requests");
            let mut function = world.function("on-push", &[("LOGIN", "robot:right")]).await;
            synced(&mut function, pushed("v1", &image.digest)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_named() {
    watch("a_role_that_may_not_be_assumed_is_named", LIMIT, |_| async {
        let (mut world, image) = world().await;
        impatient(&mut world);
        let role = "arn:aws:iam::222233334444:role/transship-push";
        world.registry_config(scenarios::world::DESTINATION).insert("role_arn".into(), json!(role));
        let denied = ApiError::with_status(403, "AccessDenied", "not authorized to perform: sts:AssumeRole");
        world.aws.fail_next("AssumeRole", denied, 100);
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("Denied", &["getting an ECR authorization token", "222233334444", role]);
        assert_eq!(world.source.journal().count(Kind::BlobGet), 0, "no blob of {SOURCE} was read");
    })
    .await;
}
