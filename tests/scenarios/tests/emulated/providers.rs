//! Every kind of registry takes a blob in its own way, and has its own ways as a source. (`matrix.rs`: in and out, by login.)

use std::time::Duration;

use emulator::{Builder, Entry, Image, Journal, Kind, Personality, Registry, image::raw_layer};
use scenarios::World;
use serde_json::json;

use crate::support::{multi_platform, pushed, replicated, watched};

const MIB: usize = 1024 * 1024;

/// A journal of the one upload of a layer of more than a mebibyte: its PATCHes and its PUT.
async fn sends(personality: Personality, size: usize) -> (Vec<Entry>, Vec<Entry>) {
    let mut world = World::to(personality, Builder::open).await;
    world.destination.store().create_repository("mirror/team/app");
    let image = Image::builder().layer(raw_layer(1, size)).build();
    image.push_to(world.source.store(), "team/app", "v1");
    world.config["limits"] = json!({ "blob_concurrency": 1 });
    let mut function = world.function("on-push", &[]).await;
    assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
    world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    // The largest blob goes first: up to and including its PUT.
    let all: Journal = world.destination.journal().clone();
    // `digest` on a POST is ignored by distribution, and taken for the whole blob elsewhere.
    assert!(all.of(Kind::UploadStart).iter().all(|start| start.query.is_none()), "{personality:?}");
    let first_put = all.of(Kind::UploadPut).remove(0);
    let patches = all.of(Kind::UploadPatch).into_iter().filter(|patch| patch.number < first_put.number).collect();
    (patches, vec![first_put])
}

