//! What operators see of a tag that followed one that was deleted.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{NAMESPACE, Work, millis, rfc3339};
use crate::{
    request::RemovalRequest,
    sync::{RemovalOutcome, RemovalReport},
};

/// Writes a removal's result and its metrics, in one line, whatever the log level is.
pub fn removal(function: &str, work: &Work, request: &RemovalRequest, report: &RemovalReport) {
    let metrics = [
        ("Untagged", "Count", u64::from(report.outcome == RemovalOutcome::Untagged)),
        ("Deleted", "Count", u64::from(report.outcome == RemovalOutcome::Deleted)),
        ("Failed", "Count", u64::from(report.outcome == RemovalOutcome::Failed)),
        ("Retries", "Count", u64::from(report.retries)),
        ("Throttled", "Count", u64::from(report.throttled)),
        ("Duration", "Milliseconds", report.duration_ms),
    ];
    let definitions: Vec<Value> = metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    let now = SystemTime::now();
    let mut line = json!({
        "_aws": {
            "Timestamp": millis(now),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["Function", "Destination"]],
                "Metrics": definitions,
            }],
        },
        "timestamp": rfc3339(now),
        "level": if report.error.is_some() { "ERROR" } else { "INFO" },
        "message": "result",
        "Function": function,
        "Destination": request.destination.registry(),
        "result": report,
    });
    for (name, _, value) in metrics {
        line[name] = json!(value);
    }
    work.write(line);
}
