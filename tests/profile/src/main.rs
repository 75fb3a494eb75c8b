//! `make profile`: copies generated images between two registries on this machine with the real crate, in this process,
//! and tells what it took. The registries run in a process of their own.
//!
//! Made to be run under a sampling profiler, and to see what each setting is worth: `docs/benchmarks.md`, "Profile".
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measuring program that tells a person")]

mod child;
mod error;
mod figures;
mod images;
mod options;
mod process;
mod registries;
mod run;
mod wire;

use std::{env, process::ExitCode};

use child::Registries;
use error::Error;
use images::Shape;
use options::{HELP, Options, Role};
use run::Measured;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("profile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Error> {
    let options = Options::parse(env::args_os().skip(1).collect())?;
    match options.role {
        Role::Help => print!("{HELP}"),
        Role::Registries => registries::serve(options)?,
        Role::Copier => profile(&options)?,
    }
    Ok(())
}

fn profile(options: &Options) -> Result<(), Error> {
    let (mut registries, description) = Registries::start(options)?;
    if !process::forget_peak() {
        eprintln!("profile: /proc/self/clear_refs can't be written: peaks of memory are those since the start");
    }
    let mut phases: Vec<(Shape, Vec<Measured>)> = Vec::new();
    for shape in options.shapes() {
        let runs = (0..options.repeat).map(|_| run::measure(options, shape, &mut registries, &description));
        let runs: Vec<Measured> = runs.collect::<Result<_, Error>>()?;
        if !options.json {
            println!("{}", figures::table(shape, &runs));
        }
        phases.push((*shape, runs));
    }
    if options.json {
        println!("{}", figures::object(options, &phases));
    }
    Ok(())
}
