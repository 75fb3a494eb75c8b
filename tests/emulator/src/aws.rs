//! The AWS APIs that Transship calls, on one port, in their real wire formats.

use std::{future::Future, pin::Pin};

use serde_json::Value;

pub mod ecr;
pub mod ecr_public;
mod protocol;
pub mod secrets;
mod server;
mod signature;
pub mod sqs;
pub mod ssm;
pub mod sts;

pub use self::{
    ecr::EcrApi,
    ecr_public::EcrPublicApi,
    secrets::Secrets,
    server::{Aws, RecordedCall},
    sqs::Sqs,
    ssm::Parameters,
    sts::Sts,
};

/// What one signed call asks for.
#[derive(Debug, Clone)]
pub struct Call {
    /// The part of `X-Amz-Target` behind the dot, such as `BatchCheckLayerAvailability`.
    pub operation: String,
    /// The region of the signature's credential scope.
    pub region: String,
    /// The access key that signed the call; tells the account and, after `AssumeRole`, the role.
    pub access_key: String,
    /// The JSON body.
    pub body: Value,
}

/// An error as AWS's JSON protocols send it: `{"__type": code, "message": message}`.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// HTTP status: 400 for a client's fault, 500 for a server's.
    pub status: u16,
    /// The exception's name, such as `RepositoryNotFoundException`.
    pub code: String,
    /// Text for people.
    pub message: String,
}

impl ApiError {
    /// A client's fault: status 400.
    pub fn client(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.into(), message: message.into() }
    }

    /// An error with a status of its own.
    pub fn with_status(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }
}

/// The account of a key such as `AKIA111122223333` or `ASIA222233334444WXYZ`: the twelve digits behind the prefix.
/// A key without them belongs to `111122223333`.
pub fn account_of(access_key: &str) -> &str {
    match access_key.get(4..16) {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits,
        _ => DEFAULT_ACCOUNT,
    }
}

/// The account of keys that name none, and of what tests create by a bare name.
pub const DEFAULT_ACCOUNT: &str = "111122223333";

/// The region of what tests create by a bare name.
pub const DEFAULT_REGION: &str = "us-east-1";

/// One service that speaks an AWS JSON protocol.
pub trait Api: Send + Sync + 'static {
    /// The part of `X-Amz-Target` before the dot, such as `AmazonEC2ContainerRegistry_V20150921`.
    fn target(&self) -> &'static str;

    /// Answers one call.
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Value, ApiError>> + Send + '_>>;
}
