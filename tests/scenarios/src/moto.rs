//! moto's server: an SQS that is not ours, and a poller that treats it as Lambda's event source mapping does.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::{
    Client,
    config::Credentials,
    types::{Message, MessageSystemAttributeName, QueueAttributeName},
};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

use crate::{Function, Outcome, event_source::failures, function::read_lines, http_client};

/// moto's account.
const ACCOUNT: &str = "123456789012";

/// A moto server that runs. Killed when dropped.
pub struct Moto {
    url: String,
    sqs: Client,
    _child: Child,
}

impl Moto {
    /// Starts the server on a free port and waits until it answers.
    pub async fn start() -> Self {
        // The port is free when we look and may be taken when the server binds it.
        for _ in 0..5 {
            if let Some(moto) = Self::try_start().await {
                return moto;
            }
        }
        panic!("moto_server did not start five times in a row: see its log above");
    }

    async fn try_start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback address has a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        drop(listener);
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut child = Command::new(program())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("moto_server is installed: run scripts/install-test-tools");
        read_lines(child.stdout.take().expect("standard output is piped"), lines.clone());
        read_lines(child.stderr.take().expect("standard error is piped"), lines.clone());
        let url = format!("http://127.0.0.1:{port}");
        let client = http_client::client(None);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(40) && matches!(child.try_wait(), Ok(None)) {
            if client.get(format!("{url}/moto-api/")).send().await.is_ok_and(|answer| answer.status().is_success()) {
                let sqs = Client::new(&sdk(&url).await);
                return Some(Self { url, sqs, _child: child });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        print_log(&lines.lock().unwrap_or_else(PoisonError::into_inner));
        None
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// AWS's own client of its SQS.
    #[must_use]
    pub fn sqs(&self) -> &Client {
        &self.sqs
    }

    /// Creates a queue with these attributes. Answers its URL.
    pub async fn create(&self, name: &str, attributes: &[(QueueAttributeName, &str)]) -> String {
        let request = attributes.iter().fold(self.sqs.create_queue().queue_name(name), |request, (name, value)| {
            request.attributes(name.clone(), *value)
        });
        request.send().await.expect("moto creates queues").queue_url.expect("a queue has a URL")
    }

    /// The redrive policy that moves what was received so often to the queue of this name.
    #[must_use]
    pub fn redrive_to(name: &str, max_receive_count: u32) -> String {
        let arn = format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{name}");
        json!({ "deadLetterTargetArn": arn, "maxReceiveCount": max_receive_count }).to_string()
    }

    /// Receives what is visible, with all attributes.
    pub async fn receive(&self, url: &str, most: i32) -> Vec<Message> {
        let request = self.sqs.receive_message().queue_url(url).max_number_of_messages(most);
        let request =
            request.message_system_attribute_names(MessageSystemAttributeName::All).message_attribute_names("All");
        request.send().await.expect("moto hands messages out").messages.unwrap_or_default()
    }

    /// How many messages a queue has, visible or not.
    pub async fn count(&self, url: &str) -> usize {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let request = self.sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
        let attributes = request.send().await.expect("moto counts").attributes.unwrap_or_default();
        names.iter().filter_map(|name| attributes.get(name)?.parse::<usize>().ok()).sum()
    }

    /// Moves every message of a queue to another one, attributes included, as `StartMessageMoveTask` does.
    pub async fn move_all(&self, from: &str, to: &str) -> usize {
        let mut moved = 0;
        loop {
            let messages = self.receive(from, 10).await;
            if messages.is_empty() {
                return moved;
            }
            for message in messages {
                let request = self.sqs.send_message().queue_url(to).message_body(message.body.unwrap_or_default());
                request.set_message_attributes(message.message_attributes).send().await.expect("moto takes it back");
                self.delete(from, message.receipt_handle.as_deref()).await;
                moved += 1;
            }
        }
    }

    /// Receives up to `most` messages, invokes the function with them, and deletes those that did not fail, as Lambda's
    /// event source mapping does with `ReportBatchItemFailures` on. `None`: nothing was visible.
    pub async fn deliver(&self, url: &str, most: i32, function: &mut Function, timeout: Duration) -> Option<Outcome> {
        let messages = self.receive(url, most).await;
        if messages.is_empty() {
            return None;
        }
        let records: Vec<Value> = messages.iter().map(|message| record(url, message)).collect();
        let outcome = function.invoke(json!({ "Records": records }), timeout).await;
        let ids: Vec<&str> = messages.iter().filter_map(|message| message.message_id.as_deref()).collect();
        let kept = failures(&outcome, &ids);
        for message in &messages {
            if !kept.iter().any(|id| Some(id.as_str()) == message.message_id.as_deref()) {
                self.delete(url, message.receipt_handle.as_deref()).await;
            }
        }
        Some(outcome)
    }

    async fn delete(&self, url: &str, receipt: Option<&str>) {
        let request = self.sqs.delete_message().queue_url(url).receipt_handle(receipt.unwrap_or_default());
        request.send().await.expect("moto deletes");
    }
}

/// A received message in the shape of a function's event.
fn record(url: &str, message: &Message) -> Value {
    let name = url.rsplit('/').next().unwrap_or_default();
    let system: Map<String, Value> = message
        .attributes
        .iter()
        .flatten()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
        .collect();
    let own: Map<String, Value> = message
        .message_attributes
        .iter()
        .flatten()
        .map(|(name, value)| (name.clone(), json!({ "dataType": value.data_type, "stringValue": value.string_value })))
        .collect();
    json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": system,
        "messageAttributes": own,
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"),
        "awsRegion": "us-east-1",
    })
}

/// The server of the venv that `scripts/install-venv` makes, or one that is installed.
fn program() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/moto_server");
    if own.exists() { own } else { PathBuf::from("moto_server") }
}

async fn sdk(url: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIA123456789012", "secret", None, None, "test"))
        .load()
        .await
}

#[allow(clippy::print_stderr, reason = "a server that does not start says why")]
fn print_log(lines: &[String]) {
    lines.iter().for_each(|line| eprintln!("moto_server: {line}"));
}
