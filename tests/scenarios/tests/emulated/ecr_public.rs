//! ECR Public as a destination: its own API tells what is there and creates repositories; no blob's `HEAD` does.

use std::time::Duration;

use emulator::{Builder, Image, Kind, Personality};
use scenarios::{World, world::push_event};
use serde_json::json;

use crate::support::{assert_children_first, failed, multi_platform, pushed, watched};

/// An ECR Public registry whose alias is what the world's rule puts before the repository.
async fn world(change: impl FnOnce(Builder) -> Builder) -> World {
    World::to(Personality::EcrPublic, |builder| change(builder.alias("mirror"))).await
}

#[tokio::test]
async fn an_image_goes_in_and_its_repository_is_created() {
    watched(async {
        let mut world = world(|builder| builder.validation_lag(Duration::from_millis(300))).await;
        let host = world.destination_host.clone();
        let settings = json!({ "tags": { "team": "platform" } });
        world.registry_config(&host).insert("create_repository".into(), settings);
        let index = multi_platform(1, &["linux/amd64", "linux/arm64", "linux/s390x"]);
        index.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        let store = world.destination.store();
        store.is_whole("mirror/team/app", "v1").unwrap();
        assert_children_first(store, "mirror/team/app", &index.digest);
        assert_eq!(store.settings("mirror/team/app").unwrap()["tags"], json!([{ "Key": "team", "Value": "platform" }]));
        assert_eq!(world.destination.open_uploads(), 0);
        assert_eq!(world.destination.journal().count(Kind::BlobHead), 0, "it would be refused");
        let calls = world.aws.calls();
        let public: Vec<_> = calls.iter().filter(|call| call.service == "ecr-public").collect();
        assert!(public.iter().all(|call| call.region == "us-east-1"));
        let created: Vec<_> = public.iter().filter(|call| call.operation == "CreateRepository").collect();
        assert_eq!(created.len(), 1);
        assert_eq!(created[0].request["repositoryName"], "team/app", "the API knows no alias");
    })
    .await;
}

#[tokio::test]
async fn a_second_tag_of_the_same_image_sends_no_blob() {
    watched(async {
        let world = world(|builder| builder).await;
        world.destination.store().create_repository("mirror/team/app");
        let (single, index) = (Image::small(1), multi_platform(5, &["linux/amd64", "linux/arm64"]));
        let mut function = world.function("on-push", &[]).await;
        for tag in ["v1", "v2"] {
            single.push_to(world.source.store(), "team/app", &format!("{tag}-single"));
            index.push_to(world.source.store(), "team/app", tag);
        }
        pushed(&mut function, "team/app", "v1-single", &single.digest).await;
        pushed(&mut function, "team/app", "v1", &index.digest).await;
        world.forget();
        for (tag, digest) in [("v2-single", &single.digest), ("v2", &index.digest)] {
            let result = pushed(&mut function, "team/app", tag, digest).await;
            assert_eq!(
                (&result["outcome"], &result["blobs"]["transferred"]),
                (&"synced".into(), &0.into()),
                "{result}"
            );
            world.destination.store().is_whole("mirror/team/app", tag).unwrap();
        }
        assert_eq!(world.destination.journal().count(Kind::UploadStart), 0);
        assert_eq!(world.source.journal().count(Kind::BlobGet), 0);
    })
    .await;
}

#[tokio::test]
async fn a_missing_repository_says_how_to_allow_it() {
    watched(async {
        let world = world(|builder| builder).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "RepositoryNotFound", "{message}");
        assert!(message.contains("team/app") && message.contains("create_repository"), "{message}");
        assert_eq!(world.source.journal().count(Kind::BlobGet), 0);
    })
    .await;
}
