//! Only some platforms of an index: what arrives, under which digest, and what a second run costs.

use std::time::Duration;

use emulator::{
    Action, Descriptor, Fault, Image, Index, Kind, Personality, Registry, Store,
    image::{Platform, raw_layer},
};
use scenarios::World;
use serde_json::{Value, json};

use crate::support::{
    assert_children_first, assert_nothing_written, delivered, eventually, failed, logged_results, pushed, watched,
};

pub(crate) const REPOSITORY: &str = "team/app";
pub(crate) const MIRROR: &str = "mirror/team/app";

/// Platforms of the index, with the Windows version of two.
const PLATFORMS: [(&str, Option<&str>); 6] = [
    ("linux/amd64", None),
    ("linux/arm64/v8", None),
    ("linux/arm/v7", None),
    ("linux/arm/v6", None),
    ("windows/amd64", Some("10.0.17763.6532")),
    ("windows/amd64", Some("10.0.20348.2849")),
];

/// An image of each of the platforms, and for each an attestation manifest, all annotated: as `buildx` and `manifest-tool`
/// make them together.
pub(crate) fn attested(seed: u64) -> Index {
    let mut builder = Index::builder().annotation("org.example.of", "the index");
    let images: Vec<Image> = (seed..)
        .zip(PLATFORMS)
        .map(|(seed, (platform, _))| Image::builder().platform(platform).layer(raw_layer(seed, 9_000)).build())
        .collect();
    for (image, (platform, os_version)) in images.iter().zip(PLATFORMS) {
        let os_version = os_version.map(str::to_owned);
        let platform = Platform { os_version, ..Platform::parse(platform) };
        let mut descriptor = Descriptor { platform: Some(platform), ..image.descriptor() };
        descriptor.annotations.insert("org.example.of".into(), image.digest.clone());
        builder = builder.child_as(image, descriptor);
    }
    for image in &images {
        let attestation = Image::builder().platform("unknown/unknown").label("of", &image.digest).build();
        let unknown = Some(Platform::parse("unknown/unknown"));
        let mut descriptor = Descriptor { platform: unknown, ..attestation.descriptor() };
        descriptor.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        descriptor.annotations.insert("vnd.docker.reference.digest".into(), image.digest.clone());
        builder = builder.child_as(&attestation, descriptor);
    }
    builder.build()
}

/// The index that a store has under a tag, and its digest.
pub(crate) fn index_at(store: &Store, repository: &str, tag: &str) -> (Value, String) {
    let digest = store.tag(repository, tag).expect("the tag is there");
    let manifest = store.manifest(repository, &digest).expect("the tag points to a manifest");
    (serde_json::from_slice(&manifest.bytes).expect("it is JSON"), digest)
}

/// A world whose rule has these platforms, and no referrers: they cost requests of their own.
pub(crate) async fn world(to: Personality, platforms: Value) -> World {
    let mut world = match to {
        Personality::Ecr => World::ecr(|destination| destination).await,
        _ => World::to(to, |destination| destination).await,
    };
    world.destination.store().create_repository(MIRROR);
    world.rule().insert("platforms".into(), platforms);
    world.rule().insert("referrers".into(), false.into());
    world
}

/// Asserts that the destination has these entries of the source's index, and all else of it as it was.
fn assert_filtered(world: &World, tag: &str, kept: &[usize]) -> String {
    let (whole, _) = index_at(world.source.store(), REPOSITORY, tag);
    let (filtered, digest) = index_at(world.destination.store(), MIRROR, tag);
    let mut expected = whole.clone();
    expected["manifests"] = kept.iter().map(|position| whole["manifests"][position].clone()).collect();
    assert_eq!(filtered, expected);
    world.destination.store().is_whole(MIRROR, tag).unwrap();
    let manifests = world.destination.store().manifests(MIRROR);
    assert_eq!(manifests.len(), kept.len() + 1, "nothing else came: {manifests:?}");
    digest
}

#[tokio::test]
async fn what_was_named_arrives_in_the_sources_order_with_its_attestations_and_is_current_then() {
    watched(async {
        for to in [Personality::Ecr, Personality::Plain] {
            let wanted = json!(["windows(10.0.17763)/amd64", "linux/arm64", "linux/x86_64"]);
            let world = world(to, wanted).await;
            let index = attested(1);
            index.push_to(world.source.store(), REPOSITORY, "v1");
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, REPOSITORY, "v1", &index.digest).await;
            let digest = assert_filtered(&world, "v1", &[0, 1, 4, 6, 7, 10]);
            assert_ne!(digest, index.digest);
            assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(digest)), "{result}");
            assert_eq!(result["source_digest"], json!(index.digest), "{result}");
            assert_eq!(result["manifests"], json!({ "pushed": 7, "present": 0 }), "{result}");
            assert_children_first(world.destination.store(), MIRROR, &digest);

            world.forget();
            let result = pushed(&mut function, REPOSITORY, "v1", &index.digest).await;
            assert_eq!((&result["outcome"], &result["digest"]), (&json!("current"), &json!(digest)), "{result}");
            assert_eq!(result["source_digest"], json!(index.digest), "{result}");
            assert_eq!(result["requests"], json!({ "source": 1, "destination": 1, "aws_api": 0 }), "{result}");
            let (source, destination) = (world.source.journal(), world.destination.journal());
            assert_eq!((source.count(Kind::ManifestGet), source.len()), (1, 1), "the index tells, and nothing else");
            assert_eq!((destination.count(Kind::ManifestHead), destination.len()), (1, 1));
        }
    })
    .await;
}

