//! A registry that says how large a chunk must be at least gets such chunks, as far as the memory goes.

use emulator::{Image, Kind, Personality, image::raw_layer};
use scenarios::{Settings, World};
use serde_json::json;

use crate::support::{eventually, failed, pushed, watched};

const MIB: u64 = 1 << 20;

async fn world(least: u64, buffer: u64, size: u64) -> (World, Image) {
    // ACR's front takes no body over 20 MB, so it is another registry that is sent chunks.
    let mut world = World::to(Personality::Plain, |plain| plain.least_chunk(least)).await;
    let host = world.destination_host.clone();
    world.registry_config(&host).insert("provider".into(), "acr".into());
    world.config["limits"] = json!({ "blob_concurrency": 2, "buffer_bytes": buffer });
    let size = usize::try_from(size).unwrap();
    let image = Image::builder().layer(raw_layer(1, size)).layer(raw_layer(2, size + 1)).build();
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

fn large() -> Settings {
    Settings { memory_mb: 1024, ..Settings::default() }
}

#[tokio::test]
async fn chunks_grow_to_what_the_registry_wants() {
    watched(async {
        let (world, image) = world(20 * MIB, 256 * MIB, 41 * MIB).await;
        let mut function = world.function_with("on-push", large(), &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        let journal = world.destination.journal();
        let lengths: Vec<u64> = journal.of(Kind::UploadPatch).iter().filter_map(|patch| patch.content_length).collect();
        assert_eq!(lengths.iter().filter(|length| **length == 20 * MIB).count(), 4, "two of each layer: {lengths:?}");
        assert!(lengths.iter().all(|length| *length <= 20 * MIB), "{lengths:?}");
        assert!(result["peak_buffer_bytes"].as_u64().unwrap() < 256 * MIB, "{result}");
        assert_eq!(world.destination.open_uploads(), 0, "those that were begun with too little are cancelled");

        // What was learnt holds for the next image.
        let other = Image::builder().layer(raw_layer(3, 21 << 20)).build();
        other.push_to(world.source.store(), "team/app", "v2");
        let result = pushed(&mut function, "team/app", "v2", &other.digest).await;
        assert_eq!((&result["outcome"], &result["retries"]), (&json!("synced"), &json!(0)));
    })
    .await;
}

#[tokio::test]
async fn a_minimum_that_our_chunks_have_changes_nothing() {
    watched(async {
        let (world, image) = world(5 * MIB, 256 * MIB, 17 * MIB).await;
        let mut function = world.function_with("on-push", large(), &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!((&result["outcome"], &result["retries"]), (&json!("synced"), &json!(0)));
        let patches = world.destination.journal().of(Kind::UploadPatch);
        assert!(patches.iter().any(|patch| patch.content_length == Some(16 * MIB)), "{patches:?}");
    })
    .await;
}

#[tokio::test]
async fn where_the_memory_has_no_room_for_it_the_refusal_says_what_to_raise() {
    watched(async {
        let (world, image) = world(24 * MIB, 32 * MIB, 41 * MIB).await;
        let mut function = world.function_with("on-push", large(), &[]).await;
        let event = scenarios::world::push_event("team/app", "v1", &image.digest);
        let (error_type, message) = failed(&mut function, event).await;
        assert_eq!(error_type, "InvalidConfig", "{message}");
        for part in ["limits.buffer_bytes", "25165824", &world.destination_host] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(world.destination.journal().count(Kind::UploadPatch), 0, "nothing is sent that can't be taken");
        eventually("uploads are cancelled", || world.destination.open_uploads() == 0).await;
    })
    .await;
}
