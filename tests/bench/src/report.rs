//! The section of `docs/benchmarks.md`.

use std::fmt::Write as _;

use scenarios::measure::mib;

use crate::{
    figures::{FIGURES, Figure},
    machine::Machine,
    options::Options,
    rounds::{Results, Run, Series},
    tools::{TRANSSHIP, Tool},
};

/// What another tool may take less before it counts: chance decides below that.
const CLEARLY: f64 = 0.95;

/// All there is to tell.
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    pub(crate) machine: Machine,
    pub(crate) tools: &'a [Tool],
    pub(crate) results: &'a [Results],
    /// The least peak of memory that could have been told, in bytes.
    pub(crate) floor: u64,
}

impl Report<'_> {
    /// Ready to be pasted.
    pub(crate) fn markdown(&self) -> String {
        let Machine { date, cores, processor, memory_gib, kernel, load } = &self.machine;
        let mut text = format!(
            "## Against other tools\n\n\
             `make bench{}`: {date}, {cores} cores ({processor}), {memory_gib} GiB, Linux {kernel}, load {load} before it. {} \
             runs\nof each tool in each case, in turns; median (least–most), the best in bold.\n\n",
            self.shown_words(),
            self.options.runs,
        );
        text += &self.tool_table();
        text += WHAT_IT_IS;
        let _ = writeln!(
            text,
            "\nNo peak under {:.1} MiB can be told: that is what the one who waits has itself.",
            mib(self.floor)
        );
        for results in self.results {
            let title = results.case.title(self.options.sizes, self.options.rtt_ms);
            let _ = write!(text, "\n**{title}** (`{}`)\n\n{}", results.case.name(), table(results));
        }
        let behind = self.behind();
        if behind.is_empty() {
            text += "\nIn no column does another tool take clearly less (5 %) than Transship.\n";
        } else {
            text += "\nAnother tool takes clearly less (5 %) than Transship here:\n\n";
            behind.iter().for_each(|what| text += &format!("- {what}\n"));
        }
        text
    }

    /// Case, column and the tool that is best there, wherever that is not Transship, and clearly so.
    pub(crate) fn behind(&self) -> Vec<String> {
        let mut found = Vec::new();
        for results in self.results {
            for figure in columns() {
                let medians = medians(results, figure);
                let own = medians.iter().find(|(tool, _)| *tool == TRANSSHIP);
                let best = medians.iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
                let (Some((_, own)), Some((tool, least))) = (own, best) else { continue };
                if *least < own * CLEARLY {
                    let column = figure.key.replace('_', " ");
                    let (least, own) = (figure.text(*least), figure.text(*own));
                    found.push(format!("`{}`, {column}: {tool} {least}, Transship {own}", results.case.name()));
                }
            }
        }
        found
    }

    /// The words of the command line as `make` takes them, but for places, which are this machine's own.
    fn shown_words(&self) -> String {
        let places = ["--functions", "--tools", "--out"];
        let mut words = self.options.words.iter();
        let mut shown = Vec::new();
        while let Some(word) = words.next() {
            if places.contains(&word.as_str()) {
                words.next();
            } else if !places.iter().any(|place| word.starts_with(&format!("{place}="))) {
                shown.push(word.as_str());
            }
        }
        if shown.is_empty() { String::new() } else { format!(" ARGS=\"{}\"", shown.join(" ")) }
    }

    fn tool_table(&self) -> String {
        let mut text = "| tool | version | how it copies |\n|---|---|---|\n".to_owned();
        for tool in self.tools {
            let version = match &tool.place {
                Ok(place) => place.version.clone(),
                Err(how) => format!("not here: {how}"),
            };
            let how = if tool.name == TRANSSHIP {
                format!("`on-push`, release build, {} MB, handed the event of a push", self.options.memory_mb)
            } else {
                let words = tool.words(crate::cases::Case::Platforms, "SOURCE", "DESTINATION");
                format!("`{} {}`", tool.name, words.join(" "))
            };
            let _ = writeln!(text, "| {} | {version} | {how} |", tool.name);
        }
        text
    }
}

