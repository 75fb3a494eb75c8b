//! Tables from runs that nobody made.

use std::{ffi::OsString, os::unix::process::ExitStatusExt, process::ExitStatus};

use super::*;
use crate::{
    cases::Case,
    process::Taken,
    tools::Place,
    wire::{Counted, Gauges},
};

/// A run of so many seconds, requests and attached artifacts out of four.
fn run(seconds: f64, requests: u64, attached: Option<u64>) -> Run {
    let gauges = Gauges { requests, ..Gauges::default() };
    Run {
        taken: Taken {
            seconds,
            cpu_seconds: seconds / 2.0,
            system_seconds: 0.0,
            peak_resident: 12 << 20,
            status: ExitStatus::from_raw(0),
        },
        event_seconds: None,
        counted: Counted {
            source: gauges.clone(),
            destination: gauges,
            lacking: None,
            attached: attached.map(|there| (there, 4)),
        },
    }
}

fn results(case: Case, series: Vec<(&'static str, Result<Vec<Run>, String>)>) -> Vec<Results> {
    vec![Results { case, series: series.into_iter().map(|(tool, runs)| Series { tool, runs }).collect() }]
}

fn report<'a>(options: &'a Options, tools: &'a [Tool], results: &'a [Results]) -> Report<'a> {
    Report { options, machine: Machine::look(), tools, results, floor: 0 }
}

fn options(words: &str) -> Options {
    Options::parse(words.split_whitespace().map(OsString::from).collect()).unwrap()
}

#[test]
fn the_best_is_bold_and_who_is_not_here_is_named() {
    let (options, tools) = (
        options("--functions /somewhere --quick"),
        [
            Tool { name: TRANSSHIP, place: Ok(Place { program: "on-push".into(), version: "0.1.0".into() }) },
            Tool { name: "ocync", place: Err("it is nowhere") },
        ],
    );
    let results = results(
        Case::First,
        vec![
            (TRANSSHIP, Ok(vec![run(1.0, 9, None), run(3.0, 9, None), run(2.0, 9, None)])),
            ("crane", Ok(vec![run(4.0, 9, None)])),
            ("ocync", Err("not here".to_owned())),
        ],
    );
    let text = report(&options, &tools, &results).markdown();
    assert!(text.starts_with("## Against other tools\n"), "{text}");
    assert!(text.contains("\n| Transship | **2.00 (1.00–3.00)** | **1.00 (0.500–1.50)** | 12.0 | 9 | 9 |"), "{text}");
    assert!(text.contains("\n| crane | 4.00 | 2.00 | 12.0 | 9 | 9 |"), "{text}");
    assert!(text.contains("\n| ocync | not here: it is nowhere | `ocync copy"), "{text}");
    assert!(text.contains("\n| ocync | not here |"), "{text}");
    assert!(text.contains("`make bench ARGS=\"--quick\"`: ") && !text.contains("/somewhere"), "{text}");
    assert!(text.contains("In no column"), "{text}");
}

#[test]
fn whoever_is_better_is_told_unless_it_copied_less() {
    let options = options("--functions x");
    let of = |attached| {
        results(
            Case::Platforms,
            vec![(TRANSSHIP, Ok(vec![run(2.0, 50, Some(4))])), ("crane", Ok(vec![run(1.0, 30, Some(attached))]))],
        )
    };
    let (all, less) = (of(4), of(0));
    let behind = report(&options, &[], &all).behind();
    assert_eq!(behind.len(), 4, "{behind:?}");
    assert_eq!(behind[0], "`platforms`, seconds: crane 1.00, Transship 2.00");
    assert!(report(&options, &[], &less).behind().is_empty());
    let text = report(&options, &[], &less).markdown();
    assert!(text.contains("| 0 of 4 |") && text.contains("| 4 of 4 |"), "{text}");
    // What is less for less work is no chance either, but a hair's breadth is.
    let close =
        results(Case::First, vec![(TRANSSHIP, Ok(vec![run(2.0, 50, None)])), ("crane", Ok(vec![run(1.99, 50, None)]))]);
    assert!(report(&options, &[], &close).behind().is_empty());
}
