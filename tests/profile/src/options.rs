//! The command line: what is copied, between what, and how.

use std::ffi::OsString;

use emulator::Personality;
use lexopt::{
    Arg::{Long, Value},
    Parser, ValueExt,
};
use transfer::transport::ReceiveWindow;

use crate::{error::Error, images::Shape};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Copies generated images between two registries on this machine, over TLS, and tells what it took.

usage: profile [OPTION]...

what is copied; sizes are bytes, or have a unit: 64KiB, 1MiB
  --images N             small images, 0 for none              (200)
  --layers N             layers of a small image               (2)
  --bytes SIZE           size of each of them                  (16KiB)
  --large N              large images, 0 for none              (1)
  --large-layers N       layers of a large image               (8)
  --large-bytes SIZE     size of each of them                  (38400KiB)
how; what is left out is as in the functions
  --workers N            images at once                        (1)
  --blob-concurrency N   blobs of an image at once
  --streams N            body-carrying streams towards each registry
  --connections N        h2 connections to each host
  --window W             h2 receive window: `adaptive`, or the size of a fixed one
  --buffer-bytes SIZE    what all copies may hold              (that of a function with 128 MB: 32MiB)
  --threads N            threads of the copier                 (1)
between what
  --destination NAME     plain, ghcr, acr, gar, docker-hub, quay, harbor, ecr-public or ecr (plain); the last two
                         are the registry alone, without the API and so without the commit gate
  --redirects            the source redirects blob reads to a second server, as most do
  --http1                registries speak HTTP/1.1 instead of HTTP/2
  --max-streams N        streams that a registry allows on one connection (100)
  --latency MS           registries wait this long before they do what a request asks
  --rtt MS               a round trip takes this long, every byte of it, not just the first
  --rtt-at END           both, source or destination           (both)
and
  --repeat N             runs, and their median                (1)
  --json                 one JSON object instead of tables
  --help                 this
";

/// What the command line asks for.
pub(crate) struct Options {
    /// Which process this is: hidden, the program starts itself as the registries.
    pub(crate) role: Role,
    /// The many small images.
    pub(crate) small: Shape,
    /// The few large ones.
    pub(crate) large: Shape,
    /// Images at once.
    pub(crate) workers: usize,
    /// Blobs of an image at once; `None`: as in the functions, here and below.
    pub(crate) blob_concurrency: Option<u32>,
    /// Body-carrying streams towards each registry.
    pub(crate) streams: Option<u32>,
    /// h2 connections to each host.
    pub(crate) connections: Option<u32>,
    /// h2 receive window.
    pub(crate) window: Option<ReceiveWindow>,
    /// Bytes that all copies together may hold.
    pub(crate) buffer_bytes: Option<u64>,
    /// Threads of the copier.
    pub(crate) threads: usize,
    /// What the destination is like.
    pub(crate) destination: Personality,
    /// The source redirects blob reads.
    pub(crate) redirects: bool,
    /// No HTTP/2.
    pub(crate) http1: bool,
    /// Streams that a registry allows on one connection.
    pub(crate) max_streams: u32,
    /// Milliseconds that a registry waits before it answers.
    pub(crate) latency_ms: u64,
    /// Milliseconds of a round trip.
    pub(crate) rtt_ms: u64,
    /// Which registries are that far away.
    pub(crate) rtt_at: End,
    /// Runs.
    pub(crate) repeat: usize,
    /// Print JSON.
    pub(crate) json: bool,
    /// The words of the command line, for the registries' process and for the record.
    pub(crate) words: Vec<String>,
}

/// What this process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It copies and measures.
    Copier,
    /// It is the two registries.
    Registries,
    /// It prints its help.
    Help,
}

/// Which of the registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
    Both,
}

/// The word that makes a process the registries.
pub(crate) const REGISTRIES: &str = "registries";

impl Options {
    /// Reads the words of a command line, its program's name left out.
    pub(crate) fn parse(words: Vec<OsString>) -> Result<Self, Error> {
        let mut this = Self {
            role: Role::Copier,
            small: Shape { name: "small", images: 200, layers: 2, bytes: 16 << 10 },
            large: Shape { name: "large", images: 1, layers: 8, bytes: (300 << 20) / 8 },
            workers: 1,
            blob_concurrency: None,
            streams: None,
            connections: None,
            window: None,
            buffer_bytes: None,
            threads: 1,
            destination: Personality::Plain,
            redirects: false,
            http1: false,
            max_streams: 100,
            latency_ms: 0,
            rtt_ms: 0,
            rtt_at: End::Both,
            repeat: 1,
            json: false,
            words: words.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        };
        this.read(&mut Parser::from_args(words)).map_err(|error| Error::Arguments(error.to_string()))?;
        Ok(this)
    }

