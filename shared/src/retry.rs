//! When to try a request again, and how long to wait first. Pure: no clock, no network.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// The first wait, doubled for each further one. Chosen: half a typical registry's recovery from a burst.
const BASE: Duration = Duration::from_millis(200);

/// The longest wait of our own choosing. Chosen: several fit into a short function's time.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// The longest `Retry-After` that is waited out; one that asks for more ends the tries, and the message goes
/// back to its queue. Docker Hub's abuse limiter asks for 60 s.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(90);

/// How often, and how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included; at least 1.
    pub max_attempts: u32,
}

impl RetryPolicy {
    /// For what somebody else tries again.
    pub const ONCE: Self = Self { max_attempts: 1 };

    /// How long to wait after the `attempt`th try (from 1) failed; `None`: it was the last one.
    ///
    /// What the registry asks for is obeyed; else the wait is random between zero and an exponentially growing
    /// bound (full jitter), so that many functions that failed together don't come back together.
    #[must_use]
    pub fn backoff(&self, attempt: u32, retry_after: Option<Duration>, random: f64) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let bound = BASE.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(MAX_BACKOFF);
        let own = bound.mul_f64(random.clamp(0.0, 1.0));
        match retry_after {
            Some(asked) if asked > MAX_RETRY_AFTER => None,
            // A registry that asks for no wait at all, or whose clock is behind, is not asked again at once.
            Some(asked) => Some(asked.max(own)),
            None => Some(own),
        }
    }
}

/// Whether an answer of this status may be another one next time.
///
/// 408 and 429 as the HTTP specification says, all 5xx but 501 and 505 (which say "never"), and the 499 and 522
/// that proxies in front of registries use.
#[must_use]
pub fn retryable_status(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 429 | 499 => true,
        501 | 505 => false,
        code => (500..600).contains(&code),
    }
}

/// Whether an answer of this status asks to slow down: 429, and the 503 that object stores and overloaded registries
/// use for it.
#[must_use]
pub fn congested_status(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// What is left of an allowance that is counted over a long time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests.
    pub remaining: u64,
    /// When some are there again, from now.
    pub more_in: Duration,
}

/// The longest time that an allowance is counted over. Chosen: no registry is known to count over more than a day.
const LONGEST_ALLOWANCE: Duration = Duration::from_secs(24 * 3600);

/// The allowance that an answer tells of, as Docker Hub (`ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 20;w=21600`)
/// and the IETF's draft (`RateLimit-Reset`, in seconds) write it.
///
/// A window rolls, so that what was used comes back one by one: after a window's part for one request there is one
/// again. Source: Docker Hub, "Usage and limits: pulls"; draft-ietf-httpapi-ratelimit-headers.
#[must_use]
pub fn allowance(headers: &HeaderMap) -> Option<Allowance> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let number = |text: &str| text.split(';').next()?.trim().parse::<u64>().ok();
    let window = |text: &str| text.split(';').find_map(|part| part.trim().strip_prefix("w=")?.parse::<u64>().ok());
    let left = text("ratelimit-remaining")?;
    let remaining = number(left)?;
    let limit = text("ratelimit-limit").and_then(number).filter(|limit| *limit > 0);
    // A number that is no time from now (some write the moment itself) is not believed.
    let believed = |seconds: u64| (seconds <= LONGEST_ALLOWANCE.as_secs()).then_some(Duration::from_secs(seconds));
    let of_window = || Some(believed(window(left)?)?.div_f64(limit.unwrap_or(1) as f64));
    let more_in = text("ratelimit-reset").and_then(number).and_then(believed).or_else(of_window);
    Some(Allowance { remaining, more_in: more_in.unwrap_or(Duration::from_secs(60)) })
}

/// The wait that a `Retry-After` header asks for, in seconds or as an HTTP date.
///
/// Source: RFC 9110, section 10.2.3.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())])
    }

    #[test]
    fn backoff_grows_to_its_bound_and_ends_with_the_attempts() {
        let policy = RetryPolicy { max_attempts: 9 };
        let bounds: Vec<_> = (1..9).filter_map(|attempt| policy.backoff(attempt, None, 1.0)).collect();
        assert_eq!(bounds[..3], [200, 400, 800].map(Duration::from_millis));
        assert_eq!(bounds[7], MAX_BACKOFF);
        assert_eq!(policy.backoff(9, None, 1.0), None);
        assert_eq!(policy.backoff(3, None, 0.0), Some(Duration::ZERO));
    }

    #[test]
    fn what_the_registry_asks_for_is_obeyed_up_to_a_cap() {
        let policy = RetryPolicy { max_attempts: 3 };
        assert_eq!(policy.backoff(1, Some(Duration::from_secs(3)), 0.1), Some(Duration::from_secs(3)));
        assert_eq!(policy.backoff(1, Some(Duration::ZERO), 0.5), Some(Duration::from_millis(100)), "nor at once");
        assert_eq!(policy.backoff(1, Some(Duration::from_secs(91)), 0.1), None);
        assert_eq!(policy.backoff(3, Some(Duration::from_secs(3)), 0.1), None);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 10:00:00 GMT").unwrap();
        assert_eq!(retry_after(&header("3"), now), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(&header("Sun, 22 Nov 2026 10:00:07 GMT"), now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&header("Sun, 22 Nov 2026 09:00:00 GMT"), now), Some(Duration::ZERO));
        assert_eq!(retry_after(&header("soon"), now), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn what_is_left_of_an_allowance_is_read_as_docker_hub_and_the_draft_write_it() {
        fn of(pairs: &[(&str, &str)]) -> Option<(u64, u64)> {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
            }
            allowance(&headers).map(|found| (found.remaining, found.more_in.as_secs()))
        }
        assert_eq!(of(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "20;w=21600")]), Some((20, 216)));
        assert_eq!(of(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "30")]), Some((0, 30)));
        assert_eq!(of(&[("ratelimit-remaining", "0")]), Some((0, 60)));
        for odd in ["18446744073709551615", "1795339815", "-1"] {
            assert_eq!(of(&[("ratelimit-remaining", "1"), ("ratelimit-reset", odd)]), Some((1, 60)), "{odd}");
        }
        assert_eq!(of(&[("ratelimit-remaining", "1;w=18446744073709551615")]), Some((1, 60)));
        assert_eq!(of(&[("ratelimit-limit", "0;w=60"), ("ratelimit-remaining", "0;w=60")]), Some((0, 60)));
        assert_eq!(of(&[("ratelimit-remaining", "many")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn only_passing_troubles_are_tried_again() {
        for code in [408, 429, 499, 500, 502, 503, 504, 522] {
            assert!(retryable_status(StatusCode::from_u16(code).unwrap()), "{code}");
        }
        for code in [200, 307, 400, 401, 403, 404, 405, 409, 412, 413, 416, 501, 505] {
            assert!(!retryable_status(StatusCode::from_u16(code).unwrap()), "{code}");
        }
    }
}
