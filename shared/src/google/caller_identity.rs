//! A signed request to AWS that Google sends in the function's place, to be told who signed it.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use serde_json::json;
use url::form_urlencoded;

use crate::{provider::aws_domain, registry::Secret};

/// Binds the signature to one provider of one pool, so that nobody else can use it.
const TARGET: &str = "x-goog-cloud-target-resource";

/// `GetCallerIdentity`, signed by `credentials` at `now` and serialized as Google's token service takes it: JSON of URL,
/// method and headers, percent-encoded. It is as good as the credentials at this one service, for 15 minutes.
///
/// Beside it the signature alone, so that it can be hidden wherever it is repeated.
///
/// # Errors
/// Why it can't be signed, without any of the credentials.
pub(super) fn signed_request(
    credentials: &Credentials,
    region: &str,
    audience: &str,
    now: SystemTime,
) -> Result<(Secret, Secret), String> {
    let host = format!("sts.{region}.{}", aws_domain(region));
    let url = format!("https://{host}/?Action=GetCallerIdentity&Version=2011-06-15");
    let own = [("host", host.as_str()), (TARGET, audience)];
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let request = SignableRequest::new("POST", &url, own.into_iter(), SignableBody::Bytes(&[]));
    let signed = request.and_then(|request| sign(request, &params)).map_err(|error| error.to_string())?;
    let (added, signature) = signed.into_parts();
    let headers: Vec<_> =
        own.into_iter().chain(added.headers()).map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let text = json!({ "url": url, "method": "POST", "headers": headers }).to_string();
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    // Whoever decodes need not know that a plus is a space in forms; a plus itself was encoded.
    Ok((Secret::new(encoded.replace('+', "%20")), Secret::new(signature)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;

    const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/aws";

    fn signed(session: Option<&str>) -> Value {
        let credentials = Credentials::new("AKIA111122223333", "secret", session.map(str::to_owned), None, "test");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_305_600);
        let (token, signature) = signed_request(&credentials, "eu-west-1", AUDIENCE, now).unwrap();
        assert!(token.reveal().contains(signature.reveal()));
        assert!(token.reveal().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-_.*".contains(&byte)));
        let form = format!("t={}", token.reveal());
        let (_, json) = form_urlencoded::parse(form.as_bytes()).next().unwrap();
        serde_json::from_str(&json).unwrap()
    }

    fn header<'j>(json: &'j Value, name: &str) -> Option<&'j str> {
        let headers = json["headers"].as_array().unwrap();
        headers.iter().find(|header| header["key"] == name).and_then(|header| header["value"].as_str())
    }

    #[test]
    fn the_request_is_bound_to_its_audience_and_moment() {
        let json = signed(Some("session"));
        assert_eq!(json["method"], "POST");
        assert_eq!(json["url"], "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15");
        assert_eq!(header(&json, "host"), Some("sts.eu-west-1.amazonaws.com"));
        assert_eq!(header(&json, TARGET), Some(AUDIENCE));
        assert_eq!(header(&json, "x-amz-date"), Some("20261122T000000Z"));
        assert_eq!(header(&json, "x-amz-security-token"), Some("session"));
        let authorization = header(&json, "authorization").unwrap();
        assert!(authorization.contains("/20261122/eu-west-1/sts/aws4_request"), "{authorization}");
        let names = "SignedHeaders=host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource";
        assert!(authorization.contains(names), "{authorization}");
        assert!(!json.to_string().contains("secret"));
    }

    #[test]
    fn credentials_without_a_session_bring_no_token() {
        assert_eq!(header(&signed(None), "x-amz-security-token"), None);
    }
}
