//! `role_arn`: the calls for one registry are signed as another role, those for the others are not.

use emulator::Image;
use scenarios::{
    World,
    world::{DESTINATION, push_event},
};

use crate::support::{assert_nothing_written, failed, pushed, watched};

const ROLE: &str = "arn:aws:iam::222233334444:role/transship-push";

async fn with_role(external_id: &str) -> (World, Image) {
    let mut world = World::ecr(|destination| destination).await;
    world.aws.sts().require_external_id(ROLE, "ours-alone");
    let config = world.registry_config(DESTINATION);
    config.insert("role_arn".into(), ROLE.into());
    config.insert("external_id".into(), external_id.into());
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    world.destination.store().create_repository("mirror/team/app");
    (world, image)
}

#[tokio::test]
async fn a_registrys_calls_are_signed_by_its_role_and_the_others_by_the_functions() {
    watched(async {
        let (world, image) = with_role("ours-alone").await;
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        let assumed = world.aws.sts().assumed();
        assert_eq!(assumed.len(), 1);
        assert_eq!(assumed[0].role_arn, ROLE);
        assert_eq!(assumed[0].external_id.as_deref(), Some("ours-alone"));
        assert_eq!(assumed[0].caller, "AKIA111122223333");
        let calls = world.aws.calls();
        let of = |region: &str| -> Vec<_> {
            calls.iter().filter(|call| call.service == "ecr" && call.region == region).collect()
        };
        assert_eq!(of("eu-west-1").len(), 3, "a token and two batch checks");
        assert!(of("eu-west-1").iter().all(|call| call.access_key == assumed[0].access_key));
        assert_eq!(of("us-east-1").len(), 1);
        let assuming = calls.iter().find(|call| call.operation == "AssumeRole").unwrap();
        assert_eq!(assuming.region, "us-east-1", "asked for in the function's own region");
        assert!(of("us-east-1").iter().all(|call| call.access_key == "AKIA111122223333"));

        image.push_to(world.source.store(), "team/app", "v2");
        pushed(&mut function, "team/app", "v2", &image.digest).await;
        assert_eq!(world.aws.sts().assumed().len(), 1, "the role's session is kept over invocations");
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_named_and_nothing_changes() {
    watched(async {
        let (world, image) = with_role("somebody-elses").await;
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains(ROLE) && message.contains("sts:AssumeRole"), "{message}");
        assert_nothing_written(&world.destination);
        assert_eq!(world.destination.journal().len(), 0);
    })
    .await;
}
