//! A thousand images from one backfill message, through the queue, by eight functions.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use emulator::{Image, Kind, image::raw_layer};
use scenarios::{EventSource, Function, World, flows::eventually, function::Settings, world::SOURCE};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{TIMEOUT, watched};

const IMAGES: u64 = 1000;
const REPOSITORIES: u64 = 10;
const WORKERS: usize = 8;

/// An image of a base that all of a repository share, and a configuration of its own.
fn image(number: u64) -> Image {
    let base = (0..2).map(|layer| raw_layer(number % REPOSITORIES * 2 + layer, 1000));
    Image::builder().layers(base).label("number", &number.to_string()).build()
}

fn place(number: u64) -> (String, String) {
    (format!("team/app{}", number % REPOSITORIES), format!("v{number}"))
}

/// Polls as a mapping does, until nothing is left in the queue, in flight or not.
async fn work(world: Arc<World>, mut function: Function) -> Function {
    let mapping = EventSource::new(world.aws.sqs(), "work").batch_size(10).timeout(TIMEOUT);
    loop {
        match mapping.deliver(&mut function).await {
            Some(delivery) => assert!(delivery.kept.is_empty(), "{delivery:?}"),
            None if world.aws.sqs().messages("work").is_empty() => return function,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Sends one backfill message and has all functions work until the queue is empty; the summary that one of them logged.
async fn backfilled(world: &Arc<World>, functions: Vec<Function>) -> (Value, Vec<Function>) {
    let summaries = |functions: &[Function]| -> Vec<Value> {
        let records = functions.iter().flat_map(Function::records);
        records.filter(|record| record["message"] == "backfill").map(|record| record["backfill"].clone()).collect()
    };
    let before = summaries(&functions).len();
    let order = json!({ "backfill": { "repository": format!("{SOURCE}/team/*") } });
    world.aws.sqs().send("work", &order.to_string());
    let mut running = JoinSet::new();
    for function in functions {
        running.spawn(work(Arc::clone(world), function));
    }
    let functions = running.join_all().await;
    eventually("the summary is logged", || summaries(&functions).len() > before).await;
    // The functions come back in any order; the larger count of requests is no mark, but what was current is.
    let mut found = summaries(&functions);
    found.sort_by_key(|summary| summary["current"].as_u64());
    (found.pop().unwrap(), functions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_images_are_filled_in_from_one_message_and_none_the_second_time() {
    watched(async {
        let world = Arc::new(World::ecr(|destination| destination).await);
        for number in 0..IMAGES {
            let (repository, tag) = place(number);
            image(number).push_to(world.source.store(), &repository, &tag);
            world.destination.store().create_repository(&format!("mirror/{repository}"));
        }
        let url = world.aws.sqs().create("work", Duration::from_secs(120));
        let settings = Settings { memory_mb: 128, ..Settings::default() };
        let mut functions = Vec::new();
        for _ in 0..WORKERS {
            functions.push(world.function_with("fanout", settings.clone(), &[("TRANSSHIP_QUEUE_URL", &url)]).await);
        }
        let begun = std::time::Instant::now();
        let (summary, functions) = backfilled(&world, functions).await;
        eprintln!("a thousand images: {:?}, {summary}", begun.elapsed());
        for (name, count) in [("listed", IMAGES), ("missing", IMAGES), ("enqueued", IMAGES), ("current", 0)] {
            assert_eq!(summary[name], count, "{name}: {summary}");
        }
        let store = world.destination.store();
        let mut digests = BTreeSet::new();
        for number in 0..IMAGES {
            let (repository, tag) = place(number);
            let repository = format!("mirror/{repository}");
            store.is_whole(&repository, &tag).unwrap();
            let digest = store.tag(&repository, &tag).unwrap();
            assert_eq!(digest, image(number).digest);
            digests.insert(digest);
        }
        assert_eq!(digests.len() as u64, IMAGES, "each is an image of its own");
        let worked = functions.iter().filter(|function| !scenarios::flows::logged_results(function).is_empty()).count();
        assert_eq!(worked, WORKERS, "all took part");

        world.forget();
        let (summary, _functions) = backfilled(&world, functions).await;
        for (name, count) in
            [("listed", IMAGES), ("current", IMAGES), ("missing", 0), ("different", 0), ("enqueued", 0)]
        {
            assert_eq!(summary[name], count, "{name}: {summary}");
        }
        assert_eq!(world.aws.count("sqs", "SendMessageBatch"), 0, "nothing is enqueued");
        // One list of repositories; of each repository one list, and one batch for a hundred images.
        assert_eq!(summary["aws_api_calls"], 1 + REPOSITORIES + REPOSITORIES, "{summary}");
        assert_eq!(world.source.journal().len() + world.destination.journal().count(Kind::ManifestHead), 0);
    })
    .await;
}
