//! What a test run did that takes rights, as JSON lines for those who check the roles that are deployed.
//!
//! Nothing is written unless the environment variable `TRANSSHIP_AWS_CALLS` names a folder.

use std::{
    collections::HashSet,
    env,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
    thread,
};

use serde_json::{Value, json};

use crate::lock;

struct Ledger {
    file: File,
    /// Lines are written once: a test asks the same of AWS hundreds of times.
    written: HashSet<String>,
}

static LEDGER: OnceLock<Option<Mutex<Ledger>>> = OnceLock::new();

/// Writes down what happened in the test that this thread runs, once for each `key`; `what` is made only if it is needed.
///
/// A test whose runtime has threads of its own is left out: their names don't tell whose they are.
pub fn note(kind: &str, key: &str, what: impl FnOnce() -> Value) {
    let Some(ledger) = LEDGER.get_or_init(open) else { return };
    let thread = thread::current();
    let Some(test) = thread.name().filter(|name| !name.starts_with("tokio-") && *name != "main") else { return };
    let mut ledger = lock(ledger);
    if !ledger.written.insert(format!("{test} {kind} {key}")) {
        return;
    }
    let mut line = json!({ "test": test, "kind": kind });
    if let (Value::Object(line), Value::Object(what)) = (&mut line, what()) {
        line.extend(what);
    }
    writeln!(ledger.file, "{line}").expect("the folder of TRANSSHIP_AWS_CALLS takes files");
}

/// One file for each test binary, begun anew by each run of it.
fn open() -> Option<Mutex<Ledger>> {
    let folder = PathBuf::from(env::var_os("TRANSSHIP_AWS_CALLS")?);
    fs::create_dir_all(&folder).expect("the folder of TRANSSHIP_AWS_CALLS can be made");
    let program = env::current_exe().unwrap_or_default();
    let stem = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // Cargo appends a hash, which another build changes.
    let name = stem.rsplit_once('-').map_or(stem.as_str(), |(name, _)| name);
    let file = File::create(Path::new(&folder).join(format!("{name}.jsonl")));
    let file = file.expect("the folder of TRANSSHIP_AWS_CALLS takes files");
    Some(Mutex::new(Ledger { file, written: HashSet::new() }))
}
