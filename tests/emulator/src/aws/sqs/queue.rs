//! One queue: which message may be received when. Knows nothing of the wire.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::message::{Message, Outgoing, invalid, missing};
use crate::aws::ApiError;

pub(super) struct Queue {
    pub(super) name: String,
    pub(super) account: String,
    pub(super) region: String,
    /// The attributes that were set or stand at their defaults, as the text that `GetQueueAttributes` answers.
    pub(super) attributes: BTreeMap<String, String>,
    messages: Vec<Stored>,
    recent: HashMap<String, (Instant, String, String)>,
    created: u64,
    sequence: u64,
}

struct Stored {
    message: Message,
    visible_at: Instant,
    receipt: Option<String>,
    first_received: Option<u64>,
}

/// A message that was just received.
pub(super) struct Received {
    pub(super) message: Message,
    pub(super) receipt: String,
}

/// A message that was just taken in.
pub(super) struct Accepted {
    pub(super) id: String,
    pub(super) sequence: Option<String>,
}

/// What `RedrivePolicy` says.
pub(super) struct Redrive {
    pub(super) target_arn: String,
    pub(super) max_receive_count: u32,
}

/// How long a FIFO queue remembers a deduplication id.
const DEDUPLICATION: Duration = Duration::from_secs(300);

/// Settable attributes: name, default, least, most.
const NUMBERS: [(&str, u64, u64, u64); 5] = [
    ("DelaySeconds", 0, 0, 900),
    ("MaximumMessageSize", 1 << 20, 1024, 1 << 20),
    ("MessageRetentionPeriod", 345_600, 60, 1_209_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 0, 20),
    ("VisibilityTimeout", 30, 0, 43_200),
];
const TEXTS: [&str; 9] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsMasterKeyId",
    "Policy",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
];

impl Queue {
    pub(super) fn new(name: &str, account: &str, region: &str) -> Self {
        let attributes = NUMBERS.iter().map(|(name, default, ..)| ((*name).to_owned(), default.to_string())).collect();
        Self {
            name: name.to_owned(),
            account: account.to_owned(),
            region: region.to_owned(),
            attributes,
            messages: Vec::new(),
            recent: HashMap::new(),
            created: epoch_ms() / 1000,
            sequence: 0,
        }
    }

    pub(super) fn arn(&self) -> String {
        format!("arn:aws:sqs:{}:{}:{}", self.region, self.account, self.name)
    }

