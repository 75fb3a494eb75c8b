//! `make bench`: the same copies by Transship's own binary and by other tools, each as a process of its own, between the
//! same two registries, in turns; and what each took.
//!
//! How to read it: `docs/benchmarks.md`, "Against other tools".
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measuring program that tells a person")]

mod cases;
mod error;
mod figures;
mod machine;
mod options;
mod process;
mod record;
mod registries;
mod report;
mod rounds;
mod statistics;
mod tools;
mod transship;
mod wire;

use std::{env, fs, process::ExitCode};

use emulator::Apart;
use error::Error;
use machine::Machine;
use options::{HELP, Options, Role};
use report::Report;
use tokio::runtime::Builder;
use tools::Tool;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Error> {
    let options = Options::parse(env::args_os().skip(1).collect())?;
    match options.role {
        Role::Help => print!("{HELP}"),
        Role::Registries => registries::serve(&options)?,
        Role::Driver => bench(&options)?,
    }
    Ok(())
}

fn bench(options: &Options) -> Result<(), Error> {
    let tools = Tool::find(options);
    if !tools.iter().any(Tool::is_peer_here) {
        return Err(Error::NoPeer);
    }
    let machine = Machine::look();
    let words = [options::REGISTRIES].into_iter().chain(options.words.iter().map(String::as_str));
    let mut registries = Apart::start(words).map_err(Error::doing("starting the registries"))?;
    let description = registries.hear().map_err(Error::doing("hearing the registries"))?;
    // One thread: what this process does besides must not take from what is measured.
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::doing("starting threads"))?;
    let results = runtime.block_on(rounds::run(options, &tools, &mut registries, &description))?;
    let report = Report { options, machine, tools: &tools, results: &results, floor: process::own_peak() };

    let text = report.markdown();
    println!("{text}");
    fs::create_dir_all(&options.out).map_err(Error::doing("making the folder for the results"))?;
    fs::write(options.out.join("bench.md"), text).map_err(Error::doing("writing the results"))?;
    let json = format!("{:#}\n", record::object(&report));
    fs::write(options.out.join("bench.json"), json).map_err(Error::doing("writing the results"))?;
    rounds::judge(&tools, &results)
}
