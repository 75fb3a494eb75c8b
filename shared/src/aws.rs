//! The SDK's configuration, loaded when an AWS call is first needed, and once.

use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_sdk_ecr::{
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ErrorMetadata, ProvideErrorMetadata},
};
use tokio::sync::OnceCell;

use crate::{
    error::{Error, ErrorType},
    settings::Role,
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

    /// The configuration for calls to `region`, as `role` where one is given.
    pub async fn config_for(&self, region: &str, role: Option<&Role>) -> SdkConfig {
        let base = self.config().await;
        let region = Region::new(region.to_owned());
        let config = base.to_builder().region(region.clone());
        let Some(role) = role else { return config.build() };
        let mut provider =
            AssumeRoleProvider::builder(&role.arn).session_name("transship").region(region).configure(base);
        if let Some(external_id) = &role.external_id {
            provider = provider.external_id(external_id);
        }
        let credentials = aws_sdk_ecr::config::SharedCredentialsProvider::new(provider.build().await);
        config.credentials_provider(credentials).build()
    }
}

/// What a failed AWS call means: by its code, which the SDK keeps for errors that it doesn't model, too.
pub(crate) fn failure<E>(doing: &str, error: &E) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    // A call that could not be signed was refused elsewhere: STS's answer is what counts.
    let cause = if error.code().is_some() { error.meta() } else { refusal_below(error).unwrap_or(error.meta()) };
    let code = cause.code().unwrap_or_default();
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
        | "ParameterNotFound"
        | "DecryptionFailure" => ErrorType::Unauthorized,
        // A quota of the account: not passing, although the SDK counts it as throttling.
        "LimitExceededException" => ErrorType::Denied,
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" => {
            ErrorType::Throttled
        }
        "InvalidParameterException"
        | "ValidationException"
        | "InvalidTagParameterException"
        | "TooManyTagsException" => ErrorType::InvalidConfig,
        _ => ErrorType::Unavailable,
    };
    let text = match (code, cause.message()) {
        ("", _) => {
            let context = DisplayErrorContext(error).to_string();
            // The context ends with the whole error in debug form: nothing for people.
            let end = context.find(" (").unwrap_or(context.len());
            context[..end].to_owned()
        }
        (code, Some(message)) => format!("{code}: {message}"),
        (code, None) => code.to_owned(),
    };
    Error::new(error_type, format!("{doing}: {text}"))
}

/// What a service said further down, such as STS to `AssumeRole` while credentials were fetched.
fn refusal_below<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e ErrorMetadata> {
    let mut below = error.source();
    while let Some(error) = below {
        if let Some(refusal) = error.downcast_ref::<ErrorMetadata>().filter(|refusal| refusal.code().is_some()) {
            return Some(refusal);
        }
        below = error.source();
    }
    None
}
