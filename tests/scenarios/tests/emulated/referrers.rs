//! What is attached to an image comes along: signatures, SBOMs, attestations, and what is attached to those.

use emulator::{Action, Builder, Fault, Image, Index, Kind, Layer, Personality, Registry};
use scenarios::{Outcome, World};
use serde_json::json;

use crate::support::{delivered, eventually, failed, image_message, logged_results, pushed, replicated, watched};
use scenarios::attached::{Release, SBOM, SIGNATURE, SIMPLE_SIGNING, artifact, tag_of};
use scenarios::world::push_event;

const REPOSITORY: &str = "project/images/app";

/// Registries with the referrers API and without it.
fn kinds() -> [(Builder, bool); 4] {
    let plain = || Registry::builder(Personality::Plain);
    [
        (Registry::builder(Personality::Ecr), true),
        (plain(), true),
        (plain().referrers(false), false),
        (Registry::builder(Personality::Ghcr), false),
    ]
}

#[tokio::test]
async fn everything_arrives_from_and_to_registries_with_the_api_and_without() {
    watched(async {
        for from in 0..kinds().len() {
            for to in 0..kinds().len() {
                let (Some((source, from_api)), Some((destination, to_api))) =
                    (kinds().into_iter().nth(from), kinds().into_iter().nth(to))
                else {
                    panic!("there are as many kinds");
                };
                let destination = match to {
                    0 => destination.account("222233334444").region("eu-west-1"),
                    _ => destination,
                };
                let world = World::between(source, destination).await;
                let release = Release::new();
                release.push_to(world.source.store(), REPOSITORY, "v1", from_api);
                world.destination.store().create_repository(REPOSITORY);
                let mut function = world.function("fanout", &[]).await;
                let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
                let ends = (of(&world.source_host), of(&world.destination_host));
                let result = replicated(&world, &mut function, &ends.0, &ends.1).await;
                let pair = format!("from kind {from} to kind {to}: {result}");
                assert_eq!(result["outcome"], "synced", "{pair}");
                assert_eq!(result["referrers"], json!({"pushed": 4, "present": 0}), "{pair}");
                assert_eq!(result["retries"], 0, "{pair}");
                release.assert_arrived(world.destination.store(), REPOSITORY, "v1", to_api);

                world.forget();
                let again = replicated(&world, &mut function, &ends.0, &ends.1).await;
                assert_eq!(again["outcome"], "current", "{pair}");
                assert_eq!(again["referrers"], json!({"pushed": 0, "present": 4}), "{pair}: {again}");
                let journal = world.destination.journal();
                for kind in [Kind::UploadStart, Kind::ManifestPut, Kind::BlobHead] {
                    assert_eq!(journal.count(kind), 0, "{pair}: {kind:?}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_unchanged_image_costs_one_request_more_for_each_manifest_of_its_tree() {
    watched(async {
        let mut world = World::to(Personality::Plain, |plain| plain).await;
        let release = Release::new();
        release.push_to(world.source.store(), "team/app", "v1", true);
        let mut function = world.function("on-push", &[]).await;
        let digest = release.index.digest.clone();
        let first = pushed(&mut function, "team/app", "v1", &digest).await;
        assert_eq!((&first["outcome"], &first["referrers"]["pushed"]), (&json!("synced"), &json!(4)), "{first}");

        world.forget();
        let again = pushed(&mut function, "team/app", "v1", &digest).await;
        assert_eq!((&again["outcome"], &again["referrers"]["present"]), (&json!("current"), &json!(3)), "{again}");
        let (source, destination) = (world.source.journal(), world.destination.journal());
        assert_eq!(destination.len(), 1, "{:#?}", destination.entries());
        // All but the signature by tag, of which another event would tell.
        assert_eq!(source.count(Kind::Referrers), release.manifests() - 1);
        assert_eq!(source.len() + destination.len(), 2 + release.manifests() - 1, "{:#?}", source.entries());
        assert_eq!(again["requests"], json!({"source": source.len(), "destination": 1, "aws_api": 0}));

        // A process that knows nothing of the last one asks the destination once for each that has something attached.
        let mut fresh = world.function("on-push", &[]).await;
        world.forget();
        let again = pushed(&mut fresh, "team/app", "v1", &digest).await;
        assert_eq!(again["outcome"], "current");
        assert_eq!(world.destination.journal().count(Kind::Referrers), 3);
        assert_eq!(world.source.journal().count(Kind::Referrers), release.manifests() - 1);
        assert_eq!((world.source.journal().len(), world.destination.journal().len()), (release.manifests(), 4));

        // A message also looks for the signature by tag: the tag list, the tag at both ends, and what refers to it.
        let mut fanout = world.function("fanout", &[]).await;
        world.forget();
        let of = |host: &str, repository: &str| format!("{host}/{repository}:v1");
        let (from, to) = (of(&world.source_host, "team/app"), of(&world.destination_host, "mirror/team/app"));
        assert_eq!(replicated(&world, &mut fanout, &from, &to).await["outcome"], "current");
        assert_eq!(world.source.journal().count(Kind::Referrers), release.manifests());
        assert_eq!((world.source.journal().len(), world.destination.journal().len()), (release.manifests() + 3, 5));

        world.rule().insert("referrers".into(), false.into());
        let mut without = world.function("on-push", &[]).await;
        world.forget();
        assert_eq!(pushed(&mut without, "team/app", "v1", &digest).await["outcome"], "current");
        assert_eq!((world.source.journal().len(), world.destination.journal().len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn at_ecr_no_process_needs_more_than_one_request_more_for_each_manifest() {
    watched(async {
        let release = Release::new();
        let signed = Image::small(1);
        let signature = artifact(SIGNATURE, "a signature", &signed.descriptor());
        let mut world = World::ecr(|destination| destination).await;
        let store = world.source.store();
        release.push_to(store, "team/app", "v1", true);
        signed.push_to(store, "team/app", "v2");
        signature.push_to(store, "team/app", &signature.digest);
        world.destination.store().create_repository("mirror/team/app");
        let of = |host: &str, path: &str, tag: &str| format!("{host}/{path}:{tag}");

        for (tag, digest, manifests, attached, by_tag) in
            [("v1", &release.index.digest, release.manifests(), 4, 1), ("v2", &signed.digest, 2, 1, 0)]
        {
            world.rule().insert("referrers".into(), true.into());
            let mut function = world.function("on-push", &[]).await;
            let first = pushed(&mut function, "team/app", tag, digest).await;
            assert_eq!(first["referrers"]["pushed"], attached, "{first}");
            for mut process in [function, world.function("on-push", &[]).await] {
                world.forget();
                let again = pushed(&mut process, "team/app", tag, digest).await;
                assert_eq!(again["outcome"], "current", "{again}");
                // All but the signature by tag, of which another event would tell.
                assert_eq!(again["referrers"]["present"], attached - by_tag, "{again}");
                let source = world.source.journal();
                assert_eq!((source.count(Kind::ManifestGet), source.count(Kind::Referrers)), (1, manifests - by_tag));
                assert_eq!(source.len(), 1 + manifests - by_tag, "{:#?}", source.entries());
                let asked = world.destination.journal().len() + world.aws.count("ecr", "BatchGetImage");
                assert_eq!(asked, 1, "{:#?}", world.destination.journal().entries());
            }

            // A message asks for the tag list, too, and for cosign's signatures at the source.
            let mut fanout = world.function("fanout", &[]).await;
            let (from, to) =
                (of(&world.source_host, "team/app", tag), of(&world.destination_host, "mirror/team/app", tag));
            world.forget();
            let again = replicated(&world, &mut fanout, &from, &to).await;
            assert_eq!(again["outcome"], "current", "{again}");
            assert_eq!(again["referrers"]["present"], attached, "{again}");
            let source = world.source.journal();
            assert_eq!((source.count(Kind::TagsList), source.count(Kind::Referrers)), (1, manifests));
            assert_eq!(source.len(), 2 + manifests + by_tag, "{:#?}", source.entries());
            let asked = world.destination.journal().len() + world.aws.count("ecr", "BatchGetImage");
            assert_eq!(asked, 1, "{:#?}", world.destination.journal().entries());

            world.rule().insert("referrers".into(), false.into());
            let mut without = world.function("on-push", &[]).await;
            world.forget();
            assert_eq!(pushed(&mut without, "team/app", tag, digest).await["outcome"], "current");
            assert_eq!((world.source.journal().len(), world.destination.journal().len()), (1, 1));
            assert_eq!(world.aws.count("ecr", "BatchGetImage"), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_attached_later_is_added() {
    watched(async {
        for api in [true, false] {
            let world = World::to(Personality::Plain, |plain| plain.referrers(api)).await;
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let mut function = world.function("on-push", &[]).await;
            pushed(&mut function, "team/app", "v1", &image.digest).await;
            for number in 1..4_u32 {
                let signature = artifact(SIGNATURE, &format!("signature {number}"), &image.descriptor());
                signature.push_to(world.source.store(), "team/app", &signature.digest);
                let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
                assert_eq!(result["outcome"], "current");
                assert_eq!(result["referrers"], json!({"pushed": 1, "present": number - 1}), "{result}");
                let store = world.destination.store();
                scenarios::attached::assert_listed(store, "mirror/team/app", &signature, &image.digest, api);
            }
            assert_eq!(
                scenarios::attached::listed(world.destination.store(), "mirror/team/app", &image.digest).len(),
                if api { 0 } else { 3 }
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_signature_tag_that_has_moved_moves() {
    watched(async {
        let world = World::to(Personality::Plain, |plain| plain).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let tag = tag_of(&image.digest, ".sig");
        let signed = |text: &str| Image::builder().layer(Layer::from_bytes(SIMPLE_SIGNING, text.to_owned())).build();
        let host = &world.destination_host;
        let mut function = world.function("fanout", &[]).await;
        for text in ["one signature", "two signatures"] {
            let signature = signed(text);
            signature.push_to(world.source.store(), "team/app", &tag);
            let source = format!("{}/team/app:v1", world.source_host);
            let result = replicated(&world, &mut function, &source, &format!("{host}/mirror/team/app:v1")).await;
            assert_eq!(result["referrers"]["pushed"], 1, "{result}");
            assert_eq!(world.destination.store().tag("mirror/team/app", &tag), Some(signature.digest));
        }
    })
    .await;
}

#[tokio::test]
async fn types_are_chosen_by_rules_and_by_messages() {
    watched(async {
        let cases = [
            (json!(false), [false, false, false, false]),
            (json!({"include": [SBOM]}), [false, false, true, false]),
            (json!({"exclude": [SBOM]}), [true, true, false, false]),
            (json!({"include": ["application/vnd.dev.*"]}), [true, true, false, false]),
            (json!({"exclude": [SIMPLE_SIGNING]}), [false, true, true, true]),
        ];
        for (setting, arrive) in cases {
            let mut world = World::to(Personality::Plain, |plain| plain).await;
            let release = Release::new();
            release.push_to(world.source.store(), "team/app", "v1", true);
            let check = |world: &World, repository: &str| {
                let all = [&release.by_tag, &release.signature, &release.sbom, &release.sbom_signature];
                for (image, arrives) in all.into_iter().zip(arrive) {
                    let there = world.destination.store().manifest(repository, &image.digest).is_some();
                    assert_eq!(there, arrives, "{setting}: {}", String::from_utf8_lossy(&image.manifest));
                }
            };
            world.rule().insert("referrers".into(), setting.clone());
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, "team/app", "v1", &release.index.digest).await;
            assert_eq!(result["referrers"]["pushed"], arrive.iter().filter(|arrives| **arrives).count(), "{result}");
            check(&world, "mirror/team/app");

            let mut fanout = world.function("fanout", &[]).await;
            let body = json!({
                "source": format!("{}/team/app:v1", world.source_host),
                "destination": format!("{}/by/message:v1", world.destination_host),
                "referrers": setting,
            });
            delivered(&world, &mut fanout, &body.to_string()).await;
            check(&world, "by/message");
        }
    })
    .await;
}

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
