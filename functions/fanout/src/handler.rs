//! One invocation: a batch of messages in, the ones that must come again out.

use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use bootstrap::{HandlerError, Invocation};
use transfer::{
    compose::App,
    error::{Class, Error, ErrorType},
    queue::Queue,
    request::SyncRequest,
};

use crate::message;

/// Syncs the images of a batch, one message after the other.
pub(crate) async fn handle(app: Arc<App>, invocation: Invocation) -> Result<SqsBatchResponse, HandlerError> {
    let event: SqsEvent = serde_json::from_value(invocation.payload.clone()).map_err(|error| {
        Error::new(ErrorType::InvalidEvent, format!("the event can't be used: it is no SQS event ({error})"))
    })?;
    // Before anything is done: an error of the whole batch brings every message back.
    if event.records.iter().any(|record| record.message_id.is_none()) {
        return Err(Error::new(ErrorType::InvalidEvent, "the event can't be used: a record has no messageId").into());
    }
    let mut response = SqsBatchResponse::default();
    for record in event.records {
        let id = record.message_id.unwrap_or_default();
        let body = record.body.unwrap_or_default();
        let received = record.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse::<u32>().ok());
        let repeated = received.is_some_and(|count| count > 1);
        if let Err(error) = one(&app, &invocation, &body, repeated).await {
            tracing::error!(
                message_id = id,
                error_type = error.error_type.name(),
                error_message = error.message,
                "the message failed"
            );
            if !buried(&app, &invocation, body, error).await {
                response.add_failure(id);
            }
        }
    }
    Ok(response)
}

/// Does what one message asks for; its first failure that may succeed later, else its first failure.
async fn one(app: &App, invocation: &Invocation, body: &str, repeated: bool) -> Result<(), Error> {
    let mut failure: Option<Error> = None;
    let (requests, begun) = message::read(body, &app.config.rules)?;
    for request in requests {
        let request = SyncRequest { repeated: repeated || begun.invocations > 0, ..request };
        let report = invocation.sync(app, &request, &begun).await;
        if let Some(error) = report.error
            && failure.as_ref().is_none_or(|kept| kept.class() == Class::Never && error.class() == Class::Later)
        {
            failure = Some(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Puts a message that never can succeed into the dead-letter queue; `false`: it must come again.
async fn buried(app: &App, invocation: &Invocation, body: String, error: Error) -> bool {
    let (Class::Never, Some(dead_letters)) = (error.class(), &app.dead_letters) else { return false };
    match invocation.ends.bound(dead_letters.bury(body, error)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(error = %error, "the message could not be put into the dead-letter queue");
            false
        }
        Err(passed) => {
            tracing::error!(error = %passed, "the message could not be put into the dead-letter queue");
            false
        }
    }
}
