//! One quota of a registry, and leave for what needs several limits at once.

use std::sync::{Arc, Mutex, PoisonError};

use super::{ByteBudget, ByteLease, CapTooSmall, CongestionWindow, NotAdmitted, Pacer, Slot, StreamCap, StreamPermit};
use crate::deadline::Deadline;

/// What a registry takes of one kind of request: at the pace that is documented, as wide as is learnt.
#[derive(Debug)]
pub struct Quota {
    window: Arc<CongestionWindow>,
    pacer: Option<Pacer>,
}

impl Quota {
    /// A quota of `widest` requests at once to begin with, at a documented `(per second, at once)` where there is one.
    #[must_use]
    pub fn new(pace: Option<(u32, u32)>, widest: u32) -> Self {
        let pacer = pace.map(|(per_second, burst)| Pacer::new(per_second, burst));
        Self { window: CongestionWindow::new(widest), pacer }
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    pub async fn admit(&self, deadline: &Deadline) -> Result<Slot, NotAdmitted> {
        // The turn comes last, so that those who waited for the window to open don't all have one by then.
        let slot = self.window.admit(deadline).await?;
        if let Some(pacer) = &self.pacer {
            pacer.turn(deadline).await.map_err(|_| NotAdmitted::DeadlinePassed)?;
        }
        Ok(slot)
    }

    /// What is learnt.
    #[must_use]
    pub fn window(&self) -> &CongestionWindow {
        &self.window
    }
}

/// What a copy needs leave of.
#[derive(Debug, Clone, Copy)]
pub struct CopyLimits<'l> {
    /// Reads of blobs at the source.
    pub reads: &'l Quota,
    /// Starts of uploads at the destination.
    pub starts: &'l Quota,
    /// Uploads at the destination.
    pub uploads: &'l Quota,
    /// Streams towards the source.
    pub source: &'l StreamCap,
    /// Streams towards the destination.
    pub destination: &'l StreamCap,
    /// Bytes.
    pub budget: &'l ByteBudget,
}

/// Leave for one copy. Clones share it, and it is given back when the last one is dropped: one of them lives in the body
/// that an HTTP client has, which may outlive the copy.
#[derive(Debug, Clone)]
pub struct Admitted(Arc<Leave>);

#[derive(Debug)]
struct Leave {
    /// An upload is started once; the slot is not kept for the time that it takes.
    start: Mutex<Option<Slot>>,
    lease: ByteLease,
    _streams: StreamPermit,
    _read: Slot,
    /// None where nothing is sent on.
    _upload: Option<Slot>,
}

/// Why a copy is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The source has no turn for it.
    Source(NotAdmitted),
    /// The destination has no turn for it.
    Destination(NotAdmitted),
    /// Both ends are one registry, whose cap is too small.
    Cap(CapTooSmall),
    /// No stream or no bytes became free in the invocation's time.
    DeadlinePassed,
}

impl CopyLimits<'_> {
    /// Waits for all that a copy needs that holds `bytes` at most, in the one order that everybody keeps.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn admit(&self, bytes: u64, deadline: &Deadline) -> Result<Admitted, Refused> {
        let read = self.reads.admit(deadline).await.map_err(Refused::Source)?;
        let upload = self.uploads.admit(deadline).await.map_err(Refused::Destination)?;
        let start = self.starts.admit(deadline).await.map_err(Refused::Destination)?;
        let inner = async {
            let streams = StreamCap::pair(self.source, self.destination).await.map_err(Refused::Cap)?;
            Ok((streams, self.budget.reserve(bytes).await))
        };
        let (streams, lease) = deadline.bound(inner).await.map_err(|_| Refused::DeadlinePassed)??;
        let start = Mutex::new(Some(start));
        Ok(Admitted(Arc::new(Leave { start, lease, _streams: streams, _read: read, _upload: Some(upload) })))
    }
}

impl Admitted {
    /// Waits for leave to read `bytes` at most that are not sent on, in the order that copies keep.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    pub async fn to_read(
        reads: &Quota,
        source: &StreamCap,
        budget: &ByteBudget,
        bytes: u64,
        deadline: &Deadline,
    ) -> Result<Self, NotAdmitted> {
        let read = reads.admit(deadline).await?;
        let inner = async { (source.one().await, budget.reserve(bytes).await) };
        let (streams, lease) = deadline.bound(inner).await.map_err(|_| NotAdmitted::DeadlinePassed)?;
        let start = Mutex::new(None);
        Ok(Self(Arc::new(Leave { start, lease, _streams: streams, _read: read, _upload: None })))
    }

    /// The bytes that the copy may hold.
    #[must_use]
    pub fn lease(&self) -> &ByteLease {
        &self.0.lease
    }

    /// The upload has been started.
    pub fn started(&self) {
        // Held to take the value, which can't panic.
        drop(self.0.start.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
