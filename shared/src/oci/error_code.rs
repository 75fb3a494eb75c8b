//! The error envelope of a registry's answer.

use serde::Deserialize;

/// What a registry says went wrong: `{"errors":[{"code","message","detail"}]}`.
///
/// Codes are texts: the spec lists 14 of them, and registries use others (ECR's `TAG_INVALID`).
/// Source: OCI distribution-spec, "Error Codes".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorEnvelope {
    /// The first error's code, such as `MANIFEST_UNKNOWN`; empty where the body is no envelope.
    pub code: String,
    /// The first error's message, or the start of a body that is no envelope; cleaned, at most 400 characters.
    pub message: String,
}

#[derive(Deserialize)]
struct Wire {
    errors: Vec<WireError>,
}

#[derive(Deserialize)]
struct WireError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl ErrorEnvelope {
    /// Reads an answer's body. Never fails: proxies answer with HTML or nothing.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        if let Ok(wire) = serde_json::from_slice::<Wire>(body)
            && let Some(first) = wire.errors.into_iter().next()
        {
            return Self { code: clean(&first.code, 64), message: clean(&first.message.unwrap_or_default(), 400) };
        }
        Self { code: String::new(), message: clean(&String::from_utf8_lossy(body), 400) }
    }
}

/// Cuts a foreign text and takes what could forge a log line out of it.
fn clean(text: &str, limit: usize) -> String {
    let spaced = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut kept: String = spaced.take(limit).collect();
    if text.chars().nth(limit).is_some() {
        kept.push('…');
    }
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_taken() {
        let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such\nrepository","detail":{}},{"code":"X"}]}"#;
        let envelope = ErrorEnvelope::parse(body);
        assert_eq!((envelope.code.as_str(), envelope.message.as_str()), ("NAME_UNKNOWN", "no such repository"));
    }

    #[test]
    fn a_body_that_is_no_envelope_is_kept_as_text() {
        let html = format!("<html>\r\n{}", "x".repeat(1000));
        let envelope = ErrorEnvelope::parse(html.as_bytes());
        assert_eq!(envelope.code, "");
        assert!(envelope.message.starts_with("<html>") && envelope.message.chars().count() == 401);
    }
}
