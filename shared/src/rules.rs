//! Which images go where: globs, version ranges and templates, from a pushed image to sync requests. Pure.

mod removals;
mod scans;
mod sources;
mod template;

use std::{collections::HashSet, time::SystemTime};

pub(crate) use globset::GlobSet;
use globset::{GlobBuilder, GlobSetBuilder};
use removals::DeleteContext;
pub use removals::RemovalVerdict;
use semver::{Version, VersionReq};
pub use sources::{RuleSource, is_glob};
use template::Template;

use crate::{
    error::{Error, ErrorType},
    oci::{Digest, Reference, normalize_host},
    provider::EcrHost,
    request::{Delete, ScanGate, SyncOptions, SyncRequest},
    settings::{RuleSettings, TagSettings, Untagged},
};

/// How far a destination is followed as the source of further rules before it counts as endless.
const LONGEST_CHAIN: usize = 16;

/// All rules of a configuration, ready to be asked.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    name: String,
    registry: Option<String>,
    /// As it is written, and compiled.
    repository_text: Option<String>,
    repository: Option<GlobSet>,
    tags: TagFilter,
    destinations: Vec<Template>,
    untagged: Untagged,
    delete: Option<Delete>,
    options: SyncOptions,
}

/// Which tags are taken.
#[derive(Debug)]
pub struct TagFilter {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
    semver: Option<VersionReq>,
}

/// An image that was pushed, or is to be treated as if.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The registry's host.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag, if the push had one.
    pub tag: Option<String>,
    /// The digest that was pushed, where it is known.
    pub digest: Option<Digest>,
    /// When, where it is known.
    pub at: Option<SystemTime>,
}

/// What the rules say of a pushed image.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to these destinations.
    Sync(Vec<SyncRequest>),
    /// It stays; why.
    Ignore(&'static str),
}

impl Rules {
    /// Compiles the rules of a document; what is wrong goes to `mistakes` with its JSON path.
    pub(crate) fn compile(settings: Vec<RuleSettings>, mistakes: &mut Vec<String>) -> Self {
        let rules = settings.into_iter().enumerate();
        Self(rules.map(|(position, rule)| Rule::compile(position, rule, mistakes)).collect())
    }

    /// Where a pushed image goes: each destination once, in the order of the rules.
    ///
    /// # Errors
    /// `InvalidReference`: a template gives what is no reference. `InvalidConfig`: a rule leads onto its own source, or
    /// the rules feed themselves without end.
    pub fn verdict(&self, pushed: &Pushed) -> Result<Verdict, Error> {
        let source = Reference::new(
            &pushed.registry,
            &pushed.repository,
            pushed.tag.as_deref(),
            if pushed.tag.is_some() { None } else { pushed.digest.clone() },
        )
        .map_err(|error| Error::new(ErrorType::InvalidReference, error.to_string()))?;
        let mut requests: Vec<SyncRequest> = Vec::new();
        let mut skipped_untagged = false;
        for rule in self.0.iter().filter(|rule| rule.takes_repository(&source)) {
            match source.tag() {
                None if rule.untagged == Untagged::Skip => {
                    skipped_untagged = true;
                    continue;
                }
                Some(tag) if !rule.tags.take(tag) => continue,
                _ => {}
            }
            for template in &rule.destinations {
                let destination = rule.destination(template, &source, pushed.digest.as_ref())?;
                if let Some(known) = requests.iter_mut().find(|request| request.destination == destination) {
                    // Whichever rule comes first, none gets past the gate of another.
                    let gates = (known.options.scan_gate, rule.options.scan_gate);
                    known.options.scan_gate = ScanGate::stricter(gates.0, gates.1);
                    continue;
                }
                self.refuse_endless_chain(&destination, &source, pushed.digest.as_ref(), rule)?;
                // A destination that is a digest wants that digest, wherever the tag has moved since.
                let pinned = destination.digest().filter(|_| destination.tag().is_none());
                let source = match pinned {
                    Some(digest) => source.pinned(digest.clone()),
                    None => source.clone(),
                };
                requests.push(SyncRequest {
                    source,
                    destination,
                    expected: pushed.digest.clone(),
                    options: rule.options.clone(),
                    pushed_at: pushed.at,
                    repeated: false,
                });
            }
        }
        Ok(match (requests.is_empty(), skipped_untagged) {
            (false, _) => Verdict::Sync(requests),
            (true, true) => Verdict::Ignore("the push has no tag, and the rules that match skip untagged images"),
            (true, false) => Verdict::Ignore("no rule matches"),
        })
    }

    /// A destination in ECR raises a push event of its own. A circle of rules ends by itself, as it comes back to a
    /// reference that holds the digest already; a chain of ever new references would not.
    ///
    /// Only registries whose events come here count: the one that was pushed to, and those that rules name as sources.
    fn refuse_endless_chain(
        &self,
        destination: &Reference,
        source: &Reference,
        digest: Option<&Digest>,
        by: &Rule,
    ) -> Result<(), Error> {
        let mut seen = HashSet::from([plain(source)]);
        // Depth first: one long path is enough to tell.
        let mut next = vec![(destination.clone(), 1)];
        while let Some((reference, depth)) = next.pop() {
            let heard = same_registry(reference.registry(), source.registry())
                || self
                    .0
                    .iter()
                    .filter_map(|rule| rule.registry.as_deref())
                    .any(|registry| same_registry(registry, reference.registry()));
            let raises_events = EcrHost::parse(reference.registry()).is_some();
            let reference = plain(&reference);
            if !heard || !raises_events || !seen.insert(reference.clone()) {
                continue;
            }
            if depth == LONGEST_CHAIN {
                return Err(Error::new(
                    ErrorType::InvalidConfig,
                    format!(
                        "rule `{}` feeds itself: {source} goes to {destination}, whose own push event would go on \
                         without end; narrow the rule's source.repository or tags so that it doesn't take its own \
                         destinations",
                        by.name
                    ),
                ));
            }
            for rule in self.0.iter().filter(|rule| rule.takes(&reference)) {
                for template in &rule.destinations {
                    next.extend(
                        rule.destination(template, &reference, digest).ok().map(|further| (further, depth + 1)),
                    );
                }
            }
        }
        Ok(())
    }
}

