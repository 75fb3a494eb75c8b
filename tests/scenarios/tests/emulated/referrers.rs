//! What is attached to an image comes along: signatures, SBOMs, attestations, and what is attached to those.

use emulator::{Builder, Image, Kind, Layer, Personality, Registry};
use scenarios::World;
use serde_json::json;

use crate::support::{delivered, pushed, replicated, watched};
use scenarios::attached::{Release, SBOM, SIGNATURE, SIMPLE_SIGNING, artifact, tag_of};

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
