//! Lists of referrers that are not what they should be: cut short, of another type, with entries that can't be read.

use std::time::Duration;

use emulator::{Action, Builder, Fault, Image, Kind, Personality, Registry, Store, image::OCI_INDEX};
use scenarios::{Function, World};
use serde_json::{Value, json};

use crate::support::{delivered, eventually, image_message, logged_results, multi_platform, replicated, watched};
use scenarios::attached::{SBOM, SIGNATURE, artifact, assert_listed, attach, listed, tag_of};

const REPOSITORY: &str = "team/app";

fn plain() -> Builder {
    Registry::builder(Personality::Plain)
}

fn ends(world: &World, tag: &str) -> (String, String) {
    let of = |host: &str| format!("{host}/{REPOSITORY}:{tag}");
    (of(&world.source_host), of(&world.destination_host))
}

async fn copied(world: &World, function: &mut Function, tag: &str) -> Value {
    let (from, to) = ends(world, tag);
    replicated(world, function, &from, &to).await
}

#[tokio::test]
async fn a_list_that_ends_in_an_error_is_not_taken_for_one_of_a_registry_without_the_api() {
    watched(async {
        let page = |code: u16| Action::Status {
            code,
            headers: vec![("Content-Type".into(), "text/html".into())],
            body: "<html>Not here</html>".into(),
        };
        for code in [404, 400, 405, 501, 200] {
            let mut world = World::between(plain().referrers_page(1), plain()).await;
            world.config["limits"] = json!({ "max_attempts": 1 });
            let image = Image::small(1);
            image.push_to(world.source.store(), REPOSITORY, "v1");
            for text in ["one", "two"] {
                let signature = artifact(SIGNATURE, text, &image.descriptor());
                attach(world.source.store(), REPOSITORY, &signature, &image.digest, true);
            }
            world.source.faults().add(Fault::on(Kind::Referrers).path("last=").then(page(code)));
            let mut function = world.function("fanout", &[]).await;
            let (from, to) = ends(&world, "v1");
            let delivery = delivered(&world, &mut function, &image_message(from, to)).await;
            assert_eq!(delivery.kept.len(), 1, "{code}: {delivery:?}");
            eventually("the failure is logged", || !logged_results(&function).is_empty()).await;
            let result = logged_results(&function).remove(0);
            assert_eq!(result["error_type"], "Unavailable", "{code}: {result}");
            assert_eq!(world.destination.store().tag(REPOSITORY, "v1"), Some(image.digest.clone()), "it is in place");

            let again = copied(&world, &mut function, "v1").await;
            assert_eq!(again["referrers"]["pushed"], 2, "{code}: {again}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_404_does_not_make_a_registry_that_has_answered_lists_one_without_the_api() {
    watched(async {
        let world = World::between(plain(), plain()).await;
        let mut function = world.function("fanout", &[]).await;
        let mut signed = Vec::new();
        for seed in 0..3 {
            let (tag, image) = (format!("v{seed}"), Image::small(seed));
            image.push_to(world.source.store(), REPOSITORY, &tag);
            let signature = artifact(SIGNATURE, &tag, &image.descriptor());
            attach(world.source.store(), REPOSITORY, &signature, &image.digest, true);
            signed.push((tag, image, signature));
        }
        assert_eq!(copied(&world, &mut function, &signed[0].0).await["referrers"]["pushed"], 1);
        world.source.faults().add(Fault::on(Kind::Referrers).then(Action::status(404)));
        copied(&world, &mut function, &signed[1].0).await;
        assert_eq!(world.source.faults().fired(), 1);
        let (tag, image, signature) = &signed[2];
        let result = copied(&world, &mut function, tag).await;
        assert_eq!(result["referrers"]["pushed"], 1, "{result}");
        assert_listed(world.destination.store(), REPOSITORY, signature, &image.digest, true);
    })
    .await;
}

#[tokio::test]
async fn a_registry_without_the_api_is_asked_for_it_once_however_many_manifests_there_are() {
    watched(async {
        let world = World::between(plain().referrers(false), plain().referrers(false)).await;
        let index = multi_platform(1, &["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386"]);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let signature = artifact(SIGNATURE, "mine", &index.descriptor());
        attach(world.source.store(), REPOSITORY, &signature, &index.digest, false);
        for (outcome, lists) in [("synced", 1), ("current", 1)] {
            // A new process knows nothing.
            let mut function = world.function("fanout", &[]).await;
            world.forget();
            let result = copied(&world, &mut function, "v1").await;
            assert_eq!(result["outcome"], outcome, "{result}");
            assert_eq!(world.source.journal().count(Kind::Referrers), lists, "{outcome}");
        }
        assert_listed(world.destination.store(), REPOSITORY, &signature, &index.digest, false);
    })
    .await;
}

#[tokio::test]
async fn a_list_counts_whatever_type_it_is_said_to_have() {
    watched(async {
        for content_type in ["text/plain; charset=utf-8", "application/octet-stream"] {
            let odd = || plain().referrers_type(content_type).name_subjects(false);
            let world = World::between(odd(), odd()).await;
            let image = Image::small(1);
            image.push_to(world.source.store(), REPOSITORY, "v1");
            let signature = artifact(SIGNATURE, "mine", &image.descriptor());
            attach(world.source.store(), REPOSITORY, &signature, &image.digest, true);
            let mut function = world.function("fanout", &[]).await;
            let result = copied(&world, &mut function, "v1").await;
            assert_eq!(result["referrers"]["pushed"], 1, "{content_type}: {result}");
            assert_listed(world.destination.store(), REPOSITORY, &signature, &image.digest, true);
        }
    })
    .await;
}

/// Entries as somebody wrote them who did not read the specification.
fn odd_entries(image: &Image) -> String {
    let theirs = artifact(SBOM, "theirs", &image.descriptor());
    let digest = &theirs.digest;
    format!(
        r#"{{ "mediaType":"{}", "size":-1, "digest":"{digest}" }} , {{"digest":"{digest}"}},  {{"digest":"md5:0123","size":1e1}},{{"no":"digest"}}"#,
        theirs.media_type
    )
}

fn put_odd_list(store: &Store, image: &Image, sound: &[&Image]) -> String {
    for artifact in sound {
        artifact.push_to(store, REPOSITORY, &artifact.digest);
    }
    let sound: Vec<String> = sound.iter().map(|artifact| format!(",{}", json!(artifact.descriptor()))).collect();
    let odd = odd_entries(image);
    let list = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[ {odd}{}]}}"#, sound.concat());
    store.put_manifest(REPOSITORY, &tag_of(&image.digest, ""), OCI_INDEX, list.clone());
    list
}

#[tokio::test]
async fn entries_that_can_t_be_read_keep_no_other_from_being_copied() {
    watched(async {
        let world = World::between(plain().referrers(false), plain()).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), REPOSITORY, "v1");
        let signature = artifact(SIGNATURE, "mine", &image.descriptor());
        put_odd_list(world.source.store(), &image, &[&signature]);
        let mut function = world.function("fanout", &[]).await;
        let result = copied(&world, &mut function, "v1").await;
        assert_eq!((&result["outcome"], &result["referrers"]["pushed"]), (&json!("synced"), &json!(1)), "{result}");
        assert_listed(world.destination.store(), REPOSITORY, &signature, &image.digest, true);
        let warned = function.lines().iter().any(|line| line.contains("digests can't be read"));
        assert!(warned, "{:#?}", function.lines());
    })
    .await;
}

