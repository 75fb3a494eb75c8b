//! SQS in AWS JSON 1.0: queues with visibility, delays, redrive, batches with partial failure, FIFO groups.
#![allow(clippy::panic, reason = "a test that names a queue which it did not create is wrong")]

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Mutex, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};

use self::{
    message::{MAX_BYTES, Outgoing, batch, failed_entry, invalid, missing, pairs, strings},
    queue::{Queue, Received, bad_attribute, no_queue, parse_redrive, redrive_policy},
    received::{event_record, message_json},
};
use super::{Api, ApiError, Call, DEFAULT_ACCOUNT, DEFAULT_REGION, account_of, server::lock};

mod message;
mod queue;
mod received;
#[cfg(test)]
mod tests;

pub use self::message::{Attribute, Message};

/// All queues of all accounts.
pub struct Sqs {
    state: Mutex<State>,
    arrived: Notify,
}

struct State {
    endpoint: String,
    queues: Vec<Queue>,
    ids: u64,
    entry_faults: usize,
}

impl Sqs {
    pub(super) fn new(endpoint: &str) -> Self {
        let state = State { endpoint: endpoint.to_owned(), queues: Vec::new(), ids: 0, entry_faults: 0 };
        Self { state: Mutex::new(state), arrived: Notify::new() }
    }

    /// Creates a queue in the default account and region; a name that ends in `.fifo` makes a FIFO queue with
    /// content-based deduplication. Answers its URL.
    pub fn create(&self, name: &str, visibility: Duration) -> String {
        self.create_in(DEFAULT_REGION, DEFAULT_ACCOUNT, name, visibility)
    }

    /// Creates a queue in this region and account. Answers its URL.
    pub fn create_in(&self, region: &str, account: &str, name: &str, visibility: Duration) -> String {
        let mut state = lock(&self.state);
        let mut queue = Queue::new(name, account, region);
        queue.attributes.insert("VisibilityTimeout".into(), visibility.as_secs().to_string());
        if queue.fifo() {
            queue.attributes.insert("FifoQueue".into(), "true".into());
            queue.attributes.insert("ContentBasedDeduplication".into(), "true".into());
        }
        let url = state.url(&queue);
        state.queues.push(queue);
        url
    }

    /// Sends what was received `max_receive_count` times from `queue` to `dead_letters`. Both by name or URL.
    pub fn redrive(&self, queue: &str, dead_letters: &str, max_receive_count: u32) {
        let mut state = lock(&self.state);
        let arn = state.named(dead_letters).arn();
        let policy = redrive_policy(&arn, max_receive_count);
        state.named(queue).attributes.insert("RedrivePolicy".into(), policy);
    }

