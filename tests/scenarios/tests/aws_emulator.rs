//! The emulated AWS APIs as AWS's own SDK sees them: the wire formats, not our idea of them.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, sts::AssumeRoleProvider};
use aws_sdk_sqs::{
    config::{Credentials, SharedCredentialsProvider},
    error::ProvideErrorMetadata,
    types::{
        MessageAttributeValue, MessageSystemAttributeName, MessageSystemAttributeNameForSends,
        MessageSystemAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry,
    },
};
use emulator::aws::{ApiError, Aws};
use scenarios::http_client::client;

async fn sdk(aws: &Aws) -> SdkConfig {
    let _ = client(None);
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(aws.url())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIA111122223333", "secret", Some("token".into()), None, "test"))
        .retry_config(RetryConfig::standard().with_max_attempts(1))
        .load()
        .await
}

#[tokio::test]
async fn sqs_speaks_to_the_sdk() {
    let aws = Aws::start(Vec::new()).await;
    let sqs = aws_sdk_sqs::Client::new(&sdk(&aws).await);
    let dead = sqs.create_queue().queue_name("dead").send().await.unwrap().queue_url.unwrap();
    let work = sqs
        .create_queue()
        .queue_name("work")
        .attributes(QueueAttributeName::VisibilityTimeout, "60")
        .attributes(
            QueueAttributeName::RedrivePolicy,
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:111122223333:dead","maxReceiveCount":5}"#,
        )
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    assert_eq!(sqs.get_queue_url().queue_name("dead").send().await.unwrap().queue_url.unwrap(), dead);
    let attribute = MessageAttributeValue::builder().data_type("String").string_value("Denied").build().unwrap();
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let traced = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().unwrap();
    let entry = |id: &str, body: &str| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(body)
            .message_attributes("error_type", attribute.clone())
            .message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, traced.clone())
            .build()
            .unwrap()
    };
    let sent = sqs
        .send_message_batch()
        .queue_url(&work)
        .entries(entry("good", "hello"))
        .entries(entry("bad", "\u{1}"))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.successful()[0].id(), "good");
    assert_eq!((sent.failed()[0].code(), sent.failed()[0].sender_fault()), ("InvalidMessageContents", true));
    let received = sqs
        .receive_message()
        .queue_url(&work)
        .max_number_of_messages(10)
        .wait_time_seconds(1)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .message_attribute_names("All")
        .send()
        .await
        .unwrap();
    let message = &received.messages()[0];
    assert_eq!(message.body(), Some("hello"));
    assert_eq!(message.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    assert_eq!(message.attributes().unwrap()[&MessageSystemAttributeName::AwsTraceHeader], header);
    assert!(sent.successful()[0].md5_of_message_system_attributes().is_some());
    assert_eq!(message.message_attributes().unwrap()["error_type"], attribute);
    assert_eq!(message.md5_of_message_attributes(), sent.successful()[0].md5_of_message_attributes());
    let handle = message.receipt_handle().unwrap();
    sqs.change_message_visibility().queue_url(&work).receipt_handle(handle).visibility_timeout(9).send().await.unwrap();
    assert!(aws.sqs().messages("work")[0].visible_in <= Duration::from_secs(9));
    sqs.delete_message().queue_url(&work).receipt_handle(handle).send().await.unwrap();
    let attributes = sqs.get_queue_attributes().queue_url(&work).attribute_names(QueueAttributeName::All);
    let attributes = attributes.send().await.unwrap().attributes.unwrap();
    assert_eq!(attributes[&QueueAttributeName::ApproximateNumberOfMessages], "0");
    assert_eq!(attributes[&QueueAttributeName::VisibilityTimeout], "60");
    assert_eq!(aws.count("sqs", "SendMessageBatch"), 1);
}

