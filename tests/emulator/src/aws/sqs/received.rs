//! A received message, as `ReceiveMessage` answers it and as a Lambda function's event carries it.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    message::{Attribute, attributes_json, md5_hex, md5_of_attributes, strings},
    queue::Received,
};

fn system_attributes(received: &Received) -> BTreeMap<String, String> {
    let mut system = received.message.system.clone();
    system.insert("ApproximateReceiveCount".into(), received.message.receive_count.to_string());
    system
}

/// A message as `ReceiveMessage` answers it: only the attributes that were asked for.
pub(super) fn message_json(received: &Received, asked: &Value) -> Value {
    let message = &received.message;
    let mut answer = json!({
        "MessageId": message.id,
        "ReceiptHandle": received.receipt,
        "MD5OfBody": md5_hex(message.body.as_bytes()),
        "Body": message.body,
    });
    let mut names = strings(&asked["MessageSystemAttributeNames"]);
    names.extend(strings(&asked["AttributeNames"]));
    let mut system = system_attributes(received);
    system.retain(|name, _| names.iter().any(|asked| *asked == "All" || asked == name));
    if !system.is_empty() {
        answer["Attributes"] = json!(system);
    }
    let names = strings(&asked["MessageAttributeNames"]);
    let wanted = |name: &String| {
        let matches = |asked: &&str| match asked.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => *asked == "All" || asked == name,
        };
        names.iter().any(matches)
    };
    let mut attributes = message.attributes.clone();
    attributes.retain(|name, _| wanted(name));
    if !attributes.is_empty() {
        answer["MD5OfMessageAttributes"] = md5_of_attributes(&attributes).into();
        answer["MessageAttributes"] = attributes_json(&attributes);
    }
    answer
}

/// A message as it stands in a Lambda function's event: keys in lower case, every attribute.
pub(super) fn event_record(received: &Received, queue_arn: &str, region: &str) -> Value {
    let message = &received.message;
    let binary = |bytes: &Vec<u8>| STANDARD.encode(bytes);
    let one = |attribute: &Attribute| {
        json!({
            "dataType": attribute.data_type,
            "stringValue": attribute.string,
            "binaryValue": attribute.binary.as_ref().map(binary),
            "stringListValues": [],
            "binaryListValues": [],
        })
    };
    let attributes: Map<String, Value> =
        message.attributes.iter().map(|(name, attribute)| (name.clone(), one(attribute))).collect();
    json!({
        "messageId": message.id,
        "receiptHandle": received.receipt,
        "body": message.body,
        "attributes": system_attributes(received),
        "messageAttributes": attributes,
        "md5OfBody": md5_hex(message.body.as_bytes()),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    })
}