    fn read(&mut self, words: &mut Parser) -> Result<(), lexopt::Error> {
        while let Some(word) = words.next()? {
            match word {
                Value(word) if word == REGISTRIES => self.role = Role::Registries,
                Long("help") => self.role = Role::Help,
                Long("json") => self.json = true,
                Long("redirects") => self.redirects = true,
                Long("http1") => self.http1 = true,
                Long("images") => self.small.images = words.value()?.parse()?,
                Long("layers") => self.small.layers = at_least_one(words)?,
                Long("bytes") => self.small.bytes = words.value()?.parse_with(layer_size)?,
                Long("large") => self.large.images = words.value()?.parse()?,
                Long("large-layers") => self.large.layers = at_least_one(words)?,
                Long("large-bytes") => self.large.bytes = words.value()?.parse_with(layer_size)?,
                Long("workers") => self.workers = at_least_one(words)?,
                Long("blob-concurrency") => self.blob_concurrency = Some(at_least_one(words)?),
                Long("streams") => self.streams = Some(at_least_one(words)?),
                Long("connections") => self.connections = Some(at_least_one(words)?),
                Long("window") => self.window = Some(words.value()?.parse_with(window)?),
                Long("buffer-bytes") => self.buffer_bytes = Some(words.value()?.parse_with(size)?),
                Long("threads") => self.threads = at_least_one(words)?,
                Long("destination") => self.destination = words.value()?.parse()?,
                Long("max-streams") => self.max_streams = at_least_one(words)?,
                Long("latency") => self.latency_ms = words.value()?.parse()?,
                Long("rtt") => self.rtt_ms = words.value()?.parse()?,
                Long("rtt-at") => self.rtt_at = words.value()?.parse_with(end)?,
                Long("repeat") => self.repeat = at_least_one(words)?,
                _ => return Err(word.unexpected()),
            }
        }
        Ok(())
    }

    /// Milliseconds of a round trip to the source, and to the destination.
    pub(crate) fn round_trips(&self) -> [u64; 2] {
        [End::Source, End::Destination].map(|end| if [end, End::Both].contains(&self.rtt_at) { self.rtt_ms } else { 0 })
    }

    /// What is copied, in order.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = &Shape> {
        [&self.small, &self.large].into_iter().filter(|shape| shape.images > 0)
    }
}

fn at_least_one<T>(words: &mut Parser) -> Result<T, lexopt::Error>
where
    T: std::str::FromStr<Err = std::num::ParseIntError> + PartialOrd + From<u8>,
{
    words.value()?.parse_with(|text| match text.parse::<T>() {
        Ok(number) if number >= T::from(1) => Ok(number),
        Ok(_) => Err("it must be 1 at least".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

fn window(text: &str) -> Result<ReceiveWindow, String> {
    if text == "adaptive" {
        return Ok(ReceiveWindow::Adaptive);
    }
    // HTTP/2 counts windows in 31 bits (RFC 9113, 6.9).
    match u32::try_from(size(text)?) {
        Ok(bytes) if bytes < 1 << 31 => Ok(ReceiveWindow::Fixed(bytes)),
        _ => Err("a window has less than 2 GiB".to_owned()),
    }
}

fn end(text: &str) -> Result<End, String> {
    match text {
        "both" => Ok(End::Both),
        "source" => Ok(End::Source),
        "destination" => Ok(End::Destination),
        _ => Err("expected both, source or destination".to_owned()),
    }
}

/// Two layers of fewer bytes would be alike, and be copied once.
fn layer_size(text: &str) -> Result<u64, String> {
    size(text).and_then(|bytes| if bytes < 8 { Err("a layer has 8 bytes at least".to_owned()) } else { Ok(bytes) })
}

/// Whole bytes, or a number of KiB or MiB.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(number), _) => (number, 1 << 10),
        (_, Some(number)) => (number, 1 << 20),
        _ => (text, 1),
    };
    let whole = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    whole.ok_or_else(|| format!("{text:?} is no size: expected bytes, or a whole number of KiB or MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, Error> {
        Options::parse(words.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn what_is_left_out_is_left_to_the_functions() {
        let options = parse("").unwrap();
        assert_eq!(options.large.layers * options.large.bytes, 300 << 20);
        assert!(options.blob_concurrency.is_none() && options.window.is_none() && options.connections.is_none());
    }

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        let options = parse("--window 2MiB --bytes=64KiB --destination ghcr --images 0").unwrap();
        assert_eq!(options.window, Some(ReceiveWindow::Fixed(2 << 20)));
        assert_eq!((options.small.bytes, options.destination), (64 << 10, Personality::Ghcr));
        assert_eq!(options.shapes().count(), 1);
        assert_eq!(parse("--rtt 20 --rtt-at source").unwrap().round_trips(), [20, 0]);
        for wrong in ["--workers 0", "--bytes 3", "--window 2GiB", "--window 3000MiB", "--unknown", "word"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
