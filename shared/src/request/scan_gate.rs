//! The gate of a rule that waits for ECR's scan of an image, and what it makes of one. Pure.

use std::{collections::BTreeMap, fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hold an image until ECR has scanned it, and refuse it for what the scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanGate {
    /// A finding of this severity or above refuses the image.
    pub severity: Severity,
    /// How long an image is held whose scan has not finished, in minutes, 1 to 1440; then it is refused. Counted from its
    /// push, or from the event or message that asks for it, whichever came last.
    #[serde(default = "default_wait")]
    pub wait_minutes: u32,
}

/// Chosen: basic scans take minutes, enhanced ones of large images up to an hour.
fn default_wait() -> u32 {
    60
}

/// How bad a finding is, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// None was given; of enhanced scanning also `UNTRIAGED`. As a setting: any finding refuses.
    Undefined,
    /// No risk by itself.
    Informational,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

/// What ECR says of the scan of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// It is finished, with so many findings of each severity.
    Finished(BTreeMap<Severity, u64>),
    /// It may finish yet; the status, in ECR's words.
    Running(String),
    /// There is none: it has not begun, or never will.
    Missing,
    /// It has not been made and will not be; why, and what to do.
    Impossible(String),
}

/// What the gate makes of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The image may go.
    Pass,
    /// It waits; why.
    Hold(String),
    /// It may not go; why, and what to do.
    Refuse(String),
}

impl Severity {
    /// Reads ECR's word for it. One that nobody here knows counts as the worst.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text {
            "UNDEFINED" | "UNTRIAGED" => Self::Undefined,
            "INFORMATIONAL" => Self::Informational,
            "LOW" => Self::Low,
            "MEDIUM" => Self::Medium,
            "HIGH" => Self::High,
            _ => Self::Critical,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undefined => "UNDEFINED",
            Self::Informational => "INFORMATIONAL",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        })
    }
}

impl fmt::Display for ScanGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "below {} within {} minutes", self.severity, self.wait_minutes)
    }
}

impl ScanGate {
    /// Whether its settings make sense; else why not.
    #[must_use]
    pub fn mistake(&self) -> Option<String> {
        let sensible = (1..=1440).contains(&self.wait_minutes);
        (!sensible).then(|| format!("wait_minutes: {} is out of range; expected 1 to 1440", self.wait_minutes))
    }

    /// Of two gates one that holds whatever either of them does.
    #[must_use]
    pub fn stricter(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(Self {
                severity: one.severity.min(other.severity),
                wait_minutes: one.wait_minutes.min(other.wait_minutes),
            }),
            (one, other) => one.or(other),
        }
    }

    /// How long an image is held.
    #[must_use]
    pub fn wait(&self) -> Duration {
        Duration::from_secs(u64::from(self.wait_minutes) * 60)
    }

    /// Whether an image may wait on that has waited so long; `None`: nobody knows.
    #[must_use]
    pub fn holds(&self, waited: Option<Duration>) -> bool {
        waited.is_none_or(|waited| waited < self.wait())
    }

    /// What a scan means for an image that has waited so long for it; `None`: nobody knows.
    #[must_use]
    pub fn judge(&self, scan: &Scan, waited: Option<Duration>) -> Judgement {
        let waits = self.holds(waited);
        let minutes = self.wait_minutes;
        match scan {
            Scan::Finished(counts)
                if counts.iter().any(|(severity, count)| *severity >= self.severity && *count > 0) =>
            {
                let counts: Vec<String> =
                    counts.iter().rev().map(|(severity, count)| format!("{count} {severity}")).collect();
                Judgement::Refuse(format!(
                    "its scan found {}, and scan_gate refuses {} and above; push an image without these",
                    counts.join(", "),
                    self.severity
                ))
            }
            Scan::Finished(_) => Judgement::Pass,
            Scan::Running(status) if waits => Judgement::Hold(format!("its scan has not finished ({status})")),
            Scan::Running(status) => Judgement::Refuse(format!(
                "its scan has not finished within {minutes} minutes of its push, nor of being asked for ({status}); see why, \
                 or raise scan_gate.wait_minutes, and replicate it again"
            )),
            Scan::Missing if waits => {
                Judgement::Hold("it has no scan: scanning is off for its repository, or has not begun".to_owned())
            }
            Scan::Missing => Judgement::Refuse(format!(
                "it has no scan {minutes} minutes after its push, and after being asked for: switch scanning on for its repository (scan on push), \
                 start one (aws ecr start-image-scan), and replicate it again, or leave scan_gate out of the rule"
            )),
            Scan::Impossible(reason) => Judgement::Refuse(reason.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(severity: Severity) -> ScanGate {
        ScanGate { severity, wait_minutes: 60 }
    }

    fn found(counts: &[(Severity, u64)]) -> Scan {
        Scan::Finished(counts.iter().copied().collect())
    }

    const SOON: Option<Duration> = Some(Duration::from_secs(30));
    const LATE: Option<Duration> = Some(Duration::from_secs(3600));

    #[test]
    fn a_finding_of_the_severity_or_above_refuses_and_the_counts_are_said() {
        let scan = found(&[(Severity::Medium, 3), (Severity::High, 2), (Severity::Critical, 1)]);
        match gate(Severity::High).judge(&scan, SOON) {
            Judgement::Refuse(reason) => {
                assert!(
                    reason.contains("1 CRITICAL, 2 HIGH, 3 MEDIUM") && reason.contains("HIGH and above"),
                    "{reason}"
                );
            }
            other => panic!("{other:?}"),
        }
        let medium = found(&[(Severity::Medium, 3), (Severity::High, 0)]);
        assert_eq!(gate(Severity::High).judge(&medium, LATE), Judgement::Pass);
        assert!(matches!(gate(Severity::Medium).judge(&medium, SOON), Judgement::Refuse(_)));
        assert_eq!(gate(Severity::Undefined).judge(&found(&[]), SOON), Judgement::Pass);
        let unknown = found(&[(Severity::of("UNTRIAGED"), 1)]);
        assert_eq!(gate(Severity::Informational).judge(&unknown, SOON), Judgement::Pass);
        assert!(matches!(gate(Severity::Undefined).judge(&unknown, SOON), Judgement::Refuse(_)));
        assert_eq!(Severity::of("CATASTROPHIC"), Severity::Critical);
    }

    #[test]
    fn what_is_not_finished_is_held_for_so_long_and_then_refused() {
        for scan in [Scan::Running("PENDING".to_owned()), Scan::Missing] {
            assert!(matches!(gate(Severity::High).judge(&scan, SOON), Judgement::Hold(_)));
            assert!(matches!(gate(Severity::High).judge(&scan, None), Judgement::Hold(_)));
            assert!(matches!(gate(Severity::High).judge(&scan, LATE), Judgement::Refuse(_)));
        }
        let never = Scan::Impossible("no".to_owned());
        assert_eq!(gate(Severity::High).judge(&never, SOON), Judgement::Refuse("no".to_owned()));
    }

    #[test]
    fn of_two_gates_the_stricter_one_holds() {
        let (one, other) = (
            ScanGate { severity: Severity::High, wait_minutes: 30 },
            ScanGate { severity: Severity::Low, wait_minutes: 60 },
        );
        let both = ScanGate { severity: Severity::Low, wait_minutes: 30 };
        assert_eq!(ScanGate::stricter(Some(one), Some(other)), Some(both));
        assert_eq!(ScanGate::stricter(None, Some(one)), Some(one));
        assert_eq!(ScanGate::stricter(None, None), None);
    }
}
