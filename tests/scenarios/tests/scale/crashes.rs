//! Fifty images from one backfill message, by a function that is killed at random requests, again and again.
//!
//! The registries themselves look for what must never happen (`Registry::begin_audit`): a manifest before what is below
//! it, and a committed blob that is sent again. `TRANSSHIP_CRASH_SEED` chooses other crash points.

use std::{collections::BTreeMap, time::Duration};

use emulator::{
    Image, Index, Kind, Moment, Personality, Registry, Tripwire,
    image::{OCI_INDEX, raw_layer},
};
use fastrand::Rng;
use scenarios::{
    EventSource, Function, Outcome, World,
    event_source::Delivery,
    flows::{image_message, watched},
    world::{DESTINATION, SOURCE},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::TIMEOUT;

/// The destinations, and how long they validate what they have taken: once for longer than a new process needs to look for
/// what the last one sent. The plain one takes any manifest.
const LANES: [(Personality, u64); 6] = [
    (Personality::Ecr, 1300),
    (Personality::Plain, 0),
    (Personality::Ecr, 300),
    (Personality::Acr, 0),
    (Personality::Ecr, 100),
    (Personality::Ghcr, 0),
];

/// For all of it: on an idle machine it takes a minute, most of which is validation.
const LIMIT: Duration = Duration::from_secs(480);

/// How often a process is killed on the way to each.
const KILLS: usize = 50;

const IMAGES: u64 = 50;
const REPOSITORIES: u64 = 5;

/// The type of artifacts that no destination here takes.
const REFUSED: &str = "application/vnd.example.refused";

fn seed() -> u64 {
    std::env::var("TRANSSHIP_CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// What is to become of a tag.
#[derive(Debug, Clone)]
enum Fate {
    /// The destination has this digest.
    Synced(String),
    /// It is in the dead-letter queue as this.
    Buried(&'static str),
}

fn image(number: u64) -> Image {
    let repository = number % REPOSITORIES;
    let base = (0..2).map(|layer| raw_layer(1000 + 10 * repository + layer, 9000));
    // Another image of the repository has this one too.
    let family = raw_layer(2000 + 10 * repository + number / 10, 6000);
    let own = (0..number % 3).map(|layer| raw_layer(10 * number + layer, 3000));
    Image::builder().layers(base).layer(family).layers(own).label("number", &number.to_string()).build()
}

fn index(number: u64) -> Index {
    let child = |platform: &str| {
        let base = raw_layer(1000 + 10 * (number % REPOSITORIES), 9000);
        Image::builder().platform(platform).layer(base).label("number", &format!("{number} {platform}")).build()
    };
    Index::of(&[&child("linux/amd64"), &child("linux/arm64")])
}

/// Fills the source: fifty images, six of which nobody can copy. What is to become of each tag.
fn fill(source: &Registry) -> BTreeMap<(String, String), Fate> {
    let store = source.store();
    let mut fates = BTreeMap::new();
    for number in 0..IMAGES {
        let (repository, tag) = (format!("team/app{}", number % REPOSITORIES), format!("v{number}"));
        let hopeless = Image::builder().layer(raw_layer(10 * number, 5000)).build();
        let layer = hopeless.layers[0].digest().to_owned();
        let fate = match number {
            44..=47 => {
                hopeless.push_to(store, &repository, &tag);
                match number {
                    44 => store.remove_blob(&repository, &layer),
                    45 => store.remove_blob(&repository, &hopeless.blobs()[0]),
                    46 => store.put_raw_blob(&repository, &layer, vec![7; 5000]),
                    _ => store.put_raw_blob(&repository, &layer, vec![7; 4000]),
                }
                Fate::Buried(if number < 46 { "SourceNotFound" } else { "DigestMismatch" })
            }
            48 => {
                Image::builder().artifact(REFUSED).layer(raw_layer(480, 5000)).build().push_to(
                    store,
                    &repository,
                    &tag,
                );
                Fate::Buried("ManifestInvalid")
            }
            49 => {
                let index = Index::of(&[&hopeless]);
                store.put_manifest(&repository, &tag, OCI_INDEX, index.manifest);
                Fate::Buried("SourceNotFound")
            }
            number if number % 7 == 3 => Fate::Synced(index(number).push_to(store, &repository, &tag)),
            number => Fate::Synced(image(number).push_to(store, &repository, &tag)),
        };
        fates.insert((repository, tag), fate);
    }
    fates
}

/// A world that is filled, with a wire across all its servers.
struct Ground {
    world: World,
    wire: Tripwire,
    fanout: Function,
    rng: Rng,
    kills: usize,
}

impl Ground {
    async fn new((personality, lag): (Personality, u64), rng: Rng) -> Self {
        let builder = Registry::builder(personality).refuse_artifacts(REFUSED);
        let (builder, host) = match personality {
            Personality::Ecr => (
                builder.account("222233334444").region("eu-west-1").validation_lag(Duration::from_millis(lag)),
                Some(DESTINATION),
            ),
            Personality::Plain => (builder.open().believe_manifests(), None),
            _ => (builder.open(), None),
        };
        let world = World::build(|source| source.list_page(9), builder, host).await;
        let (wire, sqs) = (Tripwire::default(), world.aws.sqs());
        world.source.string(&wire);
        world.destination.string(&wire);
        world.aws.string(&wire);
        world.destination.begin_audit();
        for number in 0..REPOSITORIES {
            world.destination.store().create_repository(&format!("mirror/team/app{number}"));
        }
        let (work, dead) = (sqs.create("work", Duration::from_secs(600)), sqs.create("dead", Duration::from_secs(600)));
        let env = [("TRANSSHIP_QUEUE_URL", work.as_str()), ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())];
        let fanout = world.function("fanout", &env).await;
        Self { world, wire, fanout, rng, kills: 0 }
    }

    /// Works until the queue is empty; kills the process so often at most.
    async fn work(&mut self, most: usize, say: &str) {
        let sqs = self.world.aws.sqs();
        let mut set = false;
        loop {
            if self.kills < most && !set {
                let moment = [Moment::Arrived, Moment::Done, Moment::Answered][self.rng.usize(0..3)];
                // Some of them are close together.
                let within = [6, 50][self.rng.usize(0..2)];
                self.wire.set(self.rng.usize(1..=within), moment);
                set = true;
            }
            sqs.shuffle("work", || self.rng.u64(..));
            let mapping = EventSource::new(sqs, "work").batch_size(self.rng.usize(1..=10)).timeout(TIMEOUT);
            let done = tokio::select! {
                biased;
                what = self.wire.tripped(), if set => Err(what),
                delivery = mapping.deliver(&mut self.fanout) => Ok(delivery),
            };
            match done {
                Ok(Some(Delivery { outcome: Outcome::Ok(_), .. })) => {}
                Ok(None) if sqs.messages("work").is_empty() => return self.wire.lower(),
                Ok(None) => sqs.skip_waiting("work"),
                Ok(Some(other)) => panic!("{say}: {other:?}"),
                Err(what) => {
                    set = false;
                    self.fanout.kill().await;
                    self.kills += 1;
                    // What the dead one's last requests did is done when the next one begins.
                    for registry in [&self.world.source, &self.world.destination] {
                        assert!(registry.journal().idle(Duration::from_secs(20)).await, "{say}: after {what}");
                    }
                    self.check(&format!("{say}, killed {} times, last at {what}", self.kills));
                    sqs.skip_waiting("work");
                }
            }
        }
    }

    /// What holds at every moment.
    fn check(&self, say: &str) {
        let found = self.world.destination.audited();
        assert!(found.is_empty(), "{say}: {found:#?}");
        let store = self.world.destination.store();
        for repository in store.repositories() {
            for tag in store.tags(&repository) {
                store.is_whole(&repository, &tag).unwrap_or_else(|reason| panic!("{say}: {tag} points at {reason}"));
            }
        }
    }

    /// Every tag has met its fate.
    fn assert_fates(&self, fates: &BTreeMap<(String, String), Fate>, say: &str) {
        let store = self.world.destination.store();
        let letters = self.world.aws.sqs().messages("dead");
        for ((repository, tag), fate) in fates {
            let source = format!("{SOURCE}/{repository}:{tag}");
            let of_it = letters.iter().filter(|letter| letter.body.contains(&format!("{source}\"")));
            let reasons: Vec<_> =
                of_it.map(|one| (one.attribute("error_type"), one.attribute("error_message"))).collect();
            let there = store.tag(&format!("mirror/{repository}"), tag);
            match fate {
                Fate::Synced(digest) => {
                    assert_eq!(there.as_ref(), Some(digest), "{say}: {source}");
                    assert!(reasons.is_empty(), "{say}: {source} is no dead letter: {reasons:?}");
                }
                Fate::Buried(error_type) => {
                    assert_eq!(there, None, "{say}: {source}");
                    assert!(!reasons.is_empty(), "{say}: {source} is nowhere");
                    let explained = |(of, why): &(Option<&str>, Option<&str>)| {
                        *of == Some(*error_type) && why.is_some_and(|why| why.len() > 20)
                    };
                    assert!(reasons.iter().all(explained), "{say}: {source}: {reasons:?}");
                }
            }
        }
    }
}

/// Backfills to such a destination until the process was killed often enough; how often that is.
async fn lane(number: usize) -> usize {
    let (mut kills, mut round) = (0, 0);
    while kills < KILLS {
        let seed = seed() * 1000 + 10 * number as u64 + round;
        let mut ground = Ground::new(LANES[number], Rng::with_seed(seed)).await;
        let say = format!("{:?}, lane {number}, seed {seed}", LANES[number].0);
        let fates = fill(&ground.world.source);
        let order = json!({ "backfill": { "repository": format!("{SOURCE}/team/*") } });
        ground.world.aws.sqs().send("work", &order.to_string());
        let begun = std::time::Instant::now();
        ground.work(KILLS - kills, &say).await;
        ground.check(&say);
        ground.assert_fates(&fates, &say);
        eprintln!("{say}: killed {} times in {:?}", ground.kills, begun.elapsed());
        kills += ground.kills;
        round += 1;
    }
    kills
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_survives_three_hundred_crashes() {
    watched(LIMIT, async {
        let lanes: JoinSet<usize> = (0..LANES.len()).map(lane).collect();
        // One that fails says its seed and ends the test.
        let kills: usize = lanes.join_all().await.into_iter().sum();
        assert_eq!(kills, 300);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_blobs_of_a_large_image_are_sent_once_whatever_dies_between_them() {
    watched(LIMIT, async {
        for (seed, lane) in (seed()..).zip([LANES[0], LANES[1], LANES[3]]) {
            let mut ground = Ground::new(lane, Rng::with_seed(seed)).await;
            let image = Image::builder().layers((1..=40).map(|seed| raw_layer(seed, 60_000))).build();
            image.push_to(ground.world.source.store(), "team/app0", "v1");
            let to = format!("{}/mirror/team/app0:v1", ground.world.destination_host);
            ground.world.aws.sqs().send("work", &image_message(format!("{SOURCE}/team/app0:v1"), to));
            let say = format!("{:?}, seed {seed}", lane.0);
            ground.work(8, &say).await;
            ground.check(&say);
            assert!(ground.kills >= 2, "{say}: killed {} times", ground.kills);
            let store = ground.world.destination.store();
            assert_eq!(store.tag("mirror/team/app0", "v1"), Some(image.digest.clone()), "{say}");
            let taken = ground.world.destination.journal().of(Kind::UploadPut).len();
            eprintln!("{say}: {} blobs, {taken} uploads, killed {} times", image.blobs().len(), ground.kills);
        }
    })
    .await;
}
