//! Two registries, and the configuration that makes them ends of a sync.

use std::time::Duration;

use scenarios::{
    DockerRegistry, Function,
    docker_registry::Settings,
    world::{SOURCE, push_event},
};
use serde_json::{Value, json};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "pass word:of the test";

/// A registry of either scheme, locked or open.
pub(crate) fn settings(tls: bool, locked: bool) -> Settings {
    let settings = DockerRegistry::settings().in_memory();
    let settings = if tls { settings.tls() } else { settings };
    if locked { settings.credentials(USER, PASSWORD) } else { settings }
}

/// Where images come from, and where they go.
pub(crate) struct Ends {
    pub(crate) source: DockerRegistry,
    pub(crate) destination: DockerRegistry,
    pub(crate) config: Value,
}

impl Ends {
    pub(crate) async fn start(tls: bool, locked: bool) -> Self {
        let (source, destination) = tokio::join!(settings(tls, locked).start(), settings(tls, locked).start());
        let mut registries = json!({
            source.host(): entry(&source, locked),
            destination.host(): entry(&destination, locked),
        });
        // Events come from ECR alone: here the source is taken for it, and its API is switched off.
        registries[SOURCE] = entry(&source, locked);
        registries[SOURCE]["endpoint"] = json!(source.url());
        registries[SOURCE]["provider"] = json!("generic");
        let config = json!({
            "rules": [{ "destinations": [format!("{}/pushed/{{repository}}", destination.host())] }],
            "registries": registries,
        });
        Self { source, destination, config }
    }

    pub(crate) async fn function(&self, binary: &str) -> Function {
        let (config, login) = (self.config.to_string(), format!("{USER}:{PASSWORD}"));
        Function::start(binary, &[("TRANSSHIP_CONFIG", &config), ("LOGIN", &login)]).await
    }

    /// How many requests either end has served.
    pub(crate) async fn requests(&self) -> (usize, usize) {
        (self.source.settled().await, self.destination.settled().await)
    }
}

pub(crate) fn entry(registry: &DockerRegistry, locked: bool) -> Value {
    let mut entry = match registry.authority() {
        Some(pem) => json!({ "ca_certificate": pem }),
        None => json!({ "plain_http": true }),
    };
    if locked {
        entry["credentials"] = json!("env:LOGIN");
    }
    entry
}

/// Has `on-push` replicate the push of a tag; its result.
pub(crate) async fn push(function: &mut Function, repository: &str, tag: &str, digest: &str) -> Value {
    let outcome = function.invoke(push_event(repository, tag, digest), LIMIT).await;
    let text = format!("{outcome:?}");
    outcome.ok().unwrap_or_else(|| panic!("{text}"))["results"][0].clone()
}

/// Has `fanout` replicate what a message names; its result, from the log.
pub(crate) async fn message(function: &mut Function, source: &str, destination: &str) -> Value {
    let body = json!({ "source": source, "destination": destination });
    let event = json!({ "Records": [{
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body.to_string(),
        "eventSource": "aws:sqs",
    }] });
    let before = results(function).len();
    let outcome = function.invoke(event, LIMIT).await;
    assert_eq!(outcome.ok(), Some(json!({ "batchItemFailures": [] })), "{:#?}", function.lines());
    // The line may come through its pipe a little after the answer through its socket.
    let end = tokio::time::Instant::now() + Duration::from_secs(5);
    while results(function).len() == before && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    results(function).pop().expect("every sync logs its result")
}

fn results(function: &Function) -> Vec<Value> {
    function.records().iter().map(|record| record["result"].clone()).filter(Value::is_object).collect()
}
