//! Who keeps the list of what refers to a manifest: the registry that names the subject when it takes a referrer
//! (`OCI-Subject`), the one whose API names it, and nobody else.

use emulator::{Action, Builder, Descriptor, Fault, Image, Index, Kind, Personality, Registry, image::Platform};
use scenarios::{Function, Outcome, World, world::push_event};
use serde_json::{Value, json};

use crate::support::{LIMIT, delivered, failed, image_message, pushed, replicated, watched};
use scenarios::attached::{SIGNATURE, artifact, assert_listed, attach, listed, tag_of};

/// Deep enough for those that have projects.
const REPOSITORY: &str = "project/images/app";

fn plain() -> Builder {
    Registry::builder(Personality::Plain)
}

fn ends(world: &World) -> (String, String) {
    let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
    (of(&world.source_host), of(&world.destination_host))
}

async fn copied(world: &World, function: &mut Function) -> Value {
    let (from, to) = ends(world);
    replicated(world, function, &from, &to).await
}

/// An image with a signature, from a registry with the API.
async fn signed(destination: Builder) -> (World, Image, Image) {
    let world = World::between(plain(), destination).await;
    let image = Image::small(1);
    image.push_to(world.source.store(), REPOSITORY, "v1");
    let signature = artifact(SIGNATURE, "mine", &image.descriptor());
    attach(world.source.store(), REPOSITORY, &signature, &image.digest, true);
    world.destination.store().create_repository(REPOSITORY);
    (world, image, signature)
}

