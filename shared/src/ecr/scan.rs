//! What ECR's scan of an image found: basic and enhanced scanning answer alike.
//!
//! Source: ECR API, `DescribeImageScanFindings`, `ImageScanStatus`; ECR user guide, "Scan images for software vulnerabilities".

mod findings;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_ecr::{
    error::ProvideErrorMetadata,
    operation::describe_image_scan_findings::DescribeImageScanFindingsOutput,
    types::{ImageIdentifier, ImageScanStatus, ScanStatus},
};
use findings::Findings;

use super::EcrApi;
use crate::{
    aws::{CountCalls, failure},
    error::Error,
    oci::Digest,
    request::{Scan, Severity},
    transport::Meter,
};

/// Findings in one answer. The API gives up to 1000, and one of Inspector's is some KiB long: so an answer is about a MiB.
const PAGE: i32 = 250;

/// Answers that are read of one image's scan. Chosen: findings by the ten thousand are no image's.
const MOST_PAGES: i32 = 100;

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

    /// What is known of the scan of an image, whose gate refuses findings of `refused` and above: what decides that is read,
    /// in one call where it tells counts and all of its findings.
    ///
    /// # Errors
    /// What the API says; that there is no scan is none.
    pub async fn of(&self, repository: &str, digest: &Digest, refused: Severity, meter: &Meter) -> Result<Scan, Error> {
        let (mut findings, mut first, mut next) = (Findings::default(), None, None);
        for _ in 0..MOST_PAGES {
            let Some(page) = self.page(repository, digest, next, meter).await? else { return Ok(Scan::Missing) };
            page.image_scan_findings().into_iter().for_each(|page| findings.add(page));
            next = page.next_token().map(str::to_owned);
            let status = first.get_or_insert_with(|| status(page.image_scan_status()));
            let is_done = matches!(status, Status::Done(_));
            if !is_done || next.is_none() || !findings.want_more(refused) {
                next = None;
                break;
            }
        }
        let too_many = next.is_some() && !findings.refuse(refused);
        Ok(match first {
            Some(Status::Done(_)) if too_many => Scan::Impossible(format!(
                "its scan lists over {} findings, more than are looked at, and none so far is {refused} or above; scan a \
                 smaller image, or leave scan_gate out of the rule",
                MOST_PAGES * PAGE
            )),
            Some(Status::Done(_)) if findings.are_there() => Scan::Finished(findings.counts()),
            Some(Status::Done(status)) => Scan::Running(format!("{status}, without findings so far")),
            Some(Status::Running(text)) => Scan::Running(text),
            Some(Status::Impossible(reason)) => Scan::Impossible(reason),
            None => Scan::Missing,
        })
    }

    /// One page of what is known of a scan; `None`: there is no scan.
    async fn page(
        &self,
        repository: &str,
        digest: &Digest,
        token: Option<String>,
        meter: &Meter,
    ) -> Result<Option<DescribeImageScanFindingsOutput>, Error> {
        let call = self.api.client().await.describe_image_scan_findings().registry_id(self.api.account());
        let call = call
            .repository_name(repository)
            .image_id(ImageIdentifier::builder().image_digest(digest.as_str()).build())
            .set_next_token(token)
            .max_results(PAGE);
        match call.customize().interceptor(CountCalls::on(meter)).send().await {
            Ok(page) => Ok(Some(page)),
            Err(error) if error.code() == Some("ScanNotFoundException") => Ok(None),
            Err(error) => Err(failure(&self.doing(repository, digest, "DescribeImageScanFindings"), &error)),
        }
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
    /// Basic scanning is done with it, or enhanced scanning keeps looking; either may say so before its findings are there.
    Done(&'static str),
    Running(String),
    Impossible(String),
}

fn status(said: Option<&ImageScanStatus>) -> Status {
    let Some(status) = said.and_then(|said| said.status()) else { return Status::Running("no status".to_owned()) };
    let description = said.and_then(|said| said.description()).map(|text| format!(": {text}")).unwrap_or_default();
    let text = format!("{}{description}", status.as_str());
    let impossible = |advice: &str| Status::Impossible(format!("it can't be scanned ({text}); {advice}"));
    match status {
        ScanStatus::Complete => Status::Done("COMPLETE"),
        ScanStatus::Active => Status::Done("ACTIVE"),
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
