//! Whatever the image, the limits and the trouble: it is synced, within the streams and the bytes that it may have, and
//! nothing is left open.

use std::{thread, time::Instant};

use emulator::{Action, Fault, Image, Kind, Personality, Registry, image::raw_layer};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use scenarios::{
    World,
    flows::{digits, pushed},
    world::SOURCE,
};
use serde_json::json;

use crate::support::{TIMEOUT, prepare, ready, side_by_side, watched, world_to};

const CASES: u32 = 24;
const AT_ONCE: u32 = 6;

/// Where an image goes from ECR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Plain,
    Ecr,
    Ghcr,
    Acr,
    /// Another repository of the source registry, which grants no mounts.
    SameRegistry,
}

/// Which request breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// The answer to a read, within its body.
    Read,
    /// A read, before its answer.
    ReadReset,
    StartReset,
    /// An upload, within its body.
    Upload,
    UploadReset,
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    what: Broken,
    /// Which blob it happens to, or after how many requests where those name no blob.
    blob: usize,
    /// Where in the body.
    percent: u64,
}

#[derive(Debug, Clone)]
struct Case {
    to: To,
    /// Bytes of each layer.
    layers: Vec<usize>,
    buffer_bytes: u64,
    source_streams: u32,
    destination_streams: u32,
    blob_concurrency: u32,
    /// Bytes a second of each body; as quick as it can be where none.
    source_rate: Option<u64>,
    destination_rate: Option<u64>,
    cuts: Vec<Cut>,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

/// Fewer cuts than a blob has tries, wherever they hit.
fn any_case() -> impl Strategy<Value = Case> {
    let to = prop::sample::select(vec![To::SameRegistry, To::Plain, To::Ecr, To::Ghcr, To::Acr, To::SameRegistry]);
    let layer = prop_oneof![1 => Just(0), 2 => 1..64 * KIB, 3 => 64 * KIB..MIB, 2 => MIB..3 * MIB];
    let mib = |count: u64| count << 20;
    let buffer = prop_oneof![mib(1)..mib(2), mib(2)..mib(40)];
    let rate = || option::weighted(0.7, mib(4)..mib(32));
    let streams = || prop_oneof![1..=3u32, 4..=8u32];
    let what = prop::sample::select(vec![
        Broken::Read,
        Broken::ReadReset,
        Broken::StartReset,
        Broken::Upload,
        Broken::UploadReset,
    ]);
    let cut = (what, 0..8usize, 0..100u64).prop_map(|(what, blob, percent)| Cut { what, blob, percent });
    let limits = (buffer, streams(), streams(), prop_oneof![1..=3u32, 8..=16u32]);
    (to, vec(layer, 0..=14), limits, rate(), rate(), vec(cut, 0..=4)).prop_map(
        |(to, mut layers, (buffer_bytes, from, into, blob_concurrency), source_rate, destination_rate, cuts)| {
            // ECR takes no blob without bytes.
            if matches!(to, To::Ecr | To::SameRegistry) {
                layers.iter_mut().for_each(|layer| *layer = (*layer).max(1));
            }
            // A copy within one registry needs two.
            let least = if to == To::SameRegistry { 2 } else { 1 };
            let (source_streams, destination_streams) = (from.max(least), into.max(least));
            Case {
                to,
                layers,
                buffer_bytes,
                source_streams,
                destination_streams,
                blob_concurrency,
                source_rate,
                destination_rate,
                cuts,
            }
        },
    )
}

impl Case {
    fn image(&self) -> Image {
        Image::builder().layers((1..).zip(&self.layers).map(|(seed, size)| raw_layer(seed, *size))).build()
    }

    async fn world(&self) -> World {
        let mut world = match self.to {
            To::Plain => world_to(Personality::Plain, |builder| builder).await,
            To::Ecr | To::SameRegistry => world_to(Personality::Ecr, |builder| builder).await,
            To::Ghcr => world_to(Personality::Ghcr, |builder| builder).await,
            To::Acr => world_to(Personality::Acr, |builder| builder).await,
        };
        let (from, into) = (world.source_host.clone(), world.destination_host.clone());
        world.registry_config(&from).insert("streams".into(), json!(self.source_streams));
        world.registry_config(&into).insert("streams".into(), json!(self.destination_streams));
        world.config["limits"] =
            json!({ "buffer_bytes": self.buffer_bytes, "blob_concurrency": self.blob_concurrency });
        if self.to == To::SameRegistry {
            world.rule().insert("source".into(), json!({ "repository": "team/**" }));
            world.rule().insert("destinations".into(), json!([format!("{SOURCE}/mirror/{{repository}}")]));
            world.source.store().create_repository("mirror/team/app");
        }
        world
    }

