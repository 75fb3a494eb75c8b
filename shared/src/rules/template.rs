//! A destination with places to fill in.

use crate::{
    error::{Error, ErrorType},
    oci::{Digest, Reference, normalize_host},
    provider::{EcrHost, unfit_name},
};

/// `registry/path:tag` with `{registry}`, `{repository}`, `{name}`, `{tag}`, `{digest}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
    /// Whether the text names a tag or a digest; else `:{tag}` is meant.
    has_target: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Registry,
    Repository,
    Name,
    Tag,
    Digest,
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = rest[open..].find('}').ok_or_else(|| format!("`{text}`: a `{{` is not closed"))? + open;
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            parts.push(Part::Place(match &rest[open + 1..close] {
                "registry" => Place::Registry,
                "repository" => Place::Repository,
                "name" => Place::Name,
                "tag" => Place::Tag,
                "digest" => Place::Digest,
                other => {
                    return Err(format!(
                        "`{{{other}}}` is none of {{registry}}, {{repository}}, {{name}}, {{tag}}, {{digest}}"
                    ));
                }
            }));
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let last = text.rsplit('/').next().unwrap_or(text);
        let template = Self { parts, has_target: last.contains([':', '@']) };
        template.check(text)?;
        Ok(template)
    }

    /// Fills the places with harmless values, to find at start what could never be a reference.
    fn check(&self, text: &str) -> Result<(), String> {
        match text.split_once('/') {
            Some((registry, _)) if registry == "{registry}" || normalize_host(registry).is_some() => {}
            _ => return Err(format!("`{text}` must begin with a registry host and a `/`")),
        }
        let example = Reference::new("registry.example.com", "team/app", Some("v1"), None);
        let example = example.map_err(|error| error.to_string())?;
        let filled = self.fill(&example, Some(&Digest::of(b""))).map_err(|error| error.message)?;
        if let (Some(_), Some(_)) = (filled.tag(), filled.digest()) {
            return Err(format!("`{text}` names a tag and a digest; leave one out"));
        }
        self.check_name(text)
    }

    /// Finds what its registry could hold under no name of a source.
    fn check_name(&self, text: &str) -> Result<(), String> {
        let mut reasons = Vec::new();
        for repository in ["app", "team/app", "team/of/app"] {
            let source = Reference::new("registry.example.com", repository, Some("v1"), None);
            let Some(filled) = source.ok().and_then(|source| self.fill(&source, Some(&Digest::of(b""))).ok()) else {
                return Ok(());
            };
            match unfit_name(filled.registry(), filled.repository()) {
                Some(reason) => reasons.push(reason),
                None => return Ok(()),
            }
        }
        let reason = reasons.pop().unwrap_or_default();
        Err(format!("`{text}` gives no name that its registry takes: {reason}"))
    }

    /// The registry that it leads to; `None`: that of the source.
    pub(super) fn registry(&self) -> Option<&str> {
        match self.parts.first() {
            Some(Part::Text(text)) => text.split('/').next(),
            Some(Part::Place(_)) | None => None,
        }
    }

    /// Whether two tags of one source have two tags at the destination.
    pub(super) fn keeps_tags_apart(&self) -> bool {
        let digest = Digest::of(b"");
        let filled = |tag| {
            let source = Reference::new("registry.example.com", "team/app", Some(tag), None).ok()?;
            Some(self.fill(&source, Some(&digest)).ok()?.tag()?.to_owned())
        };
        let (one, other) = (filled("any-tag-at-all"), filled("another-tag"));
        one.is_some() && one != other
    }

    /// Whether a digest is to be filled in: then it is that digest that goes there.
    pub(super) fn names_digest(&self) -> bool {
        self.parts.contains(&Part::Place(Place::Digest))
    }

    /// Whether the tag decides which repository it is.
    pub(super) fn follows_tag(&self) -> bool {
        let digest = Digest::of(b"");
        let filled = |tag| {
            let source = Reference::new("registry.example.com", "team/app", Some(tag), None).ok()?;
            self.fill(&source, Some(&digest)).ok().map(|filled| filled.repository().to_owned())
        };
        filled("one") != filled("other")
    }

    /// Whether it leads every image of `registry` onto itself, whose repository is one that `repositories` takes.
    pub(super) fn is_identity(&self, registry: Option<&str>, repositories: Option<&str>) -> bool {
        // A name and a tag that no template holds by chance.
        let registry = registry.unwrap_or("any-registry.invalid");
        let any = repositories.filter(|glob| !glob.contains(['?', '[', '{', '\\'])).unwrap_or("**");
        let any = any.replace("**", "any/repository-at-all").replace('*', "any-name-at-all");
        let Ok(source) = Reference::new(registry, &any, Some("any-tag-at-all"), None) else {
            return false;
        };
        self.fill(&source, None).is_ok_and(|destination| {
            let host = |reference: &Reference| EcrHost::plain(reference.registry());
            host(&destination) == host(&source) && destination.at_registry(source.registry().to_owned()) == source
        })
    }

    /// The destination of `source`. Where it has no tag, the destination is the same digest.
    pub(super) fn fill(&self, source: &Reference, digest: Option<&Digest>) -> Result<Reference, Error> {
        let digest = source.digest().or(digest);
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Place(Place::Registry) => text.push_str(source.registry()),
                Part::Place(Place::Repository) => text.push_str(source.repository()),
                Part::Place(Place::Name) => {
                    text.push_str(source.repository().rsplit('/').next().unwrap_or_default());
                }
                // An untagged image: what stands here is cut off below.
                Part::Place(Place::Tag) => text.push_str(source.tag().unwrap_or("untagged")),
                Part::Place(Place::Digest) => match digest {
                    Some(digest) if text.ends_with('@') => text.push_str(digest.as_str()),
                    // A tag can't hold the colon; the referrers tag schema writes it as a dash too.
                    Some(digest) => text.push_str(&digest.as_str().replace(':', "-")),
                    None => {
                        let text =
                            "{digest} is asked for, and only the tag is known; name the image by both, :TAG@DIGEST";
                        return Err(Error::new(ErrorType::InvalidReference, text));
                    }
                },
            }
        }
        let target = match (source.tag(), digest) {
            (Some(tag), _) if !self.has_target => Some(format!(":{tag}")),
            (Some(_), _) => None,
            (None, Some(digest)) => {
                let name_starts = text.rfind('/').map_or(0, |slash| slash + 1);
                if let Some(target) = text[name_starts..].find([':', '@']) {
                    text.truncate(name_starts + target);
                }
                Some(format!("@{digest}"))
            }
            (None, None) => None,
        };
        text.push_str(&target.unwrap_or_default());
        text.parse()
            .map_err(|error: crate::oci::ReferenceError| Error::new(ErrorType::InvalidReference, error.to_string()))
    }
}
