//! ECR's 405: an artifact that it does not take is refused for good, and said so.

use emulator::{Action, Builder, Fault, Image, Index, Kind, image::raw_layer};
use scenarios::{World, watchdog::watch};

use crate::ground::{LIMIT, MIRROR, REPOSITORY, Refusal, assert_no_secret_is_told, pushed, synced};

async fn world(change: impl FnOnce(Builder) -> Builder) -> World {
    let world = World::ecr(change).await;
    world.destination.store().create_repository(MIRROR);
    world
}

#[tokio::test]
async fn an_artifact_that_ecr_does_not_take_is_put_once_and_refused_for_good() {
    watch("an_artifact_that_ecr_does_not_take_is_put_once_and_refused_for_good", LIMIT, |_| async {
        let world = world(|destination| destination.refuse_artifacts("application/vnd.example.sbom")).await;
        let artifact = Image::builder().artifact("application/vnd.example.sbom").layer(raw_layer(1, 900)).build();
        artifact.push_to(world.source.store(), REPOSITORY, "sbom");
        let mut function = world.function("on-push", &[]).await;
        let refusal = Refusal::of(function.invoke(pushed("sbom", &artifact.digest), LIMIT).await);
        let parts = ["405", "UNSUPPORTED", "222233334444.dkr.ecr", MIRROR, "ECR takes no manifest of this kind"];
        refusal.is("ManifestInvalid", &parts);
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
        assert!(world.destination.store().tags(MIRROR).is_empty());
        assert_no_secret_is_told(&function, &[]);
    })
    .await;
}

#[tokio::test]
async fn a_405_without_a_word_is_as_final_and_keeps_the_index_back() {
    watch("a_405_without_a_word_is_as_final_and_keeps_the_index_back", LIMIT, |_| async {
        let world = world(|destination| destination).await;
        let image = Image::small(1);
        let index = Index::of(&[&image]);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        world.destination.faults().add(Fault::on(Kind::ManifestPut).forever().then(Action::status(405)));
        let mut function = world.function("on-push", &[]).await;
        let refusal = Refusal::of(function.invoke(pushed("v1", &index.digest), LIMIT).await);
        refusal
            .is("ManifestInvalid", &["putting manifest", &image.digest, "405", "ECR takes no manifest of this kind"]);
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
        world.destination.faults().clear();
        synced(&mut function, pushed("v1", &index.digest)).await;
    })
    .await;
}
