//! Messages between the functions, and the queue that carries them. SQS is fenced in here.

use std::{sync::Arc, time::SystemTime};

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::{
    aws::{Aws, failure},
    error::{Error, ErrorType},
    oci::Digest,
    request::{ExistingTag, SyncRequest},
    sync::Begun,
};

/// An image to sync, as a message body: what users write too, so it has no version and no required extras.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageMessage {
    /// From where.
    pub source: String,
    /// To where; left out: where the rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Not supported by this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Vec<String>>,
    /// Whether to copy what is attached to the image; this version copies the image alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrers: Option<bool>,
    /// What to do with a tag that the destination has, at another digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_tag: Option<ExistingTag>,
    /// The digest that the push event named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_digest: Option<String>,
    /// When the image was pushed, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_at_ms: Option<u64>,
}

/// An image that an earlier invocation could not finish, as a message body. The functions' own: what it holds may change,
/// and then its version does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// Of this form: [`CONTINUATION_VERSION`].
    pub version: u32,
    /// The image.
    #[serde(rename = "continue")]
    pub image: ImageMessage,
    /// What was done of it.
    pub begun: Begun,
}

/// The version of a [`Continuation`] that is written and read.
pub const CONTINUATION_VERSION: u32 = 1;

impl Continuation {
    /// What the next invocation is told of `request`.
    #[must_use]
    pub fn of(request: &SyncRequest, begun: Begun) -> Self {
        Self { version: CONTINUATION_VERSION, image: request.into(), begun }
    }
}

impl From<&SyncRequest> for ImageMessage {
    fn from(request: &SyncRequest) -> Self {
        let millis = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            u64::try_from(since.as_millis()).ok()
        };
        Self {
            source: request.source.to_string(),
            destination: Some(request.destination.to_string()),
            platforms: None,
            referrers: None,
            existing_tag: Some(request.options.existing_tag),
            expected_digest: request.expected.as_ref().map(ToString::to_string),
            pushed_at_ms: request.pushed_at.and_then(millis),
        }
    }
}

/// Where messages go.
pub trait Queue: Send + Sync {
    /// Sends every body, or says which one could not be sent. What was sent before a failure may be sent again by the
    /// next try: syncs are idempotent.
    fn send(&self, bodies: Vec<String>) -> BoxFuture<'_, Result<(), Error>>;

    /// Puts a message aside that can never succeed, with the reason in its attributes.
    fn bury(&self, body: String, reason: Error) -> BoxFuture<'_, Result<(), Error>>;
}

/// One SQS queue.
#[derive(Debug)]
pub struct SqsQueue {
    aws: Arc<Aws>,
    url: String,
    client: OnceCell<aws_sdk_sqs::Client>,
}

/// Messages in one call, the API's limit.
const BATCH: usize = 10;

/// An attribute's text is cut here: body and attributes share the message's 1 MiB.
const MAX_REASON_CHARS: usize = 4000;

impl SqsQueue {
    /// The queue at `url`; nothing is made yet.
    #[must_use]
    pub fn new(aws: Arc<Aws>, url: String) -> Self {
        Self { aws, url, client: OnceCell::new() }
    }

    async fn client(&self) -> &aws_sdk_sqs::Client {
        self.client.get_or_init(async || aws_sdk_sqs::Client::new(&self.aws.config_in(self.region()).await)).await
    }

    /// The region in the queue's URL (`https://sqs.REGION.amazonaws.com/…`): a queue is found in its own region alone.
    fn region(&self) -> Option<&str> {
        self.url.split_once("://sqs.")?.1.split_once(".amazonaws.")?.0.split('.').next_back()
    }

    /// FIFO queues need a group for each message.
    fn group(&self) -> Option<String> {
        self.url.ends_with(".fifo").then(|| "transship".to_owned())
    }

    /// What FIFO queues tell repeated messages by.
    fn deduplication(&self, body: &str) -> Option<String> {
        self.group().map(|_| Digest::of(body.as_bytes()).as_str().replace(':', "-"))
    }
}

impl Queue for SqsQueue {
    fn send(&self, bodies: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let doing = format!("sending to the queue {}", self.url);
            let client = self.client().await;
            for batch in bodies.chunks(BATCH) {
                let mut request = client.send_message_batch().queue_url(&self.url);
                for (number, body) in batch.iter().enumerate() {
                    let entry = SendMessageBatchRequestEntry::builder()
                        .id(number.to_string())
                        .message_body(body)
                        .set_message_group_id(self.group())
                        .set_message_deduplication_id(self.deduplication(body))
                        .build()
                        .map_err(|error| Error::new(ErrorType::InvalidEvent, format!("{doing}: {error}")))?;
                    request = request.entries(entry);
                }
                let answer = request.send().await.map_err(|error| failure(&doing, &error))?;
                // A batch is answered with 200 even if none of it was taken.
                if let Some(failed) = answer.failed().first() {
                    let error_type =
                        if failed.sender_fault() { ErrorType::InvalidConfig } else { ErrorType::Unavailable };
                    return Err(Error::new(
                        error_type,
                        format!(
                            "{doing}: {} of {} messages were not taken: {} {}",
                            answer.failed().len(),
                            batch.len(),
                            failed.code(),
                            failed.message().unwrap_or_default()
                        ),
                    ));
                }
            }
            Ok(())
        })
    }

    fn bury(&self, body: String, reason: Error) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let doing = format!("sending to the dead-letter queue {}", self.url);
            let attribute = |text: &str| {
                MessageAttributeValue::builder()
                    .data_type("String")
                    .string_value(text)
                    .build()
                    .map_err(|error| Error::new(ErrorType::InvalidEvent, format!("{doing}: {error}")))
            };
            let message: String = reason.message.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
            self.client()
                .await
                .send_message()
                .queue_url(&self.url)
                .set_message_deduplication_id(self.deduplication(&body))
                .message_body(body)
                .set_message_group_id(self.group())
                .message_attributes("error_type", attribute(reason.error_type.name())?)
                .message_attributes("error_message", attribute(&message)?)
                .send()
                .await
                .map_err(|error| failure(&doing, &error))?;
            Ok(())
        })
    }
}
