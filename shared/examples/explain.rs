//! Prints what a configuration's rules say of an image: which rules take it, what each filter said, and where it goes.
//!
//! `cargo run -p transfer --example explain -- CONFIG REFERENCE`, where CONFIG is a file or the JSON itself. Ends with 0,
//! and with 2 where a push of it would fail, or this can't be told.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints")]

use std::{env, fs, process::ExitCode};

use transfer::{config::Config, error::Error, oci::Reference, rules::Pushed, settings::Environment};

const CANNOT_TELL: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [config, reference] = arguments.as_slice() else {
        eprintln!("usage: explain CONFIG REFERENCE\n  CONFIG     a file, or JSON text");
        eprintln!("  REFERENCE  HOST/REPOSITORY:TAG, …@DIGEST, or …:TAG@DIGEST");
        return ExitCode::from(CANNOT_TELL);
    };
    match explained(config, reference) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}

fn explained(config: &str, reference: &str) -> Result<ExitCode, String> {
    let text = |error: Error| format!("{}: {error}", error.error_type);
    let json = match config.trim_start().starts_with('{') {
        true => config.to_owned(),
        false => {
            let path = config.strip_prefix("file:").unwrap_or(config);
            fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?
        }
    };
    let config = Config::parse_elsewhere(&json, &Environment::read()).map_err(text)?;
    let image: Reference = reference.parse().map_err(|error: transfer::oci::ReferenceError| error.to_string())?;
    let pushed = Pushed {
        registry: image.registry().to_owned(),
        repository: image.repository().to_owned(),
        tag: image.tag().map(str::to_owned),
        digest: image.digest().cloned(),
        at: None,
    };
    let explanation = config.rules.explain(&pushed).map_err(text)?;
    print!("{explanation}");
    Ok(explanation.refused().map_or(ExitCode::SUCCESS, |_| ExitCode::from(CANNOT_TELL)))
}
