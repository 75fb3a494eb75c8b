//! What a sync costs in requests, counted at the registries.

use std::time::Duration;

use emulator::{Image, Kind, image};
use scenarios::{World, watchdog::watch, world::push_event};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_first_copy_to_ecr_costs_two_requests_a_blob_and_no_question_twice() {
    watch("a_first_copy_to_ecr_costs_two_requests_a_blob_and_no_question_twice", LIMIT, |_| async {
        let world = World::ecr(|destination| destination).await;
        let image = Image::builder().layer(image::layer(1, 40_000)).layer(image::layer(2, 90_000)).build();
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let answer = function.invoke(push_event("team/app", "v1", &image.digest), LIMIT).await.ok().unwrap();
        let result = &answer["results"][0];
        assert_eq!(result["outcome"], "synced", "{answer}");
        assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), Some(image.digest.clone()));
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();

        let blobs = image.blobs().len();
        let (source, destination) = (world.source.journal(), world.destination.journal());
        assert_eq!(source.count(Kind::ManifestGet), 1);
        assert_eq!(source.count_at(emulator::journal::Origin::Registry, Kind::BlobGet), blobs);
        assert_eq!(source.count(Kind::ManifestHead), 1, "after the tag moved: is it still what the source has?");
        assert_eq!(destination.count(Kind::ManifestHead), 1);
        assert_eq!(destination.count(Kind::UploadStart), blobs);
        assert_eq!(destination.count(Kind::UploadPut), blobs);
        assert_eq!(destination.count(Kind::ManifestPut), 1);
        assert_eq!(destination.len(), 2 + 2 * blobs, "{:#?}", destination.entries());
        assert_eq!(world.aws.count("ecr", "BatchCheckLayerAvailability"), 2, "one before, one at the gate");

        world.forget();
        let answer = function.invoke(push_event("team/app", "v1", &image.digest), LIMIT).await.ok().unwrap();
        assert_eq!(answer["results"][0]["outcome"], "current");
        assert_eq!((world.source.journal().len(), world.destination.journal().len()), (1, 1));
        assert_eq!(world.aws.calls().len(), 0, "tokens are kept across invocations");
    })
    .await;
}