impl Rule {
    fn compile(position: usize, settings: RuleSettings, mistakes: &mut Vec<String>) -> Self {
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
        let tags = TagFilter::compile(&settings.tags, &path, mistakes);
        if settings.destinations.is_empty() {
            mistakes.push(format!("{path}.destinations: a rule needs at least one"));
        }
        if settings.platforms.is_some() {
            mistakes
                .push(format!("{path}.platforms: not supported by this version; leave it out to copy the whole index"));
        }
        let mut destinations = Vec::new();
        for (number, text) in settings.destinations.iter().enumerate() {
            let path = format!("{path}.destinations[{number}]");
            match Template::parse(text) {
                Ok(template) if template.is_identity(registry.as_deref()) => {
                    mistakes.push(format!("{path}: `{text}` is the rule's own source"));
                }
                Ok(template) => destinations.push(template),
                Err(reason) => mistakes.push(format!("{path}: {reason}")),
            }
        }
        let wrong = settings.referrers.mistakes();
        mistakes.extend(wrong.into_iter().map(|wrong| format!("{path}.referrers.{wrong}")));
        let wrong = settings.scan_gate.and_then(|gate| gate.mistake());
        mistakes.extend(wrong.map(|wrong| format!("{path}.scan_gate.{wrong}")));
        let options = SyncOptions {
            existing_tag: settings.existing_tag,
            referrers: settings.referrers,
            scan_gate: settings.scan_gate,
        };
        let untagged = settings.untagged;
        let rule = Self { name, registry, repository_text, repository, tags, destinations, untagged, delete, options };
        rule.check_delete(&context, &path, mistakes);
        rule
    }

    /// Whether a push of `reference` is one for this rule.
    fn takes(&self, reference: &Reference) -> bool {
        self.takes_repository(reference)
            && match reference.tag() {
                Some(tag) => self.tags.take(tag),
                None => self.untagged == Untagged::ByDigest,
            }
    }

    fn takes_repository(&self, reference: &Reference) -> bool {
        self.registry.as_deref().is_none_or(|registry| same_registry(registry, reference.registry()))
            && self.repository.as_ref().is_none_or(|globs| globs.is_match(reference.repository()))
    }

    fn destination(
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
        if plain(&destination) == plain(source) {
            return Err(Error::new(
                ErrorType::InvalidConfig,
                format!("rule `{}` leads {source} onto itself; give it another destination", self.name),
            ));
        }
        Ok(destination)
    }
}

impl TagFilter {
    pub(crate) fn compile(settings: &TagSettings, path: &str, mistakes: &mut Vec<String>) -> Self {
        let semver = settings.semver.as_deref().and_then(|range| {
            VersionReq::parse(range)
                .inspect_err(|error| mistakes.push(format!("{path}.tags.semver: `{range}` is no range ({error})")))
                .ok()
        });
        Self {
            include: globs(&settings.include, &format!("{path}.tags.include"), false, mistakes),
            exclude: globs(&settings.exclude, &format!("{path}.tags.exclude"), false, mistakes),
            semver,
        }
    }

    /// Whether it takes a tag.
    #[must_use]
    pub fn take(&self, tag: &str) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.is_match(tag))
            && !self.exclude.as_ref().is_some_and(|globs| globs.is_match(tag))
            && self.semver.as_ref().is_none_or(|range| version(tag).is_some_and(|version| range.matches(&version)))
    }
}

/// The same place under the host that ECR's events imply.
fn plain(reference: &Reference) -> Reference {
    reference.at_registry(EcrHost::plain(reference.registry()))
}

/// Whether two hosts are one registry: ECR's have several names (FIPS, dual-stack), and events imply the plain one.
fn same_registry(one: &str, two: &str) -> bool {
    EcrHost::plain(one) == EcrHost::plain(two)
}

/// A tag read as a version; a leading `v` is allowed.
fn version(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

/// Compiles globs; `None` where there are none, or mistakes.
pub(crate) fn globs(patterns: &[String], path: &str, single: bool, mistakes: &mut Vec<String>) -> Option<GlobSet> {
    if patterns.is_empty() {
        return None;
    }
    let mut set = GlobSetBuilder::new();
    for (position, pattern) in patterns.iter().enumerate() {
        let path = if single { path.to_owned() } else { format!("{path}[{position}]") };
        // Inside a component it would be read as one `*`.
        let mut components = pattern.split(['/', '{', '}', ',']);
        if components.any(|component| component.contains("**") && component != "**") {
            mistakes.push(format!("{path}: `{pattern}`: `**` stands for whole path components, as in `team/**`"));
            continue;
        }
        match GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build() {
            Ok(glob) if !pattern.is_empty() => {
                set.add(glob);
            }
            Ok(_) => mistakes.push(format!("{path}: an empty glob matches nothing")),
            Err(error) => mistakes.push(format!("{path}: `{pattern}` is no glob ({})", error.kind())),
        }
    }
    set.build().inspect_err(|error| mistakes.push(format!("{path}: {error}"))).ok()
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
