//! What of what is attached to an image goes with it: signatures, SBOMs, attestations.

use globset::Glob;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of an image's referrers are copied: all, none, or those of some artifact types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected true, false, or {\"include\": [artifact types], \"exclude\": [artifact types]}"
)]
pub enum Referrers {
    /// All, or none.
    All(bool),
    /// Those of some artifact types.
    Types(TypeLists),
}

/// Artifact types, such as `application/spdx+json`; `*` in one stands for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TypeLists {
    /// Only these; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl Default for Referrers {
    fn default() -> Self {
        Self::All(true)
    }
}

impl Referrers {
    /// Whether any can be wanted at all.
    #[must_use]
    pub fn wanted(&self) -> bool {
        *self != Self::All(false)
    }

    /// Whether an artifact is wanted that goes by these types; a cosign artifact has several, its layers' among them.
    #[must_use]
    pub fn take(&self, types: &[String]) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| types.iter().any(|of| is_of(pattern, of)));
        match self {
            Self::All(all) => *all,
            Self::Types(lists) => (lists.include.is_empty() || any(&lists.include)) && !any(&lists.exclude),
        }
    }

    /// The same of an artifact of which no more is known than the type that a list says, if it says one.
    #[must_use]
    pub fn may_take(&self, artifact_type: Option<&str>) -> bool {
        artifact_type.is_none_or(|of| self.take(&[of.to_owned()]))
    }

    /// Whether something of a required type may be among what is copied, for all that can be told. Of two patterns it can't:
    /// they may.
    pub(crate) fn may_bring(&self, required: &str) -> bool {
        if !is_pattern(required) {
            return self.take(&[required.to_owned()]);
        }
        match self {
            Self::All(all) => *all,
            Self::Types(lists) => {
                let meets = |of: &String| of == required || is_pattern(of) || is_of(required, of);
                let is_covered = |of: &String| of == required || of == "*";
                (lists.include.is_empty() || lists.include.iter().any(meets)) && !lists.exclude.iter().any(is_covered)
            }
        }
    }

    /// The patterns that are none, each with the reason.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let Self::Types(lists) = self else { return Vec::new() };
        [wrong_types("include", &lists.include), wrong_types("exclude", &lists.exclude)].concat()
    }
}

/// The entries of a list of artifact types that are none, each with the reason.
pub(crate) fn wrong_types(list: &str, types: &[String]) -> Vec<String> {
    let wrong = types.iter().enumerate().filter_map(|(position, pattern)| match Glob::new(pattern) {
        Ok(_) if !pattern.is_empty() => None,
        Ok(_) => Some(format!("{list}[{position}]: an empty artifact type matches nothing")),
        Err(error) => Some(format!("{list}[{position}]: `{pattern}` is no pattern ({})", error.kind())),
    });
    wrong.collect()
}

/// Whether an entry stands for more than one artifact type.
fn is_pattern(entry: &str) -> bool {
    entry.contains(['*', '?', '[', '{', '\\'])
}

/// Whether an artifact type matches a pattern of a configuration or a message.
pub(crate) fn is_of(pattern: &str, artifact_type: &str) -> bool {
    pattern == artifact_type || Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(artifact_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(setting: &str, types: &[&str]) -> bool {
        let referrers: Referrers = serde_json::from_str(setting).unwrap();
        referrers.take(&types.iter().map(|of| (*of).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn types_are_included_and_excluded() {
        let sbom = ["application/spdx+json"];
        assert!(take("true", &sbom) && !take("false", &sbom) && take("{}", &sbom));
        assert!(take(r#"{"include":["application/spdx+json"]}"#, &sbom));
        assert!(take(r#"{"include":["application/*"]}"#, &sbom));
        assert!(!take(r#"{"include":["text/*"]}"#, &sbom));
        assert!(!take(r#"{"exclude":["application/spdx+json"]}"#, &sbom));
        assert!(!take(r#"{"include":["*"],"exclude":["*spdx*"]}"#, &sbom));
        assert!(take(r#"{"exclude":["text/*"]}"#, &sbom));
        let signature =
            ["application/vnd.oci.image.config.v1+json", "application/vnd.dev.cosign.simplesigning.v1+json"];
        assert!(take(r#"{"include":["application/vnd.dev.cosign.*"]}"#, &signature));
        assert!(!take(r#"{"exclude":["application/vnd.dev.cosign.*"]}"#, &signature));
    }

    #[test]
    fn what_is_required_and_never_copied_is_told_from_what_may_be() {
        let brings =
            |setting: &str, required: &str| serde_json::from_str::<Referrers>(setting).unwrap().may_bring(required);
        let sbom = r#"{"include":["application/spdx+json"]}"#;
        assert!(brings(sbom, "application/spdx+json") && brings(sbom, "application/*") && brings(sbom, "*/spdx+json"));
        assert!(!brings(sbom, "text/*") && !brings(sbom, "text/plain"));
        assert!(brings(r#"{"include":["application/*"]}"#, "*+json"));
        assert!(brings(r#"{"exclude":["application/spdx+json"]}"#, "application/*"));
        assert!(!brings(r#"{"exclude":["application/*"]}"#, "application/*"));
        assert!(!brings(r#"{"exclude":["*"]}"#, "application/*"));
        assert!(brings("true", "a/*") && !brings("false", "a/*") && !brings("false", "a/b"));
    }

    #[test]
    fn patterns_that_are_none_are_told() {
        let referrers: Referrers = serde_json::from_str(r#"{"include":["a[", "b"],"exclude":[""]}"#).unwrap();
        let mistakes = referrers.mistakes();
        assert!(mistakes[0].starts_with("include[0]: `a[`") && mistakes[1].starts_with("exclude[0]: an empty"));
        assert_eq!(mistakes.len(), 2);
        assert!(serde_json::from_str::<Referrers>(r#"{"includes":[]}"#).is_err());
    }
}
