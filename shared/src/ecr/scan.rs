//! What ECR's scan of an image found: basic and enhanced scanning answer alike.
//!
//! Source: ECR API, `DescribeImageScanFindings`, `ImageScanStatus`; ECR user guide, "Scan images for software vulnerabilities".

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_ecr::{
    error::ProvideErrorMetadata,
    types::{ImageIdentifier, ImageScanStatus, ScanStatus},
};

use super::EcrApi;
use crate::{
    aws::{CountCalls, failure},
    error::Error,
    oci::Digest,
    request::{Scan, Severity},
    transport::Meter,
};

/// The scans of one registry's images.
#[derive(Debug)]
pub struct EcrScans {
    api: Arc<EcrApi>,
}

impl EcrScans {
    /// The scans of the registry of `api`.
    #[must_use]
    pub fn new(api: Arc<EcrApi>) -> Self {
        Self { api }
    }

    /// What is known of the scan of an image.
    ///
    /// # Errors
    /// What the API says; that there is no scan is none.
    pub async fn of(&self, repository: &str, digest: &Digest, meter: &Meter) -> Result<Scan, Error> {
        let call = self.api.client().await.describe_image_scan_findings().registry_id(self.api.account());
        let call = call
            .repository_name(repository)
            .image_id(ImageIdentifier::builder().image_digest(digest.as_str()).build())
            // The counts are in every page, and nothing else is wanted.
            .max_results(1);
        let answer = match call.customize().interceptor(CountCalls::on(meter)).send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("ScanNotFoundException") => return Ok(Scan::Missing),
            Err(error) => return Err(failure(&self.doing(repository, digest, "DescribeImageScanFindings"), &error)),
        };
        let counts = answer.image_scan_findings().map(|findings| {
            let counts = findings.finding_severity_counts().into_iter().flatten();
            let counts = counts
                .map(|(severity, count)| (Severity::of(severity.as_str()), u64::try_from(*count).unwrap_or_default()));
            // Two words may be of one severity.
            counts.fold(std::collections::BTreeMap::new(), |mut all, (severity, count)| {
                *all.entry(severity).or_default() += count;
                all
            })
        });
        Ok(match (status(answer.image_scan_status()), counts) {
            (Status::Finished, counts) => Scan::Finished(counts.unwrap_or_default()),
            (Status::Watched, Some(counts)) => Scan::Finished(counts),
            (Status::Watched, None) => Scan::Running("ACTIVE, without findings so far".to_owned()),
            (Status::Running(text), _) => Scan::Running(text),
            (Status::Impossible(reason), _) => Scan::Impossible(reason),
        })
    }

    /// How long ago an image was pushed, where that is known.
    ///
    /// # Errors
    /// What the API says.
    pub async fn age(&self, repository: &str, digest: &Digest, meter: &Meter) -> Result<Option<Duration>, Error> {
        let call = self.api.client().await.describe_images().registry_id(self.api.account());
        let call = call
            .repository_name(repository)
            .image_ids(ImageIdentifier::builder().image_digest(digest.as_str()).build());
        let answer = call.customize().interceptor(CountCalls::on(meter)).send().await;
        let answer = answer.map_err(|error| failure(&self.doing(repository, digest, "DescribeImages"), &error))?;
        let pushed = answer.image_details().first().and_then(|image| image.image_pushed_at()?.to_millis().ok());
        let pushed = pushed.and_then(|millis| u64::try_from(millis).ok());
        let pushed = pushed.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        Ok(pushed.map(|at| SystemTime::now().duration_since(at).unwrap_or_default()))
    }

    fn doing(&self, repository: &str, digest: &Digest, right: &str) -> String {
        format!("asking for the scan of {digest} in ECR repository {repository} (ecr:{right}, {})", self.api.place())
    }
}

/// A scan's status, as far as the gate is concerned.
enum Status {
    /// Basic scanning is done with it.
    Finished,
    /// Enhanced scanning keeps looking; the first look may not be over.
    Watched,
    Running(String),
    Impossible(String),
}

fn status(said: Option<&ImageScanStatus>) -> Status {
    let Some(status) = said.and_then(|said| said.status()) else { return Status::Running("no status".to_owned()) };
    let description = said.and_then(|said| said.description()).map(|text| format!(": {text}")).unwrap_or_default();
    let text = format!("{}{description}", status.as_str());
    let impossible = |advice: &str| Status::Impossible(format!("it can't be scanned ({text}); {advice}"));
    match status {
        ScanStatus::Complete => Status::Finished,
        ScanStatus::Active => Status::Watched,
        ScanStatus::Failed => impossible("start another scan (aws ecr start-image-scan) and replicate it again"),
        ScanStatus::UnsupportedImage => impossible(
            "ECR can't look into images of this kind: keep them out of the rule by its tags, or leave scan_gate out",
        ),
        ScanStatus::ScanEligibilityExpired => {
            impossible("enhanced scanning looks at images of a certain age alone: raise that, or push it again")
        }
        ScanStatus::ImageArchived => impossible("it is archived: restore it, and replicate it again"),
        // PENDING, IN_PROGRESS, FINDINGS_UNAVAILABLE, LIMIT_EXCEEDED, and what is not known here.
        _ => Status::Running(text),
    }
}
