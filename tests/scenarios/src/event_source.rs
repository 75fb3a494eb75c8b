//! Lambda's SQS event source mapping: receives, invokes, and deletes what did not fail.

use std::time::Duration;

use emulator::aws::Sqs;
use serde_json::Value;

use crate::{Function, Outcome};

/// A mapping from a queue to a function, with `ReportBatchItemFailures` on.
pub struct EventSource<'a> {
    queues: &'a Sqs,
    queue: String,
    batch_size: usize,
    timeout: Duration,
}

/// One invocation by the mapping.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The event that the function got.
    pub event: Value,
    /// How it ended.
    pub outcome: Outcome,
    /// The ids of the messages that stay in the queue.
    pub kept: Vec<String>,
}

impl<'a> EventSource<'a> {
    /// Maps a queue, by name or URL, one message at a time, with a timeout of 30 s.
    pub fn new(queues: &'a Sqs, queue: &str) -> Self {
        Self { queues, queue: queue.to_owned(), batch_size: 1, timeout: Duration::from_secs(30) }
    }

    /// Sets how many messages an event may hold.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Sets the function's timeout.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Receives what is visible now and invokes the function with it. `None`: nothing was visible.
    pub async fn deliver(&self, function: &mut Function) -> Option<Delivery> {
        let event = self.queues.receive_event(&self.queue, self.batch_size)?;
        let outcome = function.invoke(event.clone(), self.timeout).await;
        let records = event["Records"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ids: Vec<&str> = records.iter().filter_map(|record| record["messageId"].as_str()).collect();
        let kept = failures(&outcome, &ids);
        for record in records {
            let id = record["messageId"].as_str().unwrap_or_default();
            if !kept.iter().any(|kept| kept == id) {
                self.queues.delete(&self.queue, record["receiptHandle"].as_str().unwrap_or_default());
            }
        }
        Some(Delivery { event, outcome, kept })
    }

    /// Delivers until nothing is visible any more, at most `most` times.
    pub async fn drain(&self, function: &mut Function, most: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.len() < most {
            let Some(delivery) = self.deliver(function).await else { break };
            deliveries.push(delivery);
        }
        deliveries
    }
}

/// Which messages stay, by the rules of `ReportBatchItemFailures`: an error, or an answer that Lambda does not
/// understand, or one that names an unknown message, keeps all of them.
pub fn failures(outcome: &Outcome, ids: &[&str]) -> Vec<String> {
    let all = || ids.iter().map(|id| (*id).to_owned()).collect();
    let Outcome::Ok(answer) = outcome else { return all() };
    let list = match answer {
        Value::Null => return Vec::new(),
        Value::Object(object) if object.is_empty() => return Vec::new(),
        Value::Object(object) => object.get("batchItemFailures"),
        _ => None,
    };
    let items = match list {
        Some(Value::Null) => return Vec::new(),
        Some(Value::Array(items)) => items,
        _ => return all(),
    };
    let named: Vec<&str> = items.iter().filter_map(|item| item["itemIdentifier"].as_str()).collect();
    if named.len() < items.len() || named.iter().any(|id| !ids.contains(id)) {
        return all();
    }
    named.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_that_lambda_does_not_understand_keeps_all_messages() {
        let kept = |answer: Value| failures(&Outcome::Ok(answer), &["a", "b"]);
        for nothing in
            [json!(null), json!({}), json!({ "batchItemFailures": null }), json!({ "batchItemFailures": [] })]
        {
            assert!(kept(nothing).is_empty());
        }
        assert_eq!(kept(json!({ "batchItemFailures": [{ "itemIdentifier": "b" }] })), ["b"]);
        for all in [
            json!("text"),
            json!({ "failures": [] }),
            json!({ "batchItemFailures": [{ "itemIdentifier": "" }] }),
            json!({ "batchItemFailures": [{ "itemIdentifier": null }] }),
            json!({ "batchItemFailures": [{ "id": "a" }] }),
            json!({ "batchItemFailures": [{ "itemIdentifier": "unknown" }] }),
        ] {
            assert_eq!(kept(all), ["a", "b"]);
        }
        assert_eq!(failures(&Outcome::TimedOut, &["a"]), ["a"]);
    }
}
