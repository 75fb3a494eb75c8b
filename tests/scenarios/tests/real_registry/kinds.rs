//! Other kinds of image than the one of `copies`, and what happens when only a part of one is new.

use scenarios::{Layout, layout::Shape, watchdog::watch};
use serde_json::{Value, json};

use crate::ground::{Ends, LIMIT, push};

#[tokio::test]
async fn a_docker_schema_2_image_keeps_its_manifests() {
    watch("a_docker_schema_2_image_keeps_its_manifests", LIMIT, |steps| async move {
        let ends = Ends::start(true, false).await;
        let layout = Layout::generate(&Shape::default());
        let (written, read) = (ends.source.remote(), ends.destination.remote());
        steps.during("push by skopeo", written.push_docker(&layout, "team/app:v1")).await;
        let bytes = written.manifest("team/app:v1").await;
        let list: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(list["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
        let mut function = ends.function("on-push").await;
        let result = push(&mut function, "team/app", "v1", &written.digest("team/app:v1").await).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        assert_eq!(read.manifest("pushed/team/app:v1").await, bytes);
        let files = steps.during("read back by skopeo", read.files("pushed/team/app:v1")).await;
        assert_eq!(files, written.files("team/app:v1").await);
        for child in list["manifests"].as_array().unwrap() {
            let child = child["digest"].as_str().unwrap();
            let single = read.manifest(&format!("pushed/team/app@{child}")).await;
            let manifest: Value = serde_json::from_slice(&single).unwrap();
            assert_eq!(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
        }
    })
    .await;
}

#[tokio::test]
async fn of_a_new_version_only_the_new_layers_are_sent() {
    watch("of_a_new_version_only_the_new_layers_are_sent", LIMIT, |steps| async move {
        let ends = Ends::start(false, false).await;
        let (written, read) = (ends.source.remote(), ends.destination.remote());
        let mut function = ends.function("on-push").await;
        // The second has the layers of the first, and one more.
        let shape = |layers| Shape { platforms: vec!["linux/amd64".into()], layers, ..Shape::default() };
        for (layers, sent) in
            [(1, json!({ "transferred": 3, "present": 0 })), (2, json!({ "transferred": 2, "present": 2 }))]
        {
            let layout = Layout::generate(&shape(layers));
            steps.during("push by skopeo", written.push(&layout, "team/app:latest")).await;
            let result = push(&mut function, "team/app", "latest", &layout.digest()).await;
            assert_eq!(result["outcome"], "synced", "{result}");
            let blobs = &result["blobs"];
            assert_eq!(
                (&blobs["transferred"], &blobs["present"]),
                (&sent["transferred"], &sent["present"]),
                "{result}"
            );
            steps.during("read back by skopeo", read.assert_holds(&layout, "pushed/team/app:latest")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_image_of_many_megabytes_is_copied_over_both_schemes() {
    watch("an_image_of_many_megabytes_is_copied_over_both_schemes", LIMIT, |steps| async move {
        let large = Shape { platforms: vec!["linux/arm64".into()], layers: 2, layer_bytes: 12 << 20, seed: 7 };
        let layout = Layout::generate(&large);
        for tls in [false, true] {
            let ends = Ends::start(tls, true).await;
            steps.during("push by skopeo", ends.source.remote().push(&layout, "team/large:v1")).await;
            let mut function = ends.function("on-push").await;
            let result = push(&mut function, "team/large", "v1", &layout.digest()).await;
            assert_eq!(result["outcome"], "synced", "{result}");
            assert!(result["bytes"]["written"].as_u64().unwrap() > 36 << 20, "{result}");
            let read = ends.destination.remote();
            steps.during("read back by skopeo", read.assert_holds(&layout, "pushed/team/large:v1")).await;
        }
    })
    .await;
}
