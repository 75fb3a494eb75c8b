//! `emulator serve`: one registry on a fixed address. `emulator stage`: the registries of the demo. Both run until
//! they are told to stop.

use std::{
    env, fs,
    io::{self, BufRead, Write},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    thread,
};

use emulator::{
    Authority, Personality, Registry,
    stage::{CA_FILE, Stage},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

const USAGE: &str = "usage: emulator serve [--addr 127.0.0.1:5000] [--personality NAME] [--tls-dir DIR] \
                     [--user USER --password PASSWORD] [--repository NAME]...\n       \
                     emulator stage --dir DIR";

/// What the command line of `serve` asks for.
struct Arguments {
    addr: SocketAddr,
    personality: Personality,
    tls_dir: Option<String>,
    user: Option<String>,
    password: Option<String>,
    repositories: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = match words[..] {
        ["serve", ref options @ ..] => match Arguments::parse(options) {
            Ok(arguments) => serve(arguments).await,
            Err(error) => return fail(&format!("{error}\n{USAGE}")),
        },
        ["stage", "--dir", folder] => stage(Path::new(folder)).await,
        _ => return fail(USAGE),
    };
    ended.map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
}

impl Arguments {
    fn parse(options: &[&str]) -> Result<Self, String> {
        let mut words = options.iter().map(ToString::to_string);
        let mut this = Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 5000)),
            personality: Personality::Plain,
            tls_dir: None,
            user: None,
            password: None,
            repositories: Vec::new(),
        };
        while let Some(option) = words.next() {
            let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
            match option.as_str() {
                "--addr" => this.addr = value.parse().map_err(|error| format!("{value:?}: {error}"))?,
                "--personality" => this.personality = value.parse()?,
                "--tls-dir" => this.tls_dir = Some(value),
                "--user" => this.user = Some(value),
                "--password" => this.password = Some(value),
                "--repository" => this.repositories.push(value),
                _ => return Err(format!("{option} is unknown")),
            }
        }
        Ok(this)
    }
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let mut builder = Registry::builder(arguments.personality).addr(arguments.addr);
    if let Some(folder) = arguments.tls_dir {
        let authority = Authority::new();
        fs::create_dir_all(&folder)?;
        fs::write(format!("{folder}/ca.pem"), authority.pem())?;
        builder = builder.tls(&authority);
    }
    builder = match (arguments.user, arguments.password) {
        (Some(user), password) => builder.basic(&user, &password.unwrap_or_default()),
        // Without the API beside it nobody could get a token of ECR.
        (None, _) => builder.open(),
    };
    let registry = builder.start().await;
    for name in arguments.repositories {
        registry.store().create_repository(&name);
    }
    say(&registry.url())?;
    told_to_stop().await
}

/// Sets the stage of the demo and says on standard output what is where: one line of JSON. Each line `report` on
/// standard input is answered with one line of what was asked of the registries since the last. Its end is the end:
/// a stage never outlives whoever started it.
async fn stage(folder: &Path) -> io::Result<()> {
    let stage = Stage::start().await;
    fs::create_dir_all(folder)?;
    fs::write(folder.join(CA_FILE), stage.ca())?;
    fs::write(folder.join("config.json"), format!("{:#}\n", stage.config()))?;
    let mut lines = standard_input();
    say(&stage.description())?;
    let answers = async {
        while let Some(line) = lines.recv().await {
            match line.trim() {
                "report" => say(&stage.report())?,
                other => complain(&format!("{other:?} is unknown; try `report`")),
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = answers => ended,
        ended = told_to_stop() => ended,
    }
}

/// The lines of standard input, read by a thread of its own that no runtime waits for at the end.
fn standard_input() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn say(what: &impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{what}")?;
    out.flush()
}

async fn told_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn fail(text: &str) -> ExitCode {
    complain(text);
    ExitCode::FAILURE
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "emulator: {text}");
}