#[tokio::test]
async fn sqs_errors_are_the_sdks_errors() {
    let aws = Aws::start(Vec::new()).await;
    let sqs = aws_sdk_sqs::Client::new(&sdk(&aws).await);
    let url = format!("{}/111122223333/none", aws.url());
    let error = sqs.send_message().queue_url(url).message_body("x").send().await.unwrap_err().into_service_error();
    assert!(error.is_queue_does_not_exist(), "{error:?}");
    assert_eq!(error.code(), Some("AWS.SimpleQueueService.NonExistentQueue"));
    let url = aws.sqs().create("work", Duration::from_secs(30));
    aws.fail_next("SendMessage", ApiError::with_status(503, "ServiceUnavailable", "again"), 1);
    let error = sqs.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 503);
    sqs.send_message().queue_url(&url).message_body("x").send().await.unwrap();
    let oks: Vec<bool> = aws.calls().iter().map(|call| call.ok).collect();
    assert_eq!(oks, [false, false, true]);
}

#[tokio::test]
async fn secrets_and_parameters_speak_to_the_sdk() {
    let aws = Aws::start(Vec::new()).await;
    let config = sdk(&aws).await;
    let arn = aws.secrets().put("ghcr", "user:pass");
    let secrets = aws_sdk_secretsmanager::Client::new(&config);
    let secret = secrets.get_secret_value().secret_id(&arn).send().await.unwrap();
    assert_eq!((secret.name(), secret.secret_string()), (Some("ghcr"), Some("user:pass")));
    let error = secrets.get_secret_value().secret_id("none").send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
    aws.ssm().put_secure("/transship/config", "{}");
    let ssm = aws_sdk_ssm::Client::new(&config);
    let parameter = ssm.get_parameter().name("/transship/config").with_decryption(true).send().await.unwrap();
    assert_eq!(parameter.parameter().unwrap().value(), Some("{}"));
    let error = ssm.get_parameter().name("none").send().await.unwrap_err().into_service_error();
    assert!(error.is_parameter_not_found(), "{error:?}");
    let regions: Vec<String> = aws.calls().into_iter().map(|call| call.region).collect();
    assert_eq!(regions, ["us-east-1"; 4]);
}

#[tokio::test]
async fn a_role_is_assumed_through_the_sdk() {
    let aws = Aws::start(Vec::new()).await;
    let config = sdk(&aws).await;
    let role = "arn:aws:iam::222233334444:role/transship-push";
    aws.sts().require_external_id(role, "s3cret");
    let assume = |external_id: &str| {
        let provider = AssumeRoleProvider::builder(role).session_name("transship").external_id(external_id);
        provider.configure(&config).build()
    };
    let assumed =
        config.to_builder().credentials_provider(SharedCredentialsProvider::new(assume("s3cret").await)).build();
    let secrets = aws_sdk_secretsmanager::Client::new(&assumed);
    aws.secrets().put_in("us-east-1", "222233334444", "ghcr", "theirs");
    aws.secrets().put("ghcr", "ours");
    let secret = secrets.get_secret_value().secret_id("ghcr").send().await.unwrap();
    assert_eq!(secret.secret_string(), Some("theirs"), "a name belongs to the caller's account");
    let calls = aws.calls();
    assert_eq!((calls[0].service.as_str(), calls[0].operation.as_str()), ("sts", "AssumeRole"));
    assert_eq!(calls[1].access_key, "ASIA222233334444AAAA");
    let wrong = config.to_builder().credentials_provider(SharedCredentialsProvider::new(assume("no").await)).build();
    let refused = aws_sdk_secretsmanager::Client::new(&wrong).get_secret_value().secret_id("ghcr").send().await;
    assert!(format!("{:?}", refused.unwrap_err()).contains("AccessDenied"));
}

#[tokio::test]
async fn an_unsigned_call_is_refused_in_the_services_own_format() {
    let aws = Aws::start(Vec::new()).await;
    let http = client(None);
    let call = http.post(aws.url()).header("x-amz-target", "AmazonSQS.SendMessage");
    let answer = call.header("content-type", "application/x-amz-json-1.0").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("#MissingAuthenticationTokenException"));
    let form = http.post(aws.url()).header("content-type", "application/x-www-form-urlencoded");
    let answer = form.body("Action=GetCallerIdentity&Version=2011-06-15").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("<Code>MissingAuthenticationToken</Code>"));
}
