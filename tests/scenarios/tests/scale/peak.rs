//! The peak that a result names is what was held, by connections too.

use std::time::Duration;

use emulator::{Action, Fault, Kind, Personality, Registry};
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
