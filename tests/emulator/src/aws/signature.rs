//! Reads the credential scope of a Signature Version 4 header. The signature itself is not checked: a test has no
//! secret to hide, and the SDK's signer is not what is under test.

use http::HeaderMap;

use super::ApiError;

/// What the `Authorization` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) access_key: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) session_token: Option<String>,
}

/// Parses `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=…, Signature=…`.
pub(super) fn parse(headers: &HeaderMap) -> Result<Signed, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(authorization) = text("authorization") else {
        return Err(ApiError::with_status(403, "MissingAuthenticationTokenException", "Missing Authentication Token"));
    };
    let incomplete =
        |what: &str| ApiError::with_status(403, "IncompleteSignatureException", format!("{what}: '{authorization}'"));
    let Some(parts) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") else {
        return Err(incomplete("Unsupported AWS 'algorithm'"));
    };
    let part = |name: &str| {
        parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let scope: Vec<&str> = part("Credential").split('/').collect();
    let [access_key, date, region, service, "aws4_request"] = scope[..] else {
        return Err(incomplete("Credential must have exactly 5 slash-delimited elements"));
    };
    if part("Signature").len() != 64 {
        return Err(incomplete("Authorization header requires 'Signature' parameter"));
    }
    if !part("SignedHeaders").split(';').any(|name| name == "host") {
        return Err(incomplete("'Host' must be a 'SignedHeader'"));
    }
    if !text("x-amz-date").is_some_and(|stamp| date.len() == 8 && stamp.starts_with(date)) {
        return Err(incomplete("Date in Credential scope does not match 'X-Amz-Date'"));
    }
    Ok(Signed {
        access_key: access_key.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        session_token: text("x-amz-security-token").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.parse().unwrap());
        headers.insert("x-amz-date", "20261122T120000Z".parse().unwrap());
        headers
    }

    #[test]
    fn the_scope_is_read() {
        let value = format!(
            "AWS4-HMAC-SHA256 Credential=AKIA111122223333/20261122/eu-west-1/ecr/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={}",
            "0".repeat(64)
        );
        let signed = parse(&headers(&value)).unwrap();
        assert_eq!((signed.region.as_str(), signed.service.as_str()), ("eu-west-1", "ecr"));
        assert_eq!(signed.access_key, "AKIA111122223333");
    }

    #[test]
    fn an_unsigned_call_is_refused() {
        let error = parse(&HeaderMap::new()).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (403, "MissingAuthenticationTokenException"));
        assert_eq!(parse(&headers("Basic QVdTOng=")).unwrap_err().code, "IncompleteSignatureException");
    }
}
