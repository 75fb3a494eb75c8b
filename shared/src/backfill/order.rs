//! What a backfill message asks for: as users write it, and as a backfill goes on in another invocation. Pure.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::summary::Counts;
use crate::{
    error::{Error, ErrorType},
    oci::{Reference, normalize_host},
    queue::MESSAGE_VERSION,
    request::{ExistingTag, Referrers, ScanGate},
    rules::{GlobSet, Rules, TagFilter, globs, is_glob},
    settings::{RuleSettings, SourceSettings, TagSettings, Untagged},
};

/// The greatest `newest`: the times of so many pushes are carried from one invocation to the next.
const MOST_NEWEST: usize = 10_000;

/// A backfill message's body.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    /// [`MESSAGE_VERSION`]; users may leave it out. Whoever takes the message has checked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    backfill: Order,
}

/// What a backfill message asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// `HOST/REPOSITORY`, or a glob of repositories; left out: every rule's source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Only these tags, beside what the rules say of tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<TagSettings>,
    /// Where to, instead of where the rules say: a template, as in a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Only these platforms, as a rule names them; left out: the whole index. This, and what follows up to
    /// `scan_gate`, belongs to `destination`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Vec<String>>,
    /// What of what is attached to the images goes with them; left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrers: Option<Referrers>,
    /// Artifact types that must be attached to an image, or it is not copied; left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_referrers: Option<Vec<String>>,
    /// What to do with a tag that the destination has, at another digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_tag: Option<ExistingTag>,
    /// What ECR's scan of an image must not have found; left out: no scan is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_gate: Option<ScanGate>,
    /// Enqueue images that a destination has, too, so that what is attached to them is compared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
    /// Only say what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Of each repository only so many images, those that were pushed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<usize>,
    /// Only images that were pushed at this moment (RFC 3339) or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_since: Option<String>,
    /// Where an earlier invocation stopped: written by `fanout` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

/// How far a backfill has come, and what it has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The registry that is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) registry: Option<String>,
    /// The page of its repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) repositories: Option<String>,
    /// The repository of that page that is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) repository: Option<String>,
    /// Whether that one is done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) done: bool,
    /// The page of its images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) images: Option<String>,
    /// The last image of that page that was dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
    /// Pages of repositories, and of this repository's images, so far.
    #[serde(default)]
    pub(super) pages: (u32, u32),
    /// `newest`: the times of the last pushes that were found, while they are looked for; milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<Vec<u64>>,
    /// `newest`: the first push that is taken, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<u64>,
    /// Invocations in a row that came no further.
    #[serde(default)]
    pub(super) stuck: u32,
    pub(super) counts: Counts,
}

impl Order {
    /// Reads a backfill message's body.
    ///
    /// # Errors
    /// `InvalidEvent`: it can't be used; the text names the field.
    pub fn read(body: &str) -> Result<Self, Error> {
        let mut json = serde_json::Deserializer::from_str(body);
        let message: Result<Message, _> = serde_path_to_error::deserialize(&mut json);
        match message {
            Ok(message) => Ok(message.backfill),
            Err(error) => Err(invalid(&[format!("{}: {}", error.path(), error.inner())])),
        }
    }

    /// The message that does the same for one repository, or for those of a glob, alone.
    pub(super) fn of_one(&self, repository: String) -> Result<String, Error> {
        Self { repository: Some(repository), cursor: None, ..self.clone() }.message()
    }

    /// The message that goes on from `cursor`.
    pub(super) fn continued(&self, cursor: Cursor) -> Result<String, Error> {
        Self { cursor: Some(cursor), ..self.clone() }.message()
    }

    /// What says how images are synced where nothing says where to: rules do, and no order overrules them.
    fn without_destination(&self) -> Vec<String> {
        let fields = [
            ("platforms", self.platforms.is_some()),
            ("referrers", self.referrers.is_some()),
            ("require_referrers", self.require_referrers.is_some()),
            ("existing_tag", self.existing_tag.is_some()),
            ("scan_gate", self.scan_gate.is_some()),
        ];
        let given = fields.into_iter().filter(|(_, given)| *given);
        given
            .map(|(field, _)| format!("backfill.{field}: it needs backfill.destination; without, the rules say it"))
            .collect()
    }

