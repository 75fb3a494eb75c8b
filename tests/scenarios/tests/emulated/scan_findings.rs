//! What the answers of ECR's scans leave out, and what a gate makes of them.

use emulator::{Image, aws::ecr::ScanFindings};
use scenarios::{Function, World, world::push_event};
use serde_json::json;

use crate::support::{assert_nothing_written, failed, pushed, watched};

const MIRROR: &str = "mirror/team/app";

async fn world() -> (World, Image, Function) {
    let mut world = World::ecr(|destination| destination).await;
    world.rule().insert("scan_gate".into(), json!({ "severity": "HIGH" }));
    world.destination.store().create_repository(MIRROR);
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    let function = world.function("on-push", &[]).await;
    (world, image, function)
}

fn asked(world: &World) -> usize {
    world.aws.count("ecr", "DescribeImageScanFindings")
}

/// Enhanced scanning says `ACTIVE` with an empty list before it has looked: that is no result.
#[tokio::test]
async fn an_empty_list_without_counts_or_a_time_is_no_result() {
    watched(async {
        let (world, image, mut function) = world().await;
        let event = || push_event("team/app", "v1", &image.digest);
        for status in ["ACTIVE", "COMPLETE"] {
            for findings in [ScanFindings::none_yet(), ScanFindings::none_yet().enhanced()] {
                world.ecr.set_findings("team/app", &image.digest, status, findings);
                let (error_type, message) = failed(&mut function, event()).await;
                assert_eq!(error_type, "ScanPending", "{message}");
                assert!(message.contains(status) && message.contains("without findings so far"), "{message}");
            }
            world.ecr.set_scan("team/app", &image.digest, status, None);
            assert_eq!(failed(&mut function, event()).await.0, "ScanPending", "{status}");
        }
        assert_nothing_written(&world.destination);
        for done in [ScanFindings::counted(&[]), ScanFindings::none_yet().enhanced().completed()] {
            world.ecr.set_findings("team/app", &image.digest, "ACTIVE", done);
            assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
            world.destination.store().remove_tag(MIRROR, "v1");
        }
    })
    .await;
}

#[tokio::test]
async fn findings_count_where_the_counts_are_left_out() {
    watched(async {
        let (world, image, mut function) = world().await;
        let bad = ScanFindings::listed(&["LOW", "HIGH", "LOW"]);
        for findings in [bad.clone(), bad.enhanced()] {
            world.ecr.set_findings("team/app", &image.digest, "ACTIVE", findings);
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "ScanRefused", "{message}");
            assert!(message.contains("1 HIGH, 2 LOW"), "{message}");
        }
        assert_nothing_written(&world.destination);
        let harmless = ScanFindings::listed(&["LOW", "UNTRIAGED"]).enhanced();
        world.ecr.set_findings("team/app", &image.digest, "ACTIVE", harmless);
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
    })
    .await;
}

#[tokio::test]
async fn further_pages_are_read_where_they_may_change_the_answer() {
    watched(async {
        let (world, image, mut function) = world().await;
        let listed = ScanFindings::listed(&["LOW", "LOW", "LOW", "LOW", "CRITICAL"]).in_pages_of(2);
        let more_than_told = ScanFindings::counted(&[("LOW", 1)]).listing(&["LOW", "CRITICAL"]).in_pages_of(1);
        let told = ScanFindings::counted(&[("LOW", 1), ("CRITICAL", 1)]).in_pages_of(1);
        for (findings, calls) in [(listed, 3), (more_than_told, 2), (told, 1)] {
            let before = asked(&world);
            world.ecr.set_findings("team/app", &image.digest, "COMPLETE", findings);
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "ScanRefused", "{message}");
            assert!(message.contains("1 CRITICAL") && message.contains("LOW"), "{message}");
            assert_eq!(asked(&world) - before, calls, "{message}");
        }
        assert_nothing_written(&world.destination);

        // Without end they are not read.
        let before = asked(&world);
        let endless = ScanFindings::listed(&["LOW"; 101]).in_pages_of(1);
        world.ecr.set_findings("team/app", &image.digest, "COMPLETE", endless);
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "ScanRefused", "{message}");
        assert!(message.contains("more than are looked at"), "{message}");
        assert_eq!(asked(&world) - before, 100);
        assert_nothing_written(&world.destination);

        let last = ScanFindings::listed(&["LOW"; 100]).in_pages_of(1);
        world.ecr.set_findings("team/app", &image.digest, "COMPLETE", last);
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
    })
    .await;
}
