//! A destination repository that is missing: created as configured, or an error that says how to allow it.

use emulator::{Action, Fault, Image, Kind, Personality, aws::ApiError};
use scenarios::{
    World,
    world::{DESTINATION, push_event},
};
use serde_json::json;

use crate::support::{failed, multi_platform, pushed, watched};

async fn creating() -> (World, Image) {
    let mut world = World::ecr(|destination| destination).await;
    let settings = json!({
        "tag_mutability": "IMMUTABLE",
        "scan_on_push": true,
        "encryption": { "type": "KMS", "kms_key": "alias/ecr" },
        "tags": { "team": "platform" },
    });
    world.registry_config(DESTINATION).insert("create_repository".into(), settings);
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

#[tokio::test]
async fn a_missing_repository_is_created_with_its_settings() {
    watched(async {
        let (world, image) = creating().await;
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        let settings = world.destination.store().settings("mirror/team/app").unwrap();
        assert_eq!(settings["imageTagMutability"], "IMMUTABLE");
        assert_eq!(settings["imageScanningConfiguration"], json!({ "scanOnPush": true }));
        assert_eq!(settings["encryptionConfiguration"], json!({ "encryptionType": "KMS", "kmsKey": "alias/ecr" }));
        assert_eq!(settings["tags"], json!([{ "Key": "team", "Value": "platform" }]));
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(world.aws.count("ecr", "CreateRepository"), 1);

        // One that is there is not asked about.
        let index = multi_platform(5, &["linux/amd64"]);
        index.push_to(world.source.store(), "team/app", "v2");
        world.forget();
        pushed(&mut function, "team/app", "v2", &index.digest).await;
        assert_eq!(world.aws.count("ecr", "CreateRepository"), 0);
    })
    .await;
}

#[tokio::test]
async fn an_index_makes_its_repository_too() {
    watched(async {
        let (world, _) = creating().await;
        let index = multi_platform(5, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "team/multi", "v1");
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/multi", "v1", &index.digest).await["outcome"], "synced");
        world.destination.store().is_whole("mirror/team/multi", "v1").unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_repository_that_somebody_else_created_meanwhile_is_no_error() {
    watched(async {
        let (world, image) = creating().await;
        world.destination.store().create_repository("mirror/team/app");
        // It was missing when it was looked for, and is there when it is to be created.
        let missing = ApiError::client("RepositoryNotFoundException", "The repository does not exist");
        world.aws.fail_next("BatchCheckLayerAvailability", missing, 1);
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        let created: Vec<bool> =
            world.aws.calls().iter().filter(|call| call.operation == "CreateRepository").map(|call| call.ok).collect();
        assert_eq!(created, [false]);
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_missing_repository_that_may_not_be_created_says_how_to_allow_it() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "RepositoryNotFound", "{message}");
        assert!(message.contains("mirror/team/app") && message.contains("create_repository"), "{message}");
        assert!(message.contains("222233334444"), "{message}");
        // That a push makes it was tried with one upload, which was refused.
        let journal = world.destination.journal();
        assert_eq!((journal.count(Kind::UploadStart), journal.count(Kind::ManifestPut)), (1, 0));
        assert_eq!(world.source.journal().count(Kind::BlobGet), 0);
        assert!(!world.destination.store().repositories().contains(&"mirror/team/app".to_owned()));

        world.registry_config(DESTINATION).insert("create_repository".into(), json!({}));
        world.ecr.deny("CreateRepository");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Denied", "{message}");
        assert!(message.contains("ecr:CreateRepository") && message.contains("mirror/team/app"), "{message}");
        assert_eq!(world.source.journal().count(Kind::BlobGet), 0);
    })
    .await;
}

#[tokio::test]
async fn elsewhere_a_missing_repository_is_the_registrys_own_business() {
    watched(async {
        for creates in [true, false] {
            let world = World::to(Personality::Plain, |plain| plain.creates_repositories(creates)).await;
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let mut function = world.function("on-push", &[]).await;
            if creates {
                assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
            } else {
                let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
                assert_eq!(error_type, "RepositoryNotFound", "{message}");
                assert!(message.contains("mirror/team/app"), "{message}");
                assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_creates_on_push_is_left_to_it() {
    watched(async {
        let world = World::ecr(|destination| destination.creates_repositories(true)).await;
        let index = multi_platform(5, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &index.digest).await["outcome"], "synced");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(world.aws.count("ecr", "CreateRepository"), 0);
        assert_eq!(world.destination.open_uploads(), 0, "the upload that was tried was cancelled");

        // From then on it is a repository like any other.
        let image = Image::small(9);
        image.push_to(world.source.store(), "team/app", "v2");
        world.forget();
        assert_eq!(pushed(&mut function, "team/app", "v2", &image.digest).await["outcome"], "synced");
        let blobs = image.blobs().len();
        assert_eq!(world.destination.journal().count(Kind::UploadStart), blobs);
    })
    .await;
}

#[tokio::test]
async fn a_server_in_trouble_is_not_taken_for_one_that_creates_nothing() {
    watched(async {
        let mut world = World::ecr(|destination| destination.creates_repositories(true)).await;
        world.config["limits"] = json!({ "max_attempts": 1 });
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.faults().add(Fault::on(Kind::UploadStart).forever().then(Action::status(503)));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Unavailable", "{message}");
        world.destination.faults().clear();
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
    })
    .await;
}
