//! The figures of runs: as a table for people, as JSON for programs.

use serde_json::{Map, Value, json};

use crate::{images::Shape, options::Options, run::Measured};

const MIB: f64 = (1 << 20) as f64;

/// One figure of a run.
struct Figure {
    /// The member in JSON.
    key: &'static str,
    /// The row of the table.
    label: &'static str,
    /// Decimals that mean something.
    decimals: usize,
    value: f64,
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn figures(run: &Measured) -> Vec<Figure> {
    let (mib, images) = (run.bytes as f64 / MIB, run.images as f64);
    let (from, to) = (&run.registries.source, &run.registries.destination);
    let figure = |key, label, decimals, value| Figure { key, label, decimals, value };
    let count = |key, label, value: u64| Figure { key, label, decimals: 0, value: value as f64 };
    vec![
        figure("seconds", "wall time, s", 3, run.seconds),
        figure("images_per_second", "images/s", 1, images / run.seconds),
        figure("mib_per_second", "MiB/s", 1, mib / run.seconds),
        figure("cpu_seconds", "CPU, s", 3, run.cpu_seconds),
        figure("cpu_system_seconds", "  of it system, s", 2, run.system_seconds),
        figure("cpu_ms_per_mib", "  ms for each MiB", 2, run.cpu_seconds * 1e3 / mib),
        figure("cpu_ms_per_image", "  ms for each image", 2, run.cpu_seconds * 1e3 / images),
        figure("registries_cpu_seconds", "CPU of the registries, s", 3, run.registries.cpu_seconds),
        figure("resident_before_mib", "resident before, MiB", 1, run.resident_before as f64 / MIB),
        figure("peak_resident_mib", "peak resident, MiB", 1, run.peak_resident as f64 / MIB),
        figure("peak_buffer_mib", "peak_buffer_bytes, MiB", 2, run.peak_buffer_bytes as f64 / MIB),
        count("retries", "retries", run.retries),
        count("source_requests", "source: requests", from.requests),
        figure("source_requests_per_image", "  for each image", 1, from.requests as f64 / images),
        count("source_connections", "  connections", from.connections),
        count("source_peak_streams", "  peak streams", from.peak_streams),
        count("source_peak_streams_per_connection", "  of one connection", from.peak_streams_per_connection),
        count("destination_requests", "destination: requests", to.requests),
        figure("destination_requests_per_image", "  for each image", 1, to.requests as f64 / images),
        count("destination_connections", "  connections", to.connections),
        count("destination_peak_streams", "  peak streams", to.peak_streams),
        count("destination_peak_streams_per_connection", "  of one connection", to.peak_streams_per_connection),
    ]
}

/// The middle of the values; of an even number, the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// A table of all runs of one kind of image.
pub(crate) fn table(shape: &Shape, runs: &[Measured]) -> String {
    let Shape { name, images, layers, bytes } = shape;
    let runs: Vec<Vec<Figure>> = runs.iter().map(figures).collect();
    let mut heads: Vec<String> = (1..=runs.len()).map(|number| format!("run {number}")).collect();
    if runs.len() > 1 {
        heads.push("median".to_owned());
    }
    let title = format!("{name}: {images} x {layers} layers of {bytes} bytes\n");
    let rows = runs.first().into_iter().flatten().enumerate().map(|(row, first)| {
        let mut values: Vec<f64> = runs.iter().map(|run| run[row].value).collect();
        if values.len() > 1 {
            values.push(median(values.clone()));
        }
        line(first.label, values.iter().map(|value| format!("{value:.*}", first.decimals)))
    });
    [title, line("", heads.into_iter())].into_iter().chain(rows).collect()
}

fn line(label: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!("{cell:>10}")).collect();
    format!("{label:<26}{cells}\n")
}

/// All of it as one JSON object.
pub(crate) fn object(options: &Options, phases: &[(Shape, Vec<Measured>)]) -> Value {
    let mut all = Map::new();
    for (Shape { name, images, layers, bytes }, runs) in phases {
        let runs: Vec<Vec<Figure>> = runs.iter().map(figures).collect();
        let members = |run: &Vec<Figure>| -> Value {
            Value::Object(run.iter().map(|figure| (figure.key.to_owned(), json!(figure.value))).collect())
        };
        let middle = runs.first().into_iter().flatten().enumerate().map(|(row, first)| {
            let values = runs.iter().map(|run| run[row].value).collect();
            (first.key.to_owned(), json!(median(values)))
        });
        let middle: Map<String, Value> = middle.collect();
        let runs: Vec<Value> = runs.iter().map(members).collect();
        let phase = json!({ "images": images, "layers": layers, "bytes": bytes, "runs": runs, "median": middle });
        all.insert((*name).to_owned(), phase);
    }
    json!({ "arguments": options.words, "phases": all })
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
    }
}