#[tokio::test]
async fn entries_that_can_t_be_read_stay_as_they_are_where_the_registry_takes_them() {
    watched(async {
        for takes in [true, false] {
            let destination = plain().referrers(false);
            let destination = if takes { destination.take_any_descriptor() } else { destination };
            let world = World::between(plain(), destination).await;
            let image = Image::small(1);
            image.push_to(world.source.store(), REPOSITORY, "v1");
            let (mine, sound) =
                (artifact(SIGNATURE, "mine", &image.descriptor()), artifact(SIGNATURE, "theirs", &image.descriptor()));
            attach(world.source.store(), REPOSITORY, &mine, &image.digest, true);
            let before = put_odd_list(world.destination.store(), &image, &[&sound]);
            let mut function = world.function("fanout", &[]).await;
            let result = copied(&world, &mut function, "v1").await;
            assert_eq!(result["referrers"]["pushed"], 1, "{result}");
            let (store, tag) = (world.destination.store(), tag_of(&image.digest, ""));
            let after = String::from_utf8(store.manifest(REPOSITORY, &tag).unwrap().bytes.to_vec()).unwrap();
            assert_listed(store, REPOSITORY, &mine, &image.digest, false);
            if takes {
                let kept = before.strip_suffix("]}").unwrap();
                assert!(after.starts_with(kept), "{after} does not begin with {kept}");
            } else {
                assert_eq!(
                    listed(store, REPOSITORY, &image.digest).len(),
                    2,
                    "what is no descriptor is dropped: {after}"
                );
            }
        }
    })
    .await;
}

/// The slow one's list takes the place of the quick one's, of whose entry it was not asked to copy anything.
#[tokio::test]
async fn writers_that_were_asked_for_other_types_don_t_wipe_each_other_s_entries() {
    watched(async {
        let world = World::between(plain(), plain().referrers(false)).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), REPOSITORY, "v1");
        let mut functions = [world.function("fanout", &[]).await, world.function("fanout", &[]).await];
        copied(&world, &mut functions[0], "v1").await;
        let both = [SIGNATURE, SBOM].map(|kind| artifact(kind, kind, &image.descriptor()));
        for artifact in &both {
            attach(world.source.store(), REPOSITORY, artifact, &image.digest, true);
        }
        let late = Fault::on(Kind::ManifestPut).path(&tag_of(&image.digest, ""));
        let late = world.destination.faults().add(late.then(Action::Delay(Duration::from_secs(4))));
        let (from, to) = ends(&world, "v1");
        let only =
            |kind: &str| json!({"source": from, "destination": to, "referrers": {"include": [kind]}}).to_string();
        let [slow, quick] = &mut functions;
        let slow = delivered_alone(&world, slow, "slow", only(SIGNATURE));
        let quick = async {
            eventually("the first list is on its way", || late.count() == 1).await;
            delivered_alone(&world, quick, "quick", only(SBOM)).await;
        };
        tokio::join!(slow, quick);
        for artifact in &both {
            assert_listed(world.destination.store(), REPOSITORY, artifact, &image.digest, false);
        }
    })
    .await;
}

/// By a queue of its own, so that no other takes it.
async fn delivered_alone(world: &World, function: &mut Function, queue: &str, body: String) {
    let sqs = world.aws.sqs();
    sqs.create(queue, Duration::from_secs(30));
    sqs.send(queue, &body);
    let source = scenarios::EventSource::new(sqs, queue).timeout(crate::support::LIMIT);
    let delivery = source.deliver(function).await.expect("the message is visible");
    assert!(delivery.kept.is_empty(), "{delivery:?}");
}
