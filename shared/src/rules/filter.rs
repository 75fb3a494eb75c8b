//! Filters, and what they say of an image.

use globset::GlobSet;
use semver::{Version, VersionReq};

use super::globs;
use crate::settings::TagSettings;

/// Which tags are taken.
#[derive(Debug)]
pub struct TagFilter {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
    semver: Option<VersionReq>,
    /// As it is written.
    pub(super) written: TagSettings,
}

/// What a rule's filters say of an image: whether it passes; `None`: there is no such filter, or it is not asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answers {
    pub(super) registry: Option<bool>,
    pub(super) repository: Option<bool>,
    pub(super) repository_exclude: Option<bool>,
    pub(super) untagged: Option<bool>,
    pub(super) include: Option<bool>,
    pub(super) exclude: Option<bool>,
    pub(super) semver: Option<bool>,
}

impl Answers {
    /// Whether the image is taken: it passes every filter that there is.
    pub(super) fn taken(self) -> bool {
        let of_tag = [self.untagged, self.include, self.exclude, self.semver];
        self.source_taken() && of_tag.iter().all(|answer| *answer != Some(false))
    }

    /// Whether it is left for nothing but that it has no tag.
    pub(super) fn skips_for_want_of_a_tag(self) -> bool {
        self.source_taken() && self.untagged == Some(false)
    }

    fn source_taken(self) -> bool {
        [self.registry, self.repository, self.repository_exclude].iter().all(|answer| *answer != Some(false))
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
            written: settings.clone(),
        }
    }

    /// Whether it takes a tag.
    #[must_use]
    pub fn take(&self, tag: &str) -> bool {
        self.answers(tag).taken()
    }

    pub(super) fn answers(&self, tag: &str) -> Answers {
        let in_range = |range: &VersionReq| version(tag).is_some_and(|version| range.matches(&version));
        Answers {
            include: self.include.as_ref().map(|globs| globs.is_match(tag)),
            exclude: self.exclude.as_ref().map(|globs| !globs.is_match(tag)),
            semver: self.semver.as_ref().map(in_range),
            ..Answers::default()
        }
    }
}

/// A tag read as a version; a leading `v` is allowed.
pub(super) fn version(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}
