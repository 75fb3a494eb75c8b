//! Lists of referrers: paged, wrong, written by two at once, and too long.

use std::time::Duration;

use emulator::{Action, Builder, Fault, Image, Index, Kind, Personality, Registry, image::OCI_INDEX};
use scenarios::{Outcome, World, world::push_event};
use serde_json::json;

use crate::support::{LIMIT, assert_nothing_written, delivered, eventually, failed, pushed, replicated, watched};
use scenarios::attached::{SBOM, SIGNATURE, artifact, attach, listed, tag_of};

async fn world(source: Builder, destination: Builder) -> World {
    World::between(source, destination).await
}

fn plain() -> Builder {
    Registry::builder(Personality::Plain)
}

async fn copied(world: &World) -> serde_json::Value {
    let mut function = world.function("fanout", &[]).await;
    let of = |host: &str| format!("{host}/team/app:v1");
    replicated(world, &mut function, &of(&world.source_host), &of(&world.destination_host)).await
}

#[tokio::test]
async fn all_pages_of_a_list_are_read() {
    watched(async {
        let world = world(plain().referrers_page(3), plain().referrers_page(2)).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        for number in 0..10 {
            let artifact = artifact(SBOM, &format!("part {number}"), &image.descriptor());
            attach(world.source.store(), "team/app", &artifact, &image.digest, true);
        }
        let result = copied(&world).await;
        assert_eq!(result["referrers"]["pushed"], 10, "{result}");
        assert_eq!(world.destination.store().referrers("team/app", &image.digest).len(), 10);
        assert_eq!(copied(&world).await["referrers"], json!({"pushed": 0, "present": 10}));
    })
    .await;
}

