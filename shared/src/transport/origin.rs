//! Scheme, host and port: what has to be equal for a receiver to be the same one.

use std::fmt;

use url::{Host, Url};

/// The origin of a URL, with the port that is really used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `https` or `http`.
    pub scheme: String,
    /// The host, as the URL standard writes it.
    pub host: Host<String>,
    /// The port, the scheme's own where the URL names none.
    pub port: u16,
}

impl Origin {
    /// The origin of `url`; `None` where it has none that can be talked to.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        if !matches!(url.scheme(), "https" | "http") {
            return None;
        }
        let host = match url.host()? {
            Host::Domain(name) => Host::Domain(name.trim_end_matches('.').to_ascii_lowercase()),
            Host::Ipv4(address) => Host::Ipv4(address),
            Host::Ipv6(address) => Host::Ipv6(address),
        };
        Some(Self { scheme: url.scheme().to_owned(), host, port: url.port_or_known_default()? })
    }

    /// Whether this is the host of `other` or shares its domain: equal, one inside the other, or both directly inside
    /// one parent that is somebody's own (`registry.example.com` and `auth.example.com`, not `a.co.uk` and `b.co.uk`).
    ///
    /// There is no list of all suffixes under which strangers have names: neighbours under that of a hosting company
    /// (`a.hosting.example`, `b.hosting.example`) count as one domain.
    #[must_use]
    pub fn shares_domain(&self, other: &Self) -> bool {
        if self.host == other.host {
            return true;
        }
        let (Host::Domain(one), Host::Domain(two)) = (&self.host, &other.host) else { return false };
        let inside = |inner: &str, outer: &str| inner.strip_suffix(outer).is_some_and(|rest| rest.ends_with('.'));
        let parent =
            |name: &str| name.split_once('.').map(|(_, parent)| parent.to_owned()).filter(|parent| is_owned(parent));
        (inside(one, two) && is_owned(two))
            || (inside(two, one) && is_owned(one))
            || parent(one).is_some_and(|above| Some(above) == parent(two))
    }
}

/// The second labels under which countries' registries give names to anybody (Public Suffix List, its commonest).
const OPEN_TO_ALL: [&str; 18] = [
    "ac", "co", "com", "edu", "go", "gob", "gov", "govt", "ltd", "mil", "ne", "net", "nhs", "nom", "or", "org", "plc",
    "sch",
];

/// Whether a domain has one owner, as far as can be told: two labels at least, and not of the kind of `co.uk`.
fn is_owned(domain: &str) -> bool {
    match domain.rsplit_once('.') {
        None => false,
        Some((second, country)) => country.len() != 2 || !OPEN_TO_ALL.contains(&second),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&Url::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn ports_count_by_their_effect_and_hosts_by_their_meaning() {
        assert_eq!(origin("https://Example.test./a"), origin("https://example.test:443/b?c"));
        assert_ne!(origin("https://example.test:8443"), origin("https://example.test"));
        assert_ne!(origin("http://example.test:443"), origin("https://example.test"));
        assert_eq!(origin("http://2130706433/"), origin("http://127.0.0.1/"));
        assert!(Origin::of(&Url::parse("ftp://example.test").unwrap()).is_none());
    }

    #[test]
    fn a_domain_is_shared_by_parents_children_and_siblings_of_two_labels() {
        let registry = origin("https://registry.example.com");
        for realm in ["https://auth.example.com", "https://example.com", "https://a.registry.example.com:8443"] {
            assert!(registry.shares_domain(&origin(realm)), "{realm}");
        }
        for realm in ["https://auth.example.org", "https://evilexample.com", "https://com", "https://127.0.0.1"] {
            assert!(!registry.shares_domain(&origin(realm)), "{realm}");
        }
        assert!(
            !origin("https://ghcr.io").shares_domain(&origin("https://evil.io")),
            "a top-level domain is no parent"
        );
        for (registry, realm) in
            [("a.co.uk", "b.co.uk"), ("a.com.au", "com.au"), ("a.or.jp", "b.or.jp"), ("a.com.br", "b.com.br")]
        {
            let (registry, realm) = (origin(&format!("https://{registry}")), origin(&format!("https://{realm}")));
            assert!(!registry.shares_domain(&realm) && !realm.shares_domain(&registry), "{registry} {realm}");
        }
        assert!(origin("https://a.example.co.uk").shares_domain(&origin("https://b.example.co.uk")));
        assert!(origin("https://a.t.co").shares_domain(&origin("https://b.t.co")));
        assert!(origin("http://127.0.0.1:5000").shares_domain(&origin("http://127.0.0.1:5001")));
    }
}
