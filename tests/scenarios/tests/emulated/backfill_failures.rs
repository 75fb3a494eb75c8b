//! Backfills and sweeps that meet what fails: it is put apart, and all else is done.

use std::{collections::BTreeSet, time::Duration};

use emulator::{Action, Fault, Image, Kind, Personality, Registry};
use scenarios::{EventSource, Function, World};
use serde_json::{Value, json};

use crate::{
    backfill::{assert_counts, backfilled, enqueued, fanout, ordered, summaries},
    support::{LIMIT, watched},
};

/// Between plain registries, whose source has these repositories with an image each.
async fn world(repositories: &[&str]) -> World {
    let plain = || Registry::builder(Personality::Plain);
    let mut world = World::between(plain(), plain()).await;
    for (number, name) in repositories.iter().enumerate() {
        Image::small(number as u64).push_to(world.source.store(), name, "v1");
    }
    let source = json!({ "registry": &world.source_host, "repository": "team/**" });
    world.rule().insert("source".into(), source);
    world
}

/// Where the enqueued images are to go.
fn destinations(world: &World) -> BTreeSet<String> {
    let bodies = enqueued(world);
    bodies.iter().filter_map(|body| body["destination"].as_str().map(str::to_owned)).collect()
}

/// The enqueued backfills.
fn apart(world: &World) -> Vec<Value> {
    enqueued(world).into_iter().filter_map(|body| body.get("backfill").cloned()).collect()
}

fn set(world: &World, names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("{}/{name}:v1", world.destination_host)).collect()
}

/// Has one invocation do what was put apart, and nothing else; answers the dead letter's body and reason.
async fn buried(world: &World, function: &mut Function) -> (String, String, String) {
    let body = json!({ "backfill": apart(world).pop().unwrap() }).to_string();
    ordered(world, function, &body, LIMIT).await;
    let letters = world.aws.sqs().messages("dead");
    assert_eq!(letters.len(), 1, "{letters:?}");
    let attribute = |name: &str| letters[0].attribute(name).unwrap().to_owned();
    (letters[0].body.clone(), attribute("error_type"), attribute("error_message"))
}

#[tokio::test]
async fn one_repository_that_denies_its_list_is_put_apart_and_the_sweep_goes_on() {
    watched(async {
        let world = world(&["team/a", "team/b", "team/c"]).await;
        let denied = Action::error(403, "DENIED", "not for you");
        world.source.faults().add(Fault::on(Kind::TagsList).path("team/b/").forever().then(denied));
        let mut fanout = fanout(&world).await;
        let summary = backfilled(&world, &mut fanout, json!({})).await;
        assert_counts(&summary, &[("failed", 1), ("repositories", 2), ("missing", 2), ("enqueued", 2)]);
        assert_eq!((&summary["finished"], &summary["error_type"]), (&json!(true), &json!("Denied")), "{summary}");
        assert!(summary["error_message"].as_str().unwrap().contains("team/b"), "{summary}");
        assert_eq!(destinations(&world), set(&world, &["mirror/team/a", "mirror/team/c"]));
        let named = format!("{}/team/b", world.source_host);
        assert_eq!(apart(&world), [json!({ "repository": named })]);
        let records = fanout.records();
        let told = records.iter().find(|record| record["repository"] == *named).expect("a line names it");
        assert_eq!((&told["level"], &told["error_type"]), (&json!("ERROR"), &json!("Denied")), "{told}");

        // Its own message has the dead letter, which does what was left once the cause is gone.
        let (body, error_type, message) = buried(&world, &mut fanout).await;
        assert_eq!(error_type, "Denied");
        assert!(message.contains("team/b"), "{message}");
        world.source.faults().clear();
        let summary = ordered(&world, &mut fanout, &body, LIMIT).await;
        assert_counts(&summary, &[("failed", 0), ("enqueued", 1)]);
        assert_eq!(destinations(&world), set(&world, &["mirror/team/a", "mirror/team/b", "mirror/team/c"]));
    })
    .await;
}

#[tokio::test]
async fn repositories_that_rules_name_and_that_are_not_there_stop_nothing() {
    watched(async {
        let mut world = world(&["team/b"]).await;
        let rule = |name: &str| {
            json!({
                "source": { "registry": &world.source_host, "repository": name },
                "destinations": [format!("{}/mirror/{{repository}}", world.destination_host)],
            })
        };
        world.config["rules"] = json!([rule("team/a"), rule("team/b")]);
        let mut fanout = fanout(&world).await;
        let dry = backfilled(&world, &mut fanout, json!({ "dry_run": true })).await;
        assert_counts(&dry, &[("failed", 1), ("missing", 1), ("enqueued", 0)]);
        assert_eq!(enqueued(&world).len(), 0, "a dry run only tells");
        let summary = backfilled(&world, &mut fanout, json!({})).await;
        assert_counts(&summary, &[("failed", 1), ("missing", 1), ("enqueued", 1)]);
        assert_eq!(apart(&world), [json!({ "repository": format!("{}/team/a", world.source_host) })]);
        let (_, error_type, _) = buried(&world, &mut fanout).await;
        assert_eq!(json!(error_type), summary["error_type"]);
    })
    .await;
}

