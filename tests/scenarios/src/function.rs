//! One execution environment: a real binary that runs under the Runtime API with Lambda's environment variables.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use emulator::ledger;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::lambda::{Identity, Outcome, RuntimeApi};

/// A function that runs. Killed when dropped.
pub struct Function {
    api: RuntimeApi,
    program: PathBuf,
    environment: Vec<(String, String)>,
    task_root: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
    process: Process,
    starts: usize,
    peak_rss: u64,
    _folder: TempDir,
}

/// What differs between functions of one template.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Megabytes, from 128 to 10240.
    pub memory_mb: u32,
    /// The region that the function runs in.
    pub region: String,
    /// The account of the function's role; its access key is `AKIA` and this.
    pub account: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { memory_mb: 512, region: "us-east-1".into(), account: "111122223333".into() }
    }
}

struct Process {
    child: Child,
    spawned: Instant,
    readers: Vec<JoinHandle<()>>,
}

impl Function {
    /// Starts a binary of this workspace, such as `on-push`, with these variables beside Lambda's own.
    pub async fn start(binary: &str, env: &[(&str, &str)]) -> Self {
        Self::start_with(binary, Settings::default(), env).await
    }

    /// Starts a binary with other settings. Variables given here win over Lambda's own.
    pub async fn start_with(binary: &str, settings: Settings, env: &[(&str, &str)]) -> Self {
        Self::start_program(&find_binary(binary), settings, env).await
    }

    /// Starts any program.
    pub async fn start_program(program: &Path, settings: Settings, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Settings { memory_mb, region, account } = settings;
        let identity = Identity { name: name.clone(), region: region.clone(), account: account.clone() };
        let api = RuntimeApi::start_as(identity).await;
        let mut environment = lambda_environment(&name, memory_mb, &region, &account);
        environment.push(("AWS_LAMBDA_RUNTIME_API".into(), api.address()));
        environment.push(("LAMBDA_TASK_ROOT".into(), folder.path().display().to_string()));
        environment.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let root = environment.iter().rev().find(|(name, _)| name == "LAMBDA_TASK_ROOT");
        let task_root = root.map(|(_, value)| PathBuf::from(value)).expect("the variable was set above");
        let lines = Arc::default();
        note_start(&name, &environment, &task_root);
        let process = spawn(program, &environment, &task_root, &lines);
        let program = program.to_owned();
        Self { api, program, environment, task_root, lines, process, starts: 1, peak_rss: 0, _folder: folder }
    }

    /// Invokes the function and waits for its answer. A process that ended before is started anew first, as Lambda
    /// does; a process that runs past its deadline is killed.
    pub async fn invoke(&mut self, event: Value, timeout: Duration) -> Outcome {
        self.invoke_bytes(event.to_string().into(), timeout).await
    }

    /// Likewise with bytes that need not be JSON.
    pub async fn invoke_bytes(&mut self, event: Bytes, timeout: Duration) -> Outcome {
        if self.exit_status().is_some() {
            self.restart();
        }
        note_messages(&event);
        let outcome = tokio::select! {
            biased;
            outcome = self.api.invoke_bytes(event, timeout) => outcome,
            status = self.process.child.wait() => {
                Outcome::Crashed { status: status.expect("the child can be waited for").code() }
            }
        };
        self.peak_rss();
        if matches!(outcome, Outcome::TimedOut | Outcome::Crashed { .. } | Outcome::InitError { .. }) {
            self.kill().await;
        }
        outcome
    }

    /// Waits for the first poll: how long the init phase took, from the start of the process.
    pub async fn ready(&mut self) -> Result<Duration, Outcome> {
        let polled = tokio::select! {
            biased;
            polled = self.api.polled() => polled,
            status = self.process.child.wait() => {
                Err(Outcome::Crashed { status: status.expect("the child can be waited for").code() })
            }
        };
        polled.map(|at| at - self.process.spawned)
    }

    /// Kills the process, as a reset of the environment does. The next invoke starts a new one.
    pub async fn kill(&mut self) {
        self.peak_rss();
        let _ = self.process.child.kill().await;
        for reader in self.process.readers.drain(..) {
            let _ = reader.await;
        }
    }

    /// How often the process was started.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.child.id()
    }

    /// The folder that `file:` paths are relative to.
    pub fn task_root(&self) -> &Path {
        &self.task_root
    }

    /// What the function wrote so far to its standard output and error, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines that are JSON: log records and metrics.
    pub fn records(&self) -> Vec<Value> {
        self.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
    }

    /// The largest resident set so far in bytes (`VmHWM`), over all processes of this function.
    pub fn peak_rss(&mut self) -> u64 {
        let now = self.pid().and_then(|pid| status_field(pid, "VmHWM:"));
        self.peak_rss = self.peak_rss.max(now.unwrap_or_default() * 1024);
        self.peak_rss
    }

    fn exit_status(&mut self) -> Option<i32> {
        self.process.child.try_wait().ok().flatten().map(|status| status.code().unwrap_or(-1))
    }

    fn restart(&mut self) {
        self.api.reset();
        self.process = spawn(&self.program, &self.environment, &self.task_root, &self.lines);
        self.starts += 1;
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        for line in self.records() {
            note_line(&name, &line);
        }
        // The child is killed by its own handle.
        if std::thread::panicking() {
            let lines = self.lines();
            let from = lines.len().saturating_sub(40);
            eprint_lines(&self.program, &lines[from..]);
        }
    }
}

