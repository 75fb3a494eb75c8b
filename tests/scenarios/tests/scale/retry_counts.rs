//! Whatever goes wrong, and however much of it: what was sent again is counted, once each, and nothing else is.

use emulator::{Action, Fault, Image, Kind, Origin, Registry};
use scenarios::{World, flows::digits};

use crate::support::{asked, image_of, prepare, ready, side_by_side, synced, watched};

/// A die that falls the same way in every run of a seed (splitmix64).
struct Die(u64);

impl Die {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    /// What may happen to any request.
    fn trouble(&mut self) -> Action {
        match self.roll(9) {
            0 => Action::status(500),
            1 => Action::status(502),
            2 => Action::error(503, "UNAVAILABLE", "come back later"),
            3 => Action::status(504),
            4 => Action::throttle(None),
            5 => Action::throttle(Some(1)),
            6 => Action::Reset,
            7 => Action::RefuseStream,
            _ => Action::DoThenReset,
        }
    }
}

/// What is asked of the source, and of the destination.
const OF_SOURCE: [(Kind, Origin); 4] = [
    (Kind::ManifestGet, Origin::Registry),
    (Kind::ManifestHead, Origin::Registry),
    (Kind::BlobGet, Origin::Registry),
    (Kind::BlobGet, Origin::Blobs),
];
const OF_DESTINATION: [(Kind, Origin); 4] = [
    (Kind::ManifestHead, Origin::Registry),
    (Kind::UploadStart, Origin::Registry),
    (Kind::UploadPut, Origin::Registry),
    (Kind::ManifestPut, Origin::Registry),
];

/// Up to two troubles for each kind of request: fewer than the tries of one. Bodies are cut too. What breaks reads and
/// what breaks uploads is kept to different layers: who has turned away from an upload sees nothing of a broken read.
fn script(world: &World, image: &Image, die: &mut Die) {
    for (registry, kinds) in [(&world.source, OF_SOURCE), (&world.destination, OF_DESTINATION)] {
        for (kind, origin) in kinds {
            for _ in 0..die.roll(3) {
                let skip = usize::try_from(die.roll(4)).expect("it is less than four");
                let mut fault = Fault::on(kind).at(origin).skip(skip).then(die.trouble());
                if kind == Kind::UploadPut {
                    let layer = usize::try_from(2 + die.roll(4)).expect("it is less than six");
                    fault = fault.skip(0).path(digits(image.layers[layer].digest()));
                }
                registry.faults().add(fault);
            }
        }
    }
    let layer = |number: usize| digits(image.layers[number].digest());
    let cut = |registry: &Registry, kind, number, action| {
        registry.faults().add(Fault::on(kind).path(layer(number)).then(action));
    };
    cut(&world.source, Kind::BlobGet, 0, Action::CutResponseAfter(1_000 + die.roll(30_000)));
    cut(&world.source, Kind::BlobGet, 1, Action::CutResponseAfter(1_000 + die.roll(30_000)));
    cut(&world.destination, Kind::UploadPut, 2, Action::CutRequestAfter(1_000 + die.roll(30_000)));
}

async fn counts(seed: u64) {
    let (world, image) = (World::ecr(|destination| destination).await, image_of(6, 40_000));
    prepare(&world, &image);
    let mut function = ready(&world).await;
    script(&world, &image, &mut Die(seed));
    let result = synced(&world, &mut function, &image.digest).await;
    let both = || [&world.source, &world.destination].into_iter();
    let hit = both().flat_map(|registry| asked(registry, |entry| entry.faults > 0));
    let hit: Vec<_> = hit.map(|entry| (entry.kind, entry.origin, entry.status)).collect();
    eprintln!("seed {seed}: {} requests went wrong, {} retries", hit.len(), result["retries"]);
    assert_eq!(result["retries"], hit.len(), "seed {seed}, {hit:?}: {result}");
    let throttled = both().flat_map(|registry| asked(registry, |entry| entry.status == 429)).count();
    assert_eq!(result["throttled"], throttled, "seed {seed}: {result}");
    // Nor is anything sent behind the function's back.
    let requests = |registry: &Registry| asked(registry, |entry| entry.kind != Kind::Token).len();
    assert_eq!(result["requests"]["source"], requests(&world.source), "seed {seed}, {hit:?}: {result}");
    assert_eq!(result["requests"]["destination"], requests(&world.destination), "seed {seed}, {hit:?}: {result}");
}

#[tokio::test]
async fn every_retry_is_counted_whatever_goes_wrong() {
    watched(side_by_side(1..=12, counts)).await;
}

#[tokio::test]
async fn a_manifest_whose_answer_breaks_off_is_read_again() {
    watched(async {
        let (world, image) = (World::ecr(|destination| destination).await, image_of(1, 10_000));
        prepare(&world, &image);
        world.source.faults().add(Fault::on(Kind::ManifestGet).then(Action::CutResponseAfter(100)));
        let result = synced(&world, &mut ready(&world).await, &image.digest).await;
        assert_eq!(result["retries"], 1, "{result}");
        assert_eq!(world.source.journal().count(Kind::ManifestGet), 2);
    })
    .await;
}