    fn message(self) -> Result<String, Error> {
        let message = Message { version: Some(MESSAGE_VERSION), backfill: self };
        serde_json::to_string(&message).map_err(|error| Error::new(ErrorType::InvalidEvent, error.to_string()))
    }
}

fn invalid(mistakes: &[String]) -> Error {
    Error::new(ErrorType::InvalidEvent, format!("the backfill can't be done: {}", mistakes.join("; ")))
}

/// An order, checked against the rules.
pub(super) struct Plan<'r> {
    /// What is listed, by registry.
    pub(super) scopes: Vec<Scope>,
    /// Rules that name no registry, so that there is nothing to list.
    pub(super) unlisted: Vec<String>,
    pub(super) rules: Chosen<'r>,
    pub(super) tags: Option<TagFilter>,
    pub(super) since: Option<SystemTime>,
}

/// What is listed of one registry.
pub(super) struct Scope {
    pub(super) registry: String,
    pub(super) repositories: Repositories,
}

pub(super) enum Repositories {
    /// These, without asking which there are.
    Named(Vec<String>),
    /// Those of the registry's list that match, if anything is to be matched.
    Listed(Option<GlobSet>),
}

/// The rules that say where images go.
pub(super) enum Chosen<'r> {
    Configured(&'r Rules),
    Own(Rules),
}

impl Chosen<'_> {
    pub(super) fn rules(&self) -> &Rules {
        match self {
            Self::Configured(rules) => rules,
            Self::Own(rules) => rules,
        }
    }
}

impl<'r> Plan<'r> {
    /// Checks an order.
    ///
    /// # Errors
    /// `InvalidEvent`, with every mistake and the field that it is in.
    pub(super) fn of(order: &Order, configured: &'r Rules) -> Result<Self, Error> {
        let mut mistakes = Vec::new();
        let since = order.pushed_since.as_deref().and_then(|text| match chrono::DateTime::parse_from_rfc3339(text) {
            Ok(time) => Some(SystemTime::from(time)),
            Err(error) => {
                mistakes.push(format!("backfill.pushed_since: `{text}` is no RFC 3339 time ({error})"));
                None
            }
        });
        if order.newest.is_some_and(|newest| !(1..=MOST_NEWEST).contains(&newest)) {
            mistakes.push(format!("backfill.newest: it must be from 1 to {MOST_NEWEST}"));
        }
        let scope = order.repository.as_deref().and_then(|text| Scope::parse(text, &mut mistakes));
        let (rules, tags) = match &order.destination {
            None => {
                mistakes.extend(order.without_destination());
                let tags = order.tags.as_ref().map(|tags| TagFilter::compile(tags, "backfill", &mut mistakes));
                (Chosen::Configured(configured), tags)
            }
            Some(_) if order.repository.is_none() => {
                mistakes.push("backfill.destination: it needs backfill.repository".to_owned());
                (Chosen::Configured(configured), None)
            }
            Some(destination) => (Chosen::Own(own_rule(order, destination, &scope, &mut mistakes)), None),
        };
        if !mistakes.is_empty() {
            return Err(invalid(&mistakes));
        }
        let (scopes, unlisted) = match scope {
            Some(scope) => (vec![scope], Vec::new()),
            None => of_rules(configured),
        };
        if scopes.is_empty() {
            return Err(invalid(&["backfill.repository: it is left out, and no rule names a source.registry that \
                                  could be listed"
                .to_owned()]));
        }
        if let (Chosen::Configured(rules), [Scope { registry, repositories: Repositories::Named(names) }]) =
            (&rules, scopes.as_slice())
            && !names.iter().any(|name| rules.take_repository(registry, name))
        {
            return Err(invalid(&[format!(
                "backfill.repository: no rule takes {registry}/{}; give the backfill a `destination`",
                names.join(", ")
            )]));
        }
        Ok(Self { scopes, unlisted, rules, tags, since })
    }

