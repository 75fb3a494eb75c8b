//! A tag that is deleted at the source while it is copied.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind};
use scenarios::{
    World,
    attached::{SIGNATURE, artifact},
    world::{delete_event, push_event},
};

use serde_json::json;

use crate::support::{LIMIT, eventually, failed, logged_results, results, watched};

const MIRROR: &str = "mirror/team/app";

/// With an image ECR deletes what is attached to it, so that the copy ends as a failure.
#[tokio::test]
async fn a_copy_that_fails_over_what_was_attached_leaves_no_tag_either() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        world.rule().insert("delete".into(), "image".into());
        world.config["limits"] = json!({ "max_attempts": 1 });
        world.destination.store().create_repository(MIRROR);
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let signature = artifact(SIGNATURE, "gone with it", &image.descriptor());
        signature.push_to(world.source.store(), "team/app", &signature.digest);
        let faults = world.source.faults();
        let slow = Action::Delay(Duration::from_secs(2));
        faults.add(Fault::on(Kind::BlobGet).path(image.layers[0].digest()).then(slow));
        faults.add(Fault::on(Kind::BlobGet).path(signature.layers[0].digest()).forever().then(Action::status(404)));
        let mut function = world.function("on-push", &[]).await;
        let deleted = async {
            eventually("a layer is being read", || world.source.journal().count(Kind::BlobGet) > 0).await;
            world.source.store().remove_tag("team/app", "v1");
        };
        let event = push_event("team/app", "v1", &image.digest);
        let ((_, message), ()) = tokio::join!(failed(&mut function, event), deleted);
        assert!(message.contains("is in place"), "{message}");
        assert_eq!(world.destination.store().tag(MIRROR, "v1"), None);
    })
    .await;
}

/// The event of the deletion finds nothing at the destination yet: the copy that comes after it must not stay.
#[tokio::test]
async fn its_copy_goes_again_where_the_rule_follows_deletions() {
    watched(async {
        for (delete, stays) in [(Some("image"), false), (Some("untag"), true), (None, true)] {
            let mut world = World::ecr(|destination| destination).await;
            if let Some(delete) = delete {
                world.rule().insert("delete".into(), delete.into());
            }
            world.destination.store().create_repository(MIRROR);
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let slow =
                Fault::on(Kind::BlobGet).path(image.layers[0].digest()).then(Action::Delay(Duration::from_secs(3)));
            world.source.faults().add(slow);
            let mut copies = world.function("on-push", &[]).await;
            let mut follows = world.function("on-push", &[]).await;
            follows.ready().await.unwrap();
            let deleted = async {
                eventually("a layer is being read", || world.source.journal().count(Kind::BlobGet) > 0).await;
                world.source.store().remove_tag("team/app", "v1");
                let done = results(&mut follows, delete_event("team/app", "v1", &image.digest)).await;
                let expected = if delete.is_some() { "current" } else { "ignored" };
                assert_eq!(done[0]["outcome"], expected, "{done:?}");
            };
            let event = push_event("team/app", "v1", &image.digest);
            let (copied, ()) = tokio::join!(copies.invoke(event, LIMIT), deleted);
            let copied = copied.ok().unwrap()["results"][0].clone();
            assert_eq!(copied["outcome"], "synced", "{delete:?}: {copied}");
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1, "{delete:?}");
            let there = world.destination.store().tag(MIRROR, "v1");
            assert_eq!(there.is_some(), stays, "{delete:?}: {copied}");
            if delete.is_some() {
                // What became of it is said as of any removal.
                eventually("both are logged", || logged_results(&copies).len() == 2).await;
                let expected = if stays { "kept" } else { "deleted" };
                assert_eq!(logged_results(&copies)[1]["outcome"], expected);
            }
        }
    })
    .await;
}
