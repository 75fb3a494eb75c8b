use std::sync::Mutex;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ecr::{
    config::{
        ConfigBag, Credentials, Intercept, RuntimeComponents, SharedCredentialsProvider,
        interceptors::BeforeTransmitInterceptorContextRef,
    },
    error::BoxError,
};

use super::*;

/// Notes where a call would go, and lets none out.
#[derive(Debug, Clone, Default)]
struct Destination(Arc<Mutex<String>>);

impl Intercept for Destination {
    fn name(&self) -> &'static str {
        "Destination"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock().unwrap() = context.request().uri().to_owned();
        Err("a test sends nothing".into())
    }
}

/// Where the API of the registry with this host is asked.
async fn asked_at(host: &str) -> String {
    let home = EcrHost::parse(host).unwrap();
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(home.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("AKIA", "secret", None, None, "test")))
        .build();
    let there = Destination::default();
    let config = like_its_host(&config, &home, false).interceptor(there.clone()).build();
    let answer = Client::from_conf(config).get_authorization_token().send().await;
    assert!(answer.is_err());
    there.0.lock().unwrap().clone()
}

#[tokio::test]
async fn the_api_is_asked_in_the_partition_and_by_the_kind_of_endpoint_that_the_host_tells() {
    for (host, api) in [
        ("111122223333.dkr.ecr.eu-west-1.amazonaws.com", "https://api.ecr.eu-west-1.amazonaws.com/"),
        ("111122223333.dkr.ecr-fips.us-east-1.amazonaws.com", "https://api.ecr-fips.us-east-1.amazonaws.com/"),
        ("111122223333.dkr-ecr.us-east-1.on.aws", "https://ecr.us-east-1.api.aws/"),
        ("111122223333.dkr-ecr-fips.us-east-1.on.aws", "https://ecr-fips.us-east-1.api.aws/"),
        ("111122223333.dkr.ecr.us-gov-west-1.amazonaws.com", "https://api.ecr.us-gov-west-1.amazonaws.com/"),
        ("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", "https://api.ecr.cn-north-1.amazonaws.com.cn/"),
        (
            "111122223333.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            "https://ecr.cn-north-1.api.amazonwebservices.com.cn/",
        ),
        ("111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu", "https://api.ecr.eusc-de-east-1.amazonaws.eu/"),
        ("111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov", "https://api.ecr.us-iso-east-1.c2s.ic.gov/"),
    ] {
        assert_eq!(asked_at(host).await, api, "{host}");
    }
}
