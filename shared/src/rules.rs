//! Which images go where: globs, version ranges and templates, from a pushed image to sync requests. Pure.

mod attached;
mod explain;
mod filter;
mod globs;
mod removals;
mod rule;
mod scans;
mod sources;
mod template;

use std::{collections::HashSet, time::SystemTime};

pub use explain::{Explanation, FilterAnswer, RuleExplanation, WhereTo};
use filter::Answers;
pub use filter::TagFilter;
pub(crate) use globs::globs;
pub(crate) use globset::GlobSet;
pub use removals::RemovalVerdict;
use rule::Rule;
pub use sources::{RuleSource, is_glob};
use template::Template;

use crate::{
    error::{Error, ErrorType},
    oci::{Digest, Reference},
    provider::EcrHost,
    request::{ScanGate, SyncRequest},
    settings::RuleSettings,
};

/// How far a destination is followed as the source of further rules before it counts as endless.
const LONGEST_CHAIN: usize = 16;

/// All rules of a configuration, ready to be asked.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

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

/// What one rule makes of a pushed image.
struct Finding<'r> {
    rule: &'r Rule,
    answers: Answers,
    /// One for each of its destinations, if it takes the image.
    ends: Vec<End>,
}

/// What becomes of one of a rule's destinations.
enum End {
    Request(Box<SyncRequest>),
    /// A rule before it has named the same place, and its options count.
    Named {
        destination: Reference,
        by: String,
    },
    Refused(Error),
}

/// What the rules say of a pushed image.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to these destinations.
    Sync(Vec<SyncRequest>),
    /// It stays; why.
    Ignore(&'static str),
}

/// What the rules say of a pushed image, where a destination that is refused keeps no other one back.
#[derive(Debug, PartialEq, Eq)]
pub struct Routes {
    /// Where it goes.
    pub verdict: Verdict,
    /// Where else rules send it, and why it can't go there.
    pub refused: Option<Error>,
}

impl Pushed {
    /// The image at its source: by its tag, and by its digest where it has none.
    fn reference(&self) -> Result<Reference, Error> {
        let digest = if self.tag.is_some() { None } else { self.digest.clone() };
        Reference::new(&self.registry, &self.repository, self.tag.as_deref(), digest)
            .map_err(|error| Error::new(ErrorType::InvalidReference, error.to_string()))
    }
}

impl Rules {
    /// Compiles the rules of a document; what is wrong goes to `mistakes` with its JSON path.
    pub(crate) fn compile(settings: Vec<RuleSettings>, mistakes: &mut Vec<String>) -> Self {
        let rules = settings.into_iter().enumerate();
        Self(rules.map(|(position, rule)| Rule::compile(position, rule, mistakes)).collect())
    }

    /// Where a pushed image goes: each destination once, in the order of the rules. Whoever sends it there tells afterwards where
    /// else it can't go.
    ///
    /// # Errors
    /// It can go nowhere that rules send it. `InvalidReference`: a template gives what is no reference, or what its registry
    /// can't hold. `InvalidConfig`: a rule leads onto its own source, or the rules feed themselves without end.
    pub fn routes(&self, pushed: &Pushed) -> Result<Routes, Error> {
        let source = pushed.reference()?;
        let findings = self.findings(pushed, &source);
        let skipped_untagged = findings.iter().any(|finding| finding.answers.skips_for_want_of_a_tag());
        let mut requests: Vec<SyncRequest> = Vec::new();
        let mut refused: Option<Error> = None;
        for (rule, end) in
            findings.into_iter().flat_map(|finding| finding.ends.into_iter().map(move |end| (finding.rule, end)))
        {
            match end {
                End::Request(request) => requests.push(*request),
                // Whichever rule comes first, none gets past the gate of another.
                End::Named { destination, .. } => {
                    let place = plain(&destination);
                    let known = requests.iter_mut().filter(|request| plain(&request.destination) == place);
                    known.for_each(|request| {
                        let gate = &mut request.options.scan_gate;
                        *gate = ScanGate::stricter(*gate, rule.options.scan_gate);
                        let required = &mut request.options.require_referrers;
                        let more = rule.options.require_referrers.iter();
                        let more: Vec<String> = more.filter(|of| !required.contains(of)).cloned().collect();
                        required.extend(more);
                    });
                }
                End::Refused(error) => refused = Some(both(refused, error)),
            }
        }
        match (requests.is_empty(), refused) {
            (false, refused) => Ok(Routes { verdict: Verdict::Sync(requests), refused }),
            (true, Some(refused)) => Err(refused),
            (true, None) => {
                let reason = match skipped_untagged {
                    true => "the push has no tag, and the rules that match skip untagged images",
                    false => "no rule matches",
                };
                Ok(Routes { verdict: Verdict::Ignore(reason), refused: None })
            }
        }
    }

