//! TLS, HTTP/2 and HTTP/1.1, and what the journal sees of them.

use std::time::Duration;

use emulator::{Action, Authority, Fault, Kind, Personality, Registry};
use reqwest::Version;

use crate::common::{World, client, header, noise, trusting};

#[tokio::test]
async fn tls_speaks_http2_unless_told_otherwise() {
    let authority = Authority::new();
    for (builder, version) in [
        (Registry::builder(Personality::Plain), Version::HTTP_2),
        (Registry::builder(Personality::Plain).http1_only(), Version::HTTP_11),
    ] {
        let world = World::over(builder.tls(&authority), trusting(&authority)).await;
        let answer = world.get("/v2/").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        let entry = world.registry.journal().entries().pop().unwrap();
        assert_eq!((entry.http2, entry.tls), (version == Version::HTTP_2, true));
        world.upload("a", &noise(1, 3_000_000)).await;
    }
    let world = World::with(Registry::builder(Personality::Plain).tls(&authority)).await;
    assert!(client().get(world.registry.url()).send().await.is_err());
}

#[tokio::test]
async fn plain_http_speaks_http2_by_prior_knowledge() {
    let world = World::new(Personality::Plain).await;
    assert_eq!(world.get("/v2/").send().await.unwrap().version(), Version::HTTP_11);
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let answer = client.get(format!("{}/v2/", world.registry.url())).send().await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
}

#[tokio::test]
async fn streams_are_capped_and_counted() {
    let authority = Authority::new();
    let builder = Registry::builder(Personality::Plain).tls(&authority).max_concurrent_streams(3);
    let world = World::over(builder, trusting(&authority)).await;
    let digest = world.upload("a", b"content").await;
    let slow = Fault::on(Kind::BlobGet).forever().then(Action::Delay(Duration::from_millis(50)));
    world.registry.faults().add(slow);
    let requests: Vec<_> = (0..9).map(|_| tokio::spawn(world.get(&format!("/v2/a/blobs/{digest}")).send())).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().bytes().await.unwrap(), "content");
    }
    let journal = world.registry.journal();
    assert!(journal.idle(Duration::from_secs(1)).await);
    assert_eq!(journal.peak_of(Kind::BlobGet), 3);
    assert_eq!(journal.peak_streams_per_connection(), 3);
    assert_eq!(journal.peak_connections(), 1);
    let before = journal.len();
    journal.clear();
    assert_eq!((journal.len(), journal.peak_streams()), (0, 0));
    world.get("/v2/").send().await.unwrap();
    assert_eq!(journal.entries()[0].number, before as u64);
}

#[tokio::test]
async fn a_refused_stream_and_a_goaway_cost_the_client_little() {
    let authority = Authority::new();
    let world = World::over(Registry::builder(Personality::Plain).tls(&authority), trusting(&authority)).await;
    world.registry.faults().add(Fault::on(Kind::Base).then(Action::RefuseStream));
    // The client may send a refused stream again by itself.
    assert_eq!(world.get("/v2/").send().await.unwrap().status(), 200);
    assert_eq!(world.registry.journal().count(Kind::Base), 2);
    let connections = world.registry.journal().connections();
    world.registry.faults().add(Fault::on(Kind::Base).then(Action::GoAway));
    assert_eq!(world.get("/v2/").send().await.unwrap().status(), 200);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(world.get("/v2/").send().await.unwrap().status(), 200);
    assert_eq!(world.registry.journal().connections(), connections + 1);
}

#[tokio::test]
async fn a_connection_is_ended_as_a_proxy_does_that_has_had_enough() {
    let authority = Authority::new();
    let world = World::over(Registry::builder(Personality::Plain).tls(&authority), trusting(&authority)).await;
    let digest = world.upload("a", &noise(1, 2_000_000)).await;
    let connections = world.registry.journal().connections();
    // A slow answer is under way on the same connection.
    world.registry.faults().add(Fault::on(Kind::BlobGet).then(Action::SlowWrite(100_000)));
    let read = world.get(&format!("/v2/a/blobs/{digest}")).send().await.unwrap();
    world.registry.faults().add(Fault::on(Kind::Base).then(Action::EnhanceYourCalm));
    let error = format!("{:?}", world.get("/v2/").send().await.unwrap_err());
    assert!(error.contains("GoAway") && error.contains("ENHANCE_YOUR_CALM"), "{error}");
    assert!(read.bytes().await.is_err(), "all that was on it ends");
    assert_eq!(world.get("/v2/").send().await.unwrap().status(), 200);
    assert_eq!(world.registry.journal().connections(), connections + 1);
}

#[tokio::test]
async fn the_last_handle_stops_the_registry() {
    let world = World::new(Personality::Plain).await;
    let url = format!("{}/v2/", world.registry.url());
    let second = world.registry.clone();
    drop(world);
    assert_eq!(client().get(&url).send().await.unwrap().status(), 200);
    drop(second);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(client().get(&url).send().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_blobs_pass_over_one_connection() {
    let authority = Authority::new();
    let source = Registry::builder(Personality::Plain).tls(&authority).redirect_blobs();
    let source = World::over(source, trusting(&authority)).await;
    let target = Registry::builder(Personality::Plain).tls(&authority).discard_blobs();
    let target = World::over(target, trusting(&authority)).await;
    let mut tasks = Vec::new();
    for seed in 0..12 {
        let size = 8_000_000 + seed;
        let digest = source.registry.store().put_generated_blob("a", seed, size);
        let redirect = source.get(&format!("/v2/a/blobs/{digest}")).send().await.unwrap();
        let content = source.client.get(header(&redirect, "location")).send().await.unwrap();
        let location = target.begin("a").await;
        let put = target.put(&format!("{location}&digest={digest}"));
        tasks.push(tokio::spawn(put.body(reqwest::Body::wrap_stream(content.bytes_stream())).send()));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().status(), 201);
    }
    assert_eq!(target.registry.store().blobs("a").len(), 12);
    assert_eq!(target.registry.journal().peak_connections(), 1);
}
