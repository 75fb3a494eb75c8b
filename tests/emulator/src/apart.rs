//! A process of its own for the registries, so that what they cost is not counted as that of whoever copies between them:
//! the same program once more, told by its words that it is the registries.
//!
//! The two tell each other a line of JSON for each line that asks, over standard input and output.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Serialize, de::DeserializeOwned};

/// The other process, running. It ends when this is dropped.
#[derive(Debug)]
pub struct Apart {
    process: Child,
    /// Open as long as the other process is to run.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Apart {
    /// Starts this program once more, with these words.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let program = env::current_exe()?;
        let mut process = Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let output = output.ok_or_else(|| io::Error::other("the other process has no standard output"))?;
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// If the other process is gone, or says what is no answer.
    pub fn ask<T: DeserializeOwned>(&mut self, question: &impl Serialize) -> io::Result<T> {
        let input = self.input.as_mut().ok_or_else(|| io::Error::other("the other process has no standard input"))?;
        write_line(input, question)?;
        self.hear()
    }

    /// Waits for what the other process says unasked.
    ///
    /// # Errors
    /// If it is gone, or says something else.
    pub fn hear<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line)
            .map_err(|error| io::Error::other(format!("the other process said {line:?}: {error}")))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}

/// In the other process: says something.
///
/// # Errors
/// If nobody hears.
pub fn say(what: &impl Serialize) -> io::Result<()> {
    write_line(&mut io::stdout().lock(), what)
}

/// In the other process: hands every question to `reply`, which [`say`]s the answer, until whoever started this process
/// closes its standard input; so it never outlives that one.
///
/// # Errors
/// Those of `reply`; or what came is no question.
pub fn answer<Q: DeserializeOwned, E: From<io::Error>>(mut reply: impl FnMut(Q) -> Result<(), E>) -> Result<(), E> {
    for line in io::stdin().lock().lines() {
        let line = line?;
        let question =
            serde_json::from_str(&line).map_err(|error| io::Error::other(format!("was asked {line:?}: {error}")))?;
        reply(question)?;
    }
    Ok(())
}

fn write_line(out: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(what).map_err(io::Error::other)?;
    writeln!(out, "{line}")?;
    out.flush()
}
