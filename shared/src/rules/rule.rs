//! One rule: compiled from the document with every mistake told, and asked of an image.

use globset::GlobSet;

use super::{Answers, TagFilter, globs, plain, removals::DeleteContext, same_registry, template::Template};
use crate::{
    error::{Error, ErrorType},
    oci::{Digest, Platform, Reference, normalize_host},
    provider::unfit_name,
    request::{self, Delete, SyncOptions},
    settings::{RuleSettings, Untagged},
};

/// A rule, ready to be asked.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) registry: Option<String>,
    /// As it is written, and compiled.
    pub(super) repository_text: Option<String>,
    pub(super) repository: Option<GlobSet>,
    pub(super) exclude_text: Vec<String>,
    pub(super) exclude: Option<GlobSet>,
    pub(super) tags: TagFilter,
    pub(super) destinations: Vec<Template>,
    pub(super) untagged: Untagged,
    pub(super) delete: Option<Delete>,
    pub(super) options: SyncOptions,
}

impl Rule {
    pub(super) fn compile(position: usize, settings: RuleSettings, mistakes: &mut Vec<String>) -> Self {
        let path = format!("rules[{position}]");
        let (delete, context) = (settings.delete, DeleteContext::of(&settings));
        let name = settings.name.unwrap_or_else(|| path.clone());
        let registry = settings.source.registry.and_then(|registry| {
            let host = normalize_host(&registry);
            if host.is_none() {
                mistakes.push(format!("{path}.source.registry: `{registry}` is no registry host"));
            }
            host
        });
        let repository_text = settings.source.repository.clone();
        let repository = settings
            .source
            .repository
            .and_then(|glob| globs(&[glob], &format!("{path}.source.repository"), true, mistakes));
        let exclude_text = settings.source.exclude;
        let exclude = globs(&exclude_text, &format!("{path}.source.exclude"), false, mistakes);
        let tags = TagFilter::compile(&settings.tags, &path, mistakes);
        if settings.destinations.is_empty() {
            mistakes.push(format!("{path}.destinations: a rule needs at least one"));
        }
        let platforms = settings.platforms.as_deref().and_then(|platforms| {
            let wrong =
                |wrong: Vec<String>| mistakes.extend(wrong.iter().map(|wrong| format!("{path}.platforms{wrong}")));
            Platform::list(platforms).map_err(wrong).ok()
        });
        if platforms.is_some() && settings.untagged == Untagged::ByDigest {
            mistakes.push(format!(
                "{path}.untagged: `by-digest` keeps an image's digest, and `platforms` gives it another; leave one out"
            ));
        }
        let mut destinations = Vec::new();
        for (number, text) in settings.destinations.iter().enumerate() {
            let path = format!("{path}.destinations[{number}]");
            match Template::parse(text) {
                Ok(template) if template.is_identity(registry.as_deref(), repository_text.as_deref()) => {
                    mistakes.push(format!("{path}: `{text}` is the rule's own source"));
                }
                Ok(template) if settings.untagged == Untagged::ByDigest && template.follows_tag() => {
                    mistakes.push(format!(
                        "{path}: the repository of `{text}` is made of the tag, and with `untagged` as `by-digest` there \
                         may be none; use {{tag}} behind the `:` alone"
                    ));
                }
                Ok(_) if settings.platforms.is_some() && text.contains('@') => {
                    mistakes
                        .push(format!("{path}: `{text}` names a digest, and `platforms` gives another; name a tag"));
                }
                Ok(template) => destinations.push(template),
                Err(reason) => mistakes.push(format!("{path}: {reason}")),
            }
        }
        let wrong = settings.referrers.mistakes();
        mistakes.extend(wrong.into_iter().map(|wrong| format!("{path}.referrers.{wrong}")));
        let wrong = request::wrong_types("require_referrers", &settings.require_referrers);
        mistakes.extend(wrong.into_iter().map(|wrong| format!("{path}.{wrong}")));
        let unwanted = settings.require_referrers.iter().find(|of| !settings.referrers.may_bring(of));
        if let Some(of) = unwanted {
            mistakes.push(format!("{path}.require_referrers: `{of}` is required, and `referrers` leaves it out"));
        }
        let wrong = settings.scan_gate.and_then(|gate| gate.mistake());
        mistakes.extend(wrong.map(|wrong| format!("{path}.scan_gate.{wrong}")));
        let options = SyncOptions {
            existing_tag: settings.existing_tag,
            referrers: settings.referrers,
            require_referrers: settings.require_referrers,
            platforms,
            scan_gate: settings.scan_gate,
        };
        let untagged = settings.untagged;
        let rule = Self {
            name,
            registry,
            repository_text,
            repository,
            exclude_text,
            exclude,
            tags,
            destinations,
            untagged,
            delete,
            options,
        };
        rule.check_delete(&context, &path, mistakes);
        rule
    }

    /// Whether a push of `reference` is one for this rule.
    pub(super) fn takes(&self, reference: &Reference) -> bool {
        self.answers(reference).taken()
    }

    pub(super) fn skips_untagged(&self) -> bool {
        self.untagged == Untagged::Skip
    }

    pub(super) fn takes_repository(&self, registry: &str, repository: &str) -> bool {
        self.source_answers(registry, repository).taken()
    }

    /// What each of its filters says of a push of `reference`.
    pub(super) fn answers(&self, reference: &Reference) -> Answers {
        let of_source = self.source_answers(reference.registry(), reference.repository());
        match reference.tag() {
            Some(tag) => Answers {
                registry: of_source.registry,
                repository: of_source.repository,
                repository_exclude: of_source.repository_exclude,
                ..self.tags.answers(tag)
            },
            None => Answers { untagged: Some(!self.skips_untagged()), ..of_source },
        }
    }

    pub(super) fn source_answers(&self, registry: &str, repository: &str) -> Answers {
        Answers {
            registry: self.registry.as_deref().map(|own| same_registry(own, registry)),
            repository: self.repository.as_ref().map(|globs| globs.is_match(repository)),
            repository_exclude: self.exclude.as_ref().map(|globs| !globs.is_match(repository)),
            ..Answers::default()
        }
    }

    pub(super) fn destination(
        &self,
        template: &Template,
        source: &Reference,
        digest: Option<&Digest>,
    ) -> Result<Reference, Error> {
        let destination = template.fill(source, digest).map_err(|error| {
            Error::new(
                error.error_type,
                format!("rule `{}` has no destination for {source}: {}", self.name, error.message),
            )
        })?;
        if let Some(reason) = unfit_name(destination.registry(), destination.repository()) {
            let text = format!("rule `{}` has no destination for {source}: {destination}: {reason}", self.name);
            return Err(Error::new(ErrorType::InvalidReference, text));
        }
        if plain(&destination) == plain(source) {
            return Err(Error::new(
                ErrorType::InvalidConfig,
                format!("rule `{}` leads {source} onto itself; give it another destination", self.name),
            ));
        }
        Ok(destination)
    }
}
