//! Signatures and SBOMs that come after their image: each event brings just the artifact, and its image where that is
//! not there yet.

use std::time::Duration;

use emulator::{Action, Descriptor, Fault, Image, Index, Kind, Layer};
use scenarios::{
    Outcome, World,
    attached::{SBOM, SIGNATURE, SIMPLE_SIGNING, artifact, tag_of},
    world::push_event,
};
use serde_json::{Value, json};

use crate::support::{LIMIT, delivered, eventually, logged_results, multi_platform, pushed, results, watched};

const MIRROR: &str = "mirror/team/app";

/// The event of an artifact's push, as the image's is, or as one of the type that is documented for referrers.
fn artifact_event(tag: &str, artifact: &Image, referrer: bool) -> Value {
    let mut event = push_event("team/app", tag, &artifact.digest);
    event["detail"]["artifact-media-type"] = json!(artifact.descriptor().artifact_type.unwrap_or_default());
    if referrer {
        event["detail-type"] = json!("ECR Referrer Action");
    }
    event
}

fn cosign_signature(text: &str) -> Image {
    Image::builder().layer(Layer::from_bytes(SIMPLE_SIGNING, text.to_owned())).build()
}

async fn signed_world() -> (World, Index) {
    let world = World::ecr(|destination| destination).await;
    let index = multi_platform(1, &["linux/amd64", "linux/arm64"]);
    index.push_to(world.source.store(), "team/app", "v1");
    world.destination.store().create_repository(MIRROR);
    (world, index)
}

fn child(index: &Index) -> Descriptor {
    let emulator::image::Child::Image(image) = &index.children[0] else { panic!("its children are images") };
    image.descriptor()
}

#[tokio::test]
async fn an_artifact_goes_where_its_image_is_and_nothing_else_moves() {
    watched(async {
        let (world, index) = signed_world().await;
        let mut function = world.function("on-push", &[]).await;
        pushed(&mut function, "team/app", "v1", &index.digest).await;
        let signature = artifact(SIGNATURE, "of the index", &index.descriptor());
        let sbom = artifact(SBOM, "of a child", &child(&index));
        let sbom_signature = artifact(SIGNATURE, "of the SBOM", &sbom.descriptor());
        for (artifact, referrer) in [(&signature, false), (&sbom, true), (&sbom_signature, false)] {
            artifact.push_to(world.source.store(), "team/app", &artifact.digest);
            world.forget();
            let result = results(&mut function, artifact_event("", artifact, referrer)).await.remove(0);
            assert_eq!(
                (&result["outcome"], &result["digest"]),
                (&json!("synced"), &json!(artifact.digest)),
                "{result}"
            );
            assert_eq!(result["referrers"], json!({"pushed": 1, "present": 0}), "{result}");
            assert_eq!(result["manifests"], json!({"pushed": 0, "present": 0}), "{result}");
            let store = world.destination.store();
            assert_eq!(store.manifest(MIRROR, &artifact.digest).unwrap().bytes, artifact.manifest);
            store.is_whole(MIRROR, &artifact.digest).unwrap();
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 1);
            // The empty configuration is there by the second one.
            let new = if artifact.digest == signature.digest { 2 } else { 1 };
            assert_eq!(world.destination.journal().count(Kind::UploadStart), new);
        }
        let again = results(&mut function, artifact_event("", &sbom, false)).await.remove(0);
        assert_eq!(again["outcome"], "current", "{again}");
    })
    .await;
}

#[tokio::test]
async fn a_signature_of_an_sbom_that_was_not_heard_of_brings_both() {
    watched(async {
        let (world, index) = signed_world().await;
        let mut function = world.function("on-push", &[]).await;
        pushed(&mut function, "team/app", "v1", &index.digest).await;
        let sbom = artifact(SBOM, "of a child", &child(&index));
        let signature = artifact(SIGNATURE, "of the SBOM", &sbom.descriptor());
        for artifact in [&sbom, &signature] {
            artifact.push_to(world.source.store(), "team/app", &artifact.digest);
        }
        let result = results(&mut function, artifact_event("", &signature, false)).await.remove(0);
        assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(signature.digest)), "{result}");
        assert_eq!(result["referrers"], json!({"pushed": 2, "present": 0}), "{result}");
        let order = world.destination.store().manifests_in_push_order(MIRROR);
        assert_eq!(order[order.len() - 2..], [sbom.digest, signature.digest]);
    })
    .await;
}

