//! URLs as they may be shown.

use url::Url;

/// Query keys that say what is asked for and hold no secret.
const SHOWN: [&str; 9] = ["digest", "mount", "from", "n", "last", "service", "scope", "artifactType", "ns"];

/// `url` without user, password and fragment, its query's values as `***` unless their key is known to be harmless:
/// presigned URLs and upload states carry secrets there. A part of the query that has no value is one.
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
        // What stands alone may be a token; base64 ends in `=`, too.
        if value.trim_matches('=').is_empty() {
            text.push_str("***");
            continue;
        }
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

    #[test]
    fn a_part_of_a_query_without_a_value_is_not_shown() {
        for query in ["dG9rZW4", "dG9rZW4=", "dG9rZW4==", "digest", "dG9rZW4&n=5"] {
            let text = redact(&Url::parse(&format!("https://registry.example.test/up?{query}")).unwrap());
            let rest = if query.ends_with("n=5") { "&n=5" } else { "" };
            assert_eq!(text, format!("https://registry.example.test/up?***{rest}"), "{query}");
        }
    }
}
