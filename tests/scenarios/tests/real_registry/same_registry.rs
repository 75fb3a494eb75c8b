//! From one repository to another of the same registry: blobs are mounted, not sent.

use scenarios::{DockerRegistry, Function, Layout, layout::Shape, watchdog::watch};
use serde_json::json;

use crate::ground::{LIMIT, PASSWORD, USER, entry, message, settings};

async fn mounted(registry: &DockerRegistry, locked: bool) {
    let layout = Layout::generate(&Shape::default());
    let remote = registry.remote();
    remote.push(&layout, "team/app:v1").await;
    let config = json!({ "registries": { registry.host(): entry(registry, locked) } }).to_string();
    let login = format!("{USER}:{PASSWORD}");
    let mut function = Function::start("fanout", &[("TRANSSHIP_CONFIG", &config), ("LOGIN", &login)]).await;
    let host = registry.host();
    let (from, to) = (format!("{host}/team/app:v1"), format!("{host}/mirror/app:v1"));
    let result = message(&mut function, &from, &to).await;
    assert_eq!(result["outcome"], "synced", "{result}");
    assert_eq!(result["blobs"], json!({ "transferred": 0, "mounted": 7, "present": 0 }));
    assert_eq!((&result["bytes"]["read"], &result["bytes"]["written"]), (&json!(0), &json!(0)), "{result}");
    registry.settled().await;
    let uploads = "/v2/mirror/app/blobs/uploads/";
    assert_eq!(registry.requests("POST", &format!("{uploads}?mount=")), 7);
    assert_eq!((registry.requests("PUT", uploads), registry.requests("PATCH", uploads)), (0, 0));
    assert_eq!(registry.requests("GET", "/v2/team/app/blobs/"), 0, "not a blob was read");
    remote.assert_holds(&layout, "mirror/app:v1").await;
}

#[tokio::test]
async fn blobs_of_the_same_registry_are_mounted() {
    watch("blobs_of_the_same_registry_are_mounted", LIMIT, |steps| async move {
        let registry = steps.during("start", settings(false, false).start()).await;
        steps.during("copy", mounted(&registry, false)).await;
    })
    .await;
}

#[tokio::test]
async fn blobs_of_the_same_registry_are_mounted_over_tls_with_a_password() {
    watch("blobs_of_the_same_registry_are_mounted_over_tls_with_a_password", LIMIT, |steps| async move {
        let registry = steps.during("start", settings(true, true).start()).await;
        steps.during("copy", mounted(&registry, true)).await;
    })
    .await;
}
