//! What SQS checks in a message, and the sums that it answers with.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::aws::ApiError;

/// A message as it lies in a queue.
#[derive(Debug, Clone)]
pub struct Message {
    /// The id that `SendMessage` answered.
    pub id: String,
    /// The body.
    pub body: String,
    /// The attributes that the sender gave.
    pub attributes: BTreeMap<String, Attribute>,
    /// The system attributes that do not change: `SentTimestamp`, `SenderId`, `MessageGroupId` and so on.
    pub system: BTreeMap<String, String>,
    /// How often it was received.
    pub receive_count: u32,
    /// Received, and neither deleted nor visible again.
    pub in_flight: bool,
    /// How long it stays hidden; zero for a message that can be received.
    pub visible_in: Duration,
}

impl Message {
    /// The FIFO or fair-queue group.
    pub fn group(&self) -> Option<&str> {
        self.system.get("MessageGroupId").map(String::as_str)
    }

    /// A string attribute that the sender gave.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.string.as_deref()
    }
}

/// One message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// `String`, `Number` or `Binary`, with an optional custom label behind a dot.
    pub data_type: String,
    /// The value, unless it is binary.
    pub string: Option<String>,
    /// The value, where it is binary.
    pub binary: Option<Vec<u8>>,
}

/// A message as a sender gives it, checked.
pub(super) struct Outgoing {
    pub(super) body: String,
    pub(super) attributes: BTreeMap<String, Attribute>,
    /// Beside the message: counts for no limit.
    pub(super) system: BTreeMap<String, Attribute>,
    pub(super) group: Option<String>,
    pub(super) deduplication_id: Option<String>,
    pub(super) delay: Option<u64>,
}

/// 1 MiB, the limit of a message and of a whole batch.
pub(super) const MAX_BYTES: usize = 1 << 20;
const MAX_ENTRIES: usize = 10;

impl Outgoing {
    /// Checks `MessageBody`, `MessageAttributes`, `MessageSystemAttributes`, `DelaySeconds`, `MessageGroupId` and `MessageDeduplicationId`.
    pub(super) fn parse(entry: &Value) -> Result<Self, ApiError> {
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        let body = text("MessageBody").ok_or_else(|| missing("MessageBody"))?;
        if body.is_empty() {
            return Err(missing("MessageBody"));
        }
        if !body.chars().all(allowed) {
            return Err(ApiError::client("InvalidMessageContents", "Invalid characters found in the message body."));
        }
        let attributes = attributes(&entry["MessageAttributes"])?;
        for name in ["MessageGroupId", "MessageDeduplicationId"] {
            let bad =
                text(name).is_some_and(|t| t.is_empty() || t.len() > 128 || !t.bytes().all(|b| b.is_ascii_graphic()));
            if bad {
                let message =
                    format!("{name} can only include alphanumeric and punctuation characters. 1 to 128 in length");
                return Err(invalid(message));
            }
        }
        let delay = match &entry["DelaySeconds"] {
            Value::Null => None,
            value => Some(value.as_u64().filter(|seconds| *seconds <= 900).ok_or_else(|| {
                invalid(format!(
                    "Value {value} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
                ))
            })?),
        };
        Ok(Self {
            body,
            attributes,
            system: system_attributes(&entry["MessageSystemAttributes"])?,
            group: text("MessageGroupId"),
            deduplication_id: text("MessageDeduplicationId"),
            delay,
        })
    }

    /// What counts against the limits: the body and the names, types and values of its attributes.
    pub(super) fn bytes(entry: &Value) -> usize {
        let attributes = entry["MessageAttributes"].as_object().into_iter().flatten().map(|(name, value)| {
            let binary = value["BinaryValue"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
            let length = |field: &str| value[field].as_str().map_or(0, str::len);
            name.len() + length("DataType") + length("StringValue") + binary.len()
        });
        entry["MessageBody"].as_str().map_or(0, str::len) + attributes.sum::<usize>()
    }

    /// The sums that a sender gets back.
    pub(super) fn sums(&self) -> Value {
        let mut sums = json!({ "MD5OfMessageBody": md5_hex(self.body.as_bytes()) });
        if !self.attributes.is_empty() {
            sums["MD5OfMessageAttributes"] = md5_of_attributes(&self.attributes).into();
        }
        if !self.system.is_empty() {
            sums["MD5OfMessageSystemAttributes"] = md5_of_attributes(&self.system).into();
        }
        sums
    }
}

/// The one that senders may give is `AWSTraceHeader`. Source: Amazon SQS API reference, `SendMessage`.
fn system_attributes(value: &Value) -> Result<BTreeMap<String, Attribute>, ApiError> {
    let of_one = |(name, value): (&String, &Value)| {
        let attribute = attribute(name, value)?;
        let text = attribute.string.as_deref().unwrap_or_default();
        match name.as_str() {
            "AWSTraceHeader"
                if attribute.data_type == "String" && text.split(';').any(|part| part.starts_with("Root=1-")) =>
            {
                Ok((name.clone(), attribute))
            }
            "AWSTraceHeader" => Err(invalid(format!("Message system attribute {name} has an invalid value."))),
            _ => Err(invalid(format!("Message system attribute name '{name}' is invalid."))),
        }
    };
    value.as_object().into_iter().flatten().map(of_one).collect()
}

/// The entries of a batch with their ids, after the checks that refuse a batch as a whole.
pub(super) fn batch(body: &Value) -> Result<Vec<(String, &Value)>, ApiError> {
    let entries = body["Entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        return Err(ApiError::client("EmptyBatchRequest", "There should be at least one entry in the request."));
    }
    if entries.len() > MAX_ENTRIES {
        let message = format!("Maximum number of entries per request are 10. You have sent {}.", entries.len());
        return Err(ApiError::client("TooManyEntriesInBatchRequest", message));
    }
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for entry in entries {
        let id = entry["Id"].as_str().unwrap_or_default();
        if !(1..=80).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.";
            return Err(ApiError::client("InvalidBatchEntryId", message));
        }
        if !seen.insert(id) {
            return Err(ApiError::client("BatchEntryIdsNotDistinct", format!("Id {id} repeated.")));
        }
        found.push((id.to_owned(), entry));
    }
    Ok(found)
}

