//! Archived images: ECR lists them and answers pulls with 404, at either end.

use emulator::{Image, Kind, aws::ApiError, store::ImageStatus};
use scenarios::{World, world::push_event};

use crate::support::{failed, multi_platform, pushed, watched};

async fn world() -> (World, Image) {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository("mirror/team/app");
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

#[tokio::test]
async fn an_archived_source_image_is_called_archived_and_how_to_restore_it_is_said() {
    watched(async {
        let (world, image) = world().await;
        world.source.store().archive("team/app", &image.digest);
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "SourceNotFound", "{message}");
        for part in ["team/app", "404", "archived", "update-image-storage-class", "STANDARD", &image.digest] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(world.aws.count("ecr", "DescribeImages"), 1);
        assert_eq!(world.source.journal().count(Kind::BlobGet), 0);

        // Where the destination has something under the tag, the source is asked in another way.
        Image::small(2).push_to(world.destination.store(), "mirror/team/app", "v1");
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "SourceNotFound", "{message}");
        assert!(message.contains("archived") && message.contains(&image.digest), "{message}");

        world.source.store().set_status("team/app", &image.digest, ImageStatus::Activating);
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Unavailable", "it may succeed later: {message}");
        assert!(message.contains("being restored"), "{message}");

        world.source.store().set_status("team/app", &image.digest, ImageStatus::Active);
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
    })
    .await;
}

#[tokio::test]
async fn an_archived_child_of_an_index_is_named() {
    watched(async {
        let (world, _) = world().await;
        let index = multi_platform(5, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "team/app", "v2");
        let child = world.source.store().manifests_in_push_order("team/app")[1].clone();
        assert_ne!(child, index.digest);
        world.source.store().archive("team/app", &child);
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v2", &index.digest)).await;
        assert_eq!(error_type, "SourceNotFound", "{message}");
        assert!(message.contains("archived") && message.contains(&format!("imageDigest={child}")), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_question_that_fails_hides_no_404() {
    watched(async {
        let (world, image) = world().await;
        world.source.store().archive("team/app", &image.digest);
        world.ecr.deny("DescribeImages");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "SourceNotFound", "{message}");
        assert!(message.contains("MANIFEST_UNKNOWN") && !message.contains("DescribeImages"), "{message}");

        world.ecr.allow("DescribeImages");
        world.aws.fail_next("DescribeImages", ApiError::client("InvalidParameterException", "no"), 1);
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "SourceNotFound", "{message}");

        // And what is not there at all is not called archived.
        let (error_type, message) = failed(&mut function, push_event("team/app", "v9", &image.digest)).await;
        assert_eq!(error_type, "SourceNotFound", "{message}");
        assert!(!message.contains("archived"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn what_is_archived_at_the_destination_is_sent_again_and_restored() {
    watched(async {
        let (world, _) = world().await;
        let index = multi_platform(5, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "team/app", "v2");
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v2", &index.digest).await["outcome"], "synced");
        let store = world.destination.store();
        for digest in store.manifests("mirror/team/app") {
            store.archive("mirror/team/app", &digest);
        }
        assert!(store.is_whole("mirror/team/app", "v2").is_err());
        let result = pushed(&mut function, "team/app", "v2", &index.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        assert_eq!(result["manifests"]["pushed"], 3, "{result}");
        store.is_whole("mirror/team/app", "v2").unwrap();
        assert_eq!(pushed(&mut function, "team/app", "v2", &index.digest).await["outcome"], "current");
    })
    .await;
}
