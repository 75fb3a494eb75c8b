//! A chunk that breaks at ACR is sent again, or just its rest, in the same session: nothing before it is.

use emulator::{Action, Fault, Image, Kind, Personality, image::raw_layer};
use serde_json::json;

use crate::support::{prepare, ready, side_by_side, synced, watched, world_to};

const SIZE: usize = 40 * 1024 * 1024;

/// What goes wrong with the second chunk, and what bytes that may cost.
#[derive(Debug, Clone)]
struct Trouble {
    action: Action,
    retries: u64,
    /// Bytes that are sent again at most.
    again: u64,
}

async fn overcome(trouble: Trouble) {
    let mut world = world_to(Personality::Acr, |builder| builder).await;
    // One blob after the other, the largest first.
    world.config["limits"] = json!({ "blob_concurrency": 1 });
    let image = Image::builder().layer(raw_layer(1, SIZE)).build();
    prepare(&world, &image);
    world.destination.faults().add(Fault::on(Kind::UploadPatch).skip(1).then(trouble.action.clone()));
    let result = synced(&world, &mut ready(&world).await, &image.digest).await;
    assert_eq!(result["retries"], trouble.retries, "{result}");
    assert_eq!(result["bytes"]["read"], result["bytes"]["written"], "no byte was read twice: {result}");
    let journal = world.destination.journal();
    assert_eq!(journal.count(Kind::UploadStart), 2, "the layer and the configuration, one session each");
    let sent: u64 = journal.of(Kind::UploadPatch).iter().map(|entry| entry.request_bytes).sum();
    let most = SIZE as u64 + 10_000 + trouble.again;
    assert!(sent <= most, "{sent} bytes were sent, {most} would do");
}

#[tokio::test]
async fn what_acr_has_of_a_chunk_is_not_sent_again() {
    let chunk = 16 * 1024 * 1024;
    let cases = [
        Trouble { action: Action::status(503), retries: 1, again: chunk },
        // Its answer is lost: the next try finds that the registry has it.
        Trouble { action: Action::DoThenReset, retries: 1, again: chunk },
        // The next try is refused, and what the registry lacks is sent.
        Trouble { action: Action::CutRequestAfter(5_000_000), retries: 2, again: chunk },
    ];
    watched(side_by_side(cases, overcome)).await;
}
