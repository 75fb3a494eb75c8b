//! What is attached and could not be copied, or is required and not there: said, and made good by another try.

use emulator::{Action, Fault, Image, Index, Kind, Layer, Personality};
use scenarios::{Outcome, World};
use serde_json::json;

use crate::support::{delivered, eventually, failed, image_message, logged_results, pushed, replicated, watched};
use scenarios::attached::{SBOM, SIGNATURE, SIMPLE_SIGNING, artifact, tag_of};
use scenarios::world::push_event;

/// A plain destination, or ECR, which is asked in another way.
async fn plain_or_ecr(number: usize) -> World {
    let world = match number {
        0 => World::to(Personality::Plain, |plain| plain).await,
        _ => World::ecr(|destination| destination).await,
    };
    world.destination.store().create_repository("mirror/team/app");
    world
}

#[tokio::test]
async fn a_source_whose_lists_fail_is_not_asked_for_all_of_them() {
    watched(async {
        let mut world = plain_or_ecr(1).await;
        world.config["limits"] = json!({ "max_attempts": 2 });
        let images: Vec<_> = (1..25).map(Image::small).collect();
        let index = Index::of(&images.iter().collect::<Vec<_>>());
        index.push_to(world.source.store(), "team/app", "v1");
        world.source.faults().add(Fault::on(Kind::Referrers).forever().then(Action::status(503)));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &index.digest)).await;
        assert_eq!(error_type, "Unavailable", "{message}");
        assert!(message.contains("is in place"), "{message}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        // Those that are asked for at once, before and when it is needed.
        let asked = world.source.journal().count(Kind::Referrers);
        assert!(asked <= 2 * 2 * 8, "{asked} requests for lists of {} manifests", index.children.len() + 1);
    })
    .await;
}

#[tokio::test]
async fn a_failure_leaves_the_image_in_place_says_so_and_may_be_tried_again() {
    watched(async {
        let faults: [(bool, Fault); 3] = [
            (true, Fault::on(Kind::Referrers).forever().then(Action::status(503))),
            (false, Fault::on(Kind::ManifestPut).path("manifests/sha256").forever().then(Action::status(503))),
            (false, Fault::on(Kind::ManifestPut).path(".sig").forever().then(Action::status(500))),
        ];
        for (number, (at_source, fault)) in faults.into_iter().flat_map(|each| [each.clone(), each]).enumerate() {
            let mut world = plain_or_ecr(number % 2).await;
            world.config["limits"] = json!({ "max_attempts": 2 });
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let signature = artifact(SIGNATURE, "a signature", &image.descriptor());
            signature.push_to(world.source.store(), "team/app", &signature.digest);
            signature.push_to(world.source.store(), "team/app", &tag_of(&image.digest, ".sig"));
            let registry = if at_source { &world.source } else { &world.destination };
            registry.faults().add(fault);
            let mut function = world.function("on-push", &[]).await;
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "Unavailable", "{message}");
            let in_place =
                format!("the image {} is in place at {}/mirror/team/app:v1", image.digest, world.destination_host);
            assert!(message.contains(&in_place), "{message}");
            assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), Some(image.digest.clone()));
            world.destination.store().is_whole("mirror/team/app", "v1").unwrap();

            registry.faults().clear();
            let mut fanout = world.function("fanout", &[]).await;
            let source = format!("{}/team/app:v1", world.source_host);
            let destination = format!("{}/mirror/team/app:v1", world.destination_host);
            let result = replicated(&world, &mut fanout, &source, &destination).await;
            assert_eq!(result["outcome"], "current", "{result}");
            assert_eq!(
                world.destination.store().referrers("mirror/team/app", &image.digest),
                std::slice::from_ref(&signature.digest)
            );
            let tagged = world.destination.store().tag("mirror/team/app", &tag_of(&image.digest, ".sig"));
            assert_eq!(tagged, Some(signature.digest.clone()));
        }
    })
    .await;
}

