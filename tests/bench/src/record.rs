//! All figures of all runs as one JSON object.

use serde_json::{Map, Value, json};

use crate::{
    figures::FIGURES,
    report::Report,
    rounds::{Results, Run, Series},
};

/// The whole report.
pub(crate) fn object(report: &Report<'_>) -> Value {
    let tools = report.tools.iter().map(|tool| match &tool.place {
        Ok(place) => json!({ "name": tool.name, "version": place.version }),
        Err(how) => json!({ "name": tool.name, "not_here": how }),
    });
    let cases = report.results.iter().map(|results| (results.case.name().to_owned(), case(results)));
    json!({
        "arguments": report.options.words,
        "machine": report.machine,
        "tools": tools.collect::<Vec<Value>>(),
        "least_peak_resident_bytes": report.floor,
        "cases": cases.collect::<Map<String, Value>>(),
        "behind": report.behind(),
    })
}

fn case(results: &Results) -> Value {
    results
        .series
        .iter()
        .map(|Series { tool, runs }| ((*tool).to_owned(), runs.as_deref().map_or_else(failed, series)))
        .collect()
}

fn failed(reason: &String) -> Value {
    json!({ "error": reason })
}

fn series(runs: &[Run]) -> Value {
    let summaries = FIGURES.iter().filter_map(|figure| Some((figure.key, figure.summary(runs)?)));
    let summaries: Map<String, Value> = summaries
        .map(|(key, of)| (key.to_owned(), json!({ "median": of.median, "min": of.min, "max": of.max })))
        .collect();
    let runs = runs.iter().map(|run| {
        let members = FIGURES.iter().filter_map(|figure| Some((figure.key.to_owned(), json!((figure.value)(run)?))));
        let mut run_object: Map<String, Value> = members.collect();
        run_object.insert("source_kinds".into(), json!(run.counted.source.kinds));
        run_object.insert("destination_kinds".into(), json!(run.counted.destination.kinds));
        Value::Object(run_object)
    });
    json!({ "runs": runs.collect::<Vec<Value>>(), "figures": summaries })
}