    /// The messages of a queue, by name or URL: visible, hidden and delayed, oldest first.
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        lock(&self.state).named(queue).messages()
    }

    /// Puts a message into a queue, by name or URL. Answers its id.
    pub fn send(&self, queue: &str, body: &str) -> String {
        self.send_entry(
            queue,
            &json!({ "MessageBody": body, "MessageGroupId": queue.ends_with(".fifo").then_some("group") }),
        )
    }

    /// Puts a message of this group into a queue, FIFO or fair, by name or URL. Answers its id.
    pub fn send_in_group(&self, queue: &str, group: &str, body: &str) -> String {
        self.send_entry(queue, &json!({ "MessageBody": body, "MessageGroupId": group }))
    }

    /// Puts a message into a queue that belongs to the trace of this header. Answers its id.
    pub fn send_traced(&self, queue: &str, body: &str, header: &str) -> String {
        let header = json!({ "DataType": "String", "StringValue": header });
        self.send_entry(queue, &json!({ "MessageBody": body, "MessageSystemAttributes": { "AWSTraceHeader": header } }))
    }

    fn send_entry(&self, queue: &str, entry: &Value) -> String {
        let outgoing = Outgoing::parse(entry).expect("SQS takes this body");
        let mut state = lock(&self.state);
        let id = state.next_id();
        let accepted = state.named(queue).send(&outgoing, "AIDATEST", id).expect("the queue takes this message");
        drop(state);
        self.arrived.notify_waiters();
        accepted.id
    }

    /// Receives up to `most` messages as Lambda's event source mapping does, in the shape of a function's event.
    /// Moves dead letters on the way. Nothing there: `None`.
    pub fn receive_event(&self, queue: &str, most: usize) -> Option<Value> {
        let mut state = lock(&self.state);
        let queue = state.named(queue);
        let (arn, region) = (queue.arn(), queue.region.clone());
        let received = state.receive(&arn, most, None);
        let records = received.into_iter().map(|one| event_record(&one, &arn, &region)).collect::<Vec<_>>();
        (!records.is_empty()).then(|| json!({ "Records": records }))
    }

    /// Deletes the message with this receipt handle, as the event source mapping does after success.
    pub fn delete(&self, queue: &str, receipt_handle: &str) {
        lock(&self.state).named(queue).delete(receipt_handle);
    }

    /// Makes all messages of a queue visible now, as if every time-out and delay had passed.
    pub fn skip_waiting(&self, queue: &str) {
        lock(&self.state).named(queue).skip_waiting();
        self.arrived.notify_waiters();
    }

    /// Puts the messages of a queue into the order of these numbers: no other is kept by a standard queue.
    pub fn shuffle(&self, queue: &str, number: impl FnMut() -> u64) {
        lock(&self.state).named(queue).shuffle(number);
    }

    /// Fails the next `times` entries of `SendMessageBatch` with `InternalError`, in answers that are a 200.
    pub fn fail_next_entries(&self, times: usize) {
        lock(&self.state).entry_faults += times;
    }

    async fn receive(&self, call: &Call) -> Result<Value, ApiError> {
        let number = |name: &str, default: u64, least: u64, most: u64| {
            match &call.body[name] {
            Value::Null => Ok(default),
            value => value.as_u64().filter(|n| (least..=most).contains(n)).ok_or_else(|| {
                invalid(format!(
                    "Value {value} for parameter {name} is invalid. Reason: Must be between {least} and {most}, if provided."
                ))
            }),
        }
        };
        let most = usize::try_from(number("MaxNumberOfMessages", 1, 1, 10)?).unwrap_or(1);
        let (arn, default_wait, default_visibility) = {
            let mut state = lock(&self.state);
            let queue = state.find(call)?;
            (queue.arn(), queue.number("ReceiveMessageWaitTimeSeconds"), queue.number("VisibilityTimeout"))
        };
        let wait = Duration::from_secs(number("WaitTimeSeconds", default_wait, 0, 20)?);
        let visibility = Duration::from_secs(number("VisibilityTimeout", default_visibility, 0, 43_200)?);
        let end = Instant::now() + wait;
        loop {
            let arrived = self.arrived.notified();
            let received = lock(&self.state).receive(&arn, most, Some(visibility));
            if !received.is_empty() {
                let messages: Vec<Value> = received.iter().map(|one| message_json(one, &call.body)).collect();
                return Ok(json!({ "Messages": messages }));
            }
            if Instant::now() >= end {
                return Ok(json!({}));
            }
            // Hidden messages come back by the clock alone, so look again now and then.
            let _ = tokio::time::timeout(Duration::from_millis(20).min(end - Instant::now()), arrived).await;
        }
    }
}

impl Api for Sqs {
    fn target(&self) -> &'static str {
        "AmazonSQS"
    }

    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Value, ApiError>> + Send + '_>> {
        Box::pin(async move {
            if call.operation == "ReceiveMessage" {
                return self.receive(&call).await;
            }
            let answer = lock(&self.state).call(&call);
            self.arrived.notify_waiters();
            answer
        })
    }
}

impl State {
    fn call(&mut self, call: &Call) -> Result<Value, ApiError> {
        match call.operation.as_str() {
            "CreateQueue" => self.create(call),
            "GetQueueUrl" => self.queue_url(call),
            "SendMessage" => self.send(call),
            "SendMessageBatch" => self.send_batch(call),
            "DeleteMessage" => self.delete(call, &call.body).map(|()| json!({})),
            "DeleteMessageBatch" => each_entry(call, |entry| self.delete(call, entry)),
            "ChangeMessageVisibility" => self.change_visibility(call, &call.body).map(|()| json!({})),
            "ChangeMessageVisibilityBatch" => each_entry(call, |entry| self.change_visibility(call, entry)),
            "GetQueueAttributes" => self.attributes(call),
            "SetQueueAttributes" => self.set_attributes(call),
            "PurgeQueue" => {
                self.find(call)?.purge();
                Ok(json!({}))
            }
            other => Err(ApiError::client("UnknownOperationException", format!("The emulator has no {other}"))),
        }
    }

