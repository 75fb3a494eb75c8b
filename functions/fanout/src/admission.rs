//! Which messages of a batch are begun, and which go back untouched. Pure.

use std::{collections::HashSet, time::Duration};

/// The time that must be left for a message to be begun. Chosen: most images are copied in half a minute, and one that
/// is begun too late has used up a receive and is cut off.
const LEAST: Duration = Duration::from_secs(30);

/// Of short invocations it is this part: with a timeout of a few seconds there would never be enough.
const LEAST_PART: u32 = 5;

/// Which messages of a batch are begun.
#[derive(Debug)]
pub(crate) struct Admission {
    least: Duration,
    begun: bool,
    /// The FIFO groups of which a message went back.
    stopped: HashSet<String>,
}

impl Admission {
    /// For an invocation that has `work` to work.
    pub(crate) fn new(work: Duration) -> Self {
        Self { least: LEAST.min(work / LEAST_PART), begun: false, stopped: HashSet::new() }
    }

    /// Whether the next message is begun, with `left` of the time to work. The first one always is, lest a batch goes
    /// round for ever.
    ///
    /// `group` is the message's in a FIFO queue, and `None` in a standard one, whose groups are no order. What is not
    /// begun stops its group, as what was begun and goes back does.
    pub(crate) fn admits(&mut self, group: Option<&str>, left: Duration) -> bool {
        let admitted = !group.is_some_and(|group| self.stopped.contains(group)) && self.has_time(left);
        if !admitted {
            self.returned(group);
        }
        self.begun |= admitted;
        admitted
    }

    /// Whether what is left is enough to begin a sync.
    pub(crate) fn has_time(&self, left: Duration) -> bool {
        !self.begun || left >= self.least
    }

    /// A message goes back: those behind it in its group would overtake it.
    ///
    /// Source: Lambda developer guide, "Using Lambda with Amazon SQS", on FIFO queues and `batchItemFailures`.
    pub(crate) fn returned(&mut self, group: Option<&str>) {
        self.stopped.extend(group.map(str::to_owned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn nothing_but_the_first_is_begun_when_too_little_time_is_left() {
        for (work, enough) in [(895, 30), (60, 12), (5, 1)] {
            let mut admission = Admission::new(SECONDS(work));
            assert!(admission.admits(None, Duration::ZERO), "the first");
            assert!(admission.admits(None, SECONDS(enough)), "{work}");
            assert!(!admission.admits(None, SECONDS(enough) - Duration::from_millis(1)), "{work}");
        }
    }

    #[test]
    fn what_goes_back_stops_its_group_and_no_other() {
        let mut admission = Admission::new(SECONDS(900));
        assert!(admission.admits(Some("a"), SECONDS(900)));
        admission.returned(Some("a"));
        assert!(!admission.admits(Some("a"), SECONDS(900)));
        assert!(admission.admits(Some("b"), SECONDS(900)));
        assert!(!admission.admits(Some("b"), SECONDS(1)), "no time");
        assert!(!admission.admits(Some("b"), SECONDS(900)), "and what was not begun goes back too");
    }

    #[test]
    fn a_standard_queue_goes_on_with_the_others() {
        let mut admission = Admission::new(SECONDS(900));
        assert!(admission.admits(None, SECONDS(900)));
        admission.returned(None);
        assert!(admission.admits(None, SECONDS(900)));
    }
}
