//! A layer that takes longer than GHCR lets an upload take; the ten minutes are two seconds here, at both ends.

use std::time::Duration;

use emulator::{Action, Fault, Image, Kind, Personality, image::raw_layer};
use scenarios::World;
use serde_json::json;
use transfer::{
    compose::Tuning,
    error::{Class, ErrorType},
    sync::Outcome,
};

use crate::{
    inside,
    support::{TIMEOUT, watched},
};

const LIMIT: Duration = Duration::from_secs(2);

/// The layer would take three times as long.
const RATE: u64 = 100_000;
const LAYER: usize = 600_000;

#[tokio::test]
async fn a_layer_that_ghcr_cuts_off_says_so_and_waits_for_another_invocation() {
    watched(async {
        let mut world = World::between(
            emulator::Registry::builder(Personality::Plain),
            emulator::Registry::builder(Personality::Ghcr).open().upload_limit(LIMIT),
        )
        .await;
        world.config["limits"] = json!({ "blob_concurrency": 4, "max_attempts": 4 });
        let image = Image::builder().layer(raw_layer(1, LAYER)).layer(raw_layer(2, 20_000)).build();
        image.push_to(world.source.store(), "team/app", "v1");
        // Every upload is as slow, the small ones get through.
        world.destination.faults().add(Fault::on(Kind::UploadPatch).forever().then(Action::SlowRead(RATE)));
        let tuning = Tuning { upload_limit: Some(LIMIT), ..Tuning::default() };
        let app = inside::app(&world.config, tuning).await;
        let reference = |host: &str| format!("{host}/team/app:v1");
        let (from, to) = (reference(&world.source_host), reference(&world.destination_host));

        let report = inside::sync(&app, &from, &to, TIMEOUT).await;
        let error = report.error.expect("the layer can't get through");
        assert_eq!((error.error_type, error.class()), (ErrorType::Unavailable, Class::Later), "{error}");
        let layer = image.layers[0].digest();
        for part in [layer, "600000 bytes", "ends an upload after 2 s", "more memory", "layer smaller"] {
            assert!(error.message.contains(part), "`{part}` is not in: {error}");
        }
        let journal = world.destination.journal();
        assert_eq!(journal.count(Kind::UploadStart), image.blobs().len(), "no second try in this invocation");
        let store = world.destination.store();
        assert!(!store.has_blob("team/app", layer) && store.has_blob("team/app", image.layers[1].digest()));
        assert_eq!((store.tag("team/app", "v1"), world.destination.open_uploads()), (None, 0));

        // The next invocation has the network for what is left, and a better hour.
        world.destination.faults().clear();
        journal.clear();
        let report = inside::sync(&app, &from, &to, TIMEOUT).await;
        assert_eq!((report.outcome, report.error), (Outcome::Synced, None));
        assert_eq!(journal.count(Kind::UploadStart), 1, "what got through is not sent again");
        world.destination.store().is_whole("team/app", "v1").unwrap();
    })
    .await;
}
