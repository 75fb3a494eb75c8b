//! The other process: two registries, so that what they cost is not counted as a tool's.

use std::{io, time::Duration};

use emulator::{Authority, Personality, Registry, Relay, apart};
use tokio::runtime::Builder;

use crate::{
    cases::{Case, Images, MIRROR},
    error::Error,
    options::Options,
    wire::{Counted, Description, Ends, Gauges, Prepared, Question},
};

/// How long a tool's last requests may take to end after the tool has.
const ENDING: Duration = Duration::from_secs(2);

/// Serves until standard input ends.
pub(crate) fn serve(options: &Options) -> Result<(), Error> {
    serve_here(options).map_err(Error::doing("being the registries"))
}

fn serve_here(options: &Options) -> io::Result<()> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let (mut pair, description) = runtime.block_on(Pair::start(options))?;
    apart::say(&description)?;
    apart::answer(|question| match question {
        Question::Prepare(case) => apart::say(&pair.prepare(case)),
        Question::Count(case) => apart::say(&runtime.block_on(pair.count(case))),
    })
}

/// Both registries, and how many connections they had had when a run began.
struct Pair {
    images: Images,
    source: Registry,
    destination: Registry,
    connections: [u64; 2],
}

impl Pair {
    /// Both do all that the specification says, ask nobody to log in, and make repositories as they are pushed to. The
    /// destination hashes what comes and forgets it, which takes no memory and little CPU.
    async fn start(options: &Options) -> io::Result<(Self, Description)> {
        let authority = Authority::new();
        let source = Registry::builder(Personality::Plain).tls(&authority).start().await;
        let destination = Registry::builder(Personality::Plain)
            .creates_repositories(true)
            .discard_blobs()
            .tls(&authority)
            .start()
            .await;
        let images = Images::of(options.sizes, &options.cases);
        images.push_to(source.store());
        let one_way = Duration::from_millis(options.rtt_ms) / 2;
        let description = Description {
            ca: authority.pem().to_owned(),
            near: Ends { source: source.host(), destination: destination.host() },
            far: Ends {
                source: Relay::start(source.addr(), one_way).await?.to_string(),
                destination: Relay::start(destination.addr(), one_way).await?.to_string(),
            },
        };
        Ok((Self { images, source, destination, connections: [0; 2] }, description))
    }

    fn prepare(&mut self, case: Case) -> Prepared {
        self.images.prepare(case, &self.destination);
        self.connections = [&self.source, &self.destination].map(|registry| registry.journal().connections());
        self.source.journal().clear();
        self.destination.journal().clear();
        let (repository, tag) = case.image();
        Prepared { digest: self.source.store().tag(repository, tag).unwrap_or_default() }
    }

    async fn count(&self, case: Case) -> Counted {
        self.source.journal().idle(ENDING).await;
        self.destination.journal().idle(ENDING).await;
        let (repository, tag) = case.image();
        let (from, to) = (self.source.store(), self.destination.store());
        let copy = format!("{MIRROR}/{repository}");
        let lacking = match (from.tag(repository, tag), to.tag(&copy, tag)) {
            (Some(asked), Some(found)) if asked == found => to.is_whole(&copy, tag).err(),
            (asked, found) => Some(format!("the destination's tag is {found:?}, not {asked:?}")),
        };
        Counted {
            source: gauges(&self.source, self.connections[0]),
            destination: gauges(&self.destination, self.connections[1]),
            lacking,
            attached: self.images.attached(case, to),
        }
    }
}

fn gauges(registry: &Registry, connections_before: u64) -> Gauges {
    let journal = registry.journal();
    let mut gauges = Gauges { connections: journal.connections() - connections_before, ..Gauges::default() };
    for entry in journal.entries() {
        gauges.requests += 1;
        gauges.sent += entry.response_bytes;
        gauges.received += entry.request_bytes;
        *gauges.kinds.entry(format!("{:?}", entry.kind)).or_default() += 1;
    }
    gauges
}
