//! What the pages of a scan's answer say together. Pure.
//!
//! Source: ECR API, `ImageScanFindings`: every field of it is optional, the counts and the findings themselves too. Seen:
//! an enhanced scan says `ACTIVE` with an empty list, no counts and no time before its findings are there (aws/aws-sdk,
//! issue 289).

use std::collections::BTreeMap;

use aws_sdk_ecr::types::ImageScanFindings;

use crate::request::Severity;

type Counts = BTreeMap<Severity, u64>;

/// What was found, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// By ECR's own count, where it tells one.
    told: Option<Counts>,
    /// By the findings that were listed, whatever their status.
    listed: Counts,
    /// Whether it says when the scan was completed.
    completed: bool,
}

impl Findings {
    /// Adds what one page says.
    pub(super) fn add(&mut self, page: &ImageScanFindings) {
        self.completed |= page.image_scan_completed_at().is_some();
        if let Some(counts) = page.finding_severity_counts() {
            let mut told = Counts::new();
            for (severity, count) in counts {
                // Two words may be of one severity.
                *told.entry(Severity::of(severity.as_str())).or_default() += u64::try_from(*count).unwrap_or_default();
            }
            self.told = Some(larger(self.told.take().unwrap_or_default(), &told));
        }
        let basic = page.findings().iter().map(|finding| finding.severity().map(|severity| severity.as_str()));
        let enhanced = page.enhanced_findings().iter().map(|finding| finding.severity());
        for severity in basic.chain(enhanced) {
            *self.listed.entry(severity.map_or(Severity::Undefined, Severity::of)).or_default() += 1;
        }
    }

    /// Whether the scan has come to anything. A status alone doesn't say so.
    pub(super) fn are_there(&self) -> bool {
        self.told.is_some() || self.completed || !self.listed.is_empty()
    }

    /// Whether a further page may change what is made of them: what refuses is not known, or not by its counts.
    pub(super) fn want_more(&self, refused: Severity) -> bool {
        self.told.is_none() || !self.refuse(refused)
    }

    /// Whether any is of `refused` or above.
    pub(super) fn refuse(&self, refused: Severity) -> bool {
        [self.told.as_ref(), Some(&self.listed)]
            .into_iter()
            .flatten()
            .any(|counts| counts.range(refused..).any(|(_, count)| *count > 0))
    }

    /// How many there are of each severity: where ECR's count and its list differ, the larger one.
    pub(super) fn counts(self) -> Counts {
        larger(self.told.unwrap_or_default(), &self.listed)
    }
}

fn larger(mut one: Counts, other: &Counts) -> Counts {
    for (severity, count) in other {
        let most = one.entry(*severity).or_default();
        *most = (*most).max(*count);
    }
    one
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecr::{
        primitives::DateTime,
        types::{EnhancedImageScanFinding, FindingSeverity, ImageScanFinding},
    };

    use super::*;

    fn of(pages: &[ImageScanFindings]) -> Findings {
        pages.iter().fold(Findings::default(), |mut all, page| {
            all.add(page);
            all
        })
    }

    fn counted(counts: &[(&str, i32)]) -> ImageScanFindings {
        let counts = counts.iter().map(|(severity, count)| (FindingSeverity::from(*severity), *count)).collect();
        ImageScanFindings::builder().set_finding_severity_counts(Some(counts)).build()
    }

    fn basic(severity: &str) -> ImageScanFindings {
        let finding = ImageScanFinding::builder().severity(FindingSeverity::from(severity)).build();
        ImageScanFindings::builder().findings(finding).build()
    }

    fn enhanced(severity: Option<&str>) -> ImageScanFindings {
        let finding = EnhancedImageScanFinding::builder().set_severity(severity.map(str::to_owned)).build();
        ImageScanFindings::builder().enhanced_findings(finding).build()
    }

    #[test]
    fn a_status_with_an_empty_list_is_no_result() {
        let bare = ImageScanFindings::builder().set_findings(Some(Vec::new())).build();
        assert!(!of(&[bare]).are_there());
        let bare = ImageScanFindings::builder().set_enhanced_findings(Some(Vec::new())).build();
        assert!(!of(&[bare]).are_there() && !of(&[]).are_there());
        let completed = ImageScanFindings::builder().image_scan_completed_at(DateTime::from_secs(1)).build();
        for page in [counted(&[]), completed, basic("LOW"), enhanced(Some("LOW")), enhanced(None)] {
            assert!(of(std::slice::from_ref(&page)).are_there(), "{page:?}");
        }
    }

    #[test]
    fn findings_are_counted_where_the_counts_are_left_out() {
        let pages = [basic("HIGH"), basic("LOW"), enhanced(Some("CRITICAL")), enhanced(Some("HIGH")), enhanced(None)];
        let found = of(&pages);
        assert!(found.want_more(Severity::Low), "no count tells of all");
        assert!(found.refuse(Severity::Critical));
        let expected =
            [(Severity::Undefined, 1), (Severity::Low, 1), (Severity::High, 2), (Severity::Critical, 1)].into();
        assert_eq!(found.counts(), expected);
    }

    #[test]
    fn of_what_is_told_and_what_is_listed_the_larger_counts() {
        let found = of(&[counted(&[("HIGH", 1), ("LOW", 7), ("UNTRIAGED", 1), ("UNDEFINED", 2)])]);
        assert!(!found.want_more(Severity::High) && found.want_more(Severity::Critical));
        assert_eq!(found.counts(), [(Severity::Undefined, 3), (Severity::Low, 7), (Severity::High, 1)].into());
        let found = of(&[counted(&[("HIGH", 0), ("LOW", 7)]), basic("LOW"), basic("CRITICAL")]);
        assert!(found.refuse(Severity::High) && !found.want_more(Severity::High));
        let expected = [(Severity::Low, 7), (Severity::High, 0), (Severity::Critical, 1)].into();
        assert_eq!(found.counts(), expected);
    }
}
