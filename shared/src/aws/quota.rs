//! A quota of an account is no throttling: the SDK would ask again.

use aws_sdk_ecr::config::{
    interceptors::InterceptorContext,
    retry::{ClassifyRetry, RetryAction},
};

use super::code_is;

/// Keeps the SDK from calling again after `LimitExceededException`, which its own classifier takes for throttling: at ECR
/// it is a quota of what may be held, and three more calls change nothing but the time that they take.
///
/// Sources: ECR API, errors of `CreateRepository`, `BatchGetImage`, `PutImage`; aws-runtime, `retries/classifiers.rs`.
#[derive(Debug)]
pub(crate) struct QuotaIsFinal;

impl ClassifyRetry for QuotaIsFinal {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let body = context.response().filter(|response| !response.status().is_success());
        match body.and_then(|response| response.body().bytes()) {
            // What is forbidden by one classifier is not asked of the others.
            Some(body) if code_is(body, "LimitExceededException") => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "QuotaIsFinal"
    }
}
