//! A backfill whose source is ECR Public. Its guide says that it has no tags API, and it has been seen to answer: right
//! either way.

use emulator::{Image, Kind, Personality, Registry};
use scenarios::World;
use serde_json::json;

use crate::{
    backfill::{assert_counts, backfilled, enqueued, fanout},
    support::watched,
};

/// From ECR Public, which answers `tags/list` or not, with three tags.
async fn world(lists: bool) -> World {
    let source = Registry::builder(Personality::EcrPublic);
    let source = if lists { source.lists_tags() } else { source };
    let mut world = World::between(source, Registry::builder(Personality::Plain)).await;
    for number in 0..3 {
        Image::small(number).push_to(world.source.store(), "nginx/nginx", &format!("1.2{number}"));
    }
    let source = json!({ "registry": &world.source_host, "repository": "nginx/nginx" });
    world.rule().insert("source".into(), source);
    world
}

#[tokio::test]
async fn where_tags_are_listed_all_are_found() {
    watched(async {
        let world = world(true).await;
        let mut fanout = fanout(&world).await;
        let order = json!({ "repository": format!("{}/nginx/nginx", world.source_host) });
        let summary = backfilled(&world, &mut fanout, order).await;
        assert_counts(&summary, &[("listed", 3), ("missing", 3), ("enqueued", 3)]);
        assert_eq!(enqueued(&world).len(), 3);
    })
    .await;
}

#[tokio::test]
async fn where_they_are_not_the_failure_says_what_to_do_instead() {
    watched(async {
        let world = world(false).await;
        let mut fanout = fanout(&world).await;
        let order = json!({ "repository": format!("{}/nginx/nginx", world.source_host) });
        let summary = backfilled(&world, &mut fanout, order).await;
        assert_eq!(summary["error_type"], "Denied", "{summary}");
        let message = summary["error_message"].as_str().unwrap();
        for part in ["nginx/nginx", "405", "ECR Public lists no tags", "a message for each image"] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(enqueued(&world).len(), 0);
        assert_eq!(world.aws.sqs().messages("dead").len(), 1, "no other try can do");
        // One that asks for the login, and one that is told.
        assert!(world.source.journal().count(Kind::TagsList) <= 2);
    })
    .await;
}
