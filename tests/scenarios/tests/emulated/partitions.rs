//! Registries in another partition: the function's own identity means nothing there, a configured one does.

use emulator::{Image, Personality, Registry};
use scenarios::{World, world::push_event};

use crate::support::{assert_nothing_written, failed, pushed, watched};

const CHINA: &str = "444455556666.dkr.ecr.cn-north-1.amazonaws.com.cn";
const KEY: &str = "AKIA444455556666";
const ROLE: &str = "arn:aws-cn:iam::444455556666:role/transship-push";
const LOGIN: (&str, &str) = ("CHINA", r#"{"access_key_id":"AKIA444455556666","secret_access_key":"secret-of-china"}"#);

/// From a commercial region to one in China.
async fn world() -> (World, Image) {
    let destination = Registry::builder(Personality::Ecr).account("444455556666").region("cn-north-1");
    let world = World::build(|source| source, destination, Some(CHINA)).await;
    world.aws.sts().place_key(KEY, "aws-cn");
    world.destination.store().create_repository("mirror/team/app");
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

#[tokio::test]
async fn a_registry_in_china_is_pushed_to_as_an_identity_of_china() {
    watched(async {
        let (mut world, image) = world().await;
        world.registry_config(CHINA).insert("credentials".into(), "env:CHINA".into());
        let mut function = world.function("on-push", &[LOGIN]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        let calls = world.aws.calls();
        let there: Vec<_> = calls.iter().filter(|call| call.region == "cn-north-1").collect();
        assert!(there.len() >= 3 && there.iter().all(|call| call.access_key == KEY));
        assert!(calls.iter().filter(|call| call.region == "us-east-1").all(|call| call.access_key != KEY));
        assert!(function.lines().iter().all(|line| !line.contains("secret-of-china")));
    })
    .await;
}

#[tokio::test]
async fn a_role_in_china_is_assumed_from_an_identity_of_china() {
    watched(async {
        let (mut world, image) = world().await;
        world.registry_config(CHINA).insert("role_arn".into(), ROLE.into());
        let mut function = world.function("on-push", &[LOGIN]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains(ROLE) && message.contains("another partition"), "{message}");
        assert_nothing_written(&world.destination);

        world.registry_config(CHINA).insert("credentials".into(), "env:CHINA".into());
        let mut function = world.function("on-push", &[LOGIN]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        let assumed = world.aws.sts().assumed();
        assert_eq!((assumed.len(), assumed[0].caller.as_str()), (1, KEY));
        let calls = world.aws.calls();
        let granted = calls.iter().find(|call| call.operation == "AssumeRole" && call.ok).unwrap();
        assert_eq!(granted.region, "cn-north-1");
    })
    .await;
}

#[tokio::test]
async fn a_role_of_another_partition_than_the_registrys_is_refused_at_once() {
    watched(async {
        let (mut world, image) = world().await;
        world.registry_config(CHINA).insert("role_arn".into(), ROLE.replace("aws-cn", "aws").into());
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "InvalidConfig", "{message}");
        assert!(message.contains("role_arn") && message.contains("aws-cn"), "{message}");
    })
    .await;
}