#[tokio::test]
async fn a_list_is_asked_for_only_where_the_registry_did_not_name_the_subject() {
    watched(async {
        // Header, API: how often the list is asked for after the put.
        for (named, api, asked) in [(true, true, 0), (false, true, 1), (false, false, 1)] {
            let (world, image, signature) = signed(plain().referrers(api).name_subjects(named)).await;
            let mut function = world.function("fanout", &[]).await;
            let result = copied(&world, &mut function).await;
            assert_eq!(result["referrers"]["pushed"], 1, "{result}");
            assert_eq!(world.destination.journal().count(Kind::Referrers), asked, "named: {named}, API: {api}");
            assert_listed(world.destination.store(), REPOSITORY, &signature, &image.digest, api);
        }
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_answers_empty_lists_to_anything_gets_the_list_under_the_tag() {
    watched(async {
        let (world, image, signature) = signed(plain().lists_nothing()).await;
        let mut function = world.function("fanout", &[]).await;
        assert_eq!(copied(&world, &mut function).await["referrers"]["pushed"], 1);
        assert_listed(world.destination.store(), REPOSITORY, &signature, &image.digest, false);

        // It is found there, by a process that knows nothing of it.
        let mut fresh = world.function("fanout", &[]).await;
        world.forget();
        let again = copied(&world, &mut fresh).await;
        assert_eq!((&again["outcome"], &again["referrers"]["present"]), (&json!("current"), &json!(1)), "{again}");
        assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0);

        let more = artifact(SIGNATURE, "another one", &image.descriptor());
        attach(world.source.store(), REPOSITORY, &more, &image.digest, true);
        let mut fresh = world.function("fanout", &[]).await;
        let again = copied(&world, &mut fresh).await;
        assert_eq!(again["referrers"], json!({"pushed": 1, "present": 1}), "{again}");
        assert_eq!(listed(world.destination.store(), REPOSITORY, &image.digest).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_listed_under_a_tag_of_a_source_that_answers_empty_lists_is_found() {
    watched(async {
        let world = World::between(plain().lists_nothing(), plain()).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), REPOSITORY, "v1");
        let signature = artifact(SIGNATURE, "mine", &image.descriptor());
        attach(world.source.store(), REPOSITORY, &signature, &image.digest, false);
        let mut function = world.function("fanout", &[]).await;
        let result = copied(&world, &mut function).await;
        assert_eq!(result["referrers"]["pushed"], 1, "{result}");
        assert_listed(world.destination.store(), REPOSITORY, &signature, &image.digest, true);
    })
    .await;
}

/// Its list may lag behind what was put, and no client that is answered by the API looks under the tag.
#[tokio::test]
async fn a_registry_that_is_known_to_have_the_api_never_gets_a_list_under_the_tag() {
    watched(async {
        for personality in [Personality::Ecr, Personality::Gar, Personality::Acr] {
            let registry = Registry::builder(personality).lists_nothing();
            let registry = if personality == Personality::Ecr { registry } else { registry.open() };
            let (world, _, signature) = signed(registry).await;
            let mut function = world.function("fanout", &[]).await;
            let result = copied(&world, &mut function).await;
            assert_eq!(result["referrers"]["pushed"], 1, "{personality:?}: {result}");
            let journal = world.destination.journal();
            assert_eq!(journal.count(Kind::Referrers), 0, "{personality:?}");
            assert_eq!(journal.count(Kind::ManifestPut), 2, "{personality:?}: the image and its signature");
            assert!(world.destination.store().manifest(REPOSITORY, &signature.digest).is_some());
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_under_a_tag_is_read_by_one_request() {
    watched(async {
        let (world, ..) = signed(plain().referrers(false)).await;
        let mut function = world.function("fanout", &[]).await;
        copied(&world, &mut function).await;
        // All that it knows is what the registry answers: that there is an image, no API, and a list.
        let mut fresh = world.function("fanout", &[]).await;
        world.forget();
        assert_eq!(copied(&world, &mut fresh).await["outcome"], "current");
        let journal = world.destination.journal();
        assert_eq!((journal.count(Kind::ManifestHead), journal.count(Kind::ManifestGet)), (1, 1));
        assert_eq!(journal.len(), 3, "{:#?}", journal.entries());
    })
    .await;
}

/// A `GET` is a counted pull at the Hub, and nobody says that one that finds nothing is not.
#[tokio::test]
async fn a_list_under_a_tag_of_the_hub_is_looked_for_before_it_is_read() {
    watched(async {
        let hub = Registry::builder(Personality::DockerHub).referrers(false).open();
        let (world, image, signature) = signed(hub).await;
        let mut function = world.function("fanout", &[]).await;
        assert_eq!(copied(&world, &mut function).await["referrers"]["pushed"], 1);
        assert_listed(world.destination.store(), REPOSITORY, &signature, &image.digest, false);
        let journal = world.destination.journal();
        assert_eq!((journal.count_status(Kind::ManifestGet, 404), journal.count(Kind::ManifestGet)), (0, 1));
    })
    .await;
}

/// As `buildx` makes it when its attestations are OCI artifacts: a child of the index that refers to another one.
fn attesting(seed: u64) -> (Index, Image, Image) {
    let image = Image::small(seed);
    let attestation =
        artifact("application/vnd.docker.attestation.manifest.v1+json", "what it is", &image.descriptor());
    let described = Descriptor { platform: Some(Platform::parse("unknown/unknown")), ..attestation.descriptor() };
    (Index::builder().child(&image).child_as(&attestation, described).build(), image, attestation)
}

#[tokio::test]
async fn a_child_that_refers_to_another_is_listed_where_the_registry_does_not() {
    watched(async {
        for (from_api, to_api) in [(true, false), (false, false), (true, true), (false, true)] {
            let world = World::between(plain().referrers(from_api), plain().referrers(to_api)).await;
            let (index, image, attestation) = attesting(1);
            index.push_to(world.source.store(), REPOSITORY, "v1");
            let mut function = world.function("fanout", &[]).await;
            let result = copied(&world, &mut function).await;
            let pair = format!("from API: {from_api}, to API: {to_api}: {result}");
            assert_eq!((&result["outcome"], &result["manifests"]["pushed"]), (&json!("synced"), &json!(3)), "{pair}");
            assert_listed(world.destination.store(), REPOSITORY, &attestation, &image.digest, to_api);
            let puts = world.destination.journal().count(Kind::ManifestPut);
            assert_eq!(puts, if to_api { 3 } else { 4 }, "{pair}");
            if to_api {
                assert_eq!(world.destination.journal().count(Kind::Referrers), 0, "{pair}");
            }
            world.forget();
            let again = copied(&world, &mut function).await;
            assert_eq!(again["outcome"], "current", "{pair}");
            assert_eq!(world.destination.journal().count(Kind::ManifestPut), 0, "{pair}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_image_without_such_children_costs_no_request_more() {
    watched(async {
        let world = World::between(plain(), plain().referrers(false)).await;
        Index::of(&[&Image::small(1), &Image::small(2)]).push_to(world.source.store(), REPOSITORY, "v1");
        let mut function = world.function("fanout", &[]).await;
        assert_eq!(copied(&world, &mut function).await["outcome"], "synced");
        let journal = world.destination.journal();
        assert_eq!((journal.count(Kind::Referrers), journal.count(Kind::ManifestGet)), (0, 0));
        assert_eq!(journal.count(Kind::ManifestPut), 3);
    })
    .await;
}

#[tokio::test]
async fn a_child_that_could_not_be_listed_is_listed_by_the_next_try() {
    watched(async {
        let mut world = World::between(plain(), plain().referrers(false)).await;
        world.config["limits"] = json!({ "max_attempts": 1 });
        let (index, image, attestation) = attesting(1);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let down = Fault::on(Kind::ManifestPut).path(&tag_of(&image.digest, "")).then(Action::status(503));
        world.destination.faults().add(down);
        let mut function = world.function("fanout", &[]).await;
        let (from, to) = ends(&world);
        assert_eq!(delivered(&world, &mut function, &image_message(from, to)).await.kept.len(), 1);
        assert!(listed(world.destination.store(), REPOSITORY, &image.digest).is_empty());
        assert_eq!(copied(&world, &mut function).await["outcome"], "current");
        assert_listed(world.destination.store(), REPOSITORY, &attestation, &image.digest, false);
    })
    .await;
}

#[tokio::test]
async fn an_artifact_that_is_copied_as_an_image_is_listed_under_its_subject() {
    watched(async {
        for fails in [false, true] {
            let mut world = World::between(plain(), plain().referrers(false)).await;
            world.config["limits"] = json!({ "max_attempts": 1 });
            let image = Image::small(1);
            let chart = artifact(SIGNATURE, "by its own tag", &image.descriptor());
            chart.push_to(world.source.store(), REPOSITORY, "v1");
            if fails {
                let down = Fault::on(Kind::ManifestPut).path(&tag_of(&image.digest, "")).then(Action::status(503));
                world.destination.faults().add(down);
            }
            let mut function = world.function("fanout", &[]).await;
            let (from, to) = ends(&world);
            world.aws.sqs().create("work", LIMIT);
            world.aws.sqs().send("work", &image_message(from, to));
            let mut event = world.aws.sqs().receive_event("work", 1).unwrap();
            let Outcome::Ok(answer) = function.invoke(event.clone(), LIMIT).await else { panic!("it answers") };
            assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), usize::from(fails));
            if fails {
                assert!(listed(world.destination.store(), REPOSITORY, &image.digest).is_empty());
                // The tag is right by now, so that only the try tells that something may be left.
                event["Records"][0]["attributes"]["ApproximateReceiveCount"] = json!("2");
                let again = function.invoke(event, LIMIT).await;
                assert_eq!(again, Outcome::Ok(json!({"batchItemFailures": []})));
            }
            assert_listed(world.destination.store(), REPOSITORY, &chart, &image.digest, false);
        }
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_is_the_image_s_own_digest_is_never_made_a_list() {
    watched(async {
        let mut world = World::to(Personality::Plain, |plain| plain.referrers(false)).await;
        let host = world.destination_host.clone();
        world.rule().insert("destinations".into(), json!([format!("{host}/by-digest/{{name}}:{{digest}}")]));
        let (index, _, _) = attesting(1);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, REPOSITORY, "v1", &index.digest).await["outcome"], "synced");
        let signature = artifact(SIGNATURE, "mine", &index.descriptor());
        attach(world.source.store(), REPOSITORY, &signature, &index.digest, true);
        let (error_type, message) = failed(&mut function, push_event(REPOSITORY, "v1", &index.digest)).await;
        assert_eq!(error_type, "ManifestInvalid", "{message}");
        assert!(message.contains("holds the image itself") && message.contains("another tag"), "{message}");
        let tag = tag_of(&index.digest, "");
        assert_eq!(world.destination.store().tag("by-digest/app", &tag), Some(index.digest), "the image stays");
    })
    .await;
}
