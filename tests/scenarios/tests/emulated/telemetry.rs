//! What operators see: one JSON line for each sync, with the result and CloudWatch metrics in it.

use std::{collections::BTreeMap, time::SystemTime};

use emulator::{Action, Fault, Image, Kind};
use scenarios::{
    Function, World,
    world::{DESTINATION, push_event},
};
use serde_json::Value;

use crate::support::{LIMIT, eventually, failed, pushed, watched};

const METRICS: [&str; 12] = [
    "BlobsMounted",
    "BlobsTransferred",
    "BytesAvoided",
    "BytesTransferred",
    "Current",
    "Duration",
    "Failed",
    "PeakBufferBytes",
    "ReplicationLag",
    "Retries",
    "Synced",
    "Throttled",
];

async fn world() -> (World, Image) {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository("mirror/team/app");
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

/// The lines with metrics, once there are so many.
async fn metric_lines(function: &Function, count: usize) -> Vec<Value> {
    let lines = || function.records().into_iter().filter(|record| record.get("_aws").is_some()).collect::<Vec<_>>();
    eventually("the results are logged", || lines().len() >= count).await;
    assert_eq!(lines().len(), count);
    lines()
}

/// The metrics of a line by name, as CloudWatch reads them.
fn metrics(line: &Value) -> BTreeMap<String, u64> {
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Namespace"], "Transship");
    assert_eq!(directive["Dimensions"], serde_json::json!([["Function", "Destination"]]));
    assert_eq!((&line["Function"], &line["Destination"]), (&"on-push".into(), &DESTINATION.into()));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let at = u128::from(line["_aws"]["Timestamp"].as_u64().unwrap());
    assert!(now.abs_diff(at) < 60_000, "{at} is not now, in milliseconds");
    let definitions = directive["Metrics"].as_array().unwrap().iter();
    definitions
        .map(|definition| {
            let name = definition["Name"].as_str().unwrap();
            assert!(definition["Unit"].is_string());
            (name.to_owned(), line[name].as_u64().unwrap_or_else(|| panic!("{name} is no number: {line}")))
        })
        .collect()
}

/// The metrics of a line by function alone, which alarms are set on.
fn alarming(line: &Value) -> Vec<&str> {
    let directive = &line["_aws"]["CloudWatchMetrics"][1];
    assert_eq!(
        (&directive["Namespace"], &directive["Dimensions"]),
        (&"Transship".into(), &serde_json::json!([["Function"]]))
    );
    directive["Metrics"].as_array().unwrap().iter().map(|definition| definition["Name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_sync_writes_its_result_and_metrics_in_one_line() {
    watched(async {
        let (world, image) = world().await;
        let mut function = world.function("on-push", &[]).await;
        let mut event = push_event("team/app", "v1", &image.digest);
        let minute_ago = SystemTime::now() - std::time::Duration::from_secs(60);
        let minute_ago = minute_ago.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        event["time"] = rfc3339(minute_ago).into();
        let answer = function.invoke(event, LIMIT).await.ok().unwrap();
        pushed(&mut function, "team/app", "v1", &image.digest).await;

        let lines = metric_lines(&function, 2).await;
        assert_eq!(lines[0]["result"], answer["results"][0], "what is answered is what is logged");
        let synced = metrics(&lines[0]);
        assert_eq!(synced.keys().map(String::as_str).collect::<Vec<_>>(), METRICS);
        assert_eq!((synced["Synced"], synced["Current"], synced["Failed"]), (1, 0, 0));
        assert_eq!(alarming(&lines[0]), ["Failed", "Throttled", "ReplicationLag"]);
        assert_eq!(alarming(&lines[1]), ["Failed", "Throttled"]);
        assert_eq!(synced["BlobsTransferred"], 2);
        assert_eq!(answer["results"][0]["bytes"]["written"], synced["BytesTransferred"]);
        assert!((60_000..90_000).contains(&synced["ReplicationLag"]), "{}", synced["ReplicationLag"]);
        let current = metrics(&lines[1]);
        assert_eq!((current["Synced"], current["Current"], current["BytesTransferred"]), (0, 1, 0));
        assert!(!current.contains_key("ReplicationLag"), "nothing was brought");
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_a_line_of_its_own_kind() {
    watched(async {
        let (world, image) = world().await;
        let broken = Fault::on(Kind::BlobGet).forever().then(Action::CorruptByte(0));
        world.source.faults().add(broken);
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        let lines = metric_lines(&function, 1).await;
        assert_eq!(lines[0]["level"], "ERROR");
        assert_eq!(lines[0]["result"]["outcome"], "failed");
        assert_eq!(lines[0]["result"]["error_type"], error_type);
        assert_eq!(lines[0]["result"]["error_message"], message);
        let failed = metrics(&lines[0]);
        assert_eq!((failed["Failed"], failed["Synced"]), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn metrics_do_not_depend_on_the_log_level() {
    watched(async {
        let (world, image) = world().await;
        let env = [("AWS_LAMBDA_LOG_LEVEL", "FATAL"), ("AWS_LAMBDA_LOG_FORMAT", "Text")];
        let mut function = world.function("on-push", &env).await;
        pushed(&mut function, "team/app", "v1", &image.digest).await;
        let lines = metric_lines(&function, 1).await;
        assert_eq!(metrics(&lines[0])["Synced"], 1);
        assert_eq!(function.lines().len(), 1, "{:?}", function.lines());
    })
    .await;
}

/// Seconds since 1970 as EventBridge writes times.
fn rfc3339(seconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let days = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // Howard Hinnant's civil-from-days, for days after 1970.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let rest = seconds % 86_400;
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}
