//! Registries, a budget, and our own count of what is taken of them, to be compared with what may be.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use transfer::{
    deadline::Deadline,
    limits::{Admitted, ByteBudget, CopyLimits, Quota, Receiving, StreamCap},
};

use crate::watchdog::Watchdog;

/// A number that must never be over its limit.
pub(crate) struct Gauge {
    what: String,
    most: u64,
    now: AtomicU64,
    peak: AtomicU64,
}

/// A part of a gauge, until it is dropped.
pub(crate) struct Tally(Arc<Gauge>, u64);

impl Gauge {
    fn new(what: String, most: u64) -> Arc<Self> {
        Arc::new(Self { what, most, now: AtomicU64::new(0), peak: AtomicU64::new(0) })
    }

    pub(crate) fn add(self: &Arc<Self>, more: u64) -> Tally {
        let now = self.now.fetch_add(more, Ordering::Relaxed) + more;
        self.peak.fetch_max(now, Ordering::Relaxed);
        assert!(now <= self.most, "over the limit: {self}");
        Tally(Arc::clone(self), more)
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {}, by those who were admitted", self.what, self.now.load(Ordering::Relaxed), self.most)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.0.now.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// A registry's limits.
pub(crate) struct Registry {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) requests: Quota,
    pub(crate) reads: Quota,
    pub(crate) starts: Quota,
    pub(crate) uploads: Quota,
    pub(crate) streams: StreamCap,
    pub(crate) in_use: Arc<Gauge>,
}

impl Registry {
    fn roll(number: usize, dice: &mut Rng) -> Self {
        // Small ones are what circles need.
        let cap = dice.u32(1..=8).min(dice.u32(1..=8));
        let mut quota = || {
            let paces = [None, None, Some((8, 8)), Some((80, 20))];
            let widest = if dice.bool() { cap } else { dice.u32(1..=cap) };
            Quota::new(paces[dice.usize(..paces.len())], widest)
        };
        let (requests, reads, starts, uploads) = (quota(), quota(), quota(), quota());
        let in_use = Gauge::new(format!("streams at registry {number}"), cap.into());
        Self { number, requests, reads, starts, uploads, streams: StreamCap::new(cap), in_use }
    }

    pub(crate) fn quotas(&self) -> [(&'static str, &Quota); 4] {
        [("requests", &self.requests), ("reads", &self.reads), ("starts", &self.starts), ("uploads", &self.uploads)]
    }
}

/// What all tasks of a schedule share.
pub(crate) struct World {
    pub(crate) registries: Vec<Registry>,
    /// The whole budget.
    pub(crate) bytes: u64,
    pub(crate) budget: ByteBudget,
    /// What leases allow to hold, by our count.
    pub(crate) reserved: Arc<Gauge>,
    /// What manifests may have, and images claim of it.
    pub(crate) claimed: Arc<Gauge>,
    /// What is held, of blobs and of manifests, by our count.
    pub(crate) held: Arc<Gauge>,
    /// What connections may take in that blobs are read from.
    windows: Arc<Gauge>,
    hosts: Mutex<HashMap<String, Weak<HostRead>>>,
    pub(crate) deadline: Deadline,
    pub(crate) watchdog: Watchdog,
}

impl World {
    pub(crate) fn roll(dice: &mut Rng) -> Self {
        let bytes = (1 << dice.u32(20..=26)) + dice.u64(..1 << 20);
        let budget = ByteBudget::new(bytes);
        let windows = budget.receive_window() * budget.receive_windows();
        Self {
            registries: (1..=dice.usize(2..=4)).map(|number| Registry::roll(number, dice)).collect(),
            bytes,
            reserved: Gauge::new("the copies' bytes".to_owned(), budget.for_copies()),
            claimed: Gauge::new("bytes of manifests".to_owned(), bytes - budget.for_copies() - windows),
            held: Gauge::new("bytes held".to_owned(), bytes),
            windows: Gauge::new("bytes of receive windows".to_owned(), windows),
            hosts: Mutex::default(),
            budget,
            deadline: Deadline::after(Duration::from_secs(1_000_000)),
            watchdog: Watchdog::new(),
        }
    }

    pub(crate) fn any(&self, dice: &mut Rng) -> &Registry {
        &self.registries[dice.usize(..self.registries.len())]
    }

    /// Counts a read at `host`, whose connection may hold a whole window while any is open.
    pub(crate) fn reads_at(&self, host: String) -> Arc<HostRead> {
        let mut hosts = self.hosts.lock().unwrap();
        hosts.get(&host).and_then(Weak::upgrade).unwrap_or_else(|| {
            let bytes = self.budget.receive_window();
            let receiving = self.budget.receiving();
            receiving.came(bytes);
            let _counted = [self.windows.add(bytes), self.held.add(bytes)];
            let read = Arc::new(HostRead { _counted, _came: Came(receiving, bytes) });
            hosts.insert(host, Arc::downgrade(&read));
            read
        })
    }

    pub(crate) fn limits<'w>(&'w self, from: &'w Registry, to: &'w Registry) -> CopyLimits<'w> {
        CopyLimits {
            reads: &from.reads,
            starts: &to.starts,
            uploads: &to.uploads,
            source: &from.streams,
            destination: &to.streams,
            budget: &self.budget,
        }
    }
}

/// Reads at one host, whose connection is as full as it may be, until the last is dropped.
pub(crate) struct HostRead {
    _counted: [Tally; 2],
    _came: Came,
}

struct Came(Receiving, u64);

impl Drop for Came {
    fn drop(&mut self) {
        self.0.went(self.1);
    }
}

/// A copy's leave and our count of it, which ends first. Clones share both, as the body does that a client has.
#[derive(Clone)]
pub(crate) struct Leave {
    _streams: Arc<[Tally; 2]>,
    reserved: Arc<Tally>,
    pub(crate) admitted: Admitted,
}

/// Bytes that a client has, our count of them, and of the lease that they keep.
pub(crate) struct Held {
    _counted: Tally,
    _reserved: Arc<Tally>,
    _bytes: Bytes,
}

impl Leave {
    pub(crate) fn new(world: &World, from: &Registry, to: &Registry, admitted: Admitted) -> Self {
        let streams = Arc::new([from.in_use.add(1), to.in_use.add(1)]);
        let reserved = Arc::new(world.reserved.add(admitted.lease().bytes()));
        Self { _streams: streams, reserved, admitted }
    }

    /// Holds some bytes.
    pub(crate) fn hold(&self, world: &World, size: u64) -> Held {
        let lease = self.admitted.lease();
        let bytes = lease.hold(zeros(size));
        assert!(lease.in_flight() <= lease.bytes(), "{} in flight of a lease of {}", lease.in_flight(), lease.bytes());
        Held { _counted: world.held.add(size), _reserved: Arc::clone(&self.reserved), _bytes: bytes }
    }
}

/// As much as one frame has at most.
pub(crate) const FRAME: u64 = 408 * 1024;

/// So many bytes, which take no memory.
pub(crate) fn zeros(size: u64) -> Bytes {
    static ZEROS: [u8; 32 * 1024 * 1024] = [0; 32 * 1024 * 1024];
    Bytes::from_static(&ZEROS[..usize::try_from(size).expect("it is less than the largest budget")])
}
