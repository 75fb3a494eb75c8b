//! Which resource a path names. Repository names contain slashes, so paths are read from their end.

use std::collections::HashMap;

use http::Method;

use crate::journal::Kind;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Base,
    Catalog,
    Tags { name: String },
    Manifest { name: String, reference: String },
    Blob { name: String, digest: String },
    Uploads { name: String },
    Upload { name: String, id: String },
    Referrers { name: String, digest: String },
    Token,
    Other,
}

impl Target {
    pub(crate) fn parse(path: &str, token_path: Option<&str>) -> Self {
        if token_path.is_some_and(|token| token.trim_end_matches('/') == path.trim_end_matches('/')) {
            return Self::Token;
        }
        let path = decode(path, false);
        if let Some(rest) = path.strip_prefix("/artifacts-uploads/namespaces/") {
            return match rest.rsplit_once("/uploads/") {
                Some((name, id)) => Self::Upload { name: name.into(), id: id.into() },
                None => Self::Other,
            };
        }
        let Some(rest) = path.strip_prefix("/v2") else { return Self::Other };
        if rest.is_empty() || rest == "/" {
            return Self::Base;
        }
        let rest = &rest[1..];
        if rest == "_catalog" {
            return Self::Catalog;
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Self::Tags { name: name.into() };
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Self::Uploads { name: name.into() };
        }
        let Some((head, last)) = rest.rsplit_once('/') else { return Self::Other };
        let last = last.to_owned();
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            return Self::Upload { name: name.into(), id: last };
        }
        if let Some(name) = head.strip_suffix("/blobs") {
            return Self::Blob { name: name.into(), digest: last };
        }
        if let Some(name) = head.strip_suffix("/manifests") {
            return Self::Manifest { name: name.into(), reference: last };
        }
        if let Some(name) = head.strip_suffix("/referrers") {
            return Self::Referrers { name: name.into(), digest: last };
        }
        Self::Other
    }

    pub(crate) fn repository(&self) -> Option<&str> {
        match self {
            Self::Tags { name }
            | Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Referrers { name, .. } => Some(name),
            Self::Base | Self::Catalog | Self::Token | Self::Other => None,
        }
    }

    pub(crate) fn kind(&self, method: &Method, query: &Query) -> Kind {
        match (self, method.as_str()) {
            (Self::Base, _) => Kind::Base,
            (Self::Token, _) => Kind::Token,
            (Self::Catalog, "GET") => Kind::Catalog,
            (Self::Tags { .. }, "GET") => Kind::TagsList,
            (Self::Referrers { .. }, "GET") => Kind::Referrers,
            (Self::Manifest { .. }, "HEAD") => Kind::ManifestHead,
            (Self::Manifest { .. }, "GET") => Kind::ManifestGet,
            (Self::Manifest { .. }, "PUT") => Kind::ManifestPut,
            (Self::Manifest { .. }, "DELETE") => Kind::ManifestDelete,
            (Self::Blob { .. }, "HEAD") => Kind::BlobHead,
            (Self::Blob { .. }, "GET") => Kind::BlobGet,
            (Self::Blob { .. }, "DELETE") => Kind::BlobDelete,
            (Self::Uploads { .. }, "POST") if query.get("mount").is_some() => Kind::Mount,
            (Self::Uploads { .. }, "POST") => Kind::UploadStart,
            (Self::Upload { .. }, "PATCH") => Kind::UploadPatch,
            (Self::Upload { .. }, "PUT") => Kind::UploadPut,
            (Self::Upload { .. }, "GET") => Kind::UploadStatus,
            (Self::Upload { .. }, "DELETE") => Kind::UploadCancel,
            _ => Kind::Other,
        }
    }
}

/// The members of a query or form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let members = text.split('&').filter(|member| !member.is_empty());
        Self(
            members
                .map(|member| {
                    let (key, value) = member.split_once('=').unwrap_or((member, ""));
                    (decode(key, true), decode(value, true))
                })
                .collect(),
        )
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The members of a form by their names, each name's first.
pub(crate) fn form_of(body: &str) -> HashMap<String, String> {
    Query::parse(body).0.into_iter().rev().collect()
}

/// Undoes percent-encoding; in a form a plus is a space.
pub(crate) fn decode(text: &str, form: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let code = rest.get(1..3).filter(|_| first == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let (byte, length) = match code {
            Some(code) => (code, 3),
            None if first == b'+' && form => (b' ', 1),
            None => (first, 1),
        };
        out.push(byte);
        // A path or query is ASCII on the wire.
        rest = rest.get(length..).unwrap_or_default();
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Encodes what may not stand in a query's value.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, several with slashes between.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = text.bytes().next().is_some_and(alphanumeric) && text.bytes().last().is_some_and(alphanumeric);
    let mut separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    edges && separators.all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|byte| byte == b'-'))
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_the_words_of_paths_in_them_are_read_from_the_end() {
        let target = Target::parse("/v2/a/blobs/uploads/b/manifests/v1", None);
        assert_eq!(target, Target::Manifest { name: "a/blobs/uploads/b".into(), reference: "v1".into() });
        let target = Target::parse("/v2/a/tags/list/blobs/uploads/", None);
        assert_eq!(target, Target::Uploads { name: "a/tags/list".into() });
    }

    #[test]
    fn names_and_tags_follow_the_grammar() {
        for good in ["a", "a/b", "a.b", "a__b", "a---b/c0"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "a/", "/a", "a//b", "a..b", "a._b", "a___b", "-a", "a-"] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_tag("_a.b-C") && is_tag(&"a".repeat(128)));
        assert!(!is_tag("") && !is_tag("-a") && !is_tag("a+b") && !is_tag(&"a".repeat(129)));
    }
}
