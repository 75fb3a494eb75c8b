//! `WWW-Authenticate`, read.

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    /// The token service's URL.
    pub(super) realm: String,
    /// What the token service calls the registry.
    pub(super) service: Option<String>,
    /// What the refused request needed, divided by spaces.
    pub(super) scope: Option<String>,
}

impl Challenge {
    /// The challenge to answer, of all that came: a token before a password.
    pub(super) fn choose(headers: &[String]) -> Option<Self> {
        let all: Vec<_> = headers.iter().flat_map(|header| parse(header)).collect();
        let bearer = all.iter().find_map(|(scheme, parameters)| {
            if !scheme.eq_ignore_ascii_case("bearer") {
                return None;
            }
            let value = |name: &str| {
                parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
            };
            Some(Self::Bearer(Bearer { realm: value("realm")?, service: value("service"), scope: value("scope") }))
        });
        bearer.or_else(|| all.iter().any(|(scheme, _)| scheme.eq_ignore_ascii_case("basic")).then_some(Self::Basic))
    }
}

type Parameters = Vec<(String, String)>;

/// The challenges of one header: `scheme key="value", key=value, scheme …` (RFC 9110, section 11.6.1).
fn parse(header: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return challenges;
        }
        let Some(value) = after.trim_start().strip_prefix('=') else {
            challenges.push((word.to_owned(), Vec::new()));
            rest = after;
            continue;
        };
        let (value, after) = value_of(value.trim_start());
        if let Some((_, parameters)) = challenges.last_mut() {
            parameters.push((word.to_owned(), value));
        }
        rest = after;
    }
}

/// A token or a quoted string at the start of `text`, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choose(header: &str) -> Option<Challenge> {
        Challenge::choose(&[header.to_owned()])
    }

    #[test]
    fn the_headers_of_real_registries_are_read() {
        let hub = choose(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull,push""#,
        );
        let expected = Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
            scope: Some("repository:library/a:pull,push".to_owned()),
        };
        assert_eq!(hub, Some(Challenge::Bearer(expected)));
        let ecr = r#"Basic realm="https://1.dkr.ecr.us-east-1.amazonaws.com/",service="ecr.amazonaws.com""#;
        assert_eq!(choose(ecr), Some(Challenge::Basic));
    }

    #[test]
    fn a_token_is_preferred_wherever_it_is_offered() {
        let both = [r#"Basic realm="x""#.to_owned(), r#"bearer Realm=https://a.test/t"#.to_owned()];
        assert!(
            matches!(Challenge::choose(&both), Some(Challenge::Bearer(bearer)) if bearer.realm == "https://a.test/t")
        );
        let one = r#"Basic realm="a, b", Bearer realm="https://a.test/t\"x""#;
        assert!(matches!(choose(one), Some(Challenge::Bearer(bearer)) if bearer.realm == "https://a.test/t\"x"));
    }

    #[test]
    fn what_offers_nothing_is_nothing() {
        for header in ["", "Negotiate", "Bearer", "Bearer service=x", "=", r#"Bearer realm"#] {
            assert_eq!(choose(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_parser(header in ".{0,200}") {
            let _ = choose(&header);
        }
    }
}
