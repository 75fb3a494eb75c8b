//! How long a message that failed stays out of sight. Pure but for the dice.

use std::time::Duration;

/// The bound of the first wait; it doubles with every further receive. Chosen: most troubles of a registry that outlast
/// a sync's own tries are over in minutes, and a first short wait costs little.
const BASE: Duration = Duration::from_secs(10);

/// The longest wait of our own choosing. Chosen: an hour's outage is over for every message a quarter of an hour later.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);

/// The longest wait that is asked for. SQS hides a message for 12 hours at most, counted from its receive, and the
/// invocation and Lambda's batching window come off that. Source: Amazon SQS API reference, `ChangeMessageVisibility`.
const LONGEST: Duration = Duration::from_secs(12 * 3600 - 30 * 60);

/// How long a message that was received `received` times waits for its next try.
///
/// What the registry asks for is obeyed. Else the wait is random in the upper half of a bound that doubles: at least
/// half, since a message without a least wait could use up the queue's receives within seconds; random, so that
/// messages that failed together don't come back together.
#[must_use]
pub fn delay(received: u32, retry_after: Option<Duration>) -> Duration {
    drawn(received, retry_after, fastrand::f64())
}

fn drawn(received: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let bound = BASE.saturating_mul(1 << received.saturating_sub(1).min(16)).min(MAX_DELAY);
    let own = bound.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
    // Who were asked to wait alike are spread too, and never ask early.
    let asked = retry_after.map(|asked| asked.min(LONGEST) + own.mul_f64(0.5));
    asked.unwrap_or_default().max(own).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_with_each_receive_up_to_its_bound() {
        let at = |received, random| drawn(received, None, random).as_secs_f64();
        for (received, bound) in [(0, 10.0), (1, 10.0), (2, 20.0), (3, 40.0), (7, 640.0), (8, 900.0), (u32::MAX, 900.0)]
        {
            assert_eq!((at(received, 0.0), at(received, 1.0)), (bound / 2.0, bound), "{received}");
        }
    }

    #[test]
    fn what_the_registry_asks_for_is_obeyed_within_what_sqs_allows() {
        let asked = |seconds| drawn(1, Some(Duration::from_secs(seconds)), 0.0).as_secs_f64();
        assert_eq!(asked(0), 5.0, "nor at once");
        assert_eq!(asked(3600), 3602.5);
        assert_eq!(asked(u64::MAX), LONGEST.as_secs_f64());
        assert!(LONGEST < Duration::from_secs(43_200));
    }

    #[test]
    fn messages_that_failed_together_do_not_come_back_together() {
        assert_ne!(drawn(3, None, 0.1), drawn(3, None, 0.9));
        let asked = Some(Duration::from_secs(60));
        assert_ne!(drawn(3, asked, 0.1), drawn(3, asked, 0.9));
    }
}
