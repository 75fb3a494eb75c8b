//! What a sync costs in requests, counted at the registries.

use emulator::{
    Image, Index, Kind, Origin, Personality,
    aws::ApiError,
    image::{self, raw_layer},
};
use scenarios::World;
use serde_json::json;

use crate::support::{multi_platform, pushed, watched};

#[tokio::test]
async fn a_first_copy_to_ecr_costs_two_requests_a_blob_and_no_question_twice() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let image = Image::builder().layer(image::layer(1, 40_000)).layer(image::layer(2, 90_000)).build();
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), Some(image.digest.clone()));
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();

        let blobs = image.blobs().len();
        let (source, destination) = (world.source.journal(), world.destination.journal());
        assert_eq!(source.count(Kind::ManifestGet), 1);
        assert_eq!(source.count_at(Origin::Registry, Kind::BlobGet), blobs);
        assert_eq!(source.count(Kind::ManifestHead), 1, "after the tag moved: is it still what the source has?");
        assert_eq!(destination.count(Kind::ManifestHead), 1);
        assert_eq!(destination.count(Kind::UploadStart), blobs);
        assert_eq!(destination.count(Kind::UploadPut), blobs);
        assert_eq!(destination.count(Kind::ManifestPut), 1);
        assert_eq!(destination.len(), 2 + 2 * blobs, "{:#?}", destination.entries());
        assert_eq!(world.aws.count("ecr", "BatchCheckLayerAvailability"), 2, "one before, one at the gate");
    })
    .await;
}

#[tokio::test]
async fn an_unchanged_image_costs_one_request_at_each_end_where_nothing_attached_is_wanted() {
    watched(async {
        for mut world in
            [World::ecr(|destination| destination).await, World::to(Personality::Plain, |plain| plain).await]
        {
            world.rule().insert("referrers".into(), false.into());
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            world.destination.store().create_repository("mirror/team/app");
            let mut function = world.function("on-push", &[]).await;
            pushed(&mut function, "team/app", "v1", &image.digest).await;

            world.forget();
            let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
            assert_eq!(result["outcome"], "current");
            assert_eq!(result["manifests"]["pushed"], 0);
            assert_eq!((world.source.journal().len(), world.destination.journal().len()), (1, 1));
            assert_eq!(world.source.journal().count(Kind::ManifestHead), 1);
            assert_eq!(world.destination.journal().count(Kind::ManifestHead), 1);
            assert_eq!(world.aws.calls().len(), 0, "tokens are kept across invocations");
        }
    })
    .await;
}

#[tokio::test]
async fn a_first_copy_of_an_index_to_ecr_asks_for_all_of_its_blobs_at_once() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let index = multi_platform(10, &["linux/amd64", "linux/arm64", "linux/arm/v7"]);
        index.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();

        // Three configurations, three layers, and one that all share.
        let blobs = 7;
        let (source, destination) = (world.source.journal(), world.destination.journal());
        assert_eq!(source.count(Kind::ManifestGet), 4);
        assert_eq!(source.count(Kind::ManifestHead), 1);
        assert_eq!(source.count_at(Origin::Registry, Kind::BlobGet), blobs);
        assert_eq!(source.count_at(Origin::Blobs, Kind::BlobGet), blobs);
        assert_eq!(source.count(Kind::Referrers), 4, "one for each manifest");
        assert_eq!(source.count(Kind::TagsList), 1, "cosign's tags, all of them in one");
        assert_eq!(source.len(), 10 + 2 * blobs);
        assert_eq!(destination.count(Kind::ManifestHead), 0);
        assert_eq!(destination.count(Kind::UploadStart), blobs);
        assert_eq!(destination.count(Kind::UploadPut), blobs);
        assert_eq!(destination.count(Kind::ManifestPut), 4);
        assert_eq!(destination.len(), 4 + 2 * blobs);
        assert_eq!(world.aws.count("ecr", "BatchGetImage"), 1, "the tag, and each child: it may be there in part");
        assert_eq!(world.aws.count("ecr", "BatchCheckLayerAvailability"), 2, "one before, one at the gate");
    })
    .await;
}

#[tokio::test]
async fn an_index_of_which_ecr_has_a_part_is_asked_for_once_whatever_is_copied_with_it() {
    watched(async {
        for referrers in [true, false] {
            let mut world = World::ecr(|destination| destination).await;
            world.rule().insert("referrers".into(), referrers.into());
            let images = [1, 2, 3].map(Image::small);
            let index = Index::of(&images.iter().collect::<Vec<_>>());
            index.push_to(world.source.store(), "team/app", "v1");
            world.destination.store().create_repository("mirror/team/app");
            images[1].push_to(world.destination.store(), "mirror/team/app", "part");
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
            assert_eq!(result["manifests"], json!({"pushed": 3, "present": 1}), "{result}");
            world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
            let heads = world.destination.journal().count(Kind::ManifestHead);
            assert_eq!((world.aws.count("ecr", "BatchGetImage"), heads), (1, usize::from(!referrers)), "{result}");
            assert_eq!(world.source.journal().count(Kind::ManifestGet), 3, "what is there is not read");

            // Another tag of what is there whole: its children say that the index may be there, and it is asked for.
            index.push_to(world.source.store(), "team/app", "v2");
            world.forget();
            let result = pushed(&mut function, "team/app", "v2", &index.digest).await;
            assert_eq!((&result["outcome"], &result["manifests"]["pushed"]), (&json!("synced"), &json!(1)), "{result}");
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
            assert_eq!(world.source.journal().count(Kind::ManifestGet), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_large_manifest_is_not_asked_for_together_with_others() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let layers = (0..150).map(|number| image::layer(number, 100));
        let large = layers.fold(Image::builder(), image::ImageBuilder::layer).build();
        assert!(large.manifest.len() > 16 * 1024);
        let images = [large, Image::small(1), Image::small(2)];
        let index = Index::of(&images.iter().collect::<Vec<_>>());
        index.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &index.digest).await["outcome"], "synced");
        assert_eq!(world.destination.journal().count(Kind::ManifestHead), 1, "the large one's");
        assert_eq!(world.aws.count("ecr", "BatchGetImage"), 1);
    })
    .await;
}

