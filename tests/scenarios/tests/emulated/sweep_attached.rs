//! A backfill that looks at what is attached to images that are there: what was lost arrives, and nothing else moves.

use std::{collections::BTreeSet, time::Duration};

use emulator::{Action, Builder, Descriptor, Fault, Image, Index, Kind, Layer, Personality, Registry, image::Child};
use scenarios::{
    Function, World,
    attached::{Release, SBOM, SIGNATURE, SIMPLE_SIGNING, artifact, attested, tag_of},
    world::DESTINATION,
};
use serde_json::{Value, json};

use crate::{
    backfill::{assert_counts, backfilled, drained, enqueued, fanout},
    backfill_lists::{tags, to_the_end},
    platforms,
    support::{assert_nothing_written, eventually, logged_results, multi_platform, watched},
};

const REPOSITORY: &str = "team/app";
const MIRROR: &str = "mirror/team/app";

fn plain() -> Builder {
    Registry::builder(Personality::Plain)
}

/// The message's order for the one repository.
fn order(world: &World, attached: bool) -> Value {
    json!({ "repository": format!("{}/{REPOSITORY}", world.source_host), "attached": attached })
}

fn child(index: &Index) -> Descriptor {
    let Child::Image(image) = &index.children[1] else { panic!("its children are images") };
    image.descriptor()
}

/// Has an image at both ends, as an earlier copy left it.
fn copied(world: &World, image: &Image, tag: &str) {
    image.push_to(world.source.store(), REPOSITORY, tag);
    image.push_to(world.destination.store(), MIRROR, tag);
}

/// Does what is enqueued; its results.
async fn done(world: &World, function: &mut Function) -> Vec<Value> {
    let (before, more) = (logged_results(function).len(), enqueued(world).len());
    drained(world, function).await;
    eventually("all results are logged", || logged_results(function).len() >= before + more).await;
    logged_results(function).split_off(before)
}

#[tokio::test]
async fn what_was_attached_unheard_arrives_and_the_next_sweep_moves_nothing() {
    watched(async {
        for api in [true, false] {
            let world = match api {
                true => World::ecr(|destination| destination).await,
                false => World::between(plain().referrers(false), plain().referrers(false)).await,
            };
            let (source, destination) = (world.source.store(), world.destination.store());
            let release = Release::new();
            for tag in ["v1", "latest"] {
                release.index.push_to(source, REPOSITORY, tag);
                release.index.push_to(destination, MIRROR, tag);
            }
            copied(&world, &Image::small(70), "v2");
            release.push_to(source, REPOSITORY, "v1", api);
            let (of_child, tag) = (Image::small(71), tag_of(&child(&release.index).digest, ".att"));
            of_child.push_to(source, REPOSITORY, &tag);

            let mut function = fanout(&world).await;
            let summary = backfilled(&world, &mut function, order(&world, false)).await;
            assert_counts(&summary, &[("matched", 3), ("current", 3), ("revisited", 0), ("enqueued", 0)]);
            let summary = backfilled(&world, &mut function, order(&world, true)).await;
            assert_counts(&summary, &[("matched", 3), ("current", 3), ("missing", 0), ("different", 0)]);
            // Two images, whatever the number of their tags.
            assert_counts(&summary, &[("revisited", 2), ("enqueued", 2)]);
            for body in enqueued(&world) {
                assert_eq!((body.get("heard"), body.get("tags")), (None, None), "{body}");
            }
            let results = done(&world, &mut function).await;
            assert!(results.iter().all(|result| result["outcome"] == "current"), "{results:?}");
            let mut pushed: Vec<_> = results.iter().map(|result| result["referrers"]["pushed"].as_u64()).collect();
            pushed.sort_unstable();
            assert_eq!(pushed, [Some(0), Some(5)], "{results:?}");
            release.assert_arrived(destination, MIRROR, "v1", api);
            assert_eq!(destination.tag(MIRROR, &tag), Some(of_child.digest));

            // A process of its own, which knows nothing of what the last one sent.
            let mut function = fanout(&world).await;
            world.forget();
            let summary = backfilled(&world, &mut function, order(&world, true)).await;
            assert_counts(&summary, &[("current", 3), ("revisited", 2), ("enqueued", 2)]);
            let results = done(&world, &mut function).await;
            assert_eq!(results.len(), 2);
            for result in results {
                assert_eq!(
                    (&result["outcome"], &result["bytes"]["written"]),
                    (&json!("current"), &json!(0)),
                    "{result}"
                );
                assert_eq!(result["referrers"]["pushed"], 0, "{result}");
            }
            assert_nothing_written(&world.destination);
        }
    })
    .await;
}

