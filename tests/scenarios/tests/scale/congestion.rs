//! Adaptive concurrency, seen from outside: many refusals at once are one congestion, and narrow the window once.

use std::time::Duration;

use emulator::{Action, Fault, Kind, Personality};
use scenarios::flows::eventually;
use serde_json::{Value, json};

use crate::support::{image_of, prepare, synced, watched, world_to};

#[tokio::test]
async fn a_burst_of_ten_refusals_halves_the_window_once() {
    watched(async {
        let (mut world, image) = (world_to(Personality::Plain, |builder| builder).await, image_of(30, 2_000));
        world.config["limits"] = json!({ "blob_concurrency": 16 });
        prepare(&world, &image);
        let faults = world.destination.faults();
        // Answered when all of the first wave are under way.
        faults.add(Fault::on(Kind::BlobHead).times(16).then(Action::Delay(Duration::from_millis(300))));
        faults.add(Fault::on(Kind::BlobHead).times(10).then(Action::throttle(None)));
        let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;
        let result = synced(&world, &mut function, &image.digest).await;
        assert_eq!((&result["throttled"], &result["retries"]), (&10.into(), &10.into()), "{result}");
        let narrowed = || -> Vec<Value> {
            let records = function.records().into_iter();
            records.filter(|record| record["message"] == "asked to slow down").collect()
        };
        eventually("it is logged", || !narrowed().is_empty()).await;
        let narrowed = narrowed();
        assert_eq!(narrowed.len(), 1, "one congestion, once: {narrowed:?}");
        assert_eq!(narrowed[0]["window.requests"], 8, "half of the sixteen that were under way");
    })
    .await;
}
