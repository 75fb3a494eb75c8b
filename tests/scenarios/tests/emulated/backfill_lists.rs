//! Backfill from registries that are listed by `tags/list` and `_catalog`: pages, links, and what outlasts an invocation.

use std::{collections::BTreeSet, time::Duration};

use emulator::{Action, Builder, Fault, Image, Kind, Personality, Registry};
use scenarios::World;
use serde_json::{Value, json};

use crate::{
    backfill::{assert_counts, backfilled, enqueued, fanout, ordered},
    support::{eventually, watched},
};

fn plain() -> Builder {
    Registry::builder(Personality::Plain)
}

/// A world between plain registries, whose source has so many tags, each an image of its own.
async fn world(source: Builder, tags: u64) -> World {
    let mut world = World::between(source, plain()).await;
    for number in 0..tags {
        Image::small(number).push_to(world.source.store(), "team/app", &format!("v{number:03}"));
    }
    let source = json!({ "registry": &world.source_host, "repository": "team/**" });
    world.rule().insert("source".into(), source);
    world
}

pub(crate) fn tags(bodies: &[Value]) -> Vec<String> {
    let tag = |body: &Value| body["source"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    bodies.iter().filter(|body| body.get("source").is_some()).map(tag).collect()
}

#[tokio::test]
async fn every_page_is_read_and_each_tag_is_asked_for_once() {
    watched(async {
        let world = world(plain().list_page(3), 10).await;
        let image = Image::small(0);
        image.push_to(world.source.store(), "team/app", "latest");
        let mut fanout = fanout(&world).await;
        let order = json!({ "repository": format!("{}/team/app", world.source_host) });
        let summary = backfilled(&world, &mut fanout, order).await;
        assert_counts(&summary, &[("listed", 11), ("missing", 11), ("enqueued", 10), ("repositories", 1)]);
        assert_counts(&summary, &[("source_requests", 4 + 11), ("destination_requests", 11)]);
        assert_eq!(world.source.journal().count(Kind::TagsList), 4);
        // `latest` and `v000` are one image, and on different pages.
        let together = enqueued(&world).into_iter().find(|body| body.get("tags").is_some()).unwrap();
        assert!(together["source"].as_str().unwrap().ends_with(":latest"), "{together}");
        assert_eq!(together["tags"], json!([{ "source": "v000", "destination": "v000" }]));
        assert_eq!(world.aws.count("sqs", "SendMessageBatch"), 1, "ten messages are one batch");
    })
    .await;
}

#[tokio::test]
async fn a_backfill_may_bring_its_own_tags_and_destination() {
    watched(async {
        let world = world(plain(), 5).await;
        let mut fanout = fanout(&world).await;
        let order = json!({
            "repository": format!("{}/team/app", world.source_host),
            "tags": { "include": ["v*"], "exclude": ["v003"] },
            "destination": format!("{}/own/{{name}}:{{tag}}-copy", world.destination_host),
        });
        let summary = backfilled(&world, &mut fanout, order).await;
        assert_counts(&summary, &[("listed", 5), ("matched", 4), ("enqueued", 4)]);
        let to =
            enqueued(&world).iter().map(|body| body["destination"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let expected = [0, 1, 2, 4].map(|n| format!("{}/own/app:v{n:03}-copy", world.destination_host));
        assert_eq!(to, expected);
    })
    .await;
}

#[tokio::test]
async fn a_glob_is_chosen_from_the_catalog() {
    watched(async {
        let world = world(plain().list_page(2), 1).await;
        for name in ["another", "team/b", "team/c/d", "zoo"] {
            Image::small(7).push_to(world.source.store(), name, "v1");
        }
        let mut fanout = fanout(&world).await;
        let glob = |glob: &str| json!({ "repository": format!("{}/{glob}", world.source_host) });
        let summary = backfilled(&world, &mut fanout, glob("**")).await;
        // The rule takes `team/**` alone.
        assert_counts(&summary, &[("repositories", 3), ("listed", 3), ("enqueued", 3)]);
        assert_eq!(world.source.journal().count(Kind::Catalog), 3);
        assert_counts(&backfilled(&world, &mut fanout, glob("team/*")).await, &[("repositories", 2)]);

        world.source.faults().add(Fault::on(Kind::Catalog).then(Action::error(404, "UNSUPPORTED", "no such list")));
        let summary = backfilled(&world, &mut fanout, glob("**")).await;
        assert_eq!(summary["error_type"], "Denied");
        let message = summary["error_message"].as_str().unwrap();
        assert!(message.contains("_catalog") && message.contains("name each repository"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_link_that_leads_away_or_in_a_circle_is_not_followed() {
    watched(async {
        let world = world(plain().list_page(2), 5).await;
        let mut fanout = fanout(&world).await;
        let elsewhere = world.destination.url();
        for (link, part) in [
            (format!("<{elsewhere}/v2/team/app/tags/list?last=v001>; rel=\"next\""), "away from the list"),
            ("<//other.example/v2/team/app/tags/list?last=v001>; rel=\"next\"".to_owned(), "other.example"),
            ("</v2/team/secret/tags/list?last=v001>; rel=\"next\"".to_owned(), "away from the list"),
            ("</v2/team/app/tags/list?n=1000>; rel=\"next\"".to_owned(), "same page"),
            ("</v2/team/app/tags/list>; rel=\"next\"".to_owned(), "same page"),
        ] {
            let header = Action::Header { name: "link".into(), value: link.clone() };
            world.source.faults().add(Fault::on(Kind::TagsList).then(header));
            world.forget();
            let order = json!({ "repository": format!("{}/team/app", world.source_host) });
            let summary = backfilled(&world, &mut fanout, order).await;
            assert_eq!(summary["error_type"], "UnsafeRedirect", "{link}: {summary}");
            assert!(summary["error_message"].as_str().unwrap().contains(part), "{link}: {summary}");
            assert_eq!(world.source.journal().len(), 1, "{link}");
            assert_eq!(world.destination.journal().len(), 0, "{link}");
        }
        // Two pages that lead to each other.
        let link = |n: u32| Action::Header {
            name: "link".into(),
            value: format!("</v2/team/app/tags/list?last={n}>; rel=\"next\""),
        };
        for (asked, n) in [1, 2, 1, 2].into_iter().enumerate() {
            world.source.faults().add(Fault::on(Kind::TagsList).skip(asked).then(link(n)));
        }
        let order = json!({ "repository": format!("{}/team/app", world.source_host) });
        let summary = backfilled(&world, &mut fanout, order).await;
        assert_eq!(summary["error_type"], "UnsafeRedirect", "{summary}");
        assert!(summary["error_message"].as_str().unwrap().contains("in a circle"), "{summary}");
    })
    .await;
}

#[tokio::test]
async fn times_of_pushes_are_asked_of_ecr_alone() {
    watched(async {
        let world = world(plain(), 1).await;
        let mut fanout = fanout(&world).await;
        for (field, value) in [("newest", json!(3)), ("pushed_since", json!("2026-11-01T00:00:00Z"))] {
            let mut order = json!({ "repository": format!("{}/team/app", world.source_host) });
            order[field] = value;
            let summary = backfilled(&world, &mut fanout, order).await;
            assert_eq!(summary["error_type"], "InvalidEvent");
            let message = summary["error_message"].as_str().unwrap();
            assert!(message.contains(&format!("backfill.{field}")) && message.contains("ECR"), "{message}");
        }
        assert_eq!(world.source.journal().len(), 0);
    })
    .await;
}

/// Does an order and all that goes on from it; each summary.
pub(crate) async fn to_the_end(world: &World, order: Value, timeout: Duration) -> Vec<Value> {
    let mut fanout = fanout(world).await;
    let mut body = json!({ "backfill": order }).to_string();
    let mut summaries = Vec::new();
    loop {
        let known = enqueued(world).iter().filter(|body| body.get("backfill").is_some()).count();
        summaries.push(ordered(world, &mut fanout, &body, timeout).await);
        let further: Vec<_> = enqueued(world).into_iter().filter(|body| body.get("backfill").is_some()).collect();
        match further.len() - known {
            0 => return summaries,
            1 => body = further.last().unwrap().to_string(),
            more => panic!("{more} continuations"),
        }
        assert!(summaries.len() < 50, "it does not end");
    }
}

#[tokio::test]
async fn a_list_that_outlasts_the_invocation_goes_on_in_another_one() {
    watched(async {
        const TAGS: u64 = 120;
        let world = world(plain().list_page(30), TAGS).await;
        // A page takes half a second at least, an invocation has 1.6.
        let slow = Fault::on(Kind::ManifestHead).forever().then(Action::Delay(Duration::from_millis(250)));
        world.source.faults().add(slow);
        let order = json!({ "repository": format!("{}/team/app", world.source_host) });
        let summaries = to_the_end(&world, order, Duration::from_secs(2)).await;
        assert!(summaries.len() > 1, "{summaries:?}");
        let (last, earlier) = summaries.split_last().unwrap();
        assert!(earlier.iter().all(|summary| summary["finished"] == false), "{summaries:?}");
        assert_eq!(last["finished"], true);
        assert_counts(last, &[("listed", TAGS), ("missing", TAGS), ("enqueued", TAGS), ("repositories", 1)]);
        assert_counts(last, &[("invocations", summaries.len() as u64)]);
        let tags = tags(&enqueued(&world));
        assert_eq!(tags.len() as u64, TAGS, "no image is lost");
        assert_eq!(tags.iter().collect::<BTreeSet<_>>().len() as u64, TAGS, "and none doubled");
    })
    .await;
}

#[tokio::test]
async fn a_backfill_that_comes_no_further_ends_with_the_reason() {
    watched(async {
        let world = world(plain(), 3).await;
        let never = Fault::on(Kind::TagsList).forever().then(Action::Stall);
        world.source.faults().add(never);
        let mut fanout = fanout(&world).await;
        let order = json!({ "backfill": { "repository": format!("{}/team/app", world.source_host) } }).to_string();
        let second = Duration::from_secs(1);
        let first = ordered(&world, &mut fanout, &order, second).await;
        assert_eq!((&first["finished"], &first["error_type"]), (&json!(false), &Value::Null), "{first}");
        let body = enqueued(&world).pop().unwrap().to_string();
        world.aws.sqs().send("orders", &body);
        let mapping = scenarios::EventSource::new(world.aws.sqs(), "orders").timeout(second);
        let delivery = mapping.deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.kept.len(), 1, "it stays in the queue: {delivery:?}");
        let last = crate::backfill::summaries(&fanout).pop().unwrap();
        assert_eq!(last["error_type"], "DeadlineExceeded");
        assert!(last["error_message"].as_str().unwrap().contains("no further"), "{last}");
        assert_eq!(enqueued(&world).len(), 1, "nothing goes on from there");
    })
    .await;
}

#[tokio::test]
async fn a_backfill_that_is_killed_midway_is_done_by_its_next_delivery() {
    watched(async {
        const TAGS: u64 = 30;
        let world = world(plain().list_page(10), TAGS).await;
        let stuck = world.source.faults().add(Fault::on(Kind::TagsList).skip(2).then(Action::Stall));
        let mut fanout = fanout(&world).await;
        let order = json!({ "backfill": { "repository": format!("{}/team/app", world.source_host) } }).to_string();
        world.aws.sqs().send("orders", &order);
        let mapping = scenarios::EventSource::new(world.aws.sqs(), "orders").timeout(Duration::from_secs(30));
        tokio::select! {
            delivery = mapping.deliver(&mut fanout) => panic!("it should hang: {delivery:?}"),
            () = eventually("the third page is asked for", || stuck.count() == 1) => {}
        }
        fanout.kill().await;
        world.aws.sqs().skip_waiting("orders");
        assert!(mapping.deliver(&mut fanout).await.unwrap().kept.is_empty());
        assert_eq!((fanout.starts(), tags(&enqueued(&world)).len() as u64), (2, TAGS), "all, and each once");
        assert_eq!(world.aws.sqs().messages("orders").len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_backfill_whose_continuation_is_not_taken_comes_again_itself() {
    watched(async {
        const TAGS: u64 = 30;
        let world = world(plain().list_page(10), TAGS).await;
        let slow = Fault::on(Kind::ManifestHead).forever().then(Action::Delay(Duration::from_millis(900)));
        world.source.faults().add(slow);
        let mut fanout = fanout(&world).await;
        let order = json!({ "backfill": { "repository": format!("{}/team/app", world.source_host) } }).to_string();
        world.aws.sqs().send("orders", &order);
        // One page's messages go out, then the queue takes no more.
        let refused = emulator::aws::ApiError::client("AccessDeniedException", "no");
        let mapping = scenarios::EventSource::new(world.aws.sqs(), "orders").timeout(Duration::from_millis(1700));
        world.aws.fail_next("SendMessageBatch", refused, 1);
        let delivery = mapping.deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.kept.len() + world.aws.sqs().messages("dead").len(), 1, "it is not lost: {delivery:?}");
        assert!(enqueued(&world).iter().all(|body| body.get("backfill").is_none()));
        world.source.faults().clear();
        ordered(&world, &mut fanout, &order, Duration::from_secs(30)).await;
        let found: BTreeSet<String> = tags(&enqueued(&world)).into_iter().collect();
        assert_eq!(found.len() as u64, TAGS, "no image is lost");
    })
    .await;
}

#[tokio::test]
async fn what_was_found_before_a_failure_is_enqueued() {
    watched(async {
        let world = world(plain().list_page(2), 5).await;
        let denied = Fault::on(Kind::TagsList).skip(2).then(Action::error(403, "DENIED", "no more"));
        world.source.faults().add(denied);
        let mut fanout = fanout(&world).await;
        let order = json!({ "repository": format!("{}/team/app", world.source_host) });
        let summary = backfilled(&world, &mut fanout, order).await;
        assert_eq!(summary["error_type"], "Denied");
        assert_counts(&summary, &[("listed", 4), ("enqueued", 4)]);
        assert_eq!(tags(&enqueued(&world)), ["v000", "v001", "v002", "v003"]);
    })
    .await;
}