#[tokio::test]
async fn a_tag_of_cosigns_brings_the_signature_whatever_tags_the_rule_takes_and_makes() {
    watched(async {
        let (mut world, index) = signed_world().await;
        let host = world.destination_host.clone();
        world.rule().insert("tags".into(), json!({"include": ["v*"]}));
        world.rule().insert("destinations".into(), json!([format!("{host}/{MIRROR}:release-{{tag}}")]));
        let mut function = world.function("on-push", &[]).await;
        pushed(&mut function, "team/app", "v1", &index.digest).await;
        let tag = tag_of(&index.digest, ".sig");
        for text in ["one signature", "two signatures"] {
            let signature = cosign_signature(text);
            signature.push_to(world.source.store(), "team/app", &tag);
            let result = results(&mut function, artifact_event(&tag, &signature, false)).await.remove(0);
            assert_eq!(
                (&result["outcome"], &result["digest"]),
                (&json!("synced"), &json!(signature.digest)),
                "{result}"
            );
            let store = world.destination.store();
            assert_eq!(store.tag(MIRROR, &tag), Some(signature.digest.clone()));
            assert_eq!(store.tag(MIRROR, &format!("release-{tag}")), None);
        }
    })
    .await;
}

#[tokio::test]
async fn the_image_comes_first_where_it_is_not_there_yet() {
    watched(async {
        let (world, index) = signed_world().await;
        let signature = artifact(SIGNATURE, "of the index", &index.descriptor());
        let by_tag = cosign_signature("of the index");
        signature.push_to(world.source.store(), "team/app", &signature.digest);
        by_tag.push_to(world.source.store(), "team/app", &tag_of(&index.digest, ".sig"));
        let mut function = world.function("on-push", &[]).await;
        let result = results(&mut function, artifact_event("", &signature, false)).await.remove(0);
        assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(index.digest)), "{result}");
        assert_eq!(result["referrers"]["pushed"], 2, "{result}");
        let store = world.destination.store();
        assert_eq!(store.tag(MIRROR, "v1"), Some(index.digest.clone()));
        let order = store.manifests_in_push_order(MIRROR);
        let position = |digest: &str| order.iter().position(|other| other == digest).unwrap();
        assert!(position(&index.digest) < position(&signature.digest));
        assert!(position(&index.digest) < position(&by_tag.digest));
    })
    .await;
}

#[tokio::test]
async fn what_has_no_tag_goes_by_digest_and_its_subject_first_where_a_rule_says_so() {
    watched(async {
        let (mut world, _) = signed_world().await;
        world.rule().insert("untagged".into(), "by-digest".into());
        // What is attached has no scan, and needs none.
        world.rule().insert("scan_gate".into(), json!({ "severity": "HIGH" }));
        let image = Image::small(31);
        let signature = artifact(SIGNATURE, "of what has no tag", &image.descriptor());
        let chart =
            Image::builder().artifact("application/vnd.example.chart").layer(emulator::image::layer(9, 10)).build();
        for pushed in [&image, &signature, &chart] {
            pushed.push_to(world.source.store(), "team/app", &pushed.digest);
        }
        for scanned in [&image, &chart] {
            world.ecr.set_scan("team/app", &scanned.digest, "COMPLETE", Some(&[]));
        }
        let mut function = world.function("on-push", &[]).await;
        let result = results(&mut function, artifact_event("", &signature, false)).await.remove(0);
        assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(image.digest)), "{result}");
        let store = world.destination.store();
        let order = store.manifests_in_push_order(MIRROR);
        assert_eq!(order, [image.digest.clone(), signature.digest.clone()]);
        // Its own subject is there now.
        let again = results(&mut function, artifact_event("", &signature, false)).await.remove(0);
        assert_eq!((&again["outcome"], &again["digest"]), (&json!("current"), &json!(signature.digest)), "{again}");
        // What refers to nothing is an image like any other.
        let result = results(&mut function, artifact_event("", &chart, false)).await.remove(0);
        assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(chart.digest)), "{result}");
        assert!(store.tags(MIRROR).is_empty());
    })
    .await;
}