fn attributes(value: &Value) -> Result<BTreeMap<String, Attribute>, ApiError> {
    let Some(object) = value.as_object() else { return Ok(BTreeMap::new()) };
    if object.len() > 10 {
        return Err(invalid(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [10].",
            object.len()
        )));
    }
    object.iter().map(|(name, value)| Ok((name.clone(), attribute(name, value)?))).collect()
}

fn attribute(name: &str, value: &Value) -> Result<Attribute, ApiError> {
    let bad_name = name.is_empty()
        || name.len() > 256
        || name.starts_with('.')
        || name.ends_with('.')
        || name.contains("..")
        || name.to_ascii_lowercase().starts_with("aws.")
        || name.to_ascii_lowercase().starts_with("amazon.")
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if bad_name {
        return Err(invalid(format!("Message attribute name '{name}' is invalid.")));
    }
    let data_type = value["DataType"].as_str().unwrap_or_default().to_owned();
    let string = value["StringValue"].as_str().map(str::to_owned);
    let binary = value["BinaryValue"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let fits = match data_type.split('.').next() {
        Some("String") => string.as_ref().is_some_and(|text| !text.is_empty() && text.chars().all(allowed)),
        Some("Number") => string.as_ref().is_some_and(|text| text.parse::<f64>().is_ok()),
        Some("Binary") => binary.as_ref().is_some_and(|bytes| !bytes.is_empty()),
        _ => return Err(invalid(format!("The message attribute '{name}' has an invalid message attribute type."))),
    };
    if !fits {
        return Err(invalid(format!("The message attribute '{name}' must contain a non-empty value of its type.")));
    }
    Ok(Attribute { data_type, string, binary })
}

/// The attributes in the form that `ReceiveMessage` answers.
pub(super) fn attributes_json(attributes: &BTreeMap<String, Attribute>) -> Value {
    let one = |attribute: &Attribute| match (&attribute.string, &attribute.binary) {
        (_, Some(bytes)) => json!({ "DataType": attribute.data_type, "BinaryValue": STANDARD.encode(bytes) }),
        (text, None) => json!({ "DataType": attribute.data_type, "StringValue": text }),
    };
    Value::Object(attributes.iter().map(|(name, attribute)| (name.clone(), one(attribute))).collect())
}

pub(super) fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// By name: length and name, length and type, a byte for the kind of value, length and value.
pub(super) fn md5_of_attributes(attributes: &BTreeMap<String, Attribute>) -> String {
    let mut all = Vec::new();
    let mut field = |bytes: &[u8], kind: Option<u8>| {
        all.extend(kind);
        all.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        all.extend(bytes);
    };
    for (name, attribute) in attributes {
        field(name.as_bytes(), None);
        field(attribute.data_type.as_bytes(), None);
        match (&attribute.binary, &attribute.string) {
            (Some(bytes), _) => field(bytes, Some(2)),
            (None, text) => field(text.as_deref().unwrap_or_default().as_bytes(), Some(1)),
        }
    }
    md5_hex(&all)
}

/// The characters that SQS takes: those of XML 1.0.
fn allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

pub(super) fn missing(parameter: &str) -> ApiError {
    ApiError::client("MissingParameter", format!("The request must contain the parameter {parameter}."))
}

pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterValue", message)
}

pub(super) fn failed_entry(id: &str, error: &ApiError) -> Value {
    json!({ "Id": id, "SenderFault": error.status < 500, "Code": error.code, "Message": error.message })
}

pub(super) fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(super) fn pairs(value: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}