#[tokio::test]
async fn an_image_that_goes_to_a_place_anyway_is_not_enqueued_for_it_twice() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let release = Release::new();
        release.push_to(world.source.store(), REPOSITORY, "v1", true);
        release.index.push_to(world.source.store(), REPOSITORY, "v1.0");
        release.index.push_to(world.destination.store(), MIRROR, "v1");
        let mut function = fanout(&world).await;
        let dry = json!({
            "repository": format!("{}/{REPOSITORY}", world.source_host), "attached": true, "dry_run": true,
        });
        for order in [dry, order(&world, true)] {
            let summary = backfilled(&world, &mut function, order).await;
            assert_counts(&summary, &[("matched", 2), ("current", 1), ("missing", 1), ("revisited", 1)]);
        }
        // One message, with both tags.
        let bodies = enqueued(&world);
        assert_eq!((bodies.len(), bodies[0]["tags"].as_array().map(Vec::len)), (1, Some(1)), "{bodies:?}");
        drained(&world, &mut function).await;
        release.assert_arrived(world.destination.store(), MIRROR, "v1.0", true);
        let dry = json!({
            "repository": format!("{}/{REPOSITORY}", world.source_host), "attached": true, "dry_run": true,
        });
        let summary = backfilled(&world, &mut function, dry).await;
        assert_counts(&summary, &[("current", 2), ("revisited", 1), ("enqueued", 0)]);
        assert_eq!(enqueued(&world).len(), 0);
    })
    .await;
}

/// `latest` is to be moved, and can't be; the image that is to get it is there as `v1`, and lacks its signature.
#[tokio::test]
async fn a_tag_that_fails_keeps_nothing_back_from_its_image() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        world.rule().insert("existing_tag".into(), "fail".into());
        let release = Release::new();
        release.push_to(world.source.store(), REPOSITORY, "v1", true);
        release.index.push_to(world.source.store(), REPOSITORY, "latest");
        release.index.push_to(world.destination.store(), MIRROR, "v1");
        Image::small(80).push_to(world.destination.store(), MIRROR, "latest");
        let mut function = fanout(&world).await;
        let summary = backfilled(&world, &mut function, order(&world, true)).await;
        assert_counts(&summary, &[("current", 1), ("different", 1), ("revisited", 1)]);
        drained(&world, &mut function).await;
        release.assert_arrived(world.destination.store(), MIRROR, "v1", true);
    })
    .await;
}

#[tokio::test]
async fn where_nothing_attached_is_wanted_nothing_is_looked_at() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        let image = Image::small(1);
        copied(&world, &image, "v1");
        image.push_to(world.destination.store(), "bare/app", "v1");
        let bare = json!({ "destinations": [format!("{DESTINATION}/bare/{{name}}")], "referrers": false });
        world.config["rules"].as_array_mut().unwrap().push(bare);
        let mut function = fanout(&world).await;
        let summary = backfilled(&world, &mut function, order(&world, true)).await;
        assert_counts(&summary, &[("matched", 2), ("current", 2), ("revisited", 1), ("enqueued", 1)]);
        assert_eq!(enqueued(&world)[0]["destination"], format!("{DESTINATION}/{MIRROR}:v1"));
        done(&world, &mut function).await;

        let mut own = order(&world, true);
        own["destination"] = json!(format!("{DESTINATION}/{MIRROR}"));
        for (referrers, revisited) in [(json!(false), 0), (json!({ "include": [SBOM] }), 1)] {
            own["referrers"] = referrers;
            let summary = backfilled(&world, &mut function, own.clone()).await;
            assert_counts(&summary, &[("current", 1), ("revisited", revisited), ("enqueued", revisited)]);
        }
    })
    .await;
}

