//! A backfill under a rule with platforms: what is there is found to be there, although its digest is not the source's.

use emulator::{Image, Kind, Personality};
use scenarios::world::SOURCE;
use serde_json::json;

use crate::{
    backfill::{assert_counts, backfilled, drained, enqueued, fanout},
    platforms::{MIRROR, REPOSITORY, attested, world},
    support::watched,
};

#[tokio::test]
async fn a_second_sweep_enqueues_nothing_and_reads_each_index_once() {
    watched(async {
        for to in [Personality::Ecr, Personality::Plain] {
            let world = world(to, json!(["linux/amd64", "linux/arm64"])).await;
            let (index, single) = (attested(1), Image::builder().platform("linux/arm64").build());
            for tag in ["v1", "v1.2", "latest"] {
                index.push_to(world.source.store(), REPOSITORY, tag);
            }
            single.push_to(world.source.store(), REPOSITORY, "v2");
            let mut fanout = fanout(&world).await;
            let order = json!({ "repository": format!("{SOURCE}/{REPOSITORY}") });
            let summary = backfilled(&world, &mut fanout, order.clone()).await;
            assert_counts(&summary, &[("matched", 4), ("missing", 4), ("enqueued", 2), ("source_requests", 0)]);
            drained(&world, &mut fanout).await;
            let filtered = world.destination.store().tag(MIRROR, "v1").unwrap();
            assert_ne!(filtered, index.digest);
            assert_eq!(world.destination.store().tag(MIRROR, "latest").as_ref(), Some(&filtered));

            world.forget();
            let summary = backfilled(&world, &mut fanout, order.clone()).await;
            assert_counts(&summary, &[("matched", 4), ("current", 4), ("enqueued", 0), ("source_requests", 2)]);
            assert_eq!(enqueued(&world).len(), 0);
            let source = world.source.journal();
            assert_eq!((source.count(Kind::ManifestGet), source.len()), (2, 2), "each digest once");

            // One that holds the whole index is not what the rule asks for; nor is an older image.
            index.push_to(world.destination.store(), MIRROR, "v1");
            attested(50).push_to(world.destination.store(), MIRROR, "v1.2");
            let summary = backfilled(&world, &mut fanout, order).await;
            assert_counts(&summary, &[("current", 2), ("different", 2), ("enqueued", 1)]);
            drained(&world, &mut fanout).await;
            for tag in ["v1", "v1.2"] {
                assert_eq!(world.destination.store().tag(MIRROR, tag).as_ref(), Some(&filtered), "{tag}");
            }
        }
    })
    .await;
}
