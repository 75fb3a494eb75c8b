//! Syncs in this very process, by the crate that the functions are made of: for what no configuration turns.

use std::time::Duration;

use serde_json::Value;
use transfer::{
    compose::{App, Tuning},
    deadline::Deadline,
    request::{SyncOptions, SyncRequest},
    settings::Environment,
    sync::SyncReport,
};

/// What a function has, with this configuration.
pub(crate) async fn app(config: &Value, tuning: Tuning) -> App {
    let config = config.to_string();
    let environment = Environment::from(&|name| (name == "TRANSSHIP_CONFIG").then(|| config.clone()));
    App::tuned(environment, tuning).await.expect("the configuration is good")
}

/// Syncs one image.
pub(crate) async fn sync(app: &App, source: &str, destination: &str, time: Duration) -> SyncReport {
    let request = SyncRequest {
        source: source.parse().expect("it is a reference"),
        destination: destination.parse().expect("it is a reference"),
        expected: None,
        options: SyncOptions::default(),
        pushed_at: None,
        asked_at: None,
        repeated: false,
        tried: false,
        heard: false,
        attached: false,
    };
    app.syncer.run(&request, Deadline::after(time)).await
}