#[tokio::test]
async fn an_index_of_nothing_but_what_was_named_is_not_touched() {
    watched(async {
        let world = world(Personality::Ecr, json!(PLATFORMS.map(|(platform, _)| platform))).await;
        let index = attested(20);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, REPOSITORY, "v1", &index.digest).await;
        assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(index.digest)), "{result}");
        assert_eq!(result.get("source_digest"), None, "{result}");
        assert_eq!(world.destination.store().tag(MIRROR, "v1"), Some(index.digest));
    })
    .await;
}

#[tokio::test]
async fn where_nothing_matches_it_is_an_error_that_lists_what_there_is() {
    watched(async {
        let world = world(Personality::Ecr, json!(["linux/s390x", "linux/arm/v5"])).await;
        let index = attested(30);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let mut function = world.function("on-push", &[]).await;
        let event = scenarios::world::push_event(REPOSITORY, "v1", &index.digest);
        let (error_type, message) = failed(&mut function, event).await;
        assert_eq!(error_type, "PlatformNotFound", "{message}");
        let there = "linux/amd64, linux/arm64, linux/arm/v7, linux/arm/v6, windows(10.0.17763.6532)/amd64, \
                     windows(10.0.20348.2849)/amd64";
        for part in ["linux/s390x, linux/arm/v5", there, REPOSITORY, &index.digest, "`platforms`"] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(!message.contains("unknown"), "{message}");
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn a_whole_index_that_is_there_is_replaced_unless_it_is_to_be_kept() {
    watched(async {
        for (existing_tag, replaced) in [("overwrite", true), ("keep", false)] {
            let mut world = world(Personality::Ecr, json!(["linux/amd64"])).await;
            world.rule().insert("existing_tag".into(), existing_tag.into());
            let index = attested(40);
            index.push_to(world.source.store(), REPOSITORY, "v1");
            index.push_to(world.destination.store(), MIRROR, "v1");
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, REPOSITORY, "v1", &index.digest).await;
            let there = world.destination.store().tag(MIRROR, "v1").unwrap();
            assert_eq!(result["outcome"], if replaced { "synced" } else { "kept" }, "{result}");
            assert_eq!(there != index.digest, replaced);
            assert_eq!(result["bytes"]["written"], 0, "all of it is there: {result}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_may_not_move_is_current_where_it_holds_what_was_filtered() {
    watched(async {
        let mut world = world(Personality::Ecr, json!(["linux/amd64"])).await;
        world.rule().insert("existing_tag".into(), "fail".into());
        world.destination.store().set_immutable(MIRROR, true);
        let (old, new) = (attested(50), attested(60));
        old.push_to(world.source.store(), REPOSITORY, "v1");
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, REPOSITORY, "v1", &old.digest).await["outcome"], "synced");
        assert_eq!(pushed(&mut function, REPOSITORY, "v1", &old.digest).await["outcome"], "current");
        let held = world.destination.store().tag(MIRROR, "v1").unwrap();
        new.push_to(world.source.store(), REPOSITORY, "v1");
        let event = scenarios::world::push_event(REPOSITORY, "v1", &new.digest);
        let (error_type, message) = failed(&mut function, event).await;
        assert_eq!(error_type, "TagImmutable", "{message}");
        assert!(message.contains(&held), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_moves_meanwhile_ends_at_the_newest_and_tries_change_nothing() {
    watched(async {
        let world = world(Personality::Ecr, json!(["linux/arm/v6"])).await;
        let (old, new) = (attested(70), attested(80));
        old.push_to(world.source.store(), REPOSITORY, "v1");
        let refused = Fault::on(Kind::ManifestPut).times(2).then(Action::status(503));
        world.destination.faults().add(refused);
        world.source.faults().add(Fault::on(Kind::BlobGet).times(1).then(Action::Delay(Duration::from_millis(700))));
        let mut function = world.function("on-push", &[]).await;
        let moves = async {
            eventually("a blob is being read", || world.source.journal().count(Kind::BlobGet) > 0).await;
            new.push_to(world.source.store(), REPOSITORY, "v1");
        };
        let (result, ()) = tokio::join!(pushed(&mut function, REPOSITORY, "v1", &old.digest), moves);
        let (filtered, digest) = index_at(world.destination.store(), MIRROR, "v1");
        assert_eq!((&result["outcome"], &result["digest"]), (&json!("superseded"), &json!(digest)), "{result}");
        assert_eq!(result["source_digest"], json!(new.digest), "{result}");
        let (whole, _) = index_at(world.source.store(), REPOSITORY, "v1");
        assert_eq!(filtered["manifests"], json!([whole["manifests"][3], whole["manifests"][9]]));
        assert_eq!(pushed(&mut function, REPOSITORY, "v1", &new.digest).await["outcome"], "current");
    })
    .await;
}

#[tokio::test]
async fn a_message_may_name_platforms_and_those_of_a_rule_go_with_its_messages() {
    watched(async {
        let mut world = world(Personality::Ecr, json!(["linux/arm64", "linux/arm"])).await;
        let index = attested(90);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let of = |host: &str, repository: &str| format!("{host}/{repository}:v1");
        let destination = world.destination_host.clone();
        let host = world.source_host.clone();
        let mut fanout = world.function("fanout", &[]).await;
        let body = json!({
            "source": of(&host, REPOSITORY), "destination": of(&destination, MIRROR), "platforms": ["linux/arm/v6"],
        });
        delivered(&world, &mut fanout, &body.to_string()).await;
        eventually("the result is logged", || !logged_results(&fanout).is_empty()).await;
        let (filtered, digest) = index_at(world.destination.store(), MIRROR, "v1");
        assert_eq!(logged_results(&fanout)[0]["digest"], json!(digest));
        assert_eq!(filtered["manifests"][0]["platform"]["variant"], "v6");
        assert_eq!(filtered["manifests"].as_array().unwrap().len(), 2);

        // Two destinations: a message for each, which says what the rule does.
        let both = [MIRROR, "mirror/other"].map(|repository| format!("{destination}/{repository}"));
        world.rule().insert("destinations".into(), json!(both));
        world.destination.store().create_repository("mirror/other");
        let queue = world.aws.sqs().create("queued", Duration::from_secs(30));
        let mut function = world.function("on-push", &[("TRANSSHIP_QUEUE_URL", &queue)]).await;
        let event = scenarios::world::push_event(REPOSITORY, "v1", &index.digest);
        assert_eq!(crate::support::results(&mut function, event).await.len(), 2);
        for message in world.aws.sqs().messages("queued") {
            let body: Value = serde_json::from_str(&message.body).unwrap();
            assert_eq!(body["platforms"], json!(["linux/arm64", "linux/arm/v7"]), "{body}");
            delivered(&world, &mut fanout, &message.body).await;
        }
        for repository in [MIRROR, "mirror/other"] {
            let (filtered, _) = index_at(world.destination.store(), repository, "v1");
            let (whole, _) = index_at(world.source.store(), REPOSITORY, "v1");
            let kept = [1, 2, 7, 8].map(|position| whole["manifests"][position].clone());
            assert_eq!(filtered["manifests"], json!(kept), "{repository}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_destination_that_is_a_digest_goes_with_no_platforms() {
    watched(async {
        let world = World::between(Registry::builder(Personality::Plain), Registry::builder(Personality::Plain)).await;
        let index = attested(100);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let mut fanout = world.function("fanout", &[]).await;
        let of = |host: &str| format!("{host}/{REPOSITORY}@{}", index.digest);
        let (source, destination) = (of(&world.source_host), of(&world.destination_host));
        let body = json!({ "source": source, "destination": destination, "platforms": ["linux/amd64"] });
        let delivery = delivered(&world, &mut fanout, &body.to_string()).await;
        assert_eq!(delivery.kept.len(), 1, "{delivery:?}");
        let said =
            || fanout.lines().iter().any(|line| line.contains("InvalidReference") && line.contains("name a tag"));
        eventually("the reason is logged", said).await;
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn what_is_attached_to_an_image_that_is_kept_comes_along_and_what_is_required_is_asked_of_the_whole_index() {
    watched(async {
        let mut world = world(Personality::Plain, json!(["linux/arm64"])).await;
        world.rule().insert("require_referrers".into(), json!(["application/vnd.example.signature"]));
        world.rule().insert("referrers".into(), true.into());
        let index = attested(110);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let attach = |artifact_type: &str, subject: &Descriptor| {
            let artifact = Image::builder().artifact(artifact_type).subject(subject).build();
            artifact.push_to(world.source.store(), REPOSITORY, &artifact.digest)
        };
        let of_image = |position: usize| match &index.children[position] {
            emulator::image::Child::Image(image) => image.descriptor(),
            emulator::image::Child::Index(index) => index.descriptor(),
        };
        let (kept, left) =
            (attach("application/spdx+json", &of_image(1)), attach("application/spdx+json", &of_image(0)));
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, REPOSITORY, "v1", &index.digest).await;
        assert_eq!(result["outcome"], "ignored", "{result}");
        assert!(result["reason"].as_str().unwrap().contains(&index.digest), "the whole index lacks it: {result}");
        assert_nothing_written(&world.destination);

        let signature = attach("application/vnd.example.signature", &index.descriptor());
        for outcome in ["synced", "current"] {
            let result = pushed(&mut function, REPOSITORY, "v1", &index.digest).await;
            assert_eq!(result["outcome"], outcome, "{result}");
            let store = world.destination.store();
            assert!(store.manifest(MIRROR, &kept).is_some(), "{result}");
            assert!(store.manifest(MIRROR, &left).is_none() && store.manifest(MIRROR, &signature).is_none());
        }
    })
    .await;
}
