//! What the rules say of one image, for people: which rules take it, what each filter said, and where it goes.

use std::fmt;

use super::{End, Finding, Pushed, Rule, Rules, filter::version};
use crate::{
    error::Error,
    oci::Reference,
    request::{ExistingTag, Referrers, SyncOptions},
};

/// What the rules say of an image.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The image.
    pub source: Reference,
    /// Each rule, in order.
    pub rules: Vec<RuleExplanation>,
}

/// What one rule says of it.
#[derive(Debug, Clone)]
pub struct RuleExplanation {
    /// The rule.
    pub name: String,
    /// Whether it takes the image.
    pub taken: bool,
    /// What each of its filters says.
    pub filters: Vec<FilterAnswer>,
    /// Where it sends the image; nowhere, unless it takes it.
    pub ends: Vec<WhereTo>,
    /// How.
    pub options: SyncOptions,
}

/// What one filter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterAnswer {
    /// Its key in the configuration.
    pub key: &'static str,
    /// What is written there.
    pub written: String,
    /// What it was asked of.
    pub value: String,
    /// Whether that passes.
    pub passes: bool,
}

/// What becomes of one of a rule's destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhereTo {
    /// The image goes there.
    Goes(Reference),
    /// An earlier rule sends it there, and its options count.
    Named {
        /// The place.
        destination: Reference,
        /// The rule.
        by: String,
    },
    /// It can't go there: a push of this image fails, once it is where else it goes.
    Refused(Error),
}

impl Rules {
    /// Says what the rules make of an image, as [`Rules::routes`] decides it.
    ///
    /// # Errors
    /// `InvalidReference`: it is no image.
    pub fn explain(&self, pushed: &Pushed) -> Result<Explanation, Error> {
        let source = pushed.reference()?;
        let rules = self.findings(pushed, &source).into_iter().map(|finding| explained(finding, &source)).collect();
        Ok(Explanation { source, rules })
    }
}

fn explained(finding: Finding<'_>, source: &Reference) -> RuleExplanation {
    let Finding { rule, answers, ends } = finding;
    let ends = ends.into_iter().map(|end| match end {
        End::Request(request) => WhereTo::Goes(request.destination),
        End::Named { destination, by } => WhereTo::Named { destination, by },
        End::Refused(error) => WhereTo::Refused(error),
    });
    RuleExplanation {
        name: rule.name.clone(),
        taken: answers.taken(),
        filters: filters(rule, answers, source),
        ends: ends.collect(),
        options: rule.options.clone(),
    }
}

fn filters(rule: &Rule, answers: super::Answers, source: &Reference) -> Vec<FilterAnswer> {
    let tag = source.tag().unwrap_or_default();
    let as_version =
        || version(tag).map_or_else(|| format!("{tag}, which is no version"), |version| version.to_string());
    let tags = &rule.tags.written;
    let repository = || source.repository().to_owned();
    let all = [
        ("source.registry", answers.registry, rule.registry.clone().unwrap_or_default(), source.registry().to_owned()),
        ("source.repository", answers.repository, rule.repository_text.clone().unwrap_or_default(), repository()),
        ("source.exclude", answers.repository_exclude, rule.exclude_text.join(" "), repository()),
        (
            "untagged",
            answers.untagged,
            if rule.skips_untagged() { "skip" } else { "by-digest" }.to_owned(),
            "no tag".to_owned(),
        ),
        ("tags.include", answers.include, tags.include.join(" "), tag.to_owned()),
        ("tags.exclude", answers.exclude, tags.exclude.join(" "), tag.to_owned()),
        ("tags.semver", answers.semver, tags.semver.clone().unwrap_or_default(), as_version()),
    ];
    let asked = |(key, answer, written, value): (_, Option<bool>, _, _)| {
        answer.map(|passes| FilterAnswer { key, written, value, passes })
    };
    all.into_iter().filter_map(asked).collect()
}

impl Explanation {
    /// Where the image goes: each place once.
    pub fn destinations(&self) -> impl Iterator<Item = &Reference> {
        self.ends().filter_map(|end| match end {
            WhereTo::Goes(destination) => Some(destination),
            WhereTo::Named { .. } | WhereTo::Refused(_) => None,
        })
    }

    /// Why a push of this image fails, if it does.
    #[must_use]
    pub fn refused(&self) -> Option<&Error> {
        self.ends().find_map(|end| if let WhereTo::Refused(error) = end { Some(error) } else { None })
    }

    fn ends(&self) -> impl Iterator<Item = &WhereTo> {
        self.rules.iter().flat_map(|rule| &rule.ends)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.source)?;
        self.rules.iter().try_for_each(|rule| write!(f, "\n{rule}"))?;
        match (self.refused(), self.destinations().count()) {
            (Some(error), 0) => writeln!(f, "\nA push of it fails ({}): {error}", error.error_type),
            (Some(error), count) => {
                let places = if count == 1 { "one place".to_owned() } else { format!("{count} places") };
                writeln!(f, "\nIt goes to {places}, and then its push fails ({}): {error}", error.error_type)
            }
            (None, 0) => writeln!(f, "\nIt goes nowhere: no rule takes it."),
            (None, 1) => writeln!(f, "\nIt goes to one place."),
            (None, count) => writeln!(f, "\nIt goes to {count} places."),
        }
    }
}

impl fmt::Display for RuleExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rule `{}` {}", self.name, if self.taken { "takes it" } else { "does not take it" })?;
        if self.filters.is_empty() {
            writeln!(f, "  yes  no filter: it takes everything")?;
        }
        for filter in &self.filters {
            let answer = if filter.passes { "yes" } else { "no " };
            writeln!(f, "  {answer}  {}: {}  ({})", filter.key, filter.written, filter.value)?;
        }
        for end in &self.ends {
            match end {
                WhereTo::Goes(destination) => writeln!(f, "  to   {destination}")?,
                WhereTo::Named { destination, by } => {
                    writeln!(f, "  -    {destination}  (rule `{by}` sends it there)")?;
                }
                WhereTo::Refused(error) => writeln!(f, "  fails: {error}")?,
            }
        }
        if self.taken { writeln!(f, "  with {}", Options(&self.options)) } else { Ok(()) }
    }
}

/// Options as a rule writes them.
struct Options<'o>(&'o SyncOptions);

impl fmt::Display for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SyncOptions { existing_tag, referrers, require_referrers, platforms, scan_gate } = self.0;
        match platforms {
            None => f.write_str("platforms: all")?,
            Some(platforms) => {
                let texts: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                write!(f, "platforms: {}", texts.join(" "))?;
            }
        }
        match referrers {
            Referrers::All(all) => write!(f, ", referrers: {all}")?,
            Referrers::Types(lists) => {
                let list = |name: &str, list: &[String]| {
                    if list.is_empty() { String::new() } else { format!(" {name} {}", list.join(" ")) }
                };
                write!(f, ", referrers:{}{}", list("include", &lists.include), list("exclude", &lists.exclude))?;
            }
        }
        if !require_referrers.is_empty() {
            write!(f, ", require_referrers: {}", require_referrers.join(" "))?;
        }
        if let Some(gate) = scan_gate {
            write!(f, ", scan_gate: {gate}")?;
        }
        let existing_tag = match existing_tag {
            ExistingTag::Overwrite => "overwrite",
            ExistingTag::Keep => "keep",
            ExistingTag::Fail => "fail",
        };
        write!(f, ", existing_tag: {existing_tag}")
    }
}
