//! Text that is never shown.

use std::fmt;

use url::form_urlencoded;

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
        let form: String = form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        let query = form.replace('+', "%20");
        // The longest first: a shorter one may be a part of it.
        [&query, &form, &self.0].into_iter().fold(text.to_owned(), |text, spelling| text.replace(spelling, "***"))
    }
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
        let secret = Secret::new("p a+ss/w&rd");
        for text in ["p a+ss/w&rd", "p+a%2Bss%2Fw%26rd", "p%20a%2Bss%2Fw%26rd"] {
            assert_eq!(secret.hide_in(&format!("you sent client_secret={text}!")), "you sent client_secret=***!");
        }
        assert_eq!(Secret::new("").hide_in("as it is"), "as it is");
    }
}
