//! Which log lines are written.

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
};

/// Our own crates, and the runtime that calls them.
const OURS: [&str; 5] = ["transfer", "bootstrap", "on_push", "fanout", "lambda_runtime"];

/// Lines from a level on; below `WARN` only our own. Our spans are there at every level: a warning too says of which
/// request it is.
pub(super) struct Levels {
    lines: Targets,
    spans: Targets,
    finest: LevelFilter,
}

impl Levels {
    /// As Lambda's `ApplicationLogLevel` names them; another name is `INFO`.
    pub(super) fn of(name: &str) -> Self {
        let level = match name.to_ascii_uppercase().as_str() {
            "TRACE" => LevelFilter::TRACE,
            "DEBUG" => LevelFilter::DEBUG,
            "WARN" => LevelFilter::WARN,
            "ERROR" | "FATAL" => LevelFilter::ERROR,
            _ => LevelFilter::INFO,
        };
        let ours = |level: LevelFilter| OURS.map(|target| (target, level));
        Self {
            lines: Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(ours(level)),
            spans: Targets::new().with_targets(ours(LevelFilter::INFO)),
            finest: level.max(LevelFilter::INFO),
        }
    }

    fn takes(&self, target: &str, level: &Level, is_span: bool) -> bool {
        if is_span { self.spans.would_enable(target, level) } else { self.lines.would_enable(target, level) }
    }
}

impl<S: Subscriber> Layer<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.takes(metadata.target(), metadata.level(), metadata.is_span())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.finest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_heard_from_warnings_on_and_spans_are_ours_alone() {
        let takes = |name: &str, target: &str, level: Level| Levels::of(name).takes(target, &level, false);
        assert!(takes("DEBUG", "transfer::sync", Level::DEBUG) && !takes("DEBUG", "hyper::proto", Level::INFO));
        assert!(takes("INFO", "aws_config", Level::WARN) && !takes("ERROR", "aws_config", Level::WARN));
        assert!(!takes("FATAL", "fanout", Level::WARN) && takes("odd", "bootstrap", Level::INFO));
        let span = |name: &str, target: &str| Levels::of(name).takes(target, &Level::INFO, true);
        assert!(span("ERROR", "lambda_runtime::layers::trace") && !span("TRACE", "aws_smithy_runtime"));
    }
}
