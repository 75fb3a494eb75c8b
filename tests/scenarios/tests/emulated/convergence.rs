//! A tag ends at what the source tag points to now, in whatever order and however often events come.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, image::raw_layer};
use scenarios::{World, world::push_event};

use crate::support::{LIMIT, eventually, pushed, watched};

/// Two images under no tag yet, and an empty repository to replicate to.
async fn world() -> (World, Image, Image) {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository("mirror/team/app");
    let old = Image::builder().layer(raw_layer(1, 30_000)).label("is", "old").build();
    let new = Image::builder().layer(raw_layer(2, 30_000)).label("is", "new").build();
    (world, old, new)
}

fn tag(world: &World) -> Option<String> {
    world.destination.store().tag("mirror/team/app", "v1")
}

#[tokio::test]
async fn events_in_the_wrong_order_end_at_the_newest_push() {
    watched(async {
        let (world, old, new) = world().await;
        old.push_to(world.source.store(), "team/app", "v1");
        new.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let second = pushed(&mut function, "team/app", "v1", &new.digest).await;
        assert_eq!((&second["outcome"], &second["digest"]), (&"synced".into(), &new.digest.as_str().into()));
        world.forget();
        let first = pushed(&mut function, "team/app", "v1", &old.digest).await;
        assert_eq!((&first["outcome"], &first["digest"]), (&"current".into(), &new.digest.as_str().into()));
        assert_eq!(tag(&world), Some(new.digest));
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0, "the tag is not touched again");
        assert!(world.destination.store().manifest("mirror/team/app", &old.digest).is_none());
    })
    .await;
}

#[tokio::test]
async fn an_event_that_the_tag_has_outrun_brings_what_the_tag_holds_now() {
    watched(async {
        let (world, old, new) = world().await;
        old.push_to(world.source.store(), "team/app", "v1");
        new.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let first = pushed(&mut function, "team/app", "v1", &old.digest).await;
        assert_eq!((&first["outcome"], &first["digest"]), (&"superseded".into(), &new.digest.as_str().into()));
        let second = pushed(&mut function, "team/app", "v1", &new.digest).await;
        assert_eq!(second["outcome"], "current");
        assert_eq!(tag(&world), Some(new.digest));
    })
    .await;
}

#[tokio::test]
async fn an_event_that_comes_again_much_later_does_not_move_the_tag_back() {
    watched(async {
        let (world, old, new) = world().await;
        let mut function = world.function("on-push", &[]).await;
        for image in [&old, &new] {
            image.push_to(world.source.store(), "team/app", "v1");
            assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        }
        world.forget();
        assert_eq!(pushed(&mut function, "team/app", "v1", &old.digest).await["outcome"], "current");
        assert_eq!(tag(&world), Some(new.digest));
        assert_eq!((world.source.journal().len(), world.destination.journal().len()), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_moves_while_it_is_copied_ends_at_the_newest() {
    watched(async {
        let (world, old, new) = world().await;
        old.push_to(world.source.store(), "team/app", "v1");
        let slow =
            Fault::on(Kind::BlobGet).path(old.layers[0].digest()).then(Action::Delay(Duration::from_millis(700)));
        world.source.faults().add(slow);
        let mut function = world.function("on-push", &[]).await;
        let moves = async {
            eventually("the old layer is being read", || world.source.journal().count(Kind::BlobGet) > 0).await;
            new.push_to(world.source.store(), "team/app", "v1");
        };
        let (result, ()) = tokio::join!(pushed(&mut function, "team/app", "v1", &old.digest), moves);
        assert_eq!((&result["outcome"], &result["digest"]), (&"superseded".into(), &new.digest.as_str().into()));
        assert_eq!(tag(&world), Some(new.digest));
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    })
    .await;
}

#[tokio::test]
async fn two_processes_with_the_same_event_both_succeed() {
    watched(async {
        for immutable in [false, true] {
            let (world, image, _) = world().await;
            world.destination.store().set_immutable("mirror/team/app", immutable);
            image.push_to(world.source.store(), "team/app", "v1");
            // Both find nothing at the destination: the source lets neither go on before the other has asked.
            let slow = Fault::on(Kind::ManifestGet).times(2).then(Action::Delay(Duration::from_millis(500)));
            world.source.faults().add(slow);
            let mut one = world.function("on-push", &[]).await;
            let mut other = world.function("on-push", &[]).await;
            one.ready().await.unwrap();
            other.ready().await.unwrap();
            let (one, other) = tokio::join!(
                pushed(&mut one, "team/app", "v1", &image.digest),
                pushed(&mut other, "team/app", "v1", &image.digest)
            );
            for result in [&one, &other] {
                let outcome = result["outcome"].as_str().unwrap();
                assert!(["synced", "current"].contains(&outcome), "immutable {immutable}: {result}");
            }
            assert_eq!(world.source.journal().count(Kind::ManifestGet), 2, "both had work to do");
            assert_eq!(tag(&world), Some(image.digest));
            world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_slow_sync_of_an_old_push_does_not_outlast_a_quick_one_of_a_new_push() {
    watched(async {
        let (world, old, new) = world().await;
        old.push_to(world.source.store(), "team/app", "v1");
        let slow = Fault::on(Kind::BlobGet).path(old.layers[0].digest()).then(Action::Delay(Duration::from_secs(4)));
        world.source.faults().add(slow);
        let mut slow = world.function("on-push", &[]).await;
        let mut quick = world.function("on-push", &[]).await;
        quick.ready().await.unwrap();
        let overtakes = async {
            eventually("the old layer is being read", || world.source.journal().count(Kind::BlobGet) > 0).await;
            new.push_to(world.source.store(), "team/app", "v1");
            let result = pushed(&mut quick, "team/app", "v1", &new.digest).await;
            assert_eq!(result["outcome"], "synced");
            assert_eq!(tag(&world), Some(new.digest.clone()));
        };
        let (result, ()) = tokio::join!(slow.invoke(push_event("team/app", "v1", &old.digest), LIMIT), overtakes);
        let result = result.ok().unwrap()["results"][0].clone();
        let order = world.destination.store().manifests_in_push_order("mirror/team/app");
        assert_eq!(order, [new.digest.clone(), old.digest.clone()], "the slow one came last, and looked once more");
        assert_eq!(tag(&world), Some(new.digest.clone()));
        assert_eq!(result["digest"], new.digest, "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    })
    .await;
}
