//! The copier's end of the registries' process.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::de::DeserializeOwned;

use crate::{
    error::Error,
    options::{Options, REGISTRIES},
    wire::{Description, REPORT, RESET, Report},
};

/// The registries, running. They end when this is dropped.
pub(crate) struct Registries {
    process: Child,
    /// Open as long as the registries are to run.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Registries {
    /// Starts this program once more, as the registries, and waits until they hold the images.
    pub(crate) fn start(options: &Options) -> Result<(Self, Description), Error> {
        let program = env::current_exe().map_err(Error::doing("looking for this program's own file"))?;
        let mut process = Command::new(program)
            .arg(REGISTRIES)
            .args(&options.words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::doing("starting the registries"))?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let output = output.ok_or_else(|| Error::Registries("has no standard output".to_owned()))?;
        let mut this = Self { process, input, output: BufReader::new(output) };
        let description = this.hear()?;
        Ok((this, description))
    }

    /// Lets them forget what was copied and counted.
    pub(crate) fn reset(&mut self) -> Result<(), Error> {
        self.say(RESET)?;
        self.hear()
    }

    /// What they counted since.
    pub(crate) fn report(&mut self) -> Result<Report, Error> {
        self.say(REPORT)?;
        self.hear()
    }

    fn say(&mut self, line: &str) -> Result<(), Error> {
        let Some(input) = &mut self.input else { return Err(Error::Registries("has no standard input".to_owned())) };
        writeln!(input, "{line}").map_err(Error::doing("asking the registries"))
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(Error::doing("hearing the registries"))?;
        serde_json::from_str(&line).map_err(|error| Error::Registries(format!("said {line:?}: {error}")))
    }
}

impl Drop for Registries {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}
