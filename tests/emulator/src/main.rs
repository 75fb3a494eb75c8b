//! `emulator serve`: one registry on a fixed address, until it is told to stop.

use std::{env, fs, io::Write, net::SocketAddr, process::ExitCode};

use emulator::{Authority, Personality, Registry};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: emulator serve [--addr 127.0.0.1:5000] [--personality NAME] [--tls-dir DIR] \
                     [--user USER --password PASSWORD] [--repository NAME]...";

/// What the command line asks for.
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
    match Arguments::parse(env::args().skip(1)) {
        Ok(arguments) => match serve(arguments).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        Err(error) => fail(&format!("{error}\n{USAGE}")),
    }
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        if words.next().as_deref() != Some("serve") {
            return Err("the first argument must be `serve`".to_owned());
        }
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

async fn serve(arguments: Arguments) -> Result<(), std::io::Error> {
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
    let mut out = std::io::stdout();
    writeln!(out, "{}", registry.url())?;
    out.flush()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn fail(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "emulator: {text}");
    ExitCode::FAILURE
}
