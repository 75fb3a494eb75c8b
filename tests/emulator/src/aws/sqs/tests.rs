//! The queue's behaviour through its API, without a socket.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn sqs() -> (Sqs, String) {
    let sqs = Sqs::new("http://127.0.0.1:1");
    let url = sqs.create("work", Duration::from_secs(30));
    (sqs, url)
}

async fn call(sqs: &Sqs, operation: &str, body: Value) -> Result<Value, ApiError> {
    let call =
        Call { operation: operation.into(), region: "us-east-1".into(), access_key: "AKIA111122223333".into(), body };
    Api::call(sqs, call).await
}

async fn receive(sqs: &Sqs, url: &str) -> Vec<Value> {
    let body = json!({ "QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"], "MessageAttributeNames": ["All"] });
    let answer = call(sqs, "ReceiveMessage", body).await.unwrap();
    answer["Messages"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_hidden_until_its_visibility_ends() {
    let (sqs, url) = sqs();
    let sent = call(&sqs, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "hello" })).await.unwrap();
    assert_eq!(sent["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592");
    let first = receive(&sqs, &url).await;
    assert_eq!(first[0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert!(receive(&sqs, &url).await.is_empty());
    assert!(sqs.messages("work")[0].in_flight);
    tokio::time::advance(Duration::from_secs(31)).await;
    let second = receive(&sqs, &url).await;
    assert_eq!(second[0]["Attributes"]["ApproximateReceiveCount"], "2");
    let delete = |message: &Value| json!({ "QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"] });
    call(&sqs, "DeleteMessage", delete(&first[0])).await.unwrap();
    assert_eq!(sqs.messages(&url).len(), 1, "an old handle deletes nothing");
    call(&sqs, "DeleteMessage", delete(&second[0])).await.unwrap();
    assert!(sqs.messages(&url).is_empty());
}

#[tokio::test(start_paused = true)]
async fn visibility_can_be_changed_while_in_flight_only() {
    let (sqs, url) = sqs();
    sqs.send(&url, "x");
    let handle = receive(&sqs, &url).await[0]["ReceiptHandle"].clone();
    let change = |seconds: u64| json!({ "QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": seconds });
    call(&sqs, "ChangeMessageVisibility", change(300)).await.unwrap();
    assert_eq!(sqs.messages(&url)[0].visible_in, Duration::from_secs(300));
    assert_eq!(call(&sqs, "ChangeMessageVisibility", change(43_201)).await.unwrap_err().code, "InvalidParameterValue");
    call(&sqs, "ChangeMessageVisibility", change(0)).await.unwrap();
    assert_eq!(call(&sqs, "ChangeMessageVisibility", change(5)).await.unwrap_err().code, "MessageNotInflight");
    let garbage = json!({ "QueueUrl": url, "ReceiptHandle": "nonsense", "VisibilityTimeout": 1 });
    assert_eq!(call(&sqs, "ChangeMessageVisibility", garbage).await.unwrap_err().code, "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn a_batch_fails_in_part() {
    let (sqs, url) = sqs();
    let entries = json!([
        { "Id": "good", "MessageBody": "x" },
        { "Id": "bad", "MessageBody": "\u{1}" },
        { "Id": "late", "MessageBody": "x", "DelaySeconds": 901 },
    ]);
    let answer = call(&sqs, "SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await.unwrap();
    assert_eq!(answer["Successful"][0]["Id"], "good");
    assert_eq!(answer["Failed"][0]["Code"], "InvalidMessageContents");
    assert_eq!(answer["Failed"][1]["Code"], "InvalidParameterValue");
    sqs.fail_next_entries(1);
    let one = json!({ "QueueUrl": url, "Entries": [{ "Id": "a", "MessageBody": "x" }] });
    let answer = call(&sqs, "SendMessageBatch", one).await.unwrap();
    assert_eq!(
        (&answer["Failed"][0]["Code"], &answer["Failed"][0]["SenderFault"]),
        (&json!("InternalError"), &json!(false))
    );
    assert_eq!(sqs.messages(&url).len(), 1);
}

#[tokio::test]
async fn a_batch_is_refused_as_a_whole() {
    let (sqs, url) = sqs();
    let entry = |id: &str, length: usize| json!({ "Id": id, "MessageBody": "x".repeat(length) });
    let cases = [
        (json!([]), "EmptyBatchRequest"),
        ((0..11).map(|n| entry(&n.to_string(), 1)).collect(), "TooManyEntriesInBatchRequest"),
        (json!([entry("a", 1), entry("a", 1)]), "BatchEntryIdsNotDistinct"),
        (json!([entry("a b", 1)]), "InvalidBatchEntryId"),
        (json!([entry(&"a".repeat(81), 1)]), "InvalidBatchEntryId"),
        (json!([entry("a", 600_000), entry("b", 600_000)]), "BatchRequestTooLong"),
    ];
    for (entries, code) in cases {
        let error = call(&sqs, "SendMessageBatch", json!({ "QueueUrl": url, "Entries": entries })).await.unwrap_err();
        assert_eq!(error.code, code);
    }
    let long = json!({ "QueueUrl": url, "MessageBody": "x".repeat((1 << 20) + 1) });
    assert_eq!(call(&sqs, "SendMessage", long).await.unwrap_err().code, "InvalidParameterValue");
    let full = json!({ "QueueUrl": url, "MessageBody": "x".repeat(1 << 20) });
    call(&sqs, "SendMessage", full).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_moves_to_the_dead_letters_after_its_last_receive() {
    let (sqs, url) = sqs();
    sqs.create("dead", Duration::from_secs(30));
    sqs.redrive("work", "dead", 2);
    let id = sqs.send(&url, "x");
    for _ in 0..2 {
        assert_eq!(receive(&sqs, &url).await.len(), 1);
        tokio::time::advance(Duration::from_secs(31)).await;
    }
    assert!(receive(&sqs, &url).await.is_empty());
    let dead = sqs.messages("dead");
    assert_eq!(dead[0].id, id);
    assert_eq!(dead[0].system["DeadLetterQueueSourceArn"], "arn:aws:sqs:us-east-1:111122223333:work");
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_waits_and_a_long_poll_waits_for_it() {
    let (sqs, url) = sqs();
    call(&sqs, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "x", "DelaySeconds": 5 })).await.unwrap();
    assert!(receive(&sqs, &url).await.is_empty());
    let begun = Instant::now();
    let answer = call(&sqs, "ReceiveMessage", json!({ "QueueUrl": url, "WaitTimeSeconds": 20 })).await.unwrap();
    assert_eq!(answer["Messages"][0]["Body"], "x");
    assert!((5..6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_fifo_group_keeps_its_order_and_drops_duplicates() {
    let (sqs, _) = sqs();
    let url = sqs.create("work.fifo", Duration::from_secs(30));
    let send = |group: &str, body: &str| json!({ "QueueUrl": url, "MessageBody": body, "MessageGroupId": group });
    let first = call(&sqs, "SendMessage", send("a", "1")).await.unwrap();
    assert_eq!(call(&sqs, "SendMessage", send("a", "1")).await.unwrap()["MessageId"], first["MessageId"]);
    call(&sqs, "SendMessage", send("a", "2")).await.unwrap();
    call(&sqs, "SendMessage", send("b", "3")).await.unwrap();
    let one = json!({ "QueueUrl": url, "MaxNumberOfMessages": 1 });
    let got = call(&sqs, "ReceiveMessage", one.clone()).await.unwrap();
    assert_eq!(got["Messages"][0]["Body"], "1");
    let next = call(&sqs, "ReceiveMessage", one.clone()).await.unwrap();
    assert_eq!(next["Messages"][0]["Body"], "3", "group a waits for its first message");
    let handle = &got["Messages"][0]["ReceiptHandle"];
    call(&sqs, "DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": handle })).await.unwrap();
    assert_eq!(call(&sqs, "ReceiveMessage", one).await.unwrap()["Messages"][0]["Body"], "2");
    let bare = json!({ "QueueUrl": url, "MessageBody": "x" });
    assert_eq!(call(&sqs, "SendMessage", bare).await.unwrap_err().code, "MissingParameter");
}

#[tokio::test]
async fn queues_are_created_found_changed_and_purged() {
    let (sqs, _) = sqs();
    let create = |seconds: &str| json!({ "QueueName": "other", "Attributes": { "VisibilityTimeout": seconds } });
    let url = call(&sqs, "CreateQueue", create("60")).await.unwrap()["QueueUrl"].clone();
    call(&sqs, "CreateQueue", create("60")).await.unwrap();
    assert_eq!(call(&sqs, "CreateQueue", create("61")).await.unwrap_err().code, "QueueNameExists");
    assert_eq!(call(&sqs, "GetQueueUrl", json!({ "QueueName": "other" })).await.unwrap()["QueueUrl"], url);
    assert_eq!(call(&sqs, "GetQueueUrl", json!({ "QueueName": "none" })).await.unwrap_err().code, "QueueDoesNotExist");
    let set = json!({ "QueueUrl": url, "Attributes": { "VisibilityTimeout": "5" } });
    call(&sqs, "SetQueueAttributes", set).await.unwrap();
    sqs.send("other", "x");
    let get = json!({ "QueueUrl": url, "AttributeNames": ["VisibilityTimeout", "ApproximateNumberOfMessages"] });
    let attributes = call(&sqs, "GetQueueAttributes", get).await.unwrap();
    assert_eq!(attributes["Attributes"], json!({ "VisibilityTimeout": "5", "ApproximateNumberOfMessages": "1" }));
    let bad = json!({ "QueueUrl": url, "Attributes": { "Colour": "red" } });
    assert_eq!(call(&sqs, "SetQueueAttributes", bad).await.unwrap_err().code, "InvalidAttributeName");
    call(&sqs, "PurgeQueue", json!({ "QueueUrl": url })).await.unwrap();
    assert!(sqs.messages("other").is_empty());
}

#[tokio::test]
async fn message_attributes_come_back_with_their_sum() {
    let (sqs, url) = sqs();
    let attributes = json!({ "error_type": { "DataType": "String", "StringValue": "Denied" } });
    let sent = json!({ "QueueUrl": url, "MessageBody": "x", "MessageAttributes": attributes });
    let sent = call(&sqs, "SendMessage", sent).await.unwrap();
    let got = receive(&sqs, &url).await;
    assert_eq!(got[0]["MessageAttributes"]["error_type"]["StringValue"], "Denied");
    assert_eq!(got[0]["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    assert_eq!(sqs.messages(&url)[0].attribute("error_type"), Some("Denied"));
    let bad = json!({ "e": { "DataType": "String", "StringValue": "" } });
    let bad = json!({ "QueueUrl": url, "MessageBody": "x", "MessageAttributes": bad });
    assert_eq!(call(&sqs, "SendMessage", bad).await.unwrap_err().code, "InvalidParameterValue");
}

#[tokio::test]
async fn a_trace_header_goes_beside_the_message_and_no_other_system_attribute_is_taken() {
    let (sqs, url) = sqs();
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=3fe1be46a9942727;Sampled=1";
    let attributes = json!({ "AWSTraceHeader": { "DataType": "String", "StringValue": header } });
    // The largest body leaves no room: the header counts for nothing.
    let body = "x".repeat(1 << 20);
    let sent = json!({ "QueueUrl": url, "MessageBody": body, "MessageSystemAttributes": attributes });
    let sent = call(&sqs, "SendMessage", sent).await.unwrap();
    assert_eq!(sent["MD5OfMessageSystemAttributes"].as_str().map(str::len), Some(32));
    let event = sqs.receive_event(&url, 1).unwrap();
    assert_eq!(event["Records"][0]["attributes"]["AWSTraceHeader"], header);
    assert_eq!(event["Records"][0]["messageAttributes"], json!({}));
    for (name, value) in [("AWSTraceHeader", "one"), ("SenderId", "me")] {
        let bad = json!({ name: { "DataType": "String", "StringValue": value } });
        let bad = json!({ "QueueUrl": url, "MessageBody": "x", "MessageSystemAttributes": bad });
        assert_eq!(call(&sqs, "SendMessage", bad).await.unwrap_err().code, "InvalidParameterValue");
    }
}

#[test]
fn the_sum_of_attributes_is_that_of_a_real_answer() {
    let attributes = json!({
        "Count": { "DataType": "Number", "StringValue": "1" },
        "Foo": { "DataType": "String", "StringValue": "Bar" },
    });
    let outgoing =
        Outgoing::parse(&json!({ "MessageBody": "This is a test", "MessageAttributes": attributes })).unwrap();
    let sums = outgoing.sums();
    assert_eq!(sums["MD5OfMessageBody"], "ce114e4501d2f4e2dcea3e17b546f339");
    assert_eq!(sums["MD5OfMessageAttributes"], "324758f82d026ac6ec5b31a3b192d1e3");
}

#[tokio::test]
async fn the_event_of_a_function_has_lambdas_shape() {
    let (sqs, url) = sqs();
    let id = sqs.send(&url, "{}");
    let event = sqs.receive_event(&url, 10).unwrap();
    let record = &event["Records"][0];
    assert_eq!((record["messageId"].as_str(), record["eventSource"].as_str()), (Some(id.as_str()), Some("aws:sqs")));
    assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
    assert!(sqs.receive_event(&url, 10).is_none());
    sqs.delete(&url, record["receiptHandle"].as_str().unwrap());
    assert!(sqs.messages(&url).is_empty());
}