    pub(super) fn fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// Checks and sets one attribute.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        if let Some((_, _, least, most)) = NUMBERS.iter().find(|number| number.0 == name) {
            if !value.parse::<u64>().is_ok_and(|number| (*least..=*most).contains(&number)) {
                return Err(bad_attribute(name));
            }
        } else if !TEXTS.contains(&name) {
            return Err(ApiError::client("InvalidAttributeName", format!("Unknown Attribute {name}.")));
        } else if name == "FifoQueue" && (value == "true") != self.fifo() {
            return Err(bad_attribute(name));
        }
        if value.is_empty() {
            self.attributes.remove(name);
        } else {
            self.attributes.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    pub(super) fn redrive(&self) -> Option<Redrive> {
        parse_redrive(self.attributes.get("RedrivePolicy")?).ok()
    }

    /// Every attribute, counters included.
    pub(super) fn all_attributes(&self) -> BTreeMap<String, String> {
        let mut all = self.attributes.clone();
        let now = Instant::now();
        let count = |kind: fn(&Stored, Instant) -> bool| self.messages.iter().filter(|m| kind(m, now)).count();
        all.insert("ApproximateNumberOfMessages".into(), count(|m, now| m.visible_at <= now).to_string());
        all.insert("ApproximateNumberOfMessagesNotVisible".into(), count(Stored::in_flight).to_string());
        let delayed = count(|m, now| m.visible_at > now && m.receipt.is_none());
        all.insert("ApproximateNumberOfMessagesDelayed".into(), delayed.to_string());
        all.insert("QueueArn".into(), self.arn());
        all.insert("CreatedTimestamp".into(), self.created.to_string());
        all.insert("LastModifiedTimestamp".into(), self.created.to_string());
        all
    }

    /// Takes a message in. A FIFO queue answers a repeated deduplication id with the first message's id.
    pub(super) fn send(&mut self, outgoing: &Outgoing, sender: &str, id: String) -> Result<Accepted, ApiError> {
        let now = Instant::now();
        let mut system = BTreeMap::from([
            ("SenderId".to_owned(), sender.to_owned()),
            ("SentTimestamp".to_owned(), epoch_ms().to_string()),
        ]);
        let mut sequence = None;
        if let Some(group) = &outgoing.group {
            system.insert("MessageGroupId".into(), group.clone());
        }
        for (name, attribute) in &outgoing.system {
            system.insert(name.clone(), attribute.string.clone().unwrap_or_default());
        }
        if self.fifo() {
            if outgoing.group.is_none() {
                return Err(missing("MessageGroupId"));
            }
            if outgoing.delay.is_some() {
                return Err(invalid(
                    "The request include parameter that is not valid for this queue type: DelaySeconds",
                ));
            }
            let key = self.deduplication_key(outgoing)?;
            self.recent.retain(|_, (at, ..)| now.duration_since(*at) < DEDUPLICATION);
            if let Some((_, id, number)) = self.recent.get(&key) {
                return Ok(Accepted { id: id.clone(), sequence: Some(number.clone()) });
            }
            self.sequence += 256;
            let number = format!("188494964{:011}", self.sequence);
            system.insert("MessageDeduplicationId".into(), key.clone());
            system.insert("SequenceNumber".into(), number.clone());
            self.recent.insert(key, (now, id.clone(), number.clone()));
            sequence = Some(number);
        } else if outgoing.deduplication_id.is_some() {
            return Err(invalid(
                "The request includes a parameter that is not valid for this queue type: MessageDeduplicationId",
            ));
        }
        let delay = Duration::from_secs(outgoing.delay.unwrap_or_else(|| self.number("DelaySeconds")));
        let message = Message {
            id: id.clone(),
            body: outgoing.body.clone(),
            attributes: outgoing.attributes.clone(),
            system,
            receive_count: 0,
            in_flight: false,
            visible_in: Duration::ZERO,
        };
        self.messages.push(Stored { message, visible_at: now + delay, receipt: None, first_received: None });
        Ok(Accepted { id, sequence })
    }

    fn deduplication_key(&self, outgoing: &Outgoing) -> Result<String, ApiError> {
        if let Some(id) = &outgoing.deduplication_id {
            return Ok(id.clone());
        }
        if self.attributes.get("ContentBasedDeduplication").is_none_or(|on| on != "true") {
            return Err(invalid(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ));
        }
        Ok(Sha256::digest(outgoing.body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Hands out up to `most` messages and hides them. `receipt` makes a handle from a message's id and count.
    pub(super) fn receive(
        &mut self,
        most: usize,
        visibility: Duration,
        receipt: impl Fn(&str, u32) -> String,
    ) -> Vec<Received> {
        let now = Instant::now();
        let (fifo, now_ms) = (self.fifo(), epoch_ms());
        // A group whose first message is hidden waits: that is what keeps a FIFO group in order.
        let mut blocked: HashSet<String> = HashSet::new();
        let mut received = Vec::new();
        for stored in &mut self.messages {
            if received.len() == most {
                break;
            }
            let group = stored.message.group().unwrap_or_default().to_owned();
            if stored.visible_at > now || (fifo && blocked.contains(&group)) {
                blocked.insert(group);
                continue;
            }
            stored.message.receive_count += 1;
            let first = *stored.first_received.get_or_insert(now_ms);
            stored.message.system.insert("ApproximateFirstReceiveTimestamp".into(), first.to_string());
            let handle = receipt(&stored.message.id, stored.message.receive_count);
            stored.receipt = Some(handle.clone());
            stored.visible_at = now + visibility;
            received.push(Received { message: stored.message.clone(), receipt: handle });
        }
        received
    }

    /// Takes out the messages that may not be received once more.
    pub(super) fn take_exhausted(&mut self) -> Vec<Message> {
        let Some(redrive) = self.redrive() else { return Vec::new() };
        let now = Instant::now();
        let over = |m: &Stored| m.visible_at <= now && m.message.receive_count >= redrive.max_receive_count;
        let (exhausted, kept) = std::mem::take(&mut self.messages).into_iter().partition(over);
        self.messages = kept;
        exhausted.into_iter().map(|stored: Stored| stored.message).collect()
    }

    /// Takes in a message of the queue whose dead letters come here.
    pub(super) fn bury(&mut self, mut message: Message, source_arn: &str) {
        message.system.insert("DeadLetterQueueSourceArn".into(), source_arn.to_owned());
        let visible_at = Instant::now();
        self.messages.push(Stored { message, visible_at, receipt: None, first_received: None });
    }

    /// Deletes by handle. An older handle of a message that was received again deletes nothing.
    pub(super) fn delete(&mut self, receipt: &str) {
        self.messages.retain(|stored| stored.receipt.as_deref() != Some(receipt));
    }

    pub(super) fn change_visibility(&mut self, receipt: &str, timeout: Duration) -> Result<(), ApiError> {
        let now = Instant::now();
        let Some(stored) = self.messages.iter_mut().find(|stored| stored.receipt.as_deref() == Some(receipt)) else {
            return Err(invalid("Message does not exist or is not available for visibility timeout change."));
        };
        if !stored.in_flight(now) {
            return Err(ApiError::client("MessageNotInflight", "The message referred to isn't in flight."));
        }
        stored.visible_at = now + timeout;
        Ok(())
    }

    pub(super) fn purge(&mut self) {
        self.messages.clear();
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        let now = Instant::now();
        let snapshot = |stored: &Stored| Message {
            in_flight: stored.in_flight(now),
            visible_in: stored.visible_at.saturating_duration_since(now),
            ..stored.message.clone()
        };
        self.messages.iter().map(snapshot).collect()
    }

    /// Puts the messages into the order of these numbers.
    pub(super) fn shuffle(&mut self, mut number: impl FnMut() -> u64) {
        self.messages.sort_by_cached_key(|_| number());
    }

    /// Makes every message visible now, as if all time-outs had passed.
    pub(super) fn skip_waiting(&mut self) {
        let now = Instant::now();
        self.messages.iter_mut().for_each(|stored| stored.visible_at = now);
    }
}

impl Stored {
    fn in_flight(&self, now: Instant) -> bool {
        self.receipt.is_some() && self.visible_at > now
    }
}

/// Parses `{"deadLetterTargetArn": …, "maxReceiveCount": …}`; the count may be a number or text.
pub(super) fn parse_redrive(policy: &str) -> Result<Redrive, ApiError> {
    let value: Value = serde_json::from_str(policy).map_err(|_| bad_attribute("RedrivePolicy"))?;
    let count = match &value["maxReceiveCount"] {
        Value::Null => Some(10),
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    };
    let count = count.and_then(|count| u32::try_from(count).ok()).filter(|count| (1..=1000).contains(count));
    match (value["deadLetterTargetArn"].as_str(), count) {
        (Some(arn), Some(max_receive_count)) => Ok(Redrive { target_arn: arn.to_owned(), max_receive_count }),
        _ => Err(bad_attribute("RedrivePolicy")),
    }
}

/// The policy that sends what was received this often to that queue.
pub(super) fn redrive_policy(target_arn: &str, max_receive_count: u32) -> String {
    json!({ "deadLetterTargetArn": target_arn, "maxReceiveCount": max_receive_count }).to_string()
}

pub(super) fn no_queue(hint: &str) -> ApiError {
    ApiError::client("QueueDoesNotExist", format!("The specified queue does not exist.{hint}"))
}

pub(super) fn bad_attribute(name: &str) -> ApiError {
    ApiError::client("InvalidAttributeValue", format!("Invalid value for the parameter {name}."))
}

pub(super) fn epoch_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}
