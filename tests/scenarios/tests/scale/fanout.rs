//! Fifty functions at once into one ECR registry: they share an account's quotas, and know nothing of each other.

use std::{sync::Arc, time::Duration};

use emulator::{Image, Kind, Registry, image::raw_layer};
use scenarios::{
    EventSource, Function, World,
    flows::{eventually, image_message, logged_results},
    function::Settings,
    world::{DESTINATION, SOURCE},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{TIMEOUT, asked, watched};

const FUNCTIONS: u64 = 50;
const REPOSITORIES: u64 = 10;
const LAG: Duration = Duration::from_secs(1);

/// How often a message may be delivered.
const ROUNDS: usize = 4;

/// An image on a base of three layers that all share, with one or two layers of its own.
fn image(number: u64) -> Image {
    let base = (1..=3).map(|seed| raw_layer(seed, 200_000));
    let own = (0..=number % 2).map(|layer| raw_layer(100 + 2 * number + layer, 20_000));
    Image::builder().layers(base).layers(own).build()
}

fn repository(number: u64) -> String {
    format!("team/app{}", number % REPOSITORIES)
}

fn tag(number: u64) -> String {
    format!("v{}", number / REPOSITORIES)
}

/// A world with all images, and each one's message in a queue of its own, so that it comes back to the same function.
async fn world() -> World {
    let world = World::ecr(|destination| destination.rate_limits(true).validation_lag(LAG)).await;
    for number in 0..FUNCTIONS {
        let (repository, tag) = (repository(number), tag(number));
        image(number).push_to(world.source.store(), &repository, &tag);
        world.destination.store().create_repository(&format!("mirror/{repository}"));
        let source = format!("{SOURCE}/{repository}:{tag}");
        let queue = format!("work{number}");
        world.aws.sqs().create(&queue, Duration::from_secs(30));
        world.aws.sqs().send(&queue, &image_message(source, format!("{DESTINATION}/mirror/{repository}:{tag}")));
    }
    world
}

/// Delivers one message until it is done; answers how often, and what the function logged of it.
async fn deliver(world: &World, function: &mut Function, number: u64) -> (usize, Vec<Value>) {
    let queue = format!("work{number}");
    let mapping = EventSource::new(world.aws.sqs(), &queue).timeout(TIMEOUT);
    for round in 1..=ROUNDS {
        let delivery = mapping.deliver(function).await.expect("the message is visible");
        eventually("the result is logged", || logged_results(function).len() >= round).await;
        if delivery.kept.is_empty() {
            return (round, logged_results(function));
        }
        // In the place of the queue's visibility timeout.
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.aws.sqs().skip_waiting(&queue);
    }
    panic!("message {number} is not done after {ROUNDS} deliveries: {:?}", logged_results(function));
}

/// Asserts that no manifest was taken before the gate can have opened for its blobs.
fn assert_gated(destination: &Registry, number: u64) {
    let (repository, image) = (format!("mirror/{}", repository(number)), image(number));
    let of_it = |kind| asked(destination, move |entry| entry.kind == kind);
    let taken = of_it(Kind::ManifestPut).into_iter().filter(|put| put.status == 201);
    let path =
        [format!("/{repository}/manifests/{}", tag(number)), format!("/{repository}/manifests/{}", image.digest)];
    let taken = taken.filter(|put| path.iter().any(|end| put.path.ends_with(end.as_str())));
    let put = taken.min_by_key(|put| put.at).expect("the manifest was taken");
    for blob in image.blobs() {
        let query = blob.replace(':', "%3A");
        let sent = of_it(Kind::UploadPut).into_iter().filter(|sent| {
            let named = sent.query.as_deref().is_some_and(|text| text.contains(&query) || text.contains(&blob));
            named && sent.status == 201 && sent.repository.as_deref() == Some(&repository)
        });
        // Several functions may send a blob that they share; the first counts.
        let sent =
            sent.map(|sent| sent.at).min().expect("each blob was sent, as nothing is there and no mount granted");
        assert!(put.at >= sent + LAG, "manifest {number} came {:?} after {blob}", put.at - sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_functions_fill_one_registry_within_its_quotas() {
    watched(async {
        let world = Arc::new(world().await);
        let settings = Settings { memory_mb: 128, ..Settings::default() };
        let mut functions = Vec::new();
        for number in 0..FUNCTIONS {
            functions.push((number, world.function_with("fanout", settings.clone(), &[]).await));
        }
        for (_, function) in &mut functions {
            function.ready().await.expect("the function starts");
        }
        let begun = std::time::Instant::now();
        let mut running = JoinSet::new();
        for (number, mut function) in functions {
            let world = Arc::clone(&world);
            running.spawn(async move { (number, deliver(&world, &mut function, number).await) });
        }
        let done = running.join_all().await;
        let took = begun.elapsed();

        let results: Vec<&Value> = done.iter().flat_map(|(_, (_, results))| results).collect();
        let sum = |key: &str| results.iter().filter_map(|result| result[key].as_u64()).sum::<u64>();
        let refused = asked(&world.destination, |entry| entry.status == 429);
        let mut kinds = std::collections::BTreeMap::<Kind, usize>::new();
        refused.iter().for_each(|entry| *kinds.entry(entry.kind).or_default() += 1);
        let redelivered: usize = done.iter().map(|(_, (rounds, _))| rounds - 1).sum();
        eprintln!(
            "fifty functions: {took:?}, {} answers of 429 {kinds:?}, {} throttled and {} retried by the results, \
             {redelivered} messages delivered again",
            refused.len(),
            sum("throttled"),
            sum("retries"),
        );
        for (number, (_, results)) in &done {
            assert_eq!(results.last().unwrap()["outcome"], "synced", "{results:?}");
            world.destination.store().is_whole(&format!("mirror/{}", repository(*number)), &tag(*number)).unwrap();
            assert_gated(&world.destination, *number);
        }
        let wrong = asked(&world.destination, |put| put.kind == Kind::ManifestPut && ![201, 429].contains(&put.status));
        assert_eq!(wrong.len(), 0, "a manifest came too early: {wrong:?}");
        let at_source = asked(&world.source, |entry| entry.status == 429).len();
        assert_eq!(sum("throttled"), (refused.len() + at_source) as u64, "every 429 is counted");
        let failures: Vec<_> = results.iter().filter(|result| result["outcome"] != "synced").collect();
        assert_eq!(redelivered, 0, "the quotas are met by waiting, not by failing: {failures:?}");
    })
    .await;
}
