//! Keeps to a rate that a registry documents, so that its refusals are the exception and not the brake.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::deadline::{Deadline, DeadlinePassed};

/// Turns at a steady rate, with a burst that an idle time saves up. First come, first served.
#[derive(Debug)]
pub struct Pacer {
    /// Between two turns.
    interval: Duration,
    /// How far ahead of the rate a burst may run.
    ahead: Duration,
    /// When the next turn would come at the steady rate; in the past after an idle time.
    next: Mutex<Instant>,
}

impl Pacer {
    /// `per_second` turns a second, and up to `burst` of them at once.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let ahead = interval * burst.saturating_sub(1);
        // A new one has a burst to spend.
        let next = Instant::now().checked_sub(ahead).unwrap_or_else(Instant::now);
        Self { interval, ahead, next: Mutex::new(next) }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`DeadlinePassed`]: the turn comes after the deadline.
    pub async fn turn(&self, deadline: &Deadline) -> Result<(), DeadlinePassed> {
        let now = Instant::now();
        let at = {
            // Held to read and replace the value; a poisoned lock still holds one.
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = (*next).max(now.checked_sub(self.ahead).unwrap_or(now));
            *next = at + self.interval;
            at
        };
        match at.checked_duration_since(now) {
            Some(wait) if !wait.is_zero() => deadline.sleep(wait).await,
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let pacer = Pacer::new(8, 10);
        let deadline = Deadline::after(Duration::from_secs(60));
        let begun = Instant::now();
        let mut turns = Vec::new();
        for _ in 0..26 {
            pacer.turn(&deadline).await.unwrap();
            turns.push(begun.elapsed());
        }
        assert_eq!(turns[9], Duration::ZERO, "ten at once");
        assert_eq!(turns[25].as_millis(), 2000, "sixteen more at eight a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_beyond_the_deadline_is_refused_at_once() {
        let pacer = Pacer::new(1, 1);
        let deadline = Deadline::after(Duration::from_millis(500));
        pacer.turn(&deadline).await.unwrap();
        let before = Instant::now();
        assert_eq!(pacer.turn(&deadline).await, Err(DeadlinePassed));
        assert_eq!(Instant::now(), before);
    }
}
