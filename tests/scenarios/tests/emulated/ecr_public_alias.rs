//! ECR Public: the API that is asked is one account's, and the reference must name that account's registry.

use emulator::{Builder, Image, Kind, Personality, aws::ApiError};
use scenarios::{World, world::push_event};
use serde_json::json;

use crate::support::{assert_nothing_written, failed, pushed, watched};

/// The world's rule names `mirror/…`; `change` says what the account has.
async fn world(change: impl FnOnce(Builder) -> Builder) -> (World, Image) {
    let mut world = World::to(Personality::EcrPublic, change).await;
    let host = world.destination_host.clone();
    world.registry_config(&host).insert("create_repository".into(), json!({}));
    let image = Image::small(1);
    for tag in ["v1", "v2", "v3"] {
        image.push_to(world.source.store(), "team/app", tag);
    }
    (world, image)
}

#[tokio::test]
async fn another_accounts_alias_is_told_before_a_byte_is_sent() {
    watched(async {
        for repository_is_there in [false, true] {
            let (world, image) = world(|public| {
                public.alias("a1b2c3d4").further_alias("brand", "ACTIVE").further_alias("mirror", "PENDING")
            })
            .await;
            // The account has a repository of that name, and so has the registry that the alias leads to.
            if repository_is_there {
                world.destination.store().create_repository("a1b2c3d4/team/app");
                world.destination.store().create_repository("mirror/team/app");
            }
            let mut function = world.function("on-push", &[]).await;
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "InvalidConfig", "{message}");
            for part in ["mirror/team/app", "a1b2c3d4, brand, mirror (PENDING)", "111122223333", "role_arn"] {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
            assert_nothing_written(&world.destination);
            assert_eq!(world.source.journal().count(Kind::BlobGet), 0);
            assert_eq!(world.aws.count("ecr-public", "CreateRepository"), 0, "nor in the wrong account");
        }
    })
    .await;
}

#[tokio::test]
async fn an_account_without_a_registry_is_told_so() {
    watched(async {
        // The API serves registries of other accounts than the function's.
        let (world, image) = world(|public| public.alias("mirror").account("999900001111")).await;
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "InvalidConfig", "{message}");
        assert!(message.contains("no public registry yet") && message.contains("`mirror`"), "{message}");
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn a_role_of_the_account_that_has_the_alias_will_do() {
    watched(async {
        let (mut world, image) = world(|public| public.alias("mirror").account("999900001111")).await;
        let host = world.destination_host.clone();
        let role = "arn:aws:iam::999900001111:role/transship-push";
        world.registry_config(&host).insert("role_arn".into(), role.into());
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(world.aws.count("ecr-public", "DescribeRegistries"), 1);
    })
    .await;
}

#[tokio::test]
async fn each_alias_of_the_account_will_do_and_is_asked_for_once() {
    watched(async {
        for primary in [true, false] {
            let (world, image) = world(|public| match primary {
                true => public.alias("mirror"),
                false => public.alias("mirror").further_alias("brand", "ACTIVE"),
            })
            .await;
            let mut function = world.function("on-push", &[]).await;
            for (tag, image) in [("v1", &image), ("v2", &image), ("v4", &Image::small(4))] {
                image.push_to(world.source.store(), "team/app", tag);
                let result = pushed(&mut function, "team/app", tag, &image.digest).await;
                assert_eq!(result["outcome"], "synced", "{result}");
                world.destination.store().is_whole("mirror/team/app", tag).unwrap();
            }
            assert_eq!(world.aws.count("ecr-public", "DescribeRegistries"), 1, "once for a process");
        }
    })
    .await;
}

#[tokio::test]
async fn an_alias_that_the_account_gets_later_will_do_in_the_same_process() {
    watched(async {
        let (world, image) = world(|public| public.alias("mirror").further_alias("a1b2c3d4", "ACTIVE")).await;
        world.destination.set_alias_status("PENDING");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        for _ in 0..2 {
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "InvalidConfig", "{message}");
        }
        assert_eq!(world.aws.count("ecr-public", "DescribeRegistries"), 2, "once for each refusal");
        world.destination.set_alias_status("ACTIVE");
        for tag in ["v1", "v2"] {
            pushed(&mut function, "team/app", tag, &image.digest).await;
        }
        world.destination.store().is_whole("mirror/team/app", "v2").unwrap();
        assert_eq!(world.aws.count("ecr-public", "DescribeRegistries"), 3, "and a yes is kept");
        assert_eq!(function.starts(), 1, "it is the same process");
    })
    .await;
}

#[tokio::test]
async fn where_it_may_not_be_known_all_goes_on_as_before() {
    watched(async {
        for (error, calls) in [
            (ApiError::client("AccessDeniedException", "not authorized: ecr-public:DescribeRegistries"), 1),
            // What passes is asked again by the SDK, which has four tries.
            (ApiError::with_status(500, "ServerException", "try later"), 4),
        ] {
            let (world, _) = world(|public| public.alias("mirror")).await;
            world.aws.fail_next("DescribeRegistries", error, usize::MAX);
            let mut function = world.function("on-push", &[]).await;
            for (tag, seed) in [("v7", 7), ("v8", 8)] {
                let image = Image::small(seed);
                image.push_to(world.source.store(), "team/app", tag);
                let result = pushed(&mut function, "team/app", tag, &image.digest).await;
                assert_eq!(result["outcome"], "synced", "{result}");
                world.destination.store().is_whole("mirror/team/app", tag).unwrap();
            }
            assert_eq!(world.aws.count("ecr-public", "DescribeRegistries"), calls);
            let records = function.records();
            let warned: Vec<_> = records.iter().filter(|record| record["level"] == "WARN").collect();
            assert_eq!(warned.len(), 1, "said once: {warned:?}");
            assert!(warned[0]["error"].as_str().unwrap().contains("ecr-public:DescribeRegistries"), "{warned:?}");
        }
    })
    .await;
}