    fn destination<'w>(&self, world: &'w World) -> &'w Registry {
        if self.to == To::SameRegistry { &world.source } else { &world.destination }
    }

    fn script(&self, world: &World, image: &Image) {
        let destination = self.destination(world);
        if let Some(rate) = self.source_rate {
            world.source.faults().add(Fault::on(Kind::BlobGet).forever().then(Action::SlowWrite(rate)));
        }
        if let Some(rate) = self.destination_rate {
            for kind in [Kind::UploadPut, Kind::UploadPatch] {
                destination.faults().add(Fault::on(kind).forever().then(Action::SlowRead(rate)));
            }
        }
        let blobs = image.blobs();
        // Here the bytes come by PATCH, whose path names no blob.
        let patched = matches!(self.to, To::Ghcr | To::Acr);
        for cut in &self.cuts {
            let blob = &blobs[cut.blob % blobs.len()];
            let size = world.source.store().blob_size("team/app", blob).expect("the blob is there");
            let after = size * cut.percent / 100;
            let (registry, kind, action) = match cut.what {
                Broken::Read => (&world.source, Kind::BlobGet, Action::CutResponseAfter(after)),
                Broken::ReadReset => (&world.source, Kind::BlobGet, Action::Reset),
                Broken::StartReset => (destination, Kind::UploadStart, Action::Reset),
                Broken::Upload if patched => (destination, Kind::UploadPatch, Action::CutRequestAfter(after)),
                Broken::Upload => (destination, Kind::UploadPut, Action::CutRequestAfter(after)),
                Broken::UploadReset if patched => (destination, Kind::UploadPatch, Action::Reset),
                Broken::UploadReset => (destination, Kind::UploadPut, Action::Reset),
            };
            let named = kind == Kind::BlobGet || kind == Kind::UploadPut;
            let fault = if named { Fault::on(kind).path(digits(blob)) } else { Fault::on(kind).skip(cut.blob) };
            registry.faults().add(fault.then(action));
        }
    }

    async fn holds(&self) {
        let (world, image) = (self.world().await, self.image());
        prepare(&world, &image);
        self.script(&world, &image);
        let mut function = ready(&world).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest, TIMEOUT).await;
        assert_eq!(result["outcome"], "synced", "{result}");

        let destination = self.destination(&world);
        destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_eq!(
            destination.store().manifest("mirror/team/app", "v1"),
            world.source.store().manifest("team/app", "v1")
        );
        for blob in image.blobs() {
            let there = destination.store().blob_bytes("mirror/team/app", &blob);
            assert!(there.is_some() && there == world.source.store().blob_bytes("team/app", &blob), "{blob}");
        }
        let peak = result["peak_buffer_bytes"].as_u64().expect("it is a number");
        assert!((1..=self.buffer_bytes).contains(&peak), "{peak} bytes were held");
        for (registry, streams) in [(&world.source, self.source_streams), (destination, self.destination_streams)] {
            // A copy within one registry has the source's.
            let streams = if self.to == To::SameRegistry { self.source_streams } else { streams };
            let open = registry.journal().peak_streams();
            assert!(open <= streams as usize, "{open} streams were open, {streams} may be");
        }
        assert_eq!(destination.open_uploads(), 0, "uploads are left open");
    }
}

/// Runs some cases; a failed one is made smaller, and said.
fn run(cases: u32) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    let outcome = TestRunner::new(config).run(&any_case(), |case| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(watched(case.holds()));
        Ok(())
    });
    outcome.map_err(|failed| failed.to_string())
}

#[test]
fn any_image_is_synced_within_its_bounds_whatever_breaks() {
    let begun = Instant::now();
    // A case mostly waits: for slow registries, and before it tries again.
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| run(CASES / AT_ONCE))).collect();
        let ended = running.into_iter().map(|running| running.join().expect("panics are caught by the runner"));
        ended.filter_map(Result::err).collect()
    });
    eprintln!("{CASES} cases in {:?}", begun.elapsed());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What random cases seldom are: as much as may be at once, all of it large, into a registry that reads slowly.
#[tokio::test]
async fn many_large_layers_at_once_are_held_within_a_small_budget() {
    let case = |(to, buffer_bytes)| Case {
        to,
        layers: vec![MIB; 10],
        buffer_bytes,
        source_streams: 8,
        destination_streams: 8,
        blob_concurrency: 16,
        source_rate: None,
        destination_rate: Some(4 * MIB as u64),
        cuts: Vec::new(),
    };
    let cases = [(To::Plain, 1 << 20), (To::SameRegistry, 1 << 20), (To::Acr, 1 << 20), (To::Acr, 4 << 20)];
    watched(side_by_side(cases.map(case), |case| async move { case.holds().await })).await;
}