#[tokio::test]
async fn a_destination_that_says_no_leaves_the_others_their_share() {
    watched(async {
        let mut world = world(&["team/a", "team/b"]).await;
        let host = world.destination_host.clone();
        let both = json!([format!("{host}/mirror/{{repository}}"), format!("{host}/other/{{repository}}")]);
        world.rule().insert("destinations".into(), both);
        let denied = Fault::on(Kind::ManifestHead).path("mirror/team/a").forever().then(Action::status(403));
        world.destination.faults().add(denied);
        let mut fanout = fanout(&world).await;
        let summary = backfilled(&world, &mut fanout, json!({})).await;
        assert_counts(&summary, &[("failed", 1), ("repositories", 1), ("missing", 3), ("enqueued", 3)]);
        assert_eq!(destinations(&world), set(&world, &["mirror/team/b", "other/team/a", "other/team/b"]));
        assert_eq!(apart(&world), [json!({ "repository": format!("{}/team/a", world.source_host) })]);
        let (_, error_type, message) = buried(&world, &mut fanout).await;
        assert_eq!(error_type, "Denied");
        assert!(message.contains("mirror/team/a"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_registry_without_a_list_leaves_the_others_theirs() {
    watched(async {
        let mut world = world(&["team/a"]).await;
        let (source, destination) = (world.source_host.clone(), world.destination_host.clone());
        let back = json!({
            "source": { "registry": &destination, "repository": "own/**" },
            "destinations": [format!("{source}/copy/{{repository}}")],
        });
        world.config["rules"].as_array_mut().unwrap().push(back);
        world.destination.faults().add(Fault::on(Kind::Catalog).forever().then(Action::status(404)));
        let mut fanout = fanout(&world).await;
        let summary = backfilled(&world, &mut fanout, json!({})).await;
        assert_counts(&summary, &[("failed", 1), ("repositories", 1), ("enqueued", 1)]);
        assert_eq!(apart(&world), [json!({ "repository": format!("{destination}/**") })]);
        let (_, _, message) = buried(&world, &mut fanout).await;
        assert!(message.contains("name each repository"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn what_may_pass_waits_by_itself_and_a_registry_in_trouble_keeps_what_was_done() {
    watched(async {
        let names = ["team/a", "team/b", "team/c", "team/d", "team/e", "team/f"];
        let world = world(&names).await;
        let busy = |name: &str| {
            // So long that no try is made within the invocation.
            let headers = vec![("Retry-After".to_owned(), "600".to_owned())];
            let down = Action::Status { code: 500, headers, body: String::new() };
            world.source.faults().add(Fault::on(Kind::TagsList).path(&format!("team/{name}/")).forever().then(down));
        };
        busy("b");
        let mut fanout = fanout(&world).await;
        let summary = backfilled(&world, &mut fanout, json!({})).await;
        assert_counts(&summary, &[("failed", 1), ("repositories", 5), ("enqueued", 5)]);
        assert_eq!(apart(&world), [json!({ "repository": format!("{}/team/b", world.source_host) })]);
        for name in ["c", "d", "e", "f"] {
            busy(name);
        }
        let summary = backfilled(&world, &mut fanout, json!({})).await;
        assert_eq!((&summary["finished"], &summary["error_type"]), (&json!(false), &json!("Unavailable")), "{summary}");
        assert_counts(&summary, &[("failed", 2), ("repositories", 1), ("enqueued", 1)]);
        let rest = apart(&world).pop().unwrap();
        assert_eq!(rest["cursor"]["repository"], "team/d", "the third in a row: {rest}");

        // That comes no further: it stays in the queue, and nothing goes on from there.
        let known = apart(&world).iter().filter(|order| order.get("cursor").is_some()).count();
        world.aws.sqs().send("orders", &json!({ "backfill": rest }).to_string());
        let mapping = EventSource::new(world.aws.sqs(), "orders").timeout(Duration::from_secs(30));
        let delivery = mapping.deliver(&mut fanout).await.unwrap();
        assert_eq!(delivery.kept.len(), 1, "{delivery:?}");
        assert_eq!(apart(&world).iter().filter(|order| order.get("cursor").is_some()).count(), known);
        assert_eq!(summaries(&fanout).pop().unwrap()["error_type"], "Unavailable");
    })
    .await;
}
