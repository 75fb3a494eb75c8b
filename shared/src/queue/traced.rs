//! A queue for messages of one trace: whoever receives one knows what it came of.

use std::collections::HashMap;

use aws_sdk_sqs::types::{
    MessageSystemAttributeNameForSends, MessageSystemAttributeValue, SendMessageBatchRequestEntry,
};
use futures::future::BoxFuture;

use super::{Queue, SqsQueue, batch::batches, letter::STRING};
use crate::{
    aws::failure,
    error::{Error, ErrorType},
    trace::TraceHeader,
};

/// A queue, for messages that belong to a trace.
#[derive(Debug, Clone, Copy)]
pub struct Traced<'q> {
    queue: &'q SqsQueue,
    trace: Option<&'q TraceHeader>,
}

impl<'q> Traced<'q> {
    pub(super) fn new(queue: &'q SqsQueue, trace: Option<&'q TraceHeader>) -> Self {
        Self { queue, trace }
    }
}

/// What SQS carries beside a message: the trace's header, which counts for no limit, nor for deduplication.
///
/// Source: Amazon SQS API reference, `SendMessage`, `MessageSystemAttributes`.
pub(super) fn attributes(
    trace: Option<&TraceHeader>,
) -> Option<HashMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue>> {
    let value = MessageSystemAttributeValue::builder().data_type(STRING).string_value(trace?.as_str());
    // Both that it needs are there.
    Some(HashMap::from([(MessageSystemAttributeNameForSends::AwsTraceHeader, value.build().ok()?)]))
}

impl Queue for Traced<'_> {
    fn send(&self, bodies: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        let Self { queue, trace } = *self;
        Box::pin(async move {
            let doing = format!("sending to the queue {}", queue.url);
            let client = queue.client().await;
            for batch in batches(&bodies) {
                let call = fastrand::u64(..);
                let mut request = client.send_message_batch().queue_url(&queue.url);
                for (number, body) in batch.iter().enumerate() {
                    let entry = SendMessageBatchRequestEntry::builder()
                        .id(number.to_string())
                        .message_body(body)
                        .set_message_system_attributes(attributes(trace))
                        .set_message_group_id(queue.group(body))
                        .set_message_deduplication_id(queue.deduplication(call, number))
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
}
