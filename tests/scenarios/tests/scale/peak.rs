//! The peak that a result names is what was held, by connections too.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, Origin, Personality, Registry, image::raw_layer};
use scenarios::World;
use transfer::{compose::Tuning, sync::Outcome, transport::ReceiveWindow};

use crate::{
    inside,
    support::{image_of, prepare, watched},
};

const MIB: u64 = 1024 * 1024;

/// What a copy holds besides: its pipe, and what is on its way through hands.
const COPY: u64 = 2 * MIB;

/// The peak of one layer's copy into a registry that reads slowly, by a client with such a window.
async fn peak(window: u64, led_away: bool) -> u64 {
    let plain = || Registry::builder(Personality::Plain).open();
    let source = if led_away { plain().redirect_blobs() } else { plain() };
    let world = World::between(source, plain()).await;
    prepare(&world, &image_of(1, 8 << 20));
    world.destination.faults().add(Fault::on(Kind::UploadPut).forever().then(Action::SlowRead(4 * MIB)));
    let window = ReceiveWindow::Fixed(u32::try_from(window).expect("it is small"));
    let app = inside::app(&world.config, Tuning { window: Some(window), ..Tuning::default() }).await;
    let (from, to) = (&world.source_host, &world.destination_host);
    let (from, to) = (format!("{from}/team/app:v1"), format!("{to}/mirror/team/app:v1"));
    let report = inside::sync(&app, &from, &to, Duration::from_secs(60)).await;
    assert_eq!(report.outcome, Outcome::Synced, "{report:?}");
    report.peak_buffer_bytes
}

#[tokio::test]
async fn a_registry_that_always_led_elsewhere_and_now_sends_a_blob_itself_is_asked_again_with_a_window() {
    watched(async {
        let plain = || Registry::builder(Personality::Plain).open();
        let world = World::between(plain().redirect_blobs(), plain()).await;
        let app = inside::app(&world.config, Tuning::default()).await;
        let sync = async |tag: &str, seed: u64| {
            let image = Image::builder().layers([raw_layer(seed, 1 << 20)]).build();
            image.push_to(world.source.store(), "team/app", tag);
            world.forget();
            let (from, to) = (&world.source_host, &world.destination_host);
            let (from, to) = (format!("{from}/team/app:{tag}"), format!("{to}/mirror/team/app:{tag}"));
            let report = inside::sync(&app, &from, &to, Duration::from_secs(30)).await;
            assert_eq!(report.outcome, Outcome::Synced, "{report:?}");
            world.destination.store().is_whole("mirror/team/app", tag).unwrap();
            let reads = |origin| world.source.journal().count_at(origin, Kind::BlobGet);
            (reads(Origin::Registry), reads(Origin::Blobs))
        };
        assert_eq!(sync("v1", 1).await, (2, 2), "both blobs are led away");
        world.source.set_blob_redirects(false);
        let (registry, blobs) = sync("v2", 2).await;
        assert!((3..=4).contains(&registry) && blobs == 0, "{registry} reads, {blobs} elsewhere");
        assert_eq!(sync("v3", 3).await, (2, 0), "it is known to send blobs itself");
    })
    .await;
}

#[tokio::test]
async fn what_a_connection_has_taken_in_unread_is_in_the_peak() {
    watched(async {
        for led_away in [false, true] {
            for window in [MIB, 4 * MIB] {
                let peak = peak(window, led_away).await;
                eprintln!("window {window}, led away {led_away}: {peak}");
                assert!((window * 9 / 10..=window + COPY).contains(&peak), "{peak} with a window of {window}");
            }
        }
    })
    .await;
}
