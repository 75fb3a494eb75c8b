//! A tag that is deleted at the source while it is copied.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind};
use scenarios::{
    World,
    world::{delete_event, push_event},
};

use crate::support::{LIMIT, eventually, logged_results, results, watched};

const MIRROR: &str = "mirror/team/app";

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
