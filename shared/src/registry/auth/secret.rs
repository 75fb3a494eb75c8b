//! Text that is never shown.

use std::fmt;

/// A password, token or key. Shows as `***`, in logs and errors alike.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one header or form that it belongs in.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A foreign text without this one, should it repeat it: as it is, or as a form or a query spells it.
    #[must_use]
    pub fn hide_in(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        let text = text.replace(&self.0, "***");
        let (mut shown, mut rest) = (String::with_capacity(text.len()), text.as_str());
        while let Some(first) = rest.chars().next() {
            let (length, what) = match encoded(rest.as_bytes(), self.0.as_bytes()) {
                Some(length) => (length, "***"),
                None => (first.len_utf8(), &rest[..first.len_utf8()]),
            };
            shown.push_str(what);
            rest = rest.get(length..).unwrap_or_default();
        }
        shown
    }
}

/// How many bytes `text` begins with that stand for `secret` in a form or a query: whichever of its bytes are encoded, in
/// whichever case.
fn encoded(text: &[u8], secret: &[u8]) -> Option<usize> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut at = 0;
    for byte in secret {
        at += match text.get(at..)? {
            [b'%', high, low, ..] if Some(u32::from(*byte)) == Some(digit(*high)? * 16 + digit(*low)?) => 3,
            [b'+', ..] if *byte == b' ' => 1,
            [literal, ..] if literal == byte => 1,
            _ => return None,
        };
    }
    Some(at)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_however_it_is_spelt() {
        let secret = Secret::new("p a+s%/w\u{f6}r~");
        for text in [
            "p a+s%/w\u{f6}r~",
            "p+a%2Bs%25%2Fw%C3%B6r%7E",
            "p%20a%2bs%25%2fw%c3%b6r~",
            "p%20a%2Bs%25/w\u{f6}r~",
            "%70%20%61%2B%73%25%2F%77%C3%B6%72%7E",
        ] {
            let said = secret.hide_in(&format!("\u{fc}: client_secret={text}&x=%2B 100%"));
            assert_eq!(said, "\u{fc}: client_secret=***&x=%2B 100%", "{text}");
        }
        assert_eq!(Secret::new("").hide_in("as it is"), "as it is");
        assert_eq!(Secret::new("100%").hide_in("100%, 100%25"), "***, ***25");
    }
}
