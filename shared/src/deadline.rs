//! The time that an invocation has. Every wait is bounded by it.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

/// The moment by which an invocation must have ended its work.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
    /// From when on work is brought to a boundary, where another invocation can go on with it.
    hand_over: Option<Instant>,
    /// How long after it what was begun may still be put in order.
    ending: Duration,
}

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the invocation's time ran out")]
pub struct DeadlinePassed;

impl Deadline {
    /// A deadline that far from now.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self { end: Instant::now() + duration, hand_over: None, ending: Duration::ZERO }
    }

    /// The same deadline, for work that another invocation can go on with: it is brought to a boundary from `before` its
    /// end on.
    #[must_use]
    pub fn handing_over(self, before: Duration) -> Self {
        Self { hand_over: self.end.checked_sub(before), ..self }
    }

    /// Whether another invocation can go on with the work.
    #[must_use]
    pub fn may_hand_over(&self) -> bool {
        self.hand_over.is_some()
    }

    /// Whether nothing should be begun any more that another invocation can do as well.
    #[must_use]
    pub fn hands_over(&self) -> bool {
        self.hand_over.is_some_and(|moment| Instant::now() >= moment)
    }

    /// The same, with time behind it for putting in order what was begun: no work, but what would else be left behind.
    #[must_use]
    pub fn with_ending(self, ending: Duration) -> Self {
        Self { ending, ..self }
    }

    /// The deadline of what puts in order: `most` from now, and no later than this one's ending.
    #[must_use]
    pub fn of_ending(&self, most: Duration) -> Self {
        let end = (self.end + self.ending).min(Instant::now() + most);
        Self { end, hand_over: None, ending: Duration::ZERO }
    }

    /// Time left; zero when it has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Runs `work` until the deadline at the latest.
    ///
    /// # Errors
    /// [`DeadlinePassed`], and `work` is dropped.
    pub async fn bound<F: Future>(&self, work: F) -> Result<F::Output, DeadlinePassed> {
        tokio::time::timeout_at(self.end, work).await.map_err(|_| DeadlinePassed)
    }

    /// Runs `work`, which ends by itself at the deadline, until its ending at the latest.
    ///
    /// # Errors
    /// [`DeadlinePassed`], and `work` is dropped.
    pub async fn bound_with_ending<F: Future>(&self, work: F) -> Result<F::Output, DeadlinePassed> {
        tokio::time::timeout_at(self.end + self.ending, work).await.map_err(|_| DeadlinePassed)
    }

    /// Waits for `duration`, unless the deadline would pass first: then it says so at once.
    ///
    /// # Errors
    /// [`DeadlinePassed`]: the wait would outlast the deadline.
    pub async fn sleep(&self, duration: Duration) -> Result<(), DeadlinePassed> {
        if duration >= self.left() {
            return Err(DeadlinePassed);
        }
        tokio::time::sleep(duration).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_would_outlast_the_deadline_is_refused_at_once() {
        let deadline = Deadline::after(Duration::from_secs(2));
        assert_eq!(deadline.sleep(Duration::from_secs(1)).await, Ok(()));
        let before = Instant::now();
        assert_eq!(deadline.sleep(Duration::from_secs(1)).await, Err(DeadlinePassed));
        assert_eq!(Instant::now(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_can_be_handed_over_is_told_when() {
        let deadline = Deadline::after(Duration::from_secs(10));
        let handing = deadline.handing_over(Duration::from_secs(3));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(!handing.hands_over());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(handing.hands_over() && !deadline.hands_over());
        assert_eq!(handing.left(), deadline.left());
    }

    #[tokio::test(start_paused = true)]
    async fn what_puts_in_order_has_a_time_of_its_own() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let deadline = Deadline::after(2 * second).with_ending(second);
        assert_eq!(deadline.of_ending(5 * second).left(), 3 * second, "work may end early");
        assert_eq!(deadline.bound_with_ending(std::future::pending::<()>()).await, Err(DeadlinePassed));
        assert_eq!(begun.elapsed(), 3 * second);
        assert_eq!(deadline.of_ending(second).left(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_cut_at_the_deadline() {
        let deadline = Deadline::after(Duration::from_secs(2));
        assert_eq!(deadline.bound(std::future::pending::<()>()).await, Err(DeadlinePassed));
        assert_eq!(deadline.left(), Duration::ZERO);
    }
}