    /// Whether it is about one repository, by its name: what fails of that is the order's failure.
    pub(super) fn is_of_one_repository(&self) -> bool {
        matches!(self.scopes.as_slice(), [Scope { repositories: Repositories::Named(names), .. }] if names.len() == 1)
    }
}

impl Scope {
    /// Reads `HOST/REPOSITORY`, where the repository may be a glob.
    fn parse(text: &str, mistakes: &mut Vec<String>) -> Option<Self> {
        let path = "backfill.repository";
        let parts = text.split_once('/').and_then(|(host, rest)| Some((normalize_host(host)?, rest)));
        let Some((registry, repository)) = parts else {
            mistakes.push(format!("{path}: `{text}` must begin with a registry host and a `/`"));
            return None;
        };
        if is_glob(repository) {
            let globs = globs(&[repository.to_owned()], path, true, mistakes)?;
            return Some(Self { registry, repositories: Repositories::Listed(Some(globs)) });
        }
        // The tag is there for the grammar alone.
        match Reference::new(&registry, repository, Some("any"), None) {
            Ok(reference) => {
                let name = reference.repository().to_owned();
                Some(Self { registry, repositories: Repositories::Named(vec![name]) })
            }
            Err(error) => {
                let advice = if repository.contains([':', '@']) { "; name tags in backfill.tags" } else { "" };
                mistakes.push(format!("{path}: `{text}` is no repository: {}{advice}", error.reason));
                None
            }
        }
    }
}

/// The rule that a backfill with a destination of its own is.
fn own_rule(order: &Order, destination: &str, scope: &Option<Scope>, mistakes: &mut Vec<String>) -> Rules {
    let source =
        SourceSettings { registry: scope.as_ref().map(|scope| scope.registry.clone()), ..SourceSettings::default() };
    let settings = RuleSettings {
        name: Some("of the backfill".to_owned()),
        source,
        tags: order.tags.clone().unwrap_or_default(),
        destinations: vec![destination.to_owned()],
        platforms: order.platforms.clone(),
        referrers: order.referrers.clone().unwrap_or_default(),
        require_referrers: order.require_referrers.clone().unwrap_or_default(),
        untagged: Untagged::Skip,
        existing_tag: order.existing_tag.unwrap_or_default(),
        delete: None,
        scan_gate: order.scan_gate,
    };
    Rules::of(settings).unwrap_or_else(|wrong| {
        let named = |text: String| {
            text.replace("rules[0].destinations[0]", "backfill.destination").replace("rules[0]", "backfill")
        };
        mistakes.extend(wrong.into_iter().map(named));
        Rules::default()
    })
}

/// What the rules' sources are, by registry: a repository that several rules take is listed once.
fn of_rules(rules: &Rules) -> (Vec<Scope>, Vec<String>) {
    let mut unlisted = Vec::new();
    let mut by_registry: BTreeMap<&str, Option<Vec<String>>> = BTreeMap::new();
    for source in rules.sources() {
        let Some(registry) = source.registry else {
            unlisted.push(source.name.to_owned());
            continue;
        };
        let names = by_registry.entry(registry).or_insert_with(|| Some(Vec::new()));
        match source.repository.filter(|text| !is_glob(text)) {
            // A registry's whole list is asked for where a glob needs it; the rules choose from it.
            None => *names = None,
            Some(name) => names.iter_mut().for_each(|names| names.push(name.to_owned())),
        }
    }
    let scope = |(registry, names): (&str, Option<Vec<String>>)| {
        let repositories = match names {
            Some(mut names) => {
                names.sort_unstable();
                names.dedup();
                Repositories::Named(names)
            }
            None => Repositories::Listed(None),
        };
        Scope { registry: registry.to_owned(), repositories }
    };
    (by_registry.into_iter().map(scope).collect(), unlisted)
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
