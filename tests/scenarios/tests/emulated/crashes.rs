//! A process that is killed at any point leaves an incomplete image, never a wrong one, and nothing is lost.

use emulator::{Action, Fault, Image, Kind, Origin, Personality, image::raw_layer};
use scenarios::{World, world::push_event};

use crate::support::{LIMIT, digits, eventually, multi_platform, pushed, watched};

#[tokio::test]
async fn a_killed_process_is_followed_by_one_that_sends_only_what_is_missing() {
    watched(async {
        for world in [World::ecr(|destination| destination).await, World::to(Personality::Plain, |plain| plain).await] {
            let image = Image::builder().layer(raw_layer(1, 90_000)).layer(raw_layer(2, 20_000)).build();
            let (stuck, done) = (image.layers[0].digest(), image.layers[1].digest());
            image.push_to(world.source.store(), "team/app", "v1");
            let store = world.destination.store();
            store.create_repository("mirror/team/app");
            let stall =
                Fault::on(Kind::BlobGet).at(Origin::Blobs).path(digits(stuck)).then(Action::StallResponseAfter(40_000));
            let stalled = world.source.faults().add(stall);
            let mut function = world.function("on-push", &[]).await;
            {
                let event = push_event("team/app", "v1", &image.digest);
                let midway = eventually("one layer is there, another one on its way", || {
                    store.has_blob("mirror/team/app", done)
                        && store.blobs("mirror/team/app").len() == 2
                        && stalled.count() == 1
                });
                tokio::select! {
                    outcome = function.invoke(event, LIMIT) => panic!("it should hang: {outcome:?}"),
                    () = midway => {}
                }
            }
            function.kill().await;
            assert_eq!((store.tags("mirror/team/app").len(), store.manifests("mirror/team/app").len()), (0, 0));

            world.forget();
            let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
            assert_eq!(function.starts(), 2);
            assert_eq!((&result["outcome"], &result["blobs"]["present"]), (&"synced".into(), &2.into()), "{result}");
            store.is_whole("mirror/team/app", "v1").unwrap();
            assert_eq!(world.destination.journal().count(Kind::UploadStart), 1, "only the one that was on its way");
            let reads = world.source.journal().of(Kind::BlobGet);
            assert!(reads.iter().all(|read| read.path.contains(digits(stuck))), "{reads:#?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_killed_between_children_and_tag_leaves_no_tag_and_is_made_up_for() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let index = multi_platform(1, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "team/app", "v1");
        let store = world.destination.store();
        store.create_repository("mirror/team/app");
        let at_the_tag = world.destination.faults().add(Fault::on(Kind::ManifestPut).path("/v1").then(Action::Stall));
        let mut function = world.function("on-push", &[]).await;
        {
            let event = push_event("team/app", "v1", &index.digest);
            tokio::select! {
                outcome = function.invoke(event, LIMIT) => panic!("it should hang: {outcome:?}"),
                () = eventually("the tag is about to be put", || at_the_tag.count() == 1) => {}
            }
        }
        function.kill().await;
        assert_eq!(store.tags("mirror/team/app").len(), 0);
        assert_eq!(store.manifests("mirror/team/app").len(), 2, "the children are there");

        world.forget();
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!((&result["manifests"]["pushed"], &result["manifests"]["present"]), (&1.into(), &2.into()));
        store.is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(world.destination.journal().count(Kind::UploadStart), 0);
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
    })
    .await;
}
