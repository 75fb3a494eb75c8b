//! Docker Hub says how many pulls are left: what would be refused is not asked for.

use emulator::{Image, Index, Kind, Personality, Registry};
use scenarios::{
    EventSource, World,
    flows::{image_message, logged_results},
};
use std::time::Duration;

use crate::support::{TIMEOUT, watched};

#[tokio::test]
async fn no_manifest_is_asked_for_when_no_pull_is_left() {
    watched(async {
        let source = Registry::builder(Personality::DockerHub).open().pull_limit(3);
        let world = World::between(source, Registry::builder(Personality::Plain)).await;
        let images: Vec<Image> = (1..=6).map(Image::small).collect();
        Index::of(&images.iter().collect::<Vec<_>>()).push_to(world.source.store(), "library/alpine", "3.20");
        let mut function = world.function("fanout", &[]).await;
        let from = format!("{}/library/alpine:3.20", world.source_host);
        let to = format!("{}/alpine:3.20", world.destination_host);
        world.aws.sqs().create("work", Duration::from_secs(30));
        world.aws.sqs().send("work", &image_message(from, to));
        EventSource::new(world.aws.sqs(), "work").timeout(TIMEOUT).deliver(&mut function).await.unwrap();
        let result = logged_results(&function).pop().expect("the result is logged");
        assert_eq!((&result["outcome"], &result["error_type"]), (&"failed".into(), &"Throttled".into()), "{result}");
        let message = result["error_message"].as_str().unwrap_or_default();
        assert!(message.contains("allowance of pulls is used up"), "{message}");
        let journal = world.source.journal();
        assert_eq!(journal.count(Kind::ManifestGet), 3, "the index, and the two children that were left");
        assert_eq!(journal.count_status(Kind::ManifestGet, 429), 0);
        assert_eq!(result["throttled"], 0, "nothing was refused: {result}");
    })
    .await;
}
