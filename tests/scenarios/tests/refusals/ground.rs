//! What every refusal has in common: a clear error, a destination that is as it was, and no secret told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use emulator::{Kind, Registry, Store, digest};
use scenarios::{Function, Outcome, World, world::push_event};
use serde_json::{Value, json};

/// For a whole test, and for one invocation.
pub(crate) const LIMIT: Duration = Duration::from_secs(50);

/// The repository that the tests push to, and where the world's rule sends it.
pub(crate) const REPOSITORY: &str = "team/app";
pub(crate) const MIRROR: &str = "mirror/team/app";

/// How long an upload's cancelling may come after the answer of the function.
const SOON: Duration = Duration::from_secs(5);

/// A refusal, as Lambda is told.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error_type: String,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Err { error_type, message } | Outcome::InitError { error_type, message } => {
                Self { error_type, message }
            }
            other => panic!("refused should have been what ended with {other:?}"),
        }
    }

    /// Panics unless it has this type, and its message all these parts.
    #[track_caller]
    pub(crate) fn is(self, error_type: &str, parts: &[&str]) -> Self {
        assert_eq!(self.error_type, error_type, "{}", self.message);
        for part in parts {
            assert!(self.message.contains(part), "`{part}` is not in: {}", self.message);
        }
        self
    }
}

/// Tags and manifests of every repository that has any. A refusal may touch none of them; blobs may have come before
/// it, and where pushes make repositories they made one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held(BTreeMap<String, (Tags, Vec<String>)>);

type Tags = BTreeMap<String, Option<String>>;

impl Held {
    pub(crate) fn by(store: &Store) -> Self {
        let of = |name: &String| {
            let tags: Tags = store.tags(name).into_iter().map(|tag| (tag.clone(), store.tag(name, &tag))).collect();
            (tags, store.manifests(name))
        };
        let used = |name: &String| !store.tags(name).is_empty() || !store.manifests(name).is_empty();
        Self(store.repositories().into_iter().filter(used).map(|name| (name.clone(), of(&name))).collect())
    }
}

/// Invokes a function with what it has to refuse: an error, and nothing changed at the world's destination.
pub(crate) async fn refused(world: &World, function: &mut Function, event: Value) -> Refusal {
    let refusal = refused_at(&world.destination, function, event).await;
    let open = wait_until_closed(&world.destination).await;
    assert_eq!(open, 0, "an upload was left open after {refusal:?}");
    refusal
}

/// Likewise at any destination, uploads that are left open aside: where to cancel them may be what was refused.
pub(crate) async fn refused_at(destination: &Registry, function: &mut Function, event: Value) -> Refusal {
    let before = Held::by(destination.store());
    destination.journal().clear();
    let refusal = Refusal::of(function.invoke(event, LIMIT).await);
    assert_eq!(Held::by(destination.store()), before, "{refusal:?}");
    assert_eq!(destination.journal().count(Kind::ManifestPut), 0, "{refusal:?}");
    assert_blobs_are_true(destination.store());
    assert_no_secret_is_told(function, &[]);
    refusal
}

/// The event of a push of `tag` to [`REPOSITORY`].
pub(crate) fn pushed(tag: &str, digest: &str) -> Value {
    push_event(REPOSITORY, tag, digest)
}

/// An SQS event with one message.
pub(crate) fn message(body: &Value) -> Value {
    let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    json!({ "Records": [{
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": text,
        "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:transship",
        "awsRegion": "us-east-1",
    }] })
}

/// Takes tries and waits down, for refusals that look like passing troubles at first.
pub(crate) fn impatient(world: &mut World) {
    world.config["limits"] = json!({ "max_attempts": 2, "manifest_commit_wait_ms": 500 });
}

/// Syncs what must work: a refusal before it, or beside it, breaks nothing.
pub(crate) async fn synced(function: &mut Function, event: Value) -> Value {
    match function.invoke(event, LIMIT).await {
        Outcome::Ok(answer) => {
            assert_eq!(answer["results"][0]["outcome"], "synced", "{answer}");
            answer["results"][0].clone()
        }
        other => panic!("{other:?}"),
    }
}

/// Panics if a log line holds one of these, or the function's own AWS credentials.
#[track_caller]
pub(crate) fn assert_no_secret_is_told(function: &Function, secrets: &[&str]) {
    let own = ["secret-of-the-function", "token-of-the-function"];
    for line in function.lines() {
        for secret in own.iter().chain(secrets) {
            assert!(!line.contains(secret), "`{secret}` is in the log line {line}");
        }
    }
}

/// Panics if a blob that came over the wire is not what its digest says.
fn assert_blobs_are_true(store: &Store) {
    for name in store.repositories() {
        let blobs: BTreeSet<String> = store.blobs(&name).into_iter().collect();
        for blob in blobs {
            let bytes = store.blob_bytes(&name, &blob).expect("the destination keeps its blobs");
            assert_eq!(digest::sha256(&bytes), blob, "{name}");
        }
    }
}

async fn wait_until_closed(registry: &Registry) -> usize {
    let end = tokio::time::Instant::now() + SOON;
    while registry.open_uploads() > 0 && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    registry.open_uploads()
}