    /// What each rule makes of a pushed image: the one place that decides it, for whoever acts and whoever explains.
    fn findings(&self, pushed: &Pushed, source: &Reference) -> Vec<Finding<'_>> {
        let mut named = Vec::new();
        self.0.iter().map(|rule| self.finding(rule, pushed, source, &mut named)).collect()
    }

    /// What one rule makes of it, where those before it have `named` some places.
    fn finding<'r>(
        &'r self,
        rule: &'r Rule,
        pushed: &Pushed,
        source: &Reference,
        named: &mut Vec<(Reference, &'r str)>,
    ) -> Finding<'r> {
        let answers = rule.answers(source);
        let mut end = |template| {
            let destination = match rule.destination(template, source, pushed.digest.as_ref()) {
                Ok(destination) => destination,
                Err(error) => return End::Refused(error),
            };
            // One place may have several names.
            let place = plain(&destination);
            if let Some((_, by)) = named.iter().find(|(known, _)| *known == place) {
                return End::Named { destination, by: (*by).to_owned() };
            }
            named.push((place, &rule.name));
            self.end(pushed, source, template, destination, rule)
        };
        let ends = rule.destinations.iter().filter(|_| answers.taken()).map(&mut end).collect();
        Finding { rule, answers, ends }
    }

    fn end(
        &self,
        pushed: &Pushed,
        source: &Reference,
        template: &Template,
        destination: Reference,
        rule: &Rule,
    ) -> End {
        if let Err(error) = self.refuse_endless_chain(&destination, source, pushed.digest.as_ref(), rule) {
            return End::Refused(error);
        }
        // A destination that names a digest wants that digest, wherever the tag has moved since.
        let named = pushed.digest.as_ref().filter(|_| template.names_digest());
        let pinned = destination.digest().or(named);
        let source = pinned.map_or_else(|| source.clone(), |digest| source.pinned(digest.clone()));
        End::Request(Box::new(SyncRequest {
            source,
            destination,
            expected: pushed.digest.clone(),
            options: rule.options.clone(),
            pushed_at: pushed.at,
            asked_at: None,
            repeated: false,
            tried: false,
            heard: false,
            attached: false,
        }))
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

/// The first error, which says the other one too.
fn both(first: Option<Error>, next: Error) -> Error {
    match first {
        Some(first) => Error { message: format!("{}; {}", first.message, next.message), ..first },
        None => next,
    }
}

/// Whether two references are one place, whichever of its host's names they use.
#[must_use]
pub fn is_same_place(one: &Reference, other: &Reference) -> bool {
    plain(one) == plain(other)
}

/// The same place under the host that ECR's events imply.
fn plain(reference: &Reference) -> Reference {
    reference.at_registry(EcrHost::plain(reference.registry()))
}

/// Whether two hosts are one registry: ECR's have several names (FIPS, dual-stack), and events imply the plain one.
fn same_registry(one: &str, two: &str) -> bool {
    EcrHost::plain(one) == EcrHost::plain(two)
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