/// What the figures are, and what they are not.
const WHAT_IT_IS: &str = "
Both registries are the emulator's, over TLS, HTTP/2 and HTTP/1.1, open to everybody; they run in a process of their own on
the same machine, make layers up, hash what comes and forget it. Every run begins with an empty destination, or with what
the case says, and counts only if the image is whole there under the source's digest. Flags for what is attached are given
in the case that has something attached; Transship looks for it in every case. Transship copies on one thread, as Lambda
gives a function of 128 MB a part of one processor; the others take all there are.

- *wall*: from before the start of the process until it has ended; Transship's until it has answered. Its second row is
  what an environment that is there already takes: from the hand-over of the event to the answer.
- *CPU*: user and system time of the process. *peak*: its resident memory, both as the kernel tells whoever waits.
- *requests*, *read*, *written*: what the registries counted, bodies alone, without TLS and headers: read is what the source
  sent, written what the destination received.
- *attached*: of three artifacts that refer to the image, to a child and to one another, and a signature by tag, how many
  arrived. Whoever copied less is never the best.
";

fn columns() -> impl Iterator<Item = &'static Figure> {
    FIGURES.iter().filter(|figure| figure.column.is_some())
}

fn table(results: &Results) -> String {
    let attached = results.case.is_attached();
    let mut heads: Vec<&str> = columns().filter_map(|figure| figure.column).collect();
    if attached {
        heads.push("attached");
    }
    let mut text = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for Series { tool, runs } in &results.series {
        let runs = match runs {
            Ok(runs) => runs,
            Err(reason) => {
                let rest = " |".repeat(heads.len() - 1);
                let _ = writeln!(text, "| {tool} | {reason} |{rest}");
                continue;
            }
        };
        let mut cells: Vec<String> = columns().map(|figure| cell(results, figure, tool, runs)).collect();
        if attached {
            let least = runs.iter().filter_map(|run| run.counted.attached).min();
            cells.push(least.map_or_else(String::new, |(there, of)| format!("{there} of {of}")));
        }
        let _ = writeln!(text, "| {tool} | {} |", cells.join(" | "));
        let event = FIGURES.iter().find(|figure| figure.key == "event_seconds");
        if let Some((figure, summary)) = event.and_then(|figure| Some((figure, figure.summary(runs)?))) {
            let rest = " |".repeat(heads.len() - 1);
            let _ = writeln!(text, "| … from the event | {} |{rest}", figure.cell(&summary));
        }
    }
    text
}

/// A figure of a tool; bold where none is better and some are worse.
fn cell(results: &Results, figure: &Figure, tool: &str, runs: &[Run]) -> String {
    let Some(summary) = figure.summary(runs) else { return String::new() };
    let text = figure.cell(&summary);
    let written: Vec<(&str, f64, String)> =
        medians(results, figure).into_iter().map(|(tool, value)| (tool, value, figure.text(value))).collect();
    let least = written.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(.., text)| text);
    let own = written.iter().find(|(name, ..)| *name == tool).map(|(.., text)| text);
    let differ = written.iter().any(|(.., text)| Some(text) != least);
    if own.is_some() && own == least && differ { format!("**{text}**") } else { text }
}

/// The medians of those tools that copied all there was to copy.
fn medians<'a>(results: &'a Results, figure: &Figure) -> Vec<(&'a str, f64)> {
    let whole = |run: &Run| run.counted.attached.is_none_or(|(there, of)| there == of);
    let of = |series: &'a Series| {
        let runs = series.runs.as_ref().ok().filter(|runs| runs.iter().all(whole))?;
        Some((series.tool, figure.summary(runs)?.median))
    };
    results.series.iter().filter_map(of).collect()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
