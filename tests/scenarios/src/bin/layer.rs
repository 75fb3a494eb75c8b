//! Measures what one layer of a gibibyte takes the release binary, to each kind of registry: `make memory`.
//!
//! From an emulated ECR over TLS to each personality over TLS, through `on-push` with 128 MB. The registries make the layer
//! up, hash what comes and forget it, so nothing but the function holds bytes of it.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a measuring program that tells a person")]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use emulator::{Image, Personality, image::generated_layer};
use scenarios::{
    Settings, World, flows,
    measure::{cpu_seconds, mib},
};

/// What `on-push` may have, in MiB, and the most that it may hold.
const FUNCTION_MEMORY: u32 = 128;
const MOST: f64 = 64.0;

const LAYER: u64 = 1 << 30;

/// What Lambda gives an invocation at most.
const TIMEOUT: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() -> ExitCode {
    println!("| destination | peak resident | bytes held | wall time | CPU |");
    println!("|---|---|---|---|---|");
    let mut good = true;
    for personality in Personality::ALL {
        good &= measure(personality).await < MOST;
    }
    println!("\nallowed: under {MOST} MiB: {}", if good { "so it is" } else { "NOT SO" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Copies the layer to one kind of registry and tells what it took; the peak of resident memory in MiB.
async fn measure(personality: Personality) -> f64 {
    let world = match personality {
        Personality::Ecr => World::ecr(|builder| builder.discard_blobs()).await,
        other => World::to(other, |builder| builder.open().alias("mirror").discard_blobs()).await,
    };
    let image = Image::builder().layers([generated_layer(1, LAYER)]).build();
    image.push_to(world.source.store(), "team/app", "v1");
    world.destination.store().create_repository("mirror/team/app");
    let settings = Settings { memory_mb: FUNCTION_MEMORY, ..Settings::default() };
    let mut function = world.function_with("on-push", settings, &[]).await;
    function.ready().await.expect("the function starts");

    let begun = Instant::now();
    let result = flows::pushed(&mut function, "team/app", "v1", &image.digest, TIMEOUT).await;
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(result["outcome"], "synced", "{result}");
    world.destination.store().is_whole("mirror/team/app", "v1").expect("it is whole");
    let peak = mib(function.peak_rss());
    println!(
        "| {} | {peak:.1} MiB | {:.1} MiB | {seconds:.1} s | {:.1} s |",
        personality.name(),
        mib(result["peak_buffer_bytes"].as_u64().unwrap_or_default()),
        cpu_seconds(&function),
    );
    peak
}
