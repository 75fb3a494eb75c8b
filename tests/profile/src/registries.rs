//! The other process: two registries, so that what they cost is not counted as the copier's.

use std::{thread, time::Duration};

use emulator::{Action, Authority, Builder, Fault, Personality, Registry, Relay, apart};

use crate::{
    error::Error,
    images::{Shape, TAG},
    options::Options,
    process,
    wire::{Description, Gauges, Place, Question, Report},
};

/// What the threads are called, so that a profiler can tell them from the copier's.
const THREAD: &str = "registries";

/// Serves until standard input ends: the registries never outlive whoever started them.
pub(crate) fn serve(options: Options) -> Result<(), Error> {
    let thread = thread::Builder::new().name(THREAD.to_owned()).spawn(move || serve_here(&options));
    let ended = thread.map_err(Error::doing("starting a thread"))?.join();
    ended.unwrap_or_else(|_| Err(Error::Registries("panicked".to_owned())))
}

fn serve_here(options: &Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name(THREAD).enable_all().build();
    let runtime = runtime.map_err(Error::doing("starting threads"))?;
    let (mut pair, description) = runtime.block_on(Pair::start(options))?;
    apart::say(&description).map_err(Error::doing("answering the copier"))?;
    apart::answer(|question| match question {
        Question::Reset => {
            pair.reset();
            apart::say(&())
        }
        Question::Report => apart::say(&pair.report()),
    })
    .map_err(Error::doing("answering the copier"))
}

/// Both registries, and what they had counted at the last reset.
struct Pair {
    source: Registry,
    destination: Registry,
    shapes: Vec<Shape>,
    cpu_seconds: f64,
    connections: [u64; 2],
}

impl Pair {
    async fn start(options: &Options) -> Result<(Self, Description), Error> {
        let authority = Authority::new();
        let source = Registry::builder(Personality::Plain);
        let source = if options.redirects { source.redirect_blobs() } else { source };
        let source = start(source, &authority, options).await;
        // Bytes that are hashed and forgotten take no memory and little CPU. Whether repositories are made by a push, and
        // whether somebody has to log in, is not what is measured.
        let destination = Registry::builder(options.destination).discard_blobs().creates_repositories(true).open();
        // Nor is an API of AWS, without which ECR Public tells nothing of its blobs.
        let destination = destination.answer_blob_heads();
        let destination = start(destination, &authority, options).await;
        let shapes: Vec<Shape> = options.shapes().copied().collect();
        shapes.iter().for_each(|shape| shape.push_to(source.store()));
        let [source_rtt, destination_rtt] = options.round_trips().map(Duration::from_millis);
        let description = Description {
            ca: authority.pem().to_owned(),
            source: place(&source, source_rtt).await?,
            destination: place(&destination, destination_rtt).await?,
        };
        let mut this = Self { source, destination, shapes, cpu_seconds: 0.0, connections: [0; 2] };
        this.reset();
        Ok((this, description))
    }

    fn reset(&mut self) {
        let store = self.destination.store();
        store.repositories().iter().for_each(|name| store.remove_repository(name));
        self.connections = [&self.source, &self.destination].map(|registry| registry.journal().connections());
        self.source.journal().clear();
        self.destination.journal().clear();
        self.cpu_seconds = process::cpu_seconds();
    }

    fn report(&self) -> Report {
        // First, as looking whether all is whole takes time of its own.
        let cpu_seconds = process::cpu_seconds() - self.cpu_seconds;
        let (from, to) = (self.source.store(), self.destination.store());
        let is_whole = |name: &String| {
            let same = to.tag(name, TAG).is_some_and(|digest| from.tag(name, TAG) == Some(digest));
            same && to.is_whole(name, TAG).is_ok()
        };
        let whole = self.shapes.iter().flat_map(Shape::repositories).filter(is_whole).count() as u64;
        Report {
            source: gauges(&self.source, self.connections[0]),
            destination: gauges(&self.destination, self.connections[1]),
            cpu_seconds,
            whole,
        }
    }
}

async fn start(builder: Builder, authority: &Authority, options: &Options) -> Registry {
    let builder = builder.tls(authority).max_concurrent_streams(options.max_streams);
    let builder = if options.http1 { builder.http1_only() } else { builder };
    let registry = builder.start().await;
    if options.latency_ms > 0 {
        let delay = Action::Delay(Duration::from_millis(options.latency_ms));
        registry.faults().add(Fault::any().forever().then(delay));
    }
    registry
}

/// Where the copier finds a registry: behind a relay where a round trip is to take time.
async fn place(registry: &Registry, rtt: Duration) -> Result<Place, Error> {
    let endpoint = match rtt {
        Duration::ZERO => registry.url(),
        rtt => format!("https://{}", Relay::start(registry.addr(), rtt / 2).await.map_err(Error::doing("listening"))?),
    };
    Ok(Place { host: registry.host(), endpoint, blobs: registry.blob_origin() })
}

fn gauges(registry: &Registry, connections_before: u64) -> Gauges {
    let journal = registry.journal();
    Gauges {
        requests: journal.len() as u64,
        connections: journal.connections() - connections_before,
        peak_streams: journal.peak_streams() as u64,
        peak_streams_per_connection: journal.peak_streams_per_connection() as u64,
    }
}
