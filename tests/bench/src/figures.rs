//! The figures of a run, and how each is written.

use crate::{rounds::Run, statistics::Summary};

const MIB: f64 = (1 << 20) as f64;

/// One figure.
pub(crate) struct Figure {
    /// The member in JSON.
    pub(crate) key: &'static str,
    /// The column of the table; none: in the record alone.
    pub(crate) column: Option<&'static str>,
    /// How it is written.
    unit: Unit,
    /// Its value; none where a tool has none.
    pub(crate) value: fn(&Run) -> Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Mib,
    Bytes,
    Count,
}

/// All of them, in the order of the columns.
pub(crate) const FIGURES: [Figure; 14] = [
    figure("seconds", Some("wall, s"), Unit::Seconds, |run| Some(run.taken.seconds)),
    figure("cpu_seconds", Some("CPU, s"), Unit::Seconds, |run| Some(run.taken.cpu_seconds)),
    figure("peak_resident_bytes", Some("peak, MiB"), Unit::Mib, |run| Some(count(run.taken.peak_resident))),
    figure("source_requests", Some("requests: source"), Unit::Count, |run| Some(count(run.counted.source.requests))),
    figure("destination_requests", Some("destination"), Unit::Count, |run| {
        Some(count(run.counted.destination.requests))
    }),
    figure("source_sent_bytes", Some("read"), Unit::Bytes, |run| Some(count(run.counted.source.sent))),
    figure("destination_received_bytes", Some("written"), Unit::Bytes, |run| {
        Some(count(run.counted.destination.received))
    }),
    figure("source_received_bytes", None, Unit::Bytes, |run| Some(count(run.counted.source.received))),
    figure("destination_sent_bytes", None, Unit::Bytes, |run| Some(count(run.counted.destination.sent))),
    figure("source_connections", None, Unit::Count, |run| Some(count(run.counted.source.connections))),
    figure("destination_connections", None, Unit::Count, |run| Some(count(run.counted.destination.connections))),
    figure("system_seconds", None, Unit::Seconds, |run| Some(run.taken.system_seconds)),
    figure("event_seconds", None, Unit::Seconds, |run| run.event_seconds),
    figure("attached", None, Unit::Count, |run| run.counted.attached.map(|(there, _)| count(there))),
];

const fn figure(key: &'static str, column: Option<&'static str>, unit: Unit, value: fn(&Run) -> Option<f64>) -> Figure {
    Figure { key, column, unit, value }
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn count(number: u64) -> f64 {
    number as f64
}

impl Figure {
    /// What several runs say of it.
    pub(crate) fn summary(&self, runs: &[Run]) -> Option<Summary> {
        Summary::of(runs.iter().filter_map(self.value))
    }

    /// A value as people read it.
    pub(crate) fn text(&self, value: f64) -> String {
        match self.unit {
            Unit::Seconds if value < 0.1 => format!("{value:.4}"),
            Unit::Seconds if value < 1.0 => format!("{value:.3}"),
            Unit::Seconds => format!("{value:.2}"),
            Unit::Mib => format!("{:.1}", value / MIB),
            Unit::Bytes if value >= MIB => format!("{:.1} MiB", value / MIB),
            Unit::Bytes if value >= 1024.0 => format!("{:.1} KiB", value / 1024.0),
            Unit::Bytes | Unit::Count => format!("{value:.0}"),
        }
    }

    /// The middle, and both ends where they are not it.
    pub(crate) fn cell(&self, summary: &Summary) -> String {
        let [median, min, max] = [summary.median, summary.min, summary.max].map(|value| self.text(value));
        if min == max { median } else { format!("{median} ({min}–{max})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(key: &str, values: &[f64]) -> String {
        let figure = FIGURES.iter().find(|figure| figure.key == key).unwrap();
        figure.cell(&Summary::of(values.iter().copied()).unwrap())
    }

    #[test]
    fn values_are_written_as_their_size_needs() {
        assert_eq!(cell("seconds", &[1.0, 1.236, 2.0]), "1.24 (1.00–2.00)");
        assert_eq!(cell("seconds", &[0.01234]), "0.0123");
        assert_eq!(cell("cpu_seconds", &[0.5]), "0.500");
        assert_eq!(cell("peak_resident_bytes", &[12.5 * MIB]), "12.5");
        assert_eq!(cell("source_sent_bytes", &[300.0 * MIB]), "300.0 MiB");
        assert_eq!(cell("source_sent_bytes", &[2048.0]), "2.0 KiB");
        assert_eq!(cell("source_sent_bytes", &[17.0]), "17");
        assert_eq!(cell("source_requests", &[9.0, 12.0]), "10 (9–12)");
    }
}