/// The event of a child's signature finds no child: the copy that is under way must bring it.
#[tokio::test]
async fn what_is_attached_while_the_image_is_copied_comes_with_it() {
    watched(async {
        for by_tag in [false, true] {
            let (world, index) = signed_world().await;
            let first = artifact(SIGNATURE, "of a child, before", &child(&index));
            let tag = tag_of(&index.digest, ".sig");
            first.push_to(world.source.store(), "team/app", &first.digest);
            cosign_signature("one").push_to(world.source.store(), "team/app", &tag);
            let slow = Fault::on(Kind::ManifestPut).then(Action::Delay(Duration::from_secs(2)));
            let slow = world.destination.faults().add(slow);
            let mut function = world.function("on-push", &[]).await;
            let mut other = world.function("on-push", &[]).await;
            let (late, two) =
                (artifact(SIGNATURE, "of a child, meanwhile", &child(&index)), cosign_signature("one and two"));
            let copy = pushed(&mut function, "team/app", "v1", &index.digest);
            let meanwhile = async {
                eventually("the image is on its way", || slow.count() == 1).await;
                if by_tag {
                    two.push_to(world.source.store(), "team/app", &tag);
                    return;
                }
                late.push_to(world.source.store(), "team/app", &late.digest);
                let result = results(&mut other, artifact_event("", &late, false)).await.remove(0);
                assert_eq!(result["outcome"], "ignored", "{result}");
            };
            let (result, ()) = tokio::join!(copy, meanwhile);
            assert_eq!(result["outcome"], "synced", "{result}");
            let store = world.destination.store();
            match by_tag {
                true => assert_eq!(store.tag(MIRROR, &tag), Some(two.digest.clone()), "the newest signatures"),
                false => assert!(store.manifest(MIRROR, &late.digest).is_some(), "{result}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_child_that_is_kept_gets_its_signature_late_under_a_rule_with_platforms() {
    watched(async {
        let (mut world, index) = signed_world().await;
        world.rule().insert("platforms".into(), json!(["linux/amd64"]));
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &index.digest).await["outcome"], "synced");
        let signature = artifact(SIGNATURE, "of the child that is kept", &child(&index));
        signature.push_to(world.source.store(), "team/app", &signature.digest);
        let result = results(&mut function, artifact_event("", &signature, false)).await.remove(0);
        assert_eq!((&result["outcome"], &result["referrers"]["pushed"]), (&json!("synced"), &json!(1)), "{result}");
        assert!(world.destination.store().manifest(MIRROR, &signature.digest).is_some());
        // What is attached to the whole index is about another one than the destination's.
        let of_index = artifact(SIGNATURE, "of the whole index", &index.descriptor());
        of_index.push_to(world.source.store(), "team/app", &of_index.digest);
        let result = results(&mut function, artifact_event("", &of_index, false)).await.remove(0);
        assert_eq!(result["referrers"]["pushed"], 0, "{result}");
        assert!(
            world.destination.store().manifest(MIRROR, &index.digest).is_none(),
            "nor does it bring the whole index"
        );
    })
    .await;
}

#[tokio::test]
async fn what_a_required_signature_held_back_comes_with_it() {
    watched(async {
        let (mut world, index) = signed_world().await;
        world.rule().insert("require_referrers".into(), json!([SIGNATURE]));
        let mut function = world.function("on-push", &[]).await;
        let first = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!(first["outcome"], "ignored", "{first}");
        assert_eq!(world.destination.store().tag(MIRROR, "v1"), None);
        let sbom = artifact(SBOM, "of the index", &index.descriptor());
        sbom.push_to(world.source.store(), "team/app", &sbom.digest);
        let second = results(&mut function, artifact_event("", &sbom, false)).await.remove(0);
        assert_eq!(second["outcome"], "ignored", "{second}");
        let signature = artifact(SIGNATURE, "of the index", &index.descriptor());
        signature.push_to(world.source.store(), "team/app", &signature.digest);
        let third = results(&mut function, artifact_event("", &signature, false)).await.remove(0);
        assert_eq!((&third["outcome"], &third["referrers"]["pushed"]), (&json!("synced"), &json!(2)), "{third}");
        assert_eq!(world.destination.store().tag(MIRROR, "v1"), Some(index.digest));
    })
    .await;
}

#[tokio::test]
async fn what_belongs_to_nothing_that_is_replicated_is_ignored_with_a_reason() {
    watched(async {
        let (mut world, index) = signed_world().await;
        world.rule().insert("tags".into(), json!({"include": ["release-*"]}));
        world.rule().insert("referrers".into(), json!({"exclude": [SBOM]}));
        let mut function = world.function("on-push", &[]).await;
        let signature = artifact(SIGNATURE, "of an image no rule takes", &index.descriptor());
        let of_child = artifact(SIGNATURE, "of a child of that", &child(&index));
        let sbom = artifact(SBOM, "of a type no rule takes", &index.descriptor());
        let alone =
            Image::builder().artifact("application/vnd.example.chart").layer(emulator::image::layer(9, 10)).build();
        let orphan = artifact(SIGNATURE, "of what is gone", &Image::small(77).descriptor());
        for (artifact, part) in [
            (&signature, "is not at the destination"),
            (&of_child, "is not at the destination"),
            (&sbom, "leaves out its type"),
            (&alone, "refers to no image"),
            (&orphan, "not at the source"),
        ] {
            artifact.push_to(world.source.store(), "team/app", &artifact.digest);
            let result = results(&mut function, artifact_event("", artifact, false)).await.remove(0);
            assert_eq!(result["outcome"], "ignored", "{result}");
            assert!(result["reason"].as_str().unwrap().contains(part), "{result}");
        }
        crate::support::assert_nothing_written(&world.destination);

        world.rule().insert("referrers".into(), json!(false));
        let mut function = world.function("on-push", &[]).await;
        world.forget();
        let result = results(&mut function, artifact_event("", &signature, false)).await.remove(0);
        assert!(result["reason"].as_str().unwrap().contains("no rule"), "{result}");
        assert_eq!((world.source.journal().len(), world.destination.journal().len()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn an_artifact_for_several_destinations_goes_through_the_queue() {
    watched(async {
        let (mut world, index) = signed_world().await;
        let host = world.destination_host.clone();
        let to = |place: &str| format!("{host}/{place}/{{repository}}");
        world.rule().insert("destinations".into(), json!([to("one"), to("two")]));
        let signature = artifact(SIGNATURE, "of the index", &index.descriptor());
        signature.push_to(world.source.store(), "team/app", &signature.digest);
        for place in ["one", "two"] {
            world.destination.store().create_repository(&format!("{place}/team/app"));
        }
        let queue = world.aws.sqs().create("work", Duration::from_secs(30));
        let env = [("TRANSSHIP_QUEUE_URL", queue.as_str())];
        let mut function = world.function("on-push", &env).await;
        let queued = results(&mut function, artifact_event("", &signature, false)).await;
        assert_eq!(queued.iter().filter(|result| result["outcome"] == "queued").count(), 2, "{queued:?}");
        let mut fanout = world.function("fanout", &env).await;
        let source = scenarios::EventSource::new(world.aws.sqs(), "work").timeout(LIMIT);
        for _ in 0..2 {
            let delivery = source.deliver(&mut fanout).await.expect("there are two messages");
            assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
        }
        for place in ["one", "two"] {
            let repository = format!("{place}/team/app");
            assert_eq!(world.destination.store().tag(&repository, "v1"), Some(index.digest.clone()));
            let referrers = world.destination.store().referrers(&repository, &index.digest);
            assert_eq!(referrers, std::slice::from_ref(&signature.digest));
        }
    })
    .await;
}

#[tokio::test]
async fn the_event_may_be_a_messages_body() {
    watched(async {
        let (world, index) = signed_world().await;
        let mut fanout = world.function("fanout", &[]).await;
        let signature = artifact(SIGNATURE, "of the index", &index.descriptor());
        signature.push_to(world.source.store(), "team/app", &signature.digest);
        let delivery = delivered(&world, &mut fanout, &artifact_event("", &signature, true).to_string()).await;
        assert_eq!(delivery.outcome, Outcome::Ok(json!({ "batchItemFailures": [] })));
        eventually("the image's result is logged", || logged_results(&fanout).len() == 2).await;
        assert_eq!(world.destination.store().referrers(MIRROR, &index.digest), std::slice::from_ref(&signature.digest));
    })
    .await;
}

/// Clients write a list under the subject's tag where they find no API; its push is an event like any other.
#[tokio::test]
async fn the_event_of_a_list_tells_what_came_of_what_it_names() {
    watched(async {
        let (world, index) = signed_world().await;
        let mut function = world.function("on-push", &[]).await;
        pushed(&mut function, "team/app", "v1", &index.digest).await;
        let signature = artifact(SIGNATURE, "of the index", &index.descriptor());
        scenarios::attached::attach(world.source.store(), "team/app", &signature, &index.digest, false);
        let tag = tag_of(&index.digest, "");
        let list = world.source.store().tag("team/app", &tag).unwrap();
        for (outcome, count) in
            [("synced", json!({"pushed": 1, "present": 0})), ("current", json!({"pushed": 0, "present": 1}))]
        {
            let result = results(&mut function, push_event("team/app", &tag, &list)).await.remove(0);
            assert_eq!((&result["outcome"], &result["referrers"]), (&json!(outcome), &count), "{result}");
            assert_eq!(result["digest"], index.digest, "the image that it is about");
        }
        let mut world = world;
        world.rule().insert("referrers".into(), json!({"include": [SBOM]}));
        let mut choosy = world.function("on-push", &[]).await;
        let result = results(&mut choosy, push_event("team/app", &tag, &list)).await.remove(0);
        assert_eq!(result["outcome"], "ignored", "{result}");
        assert!(result["reason"].as_str().unwrap().contains("names nothing that `referrers` takes"), "{result}");
    })
    .await;
}
