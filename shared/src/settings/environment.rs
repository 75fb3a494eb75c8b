//! The environment variables, read once and nowhere else.

use std::{env, path::PathBuf};

use crate::error::{Error, ErrorType};

/// What the environment says.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Where the configuration is.
    pub config: Option<String>,
    /// The queue that `fanout` drains.
    pub queue_url: Option<String>,
    /// Where `fanout` puts messages that can never succeed.
    pub dead_letter_queue_url: Option<String>,
    /// The function's memory in MiB.
    pub memory_mib: u64,
    /// The function's name; the `Function` dimension of the metrics.
    pub function_name: String,
    /// Whether logs are JSON.
    pub json_logs: bool,
    /// The least level that is logged, as a text.
    pub log_level: String,
    /// Where `file:` paths begin.
    pub root: PathBuf,
}

/// Where `TRANSSHIP_CONFIG` says the configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigSource {
    /// In the variable itself.
    Inline(String),
    /// In a file.
    File(PathBuf),
    /// In an SSM parameter of this name.
    Parameter(String),
}

/// What Lambda gives at least.
const LEAST_MEMORY_MIB: u64 = 128;

impl Environment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn read() -> Self {
        Self::from(&|name| variable(name))
    }

    /// Reads it from `variable`, which gives a variable's text, empty ones left out.
    #[must_use]
    pub fn from(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            config: variable("TRANSSHIP_CONFIG"),
            queue_url: variable("TRANSSHIP_QUEUE_URL"),
            dead_letter_queue_url: variable("TRANSSHIP_DEAD_LETTER_QUEUE_URL"),
            memory_mib: variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
                .and_then(|size| size.parse().ok())
                .unwrap_or(LEAST_MEMORY_MIB),
            function_name: variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "local".to_owned()),
            json_logs: !variable("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("text")),
            log_level: variable("AWS_LAMBDA_LOG_LEVEL").unwrap_or_else(|| "INFO".to_owned()),
            root: variable("LAMBDA_TASK_ROOT").map(PathBuf::from).unwrap_or_default(),
        }
    }

    /// Where the configuration is.
    ///
    /// # Errors
    /// `InvalidConfig`: the variable is missing or of no known form.
    pub fn config_source(&self) -> Result<ConfigSource, Error> {
        let expected = "expected JSON text (beginning with `{`), `file:PATH` or `ssm:NAME`";
        let Some(text) = &self.config else {
            return Err(Error::new(ErrorType::InvalidConfig, format!("TRANSSHIP_CONFIG is not set: {expected}")));
        };
        let text = text.trim();
        if text.starts_with('{') {
            Ok(ConfigSource::Inline(text.to_owned()))
        } else if let Some(path) = text.strip_prefix("file:") {
            Ok(ConfigSource::File(self.path(path)))
        } else if let Some(name) = text.strip_prefix("ssm:") {
            Ok(ConfigSource::Parameter(name.to_owned()))
        } else {
            Err(Error::new(ErrorType::InvalidConfig, format!("TRANSSHIP_CONFIG is of no known form: {expected}")))
        }
    }

    /// A path of the configuration: relative to the function's code in Lambda, else to the working folder.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// A variable's text; `None` where it is missing, empty or no text.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}
