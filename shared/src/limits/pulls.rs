//! What is left of a registry's allowance of pulls, as its answers say it.
//!
//! Where pulls are counted over hours (Docker Hub), one too many is refused, and refusals draw the abuse limiter in. So
//! none is asked for that would be.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{LONGEST_WAIT, NotAdmitted};
use crate::deadline::Deadline;

/// The pulls of one registry. Until it says how many are left, nobody is held back.
#[derive(Debug, Clone, Default)]
pub struct Pulls(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Asked for, and not answered yet.
    under_way: u64,
    left: Option<Left>,
}

#[derive(Debug)]
struct Left {
    /// How many may still be asked for.
    pulls: u64,
    /// When there is one more.
    more_at: Instant,
    /// And then another.
    every: Duration,
}

/// Leave to ask for one pull; it counts as under way until it is dropped.
#[derive(Debug)]
pub struct Pull(Pulls);

impl Pulls {
    /// Takes one, and waits for it if that is not for long.
    ///
    /// # Errors
    /// [`NotAdmitted::Shut`]: none is left, and when there is one again.
    pub async fn take(&self, deadline: &Deadline) -> Result<Pull, NotAdmitted> {
        loop {
            match self.take_now() {
                Ok(pull) => return Ok(pull),
                Err(pause) if pause > LONGEST_WAIT => return Err(NotAdmitted::Shut(pause)),
                Err(pause) => deadline.sleep(pause).await.map_err(|_| NotAdmitted::Shut(pause))?,
            }
        }
    }

    fn take_now(&self) -> Result<Pull, Duration> {
        let mut state = self.state();
        let now = Instant::now();
        if let Some(left) = &mut state.left {
            if left.more_at <= now {
                (left.pulls, left.more_at) = (left.pulls + 1, now + left.every);
            }
            match left.pulls {
                0 => return Err(left.more_at - now),
                _ => left.pulls -= 1,
            }
        }
        state.under_way += 1;
        Ok(Pull(self.clone()))
    }

    /// An answer said that `remaining` are left, and when there are more. `counted`: it is itself the answer to a pull
    /// that is under way.
    pub fn told(&self, remaining: u64, more_in: Duration, counted: bool) {
        let mut state = self.state();
        // Those under way may not be in the registry's number yet.
        let others = state.under_way.saturating_sub(u64::from(counted));
        let pulls = remaining.saturating_sub(others);
        state.left = Some(Left { pulls, more_at: Instant::now() + more_in, every: more_in });
    }

    /// Held for arithmetic, which doesn't panic; a poisoned lock still holds a state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way = state.under_way.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORE_IN: Duration = Duration::from_secs(216);

    fn deadline() -> Deadline {
        Deadline::after(Duration::from_secs(600))
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_asked_for_than_are_left() {
        let (pulls, deadline) = (Pulls::default(), deadline());
        let first = pulls.take(&deadline).await.unwrap();
        let second = pulls.take(&deadline).await.unwrap();
        pulls.told(2, MORE_IN, true);
        drop(first);
        let _third = pulls.take(&deadline).await.unwrap();
        let refused = pulls.take(&deadline).await.err();
        assert_eq!(refused, Some(NotAdmitted::Shut(MORE_IN)), "the second may not be counted yet");
        drop(second);
        tokio::time::sleep(MORE_IN).await;
        let _fourth = pulls.take(&deadline).await.unwrap();
        assert!(pulls.take(&deadline).await.is_err(), "one came back, not all");
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_pause_is_waited_out_and_the_last_word_counts() {
        let (pulls, deadline) = (Pulls::default(), deadline());
        pulls.told(0, MORE_IN, false);
        pulls.told(0, Duration::from_secs(30), false);
        let begun = Instant::now();
        let _pull = pulls.take(&deadline).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
        pulls.told(1, MORE_IN, true);
        drop(pulls.take(&deadline).await.unwrap());
        assert!(pulls.take(&deadline).await.is_err());
    }
}