/// Writes what a function is configured for into the ledger of rights.
fn note_start(name: &str, environment: &[(String, String)], task_root: &Path) {
    let variable = |name: &str| environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let config = variable("TRANSSHIP_CONFIG").map(|text| match text.strip_prefix("file:") {
        Some(path) => std::fs::read_to_string(task_root.join(path)).unwrap_or_default(),
        None => text.to_owned(),
    });
    let what = json!({
        "function": name,
        "config": config,
        "region": variable("AWS_REGION"),
        "access_key": variable("AWS_ACCESS_KEY_ID"),
        "queue": variable("TRANSSHIP_QUEUE_URL"),
        "dead_letters": variable("TRANSSHIP_DEAD_LETTER_QUEUE_URL"),
    });
    ledger::note("start", &what.to_string(), || what.clone());
}

/// Writes a log line into the ledger, one of each shape: what alarms, dashboard and saved queries are judged by. Those with
/// metrics are apart, and those that only developers ask for are left out.
fn note_line(name: &str, line: &Value) {
    let what = || json!({ "function": name, "line": line });
    if let Some(metrics) = line.get("_aws") {
        let key = format!("{name} {} {}", metrics["CloudWatchMetrics"], line["result"]["outcome"]);
        return ledger::note("metrics", &key, what);
    }
    if ["INFO", "WARN", "ERROR"].iter().all(|level| line["level"] != *level) {
        return;
    }
    let keys = |value: &Value| value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    let message = line["message"].as_str().unwrap_or_default();
    ledger::note("said", &format!("{name} {message} {:?} {:?}", keys(line), keys(&line[message])), what);
}

/// Writes what messages name, which the configuration need not, into the ledger of rights.
fn note_messages(event: &[u8]) {
    let event: Value = serde_json::from_slice(event).unwrap_or_default();
    for record in event["Records"].as_array().into_iter().flatten() {
        let body: Value = record["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        let what = json!({
            "source": body["source"],
            "destination": body["destination"],
            "backfill": { "repository": body["backfill"]["repository"], "destination": body["backfill"]["destination"] },
        });
        ledger::note("message", &what.to_string(), || what.clone());
    }
}

#[allow(clippy::print_stderr, reason = "a failed test shows what the function said")]
fn eprint_lines(program: &Path, lines: &[String]) {
    eprintln!("--- the last lines of {}", program.display());
    lines.iter().for_each(|line| eprintln!("{line}"));
}

fn spawn(program: &Path, environment: &[(String, String)], folder: &Path, lines: &Arc<Mutex<Vec<String>>>) -> Process {
    let mut command = Command::new(program);
    command.env_clear().envs(environment.iter().cloned()).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Coverage tools find their profiles by this.
    if let Ok(value) = env::var("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", value);
    }
    let spawned = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
    let stdout = child.stdout.take().expect("standard output is piped");
    let stderr = child.stderr.take().expect("standard error is piped");
    let readers = vec![read_lines(stdout, lines.clone()), read_lines(stderr, lines.clone())];
    Process { child, spawned, readers }
}

/// Collects lines until the pipe closes.
pub(crate) fn read_lines(
    pipe: impl AsyncRead + Unpin + Send + 'static,
    lines: Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut reader = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}

/// What Lambda sets for an OS-only runtime, except what differs from process to process.
#[must_use]
pub fn lambda_environment(name: &str, memory_mb: u32, region: &str, account: &str) -> Vec<(String, String)> {
    let memory = memory_mb.to_string();
    let (log_group, access_key) = (format!("/aws/lambda/{name}"), format!("AKIA{account}"));
    [
        ("_HANDLER", "bootstrap"),
        ("AWS_REGION", region),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/22/[$LATEST]0123456789abcdef0123456789abcdef"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
        ("AWS_ACCESS_KEY_ID", &access_key),
        // Tells the emulator whose call it is.
        ("AWS_SDK_UA_APP_ID", name),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-function"),
        ("AWS_SESSION_TOKEN", "token-of-the-function"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("TZ", ":UTC"),
        ("LANG", "en_US.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// `TRANSSHIP_BIN_DIR`, else the folder that cargo put the running test's own profile into.
fn find_binary(name: &str) -> PathBuf {
    let folder = env::var_os("TRANSSHIP_BIN_DIR").map(PathBuf::from).unwrap_or_else(profile_folder);
    let path = folder.join(name);
    assert!(path.is_file(), "there is no {}: build first: cargo build --bin {name}", path.display());
    path
}

fn profile_folder() -> PathBuf {
    // A test runs from `TARGET/debug/deps/NAME-HASH`, whatever CARGO_TARGET_DIR, the target or the profile are.
    let own = env::current_exe().unwrap_or_default();
    let folder = own.parent().filter(|folder| folder.ends_with("deps")).and_then(Path::parent);
    folder.map(Path::to_owned).unwrap_or_else(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        env::var_os("CARGO_TARGET_DIR").map_or(workspace, PathBuf::from).join("debug")
    })
}

/// A number of `/proc/PID/status`, in kilobytes.
fn status_field(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}
