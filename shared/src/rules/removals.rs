//! Which tags follow one that was deleted at its source.

use super::{Pushed, Rule, Rules, is_same_place};
use crate::{
    error::{Error, ErrorType},
    oci::Reference,
    provider::{Provider, TagRemoval},
    request::{Delete, RemovalRequest},
    settings::RuleSettings,
};

/// What the rules say of a deleted tag.
#[derive(Debug, PartialEq, Eq)]
pub enum RemovalVerdict {
    /// These tags follow it.
    Remove(Vec<RemovalRequest>),
    /// None does; why.
    Ignore(&'static str),
}

impl Rules {
    /// Which tags follow the deletion of `deleted`: each once, in the order of the rules. Of two rules that lead to one place
    /// the one that removes less holds.
    ///
    /// # Errors
    /// `InvalidReference`: a template gives what is no reference. `InvalidConfig`: a rule leads onto its own source.
    pub fn removals(&self, deleted: &Pushed) -> Result<RemovalVerdict, Error> {
        let Some(tag) = &deleted.tag else {
            return Ok(RemovalVerdict::Ignore("the deleted image had no tag, and nothing is removed by digest"));
        };
        let source = Reference::new(&deleted.registry, &deleted.repository, Some(tag), None)
            .map_err(|error| Error::new(ErrorType::InvalidReference, error.to_string()))?;
        let (mut requests, mut refused) = (Vec::<RemovalRequest>::new(), None);
        for rule in self.0.iter().filter(|rule| rule.takes(&source)) {
            let (Some(delete), Some(digest)) = (rule.delete, &deleted.digest) else { continue };
            for template in &rule.destinations {
                let destination = match rule.destination(template, &source, Some(digest)) {
                    Ok(destination) => destination,
                    // Nothing was ever put there.
                    Err(error) => {
                        refused.get_or_insert(error);
                        continue;
                    }
                };
                if destination.tag().is_none() {
                    continue;
                }
                let known = requests.iter_mut().find(|known| is_same_place(&known.destination, &destination));
                match known {
                    // Of rules that follow deletions, whichever comes first, none removes what another keeps.
                    Some(known) if delete == Delete::Untag => known.delete = delete,
                    Some(_) => {}
                    None => {
                        let (source, digest) = (source.clone(), digest.clone());
                        requests.push(RemovalRequest { source, destination, digest, delete });
                    }
                }
            }
        }
        if !requests.is_empty() {
            return Ok(RemovalVerdict::Remove(requests));
        }
        if let Some(error) = refused {
            return Err(error);
        }
        let followed = self.0.iter().any(|rule| rule.delete.is_some() && rule.takes(&source));
        Ok(RemovalVerdict::Ignore(match (followed, &deleted.digest) {
            (true, None) => {
                "the event doesn't say which digest the deleted tag held, and nothing is removed on a guess"
            }
            _ => "no rule that matches follows deletions (`delete`)",
        }))
    }

    /// Rules that follow deletions to registries where that can't be done safely, with what to do about it; `of_host` tells
    /// what kind of registry a host is.
    pub(crate) fn deletion_mistakes(&self, of_host: impl Fn(&str) -> Provider, mistakes: &mut Vec<String>) {
        for (position, rule) in self.0.iter().enumerate().filter(|(_, rule)| rule.delete.is_some()) {
            for host in rule.destinations.iter().filter_map(|template| template.registry()) {
                if let TagRemoval::Refused(advice) = of_host(host).tag_removal() {
                    mistakes.push(format!("rules[{position}].delete: {host} {advice}"));
                }
            }
        }
    }
}

impl Rule {
    /// What doesn't go with following deletions.
    pub(super) fn check_delete(&self, settings: &DeleteContext, path: &str, mistakes: &mut Vec<String>) {
        if self.delete.is_none() {
            return;
        }
        if settings.has_platforms {
            mistakes.push(format!(
                "{path}.delete: doesn't go with platforms: destinations hold another digest than the deleted tag, so none \
                 would ever be removed"
            ));
        }
        for (number, template) in self.destinations.iter().enumerate() {
            if !template.keeps_tags_apart() {
                mistakes.push(format!(
                    "{path}.delete: destinations[{number}] doesn't keep the source's tags apart, so that one that is deleted \
                     could take another's copy along; use {{tag}} in its tag, or leave `delete` out"
                ));
            }
        }
    }
}

/// What of a rule's settings its `delete` has to go with.
pub(super) struct DeleteContext {
    has_platforms: bool,
}

impl DeleteContext {
    pub(super) fn of(settings: &RuleSettings) -> Self {
        Self { has_platforms: settings.platforms.is_some() }
    }
}

#[cfg(test)]
#[path = "removals_tests.rs"]
mod tests;
