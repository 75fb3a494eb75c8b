//! Backfills of long pages and long lists: where the next invocation goes on within a page, and what is sent when.

use std::{collections::BTreeSet, time::Duration};

use emulator::{Action, Fault, Image, Kind, Personality, Registry};
use scenarios::World;
use serde_json::json;

use crate::{
    backfill::{assert_counts, backfilled, enqueued, fanout},
    backfill_lists::{tags, to_the_end},
    support::watched,
};

/// Between plain registries, whose source has so many tags; the first three are of one image.
async fn world(tags: u64) -> World {
    let plain = || Registry::builder(Personality::Plain);
    let world = World::between(plain(), plain()).await;
    for number in 0..tags {
        let image = Image::builder().label("number", &number.max(2).to_string()).build();
        image.push_to(world.source.store(), "team/app", &format!("v{number:04}"));
    }
    world
}

#[tokio::test]
async fn a_page_that_outlasts_the_invocation_goes_on_behind_what_was_dealt_with() {
    watched(async {
        const TAGS: u64 = 250;
        let world = world(TAGS).await;
        // A step of a hundred takes two seconds at least, an invocation has five.
        let slow = Fault::on(Kind::ManifestHead).forever().then(Action::Delay(Duration::from_millis(300)));
        world.source.faults().add(slow);
        let order = json!({ "repository": format!("{}/team/app", world.source_host) });
        let summaries = to_the_end(&world, order, Duration::from_secs(6)).await;
        assert!(summaries.len() > 1, "{summaries:?}");
        assert_eq!(world.source.journal().count(Kind::TagsList), summaries.len(), "it is one page");
        assert_counts(summaries.last().unwrap(), &[("listed", TAGS), ("missing", TAGS), ("enqueued", TAGS - 2)]);
        let tags = tags(&enqueued(&world));
        assert_eq!(tags.len() as u64, TAGS - 2);
        assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), tags.len(), "none is enqueued twice");
    })
    .await;
}

#[tokio::test]
async fn a_long_list_is_sent_in_full_batches_while_it_is_read() {
    watched(async {
        const TAGS: u64 = 1002;
        let world = world(TAGS).await;
        let mut fanout = fanout(&world).await;
        let summary =
            backfilled(&world, &mut fanout, json!({ "repository": format!("{}/team/app", world.source_host) })).await;
        assert_counts(&summary, &[("listed", TAGS), ("missing", TAGS), ("enqueued", TAGS - 2), ("invocations", 1)]);
        let sent: Vec<_> = world.aws.calls().into_iter().filter(|call| call.operation == "SendMessageBatch").collect();
        assert_eq!(sent.len() as u64, (TAGS - 2) / 10, "every batch is full");
        let last = world.source.journal().entries().pop().unwrap();
        assert!(sent[0].at < last.at, "what was found is not held until the end");
    })
    .await;
}