#[tokio::test]
async fn a_page_that_leads_away_is_not_followed() {
    watched(async {
        let world = World::to(Personality::Plain, |plain| plain).await;
        let elsewhere = plain().start().await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let link = format!("<{}/v2/team/app/referrers/x>; rel=\"next\"", elsewhere.url());
        let lie = Action::Header { name: "link".into(), value: link };
        world.source.faults().add(Fault::on(Kind::Referrers).forever().then(lie));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "UnsafeRedirect", "{message}");
        assert!(message.contains("is in place"), "{message}");
        assert_eq!(world.destination.store().tag("mirror/team/app", "v1"), Some(image.digest));
        assert_eq!(elsewhere.journal().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_a_list_names_and_refers_to_something_else_stays() {
    watched(async {
        let world = world(plain().referrers(false), plain()).await;
        let (image, other) = (Image::small(1), Image::small(2));
        image.push_to(world.source.store(), "team/app", "v1");
        let (own, foreign) =
            (artifact(SIGNATURE, "mine", &image.descriptor()), artifact(SIGNATURE, "not mine", &other.descriptor()));
        attach(world.source.store(), "team/app", &foreign, &image.digest, false);
        attach(world.source.store(), "team/app", &own, &image.digest, false);
        let result = copied(&world).await;
        assert_eq!((&result["outcome"], &result["referrers"]["pushed"]), (&json!("synced"), &json!(1)), "{result}");
        assert!(world.destination.store().manifest("team/app", &own.digest).is_some());
        assert!(world.destination.store().manifest("team/app", &foreign.digest).is_none());
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_there_keeps_its_entries() {
    watched(async {
        let world = world(plain(), plain().referrers(false)).await;
        let image = Image::small(1);
        let (own, theirs) =
            (artifact(SIGNATURE, "mine", &image.descriptor()), artifact(SBOM, "theirs", &image.descriptor()));
        image.push_to(world.source.store(), "team/app", "v1");
        image.push_to(world.destination.store(), "team/app", "v0");
        attach(world.source.store(), "team/app", &own, &image.digest, true);
        attach(world.destination.store(), "team/app", &theirs, &image.digest, false);
        let before = listed(world.destination.store(), "team/app", &image.digest);
        assert_eq!(copied(&world).await["referrers"]["pushed"], 1);
        let after = listed(world.destination.store(), "team/app", &image.digest);
        assert_eq!((after.len(), &after[0]), (2, &before[0]), "what others wrote stays as they wrote it");
        assert_eq!(after[1]["digest"], own.digest);
    })
    .await;
}

/// Signatures of one image, pushed while copies of it run at once: lists that are read, changed and written by many.
#[tokio::test]
async fn writers_of_one_list_at_once_lose_nothing() {
    watched(async {
        for round in 0..3_u64 {
            let world = world(plain(), plain().referrers(false)).await;
            let image = Image::small(round);
            image.push_to(world.source.store(), "team/app", "v1");
            copied(&world).await;
            let mut signatures = Vec::new();
            let mut functions = Vec::new();
            for _ in 0..4 {
                functions.push(world.function("fanout", &[]).await);
            }
            let of = |host: &str| format!("{host}/team/app:v1");
            let ends =
                json!({"source": of(&world.source_host), "destination": of(&world.destination_host)}).to_string();
            let runs = functions.into_iter().enumerate().map(|(number, mut function)| {
                let signature = artifact(SIGNATURE, &format!("signature {round} {number}"), &image.descriptor());
                attach(world.source.store(), "team/app", &signature, &image.digest, true);
                signatures.push(signature.digest.clone());
                let (world, ends) = (&world, &ends);
                async move {
                    let queue = format!("work-{number}");
                    let sqs = world.aws.sqs();
                    sqs.create(&queue, Duration::from_secs(30));
                    sqs.send(&queue, ends);
                    let source = scenarios::EventSource::new(sqs, &queue).timeout(LIMIT);
                    let delivery = source.deliver(&mut function).await.expect("the message is visible");
                    assert!(delivery.kept.is_empty(), "{delivery:?}");
                }
            });
            // Each begins when one more signature is there; all run at once.
            futures::future::join_all(runs).await;
            let mut there: Vec<String> = listed(world.destination.store(), "team/app", &image.digest)
                .iter()
                .map(|entry| entry["digest"].as_str().unwrap().to_owned())
                .collect();
            there.sort_unstable();
            signatures.sort_unstable();
            assert_eq!(there, signatures, "round {round}");
        }
    })
    .await;
}

/// One writer's list arrives late and takes the place of another's, which it has not seen.
#[tokio::test]
async fn a_list_that_was_written_over_is_made_good() {
    watched(async {
        let world = world(plain(), plain().referrers(false)).await;
        let (source, destination) = (world.source.store(), world.destination.store());
        let image = Image::small(1);
        image.push_to(source, "team/app", "v1");
        copied(&world).await;
        let [one, other] = ["one", "other"].map(|text| artifact(SIGNATURE, text, &image.descriptor()));
        attach(source, "team/app", &one, &image.digest, true);
        let tag = tag_of(&image.digest, "");
        let late = Fault::on(Kind::ManifestPut).path(&tag).then(Action::Delay(Duration::from_secs(4)));
        let late = world.destination.faults().add(late);
        let slow = copied(&world);
        let quick = async {
            eventually("the first list is on its way", || late.count() == 1).await;
            attach(source, "team/app", &other, &image.digest, true);
            copied(&world).await;
            let there = listed(destination, "team/app", &image.digest);
            assert_eq!(there.len(), 2, "the quick one lists what the slow one has put: {there:?}");
        };
        let (slow, ()) = tokio::join!(slow, quick);
        assert_eq!(slow["outcome"], "current", "{slow}");
        let digests: Vec<_> = listed(destination, "team/app", &image.digest)
            .iter()
            .map(|entry| entry["digest"].as_str().unwrap().to_owned())
            .collect();
        assert!(digests.contains(&one.digest) && digests.contains(&other.digest), "{digests:?}");
    })
    .await;
}

#[tokio::test]
async fn a_list_that_could_not_be_written_is_written_by_the_next_try_of_the_same_process() {
    watched(async {
        let mut world = world(plain(), plain().referrers(false)).await;
        world.config["limits"] = json!({ "max_attempts": 1 });
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let signature = artifact(SIGNATURE, "mine", &image.descriptor());
        attach(world.source.store(), "team/app", &signature, &image.digest, true);
        let down = Fault::on(Kind::ManifestPut).path(&tag_of(&image.digest, "")).then(Action::status(503));
        world.destination.faults().add(down);
        let mut function = world.function("fanout", &[]).await;
        let of = |host: &str| format!("{host}/team/app:v1");
        let ends = (of(&world.source_host), of(&world.destination_host));
        let body = scenarios::flows::image_message(ends.0.clone(), ends.1.clone());
        assert_eq!(delivered(&world, &mut function, &body).await.kept.len(), 1);
        assert!(listed(world.destination.store(), "team/app", &image.digest).is_empty());
        assert_eq!(replicated(&world, &mut function, &ends.0, &ends.1).await["outcome"], "current");
        assert_eq!(listed(world.destination.store(), "team/app", &image.digest).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_listed_and_gone_keeps_back_nothing_else() {
    watched(async {
        let world = world(plain().referrers(false), plain().referrers(false)).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let gone = artifact(SIGNATURE, "deleted", &image.descriptor());
        let own = artifact(SBOM, "there", &image.descriptor());
        let mut listed_gone = json!(gone.descriptor());
        listed_gone["size"] = json!(1);
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed_gone]}).to_string();
        for store in [world.source.store(), world.destination.store()] {
            store.put_manifest("team/app", &tag_of(&image.digest, ""), OCI_INDEX, index.clone());
        }
        attach(world.source.store(), "team/app", &own, &image.digest, false);
        let result = copied(&world).await;
        assert_eq!((&result["outcome"], &result["referrers"]["pushed"]), (&json!("synced"), &json!(1)), "{result}");
        let there = listed(world.destination.store(), "team/app", &image.digest);
        assert_eq!(
            (there.len(), &there[0]["digest"]),
            (1, &json!(own.digest)),
            "the registry takes no list of what is gone"
        );
    })
    .await;
}

#[tokio::test]
async fn one_that_the_destination_refuses_keeps_back_no_other() {
    watched(async {
        let world = World::to(Personality::Plain, |plain| plain).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let (bad, good) =
            (artifact(SBOM, "bad", &image.descriptor()), artifact(SIGNATURE, "good", &image.descriptor()));
        let of_good = artifact(SIGNATURE, "of the good one", &good.descriptor());
        let of_bad = artifact(SIGNATURE, "of the bad one", &bad.descriptor());
        let of_that = artifact(SIGNATURE, "of what is of the bad one", &of_bad.descriptor());
        for artifact in [&bad, &good, &of_good, &of_bad, &of_that] {
            artifact.push_to(world.source.store(), "team/app", &artifact.digest);
        }
        let refused = Action::error(405, "UNSUPPORTED", "not this one");
        world.destination.faults().add(Fault::on(Kind::ManifestPut).path(&bad.digest).forever().then(refused));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "ManifestInvalid", "{message}");
        assert!(message.contains("is in place") && message.contains(&bad.digest), "{message}");
        for artifact in [&good, &of_good] {
            assert!(world.destination.store().manifest("mirror/team/app", &artifact.digest).is_some());
        }
        // Subject first: what hangs on the bad one waits for it.
        for artifact in [&of_bad, &of_that] {
            assert!(world.destination.store().manifest("mirror/team/app", &artifact.digest).is_none());
        }
    })
    .await;
}

#[tokio::test]
async fn an_api_that_is_away_for_a_moment_is_not_taken_to_have_nothing() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        world.config["limits"] = json!({ "max_attempts": 1 });
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let signature = artifact(SIGNATURE, "mine", &image.descriptor());
        attach(world.source.store(), "team/app", &signature, &image.digest, true);
        world.source.faults().add(Fault::on(Kind::Referrers).then(Action::status(404)));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Unavailable", "{message}");
        let again = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!((&again["outcome"], &again["referrers"]["pushed"]), (&json!("current"), &json!(1)), "{again}");
    })
    .await;
}

#[tokio::test]
async fn a_referrer_that_is_an_index_comes_whole() {
    watched(async {
        let world = world(plain(), plain()).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let parts = [Image::small(2), Image::small(3)];
        let index = Index::builder()
            .child(&parts[0])
            .child(&parts[1])
            .artifact_type("application/vnd.example.bundle")
            .subject(&image.descriptor())
            .build();
        index.push_to(world.source.store(), "team/app", &index.digest);
        let signature = artifact(SIGNATURE, "of a part", &parts[1].descriptor());
        attach(world.source.store(), "team/app", &signature, &parts[1].digest, true);
        let result = copied(&world).await;
        assert_eq!(result["referrers"], json!({"pushed": 4, "present": 0}), "{result}");
        world.destination.store().is_whole("team/app", &index.digest).unwrap();
        assert_eq!(
            world.destination.store().referrers("team/app", &parts[1].digest),
            std::slice::from_ref(&signature.digest)
        );
        assert_eq!(copied(&world).await["referrers"]["pushed"], 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_too_much_is_refused_before_the_first_upload() {
    watched(async {
        for world in [World::to(Personality::Plain, |plain| plain).await, World::ecr(|destination| destination).await] {
            too_much(&world).await;
        }
    })
    .await;
}

async fn too_much(world: &World) {
    let (many, deep) = (Image::small(1), Image::small(2));
    many.push_to(world.source.store(), "team/app", "many");
    for number in 0..1001 {
        let artifact = artifact(SBOM, &number.to_string(), &many.descriptor());
        artifact.push_to(world.source.store(), "team/app", &artifact.digest);
    }
    deep.push_to(world.source.store(), "team/app", "deep");
    let mut subject = deep.descriptor();
    for number in 0..9 {
        let artifact = artifact(SIGNATURE, &format!("depth {number}"), &subject);
        artifact.push_to(world.source.store(), "team/app", &artifact.digest);
        subject = artifact.descriptor();
    }
    let mut function = world.function("on-push", &[]).await;
    for (tag, image, reason) in [("many", &many, "over 1000"), ("deep", &deep, "over 8 deep")] {
        let (error_type, message) = failed(&mut function, push_event("team/app", tag, &image.digest)).await;
        assert_eq!(error_type, "ManifestInvalid", "{message}");
        assert!(message.contains(reason) && message.contains("referrers"), "{message}");
        assert_nothing_written(&world.destination);
        // The tag list, the lists of its depth, and no other of what is attached to it.
        assert!(world.source.journal().len() < 40, "{}", world.source.journal().len());
        world.forget();
    }
}

#[tokio::test]
async fn a_page_for_people_in_place_of_the_api_is_none() {
    watched(async {
        for (content_type, body) in [
            ("text/html; charset=utf-8", "<html>Welcome</html>"),
            ("text/plain", "{}"),
            ("application/json", "{\"status\": \"ok\"}"),
        ] {
            let world = world(plain(), plain()).await;
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let signature = artifact(SIGNATURE, "listed under the tag", &image.descriptor());
            attach(world.source.store(), "team/app", &signature, &image.digest, false);
            let headers = vec![("Content-Type".into(), content_type.into())];
            let page = Action::Status { code: 200, headers, body: body.into() };
            world.source.faults().add(Fault::on(Kind::Referrers).forever().then(page));
            let result = copied(&world).await;
            assert_eq!((&result["outcome"], &result["referrers"]["pushed"]), (&json!("synced"), &json!(1)), "{result}");
        }
    })
    .await;
}

/// ECR has the API, whoever stands before it and answers for it for a moment.
#[tokio::test]
async fn a_page_for_people_in_place_of_ecrs_api_is_a_failure_that_may_pass() {
    watched(async {
        let world = World::to(Personality::Plain, |plain| plain).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let signature = artifact(SIGNATURE, "mine", &image.descriptor());
        attach(world.source.store(), "team/app", &signature, &image.digest, true);
        let headers = vec![("Content-Type".into(), "text/html".into())];
        let page = Action::Status { code: 200, headers, body: "<html>Welcome</html>".into() };
        world.source.faults().add(Fault::on(Kind::Referrers).then(page));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Unavailable", "{message}");
        let again = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!(again["referrers"]["pushed"], 1, "{again}");
    })
    .await;
}

/// A backfill has a message for each of a repository's images, and each needs the same list of tags.
#[tokio::test]
async fn messages_that_were_sent_before_the_tags_were_read_need_no_further_look() {
    watched(async {
        let world = World::to(Personality::Plain, |plain| plain).await;
        let signed = |number: u64| {
            let (tag, image) = (format!("v{number}"), Image::small(number));
            image.push_to(world.source.store(), "team/app", &tag);
            let signature = Image::small(100 + number);
            signature.push_to(world.source.store(), "team/app", &tag_of(&image.digest, ".sig"));
            (tag, image, signature)
        };
        let mut fanout = world.function("fanout", &[]).await;
        world.aws.sqs().create("work", LIMIT);
        let mut sync = async |tag: &str, expected: &Image, sent: Option<Duration>| {
            let source = format!("{}/team/app:{tag}", world.source_host);
            let body = json!({"source": source, "expected_digest": expected.digest});
            world.aws.sqs().send("work", &body.to_string());
            let mut event = world.aws.sqs().receive_event("work", 1).unwrap();
            if let Some(ago) = sent {
                let at = std::time::SystemTime::now() - ago;
                let millis = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
                event["Records"][0]["attributes"]["SentTimestamp"] = json!(millis.to_string());
            }
            world.source.journal().clear();
            let outcome = fanout.invoke(event, LIMIT).await;
            assert_eq!(outcome, Outcome::Ok(json!({"batchItemFailures": []})));
            // What takes a second looks once more behind its blobs, and that look is at what is there now.
            let asked = world.source.journal().entries();
            let first_look = asked.iter().take_while(|entry| entry.kind != Kind::BlobGet);
            first_look.filter(|entry| entry.kind == Kind::TagsList).count()
        };
        let there = |image: &Image| world.destination.store().manifest("mirror/team/app", &image.digest).is_some();
        let minute = Some(Duration::from_secs(60));
        let images = [signed(1), signed(2), signed(3)];
        for (number, (tag, image, signature)) in images.iter().enumerate() {
            assert_eq!(sync(tag, image, minute).await, usize::from(number == 0), "{number}");
            assert!(there(image) && there(signature));
        }
        // Sent when the list had been read, or about then; and one whose tag has moved since.
        let before = Image::small(200);
        for (number, expected, sent) in [(4, None, Some(Duration::ZERO)), (5, None, None), (6, Some(&before), minute)] {
            let (tag, image, signature) = signed(number);
            assert_eq!(sync(&tag, expected.unwrap_or(&image), sent).await, 1, "{number}");
            assert!(there(&image) && there(&signature), "{number}");
        }
    })
    .await;
}
