//! The SDK's configuration, loaded when an AWS call is first needed, and once.

mod identity;
mod quota;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use aws_sdk_ecr::{
    config::{
        ConfigBag, IdentityCache, Intercept, RuntimeComponents, SharedCredentialsProvider,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
        retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::{BoxError, ProvideErrorMetadata},
};
use identity::Configured;
pub(crate) use identity::{Identity, IdentitySource};
pub(crate) use quota::QuotaIsFinal;
use tokio::sync::OnceCell;

use crate::{
    config::Role,
    error::{Error, ErrorType, chain},
    transport::Meter,
};

/// The standard environment (`AWS_REGION`, credentials, `AWS_ENDPOINT_URL…`), read at first use.
#[derive(Debug, Default)]
pub struct Aws {
    base: OnceCell<SdkConfig>,
}

impl Aws {
    /// The configuration as the environment gives it.
    pub async fn config(&self) -> &SdkConfig {
        self.base
            .get_or_init(|| {
                aws_config::defaults(BehaviorVersion::latest())
                    .retry_config(RetryConfig::standard().with_max_attempts(4))
                    .timeout_config(
                        TimeoutConfig::builder()
                            .operation_attempt_timeout(std::time::Duration::from_secs(10))
                            .operation_timeout(std::time::Duration::from_secs(40))
                            .build(),
                    )
                    .load()
            })
            .await
    }

    /// What the function's own calls are signed with, and the region they are for.
    ///
    /// # Errors
    /// `InvalidConfig` without a region, `Unauthorized` without credentials.
    pub(crate) async fn signer(&self, doing: &str) -> Result<(Credentials, String), Error> {
        let config = self.config().await;
        let region = config.region().map(|region| region.as_ref().to_owned());
        let region = region.ok_or_else(|| {
            Error::new(ErrorType::InvalidConfig, format!("{doing}: no region is known; set AWS_REGION"))
        })?;
        let none = |reason: &str| {
            Error::new(ErrorType::Unauthorized, format!("{doing}: there are no AWS credentials to sign with{reason}"))
        };
        let provider = config.credentials_provider().ok_or_else(|| none(""))?;
        let credentials = provider.provide_credentials().await;
        let credentials =
            credentials.map_err(|error| none(&format!(": {}; check the function's role", chain(&error))))?;
        Ok((credentials, region))
    }

    /// The configuration for calls to `region`, or to the function's own where none is given.
    pub async fn config_in(&self, region: Option<&str>) -> SdkConfig {
        match region {
            Some(region) => self.config_for(region, None, None).await,
            None => self.config().await.clone(),
        }
    }

    /// The configuration for calls to `region`: as `identity` if one is configured, else as the function; as `role`
    /// where one is given, which that one assumes.
    pub async fn config_for(
        &self,
        region: &str,
        role: Option<&Role>,
        identity: Option<Arc<dyn IdentitySource>>,
    ) -> SdkConfig {
        let function = self.config().await;
        let region = Region::new(region.to_owned());
        // The function's own identity is known in its own region for sure; another one's partition is the registry's.
        let home = function.region().filter(|_| identity.is_none()).unwrap_or(&region).clone();
        let mut base = function.to_builder().region(home.clone());
        if let Some(source) = identity {
            let configured = Configured { source, otherwise: function.credentials_provider() };
            base = base.credentials_provider(SharedCredentialsProvider::new(configured));
            // What the environment's identity was cached in is not for this one.
            base = base.identity_cache(IdentityCache::lazy().build());
        }
        let base = base.build();
        let config = base.to_builder().region(region);
        let Some(role) = role else { return config.build() };
        let mut provider =
            AssumeRoleProvider::builder(&role.arn).session_name("transship").region(home).configure(&base);
        if let Some(external_id) = &role.external_id {
            provider = provider.external_id(external_id);
        }
        config.credentials_provider(SharedCredentialsProvider::new(provider.build().await)).build()
    }
}

/// Counts the calls of one operation where they are made: the SDK tries again by itself.
#[derive(Debug)]
pub(crate) struct CountCalls {
    meter: Meter,
    made: AtomicBool,
}

impl CountCalls {
    /// Counts on `meter`.
    pub(crate) fn on(meter: &Meter) -> Self {
        Self { meter: meter.clone(), made: AtomicBool::new(false) }
    }
}

impl Intercept for CountCalls {
    fn name(&self) -> &'static str {
        "CountCalls"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.meter.aws_call();
        if self.made.swap(true, Ordering::Relaxed) {
            self.meter.retry();
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().filter(|response| !response.status().is_success()).and_then(|r| r.body().bytes());
        if body.is_some_and(|body| code_is(body, "ThrottlingException")) {
            self.meter.throttle();
        }
        Ok(())
    }
}

/// Whether the body of an error names this exception (AWS JSON protocol: `{"__type":"ThrottlingException",…}`, with or
/// without a namespace before it).
fn code_is(body: &[u8], name: &str) -> bool {
    let error: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    error["__type"].as_str().is_some_and(|code| code.rsplit('#').next() == Some(name))
}

/// What a failed AWS call means: by its code, which the SDK keeps for errors that it doesn't model, too.
pub(crate) fn failure<E>(doing: &str, error: &E) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(code) = error.code() else {
        // No answer: no connection, or no credentials to sign with, which is where a role that can't be assumed shows.
        let causes = chain(error);
        let (error_type, advice) = if causes.contains("AccessDenied") {
            (
                ErrorType::Denied,
                "; check role_arn, external_id and the role's trust policy; a role of another partition (China, GovCloud) needs \
             an identity of that partition as this registry's credentials",
            )
        } else if causes.contains("credentials") {
            (ErrorType::Unauthorized, "; check the function's role")
        } else {
            (ErrorType::Unavailable, "")
        };
        return Error::new(error_type, format!("{doing}: {causes}{advice}"));
    };
    let error_type = match code {
        "AccessDeniedException" | "AccessDenied" | "BlockedByOrganizationPolicyException" | "KmsException" => {
            ErrorType::Denied
        }
        "RepositoryNotFoundException" | "RegistryNotFoundException" => ErrorType::RepositoryNotFound,
        "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationTokenException"
        | "ResourceNotFoundException"
        | "DecryptionFailure" => ErrorType::Unauthorized,
        // A quota of the account: not passing, although the SDK counts it as throttling (`QuotaIsFinal`).
        "LimitExceededException" => ErrorType::Denied,
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" => {
            ErrorType::Throttled
        }
        "InvalidParameterException"
        | "ValidationException"
        | "InvalidTagParameterException"
        | "TooManyTagsException"
        | "ParameterNotFound"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue" => ErrorType::InvalidConfig,
        _ => ErrorType::Unavailable,
    };
    let message = error.message().map(|message| format!(": {message}")).unwrap_or_default();
    Error::new(error_type, format!("{doing}: {code}{message}{}", advice(code, error_type)))
}

/// What to do about it, where AWS's own text doesn't say.
fn advice(code: &str, error_type: ErrorType) -> &'static str {
    match (code, error_type) {
        ("KmsException", _) => "; allow the role to use the key",
        ("LimitExceededException", _) => {
            "; this is a quota of the account in that region: remove what is not needed there, or ask AWS to raise it"
        }
        ("ResourceNotFoundException" | "ParameterNotFound", _) => "; check the name, and the region it is in",
        ("QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue", _) => "; check the queue's URL",
        (_, ErrorType::Denied) => "; allow the role to do this",
        (_, ErrorType::Unauthorized) => "; check the function's role and credentials",
        _ => "",
    }
}
