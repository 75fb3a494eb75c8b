//! Faults by script.

use std::time::{Duration, Instant};

use emulator::{Action, Fault, Kind, Origin, Personality, Registry, digest::sha256};

use crate::common::{World, client, error, header, noise};

async fn world() -> (World, String, Vec<u8>) {
    let world = World::new(Personality::Plain).await;
    let bytes = noise(1, 200_000);
    let digest = world.upload("a", &bytes).await;
    (world, format!("/v2/a/blobs/{digest}"), bytes)
}

#[tokio::test]
async fn a_rule_skips_fires_and_is_done() {
    let (world, path, _) = world().await;
    let fired = world.registry.faults().add(Fault::on(Kind::BlobHead).skip(1).times(2).then(Action::throttle(Some(7))));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = world.head(&path).send().await.unwrap();
        statuses.push(answer.status().as_u16());
        if answer.status() == 429 {
            assert_eq!(header(&answer, "retry-after"), "7");
        }
    }
    assert_eq!(statuses, [200, 429, 429, 200]);
    assert_eq!(fired.count(), 2);
    assert_eq!(world.registry.journal().count_status(Kind::BlobHead, 429), 2);
}

#[tokio::test]
async fn an_answer_is_scripted() {
    let (world, path, _) = world().await;
    let faults = world.registry.faults();
    faults.add(Fault::any().path(&path).method("GET").then(Action::error(503, "UNAVAILABLE", "later")));
    let (status, code, message) = error(world.get(&path).send().await.unwrap()).await;
    assert_eq!((status, code.as_str(), message.as_str()), (503, "UNAVAILABLE", "later"));
    faults.add(Fault::on(Kind::UploadStart).then(Action::Location("http://169.254.169.254/x".into())));
    assert_eq!(world.begin("a").await, "http://169.254.169.254/x");
    faults.add(
        Fault::on(Kind::BlobHead)
            .then(Action::DropHeader("docker-content-digest".into()))
            .then(Action::Header { name: "x-odd".into(), value: "yes".into() }),
    );
    let answer = world.head(&path).send().await.unwrap();
    assert_eq!((header(&answer, "docker-content-digest"), header(&answer, "x-odd")), (String::new(), "yes".into()));
}

#[tokio::test]
async fn bodies_are_spoilt() {
    let (world, path, bytes) = world().await;
    let get = |action: Action| {
        world.registry.faults().add(Fault::on(Kind::BlobGet).then(action));
        world.get(&path).send()
    };
    let spoilt = get(Action::CorruptByte(150_000)).await.unwrap().bytes().await.unwrap();
    let differences = spoilt.iter().zip(&bytes).filter(|(a, b)| a != b).count();
    assert_eq!((spoilt.len(), differences, spoilt[150_000] ^ bytes[150_000]), (bytes.len(), 1, 1));
    let answer = get(Action::TruncateBody(100)).await.unwrap();
    assert_eq!((header(&answer, "content-length").as_str(), answer.bytes().await.unwrap().len()), ("100", 100));
    let answer = get(Action::ExtraByte).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap().len(), bytes.len() + 1);
    let answer = get(Action::NoContentLength).await.unwrap();
    assert_eq!(answer.content_length(), None);
    assert_eq!(answer.bytes().await.unwrap(), bytes);
    let answer = get(Action::CutResponseAfter(1000)).await.unwrap();
    assert!(answer.bytes().await.is_err());
    let entry = world.registry.journal().of(Kind::BlobGet).pop().unwrap();
    assert_eq!((entry.response_bytes, entry.finished.is_some()), (1000, false));
    assert_eq!(world.get(&path).send().await.unwrap().bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn a_redirect_passes_a_bodys_fault_on() {
    let world = World::with(Registry::builder(Personality::Plain).redirect_blobs()).await;
    let digest = world.upload("a", b"content").await;
    world.registry.faults().add(Fault::on(Kind::BlobGet).then(Action::CorruptByte(0)));
    let answer = world.get(&format!("/v2/a/blobs/{digest}")).send().await.unwrap();
    let bytes = client().get(header(&answer, "location")).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[1..], b"ontent");
    assert_ne!(sha256(&bytes), digest);
    assert_eq!(world.registry.journal().count_at(Origin::Blobs, Kind::BlobGet), 1);
    assert_eq!(world.registry.journal().count_at(Origin::Registry, Kind::BlobGet), 1);
    assert!(world.registry.journal().of(Kind::BlobGet).iter().all(|entry| entry.repository.as_deref() == Some("a")));
}

#[tokio::test]
async fn connections_break() {
    let (world, path, _) = world().await;
    let faults = world.registry.faults();
    faults.add(Fault::on(Kind::BlobHead).then(Action::Reset));
    assert!(world.head(&path).send().await.is_err());
    let bytes = noise(2, 300_000);
    let location = world.begin("a").await;
    faults.add(Fault::on(Kind::UploadPut).then(Action::CutRequestAfter(1000)));
    let url = format!("{location}&digest={}", sha256(&bytes));
    assert!(world.put(&url).body(bytes.clone()).send().await.is_err());
    assert_eq!(world.registry.journal().of(Kind::UploadPut).pop().unwrap().request_bytes, 1000);
    // Some bytes have stayed: the old location is no place to begin again.
    assert_eq!(world.put(&url).body(bytes.clone()).send().await.unwrap().status(), 416);
    let location = world.begin("a").await;
    let url = format!("{location}&digest={}", sha256(&bytes));
    faults.add(Fault::on(Kind::UploadPut).then(Action::DoThenReset));
    assert!(world.put(&url).body(bytes.clone()).send().await.is_err());
    assert!(world.registry.store().has_blob("a", &sha256(&bytes)));
}

#[tokio::test]
async fn time_is_lost() {
    let (world, path, bytes) = world().await;
    let faults = world.registry.faults();
    let timed = |seconds: f64| world.get(&path).timeout(Duration::from_secs_f64(seconds)).send();
    faults.add(Fault::on(Kind::BlobGet).then(Action::Stall));
    assert!(timed(0.2).await.unwrap_err().is_timeout());
    faults.add(Fault::on(Kind::BlobGet).then(Action::StallResponseAfter(1000)));
    let answer = timed(0.3).await.unwrap();
    assert!(answer.bytes().await.unwrap_err().is_timeout());
    faults.add(Fault::on(Kind::UploadPatch).then(Action::StallRequestAfter(10)));
    let location = world.begin("a").await;
    let patch = world.patch(&location).body(noise(4, 100)).timeout(Duration::from_millis(200));
    assert!(patch.send().await.unwrap_err().is_timeout());
    faults.add(Fault::on(Kind::BlobGet).then(Action::Delay(Duration::from_millis(200))));
    let start = Instant::now();
    timed(5.0).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200));
    faults.add(Fault::on(Kind::BlobGet).then(Action::SlowWrite(400_000)));
    let start = Instant::now();
    assert_eq!(timed(5.0).await.unwrap().bytes().await.unwrap(), bytes);
    assert!(start.elapsed() >= Duration::from_millis(350), "{:?}", start.elapsed());
    faults.add(Fault::on(Kind::UploadPut).then(Action::SlowRead(400_000)));
    let start = Instant::now();
    world.upload("a", &noise(3, 200_000)).await;
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
}
