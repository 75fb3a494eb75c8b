//! A message as it came from its queue.

use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::SqsMessage;
use transfer::trace::TraceHeader;

/// A message as it came from its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) body: String,
    /// Good for one receive; what calls about the message name it by.
    pub(crate) receipt: Option<String>,
    /// When it was sent.
    pub(crate) sent_at: Option<SystemTime>,
    /// How often it was received, this time included.
    pub(crate) received: u32,
    /// Its group: FIFO queues keep order within it, standard ones share their work out by it.
    pub(crate) group: Option<String>,
    pub(crate) queue_arn: Option<String>,
    /// The trace that it was sent in.
    pub(crate) trace: Option<TraceHeader>,
}

impl Record {
    /// Reads a record; `None`: it has no id, so that nothing could be said of it.
    pub(crate) fn of(message: SqsMessage) -> Option<Self> {
        let attribute = |name: &str| message.attributes.get(name).cloned();
        Some(Self {
            id: message.message_id.filter(|id| !id.is_empty())?,
            received: attribute("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1),
            sent_at: attribute("SentTimestamp")
                .and_then(|millis| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis.parse().ok()?))),
            group: attribute("MessageGroupId"),
            trace: attribute("AWSTraceHeader").and_then(|header| TraceHeader::read(&header)),
            body: message.body.unwrap_or_default(),
            receipt: message.receipt_handle,
            queue_arn: message.event_source_arn,
        })
    }

    /// The group within which order is kept; none in a standard queue.
    pub(crate) fn order(&self) -> Option<&str> {
        let fifo = self.queue_arn.as_ref().is_some_and(|arn| arn.ends_with(".fifo"));
        fifo.then(|| self.group.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(queue: &str) -> Record {
        let message = json!({
            "messageId": "1",
            "receiptHandle": "AQEB",
            "body": "{}",
            "attributes": { "ApproximateReceiveCount": "3", "MessageGroupId": "team" },
            "eventSourceARN": format!("arn:aws:sqs:us-east-1:111122223333:{queue}"),
        });
        Record::of(serde_json::from_value(message).unwrap()).unwrap()
    }

    #[test]
    fn order_is_kept_within_a_group_of_a_fifo_queue() {
        assert_eq!(record("work.fifo").order(), Some("team"));
        assert_eq!(record("work").order(), None, "a fair queue's group is no order");
        assert_eq!((record("work").received, record("work").group.as_deref()), (3, Some("team")));
    }

    #[test]
    fn a_record_without_an_id_is_none() {
        for message in [json!({ "body": "{}" }), json!({ "messageId": "", "body": "{}" })] {
            assert_eq!(Record::of(serde_json::from_value(message).unwrap()), None);
        }
    }
}
