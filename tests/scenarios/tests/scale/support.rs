//! What these scenarios share: time limits, images, places for them, invocations.

use std::{fmt::Debug, future::Future, time::Duration};

use emulator::{Builder, Entry, Image, Personality, Registry, image::raw_layer};
use scenarios::{Function, World, flows};
use serde_json::Value;

/// For one scenario; some wait out a storm or a lag of 20 s, on a machine that others use too.
const LIMIT: Duration = Duration::from_secs(120);

/// The timeout of an invocation that is expected to end by itself.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(90);

/// Runs a scenario under the watchdog.
pub(crate) fn watched<T>(body: impl Future<Output = T>) -> impl Future<Output = T> {
    flows::watched(LIMIT, Box::pin(body))
}

/// A world whose destination is such a registry and asks for no login that the function must be given.
pub(crate) async fn world_to(personality: Personality, change: impl FnOnce(Builder) -> Builder) -> World {
    match personality {
        Personality::Ecr => World::ecr(change).await,
        _ => World::to(personality, |builder| change(builder.open().alias("mirror"))).await,
    }
}

/// An image of so many layers of this size.
pub(crate) fn image_of(layers: u64, size: usize) -> Image {
    Image::builder().layers((1..=layers).map(|seed| raw_layer(seed, size))).build()
}

/// Puts the image at the source as `team/app:v1`, and makes the place for it at the destination.
pub(crate) fn prepare(world: &World, image: &Image) {
    image.push_to(world.source.store(), "team/app", "v1");
    world.destination.store().create_repository("mirror/team/app");
}

/// `on-push`, when it has begun to wait for events: what is measured from now on is no start.
pub(crate) async fn ready(world: &World) -> Function {
    let mut function = world.function("on-push", &[]).await;
    function.ready().await.expect("the function starts");
    function
}

/// Tells `on-push` of `team/app:v1`, which must be synced, and whole.
pub(crate) async fn synced(world: &World, function: &mut Function, digest: &str) -> Value {
    let result = flows::pushed(function, "team/app", "v1", digest, TIMEOUT).await;
    assert_eq!(result["outcome"], "synced", "{result}");
    world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    result
}

/// What a registry was asked, by every one of its servers, tokens aside; in order of arrival.
pub(crate) fn asked(registry: &Registry, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    registry.journal().entries().into_iter().filter(which).collect()
}

/// Runs all cases at once, each to its own end, and fails if any did: one that fails hides no other.
pub(crate) async fn side_by_side<C, F>(cases: impl IntoIterator<Item = C>, run: impl Fn(C) -> F)
where
    C: Debug + Clone,
    F: Future<Output = ()> + Send + 'static,
{
    let running: Vec<_> = cases.into_iter().map(|case| (case.clone(), tokio::spawn(run(case)))).collect();
    let mut failed = Vec::new();
    for (case, task) in running {
        if task.await.is_err() {
            failed.push(case);
        }
    }
    assert!(failed.is_empty(), "these failed, as said above: {failed:#?}");
}
