//! ECR's quotas: an image of many manifests keeps under the rate at which they may be put.

use emulator::{Image, Index, Kind, Personality};
use scenarios::World;

use crate::support::{pushed, watched};

#[tokio::test]
async fn an_index_of_many_platforms_is_put_within_ecrs_quota() {
    watched(async {
        let world = World::ecr(|destination| destination.rate_limits(true)).await;
        let images: Vec<Image> = (0..24).map(Image::small).collect();
        let index = Index::of(&images.iter().collect::<Vec<_>>());
        index.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!((&result["outcome"], &result["manifests"]["pushed"]), (&"synced".into(), &25.into()), "{result}");
        let journal = world.destination.journal();
        assert_eq!(journal.count_status(Kind::ManifestPut, 429), 0, "no put was refused for coming too soon");
        assert_eq!(journal.count(Kind::ManifestPut), 25);
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_index_of_many_platforms_is_put_within_ecr_publics_quotas() {
    watched(async {
        let world =
            World::to(Personality::EcrPublic, |destination| destination.alias("mirror").rate_limits(true)).await;
        let images: Vec<Image> = (0..24).map(Image::small).collect();
        let index = Index::of(&images.iter().collect::<Vec<_>>());
        index.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!((&result["outcome"], &result["manifests"]["pushed"]), (&"synced".into(), &25.into()), "{result}");
        let journal = world.destination.journal();
        // Here 10 uploads a second may begin and end too.
        for kind in [Kind::ManifestPut, Kind::UploadStart, Kind::UploadPut] {
            assert_eq!(journal.count_status(kind, 429), 0, "no {kind:?} was refused for coming too soon");
        }
        assert_eq!(journal.count(Kind::ManifestPut), 25);
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    })
    .await;
}
