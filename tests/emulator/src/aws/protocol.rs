//! The three wire formats: AWS JSON 1.0 (SQS), AWS JSON 1.1 (ECR, Secrets Manager, SSM) and the query protocol (STS).

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::ApiError;

/// How a call came in, and so how its answer must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `application/x-amz-json-1.0`, with `x-amzn-query-error` on errors (SQS).
    Json10,
    /// `application/x-amz-json-1.1`.
    Json11,
    /// A form in, XML out (STS).
    Query,
}

impl Protocol {
    pub(super) fn of_target(prefix: &str) -> Self {
        if prefix == "AmazonSQS" { Self::Json10 } else { Self::Json11 }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json10 => "application/x-amz-json-1.0",
            Self::Json11 => "application/x-amz-json-1.1",
            Self::Query => "text/xml",
        }
    }

    pub(super) fn answer(self, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
        self.respond(200, body.into())
    }

    pub(super) fn error(self, error: &ApiError, request_id: &str) -> Response<Full<Bytes>> {
        let ApiError { status, code, message } = error;
        let side = if *status >= 500 { "Receiver" } else { "Sender" };
        match self {
            Self::Json11 => self.respond(*status, json_body(code, message)),
            Self::Json10 => {
                let mut response = self.respond(*status, json_body(&sqs_type(code), message));
                if let Ok(value) = format!("{};{side}", sqs_query_code(code)).parse() {
                    response.headers_mut().insert("x-amzn-query-error", value);
                }
                response
            }
            Self::Query => {
                let code = code.strip_suffix("Exception").unwrap_or(code);
                let body = format!(
                    "<ErrorResponse xmlns=\"{STS_NAMESPACE}\">\n  <Error>\n    <Type>{side}</Type>\n    \
                     <Code>{}</Code>\n    <Message>{}</Message>\n  </Error>\n  <RequestId>{request_id}</RequestId>\n\
                     </ErrorResponse>\n",
                    xml_text(code),
                    xml_text(message)
                );
                self.respond(*status, body.into())
            }
        }
    }

    fn respond(self, status: u16, body: Bytes) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert("content-type", http::HeaderValue::from_static(self.content_type()));
        response
    }
}

/// The namespace of every STS answer.
pub(super) const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Text with the characters that XML keeps for itself escaped.
pub(super) fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn json_body(code: &str, message: &str) -> Bytes {
    let mut body = json!({ "__type": code });
    // Some services leave an empty message out.
    if !message.is_empty() {
        body["message"] = Value::from(message);
    }
    body.to_string().into()
}

/// Errors of the SQS model carry its namespace; what the front end refuses carries coral's.
fn sqs_type(code: &str) -> String {
    match code {
        "InvalidParameterValue" | "MissingParameter" => format!("com.amazon.coral.service#{code}Exception"),
        _ => format!("com.amazonaws.sqs#{code}"),
    }
}

/// The code that the older query protocol had for the same error.
fn sqs_query_code(code: &str) -> String {
    match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".into(),
        "QueueNameExists" => "QueueAlreadyExists".into(),
        "BatchEntryIdsNotDistinct"
        | "BatchRequestTooLong"
        | "EmptyBatchRequest"
        | "InvalidBatchEntryId"
        | "TooManyEntriesInBatchRequest"
        | "MessageNotInflight"
        | "PurgeQueueInProgress"
        | "UnsupportedOperation" => format!("AWS.SimpleQueueService.{code}"),
        _ => code.to_owned(),
    }
}
