//! All runs: each case by each tool, in turns, so that what else the machine does falls on all of them alike.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use emulator::Apart;
use scenarios::skopeo::forget_blobs;

use crate::{
    cases::{Case, MIRROR},
    error::Error,
    options::Options,
    process::{Running, Taken},
    tools::{Place, TRANSSHIP, Tool},
    transship::{self, Work},
    wire::{Counted, Description, Ends, Prepared, Question},
};

/// For one run: what Lambda gives an invocation at most.
const LIMIT: Duration = Duration::from_secs(900);

/// One copy by one tool.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// What the process took.
    pub(crate) taken: Taken,
    /// Of that, from the hand-over of the event to the answer, in seconds; Transship alone.
    pub(crate) event_seconds: Option<f64>,
    /// What the registries saw.
    pub(crate) counted: Counted,
}

/// One case by one tool.
#[derive(Debug)]
pub(crate) struct Series {
    /// The tool.
    pub(crate) tool: &'static str,
    /// Its runs, or why there are none.
    pub(crate) runs: Result<Vec<Run>, String>,
}

/// One case by all tools, Transship first.
#[derive(Debug)]
pub(crate) struct Results {
    /// The case.
    pub(crate) case: Case,
    /// What each tool took.
    pub(crate) series: Vec<Series>,
}

/// Runs all there is to run.
pub(crate) async fn run(
    options: &Options,
    tools: &[Tool],
    registries: &mut Apart,
    description: &Description,
) -> Result<Vec<Results>, Error> {
    let folder = tempfile::tempdir().map_err(Error::doing("making a temporary folder"))?;
    fs::write(folder.path().join("ca.pem"), &description.ca)
        .map_err(Error::doing("writing the authority's certificate"))?;
    let mut ground = Ground { options, registries, description, folder: folder.path() };
    // Once each, uncounted: the first to run would pay for reading its program from the disk.
    for tool in tools {
        if let Ok(place) = &tool.place {
            let _ = ground.copy(tool, place, Case::Again).await?;
        }
    }
    let mut all = Vec::new();
    for case in &options.cases {
        eprintln!("bench: {}", case.title(options.sizes, options.rtt_ms));
        all.push(ground.case(*case, tools).await?);
    }
    Ok(all)
}

/// Says whether that was a benchmark at all: Transship did everything, and at least one other tool something.
pub(crate) fn judge(tools: &[Tool], results: &[Results]) -> Result<(), Error> {
    for Results { case, series } in results {
        if let Some(Series { runs: Err(reason), .. }) = series.iter().find(|series| series.tool == TRANSSHIP) {
            return Err(Error::Transship { case: case.name(), reason: reason.clone() });
        }
    }
    let of_peers = |series: &&Series| tools.iter().any(|tool| tool.name == series.tool && tool.is_peer_here());
    let some = results.iter().flat_map(|results| &results.series).filter(of_peers).any(|series| series.runs.is_ok());
    if some { Ok(()) } else { Err(Error::EveryPeerFailed) }
}

/// What all runs stand on.
struct Ground<'a> {
    options: &'a Options,
    registries: &'a mut Apart,
    description: &'a Description,
    folder: &'a Path,
}

