//! What a registry was asked, and how much of it at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::lock;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it: the specification's resource and the verb")]
pub enum Kind {
    ManifestHead,
    ManifestGet,
    ManifestPut,
    ManifestDelete,
    BlobHead,
    BlobGet,
    BlobDelete,
    UploadStart,
    Mount,
    UploadPatch,
    UploadPut,
    UploadStatus,
    UploadCancel,
    TagsList,
    Catalog,
    Referrers,
    Token,
    Base,
    Other,
}

/// Which server of a registry was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The registry itself.
    Registry,
    /// The object store that blob reads are redirected to.
    Blobs,
    /// The token service.
    Tokens,
}

/// What a request showed of credentials; never the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the scheme's name")]
pub enum Authorization {
    None,
    Basic,
    Bearer,
    Other,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Number of the request, from 0, in order of arrival; it goes on after [`Journal::clear`].
    pub number: u64,
    /// When its head arrived.
    pub at: Instant,
    /// When the last byte of the answer was handed over; none while open, or cut.
    pub finished: Option<Instant>,
    /// Which server was asked.
    pub origin: Origin,
    /// Number of the connection it came on.
    pub connection: u64,
    /// The HTTP method.
    pub method: String,
    /// The path, as sent.
    pub path: String,
    /// The query, as sent.
    pub query: Option<String>,
    /// The repository, where the path names one.
    pub repository: Option<String>,
    /// What the request is for.
    pub kind: Kind,
    /// The answer's status; 0 while there is none.
    pub status: u16,
    /// Bytes of request body read.
    pub request_bytes: u64,
    /// Bytes of response body sent.
    pub response_bytes: u64,
    /// The request's `Content-Length`.
    pub content_length: Option<u64>,
    /// The request's `Content-Type`.
    pub content_type: Option<String>,
    /// The request's `Accept` lines, joined by commas.
    pub accept: Option<String>,
    /// What kind of credentials it carried.
    pub authorization: Authorization,
    /// Whether it came over HTTP/2.
    pub http2: bool,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The request's `Range`.
    pub range: Option<String>,
    /// The request's `Content-Range`.
    pub content_range: Option<String>,
    /// The request's `User-Agent`.
    pub user_agent: Option<String>,
    /// How many scripted faults touched it.
    pub faults: usize,
}

/// A number that is up now and was highest once.
#[derive(Debug, Clone, Copy, Default)]
struct Gauge {
    now: usize,
    peak: usize,
}

impl Gauge {
    fn up(&mut self) {
        self.now += 1;
        self.peak = self.peak.max(self.now);
    }
}

#[derive(Debug, Default)]
struct Inner {
    first: u64,
    entries: Vec<Entry>,
    next_connection: u64,
    connections: Gauge,
    streams: Gauge,
    by_kind: BTreeMap<Kind, Gauge>,
    by_connection: BTreeMap<u64, Gauge>,
    peak_on_one_connection: usize,
}

impl Inner {
    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }
}

/// The journal of one registry, its blob origin and its token service. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Inner>>);