#[tokio::test]
async fn what_goes_on_in_another_invocation_looks_at_what_is_attached_there_too() {
    watched(async {
        const TAGS: u64 = 120;
        let world = World::between(plain().list_page(30), plain()).await;
        for number in 0..TAGS {
            copied(&world, &Image::small(number), &format!("v{number:03}"));
        }
        // A page takes half a second at least, an invocation has 1.6.
        let slow = Fault::on(Kind::ManifestHead).forever().then(Action::Delay(Duration::from_millis(250)));
        world.source.faults().add(slow);
        let summaries = to_the_end(&world, order(&world, true), Duration::from_secs(2)).await;
        assert!(summaries.len() > 1, "{summaries:?}");
        let last = summaries.last().unwrap();
        assert_counts(last, &[("listed", TAGS), ("current", TAGS), ("revisited", TAGS), ("enqueued", TAGS)]);
        let tags = tags(&enqueued(&world));
        assert_eq!(tags.iter().collect::<BTreeSet<_>>().len() as u64, TAGS, "every image");
        assert_eq!(tags.len() as u64, TAGS, "and none twice");
    })
    .await;
}

/// Where a `GET` counts as a pull, an unchanged image's children are not looked at, unless that is asked for.
#[tokio::test]
async fn children_are_looked_at_where_pulls_are_counted() {
    watched(async {
        let world = World::between(Registry::builder(Personality::DockerHub).open(), plain()).await;
        let index = multi_platform(1, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        index.push_to(world.destination.store(), MIRROR, "v1");
        let sbom = artifact(SBOM, "of a child", &child(&index));
        sbom.push_to(world.source.store(), REPOSITORY, &sbom.digest);
        let mut function = fanout(&world).await;
        let summary = backfilled(&world, &mut function, order(&world, true)).await;
        assert_counts(&summary, &[("current", 1), ("enqueued", 1)]);
        let results = done(&world, &mut function).await;
        assert_eq!(results[0]["referrers"]["pushed"], 1, "{results:?}");
        world.destination.store().is_whole(MIRROR, &sbom.digest).unwrap();
    })
    .await;
}

#[tokio::test]
async fn of_chosen_platforms_what_is_attached_to_the_chosen_is_looked_at() {
    watched(async {
        let mut world = platforms::world(Personality::Ecr, json!(["linux/amd64"])).await;
        world.rule().insert("referrers".into(), true.into());
        let index = attested(&["linux/arm64", "linux/amd64"]);
        index.push_to(world.source.store(), REPOSITORY, "v1");
        let mut function = fanout(&world).await;
        backfilled(&world, &mut function, order(&world, false)).await;
        done(&world, &mut function).await;
        let filtered = world.destination.store().tag(MIRROR, "v1").unwrap();
        assert_ne!(filtered, index.digest);

        let signature = artifact(SIGNATURE, "of the child", &child(&index));
        signature.push_to(world.source.store(), REPOSITORY, &signature.digest);
        let by_tag = Image::builder().layer(Layer::from_bytes(SIMPLE_SIGNING, "signed")).build();
        let tag = tag_of(&child(&index).digest, ".sig");
        by_tag.push_to(world.source.store(), REPOSITORY, &tag);
        for pushed in [2, 0] {
            let summary = backfilled(&world, &mut function, order(&world, true)).await;
            assert_counts(&summary, &[("current", 1), ("different", 0), ("revisited", 1), ("enqueued", 1)]);
            let results = done(&world, &mut function).await;
            assert_eq!(
                (&results[0]["outcome"], &results[0]["referrers"]["pushed"]),
                (&json!("current"), &json!(pushed))
            );
        }
        world.destination.store().is_whole(MIRROR, &signature.digest).unwrap();
        assert_eq!(world.destination.store().tag(MIRROR, &tag), Some(by_tag.digest));
        assert_eq!(world.destination.store().tag(MIRROR, "v1"), Some(filtered));
    })
    .await;
}

/// What docs/operations.md says of it.
#[tokio::test]
async fn an_image_with_nothing_attached_costs_a_message_and_four_requests() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        copied(&world, &Image::small(1), "v1");
        let mut function = fanout(&world).await;
        let summary = backfilled(&world, &mut function, order(&world, true)).await;
        assert_counts(&summary, &[("enqueued", 1), ("source_requests", 0), ("destination_requests", 0)]);
        assert_eq!(world.aws.count("sqs", "SendMessageBatch"), 1);
        world.forget();
        done(&world, &mut function).await;
        let (source, destination) = (world.source.journal(), world.destination.journal());
        let asked = [Kind::ManifestGet, Kind::Referrers, Kind::TagsList].map(|kind| source.count(kind));
        assert_eq!((asked, source.len()), ([1, 1, 1], 3), "{:#?}", source.entries());
        assert_eq!((destination.count(Kind::ManifestHead), destination.len()), (1, 1), "{:#?}", destination.entries());
    })
    .await;
}
