//! One run: the images of one kind, copied by the real crate, and what that took.

use std::time::{Duration, Instant};

use emulator::Personality;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use transfer::{
    compose::{App, Tuning},
    deadline::Deadline,
    oci::Reference,
    request::{SyncOptions, SyncRequest},
    settings::Environment,
    sync::{Outcome, SyncReport},
};

use crate::{
    child::Registries,
    error::Error,
    images::{Shape, TAG},
    options::Options,
    process,
    wire::{Description, Place, Report},
};

/// For one run; nothing here takes nearly as long.
const DEADLINE: Duration = Duration::from_secs(3600);

/// What a run took.
pub(crate) struct Measured {
    /// Wall time in seconds.
    pub(crate) seconds: f64,
    /// CPU time of this process in seconds, user and system.
    pub(crate) cpu_seconds: f64,
    /// The system's part of it.
    pub(crate) system_seconds: f64,
    /// Resident memory of this process before the run, in bytes.
    pub(crate) resident_before: u64,
    /// The most of it during the run, in bytes.
    pub(crate) peak_resident: u64,
    /// The most bytes that were reserved for copies at once.
    pub(crate) peak_buffer_bytes: u64,
    /// Bytes of blobs that were written.
    pub(crate) bytes: u64,
    /// Images that were copied.
    pub(crate) images: u64,
    /// Requests, uploads and rounds that were tried again.
    pub(crate) retries: u64,
    /// What the registries saw.
    pub(crate) registries: Report,
}

/// Copies all images of `shape` to an empty destination, over connections that are made for it.
pub(crate) fn measure(
    options: &Options,
    shape: &Shape,
    registries: &mut Registries,
    description: &Description,
) -> Result<Measured, Error> {
    registries.reset()?;
    let runtime = runtime(options.threads).map_err(Error::doing("starting threads"))?;
    let (environment, tuning) = settings(options, description);
    let app = runtime.block_on(App::tuned(environment, tuning))?;
    let requests = requests(shape, description)?;

    process::forget_peak();
    let resident_before = process::resident_bytes();
    let (cpu, system, begun) = (process::cpu_seconds(), process::system_seconds(), Instant::now());
    let reports = runtime.block_on(copy(&app, &requests, options.workers));
    let seconds = begun.elapsed().as_secs_f64();
    let (cpu_seconds, system_seconds) = (process::cpu_seconds() - cpu, process::system_seconds() - system);
    let peak_resident = process::peak_resident_bytes();

    let failed = reports.iter().find(|report| report.outcome != Outcome::Synced);
    if let Some(SyncReport { source, outcome, error_message, .. }) = failed {
        return Err(Error::Copy(format!("{source}: {outcome:?}: {}", error_message.as_deref().unwrap_or("no error"))));
    }
    let registries = registries.report()?;
    if registries.whole != shape.images {
        return Err(Error::Copy(format!(
            "{} of {} images are whole at the destination",
            registries.whole, shape.images
        )));
    }
    Ok(Measured {
        seconds,
        cpu_seconds,
        system_seconds,
        resident_before,
        peak_resident,
        peak_buffer_bytes: reports.iter().map(|report| report.peak_buffer_bytes).max().unwrap_or_default(),
        bytes: reports.iter().map(|report| report.bytes.written).sum(),
        images: shape.images,
        retries: reports.iter().map(|report| u64::from(report.retries)).sum(),
        registries,
    })
}

/// As the functions have it: with one thread, the one that is there.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if threads > 1 {
        builder.worker_threads(threads).thread_name("copier");
    }
    builder.enable_all().build()
}

/// Within one task, as a function does it: what carries the bytes are the connections' tasks, and more threads help those.
async fn copy(app: &App, requests: &[SyncRequest], workers: usize) -> Vec<SyncReport> {
    let deadline = Deadline::after(DEADLINE);
    stream::iter(requests).map(|request| app.syncer.run(request, deadline)).buffer_unordered(workers).collect().await
}

fn requests(shape: &Shape, description: &Description) -> Result<Vec<SyncRequest>, Error> {
    let of = |place: &Place, name: &str| {
        Reference::new(&place.host, name, Some(TAG), None).map_err(|error| Error::Copy(error.to_string()))
    };
    let request = |name: String| {
        Ok(SyncRequest {
            source: of(&description.source, &name)?,
            destination: of(&description.destination, &name)?,
            expected: None,
            options: SyncOptions::default(),
            pushed_at: None,
            asked_at: None,
            repeated: false,
            tried: false,
            heard: false,
            attached: false,
        })
    };
    shape.repositories().map(request).collect()
}

/// The function's settings, and what is turned besides.
fn settings(options: &Options, description: &Description) -> (Environment, Tuning) {
    let (source, destination) = (&description.source, &description.destination);
    let mut config = json!({ "registries": {
        &source.host: entry(source, "generic", &description.ca),
        &destination.host: entry(destination, provider(options.destination), &description.ca),
    } });
    if let Some(bytes) = options.buffer_bytes {
        config["limits"] = json!({ "buffer_bytes": bytes });
    }
    let config = config.to_string();
    let environment = Environment::from(&|name| (name == "TRANSSHIP_CONFIG").then(|| config.clone()));
    let tuning = Tuning {
        window: options.window,
        connections: options.connections,
        streams: options.streams,
        blob_concurrency: options.blob_concurrency,
        upload_limit: None,
    };
    (environment, tuning)
}

fn entry(place: &Place, provider: &str, ca: &str) -> Value {
    json!({
        "provider": provider,
        "endpoint": place.endpoint,
        "ca_certificate": ca,
        "redirects": Vec::from_iter(&place.blobs),
    })
}

/// What the configuration calls it. ECR's own providers would ask the API of AWS, which is not here.
fn provider(personality: Personality) -> &'static str {
    match personality {
        Personality::Plain | Personality::Harbor | Personality::Ecr | Personality::EcrPublic => "generic",
        hosted => hosted.name(),
    }
}
