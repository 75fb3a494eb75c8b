//! A backfill with a destination of its own says itself how its images are synced, as a message of one image does.

use emulator::{Image, Kind, Personality};
use scenarios::{
    World,
    attached::{SBOM, SIGNATURE, artifact},
    world::SOURCE,
};
use serde_json::{Value, json};

use crate::{
    backfill::{assert_counts, backfilled, drained, enqueued, fanout},
    platforms::{REPOSITORY, attested, index_at},
    support::watched,
};

const OWN: &str = "own/app";

/// A world whose rule takes nothing of what the backfills here are of.
async fn world(to: Personality) -> World {
    let mut world = match to {
        Personality::Ecr => World::ecr(|destination| destination).await,
        _ => World::to(to, |destination| destination).await,
    };
    world.rule().insert("source".into(), json!({ "repository": "never" }));
    world.destination.store().create_repository(OWN);
    world
}

/// A backfill of the repository to a destination of its own, with these further fields.
fn order(world: &World, fields: &Value) -> Value {
    let mut order = json!({
        "repository": format!("{SOURCE}/{REPOSITORY}"),
        "destination": format!("{}/own/{{name}}", world.destination_host),
    });
    let fields = fields.as_object().unwrap().clone();
    order.as_object_mut().unwrap().extend(fields);
    order
}

#[tokio::test]
async fn what_it_says_goes_along_with_each_image() {
    watched(async {
        let world = world(Personality::Ecr).await;
        Image::small(1).push_to(world.source.store(), REPOSITORY, "v1");
        let mut function = fanout(&world).await;
        let fields = json!({
            "platforms": ["linux/arm64", "windows(10.0.17763)/amd64"],
            "referrers": { "exclude": [SBOM] },
            "require_referrers": [SIGNATURE],
            "existing_tag": "fail",
            "scan_gate": { "severity": "HIGH", "wait_minutes": 5 },
        });
        assert_counts(&backfilled(&world, &mut function, order(&world, &fields)).await, &[("enqueued", 1)]);
        let body = enqueued(&world).remove(0);
        for (field, value) in fields.as_object().unwrap() {
            assert_eq!(&body[field], value, "{field}: {body}");
        }
    })
    .await;
}

#[tokio::test]
async fn its_platforms_are_what_the_destination_is_compared_with() {
    watched(async {
        for to in [Personality::Ecr, Personality::Plain] {
            let world = world(to).await;
            let index = attested(1);
            for tag in ["v1", "latest"] {
                index.push_to(world.source.store(), REPOSITORY, tag);
            }
            let order = order(&world, &json!({ "platforms": ["linux/amd64"], "referrers": false }));
            let mut function = fanout(&world).await;
            let summary = backfilled(&world, &mut function, order.clone()).await;
            assert_counts(&summary, &[("matched", 2), ("missing", 2), ("enqueued", 1)]);
            drained(&world, &mut function).await;
            let store = world.destination.store();
            let (filtered, digest) = index_at(store, OWN, "v1");
            let kept = filtered["manifests"].as_array().unwrap();
            assert_eq!(kept.len(), 2, "the image and its attestation: {filtered}");
            assert_eq!(kept[0]["platform"]["architecture"], "amd64");
            assert_eq!(store.tag(OWN, "latest").as_ref(), Some(&digest));

            world.forget();
            let summary = backfilled(&world, &mut function, order.clone()).await;
            assert_counts(&summary, &[("matched", 2), ("current", 2), ("enqueued", 0)]);
            assert_eq!(world.source.journal().count(Kind::ManifestGet), 1);

            // The whole index is not what it asks for.
            index.push_to(store, OWN, "v1");
            let summary = backfilled(&world, &mut function, order).await;
            assert_counts(&summary, &[("current", 1), ("different", 1), ("enqueued", 1)]);
            drained(&world, &mut function).await;
            assert_eq!(store.tag(OWN, "v1"), Some(digest));
        }
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_it_keeps_is_not_enqueued_and_one_that_is_missing_is_kept_from_then_on() {
    watched(async {
        let world = world(Personality::Ecr).await;
        let (source, store) = (world.source.store(), world.destination.store());
        for tag in ["v1", "v2"] {
            Image::small(1).push_to(source, REPOSITORY, tag);
        }
        let other = Image::small(2);
        other.push_to(store, OWN, "v1");
        let mut function = fanout(&world).await;
        let summary = backfilled(&world, &mut function, order(&world, &json!({ "existing_tag": "keep" }))).await;
        assert_counts(&summary, &[("matched", 2), ("kept", 1), ("missing", 1), ("enqueued", 1)]);
        // Meanwhile somebody else has put it.
        other.push_to(store, OWN, "v2");
        drained(&world, &mut function).await;
        for tag in ["v1", "v2"] {
            assert_eq!(store.tag(OWN, tag).as_ref(), Some(&other.digest), "{tag}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_image_that_lacks_what_it_requires_is_not_copied() {
    watched(async {
        let world = world(Personality::Ecr).await;
        let (signed, unsigned) = (Image::small(1), Image::small(2));
        signed.push_to(world.source.store(), REPOSITORY, "signed");
        unsigned.push_to(world.source.store(), REPOSITORY, "unsigned");
        let signature = artifact(SIGNATURE, "a signature", &signed.descriptor());
        signature.push_to(world.source.store(), REPOSITORY, &signature.digest);
        let mut function = fanout(&world).await;
        let summary =
            backfilled(&world, &mut function, order(&world, &json!({ "require_referrers": [SIGNATURE] }))).await;
        assert_counts(&summary, &[("missing", 2), ("enqueued", 2)]);
        drained(&world, &mut function).await;
        let store = world.destination.store();
        assert_eq!(store.tag(OWN, "signed"), Some(signed.digest));
        assert_eq!(store.tag(OWN, "unsigned"), None);
        let letter = world.aws.sqs().messages("dead").pop().expect("it is a dead letter");
        assert_eq!(letter.attribute("error_type"), Some("ReferrerNotFound"));
    })
    .await;
}

#[tokio::test]
async fn without_a_destination_the_rules_say_how() {
    watched(async {
        let world = world(Personality::Ecr).await;
        let mut function = fanout(&world).await;
        for (field, value) in [("platforms", json!(["linux/amd64"])), ("existing_tag", json!("keep"))] {
            let mut order = json!({ "repository": format!("{SOURCE}/{REPOSITORY}") });
            order[field] = value;
            let summary = backfilled(&world, &mut function, order).await;
            assert_eq!(summary["error_type"], "InvalidEvent", "{summary}");
            let message = summary["error_message"].as_str().unwrap();
            assert!(message.contains(&format!("backfill.{field}: it needs backfill.destination")), "{message}");
        }
        let wrong = order(&world, &json!({ "platforms": ["amd64"] }));
        let summary = backfilled(&world, &mut function, wrong).await;
        assert!(summary["error_message"].as_str().unwrap().contains("backfill.platforms[0]"), "{summary}");
    })
    .await;
}
