//! A tag that the destination has at another digest: overwritten, kept or an error, as the rule says; or immutable.

use emulator::{Action, Fault, Image, Kind};
use scenarios::{World, world::push_event};
use serde_json::json;

use crate::support::{assert_nothing_written, failed, pushed, watched};

/// `v1` at both ends, old at the destination, new at the source, under a rule with this `existing_tag`.
async fn world(existing_tag: Option<&str>) -> (World, Image, Image) {
    let mut world = World::ecr(|destination| destination).await;
    if let Some(setting) = existing_tag {
        world.rule().insert("existing_tag".into(), setting.into());
    }
    let (old, new) = (Image::small(1), Image::small(2));
    old.push_to(world.destination.store(), "mirror/team/app", "v1");
    new.push_to(world.source.store(), "team/app", "v1");
    (world, old, new)
}

#[tokio::test]
async fn it_is_overwritten_by_default() {
    watched(async {
        for setting in [None, Some("overwrite")] {
            let (world, _, new) = world(setting).await;
            let mut function = world.function("on-push", &[]).await;
            assert_eq!(pushed(&mut function, "team/app", "v1", &new.digest).await["outcome"], "synced");
            assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), Some(new.digest));
        }
    })
    .await;
}

#[tokio::test]
async fn it_is_kept_where_the_rule_says_so() {
    watched(async {
        let (world, old, new) = world(Some("keep")).await;
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &new.digest).await["outcome"], "kept");
        assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), Some(old.digest));
        assert_nothing_written(&world.destination);
        assert_eq!(world.source.journal().count(Kind::BlobGet), 0);
        // A tag that is not there is none to keep.
        new.push_to(world.source.store(), "team/app", "v2");
        assert_eq!(pushed(&mut function, "team/app", "v2", &new.digest).await["outcome"], "synced");
    })
    .await;
}

#[tokio::test]
async fn it_is_an_error_where_the_rule_says_so() {
    watched(async {
        let (world, old, new) = world(Some("fail")).await;
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &new.digest)).await;
        assert_eq!(error_type, "TagImmutable", "{message}");
        assert!(message.contains(&old.digest) && message.contains(&new.digest), "{message}");
        assert!(message.contains("existing_tag"), "{message}");
        assert_nothing_written(&world.destination);
        // The same digest is no conflict.
        old.push_to(world.source.store(), "team/app", "v1");
        assert_eq!(pushed(&mut function, "team/app", "v1", &old.digest).await["outcome"], "current");
    })
    .await;
}

#[tokio::test]
async fn an_immutable_tag_of_another_digest_is_reported_as_what_it_is() {
    watched(async {
        let (world, old, new) = world(None).await;
        world.destination.store().set_immutable("mirror/team/app", true);
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &new.digest)).await;
        assert_eq!(error_type, "TagImmutable", "{message}");
        assert!(message.contains("mirror/team/app") && message.contains("v1"), "{message}");
        assert!(message.contains(&old.digest) && message.contains(&new.digest), "{message}");
        assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), Some(old.digest.clone()));
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1, "it is not tried again");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();

        old.push_to(world.source.store(), "team/app", "v1");
        assert_eq!(pushed(&mut function, "team/app", "v1", &old.digest).await["outcome"], "current");
    })
    .await;
}

#[tokio::test]
async fn ecrs_code_for_an_immutable_tag_is_known_whatever_the_text_says() {
    watched(async {
        let (world, old, new) = world(None).await;
        let refusal = Action::error(400, "TAG_INVALID", "That tag is taken.");
        world.destination.faults().add(Fault::on(Kind::ManifestPut).forever().then(refusal));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &new.digest)).await;
        assert_eq!(error_type, "TagImmutable", "{message}");
        assert!(message.contains(&old.digest) && message.contains(&new.digest), "{message}");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1, "it is not tried again");
    })
    .await;
}

#[tokio::test]
async fn an_immutable_tag_that_appeared_meanwhile_with_the_same_digest_is_current() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        image.push_to(world.destination.store(), "mirror/team/app", "v1");
        world.destination.store().set_immutable("mirror/team/app", true);
        // It is not there when it is looked for, and there when it is put.
        world.destination.faults().add(Fault::on(Kind::ManifestHead).times(1).then(Action::status(404)));
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!(result["outcome"], "current", "{result}");
        assert_eq!(result["manifests"], json!({ "pushed": 0, "present": 1 }), "{result}");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
    })
    .await;
}
