//! Scans of images, as a script says them: `DescribeImageScanFindings`.

use std::{collections::HashMap, sync::Mutex};

use serde_json::{Value, json};

use super::{images, invalid, text};
use crate::{aws::ApiError, lock, registry::Registry};

/// The scans that there are, by repository and digest.
#[derive(Debug, Default)]
pub(super) struct Scans(Mutex<HashMap<(String, String), Scan>>);

#[derive(Debug, Clone)]
struct Scan {
    status: String,
    findings: Option<ScanFindings>,
}

/// What a scan's answer tells of its findings. The API calls every part of it optional.
///
/// Source: ECR API, `ImageScanFindings`; aws/aws-sdk, issue 289 (an enhanced scan without results).
#[derive(Debug, Clone, Default)]
pub struct ScanFindings {
    counts: Option<Vec<(String, u64)>>,
    completed: bool,
    severities: Vec<String>,
    enhanced: bool,
    page: Option<usize>,
}

impl ScanFindings {
    /// An empty list and no more, as enhanced scanning says it before its results are there.
    #[must_use]
    pub fn none_yet() -> Self {
        Self::default()
    }

    /// All that there may be: the counts, and a finding of each severity.
    #[must_use]
    pub fn counted(counts: &[(&str, u64)]) -> Self {
        let counts: Vec<(String, u64)> = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let severities = counts.iter().map(|(name, _)| name.clone()).collect();
        Self { counts: Some(counts), completed: true, severities, ..Self::default() }
    }

    /// Findings of these severities, without counts.
    #[must_use]
    pub fn listed(severities: &[&str]) -> Self {
        Self { severities: severities.iter().map(|name| (*name).to_owned()).collect(), ..Self::default() }
    }

    /// The same with these findings listed, whatever the counts say.
    #[must_use]
    pub fn listing(self, severities: &[&str]) -> Self {
        Self { severities: Self::listed(severities).severities, ..self }
    }

    /// The same with a time when the scan was completed.
    #[must_use]
    pub fn completed(self) -> Self {
        Self { completed: true, ..self }
    }

    /// The same as enhanced scanning lists it.
    #[must_use]
    pub fn enhanced(self) -> Self {
        Self { enhanced: true, ..self }
    }

    /// The same in pages of so many findings at most, whatever is asked for.
    #[must_use]
    pub fn in_pages_of(self, findings: usize) -> Self {
        Self { page: Some(findings), ..self }
    }

    /// The page that begins at a finding, and where the next one does.
    fn page(&self, from: usize, most: usize) -> (Value, Option<usize>) {
        let end = self.severities.len().min(from.saturating_add(self.page.unwrap_or(most).min(most)));
        let finding = |severity: &String| match self.enhanced {
            false => json!({"name": "CVE-2026-0001", "severity": severity}),
            true => json!({"title": "CVE-2026-0001", "severity": severity, "status": "ACTIVE"}),
        };
        let listed: Vec<Value> = self.severities.get(from..end).into_iter().flatten().map(finding).collect();
        let mut page = json!({});
        page[if self.enhanced { "enhancedFindings" } else { "findings" }] = listed.into();
        if let Some(counts) = &self.counts {
            let counts = counts.iter().map(|(name, count)| (name.clone(), Value::from(*count)));
            page["findingSeverityCounts"] = counts.collect::<serde_json::Map<_, _>>().into();
        }
        if self.completed {
            page["imageScanCompletedAt"] = json!(1_795_339_815.0);
            page["vulnerabilitySourceUpdatedAt"] = json!(1_795_330_000.0);
        }
        (page, (end < self.severities.len()).then_some(end))
    }
}

impl Scans {
    pub(super) fn set(&self, repository: &str, digest: &str, status: &str, findings: Option<ScanFindings>) {
        let scan = Scan { status: status.to_owned(), findings };
        lock(&self.0).insert((repository.to_owned(), digest.to_owned()), scan);
    }

    /// Source: ECR API, `DescribeImageScanFindings`; its `maxResults` is 1 to 1000, 100 by default.
    pub(super) fn describe(&self, registry: &Registry, body: &Value) -> Result<Value, ApiError> {
        let id = body.get("imageId").ok_or_else(|| invalid("imageId", "Member must not be null"))?;
        let most = body.get("maxResults").and_then(Value::as_u64).unwrap_or(100);
        if !(1..=1000).contains(&most) {
            return Err(invalid("maxResults", "Member must be between 1 and 1000"));
        }
        let from = match text(body, "nextToken") {
            None => 0,
            Some(token) => token.parse().map_err(|_| invalid("nextToken", "Member is no token of this API"))?,
        };
        let digest = images::digest_of(registry, body, id)?;
        let name = text(body, "repositoryName").unwrap_or_default();
        let scan = lock(&self.0).get(&(name.to_owned(), digest.clone())).cloned();
        let scan = scan.ok_or_else(|| {
            let text = format!(
                "Image scan does not exist for the image with '{{imageDigest:'{digest}'}}' in the repository with name \
                 '{name}' in the registry with id '{}'",
                registry.account()
            );
            ApiError::client("ScanNotFoundException", text)
        })?;
        let mut answer = json!({
            "registryId": registry.account(),
            "repositoryName": name,
            "imageId": {"imageDigest": digest},
            "imageScanStatus": {"status": scan.status, "description": format!("The scan is {}.", scan.status)},
        });
        if let Some(findings) = &scan.findings {
            let (page, next) = findings.page(from, usize::try_from(most).unwrap_or(usize::MAX));
            answer["imageScanFindings"] = page;
            if let Some(next) = next {
                answer["nextToken"] = next.to_string().into();
            }
        }
        Ok(answer)
    }
}
