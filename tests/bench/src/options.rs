//! The command line: what is measured, how often, and where things are.

use std::{ffi::OsString, path::PathBuf};

use lexopt::{
    Arg::{Long, Value},
    Parser, ValueExt,
};

use crate::{
    cases::{Case, Sizes},
    error::Error,
};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Copies the same images with Transship and with other tools, each as a process of its own, between two registries on
this machine, over TLS, and tells what each took.

usage: bench --functions DIR [OPTION]...

  --functions DIR        where the binary on-push lies
  --tools DIR            where other tools lie that are not on the PATH
  --out DIR              where bench.md and bench.json go      (target/bench)
  --runs N               runs of each tool in each case        (5)
  --quick                small images and 2 runs: whether it works, not what it takes
  --case NAME            this case alone; may be repeated: first, again, one-layer, platforms, far, large
  --tool NAME            this tool beside Transship alone; may be repeated: crane, regctl, oras, skopeo, ocync
  --rtt MS               the round trip of the case `far`      (20)
  --memory MB            what the function may have            (128)
  --layer-bytes SIZE     each of the 8 layers: bytes, or 64KiB, 1MiB (38400KiB)
  --large-bytes SIZE     the one large layer                   (1024MiB)
  --help                 this
";

/// What the command line asks for.
pub(crate) struct Options {
    /// Which process this is: hidden, the program starts itself as the registries.
    pub(crate) role: Role,
    /// Where the functions lie.
    pub(crate) functions: PathBuf,
    /// Where other tools lie, besides the `PATH`.
    pub(crate) tools: Option<PathBuf>,
    /// Where the results go.
    pub(crate) out: PathBuf,
    /// Runs of each tool in each case.
    pub(crate) runs: usize,
    /// The cases, in order.
    pub(crate) cases: Vec<Case>,
    /// The names of the tools beside Transship; none: all.
    pub(crate) only: Vec<String>,
    /// Milliseconds of a round trip, in the case that has one.
    pub(crate) rtt_ms: u64,
    /// Megabytes of the function.
    pub(crate) memory_mb: u32,
    /// How large things are.
    pub(crate) sizes: Sizes,
    /// The words of the command line, for the registries' process and for the record.
    pub(crate) words: Vec<String>,
}

/// What this process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It starts the tools and measures.
    Driver,
    /// It is the two registries.
    Registries,
    /// It prints its help.
    Help,
}

/// The word that makes a process the registries.
pub(crate) const REGISTRIES: &str = "registries";

impl Options {
    /// Reads the words of a command line, its program's name left out.
    pub(crate) fn parse(words: Vec<OsString>) -> Result<Self, Error> {
        let mut this = Self {
            role: Role::Driver,
            functions: PathBuf::new(),
            tools: None,
            out: PathBuf::from("target/bench"),
            runs: 5,
            cases: Vec::new(),
            only: Vec::new(),
            rtt_ms: 20,
            memory_mb: 128,
            sizes: Sizes { layer: (300 << 20) / 8, large: 1 << 30 },
            words: words.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        };
        this.read(&mut Parser::from_args(words)).map_err(|error| Error::Arguments(error.to_string()))?;
        if this.cases.is_empty() {
            this.cases = Case::ALL.to_vec();
        }
        if this.role == Role::Driver && this.functions.as_os_str().is_empty() {
            return Err(Error::Arguments("--functions is needed".to_owned()));
        }
        Ok(this)
    }

    fn read(&mut self, words: &mut Parser) -> Result<(), lexopt::Error> {
        while let Some(word) = words.next()? {
            match word {
                Value(word) if word == REGISTRIES => self.role = Role::Registries,
                Long("help") => self.role = Role::Help,
                Long("functions") => self.functions = words.value()?.into(),
                Long("tools") => self.tools = Some(words.value()?.into()),
                Long("out") => self.out = words.value()?.into(),
                Long("runs") => self.runs = words.value()?.parse_with(runs)?,
                Long("quick") => {
                    self.runs = 2;
                    self.sizes = Sizes { layer: 3 << 20, large: 64 << 20 };
                }
                Long("case") => self.cases.push(words.value()?.parse()?),
                Long("tool") => self.only.push(words.value()?.string()?),
                Long("rtt") => self.rtt_ms = words.value()?.parse()?,
                Long("memory") => self.memory_mb = words.value()?.parse()?,
                Long("layer-bytes") => self.sizes.layer = words.value()?.parse_with(size)?,
                Long("large-bytes") => self.sizes.large = words.value()?.parse_with(size)?,
                _ => return Err(word.unexpected()),
            }
        }
        Ok(())
    }
}

fn runs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("it must be a number, 1 at least".to_owned()),
    }
}

/// Whole bytes, or a number of KiB or MiB.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(number), _) => (number, 1 << 10),
        (_, Some(number)) => (number, 1 << 20),
        _ => (text, 1),
    };
    let whole = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    // Layers of less would be alike.
    whole.filter(|bytes| *bytes >= 8).ok_or_else(|| format!("{text:?} is no size: 8 bytes at least, or KiB or MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, Error> {
        Options::parse(words.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn what_is_left_out_is_all_of_it() {
        let options = parse("--functions target/release").unwrap();
        assert_eq!((options.cases, options.runs, options.memory_mb), (Case::ALL.to_vec(), 5, 128));
        assert_eq!(options.sizes.layer * 8, 300 << 20);
    }

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        let options = parse("--functions x --quick --runs 3 --case far --case again --large-bytes 2MiB --tool crane");
        let options = options.unwrap();
        assert_eq!((options.runs, options.cases), (3, vec![Case::Far, Case::Again]));
        assert_eq!((options.sizes.layer, options.sizes.large), (3 << 20, 2 << 20));
        for wrong in
            ["", "--functions x --runs 0", "--functions x --case none", "--functions x --layer-bytes 7", "word"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
