//! An image of several platforms, copied by both functions: nothing of it is changed, and a second run costs nothing.

use scenarios::{
    Layout,
    layout::Shape,
    watchdog::{Steps, watch},
};
use serde_json::json;

use crate::ground::{Ends, LIMIT, message, push};

async fn an_image_is_copied_and_then_current(steps: Steps, tls: bool, locked: bool) {
    let ends = steps.during("start", Ends::start(tls, locked)).await;
    let layout = Layout::generate(&Shape::default());
    let written = ends.source.remote();
    steps.during("push by skopeo", written.push(&layout, "team/app:v1")).await;

    let mut fanout = ends.function("fanout").await;
    let (from, to) = (ends.source.host(), ends.destination.host());
    let (from, to) = (format!("{from}/team/app:v1"), format!("{to}/queued/team/app:v1"));
    let result = steps.during("fanout", message(&mut fanout, &from, &to)).await;
    assert_eq!(result["outcome"], "synced", "{result}");
    assert_eq!(result["digest"], json!(layout.digest()));
    assert_eq!(result["manifests"], json!({ "pushed": 3, "present": 0 }));
    // Two configurations, two layers each, one that both have.
    assert_eq!(result["blobs"], json!({ "transferred": 7, "mounted": 0, "present": 0 }));

    let mut on_push = ends.function("on-push").await;
    let result = steps.during("on-push", push(&mut on_push, "team/app", "v1", &layout.digest())).await;
    assert_eq!(result["outcome"], "synced", "{result}");
    assert_eq!(result["blobs"], json!({ "transferred": 7, "mounted": 0, "present": 0 }));

    let read = ends.destination.remote();
    for image in ["queued/team/app:v1", "pushed/team/app:v1"] {
        steps.during("read back by skopeo", read.assert_holds(&layout, image)).await;
        assert_eq!(read.manifest(image).await, written.manifest("team/app:v1").await);
        assert_eq!(read.files(image).await, written.files("team/app:v1").await);
    }

    let before = ends.requests().await;
    let result = message(&mut fanout, &from, &to).await;
    assert_eq!(result["outcome"], "current", "{result}");
    // The registry has no API for what is attached; its tags tell that nothing is.
    assert_eq!(result["requests"], json!({ "source": 2, "destination": 1, "aws_api": 0 }));
    let after = ends.requests().await;
    assert_eq!((after.0 - before.0, after.1 - before.1), (2, 1), "by the registries' own access logs");
    let result = push(&mut on_push, "team/app", "v1", &layout.digest()).await;
    assert_eq!(result["outcome"], "current", "{result}");
    let last = ends.requests().await;
    // An index and its two children: one request more for each.
    assert_eq!((last.0 - after.0, last.1 - after.1), (4, 1));
}

#[tokio::test]
async fn an_image_is_copied_unchanged_over_plain_http() {
    watch("an_image_is_copied_unchanged_over_plain_http", LIMIT, |steps| {
        an_image_is_copied_and_then_current(steps, false, false)
    })
    .await;
}

#[tokio::test]
async fn an_image_is_copied_unchanged_over_plain_http_with_a_password() {
    watch("an_image_is_copied_unchanged_over_plain_http_with_a_password", LIMIT, |steps| {
        an_image_is_copied_and_then_current(steps, false, true)
    })
    .await;
}

#[tokio::test]
async fn an_image_is_copied_unchanged_over_tls_with_a_private_authority() {
    watch("an_image_is_copied_unchanged_over_tls_with_a_private_authority", LIMIT, |steps| {
        an_image_is_copied_and_then_current(steps, true, false)
    })
    .await;
}

#[tokio::test]
async fn an_image_is_copied_unchanged_over_tls_with_a_private_authority_and_a_password() {
    watch("an_image_is_copied_unchanged_over_tls_with_a_private_authority_and_a_password", LIMIT, |steps| {
        an_image_is_copied_and_then_current(steps, true, true)
    })
    .await;
}