#[tokio::test]
async fn ghcr_and_docker_hub_get_a_large_blob_in_one_patch_without_a_range() {
    watched(async {
        for personality in [Personality::Ghcr, Personality::DockerHub] {
            let (patches, puts) = sends(personality, 5 * MIB).await;
            assert_eq!(patches.len(), 1, "{personality:?}");
            assert_eq!(patches[0].content_length, Some(5 * MIB as u64), "{personality:?}");
            assert_eq!(patches[0].content_range, None, "{personality:?}");
            assert_eq!(puts[0].content_length, Some(0), "{personality:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_others_get_it_in_the_closing_put() {
    watched(async {
        for personality in [Personality::Gar, Personality::Quay, Personality::Harbor, Personality::Plain] {
            let (patches, puts) = sends(personality, 2 * MIB).await;
            assert_eq!(patches.len(), 0, "{personality:?}");
            assert_eq!(puts[0].content_length, Some(2 * MIB as u64), "{personality:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn acr_gets_it_in_chunks_below_its_limit() {
    watched(async {
        let (patches, puts) = sends(Personality::Acr, 21 * MIB).await;
        let ranges: Vec<_> = patches.iter().map(|patch| patch.content_range.clone().unwrap()).collect();
        assert_eq!(ranges, [format!("0-{}", 16 * MIB - 1), format!("{}-{}", 16 * MIB, 21 * MIB - 1)]);
        assert_eq!(puts[0].content_length, Some(0));
    })
    .await;
}

#[tokio::test]
async fn ecr_public_is_read_from_with_a_token_of_its_own_api() {
    watched(async {
        let source = Registry::builder(Personality::EcrPublic);
        let world = World::between(source, Registry::builder(Personality::Plain)).await;
        let index = multi_platform(1, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "docker/library/alpine", "3.20");
        let mut function = world.function("fanout", &[]).await;
        let from = format!("{}/docker/library/alpine:3.20", world.source_host);
        let to = format!("{}/alpine:3.20", world.destination_host);
        assert_eq!(replicated(&world, &mut function, &from, &to).await["outcome"], "synced");
        world.destination.store().is_whole("alpine", "3.20").unwrap();
        let calls = world.aws.calls();
        let tokens: Vec<_> = calls.iter().filter(|call| call.operation == "GetAuthorizationToken").collect();
        assert_eq!(tokens.len(), 1);
        assert_eq!((tokens[0].service.as_str(), tokens[0].region.as_str()), ("ecr-public", "us-east-1"));
    })
    .await;
}

#[tokio::test]
async fn docker_hub_as_a_source_costs_one_counted_pull_for_each_manifest() {
    watched(async {
        let source = Registry::builder(Personality::DockerHub).open().pull_limit(3);
        let world = World::between(source, Registry::builder(Personality::Plain)).await;
        let index = multi_platform(1, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "library/alpine", "3.20");
        let mut function = world.function("fanout", &[]).await;
        let from = format!("{}/library/alpine:3.20", world.source_host);
        let to = format!("{}/alpine:3.20", world.destination_host);
        for outcome in ["synced", "current", "current"] {
            assert_eq!(replicated(&world, &mut function, &from, &to).await["outcome"], outcome);
        }
        assert_eq!(world.source.journal().count(Kind::ManifestGet), 3, "HEAD is not counted by the Hub");
    })
    .await;
}

#[tokio::test]
async fn a_hub_that_limits_abuse_is_obeyed() {
    watched(async {
        let source = Registry::builder(Personality::DockerHub).open();
        let world = World::between(source, Registry::builder(Personality::Plain)).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "library/alpine", "3.20");
        let limit = emulator::Fault::on(Kind::ManifestGet).then(emulator::Action::hub_abuse_limit(1));
        world.source.faults().add(limit);
        let mut function = world.function("fanout", &[]).await;
        let from = format!("{}/library/alpine:3.20", world.source_host);
        let result = replicated(&world, &mut function, &from, &format!("{}/alpine:3.20", world.destination_host)).await;
        assert_eq!((&result["outcome"], &result["throttled"]), (&"synced".into(), &1.into()));
        let tries = world.source.journal().of(Kind::ManifestGet);
        assert!(tries[1].at - tries[0].at >= Duration::from_secs(1));
    })
    .await;
}

#[tokio::test]
async fn a_page_instead_of_an_error_is_understood_by_its_status() {
    watched(async {
        let source = Registry::builder(Personality::Quay).open();
        let world = World::between(source, Registry::builder(Personality::Plain)).await;
        Image::small(1).push_to(world.source.store(), "org/app", "v1");
        world.source.faults().add(emulator::Fault::on(Kind::ManifestGet).then(emulator::Action::quay_rate_limit()));
        let mut function = world.function("fanout", &[]).await;
        let from = format!("{}/org/app:v1", world.source_host);
        let result = replicated(&world, &mut function, &from, &format!("{}/app:v1", world.destination_host)).await;
        assert_eq!((&result["outcome"], &result["throttled"]), (&"synced".into(), &1.into()));
    })
    .await;
}

/// Kinds of which nobody says how many requests they take: what they say of it themselves is obeyed.
#[tokio::test]
async fn a_429_is_obeyed_where_no_pace_is_known() {
    watched(async {
        for personality in [Personality::Ghcr, Personality::Gar, Personality::Acr] {
            let world = World::to(personality, Builder::open).await;
            world.destination.store().create_repository("mirror/team/app");
            let image = Image::small(1);
            image.push_to(world.source.store(), "team/app", "v1");
            let throttled = emulator::Fault::on(Kind::ManifestPut).then(emulator::Action::throttle(Some(1)));
            world.destination.faults().add(throttled);
            let mut function = world.function("on-push", &[]).await;
            let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
            assert_eq!((&result["outcome"], &result["throttled"]), (&"synced".into(), &1.into()), "{personality:?}");
            let tries = world.destination.journal().of(Kind::ManifestPut);
            assert!(
                tries.len() == 2 && tries[1].at - tries[0].at >= Duration::from_secs(1),
                "{personality:?}: {tries:#?}"
            );
        }
    })
    .await;
}

/// Statuses that registries have answered where the specification has another one (regclient takes them all).
#[tokio::test]
async fn what_went_well_by_another_status_went_well() {
    watched(async {
        let statuses = [
            (Kind::UploadPatch, [200, 201, 204]),
            (Kind::UploadPut, [200, 202, 204]),
            (Kind::ManifestPut, [200, 202, 201]),
        ];
        for provider in ["generic", "ghcr", "acr"] {
            for turn in 0..3 {
                let mut world = World::to(Personality::Plain, Builder::open).await;
                let host = world.destination_host.clone();
                world.registry_config(&host).insert("provider".into(), provider.into());
                let image = Image::small(1);
                image.push_to(world.source.store(), "team/app", "v1");
                for (kind, status) in statuses {
                    let answer = emulator::Action::AnswerAs(status[turn]);
                    world.destination.faults().add(emulator::Fault::on(kind).forever().then(answer));
                }
                let mut function = world.function("on-push", &[]).await;
                let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
                assert_eq!(
                    (&result["outcome"], &result["retries"]),
                    (&"synced".into(), &0.into()),
                    "{provider} {turn}"
                );
                world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
            }
        }
    })
    .await;
}
