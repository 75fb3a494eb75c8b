//! Messages between the functions, and the queue that carries them. SQS is fenced in here.

mod address;
mod batch;
mod delay;
mod letter;
mod message;
mod source;
mod traced;

use std::{sync::Arc, time::Duration};

use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue};
use batch::BATCH;
pub use delay::delay;
use futures::{StreamExt, future::BoxFuture, stream};
pub use letter::DeadLetter;
pub use message::{FurtherTag, ImageMessage, MESSAGE_VERSION, places};
pub use source::SourceQueues;
use tokio::sync::OnceCell;
pub use traced::Traced;

use crate::{
    aws::{Aws, failure},
    error::{Error, ErrorType},
    oci::Digest,
    trace::TraceHeader,
};

/// Where messages go.
pub trait Queue: Send + Sync {
    /// Sends every body, or says which one could not be sent. What was sent before a failure may be sent again by the
    /// next try: syncs are idempotent.
    fn send(&self, bodies: Vec<String>) -> BoxFuture<'_, Result<(), Error>>;
}

/// A received message, and how long nobody is to receive it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// The receipt that came with it, good until it is received again.
    pub receipt: String,
    /// How long; at most 12 hours from its receive. Whole seconds count, begun ones as whole.
    pub wait: Duration,
}

/// One SQS queue.
#[derive(Debug)]
pub struct SqsQueue {
    aws: Arc<Aws>,
    url: String,
    client: OnceCell<aws_sdk_sqs::Client>,
}

/// Calls at once when many messages are hidden. Chosen: thousands fit into the time that is kept for the report.
const HIDE_AT_ONCE: usize = 8;

impl SqsQueue {
    /// The queue at `url`; nothing is made yet.
    #[must_use]
    pub fn new(aws: Arc<Aws>, url: String) -> Self {
        Self { aws, url, client: OnceCell::new() }
    }

    /// The queue's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    async fn client(&self) -> &aws_sdk_sqs::Client {
        self.client.get_or_init(async || aws_sdk_sqs::Client::new(&self.aws.config_in(self.region()).await)).await
    }

    /// The region in the queue's URL (`https://sqs.REGION.amazonaws.com/…`): a queue is found in its own region alone.
    fn region(&self) -> Option<&str> {
        self.url.split_once("://sqs.")?.1.split_once(".amazonaws.")?.0.split('.').next_back()
    }

    /// Whether it is a FIFO queue; their names say so.
    fn is_fifo(&self) -> bool {
        self.url.ends_with(".fifo")
    }

    /// FIFO queues need a group for each message. Each is a group of its own: what the functions send each other has no
    /// order to keep, and one that waits for its next try must not stop all others.
    fn group(&self, body: &str) -> Option<String> {
        self.is_fifo().then(|| Digest::of(body.as_bytes()).as_str().replace(':', "-"))
    }

    async fn hide_batch(&self, doing: &str, batch: &[Hidden]) -> Result<(), Error> {
        let mut request = self.client().await.change_message_visibility_batch().queue_url(&self.url);
        for (number, message) in batch.iter().enumerate() {
            let seconds = message.wait.as_millis().div_ceil(1000);
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(number.to_string())
                .receipt_handle(&message.receipt)
                .visibility_timeout(i32::try_from(seconds).unwrap_or(i32::MAX))
                .build()
                .map_err(|error| Error::new(ErrorType::InvalidEvent, format!("{doing}: {error}")))?;
            request = request.entries(entry);
        }
        let answer = request.send().await.map_err(|error| failure(doing, &error))?;
        match answer.failed().first() {
            None => Ok(()),
            Some(failed) => Err(Error::new(
                ErrorType::Unavailable,
                format!(
                    "{doing}: not done for {} of {}: {} {}",
                    answer.failed().len(),
                    batch.len(),
                    failed.code(),
                    failed.message().unwrap_or_default()
                ),
            )),
        }
    }

    /// What FIFO queues tell repeated messages by: the call `call`, which is only repeated when its answer was lost, and not
    /// the body. A sweep that finds the image of the last one missing again within five minutes sends the same body, and
    /// that message must not be dropped. One that comes twice finds its image in place.
    fn deduplication(&self, call: u64, number: usize) -> Option<String> {
        self.is_fifo().then(|| format!("{call:016x}-{number}"))
    }
}

impl SqsQueue {
    /// The queue, for messages that belong to this trace.
    #[must_use]
    pub fn of_trace<'q>(&'q self, trace: Option<&'q TraceHeader>) -> Traced<'q> {
        Traced::new(self, trace)
    }

    /// Puts a message aside that can never succeed, with the reason in its attributes.
    ///
    /// # Errors
    /// What the queue says.
    pub fn bury(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let doing = format!("sending to the dead-letter queue {}", self.url);
            let mut request = self.client().await.send_message().queue_url(&self.url);
            for (name, value) in letter.attributes() {
                let attribute = MessageAttributeValue::builder()
                    .data_type(letter::STRING)
                    .string_value(value)
                    .build()
                    .map_err(|error| Error::new(ErrorType::InvalidEvent, format!("{doing}: {error}")))?;
                request = request.message_attributes(name, attribute);
            }
            request
                .set_message_system_attributes(traced::attributes(letter.trace.as_ref()))
                // By the message and not by its body: buried once more after a crash it is one letter, and moved back
                // and failed again it is a new one, which must not be taken for a repetition and dropped.
                .set_message_deduplication_id(self.is_fifo().then(|| letter.message_id.clone()))
                .set_message_group_id(letter.group.or_else(|| self.group(&letter.body)))
                .message_body(letter.body)
                .send()
                .await
                .map_err(|error| failure(&doing, &error))?;
            Ok(())
        })
    }

    /// Keeps received messages out of sight for as long as each says, from now on. What could not be done for some is
    /// done for the others.
    ///
    /// # Errors
    /// What the queue says of the first ones that it could not be done for.
    pub async fn hide(&self, messages: Vec<Hidden>) -> Result<(), Error> {
        let doing = format!("setting when messages of the queue {} are visible again", self.url);
        let calls: Vec<_> = messages.chunks(BATCH).map(|batch| self.hide_batch(&doing, batch)).collect();
        let done: Vec<Result<(), Error>> = stream::iter(calls).buffer_unordered(HIDE_AT_ONCE).collect().await;
        done.into_iter().collect()
    }
}
