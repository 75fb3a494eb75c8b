//! `registry/repository:tag@digest`, parsed once.

use std::{fmt, str::FromStr};

use super::Digest;

/// Where an image is: a registry, a repository in it, and a tag, a digest or both.
///
/// The registry is always written out (`docker.io/library/alpine`, never `alpine`): in a message that crosses
/// accounts a default would be a trap. Docker Hub's other spellings become `docker.io`, and its official images
/// get their `library/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no image reference: {reason}")]
pub struct ReferenceError {
    /// The text, cut to a sane length.
    pub text: String,
    /// What is wrong with it, and what was expected.
    pub reason: String,
}

/// The most characters of a repository's name: ECR's limit, the widest of any registry.
const LONGEST_REPOSITORY: usize = 256;

impl Reference {
    /// Puts a reference together from parts that came from different places, such as an event's fields.
    ///
    /// # Errors
    /// A part that no registry can hold.
    pub fn new(
        registry: &str,
        repository: &str,
        tag: Option<&str>,
        digest: Option<Digest>,
    ) -> Result<Self, ReferenceError> {
        let text = || {
            let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
            format!("{registry}/{repository}{tag}{digest}").chars().take(400).collect::<String>()
        };
        let wrong = |reason: &str| ReferenceError { text: text(), reason: reason.to_owned() };

        let registry = normalize_host(registry).ok_or_else(|| {
            wrong("it must begin with a registry host, such as ghcr.io/ or 127.0.0.1:5000/ (Docker Hub is docker.io/)")
        })?;
        let mut repository = repository.to_owned();
        if registry == "docker.io" && !repository.contains('/') {
            repository.insert_str(0, "library/");
        }
        if !valid_repository(&repository) {
            return Err(wrong(
                "a repository is made of lower-case letters, digits and single separators (. _ __ -), in components \
                 divided by /",
            ));
        }
        if repository.len() > LONGEST_REPOSITORY {
            let characters = repository.len();
            return Err(wrong(&format!(
                "a repository has up to {LONGEST_REPOSITORY} characters, this one {characters}"
            )));
        }
        if let Some(tag) = tag
            && !valid_tag(tag)
        {
            let characters = tag.chars().count();
            return Err(wrong(&format!(
                "a tag is up to 128 letters, digits, _ . and -, and begins with none of . and -; this one has {characters} \
                 characters"
            )));
        }
        if tag.is_none() && digest.is_none() {
            return Err(wrong("a tag (:TAG) or a digest (@sha256:…) is missing"));
        }
        Ok(Self { registry, repository, tag: tag.map(str::to_owned), digest })
    }

    /// The registry's host, and port if any, as the configuration's `registries` names it.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository, without the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one is named.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one is named.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository and target, at a registry known by another host.
    #[must_use]
    pub fn at_registry(&self, registry: String) -> Self {
        Self { registry, ..self.clone() }
    }

    /// The same place, named by `digest` alone.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// What stands for the manifest in a request path: the digest where there is one, else the tag.
    #[must_use]
    pub fn target(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "", // `new` lets no reference be without both
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |reason: String| ReferenceError { text: text.chars().take(400).collect(), reason };
        let (registry, rest) =
            text.split_once('/').ok_or_else(|| wrong("expected REGISTRY/REPOSITORY:TAG or …@DIGEST".to_owned()))?;
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>().map_err(|error| wrong(error.to_string()))?)),
            None => (rest, None),
        };
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (name, None),
        };
        Self::new(registry, repository, tag, digest)
            .map_err(|error| ReferenceError { text: text.chars().take(400).collect(), reason: error.reason })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A registry host as it identifies the registry: lower case, no trailing dot, no port where it is that of https, Docker
/// Hub's spellings as one.
/// `None` for what is no host: neither a dot, nor a port, nor `localhost`.
#[must_use]
pub fn normalize_host(host: &str) -> Option<String> {
    let lower = host.to_ascii_lowercase();
    let (name, port) = match lower.rsplit_once(':') {
        // Brackets hold an IPv6 address, whose own colons are no port.
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (lower.as_str(), None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let plausible = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
                && (name.contains('.') || port.is_some() || name == "localhost")
        }
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !plausible || !port_fits {
        return None;
    }
    // A name that its port alone shows to be a host needs it.
    let port =
        port.filter(|port| port.trim_start_matches('0') != "443" || !(name.contains('.') || bracketed.is_some()));
    let hub = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
    Some(match port {
        None if hub.contains(&name) => "docker.io".to_owned(),
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    })
}

/// Whether `name` is a repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` in components divided by `/`.
///
/// Source: OCI distribution-spec, "Pulling manifests".
#[must_use]
fn valid_repository(name: &str) -> bool {
    name.split('/').all(|component| {
        let bytes = component.as_bytes();
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
        alphanumeric(first)
            && alphanumeric(last)
            && component
                .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
    })
}

/// Whether `tag` is a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
///
/// Source: OCI distribution-spec, "Pulling manifests".
#[must_use]
fn valid_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference, ReferenceError> {
        text.parse()
    }

    #[test]
    fn references_read_back_as_they_were_written() {
        let digest = Digest::of(b"x");
        for text in [
            "ghcr.io/acme/app:v1".to_owned(),
            "127.0.0.1:5000/a:b".to_owned(),
            "[::1]:5000/a/b/c:d".to_owned(),
            format!("localhost/a@{digest}"),
            format!("registry.example.test:5000/team/app:v1.4.0@{digest}"),
        ] {
            assert_eq!(parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn docker_hub_has_one_name() {
        for text in ["docker.io/alpine:3", "index.docker.io/library/alpine:3", "Registry-1.docker.io./library/alpine:3"]
        {
            assert_eq!(parse(text).unwrap().to_string(), "docker.io/library/alpine:3", "{text}");
        }
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (written, host) in [
            ("GHCR.io", "ghcr.io"),
            ("ghcr.io.", "ghcr.io"),
            ("ghcr.io:443", "ghcr.io"),
            ("ghcr.io.:443", "ghcr.io"),
            ("ghcr.io:8443", "ghcr.io:8443"),
            ("127.0.0.1:443", "127.0.0.1"),
            ("[::1]:443", "[::1]"),
            ("registry:443", "registry:443"),
            ("localhost:443", "localhost:443"),
            ("docker.io:443", "docker.io"),
            ("Registry.Hub.Docker.com:443", "docker.io"),
            ("docker.io:5000", "docker.io:5000"),
        ] {
            let normal = normalize_host(written);
            assert_eq!(normal.as_deref(), Some(host), "{written}");
            assert_eq!(normalize_host(host).as_deref(), Some(host), "it stays as it is");
        }
    }

    #[test]
    fn what_is_no_reference_says_why() {
        for (text, part) in [
            ("alpine:3", "REGISTRY"),
            ("library/alpine:3", "registry host"),
            ("ghcr.io/Acme/app:v1", "lower-case"),
            ("ghcr.io/acme//app:v1", "lower-case"),
            ("ghcr.io/acme/app", "tag"),
            ("ghcr.io/acme/app:.v1", "tag"),
            ("ghcr.io/acme/app:v1@sha256:12", "digest"),
            ("ghcr.io:99999/acme/app:v1", "registry host"),
            ("ghcr.io/acme/app_-x:v1", "lower-case"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.reason.contains(part), "{text}: {error}");
        }
        assert!(parse(&format!("ghcr.io/{}:v1", "a".repeat(300))).is_err());
        assert!(parse(&format!("ghcr.io/a:{}", "a".repeat(129))).is_err());
    }
}
