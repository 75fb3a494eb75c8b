//! Log lines: records in Lambda's JSON shape, each with its request, its trace, and the stage it was made in.

use std::collections::BTreeSet;

use emulator::{Action, Fault, Image, Kind};
use scenarios::{
    Function, World,
    attached::{SBOM, artifact, attach},
    world::{DESTINATION, SOURCE, push_event},
};
use serde_json::Value;

use crate::support::{LIMIT, eventually, failed, pushed, watched};

async fn world() -> (World, Image) {
    let world = World::ecr(|destination| destination).await;
    world.destination.store().create_repository("mirror/team/app");
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

/// All lines as records; what is none is none of Lambda's either.
fn records(function: &Function) -> Vec<Value> {
    let lines = function.lines().into_iter();
    lines.map(|line| serde_json::from_str(&line).unwrap_or_else(|_| panic!("no record: {line}"))).collect()
}

fn is_of_an_invocation(record: &Value) -> bool {
    record["requestId"].as_str().is_some_and(|id| id.starts_with("8476a536-"))
}

#[tokio::test]
async fn every_line_of_an_invocation_has_its_request_id_and_trace_at_the_top() {
    watched(async {
        let (world, image) = world().await;
        let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;
        function.ready().await.unwrap();
        let before = records(&function).len();
        pushed(&mut function, "team/app", "v1", &image.digest).await;
        eventually("the result is logged", || records(&function).iter().any(|line| line.get("_aws").is_some())).await;
        let all = records(&function);
        for record in &all {
            let time = record["timestamp"].as_str().unwrap_or_default();
            assert!(time.len() == 24 && time.ends_with('Z'), "to the millisecond: {record}");
            assert!(["DEBUG", "INFO", "WARN", "ERROR"].contains(&record["level"].as_str().unwrap()), "{record}");
            assert!(record["message"].is_string() && record.get("span").is_none(), "{record}");
        }
        assert!(all[..before].iter().all(|record| record.get("requestId").is_none()), "the init phase is no request's");
        // What is told whatever the level is, too.
        let is_told = |record: &Value| is_of_an_invocation(record) || record.get("_aws").is_some();
        let (first, last) = {
            let of_one: Vec<usize> = (0..all.len()).filter(|at| is_told(&all[*at])).collect();
            (of_one[0], of_one[of_one.len() - 1])
        };
        assert!(last - first > 8, "{all:?}");
        for record in &all[first..=last] {
            assert!(is_of_an_invocation(record), "{record}");
            let trace = record["xrayTraceId"].as_str().unwrap_or_else(|| panic!("no trace: {record}"));
            assert!(trace.starts_with("1-67891233-") && trace.len() == 35, "{record}");
        }
    })
    .await;
}

#[tokio::test]
async fn each_stage_is_named_and_its_time_taken() {
    watched(async {
        let (world, image) = world().await;
        let sbom = artifact(SBOM, "an SBOM", &image.descriptor());
        attach(world.source.store(), "team/app", &sbom, &image.digest, true);
        let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        let stages = ["attach", "gate", "inventory", "plan", "publish", "referrers", "resolve", "transfer"];
        let named: Vec<&String> = result["stages"].as_object().unwrap().keys().collect();
        assert_eq!(named, stages, "{result}");
        let sum: u64 = result["stages"].as_object().unwrap().values().map(|took| took.as_u64().unwrap()).sum();
        assert!(sum <= result["duration_ms"].as_u64().unwrap() + 8, "no stage counts twice: {result}");
        eventually("the result is logged", || records(&function).iter().any(|line| line.get("_aws").is_some())).await;
        let all = records(&function);
        let ended: Vec<&Value> = all.iter().filter(|record| record["message"] == "stage ended").collect();
        let seen: BTreeSet<&str> = ended.iter().filter_map(|record| record["stage"].as_str()).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), stages);
        for record in ended {
            assert!(record["duration_ms"].is_u64() && is_of_an_invocation(record), "{record}");
            assert_eq!(record["source"], format!("{SOURCE}/team/app:v1"));
            assert_eq!(record["destination"], format!("{DESTINATION}/mirror/team/app:v1"));
        }
        let plans: Vec<&Value> = all.iter().filter(|record| record["message"] == "planned").collect();
        let of_plans: Vec<&str> = plans.iter().filter_map(|plan| plan["stage"].as_str()).collect();
        assert_eq!(of_plans, ["plan", "attach"], "what is attached is planned as a part of it");
        assert!(all.last().is_some_and(|record| record.get("stage").is_none()), "no stage outlives the sync: {all:?}");
    })
    .await;
}

#[tokio::test]
async fn a_line_of_a_retry_says_in_which_stage_of_which_sync_it_was() {
    watched(async {
        let (world, image) = world().await;
        let busy = Action::error(503, "UNAVAILABLE", "come back later");
        world.source.faults().add(Fault::on(Kind::BlobGet).times(1).then(busy));
        let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;
        pushed(&mut function, "team/app", "v1", &image.digest).await;
        let retried = || records(&function).into_iter().find(|record| record.get("retry.attempt").is_some());
        eventually("the retry is logged", || retried().is_some()).await;
        let record = retried().unwrap();
        assert_eq!(record["stage"], "transfer", "{record}");
        assert_eq!(record["source"], format!("{SOURCE}/team/app:v1"), "{record}");
    })
    .await;
}

#[tokio::test]
async fn an_error_of_a_function_that_logs_nothing_else_has_its_request_id_too() {
    watched(async {
        let (world, _) = world().await;
        let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "ERROR")]).await;
        let mut event = push_event("team/app", "v1", "sha256:short");
        event["detail"] = "none".into();
        failed(&mut function, event).await;
        for record in records(&function).iter().filter(|record| record["level"] == "ERROR") {
            assert!(is_of_an_invocation(record), "{record}");
        }
        let mut fanout = world.function("fanout", &[("AWS_LAMBDA_LOG_LEVEL", "ERROR")]).await;
        crate::support::delivered(&world, &mut fanout, "no JSON").await;
        let told = || records(&fanout).into_iter().find(|record| record["error_type"] == "InvalidEvent");
        eventually("the failure is logged", || told().is_some()).await;
        let record = told().unwrap();
        assert!(
            is_of_an_invocation(&record) && record["level"] == "ERROR" && record["message_id"].is_string(),
            "{record}"
        );
    })
    .await;
}

#[tokio::test]
async fn lines_of_the_text_format_name_request_and_stage_too() {
    watched(async {
        let (world, image) = world().await;
        let env = [("AWS_LAMBDA_LOG_FORMAT", "Text"), ("AWS_LAMBDA_LOG_LEVEL", "INFO")];
        let mut function = world.function("on-push", &env).await;
        function.invoke(push_event("team/app", "v1", &image.digest), LIMIT).await.ok().unwrap();
        let planned = || function.lines().into_iter().find(|line| line.contains("planned"));
        eventually("the plan is logged", || planned().is_some()).await;
        let line = planned().unwrap();
        assert!(line.contains(" INFO ") && line.contains(":plan: planned") && line.contains("8476a536-"), "{line}");
    })
    .await;
}
