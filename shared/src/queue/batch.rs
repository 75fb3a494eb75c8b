//! Cutting many messages into calls. Pure.

/// Messages in one call, the API's limit.
pub(super) const BATCH: usize = 10;

/// Bytes of all bodies in one call (SQS developer guide, "Message quotas").
const MAX_BYTES: usize = 1 << 20;

/// Cuts bodies into batches that one call takes. A body that is too large for any is alone in its own.
pub(super) fn batches(bodies: &[String]) -> Vec<&[String]> {
    let (mut cut, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, body) in bodies.iter().enumerate() {
        if at > start && (at - start == BATCH || bytes + body.len() > MAX_BYTES) {
            cut.push(&bodies[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += body.len();
    }
    if start < bodies.len() {
        cut.push(&bodies[start..]);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_ten_messages_and_a_mebibyte_at_most() {
        let sizes = |bodies: &[String]| batches(bodies).iter().map(|batch| batch.len()).collect::<Vec<_>>();
        let of = |count: usize, bytes: usize| vec!["x".repeat(bytes); count];
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&of(23, 10)), [10, 10, 3]);
        assert_eq!(sizes(&of(5, 500_000)), [2, 2, 1]);
        assert_eq!(sizes(&of(2, 2_000_000)), [1, 1], "what is too large for any batch is for SQS to refuse");
    }
}
