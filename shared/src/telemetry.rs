//! What operators see: log lines in Lambda's JSON shape, one result line for each sync, metrics in it.

mod filter;
mod json;
mod removal;

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

pub use removal::removal;
use serde::Serialize;
use serde_json::{Value, json};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    request::SyncRequest,
    settings::Environment,
    sync::{Outcome, SyncReport},
    trace::TraceHeader,
};

/// The namespace of the metrics.
const NAMESPACE: &str = "Transship";

/// Metrics by function alone too, whatever the destination: an alarm can't search, and must name what it watches. Few, as
/// CloudWatch counts each set of dimensions as a metric of its own.
const ALARMING: [&str; 3] = ["Failed", "ReplicationLag", "Throttled"];

/// Sends log lines to standard output as Lambda's logging controls ask for.
///
/// Below `WARN` only our own code is heard: HTTP and SDK crates log whole requests at their finer levels, credentials
/// included.
pub fn init(environment: &Environment) {
    let registry = tracing_subscriber::registry().with(filter::Levels::of(&environment.log_level));
    // An error means that somebody has set one up already; there is nothing better to do than to use it.
    let _ = if environment.json_logs {
        registry.with(json::JsonLines).try_init()
    } else {
        let fmt = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
        registry.with(fmt.with_writer(std::io::stdout)).try_init()
    };
}

/// The work that a line tells of.
#[derive(Debug, Clone)]
pub struct Work {
    /// Lambda's id for the invocation.
    pub request_id: String,
    /// The trace that it belongs to: the message's, where it came with one, else the invocation's.
    pub trace: Option<TraceHeader>,
}

impl Work {
    /// Writes a line that tells of it, whatever the log level is.
    fn write(&self, mut line: Value) {
        line["requestId"] = json!(self.request_id);
        if let Some(trace) = &self.trace {
            line["xrayTraceId"] = json!(trace.id());
        }
        let mut out = std::io::stdout().lock();
        // Nobody is left to tell if standard output is gone.
        let _ = writeln!(out, "{line}");
    }
}

/// Writes a sync's result and its metrics, in one line.
///
/// The line is CloudWatch embedded metric format, with the result beside the metrics; it is written whatever the log
/// level is, since metrics are made from it.
pub fn report(function: &str, work: &Work, request: &SyncRequest, report: &SyncReport) {
    work.write(result_line(function, request, report, SystemTime::now()));
}

/// Writes what came of something that is no sync, in one line of its own, whatever the log level is: operators count
/// with it.
pub fn summary(work: &Work, what: &str, failed: bool, said: impl Serialize) {
    work.write(json!({
        "timestamp": rfc3339(SystemTime::now()),
        "level": if failed { "ERROR" } else { "INFO" },
        "message": what,
        what: said,
    }));
}

/// Source: CloudWatch, "Embedded metric format specification".
fn result_line(function: &str, request: &SyncRequest, report: &SyncReport, now: SystemTime) -> Value {
    let one_if = |is: bool| u64::from(is);
    let synced = matches!(report.outcome, Outcome::Synced | Outcome::Superseded);
    let mut metrics = vec![
        ("Synced", "Count", one_if(synced)),
        ("Current", "Count", one_if(report.outcome == Outcome::Current)),
        ("Failed", "Count", one_if(report.outcome == Outcome::Failed)),
        ("BytesTransferred", "Bytes", report.bytes.written),
        ("BytesAvoided", "Bytes", report.bytes.avoided),
        ("BlobsTransferred", "Count", report.blobs.transferred),
        ("BlobsMounted", "Count", report.blobs.mounted),
        ("Retries", "Count", u64::from(report.retries)),
        ("Throttled", "Count", u64::from(report.throttled)),
        ("Duration", "Milliseconds", report.duration_ms),
        ("PeakBufferBytes", "Bytes", report.peak_buffer_bytes),
    ];
    // From the push to the tag's being visible at the destination: only a sync that put it there has that.
    if synced && let Some(lag) = request.pushed_at.and_then(|pushed| now.duration_since(pushed).ok()) {
        metrics.push(("ReplicationLag", "Milliseconds", u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)));
    }
    let mut line = json!({
        "_aws": { "Timestamp": millis(now), "CloudWatchMetrics": directives(&metrics) },
        "timestamp": rfc3339(now),
        "level": if report.outcome == Outcome::Failed { "ERROR" } else { "INFO" },
        "message": "result",
        "Function": function,
        "Destination": request.destination.registry(),
        "result": report,
    });
    for (name, _, value) in metrics {
        line[name] = json!(value);
    }
    line
}

/// What CloudWatch is to make of a result's numbers: each by function and destination, those of alarms by function too.
fn directives(metrics: &[(&str, &str, u64)]) -> [Value; 2] {
    let of = |dimensions: &[&str], taken: &dyn Fn(&str) -> bool| {
        let taken = metrics.iter().filter(|(name, ..)| taken(name));
        let definitions: Vec<Value> = taken.map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
        json!({ "Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": definitions })
    };
    [of(&["Function", "Destination"], &|_| true), of(&["Function"], &|name| ALARMING.contains(&name))]
}

/// What became of the messages of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Those that came.
    pub messages: usize,
    /// Done, or handed on as messages of their own.
    pub done: usize,
    /// Events that ask for nothing.
    pub ignored: usize,
    /// Failed, and returned to the queue.
    pub failed: usize,
    /// Not begun, or not finished, for want of time or to keep a FIFO group's order; returned to the queue.
    pub unfinished: usize,
    /// Put into the dead-letter queue.
    pub buried: usize,
}

/// Writes what became of a batch, and its metrics, in one line; whatever the log level is.
pub fn batch(function: &str, work: &Work, counts: &BatchCounts) {
    work.write(batch_line(function, counts, SystemTime::now()));
}

fn batch_line(function: &str, counts: &BatchCounts, now: SystemTime) -> Value {
    let metrics = [
        ("Messages", counts.messages),
        ("MessagesDone", counts.done),
        ("MessagesIgnored", counts.ignored),
        ("MessagesFailed", counts.failed),
        ("MessagesUnfinished", counts.unfinished),
        ("MessagesBuried", counts.buried),
    ];
    let definitions = metrics.map(|(name, _)| json!({"Name": name, "Unit": "Count"}));
    let mut line = json!({
        "_aws": {
            "Timestamp": millis(now),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["Function"]],
                "Metrics": definitions,
            }],
        },
        "timestamp": rfc3339(now),
        "level": "INFO",
        "message": "batch",
        "Function": function,
    });
    for (name, value) in metrics {
        line[name] = json!(value);
    }
    line
}

/// Milliseconds since 1970, as CloudWatch takes time.
fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// `time` as Lambda's own log lines write it.
fn rfc3339(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarms_metrics_go_by_function_alone_too() {
        let metrics = [("Synced", "Count", 1), ("Failed", "Count", 0), ("ReplicationLag", "Milliseconds", 7)];
        let [all, alarming] = directives(&metrics);
        assert_eq!(all["Dimensions"], json!([["Function", "Destination"]]));
        assert_eq!(all["Metrics"].as_array().map(Vec::len), Some(3));
        let expected = json!({
            "Namespace": "Transship",
            "Dimensions": [["Function"]],
            "Metrics": [{"Name": "Failed", "Unit": "Count"}, {"Name": "ReplicationLag", "Unit": "Milliseconds"}],
        });
        assert_eq!(alarming, expected);
    }
}