/// Lambda runs a failed event again after a minute, and anybody at any time.
#[tokio::test]
async fn an_event_that_comes_again_at_once_brings_what_failed() {
    watched(async {
        for kind in 0..2 {
            let mut world = plain_or_ecr(kind).await;
            world.config["limits"] = json!({ "max_attempts": 1 });
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let signature = artifact(SIGNATURE, "a signature", &image.descriptor());
            let tag = tag_of(&image.digest, ".sig");
            signature.push_to(world.source.store(), "team/app", &tag);
            world
                .destination
                .faults()
                .add(Fault::on(Kind::ManifestPut).path(".sig").forever().then(Action::status(500)));
            let mut function = world.function("on-push", &[]).await;
            let event = push_event("team/app", "v1", &image.digest);
            failed(&mut function, event.clone()).await;
            world.destination.faults().clear();
            assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "current");
            let tagged = world.destination.store().tag("mirror/team/app", &tag);
            assert_eq!(tagged, Some(signature.digest.clone()));

            // Once it is done, what cosign has tagged comes by events of its own again.
            world.forget();
            pushed(&mut function, "team/app", "v1", &image.digest).await;
            assert_eq!(world.source.journal().count(Kind::TagsList), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_whose_referrers_failed_comes_again() {
    watched(async {
        let mut world = World::to(Personality::Plain, |plain| plain).await;
        world.config["limits"] = json!({ "max_attempts": 1 });
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        world.source.faults().add(Fault::on(Kind::Referrers).then(Action::status(503)));
        let mut function = world.function("fanout", &[]).await;
        let (source, destination) = (&world.source_host, &world.destination_host);
        let body = image_message(format!("{source}/team/app:v1"), format!("{destination}/mirror/team/app:v1"));
        let delivery = delivered(&world, &mut function, &body).await;
        assert_eq!(delivery.kept.len(), 1, "{delivery:?}");
        eventually("the failure is logged", || !logged_results(&function).is_empty()).await;
        let result = logged_results(&function).remove(0);
        assert_eq!((&result["outcome"], &result["error_type"]), (&json!("failed"), &json!("Unavailable")));
        assert_eq!(result["manifests"]["pushed"], 1);
    })
    .await;
}

/// A letter that is moved back is a new message: it has been received once, and says that it comes of a push.
#[tokio::test]
async fn a_letter_that_is_moved_back_brings_what_is_attached_by_a_tag() {
    watched(async {
        let world = World::to(Personality::Plain, |plain| plain).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        image.push_to(world.destination.store(), "mirror/team/app", "v1");
        let tag = tag_of(&image.digest, ".sig");
        let signature = Image::builder().layer(Layer::from_bytes(SIMPLE_SIGNING, "signed")).build();
        signature.push_to(world.source.store(), "team/app", &tag);
        let mut fanout = world.function("fanout", &[]).await;
        let an_hour_ago =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() - 3_600_000;
        let body = json!({
            "version": 1,
            "source": format!("{}/team/app:v1", world.source_host),
            "destination": format!("{}/mirror/team/app:v1", world.destination_host),
            "pushed_at_ms": u64::try_from(an_hour_ago).unwrap(),
            "heard": true,
        });
        assert!(delivered(&world, &mut fanout, &body.to_string()).await.kept.is_empty());
        assert_eq!(world.destination.store().tag("mirror/team/app", &tag), Some(signature.digest));
    })
    .await;
}

async fn required_and_not_attached(mut world: World) {
    world.rule().insert("require_referrers".into(), json!([SIGNATURE, "application/spdx*"]));
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    let mut function = world.function("on-push", &[]).await;
    for (artifact_type, missing) in [(SIGNATURE, SIGNATURE), (SBOM, "application/spdx*")] {
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!(result["outcome"], "ignored", "{result}");
        assert!(result["reason"].as_str().unwrap().contains(&format!("`{missing}`")), "{result}");
        assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), None);
        assert_eq!(world.destination.journal().count(Kind::UploadStart), 0);
        let attached = artifact(artifact_type, artifact_type, &image.descriptor());
        attached.push_to(world.source.store(), "team/app", &attached.digest);
    }
    let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
    assert_eq!((&result["outcome"], &result["referrers"]["pushed"]), (&json!("synced"), &json!(2)), "{result}");

    // A message is no event that another one follows.
    let mut fanout = world.function("fanout", &[]).await;
    let bare = Image::small(2);
    bare.push_to(world.source.store(), "team/app", "v2");
    let body = json!({ "source": format!("{}/team/app:v2", world.source_host) });
    let delivery = delivered(&world, &mut fanout, &body.to_string()).await;
    assert!(matches!(delivery.outcome, Outcome::Ok(_)));
    eventually("the failure is logged", || !logged_results(&fanout).is_empty()).await;
    assert_eq!(logged_results(&fanout)[0]["error_type"], "ReferrerNotFound");
}

#[tokio::test]
async fn what_is_required_and_not_attached_keeps_the_image_back() {
    watched(async {
        for number in [0, 1] {
            required_and_not_attached(plain_or_ecr(number).await).await;
        }
    })
    .await;
}
