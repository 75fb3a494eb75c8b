//! `require_referrers` holds whatever `referrers` copies, and whoever says so: a rule, another one, or a message.

use emulator::{Image, Layer, Personality, Registry};
use scenarios::{
    Function, World,
    attached::{SBOM, SIGNATURE, SIMPLE_SIGNING, artifact, tag_of},
};
use serde_json::{Value, json};

use crate::support::{assert_nothing_written, delivered, eventually, logged_results, pushed, watched};

const MIRROR: &str = "mirror/team/app";

async fn world(rules: &[Value]) -> (World, Image) {
    let mut world = World::to(Personality::Plain, |plain| plain).await;
    let rule = world.config["rules"][0].clone();
    let merged = rules.iter().map(|more| {
        let mut rule = rule.clone();
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    });
    world.config["rules"] = merged.collect();
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

fn attach(world: &World, artifact_type: &str, image: &Image) {
    let attached = artifact(artifact_type, artifact_type, &image.descriptor());
    attached.push_to(world.source.store(), "team/app", &attached.digest);
}

/// The result of a message for the image with these fields.
async fn sent(world: &World, fanout: &mut Function, fields: &Value) -> Value {
    let mut body = json!({ "source": format!("{}/team/app:v1", world.source_host) });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let before = logged_results(fanout).len();
    delivered(world, fanout, &body.to_string()).await;
    eventually("the result is logged", || logged_results(fanout).len() > before).await;
    logged_results(fanout).pop().unwrap()
}

#[tokio::test]
async fn no_message_gets_around_what_is_required() {
    watched(async {
        let (world, image) = world(&[json!({ "require_referrers": [SIGNATURE, "application/spdx*"] })]).await;
        let both = format!("{}/{MIRROR}:v1", world.destination_host);
        let messages = [
            json!({ "referrers": false }),
            json!({ "require_referrers": [] }),
            json!({ "referrers": { "include": ["text/plain"] }, "require_referrers": [] }),
            json!({ "destination": both, "referrers": false, "require_referrers": [SIGNATURE, "application/spdx*"] }),
        ];
        let mut fanout = world.function("fanout", &[]).await;
        for (attached, missing) in [(SBOM, &["application/spdx*", SIGNATURE][..]), (SIGNATURE, &[SIGNATURE])] {
            for message in &messages {
                let result = sent(&world, &mut fanout, message).await;
                assert_eq!(result["error_type"], "ReferrerNotFound", "{message}: {result}");
                let text = result["error_message"].as_str().unwrap();
                for of in [SIGNATURE, "application/spdx*"] {
                    assert_eq!(text.contains(&format!("`{of}`")), missing.contains(&of), "{message}: {text}");
                }
            }
            attach(&world, attached, &image);
        }
        assert_nothing_written(&world.destination);
        for (message, copied) in messages.iter().zip([0, 2, 0, 0]) {
            let result = sent(&world, &mut fanout, message).await;
            assert_eq!(result["outcome"], "synced", "{message}: {result}");
            assert_eq!(result["referrers"]["pushed"], copied, "what is copied is another matter: {message}: {result}");
            world.destination.store().remove_repository(MIRROR);
        }
    })
    .await;
}

/// The first rule for a destination says how, and the second still requires.
#[tokio::test]
async fn what_a_second_rule_requires_counts_whatever_the_first_one_copies() {
    watched(async {
        for first in [json!({ "referrers": false }), json!({ "referrers": { "include": [SBOM] } })] {
            let (world, image) = world(&[first.clone(), json!({ "require_referrers": [SIGNATURE] })]).await;
            let mut function = world.function("on-push", &[]).await;
            attach(&world, SBOM, &image);
            let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
            assert_eq!(result["outcome"], "ignored", "{first}: {result}");
            assert!(result["reason"].as_str().unwrap().contains(SIGNATURE), "{first}: {result}");
            assert_nothing_written(&world.destination);
            attach(&world, SIGNATURE, &image);
            let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
            assert_eq!(result["outcome"], "synced", "{first}: {result}");
            let copied = usize::from(first["referrers"].is_object());
            assert_eq!(result["referrers"]["pushed"], copied, "{first}: {result}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_required_is_found_by_lists_in_place_of_the_api_and_by_cosigns_tags() {
    watched(async {
        let plain = || Registry::builder(Personality::Plain).referrers(false);
        let world = World::between(plain(), plain()).await;
        let mut fanout = world.function("fanout", &[]).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let signature = Image::builder().layer(Layer::from_bytes(SIMPLE_SIGNING, "signed")).build();
        let message = json!({
            "destination": format!("{}/{MIRROR}:v1", world.destination_host),
            "referrers": false,
            "require_referrers": [SIMPLE_SIGNING, SBOM],
        });
        let text = |result: &Value| result["error_message"].as_str().unwrap_or_default().to_owned();
        // What it lists refers to another image.
        let stray = artifact(SBOM, "of another", &Image::small(2).descriptor());
        stray.push_to(world.source.store(), "team/app", &stray.digest);
        let list = |of: &Image| emulator::Index::builder().child_as(of, of.descriptor()).build();
        let tag = image.digest.replace(':', "-");
        list(&stray).push_to(world.source.store(), "team/app", &tag);
        let result = sent(&world, &mut fanout, &message).await;
        assert!(text(&result).contains(SBOM) && text(&result).contains(SIMPLE_SIGNING), "{result}");
        let sbom = artifact(SBOM, "of the image", &image.descriptor());
        sbom.push_to(world.source.store(), "team/app", &sbom.digest);
        list(&sbom).push_to(world.source.store(), "team/app", &tag);
        let result = sent(&world, &mut fanout, &message).await;
        assert!(!text(&result).contains(SBOM) && text(&result).contains(SIMPLE_SIGNING), "{result}");
        assert_nothing_written(&world.destination);
        signature.push_to(world.source.store(), "team/app", &tag_of(&image.digest, ".sig"));
        let result = sent(&world, &mut fanout, &message).await;
        assert_eq!((&result["outcome"], &result["referrers"]["pushed"]), (&json!("synced"), &json!(0)), "{result}");
    })
    .await;
}

#[tokio::test]
async fn only_a_requirement_that_is_never_copied_is_a_mistake() {
    watched(async {
        let include = |of: &str| json!({ "referrers": { "include": [of] }, "require_referrers": ["application/*"] });
        let (fits, _) = world(&[include("application/spdx+json")]).await;
        fits.function("on-push", &[]).await.ready().await.unwrap();
        let (never, _) = world(&[include("text/plain")]).await;
        let mistake = format!("{:?}", never.function("on-push", &[]).await.ready().await.unwrap_err());
        assert!(mistake.contains("`referrers` leaves it out"), "{mistake}");
    })
    .await;
}
