use crate::{config::Config, error::ErrorType, settings::Environment};

const AUDIENCE: &str = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/aws/providers/lambda";

fn parse(registries: &str) -> Result<Config, crate::error::Error> {
    Config::parse(&format!(r#"{{"registries":{{{registries}}}}}"#), &Environment::from(&|_| None))
}

fn mistakes(registries: &str) -> String {
    let error = parse(registries).unwrap_err();
    assert_eq!(error.error_type, ErrorType::InvalidConfig);
    error.message
}

#[test]
fn a_workload_identity_leads_to_google_unless_it_is_told_otherwise() {
    let text = format!(r#""europe-docker.pkg.dev":{{"workload_identity":{{"audience":"{AUDIENCE}"}}}}"#);
    let identity = parse(&text).unwrap().registry("europe-docker.pkg.dev").workload_identity.unwrap();
    assert_eq!(identity.token_endpoint.as_str(), "https://sts.googleapis.com/");
    assert_eq!(identity.iam_endpoint.as_str(), "https://iamcredentials.googleapis.com/");
    assert_eq!((identity.audience.as_str(), identity.service_account), (AUDIENCE, None));
}

#[test]
fn a_workload_identity_is_for_artifact_registry_without_credentials() {
    let with = |more: &str| format!(r#""workload_identity":{{"audience":"{AUDIENCE}"{more}}}"#);
    for (settings, part) in [
        (format!(r#""ghcr.io":{{{}}}"#, with("")), "ghcr.io.workload_identity: only Google"),
        (format!(r#""gcr.io":{{"credentials":"env:A",{}}}"#, with("")), "goes without credentials"),
        (r#""gcr.io":{"workload_identity":{"audience":"https://iam.googleapis.com/x"}}"#.into(), "audience: expected"),
        (r#""gcr.io":{"workload_identity":{}}"#.into(), "audience"),
        (format!(r#""gcr.io":{{{}}}"#, with(r#","service_account":"../x@y""#)), "service_account: expected"),
        (format!(r#""gcr.io":{{{}}}"#, with(r#","token_endpoint":"http://a.test""#)), "token_endpoint: plain HTTP"),
        (format!(r#""gcr.io":{{{}}}"#, with(r#","iam_endpoint":"https://a.test/v1""#)), "iam_endpoint: expected"),
        (r#""gcr.io":{"authority":"https://a.test"}"#.into(), "gcr.io.authority: only Azure"),
        (r#""a.azurecr.io":{"authority":"http://a.test"}"#.into(), "authority: plain HTTP"),
    ] {
        let message = mistakes(&settings);
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn every_cloud_has_its_own_authority() {
    for (host, authority) in [
        ("acme.azurecr.io", "https://login.microsoftonline.com/"),
        ("acme.azurecr.cn", "https://login.partner.microsoftonline.cn/"),
        ("acme.azurecr.us", "https://login.microsoftonline.us/"),
        ("registry.acme.us", "https://login.microsoftonline.com/"),
    ] {
        let config = parse(&format!(r#""{host}":{{"provider":"acr","credentials":"env:A"}}"#)).unwrap();
        assert_eq!(config.registry(host).authority.unwrap().endpoint.as_str(), authority, "{host}");
    }
    assert!(parse("").unwrap().registry("ghcr.io").authority.is_none());
}
