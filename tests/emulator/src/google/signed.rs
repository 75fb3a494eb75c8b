//! A serialized, signed `GetCallerIdentity` request: its shape as Google demands it, its signature as AWS does.
//!
//! Sources: Google Cloud, Security Token Service, "Method: token" (`subjectToken`); AWS, "Create a signed AWS API request".

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime, PrimitiveDateTime, macros::format_description};

use crate::registry::decode;

/// How far the clock of a signature may be off (AWS Signature Version 4).
const FRESH: Duration = Duration::minutes(15);

/// Checks a subject token for `audience`, signed by `access_key` with `secret`.
pub(super) fn check(subject: &str, audience: &str, access_key: &str, secret: &str) -> Result<(), String> {
    let json: Value = serde_json::from_str(&decode(subject, false))
        .map_err(|_| "The subject token is no URL-encoded JSON.".to_owned())?;
    if json["method"] != "POST" {
        return Err("The method of the AWS request is not POST.".to_owned());
    }
    let mut headers = BTreeMap::new();
    for header in json["headers"].as_array().into_iter().flatten() {
        let key = header["key"].as_str().unwrap_or_default().to_ascii_lowercase();
        headers.insert(key, header["value"].as_str().unwrap_or_default().to_owned());
    }
    let header = |name: &str| headers.get(name).map(String::as_str).ok_or(format!("The header {name} is missing."));
    let url = json["url"].as_str().unwrap_or_default();
    let host = header("host")?;
    let query = url.strip_prefix(&format!("https://{host}/?")).ok_or("The URL is not that of the host.")?;
    if query != "Action=GetCallerIdentity&Version=2011-06-15" {
        return Err("The AWS request is not GetCallerIdentity.".to_owned());
    }
    if header("x-goog-cloud-target-resource")? != audience {
        return Err("x-goog-cloud-target-resource is not the audience.".to_owned());
    }
    let date = header("x-amz-date")?;
    let stamp = format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed_at = PrimitiveDateTime::parse(date, &stamp).map_err(|_| "x-amz-date is no date.")?.assume_utc();
    if (OffsetDateTime::now_utc() - signed_at).abs() > FRESH {
        return Err("The AWS request is too old.".to_owned());
    }
    let authorization = header("authorization")?;
    let parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("The algorithm is unknown.")?;
    let part = |name: &str| {
        parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let (key, scope) = part("Credential").split_once('/').unwrap_or_default();
    let region = host.strip_prefix("sts.").and_then(|rest| rest.strip_suffix(".amazonaws.com")).unwrap_or_default();
    if key != access_key || scope != format!("{}/{region}/sts/aws4_request", &date[..8]) {
        return Err("The credential's scope is not that of the request.".to_owned());
    }
    let names: Vec<&str> = part("SignedHeaders").split(';').collect();
    for needed in ["host", "x-amz-date", "x-goog-cloud-target-resource"] {
        if !names.contains(&needed) {
            return Err(format!("{needed} is not signed."));
        }
    }
    if headers.contains_key("x-amz-security-token") && !names.contains(&"x-amz-security-token") {
        return Err("x-amz-security-token is not signed.".to_owned());
    }
    let mut canonical = format!("POST\n/\n{query}\n");
    for name in &names {
        canonical.push_str(&format!("{name}:{}\n", header(name)?));
    }
    canonical.push_str(&format!("\n{}\n{}", names.join(";"), hex(&Sha256::digest(b""))));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let signing = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    if hex(&hmac(&signing, text.as_bytes())) != part("Signature") {
        return Err("The signature does not match.".to_owned());
    }
    Ok(())
}

/// RFC 2104 with SHA-256, whose blocks have 64 bytes; keys here may be longer than one.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let padded = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<_>>();
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyed_hash_is_the_standards() {
        // RFC 4231, test case 2.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&hmac(b"Jefe", b"what do ya want for nothing?")), expected);
    }

    #[test]
    fn what_is_not_signed_is_refused() {
        for token in ["", "%7B%7D", "%7B%22method%22%3A%22POST%22%7D"] {
            assert!(check(token, "a", "k", "s").is_err(), "{token}");
        }
    }
}
