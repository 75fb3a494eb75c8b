//! Every wait ends with the invocation's time: whatever stands still, the function answers before Lambda kills it, and
//! says what it waited for.

use std::time::{Duration, Instant};

use emulator::{Action, Fault, Kind, Personality};
use scenarios::{Outcome, World, world::push_event};
use serde_json::json;

use crate::support::{image_of, prepare, ready, side_by_side, watched, world_to};

/// What Lambda gives; the configuration would wait far longer for everything.
const TIME: Duration = Duration::from_secs(5);

/// What stands still, and what the failure may be called and must say.
#[derive(Debug, Clone, Copy)]
struct Wait {
    on: &'static str,
    to: Personality,
    error_type: &'static str,
    part: &'static str,
}

fn stop(world: &mut World, on: &str) {
    match on {
        "an ECR token" => return world.aws.silence("GetAuthorizationToken"),
        "layer availability" => return world.aws.silence("BatchCheckLayerAvailability"),
        // The destination was made to validate for ever.
        "the gate" => return,
        _ => {}
    }
    let for_ever = |kind| Fault::on(kind).forever();
    let (source, destination) = (world.source.clone(), world.destination.clone());
    match on {
        "an answer at the destination" => destination.faults().add(for_ever(Kind::ManifestHead).then(Action::Stall)),
        "an answer at the source" => source.faults().add(for_ever(Kind::ManifestGet).then(Action::Stall)),
        "a token" => destination.faults().add(for_ever(Kind::Token).then(Action::Stall)),
        "a read" => source.faults().add(for_ever(Kind::BlobGet).then(Action::StallResponseAfter(5_000))),
        "a write" => destination.faults().add(for_ever(Kind::UploadPut).then(Action::StallRequestAfter(5_000))),
        "a chunk" => destination.faults().add(for_ever(Kind::UploadPatch).then(Action::StallRequestAfter(5_000))),
        "a start" => destination.faults().add(for_ever(Kind::UploadStart).then(Action::Stall)),
        "a backoff" => destination.faults().add(for_ever(Kind::UploadStart).then(Action::throttle(Some(60)))),
        "a put" => destination.faults().add(for_ever(Kind::ManifestPut).then(Action::Stall)),
        // The one stream is taken by an upload that never ends, and other blobs wait for it.
        "a stream" => {
            let host = world.destination_host.clone();
            world.registry_config(&host).insert("streams".into(), json!(1));
            destination.faults().add(for_ever(Kind::UploadPut).then(Action::SlowRead(100)))
        }
        "bytes" => {
            world.config["limits"]["buffer_bytes"] = json!(1 << 20);
            destination.faults().add(for_ever(Kind::UploadPut).then(Action::SlowRead(100)))
        }
        other => panic!("no such wait: {other}"),
    };
}

async fn ends_in_time(wait: Wait) {
    let mut world = match wait.on {
        "the gate" => World::ecr(|ecr| ecr.validation_lag(Duration::from_secs(300))).await,
        "a token" => World::to(wait.to, |builder| builder.token_server("robot", "s3cret")).await,
        _ => world_to(wait.to, |builder| builder).await,
    };
    world.config["limits"] = json!({
        "request_timeout_ms": 600_000, "manifest_commit_wait_ms": 600_000, "deadline_margin_ms": 1_000,
    });
    let image = image_of(6, 300_000);
    prepare(&world, &image);
    stop(&mut world, wait.on);
    let mut function = ready(&world).await;
    let begun = Instant::now();
    let outcome = function.invoke(push_event("team/app", "v1", &image.digest), TIME).await;
    let took = begun.elapsed();
    let Outcome::Err { error_type, message } = outcome else { panic!("{wait:?} ended as {outcome:?}") };
    eprintln!("waiting for {}: {error_type} after {took:?}", wait.on);
    assert_eq!(error_type, wait.error_type, "{wait:?}: {message}");
    assert!(message.contains(wait.part), "{wait:?}: {message}");
    assert!(took < TIME - Duration::from_millis(400), "{wait:?}: there is time left to report, {took:?}");
}

#[tokio::test]
async fn every_wait_ends_with_the_invocation() {
    let late = |on, to, part| Wait { on, to, error_type: "DeadlineExceeded", part };
    let cases = [
        late("an answer at the destination", Personality::Ecr, "looking for manifest"),
        late("an answer at the source", Personality::Ecr, "reading manifest"),
        late("a token", Personality::Plain, "token service"),
        late("a read", Personality::Ecr, "blob"),
        late("a write", Personality::Ecr, "uploading blob"),
        late("a chunk", Personality::Acr, "uploading blob"),
        late("a start", Personality::Ecr, "starting an upload"),
        late("a put", Personality::Plain, "putting manifest"),
        late("a stream", Personality::Plain, "blob"),
        late("bytes", Personality::Plain, "blob"),
        late("an ECR token", Personality::Ecr, "credentials"),
        late("layer availability", Personality::Ecr, "asking"),
        late("the gate", Personality::Ecr, "manifest_commit_wait_ms"),
        // What the registry said tells more than the time that would have been too short to wait for it.
        Wait { on: "a backoff", to: Personality::Ecr, error_type: "Throttled", part: "429" },
    ];
    watched(side_by_side(cases, ends_in_time)).await;
}
