//! Replication never feeds itself.

use emulator::{Image, Kind};
use scenarios::{
    Outcome, World,
    world::{DESTINATION, SOURCE, push_event},
};
use serde_json::{Value, json};

use crate::support::{failed, pushed, results, watched};

/// The push event that the destination's account raises.
fn event_of_the_destination(repository: &str, tag: &str, digest: &str) -> Value {
    let mut event = push_event(repository, tag, digest);
    event["account"] = "222233334444".into();
    event["region"] = "eu-west-1".into();
    event
}

#[tokio::test]
async fn two_rules_that_point_at_each_other_come_to_rest() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        world.config["rules"] = json!([
            { "source": { "registry": SOURCE }, "destinations": [format!("{DESTINATION}/{{repository}}")] },
            { "source": { "registry": DESTINATION }, "destinations": [format!("{SOURCE}/{{repository}}")] },
        ]);
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("team/app");
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");

        world.forget();
        let back = results(&mut function, event_of_the_destination("team/app", "v1", &image.digest)).await;
        assert_eq!(back.len(), 1);
        assert_eq!(back[0]["outcome"], "current");
        assert_eq!(back[0]["destination"], format!("{SOURCE}/team/app:v1"));
        for registry in [&world.source, &world.destination] {
            assert_eq!(registry.journal().count(Kind::ManifestPut), 0, "a put would raise another event");
        }
        // The event's own end is asked for what is attached, too.
        assert_eq!((world.source.journal().len(), world.destination.journal().len()), (1, 2));
    })
    .await;
}

#[tokio::test]
async fn a_rule_onto_its_own_source_stops_the_init_phase() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        world.config["rules"] = json!([
            { "destinations": [format!("{DESTINATION}/mirror/{{repository}}")] },
            { "source": { "registry": SOURCE }, "destinations": ["ghcr.io/a/b", format!("{SOURCE}/{{repository}}:{{tag}}")] },
        ]);
        let mut function = world.function("on-push", &[]).await;
        match function.ready().await {
            Err(Outcome::InitError { error_type, message }) => {
                assert_eq!(error_type, "InvalidConfig", "{message}");
                assert!(message.contains("rules[1].destinations[1]"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_rule_that_would_take_its_own_destinations_for_ever_is_refused_before_any_request() {
    watched(async {
        let mut world = World::ecr(|destination| destination).await;
        world.rule().insert("destinations".into(), json!([format!("{SOURCE}/mirror/{{repository}}")]));
        world.rule().insert("name".into(), "hall of mirrors".into());
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "InvalidConfig");
        assert!(message.contains("hall of mirrors"), "{message}");
        assert_eq!(world.source.journal().len(), 0);
        assert_eq!(world.aws.calls().len(), 0);
    })
    .await;
}
