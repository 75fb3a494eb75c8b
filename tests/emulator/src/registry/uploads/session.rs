//! The state of one upload, and the sessions that are open.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Mutex as Turn, OwnedMutexGuard},
    time::Instant,
};

use crate::{
    digest::{Algorithm, Hasher},
    lock, random,
    registry::reply::{Halt, refuse},
    store::{Collector, Content},
};

/// Every part of ECR but the last has at least so many bytes (ECR service quotas, 2026-10).
const SHORTEST_PART: u64 = 5 * 1024 * 1024;

/// The right to write to an upload.
pub(super) type Claim = OwnedMutexGuard<Upload>;

#[derive(Clone)]
struct Session {
    name: String,
    turn: Arc<Turn<Upload>>,
}

/// The open sessions of a registry.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Session>>);

impl Uploads {
    pub(super) fn begin(&self, name: &str, keep: Option<u64>, least: Option<u64>) -> (String, Arc<Turn<Upload>>) {
        let id = random::uuid();
        let turn = Arc::new(Turn::new(Upload::new(keep, least.unwrap_or(SHORTEST_PART))));
        lock(&self.0).insert(id.clone(), Session { name: name.to_owned(), turn: Arc::clone(&turn) });
        (id, turn)
    }

    pub(super) fn find(&self, name: &str, id: &str) -> Option<Arc<Turn<Upload>>> {
        lock(&self.0).get(id).filter(|session| session.name == name).map(|session| Arc::clone(&session.turn))
    }

    pub(super) fn end(&self, id: &str) {
        lock(&self.0).remove(id);
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// One upload.
pub(super) struct Upload {
    /// The token that the next request must bring.
    pub(super) state: String,
    /// How far the upload had come when the token was given out.
    offset: u64,
    hasher: Hasher,
    collector: Collector,
    keep: Option<u64>,
    /// Where the part that is arriving began; left behind when its request breaks.
    checkpoint: Option<(Hasher, u64)>,
    parts: usize,
    last_part: u64,
    /// What every part but the last has at least.
    least_part: u64,
    short_part: bool,
    first_part_end: u64,
    /// When the session began.
    begun: Instant,
}

impl Upload {
    fn new(keep: Option<u64>, least_part: u64) -> Self {
        Self {
            least_part,
            state: random::token(),
            offset: 0,
            hasher: Hasher::new(Algorithm::Sha256),
            collector: Collector::keeping(keep),
            keep,
            checkpoint: None,
            parts: 0,
            last_part: 0,
            short_part: false,
            first_part_end: 0,
            begun: Instant::now(),
        }
    }

    /// When the registry ends it, if it does.
    pub(super) fn ends(&self, limit: Option<Duration>) -> Option<Instant> {
        limit.map(|limit| self.begun + limit)
    }

    pub(super) fn size(&self) -> u64 {
        self.collector.size()
    }

    /// Gives out a new token.
    pub(super) fn renew(&mut self) {
        self.state = random::token();
        self.offset = self.size();
    }

    /// A request without `Content-Range` goes on where its token was given out, or not at all.
    pub(super) fn expect_offset(&self) -> Result<(), Halt> {
        if self.offset == self.size() {
            return Ok(());
        }
        Err(refuse(416, "BLOB_UPLOAD_INVALID", "an interrupted request left the upload at another offset"))
    }

    /// Settles what a broken request left: parts of ECR are whole or not there, elsewhere bytes stay.
    pub(super) fn settle(&mut self, whole_parts: bool) {
        if whole_parts {
            self.roll_back();
        } else if self.checkpoint.is_some() {
            self.end_part();
        }
    }

    /// Begins a part; returns where.
    pub(super) fn begin_part(&mut self) -> u64 {
        self.checkpoint = Some((self.hasher.clone(), self.size()));
        self.size()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.collector.push(bytes);
    }

    pub(super) fn roll_back(&mut self) {
        if let Some((hasher, size)) = self.checkpoint.take() {
            self.hasher = hasher;
            self.collector.truncate(size);
        }
    }

    pub(super) fn end_part(&mut self) {
        let Some((_, start)) = self.checkpoint.take() else { return };
        let length = self.size() - start;
        if length == 0 {
            return;
        }
        self.short_part |= self.parts > 0 && self.last_part < self.least_part;
        self.last_part = length;
        self.parts += 1;
        if self.parts == 1 {
            self.first_part_end = self.size();
        }
    }

    /// Forgets everything that came.
    pub(super) fn restart(&mut self) {
        self.hasher = Hasher::new(Algorithm::Sha256);
        self.collector = Collector::keeping(self.keep);
    }

    pub(super) fn has_short_part(&self) -> bool {
        self.short_part
    }

    pub(super) fn first_part_end(&self) -> u64 {
        self.first_part_end
    }

    /// The digest of all bytes, and the bytes.
    pub(super) fn take(&mut self) -> (String, Content) {
        let fresh = Self::new(self.keep, self.least_part);
        let done = std::mem::replace(self, fresh);
        (done.hasher.finish(), done.collector.finish())
    }
}
