//! ECR's 405: an artifact that it does not take is refused for good, and said so.

use emulator::{Action, Builder, Fault, Image, Index, Kind, Layer, image::raw_layer};
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

/// Sigstore's bundles had such a type until version 0.3; as a signature's, and as its layer's.
#[tokio::test]
async fn a_media_type_with_a_parameter_is_refused_for_good() {
    watch("a_media_type_with_a_parameter_is_refused_for_good", LIMIT, |_| async {
        let world = world(|destination| destination).await;
        let bundle = "application/vnd.dev.sigstore.bundle+json;version=0.2";
        let of_this_type = Image::builder().artifact(bundle).layer(raw_layer(1, 900)).build();
        let with_such_a_layer = Image::builder().layer(Layer::from_bytes(bundle, "a bundle")).build();
        let mut function = world.function("on-push", &[]).await;
        for (number, artifact) in [of_this_type, with_such_a_layer].iter().enumerate() {
            let tag = format!("v{number}");
            artifact.push_to(world.source.store(), REPOSITORY, &tag);
            world.forget();
            let refusal = Refusal::of(function.invoke(pushed(&tag, &artifact.digest), LIMIT).await);
            refusal.is("ManifestInvalid", &["405", "UNSUPPORTED", MIRROR, "ECR takes no manifest of this kind"]);
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
            assert!(world.destination.store().tags(MIRROR).is_empty());
        }
    })
    .await;
}
