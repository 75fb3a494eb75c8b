//! URLs as they may be shown.

use url::Url;

/// Query keys that say what is asked for and hold no secret.
const SHOWN: [&str; 9] = ["digest", "mount", "from", "n", "last", "service", "scope", "artifactType", "ns"];

/// `url` without user, password and fragment, its query's values as `***` unless their key is known to be harmless:
/// presigned URLs and upload states carry secrets there.
#[must_use]
pub fn redact(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_fragment(None);
    // Both fail only for URLs that can't have a user.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    let mut text = shown.to_string();
    // As it is written, still encoded: a decoded value could forge a line of a log.
    for (position, pair) in url.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        text.push(if position == 0 { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        text.push_str(if SHOWN.contains(&key) { value } else { "***" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_urls_are_not_shown() {
        let url = Url::parse(
            "https://user:hunter2@bucket.example.test/blob?X-Amz-Signature=abc&X-Amz-Credential=def&digest=sha256:1#f",
        )
        .unwrap();
        let text = redact(&url);
        assert_eq!(text, "https://bucket.example.test/blob?X-Amz-Signature=***&X-Amz-Credential=***&digest=sha256:1");
    }
}
