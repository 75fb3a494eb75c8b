use bytes::Bytes;

use super::*;

/// Calls everything available from a moment on, and keeps when it was asked.
struct Lagging {
    from: Instant,
    asked: Mutex<Vec<Instant>>,
}

impl Lagging {
    fn by(lag: Duration) -> Arc<Self> {
        Arc::new(Self { from: Instant::now() + lag, asked: Mutex::default() })
    }
}

impl LayerAvailability for Lagging {
    fn available<'a>(&'a self, digests: &'a [Digest]) -> BoxFuture<'a, Result<HashSet<Digest>, Error>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(Instant::now());
            let there = Instant::now() >= self.from;
            Ok(digests.iter().filter(|_| there).cloned().collect())
        })
    }
}

fn image(blob: &[u8]) -> Manifest {
    let body = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{}","size":{}}},"layers":[]}}"#,
        Digest::of(blob),
        blob.len()
    );
    let bytes = Bytes::from(body);
    Manifest::parse(bytes.clone(), Digest::of(&bytes), None).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_gate_asks_from_200_ms_doubling_until_the_lag_is_over() {
    let lagging = Lagging::by(Duration::from_millis(1300));
    let gate = CommitGate::new(Some(lagging.clone()), Duration::from_secs(30));
    let begun = Instant::now();
    let deadline = Deadline::after(Duration::from_secs(60));
    gate.open(&[Digest::of(b"a")], &deadline).await.unwrap();
    let asked: Vec<_> = lagging.asked.lock().unwrap().iter().map(|at| (*at - begun).as_millis()).collect();
    assert_eq!(asked, [0, 200, 600, 1400]);
    assert!(gate.permit(&image(b"a")).is_ok());
    // Known good by now: no further question.
    gate.open(&[Digest::of(b"a")], &deadline).await.unwrap();
    assert_eq!(lagging.asked.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_lag_beyond_the_wait_is_blob_unavailable_when_the_wait_ends() {
    let gate = CommitGate::new(Some(Lagging::by(Duration::from_secs(100))), Duration::from_secs(30));
    let begun = Instant::now();
    let error = gate.open(&[Digest::of(b"a")], &Deadline::after(Duration::from_secs(90))).await.unwrap_err();
    assert_eq!(error.error_type, ErrorType::BlobUnavailable);
    assert!((begun.elapsed() - Duration::from_secs(30)) < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_gate_never_outlasts_the_deadline() {
    let gate = CommitGate::new(Some(Lagging::by(Duration::from_secs(100))), Duration::from_secs(30));
    let error = gate.open(&[Digest::of(b"a")], &Deadline::after(Duration::from_secs(3))).await.unwrap_err();
    assert_eq!(error.error_type, ErrorType::DeadlineExceeded);
}

#[test]
fn no_permit_while_a_blob_is_not_known_to_be_good() {
    let gate = CommitGate::new(None, Duration::from_secs(30));
    let error = gate.permit(&image(b"a")).unwrap_err();
    assert_eq!(error.error_type, ErrorType::BlobUnavailable);
    gate.note_good(Digest::of(b"a"));
    assert_eq!(gate.permit(&image(b"a")).unwrap().manifest().digest, image(b"a").digest);
}
