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
    counts: Option<Vec<(String, u64)>>,
}

impl Scans {
    pub(super) fn set(&self, repository: &str, digest: &str, status: &str, counts: Option<&[(&str, u64)]>) {
        let counts = counts.map(|counts| counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect());
        let scan = Scan { status: status.to_owned(), counts };
        lock(&self.0).insert((repository.to_owned(), digest.to_owned()), scan);
    }

    /// Source: ECR API, `DescribeImageScanFindings`; its `maxResults` is 1 to 1000.
    pub(super) fn describe(&self, registry: &Registry, body: &Value) -> Result<Value, ApiError> {
        let id = body.get("imageId").ok_or_else(|| invalid("imageId", "Member must not be null"))?;
        if body.get("maxResults").and_then(Value::as_u64).is_some_and(|most| !(1..=1000).contains(&most)) {
            return Err(invalid("maxResults", "Member must be between 1 and 1000"));
        }
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
        if let Some(counts) = scan.counts {
            let findings: Vec<Value> =
                counts.iter().map(|(name, _)| json!({"name": "CVE-2026-0001", "severity": name})).collect();
            let counts: serde_json::Map<String, Value> =
                counts.into_iter().map(|(name, count)| (name, count.into())).collect();
            answer["imageScanFindings"] = json!({
                "imageScanCompletedAt": 1_795_339_815.0,
                "vulnerabilitySourceUpdatedAt": 1_795_330_000.0,
                "findingSeverityCounts": counts,
                "findings": findings,
            });
        }
        Ok(answer)
    }
}
