//! How many requests of one kind a registry takes at once, learnt from its answers.
//!
//! Additive increase, multiplicative decrease: a window begins as wide as the stream cap, so that a healthy registry
//! slows nobody down; an answer that asks to slow down makes it half of what was under way, once for all requests that
//! were under way then (an epoch); each success widens it again by a part of one, so that a window's worth of them makes one more.
//!
//! Between epochs without a success the window stays shut for a while, longer each time: a registry that is down for
//! seconds is asked by nobody meanwhile, and tries are not used up. What a registry asks for (`Retry-After`) holds for
//! all requests of that kind, those that were not refused too.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::deadline::Deadline;

/// How long the window is shut at the second epoch in a row, doubled for each further one. The first one shuts nothing:
/// most refusals stand alone, and the one refused waits a moment anyway.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause of our own choosing. Chosen: eight tries outlast a storm of half a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The longest that anybody waits for a window to open; who would wait longer is told so at once. Docker Hub's abuse
/// limiter asks for 60 s.
pub const LONGEST_WAIT: Duration = Duration::from_secs(90);

/// Over which time those who waited for a window are let go again.
const SPREAD: Duration = Duration::from_millis(250);

/// The longest that a registry's word shuts a window: one that names a month is not believed.
const LONGEST_SHUT: Duration = Duration::from_secs(6 * 3600);

/// The window of one kind of request at one registry.
#[derive(Debug)]
pub struct CongestionWindow {
    widest: u32,
    free: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    size: f64,
    /// Slots that are swallowed when they come back, as the window has shrunk meanwhile.
    owed: usize,
    shrunk_at: Option<Instant>,
    /// Epochs in a row, without a success between.
    row: u32,
    shut_until: Option<Instant>,
}

/// Leave to have one request under way; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    window: Arc<CongestionWindow>,
    permit: Option<OwnedSemaphorePermit>,
}

/// Why a request is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The registry asked for a pause that is too long to be waited out here.
    #[error("it asked for a pause that has {} s left", .0.as_secs().max(1))]
    Shut(Duration),
    /// The invocation's time ran out.
    #[error("the invocation's time ran out before its turn")]
    DeadlinePassed,
}

impl CongestionWindow {
    /// A window of `widest` requests to begin with, which it never exceeds.
    #[must_use]
    pub fn new(widest: u32) -> Arc<Self> {
        let widest = widest.max(1);
        let state = State { size: f64::from(widest), owed: 0, shrunk_at: None, row: 0, shut_until: None };
        Arc::new(Self { widest, free: Arc::new(Semaphore::new(widest as usize)), state: Mutex::new(state) })
    }

    /// Waits for a slot, and until the window is open.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    pub async fn admit(self: &Arc<Self>, deadline: &Deadline) -> Result<Slot, NotAdmitted> {
        let acquired = deadline.bound(Arc::clone(&self.free).acquire_owned()).await;
        // The semaphore is never closed.
        let permit = acquired.map_err(|_| NotAdmitted::DeadlinePassed)?.ok();
        let slot = Slot { window: Arc::clone(self), permit };
        self.open(deadline).await?;
        Ok(slot)
    }

    /// Waits until the window is open.
    ///
    /// # Errors
    /// [`NotAdmitted::Shut`].
    pub async fn open(&self, deadline: &Deadline) -> Result<(), NotAdmitted> {
        loop {
            match self.shut_for() {
                Duration::ZERO => return Ok(()),
                shut if shut > LONGEST_WAIT => return Err(NotAdmitted::Shut(shut)),
                shut => {
                    let wait = shut + SPREAD.mul_f64(fastrand::f64());
                    deadline.sleep(wait).await.map_err(|_| NotAdmitted::Shut(shut))?;
                }
            }
        }
    }

    /// How long the window stays shut.
    #[must_use]
    pub fn shut_for(&self) -> Duration {
        self.state().shut_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// A request that was sent at `sent` was answered as it should be.
    pub fn succeeded(&self, sent: Instant) {
        let mut state = self.state();
        if state.shrunk_at.is_some_and(|at| sent <= at) {
            return; // it tells of the time before
        }
        state.row = 0;
        let before = state.size;
        state.size = (before + 1.0 / before).min(f64::from(self.widest));
        for _ in whole(before)..whole(state.size) {
            match state.owed {
                0 => self.free.add_permits(1),
                _ => state.owed -= 1,
            }
        }
    }

    /// A request that was sent at `sent` was told to slow down, and to wait for `asked` if the registry said so. The new
    /// size where this begins an epoch.
    pub fn congested(&self, sent: Instant, asked: Option<Duration>) -> Option<usize> {
        let now = Instant::now();
        let mut state = self.state();
        let mut pause = asked.unwrap_or_default().min(LONGEST_SHUT);
        // All that was under way together is one epoch, however many of it are refused.
        let begins = state.shrunk_at.is_none_or(|at| sent > at);
        if begins {
            // Half of what was under way: a window that nobody fills would be halved in vain.
            let before = state.size;
            let out = (whole(before) + state.owed).saturating_sub(self.free.available_permits());
            let used = if out == 0 { before } else { before.min(out as f64) };
            state.size = (used / 2.0).max(1.0);
            state.shrunk_at = Some(now);
            let less = whole(before) - whole(state.size);
            state.owed += less - self.free.forget_permits(less);
            let own = match state.row {
                0 => Duration::ZERO,
                row => FIRST_PAUSE.saturating_mul(1 << (row - 1).min(16)).min(LONGEST_PAUSE),
            };
            state.row += 1;
            pause = pause.max(own);
        }
        let until = now + pause;
        state.shut_until = Some(state.shut_until.map_or(until, |at| at.max(until)));
        begins.then(|| whole(state.size))
    }

    /// How many requests may be under way now.
    #[must_use]
    pub fn size(&self) -> usize {
        whole(self.state().size)
    }

    /// Held for arithmetic, which doesn't panic; a poisoned lock still holds a state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The whole requests of a window's size, which is between 1 and a stream cap.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a u32")]
fn whole(size: f64) -> usize {
    size as usize
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.window.state();
        if state.owed > 0 {
            state.owed -= 1;
            if let Some(permit) = self.permit.take() {
                permit.forget();
            }
        }
    }
}

#[cfg(test)]
#[path = "congestion_tests.rs"]
mod tests;
