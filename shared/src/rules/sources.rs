//! What the rules say of whole repositories and registries, for whoever lists them.

use super::{Rule, Rules};
use crate::{oci::Reference, settings::RuleSettings};

/// Where a rule takes images from.
#[derive(Debug, Clone, Copy)]
pub struct RuleSource<'r> {
    /// The rule, for logs and errors.
    pub name: &'r str,
    /// The registry; `None`: any, which can't be listed.
    pub registry: Option<&'r str>,
    /// The glob of its repositories as it is written; `None`: all.
    pub repository: Option<&'r str>,
}

/// Whether a text is a glob rather than the name of one repository: names hold none of these characters.
#[must_use]
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

impl Rules {
    /// One rule, compiled from what is no configuration document.
    ///
    /// # Errors
    /// All mistakes, with the paths that they would have in a document.
    pub(crate) fn of(settings: RuleSettings) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let rule = Rule::compile(0, settings, &mut mistakes);
        if mistakes.is_empty() { Ok(Self(vec![rule])) } else { Err(mistakes) }
    }

    /// Where each rule takes images from, in the order of the rules.
    pub fn sources(&self) -> impl Iterator<Item = RuleSource<'_>> {
        self.0.iter().map(|rule| RuleSource {
            name: &rule.name,
            registry: rule.registry.as_deref(),
            repository: rule.repository_text.as_deref(),
        })
    }

    /// Whether some rule takes this tag, or digest.
    #[must_use]
    pub fn take(&self, reference: &Reference) -> bool {
        self.0.iter().any(|rule| rule.takes(reference))
    }

    /// Whether some rule takes images of this repository.
    #[must_use]
    pub fn take_repository(&self, registry: &str, repository: &str) -> bool {
        self.0.iter().any(|rule| rule.takes_repository(registry, repository))
    }
}