#[tokio::test]
async fn where_ecrs_api_tells_nothing_of_manifests_each_is_asked_for() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let index = multi_platform(10, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let refusal = ApiError::client("AccessDeniedException", "not authorized to perform: ecr:BatchGetImage");
        world.aws.fail_next("BatchGetImage", refusal, 9);
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(world.destination.journal().count(Kind::ManifestHead), 4, "the tag, the index and its children");
        assert_eq!(world.aws.count("ecr", "BatchGetImage"), 1, "it is not asked again");
        world.forget();
        assert_eq!(pushed(&mut function, "team/app", "v1", &index.digest).await["outcome"], "current");
        assert_eq!((world.aws.count("ecr", "BatchGetImage"), world.destination.journal().len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_first_copy_to_a_plain_registry_asks_once_for_each_blob() {
    watched(async {
        let world = World::to(Personality::Plain, |plain| plain).await;
        let index = multi_platform(20, &["linux/amd64", "linux/arm64", "linux/arm/v7"]);
        index.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();

        let blobs = 7;
        let destination = world.destination.journal();
        assert_eq!(destination.count(Kind::ManifestHead), 4, "the tag, and each child");
        assert_eq!(destination.count(Kind::BlobHead), blobs);
        assert_eq!(destination.count(Kind::UploadStart), blobs);
        assert_eq!(destination.count(Kind::UploadPut), blobs);
        assert_eq!(destination.count(Kind::ManifestPut), 4);
        assert_eq!(destination.len(), 8 + 3 * blobs);
        assert_eq!(world.aws.count("ecr", "BatchCheckLayerAvailability"), 0, "that is for ECR alone");
    })
    .await;
}

#[tokio::test]
async fn another_tag_of_an_image_that_is_there_costs_only_its_manifest() {
    watched(async {
        for world in [World::ecr(|destination| destination).await, World::to(Personality::Plain, |plain| plain).await] {
            let (image, index) = (Image::small(1), multi_platform(30, &["linux/amd64", "linux/arm64"]));
            image.push_to(world.source.store(), "team/app", "v1");
            index.push_to(world.source.store(), "team/app", "v2");
            world.destination.store().create_repository("mirror/team/app");
            let mut function = world.function("on-push", &[]).await;
            pushed(&mut function, "team/app", "v1", &image.digest).await;
            pushed(&mut function, "team/app", "v2", &index.digest).await;

            for (tag, digest) in [("stable", &image.digest), ("latest", &index.digest)] {
                world.source.store().set_tag("team/app", tag, digest);
                world.forget();
                let result = pushed(&mut function, "team/app", tag, digest).await;
                assert_eq!((&result["outcome"], &result["manifests"]["pushed"]), (&"synced".into(), &1.into()));
                assert_eq!(world.destination.store().tag("mirror/team/app", tag).as_ref(), Some(digest));
                let (source, destination) = (world.source.journal(), world.destination.journal());
                assert_eq!(source.count(Kind::BlobGet), 0);
                assert_eq!(source.count(Kind::ManifestGet), 1, "children are not read again");
                assert_eq!(destination.count(Kind::ManifestPut), 1);
                assert_eq!(destination.count(Kind::BlobHead), 0);
                assert_eq!(destination.count(Kind::UploadStart), 0);
                // An index that is there proves its two children at ECR alone.
                let strict = world.destination.personality() == Personality::Ecr;
                let most = if strict || *digest == image.digest { 3 } else { 4 };
                assert!(destination.len() <= most, "{:#?}", destination.entries());
                assert!(world.aws.calls().len() <= 1, "{:#?}", world.aws.calls());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn layers_that_another_image_brought_are_neither_read_nor_sent() {
    watched(async {
        for world in [World::ecr(|destination| destination).await, World::to(Personality::Plain, |plain| plain).await] {
            let base = raw_layer(1, 50_000);
            let first = Image::builder().layer(base.clone()).layer(raw_layer(2, 10_000)).build();
            let second = Image::builder().layer(base.clone()).layer(raw_layer(3, 10_000)).build();
            first.push_to(world.source.store(), "team/app", "v1");
            second.push_to(world.source.store(), "team/app", "v2");
            world.destination.store().create_repository("mirror/team/app");
            let mut function = world.function("on-push", &[]).await;
            pushed(&mut function, "team/app", "v1", &first.digest).await;

            world.forget();
            let result = pushed(&mut function, "team/app", "v2", &second.digest).await;
            assert_eq!(result["outcome"], "synced");
            world.destination.store().is_whole("mirror/team/app", "v2").unwrap();
            assert_eq!(result["blobs"]["present"], 1);
            assert_eq!(result["blobs"]["transferred"], 2);
            assert_eq!(result["bytes"]["avoided"], base.size());
            assert_eq!(world.destination.journal().count(Kind::UploadStart), 2);
            let about_base = |entry: &emulator::Entry| entry.path.contains(base.digest());
            assert!(!world.source.journal().entries().iter().any(about_base), "the shared layer was read");
        }
    })
    .await;
}