impl Ground<'_> {
    async fn case(&mut self, case: Case, tools: &[Tool]) -> Result<Results, Error> {
        let of = |tool: &Tool| Series {
            tool: tool.name,
            runs: tool.place.as_ref().map(|_| Vec::new()).map_err(|_| "not here".to_owned()),
        };
        let mut series: Vec<Series> = tools.iter().map(of).collect();
        for round in 0..self.options.runs {
            for turn in 0..tools.len() {
                // Each begins a round in its turn.
                let at = (round + turn) % tools.len();
                let (Ok(place), Ok(_)) = (&tools[at].place, &series[at].runs) else { continue };
                match (self.copy(&tools[at], place, case).await?, &mut series[at].runs) {
                    (Ok(run), Ok(runs)) => runs.push(run),
                    (Err(reason), runs) => *runs = Err(format!("failed: {reason}")),
                    (Ok(_), Err(_)) => {}
                }
            }
        }
        Ok(Results { case, series })
    }

    /// One copy; the inner error is the tool's own.
    async fn copy(&mut self, tool: &Tool, place: &Place, case: Case) -> Result<Result<Run, String>, Error> {
        let asked = Error::doing("asking the registries");
        let Prepared { digest } = self.registries.ask(&Question::Prepare(case)).map_err(asked)?;
        let ends = if case.is_far() { &self.description.far } else { &self.description.near };
        let home = tempfile::tempdir_in(self.folder).map_err(Error::doing("making a temporary folder"))?;
        let said = home.path().join("output");
        let output = File::create(&said).map_err(Error::doing("making a file for a tool's output"))?;
        let (taken, event_seconds) = if tool.name == TRANSSHIP {
            let work = Work {
                program: &place.program,
                folder: home.path(),
                output: output.into(),
                ends,
                ca: &self.description.ca,
                case,
                digest: &digest,
                memory_mb: self.options.memory_mb,
            };
            match transship::run(work, LIMIT).await {
                Ok((taken, seconds)) => (taken, Some(seconds)),
                Err(Error::Transship { reason, .. }) => return Ok(Err(reason)),
                Err(error) => return Err(error),
            }
        } else {
            (self.peer(tool, place, case, ends, home.path(), output).await?, None)
        };
        if let Some(reason) = taken.failure().filter(|_| event_seconds.is_none()) {
            let said = fs::read_to_string(said).unwrap_or_default();
            return Ok(Err(format!("{reason}: {}", last_line(&said))));
        }
        let asked = Error::doing("asking the registries");
        let counted: Counted = self.registries.ask(&Question::Count(case)).map_err(asked)?;
        Ok(match &counted.lacking {
            Some(lacking) => Err(lacking.clone()),
            None => Ok(Run { taken, event_seconds, counted }),
        })
    }

    async fn peer(
        &self,
        tool: &Tool,
        place: &Place,
        case: Case,
        ends: &Ends,
        home: &Path,
        output: File,
    ) -> Result<Taken, Error> {
        if tool.name == "skopeo" {
            // It remembers which registry has what, and would mount or skip what a run before it had copied.
            forget_blobs();
        }
        let (repository, tag) = case.image();
        let (from, to) = (
            format!("{}/{repository}:{tag}", ends.source),
            format!("{}/{MIRROR}/{repository}:{tag}", ends.destination),
        );
        let both = output.try_clone().map_err(Error::doing("making a file for a tool's output"))?;
        let mut command = Command::new(&place.program);
        command.args(tool.words(case, &from, &to));
        command.env_clear().envs(Tool::environment(home, &self.folder.join("ca.pem")));
        command.current_dir(home).stdin(Stdio::null()).stdout(output).stderr(both);
        Running::start(&mut command)?.end_within(LIMIT).await
    }
}

/// What a tool said last, mostly its error; no more of it than fits a table.
fn last_line(said: &str) -> String {
    let line = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    line.trim().replace('|', "/").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(transship: Result<Vec<Run>, String>, crane: Result<Vec<Run>, String>) -> Vec<Results> {
        let series = vec![Series { tool: TRANSSHIP, runs: transship }, Series { tool: "crane", runs: crane }];
        vec![Results { case: Case::First, series }]
    }

    #[test]
    fn a_benchmark_needs_transship_and_one_other() {
        let place = Place { program: "crane".into(), version: String::new() };
        let tools = [Tool { name: TRANSSHIP, place: Err("") }, Tool { name: "crane", place: Ok(place) }];
        assert!(judge(&tools, &results(Ok(Vec::new()), Ok(Vec::new()))).is_ok());
        let failed = || Err("failed: it said no".to_owned());
        assert!(matches!(judge(&tools, &results(failed(), Ok(Vec::new()))), Err(Error::Transship { .. })));
        assert!(matches!(judge(&tools, &results(Ok(Vec::new()), failed())), Err(Error::EveryPeerFailed)));
    }

    #[test]
    fn an_error_fits_its_cell() {
        assert_eq!(last_line("copying\nError: a | b\n\n"), "Error: a / b");
        assert_eq!(last_line(""), "it said nothing");
        assert_eq!(last_line(&"x".repeat(999)).len(), 200);
    }
}