impl Journal {
    /// All requests so far, in order of arrival, those still open too.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.0).entries.clone()
    }

    /// The requests of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Vec<Entry> {
        lock(&self.0).entries.iter().filter(|entry| entry.kind == kind).cloned().collect()
    }

    /// How many requests of one kind came, whatever became of them. A blob read that is redirected counts
    /// once at the registry and once at the blob origin; see [`count_at`](Self::count_at).
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        lock(&self.0).entries.iter().filter(|entry| entry.kind == kind).count()
    }

    /// How many requests of one kind came to one of the servers.
    #[must_use]
    pub fn count_at(&self, origin: Origin, kind: Kind) -> usize {
        lock(&self.0).entries.iter().filter(|entry| entry.kind == kind && entry.origin == origin).count()
    }

    /// How many requests of one kind were answered with this status.
    #[must_use]
    pub fn count_status(&self, kind: Kind, status: u16) -> usize {
        lock(&self.0).entries.iter().filter(|entry| entry.kind == kind && entry.status == status).count()
    }

    /// How many requests came.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).entries.len()
    }

    /// Whether no request came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the requests and sets the peaks to what is open now.
    pub fn clear(&self) {
        let mut inner = lock(&self.0);
        inner.first += inner.entries.len() as u64;
        inner.entries.clear();
        inner.connections.peak = inner.connections.now;
        inner.streams.peak = inner.streams.now;
        inner.by_kind.values_mut().for_each(|gauge| gauge.peak = gauge.now);
        inner.by_connection.values_mut().for_each(|gauge| gauge.peak = gauge.now);
        inner.peak_on_one_connection = inner.by_connection.values().map(|gauge| gauge.now).max().unwrap_or(0);
    }

    /// The most requests that were open at once, bodies included.
    #[must_use]
    pub fn peak_streams(&self) -> usize {
        lock(&self.0).streams.peak
    }

    /// The most requests of one kind that were open at once.
    #[must_use]
    pub fn peak_of(&self, kind: Kind) -> usize {
        lock(&self.0).by_kind.get(&kind).map_or(0, |gauge| gauge.peak)
    }

    /// The most requests that were open at once on one connection.
    #[must_use]
    pub fn peak_streams_per_connection(&self) -> usize {
        lock(&self.0).peak_on_one_connection
    }

    /// How many requests are open now.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        lock(&self.0).streams.now
    }

    /// The most connections that were open at once.
    #[must_use]
    pub fn peak_connections(&self) -> usize {
        lock(&self.0).connections.peak
    }

    /// How many connections were made since the registry started.
    #[must_use]
    pub fn connections(&self) -> u64 {
        lock(&self.0).next_connection
    }

    /// Waits until no request is open, or the time is over; says which.
    pub async fn idle(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        while self.open_streams() > 0 {
            if Instant::now() > end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }

    pub(crate) fn connect(&self) -> Connected {
        let mut inner = lock(&self.0);
        let number = inner.next_connection;
        inner.next_connection += 1;
        inner.connections.up();
        Connected { journal: self.clone(), number }
    }

    pub(crate) fn open(&self, mut entry: Entry) -> Open {
        let mut inner = lock(&self.0);
        entry.number = inner.first + inner.entries.len() as u64;
        let open = Open { journal: self.clone(), number: entry.number, kind: entry.kind, connection: entry.connection };
        inner.streams.up();
        inner.by_kind.entry(entry.kind).or_default().up();
        let gauge = inner.by_connection.entry(entry.connection).or_default();
        gauge.up();
        let now = gauge.now;
        inner.peak_on_one_connection = inner.peak_on_one_connection.max(now);
        inner.entries.push(entry);
        open
    }
}

/// A connection, counted while it lives.
#[derive(Debug)]
pub(crate) struct Connected {
    journal: Journal,
    pub(crate) number: u64,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut inner = lock(&self.journal.0);
        inner.connections.now = inner.connections.now.saturating_sub(1);
        inner.by_connection.remove(&self.number);
    }
}

/// A request, counted as open while this lives, and the pen that writes its entry.
#[derive(Debug)]
pub(crate) struct Open {
    journal: Journal,
    number: u64,
    kind: Kind,
    connection: u64,
}

impl Open {
    pub(crate) fn pen(&self) -> Pen {
        Pen { journal: self.journal.clone(), number: self.number }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut inner = lock(&self.journal.0);
        inner.streams.now = inner.streams.now.saturating_sub(1);
        if let Some(gauge) = inner.by_kind.get_mut(&self.kind) {
            gauge.now = gauge.now.saturating_sub(1);
        }
        if let Some(gauge) = inner.by_connection.get_mut(&self.connection) {
            gauge.now = gauge.now.saturating_sub(1);
        }
    }
}

/// Writes one entry.
#[derive(Debug, Clone)]
pub(crate) struct Pen {
    journal: Journal,
    number: u64,
}

impl Pen {
    fn write(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = lock(&self.journal.0).entry(self.number) {
            change(entry);
        }
    }

    pub(crate) fn status(&self, status: u16) {
        self.write(|entry| entry.status = status);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.write(|entry| entry.request_bytes += bytes as u64);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.write(|entry| entry.response_bytes += bytes as u64);
    }

    pub(crate) fn finished(&self) {
        self.write(|entry| entry.finished = Some(Instant::now()));
    }

    pub(crate) fn faults(&self, count: usize) {
        self.write(|entry| entry.faults += count);
    }
}