    fn create(&mut self, call: &Call) -> Result<Value, ApiError> {
        let name = call.body["QueueName"].as_str().ok_or_else(|| missing("QueueName"))?;
        let stem = name.strip_suffix(".fifo").unwrap_or(name);
        if !(1..=80).contains(&name.len()) || !stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
            return Err(invalid(
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
            ));
        }
        let account = account_of(&call.access_key);
        let mut queue = Queue::new(name, account, &call.region);
        let asked = pairs(&call.body["Attributes"]);
        if queue.fifo() && !asked.contains_key("FifoQueue") {
            return Err(invalid("The queue name can only end in .fifo for FIFO queues."));
        }
        for (name, value) in &asked {
            queue.set(name, value)?;
        }
        self.check_redrive(&queue)?;
        let url = self.url(&queue);
        match self.queues.iter().find(|known| known.arn() == queue.arn()) {
            Some(known) => {
                if let Some((name, _)) = asked.iter().find(|(name, value)| known.attributes.get(*name) != Some(*value))
                {
                    let message =
                        format!("A queue already exists with the same name and a different value for attribute {name}");
                    return Err(ApiError::client("QueueNameExists", message));
                }
            }
            None => self.queues.push(queue),
        }
        Ok(json!({ "QueueUrl": url }))
    }

    fn queue_url(&mut self, call: &Call) -> Result<Value, ApiError> {
        let name = call.body["QueueName"].as_str().ok_or_else(|| missing("QueueName"))?;
        let account = call.body["QueueOwnerAWSAccountId"].as_str().unwrap_or(account_of(&call.access_key));
        let found = self.queues.iter().find(|q| q.name == name && q.account == account && q.region == call.region);
        let queue = found.ok_or_else(|| no_queue(""))?;
        Ok(json!({ "QueueUrl": self.url(queue) }))
    }

    fn send(&mut self, call: &Call) -> Result<Value, ApiError> {
        let most = self.find(call)?.number("MaximumMessageSize");
        if Outgoing::bytes(&call.body) as u64 > most {
            let message =
                format!("One or more parameters are invalid. Reason: Message must be shorter than {most} bytes.");
            return Err(invalid(message));
        }
        self.send_one(call, &call.body)
    }

    fn send_batch(&mut self, call: &Call) -> Result<Value, ApiError> {
        let most = self.find(call)?.number("MaximumMessageSize");
        let entries = batch(&call.body)?;
        let total: usize = entries.iter().map(|(_, entry)| Outgoing::bytes(entry)).sum();
        if total > MAX_BYTES || entries.iter().any(|(_, entry)| Outgoing::bytes(entry) as u64 > most) {
            let message =
                format!("Batch requests cannot be longer than {MAX_BYTES} bytes. You have sent {total} bytes.");
            return Err(ApiError::client("BatchRequestTooLong", message));
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (id, entry) in entries {
            if self.entry_faults > 0 {
                self.entry_faults -= 1;
                failed
                    .push(json!({ "Id": id, "SenderFault": false, "Code": "InternalError", "Message": "Try again." }));
                continue;
            }
            match self.send_one(call, entry) {
                Ok(mut sent) => {
                    sent["Id"] = id.into();
                    successful.push(sent);
                }
                Err(error) => failed.push(failed_entry(&id, &error)),
            }
        }
        Ok(json!({ "Successful": successful, "Failed": failed }))
    }

    fn send_one(&mut self, call: &Call, entry: &Value) -> Result<Value, ApiError> {
        let outgoing = Outgoing::parse(entry)?;
        let id = self.next_id();
        let accepted = self.find(call)?.send(&outgoing, &format!("AIDA{}", account_of(&call.access_key)), id)?;
        let mut answer = outgoing.sums();
        answer["MessageId"] = accepted.id.into();
        if let Some(sequence) = accepted.sequence {
            answer["SequenceNumber"] = sequence.into();
        }
        Ok(answer)
    }

    fn delete(&mut self, call: &Call, entry: &Value) -> Result<(), ApiError> {
        let queue = self.find(call)?;
        let receipt = receipt(entry, queue)?;
        queue.delete(receipt);
        Ok(())
    }

    fn change_visibility(&mut self, call: &Call, entry: &Value) -> Result<(), ApiError> {
        let queue = self.find(call)?;
        let receipt = receipt(entry, queue)?;
        let timeout = &entry["VisibilityTimeout"];
        let Some(seconds) = timeout.as_u64().filter(|seconds| *seconds <= 43_200) else {
            let reason = "Reason: VisibilityTimeout must be an integer between 0 and 43200";
            return Err(invalid(format!("Value {timeout} for parameter VisibilityTimeout is invalid. {reason}.")));
        };
        queue.change_visibility(receipt, Duration::from_secs(seconds))
    }

    fn attributes(&mut self, call: &Call) -> Result<Value, ApiError> {
        let names = strings(&call.body["AttributeNames"]);
        let all = self.find(call)?.all_attributes();
        let wanted = |name: &String| names.iter().any(|asked| *asked == "All" || asked == name);
        let found: BTreeMap<String, String> = all.into_iter().filter(|(name, _)| wanted(name)).collect();
        Ok(if found.is_empty() { json!({}) } else { json!({ "Attributes": found }) })
    }

    fn set_attributes(&mut self, call: &Call) -> Result<Value, ApiError> {
        let asked = pairs(&call.body["Attributes"]);
        if let Some(policy) = asked.get("RedrivePolicy").filter(|policy| !policy.is_empty()) {
            let mut changed = Queue::new(&self.find(call)?.name.clone(), "", "");
            changed.attributes.insert("RedrivePolicy".into(), policy.clone());
            self.check_redrive(&changed)?;
        }
        let queue = self.find(call)?;
        asked.iter().try_for_each(|(name, value)| queue.set(name, value))?;
        Ok(json!({}))
    }

    /// Dead letters go to an existing queue of the same kind.
    fn check_redrive(&self, queue: &Queue) -> Result<(), ApiError> {
        let Some(policy) = queue.attributes.get("RedrivePolicy") else { return Ok(()) };
        let redrive = parse_redrive(policy)?;
        match self.queues.iter().find(|known| known.arn() == redrive.target_arn) {
            Some(target) if target.fifo() == queue.fifo() => Ok(()),
            _ => Err(bad_attribute("RedrivePolicy")),
        }
    }

    /// Moves dead letters, then hands messages out.
    fn receive(&mut self, arn: &str, most: usize, visibility: Option<Duration>) -> Vec<Received> {
        let Some(at) = self.queues.iter().position(|queue| queue.arn() == arn) else { return Vec::new() };
        let redrive = self.queues[at].redrive();
        let target = redrive.and_then(|redrive| self.queues.iter().position(|q| q.arn() == redrive.target_arn));
        if let Some(target) = target {
            for message in self.queues[at].take_exhausted() {
                self.queues[target].bury(message, arn);
            }
        }
        let queue = &mut self.queues[at];
        let visibility = visibility.unwrap_or_else(|| Duration::from_secs(queue.number("VisibilityTimeout")));
        let name = queue.name.clone();
        queue.receive(most, visibility, |id, count| format!("{RECEIPT}{name}:{id}:{count}"))
    }

    /// The queue of a call's `QueueUrl`, which must be of the region that the call was signed for.
    fn find(&mut self, call: &Call) -> Result<&mut Queue, ApiError> {
        let url = call.body["QueueUrl"].as_str().ok_or_else(|| missing("QueueUrl"))?;
        let mut parts = url.rsplit('/');
        let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let found = self.queues.iter_mut().find(|queue| queue.name == name && queue.account == account);
        match found {
            Some(queue) if queue.region == call.region => Ok(queue),
            Some(queue) => Err(no_queue(&format!(" It is in {}, the call was for {}.", queue.region, call.region))),
            None => Err(no_queue("")),
        }
    }

    /// A queue that a test names.
    fn named(&mut self, name_or_url: &str) -> &mut Queue {
        let name = name_or_url.rsplit('/').next().unwrap_or_default();
        let found = self.queues.iter_mut().find(|queue| queue.name == name);
        found.unwrap_or_else(|| panic!("no queue {name_or_url} was created"))
    }

    fn url(&self, queue: &Queue) -> String {
        format!("{}/{}/{}", self.endpoint, queue.account, queue.name)
    }

    fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("059f36b4-87a3-44ab-83d2-{:012x}", self.ids)
    }
}

/// Every receipt handle begins like this; nothing else is one.
const RECEIPT: &str = "AQEB";

fn receipt<'a>(entry: &'a Value, queue: &Queue) -> Result<&'a str, ApiError> {
    let handle = entry["ReceiptHandle"].as_str().ok_or_else(|| missing("ReceiptHandle"))?;
    let own = handle.strip_prefix(RECEIPT).and_then(|rest| rest.strip_prefix(&queue.name));
    if own.is_some_and(|rest| rest.starts_with(':')) {
        return Ok(handle);
    }
    let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
    Err(ApiError::client("ReceiptHandleIsInvalid", message))
}

fn each_entry(call: &Call, mut act: impl FnMut(&Value) -> Result<(), ApiError>) -> Result<Value, ApiError> {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, entry) in batch(&call.body)? {
        // The queue itself is not a matter of one entry.
        match act(entry) {
            Ok(()) => successful.push(json!({ "Id": id })),
            Err(error) if error.code == "QueueDoesNotExist" => return Err(error),
            Err(error) => failed.push(failed_entry(&id, &error)),
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}
