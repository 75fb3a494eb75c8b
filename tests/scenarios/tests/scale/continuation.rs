//! A layer that one invocation's time is too short for goes on in the next, from where it was.
//!
//! `TRANSSHIP_LAYER_MIB` and `TRANSSHIP_RATE_MIB` (of a stream that is cut: `TRANSSHIP_CUT_LAYER_MIB`,
//! `TRANSSHIP_CUT_RATE_MIB`, `TRANSSHIP_CUT_TIMEOUT_S`) make it larger than what these tests have time for.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use emulator::{Action, Builder, Fault, Image, Kind, Personality, image::generated_layer};
use scenarios::{
    EventSource, Function, World,
    flows::{self, eventually, logged_results},
    function::Settings,
    world::push_event,
};
use serde_json::{Value, json};

use crate::support::{asked, prepare, side_by_side, watched, world_to};

/// The functions' timeout: 8 s of it are work, and in the last 0.8 s nothing is begun.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Deliveries at most.
const MOST: usize = 40;

const MIB: u64 = 1 << 20;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A queue, a dead-letter queue, and both functions.
struct Work {
    world: World,
    image: Image,
    on_push: Function,
    fanout: Function,
    queues: [String; 2],
    timeout: Duration,
}

async fn function(world: &World, binary: &str, [work, dead]: &[String; 2]) -> Function {
    let env = [("TRANSSHIP_QUEUE_URL", work.as_str()), ("TRANSSHIP_DEAD_LETTER_QUEUE_URL", dead.as_str())];
    world.function_with(binary, Settings { memory_mb: 128, ..Settings::default() }, &env).await
}

impl Work {
    /// Towards such a registry, which reads each body at so many MiB a second.
    async fn towards(personality: Personality, layer: u64, rate: u64) -> Self {
        Self::with(personality, |builder| builder, &json!({}), layer, rate).await
    }

    /// Likewise towards one that `change` makes odd, with these limits.
    async fn with(
        personality: Personality,
        change: impl FnOnce(Builder) -> Builder,
        limits: &Value,
        layer: u64,
        rate: u64,
    ) -> Self {
        let mut world = world_to(personality, |builder| change(builder.discard_blobs())).await;
        world.config["limits"] = limits.clone();
        let image = Image::builder().layers([generated_layer(1, layer * MIB)]).build();
        prepare(&world, &image);
        for kind in [Kind::UploadPut, Kind::UploadPatch] {
            world.destination.faults().add(Fault::on(kind).forever().then(Action::SlowRead(rate * MIB)));
        }
        let url = world.aws.sqs().create("work", Duration::from_secs(300));
        let dead = world.aws.sqs().create("dead", Duration::from_secs(300));
        let queues = [url, dead];
        let mut on_push = function(&world, "on-push", &queues).await;
        on_push.ready().await.expect("the function starts");
        let fanout = function(&world, "fanout", &queues).await;
        Self { world, image, on_push, fanout, queues, timeout: TIMEOUT }
    }

    async fn another_fanout(&self) -> Function {
        let mut fanout = function(&self.world, "fanout", &self.queues).await;
        fanout.ready().await.expect("the function starts");
        fanout
    }

    /// Tells `on-push` of it and lets `fanout` go on until the queue is empty; the results in order.
    async fn run(&mut self) -> Vec<Value> {
        self.told(push_event("team/app", "v1", &self.image.digest)).await
    }

    /// Likewise with this event.
    async fn told(&mut self, event: Value) -> Vec<Value> {
        let outcome = self.on_push.invoke(event, self.timeout).await;
        let answer = outcome.clone().ok().unwrap_or_else(|| panic!("{outcome:?}"));
        let mapping = EventSource::new(self.world.aws.sqs(), "work").timeout(self.timeout);
        let deliveries = mapping.drain(&mut self.fanout, MOST).await;
        assert!(deliveries.iter().all(|delivery| delivery.kept.is_empty()), "{deliveries:?}");
        assert_eq!(self.world.aws.sqs().messages("work").len(), 0);
        eventually("the results are logged", || logged_results(&self.fanout).len() == deliveries.len()).await;
        let mut results = vec![answer["results"][0].clone()];
        results.extend(logged_results(&self.fanout));
        results
    }

    /// Bytes of bodies that the destination took.
    fn sent(&self) -> u64 {
        let uploads = |kind| matches!(kind, Kind::UploadPut | Kind::UploadPatch);
        asked(&self.world.destination, |entry| uploads(entry.kind)).iter().map(|entry| entry.request_bytes).sum()
    }

    fn size(&self) -> u64 {
        self.image.blobs().iter().filter_map(|blob| self.world.source.store().blob_size("team/app", blob)).sum()
    }
}

fn outcomes(results: &[Value]) -> Vec<&str> {
    results.iter().filter_map(|result| result["outcome"].as_str()).collect()
}

/// Runs it to its end, which must be a whole image after several invocations; bytes of the image, and bytes sent.
async fn gets_through(mut work: Work) -> (u64, u64, usize) {
    let results = work.run().await;
    let outcomes = outcomes(&results);
    let (last, before) = outcomes.split_last().expect("there are results");
    assert!(
        *last == "synced" && !before.is_empty() && before.iter().all(|outcome| *outcome == "continued"),
        "{results:#?}"
    );
    work.world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
    assert_eq!(work.world.destination.open_uploads(), 0);
    let (size, sent) = (work.size(), work.sent());
    eprintln!("{:?}: {size} bytes, {sent} sent, {} invocations", work.world.destination.personality(), results.len());
    (size, sent, results.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_goes_on_in_chunks_and_each_byte_is_sent_once() {
    watched(async {
        let (layer, rate) = (setting("TRANSSHIP_LAYER_MIB", 160), setting("TRANSSHIP_RATE_MIB", 10));
        side_by_side([Personality::Acr, Personality::Ecr], move |personality| async move {
            let (size, sent, invocations) = gets_through(Work::towards(personality, layer, rate).await).await;
            // A machine that stands still may cut a chunk, which is sent again.
            let chunks = (invocations as u64 - 1) * 16 * MIB;
            assert!((size..=size + chunks).contains(&sent), "{personality:?}: {sent} of {size}");
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_is_known_to_be_too_large_for_a_stream_goes_in_chunks_from_its_start() {
    watched(async {
        // It takes streams, and gets them where the time is enough.
        let (layer, rate) = (setting("TRANSSHIP_LAYER_MIB", 160), setting("TRANSSHIP_RATE_MIB", 10));
        let (size, sent, invocations) = gets_through(Work::towards(Personality::Plain, layer, rate).await).await;
        assert!((size..=size + (invocations as u64 - 1) * 16 * MIB).contains(&sent), "{sent} of {size}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_cut_is_sent_in_chunks_by_the_next_invocation() {
    let timeout = Duration::from_secs(setting("TRANSSHIP_CUT_TIMEOUT_S", TIMEOUT.as_secs()));
    flows::watched(12 * timeout, async {
        // Expected to be done in one invocation, and then the registry is slow.
        let (layer, rate) = (setting("TRANSSHIP_CUT_LAYER_MIB", 96), setting("TRANSSHIP_CUT_RATE_MIB", 8));
        let work = Work::towards(Personality::Plain, layer, rate).await;
        let (size, sent, _) = gets_through(Work { timeout, ..work }).await;
        assert!(sent > size && sent < 2 * size + 32 * MIB, "{sent} of {size}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lag_is_counted_from_the_push_and_told_by_the_invocation_that_ends_it() {
    watched(async {
        let mut work = Work::towards(Personality::Ecr, 160, 10).await;
        let an_hour_ago = time::OffsetDateTime::from(SystemTime::now() - Duration::from_secs(3600));
        let mut event = push_event("team/app", "v1", &work.image.digest);
        event["time"] = an_hour_ago.format(&time::format_description::well_known::Rfc3339).unwrap().into();
        let results = work.told(event).await;
        let outcomes = outcomes(&results);
        assert!(outcomes.len() > 1 && outcomes.last() == Some(&"synced"), "{results:#?}");
        let records = [work.on_push.records(), work.fanout.records()].concat();
        let lines: Vec<&Value> = records.iter().filter(|line| line["message"] == "result").collect();
        assert_eq!(lines.len(), results.len());
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert!(!line.to_string().contains("ReplicationLag"), "its tag is not there yet: {line}");
        }
        assert!(last["_aws"].to_string().contains("ReplicationLag"), "{last}");
        // All invocations are in it, one after the other, and nothing that was before the push.
        let worked: u64 = results.iter().filter_map(|result| result["duration_ms"].as_u64()).sum();
        let at_most = u64::try_from((SystemTime::now() - an_hour_ago).whole_milliseconds()).unwrap();
        let lag = last["ReplicationLag"].as_u64().unwrap();
        assert!((3_600_000 + worked..=at_most + 1).contains(&lag), "{lag}, after {worked} ms of work");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_nothing_twice_ends_as_a_failure_with_the_reason() {
    watched(async {
        // It takes one body alone.
        let mut work = Work::towards(Personality::Ghcr, 96, 4).await;
        let results = work.run().await;
        let last = results.last().unwrap();
        assert_eq!(last["error_type"], "DeadlineExceeded", "{results:#?}");
        assert!(last["error_message"].as_str().unwrap().contains("in a row moved nothing"), "{last}");
        let dead = work.world.aws.sqs().messages("dead");
        assert_eq!(dead.len(), 1);
        assert!(dead[0].body.contains("\"begun\""), "it can be redriven as it is: {}", dead[0].body);
        assert_eq!(work.world.destination.store().tags("mirror/team/app").len(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_expired_meanwhile_starts_the_blob_again() {
    watched(async {
        let mut work = Work::towards(Personality::Acr, 192, 12).await;
        let outcome = work.on_push.invoke(push_event("team/app", "v1", &work.image.digest), TIMEOUT).await;
        assert_eq!(outcome.clone().ok().unwrap()["results"][0]["outcome"], "continued", "{outcome:?}");
        work.world.destination.expire_uploads();
        let mapping = EventSource::new(work.world.aws.sqs(), "work").timeout(TIMEOUT);
        mapping.drain(&mut work.fanout, MOST).await;
        work.world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert!(work.sent() > work.size());
    })
    .await;
}

/// Begins it, and puts what is left of it on the queue a second time.
async fn begun_and_doubled(work: &mut Work) {
    let outcome = work.on_push.invoke(push_event("team/app", "v1", &work.image.digest), TIMEOUT).await;
    assert_eq!(outcome.clone().ok().unwrap()["results"][0]["outcome"], "continued", "{outcome:?}");
    let sqs = work.world.aws.sqs();
    let body = sqs.messages("work")[0].body.clone();
    sqs.send("work", &body);
}

/// The image is whole, nobody has ended the session of another, and no more than `most` bytes were sent.
fn came_through(work: &Work, most: u64) {
    let (to, sent) = (&work.world.destination, work.sent());
    eprintln!("{:?}: {} bytes, {sent} sent", to.personality(), work.size());
    to.store().is_whole("mirror/team/app", "v1").unwrap();
    assert_eq!(work.world.aws.sqs().messages("dead").len(), 0);
    // The configuration waits for the layer's memory. Where it gets it only as the time is up, its session, of which nobody
    // has heard, is begun and ended by the same run.
    let of_the_layer: HashSet<String> =
        asked(to, |entry| entry.request_bytes > MIB).into_iter().map(|entry| entry.path).collect();
    assert!(!of_the_layer.is_empty());
    let ended = asked(to, |entry| entry.kind == Kind::UploadCancel && of_the_layer.contains(&entry.path));
    assert!(ended.is_empty(), "{ended:?}");
    assert!(sent <= most, "{:?}: {sent} of {}", to.personality(), work.size());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continuation_that_comes_twice_at_once_ends_no_session_of_the_other() {
    watched(async {
        side_by_side([Personality::Acr, Personality::Ecr], |personality| async move {
            let mut work = Work::towards(personality, 160, 10).await;
            begun_and_doubled(&mut work).await;
            let mut other = work.another_fanout().await;
            let mapping = EventSource::new(work.world.aws.sqs(), "work").timeout(TIMEOUT);
            tokio::join!(mapping.drain(&mut work.fanout, MOST), mapping.drain(&mut other, MOST));
            mapping.drain(&mut work.fanout, MOST).await;
            // Where the registry tells how far it is, each goes on behind the other; ECR does not tell.
            let more = if personality == Personality::Acr { work.size() / 2 } else { work.size() };
            came_through(&work, work.size() + more);
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continuation_that_comes_again_later_goes_on_where_the_first_one_is() {
    watched(async {
        let mut work = Work::towards(Personality::Acr, 240, 10).await;
        begun_and_doubled(&mut work).await;
        let mapping = EventSource::new(work.world.aws.sqs(), "work").timeout(TIMEOUT);
        mapping.drain(&mut work.fanout, MOST).await;
        came_through(&work, work.size() + 64 * MIB);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ecr_need_not_say_how_far_an_upload_is_for_each_byte_to_be_sent_once() {
    watched(async {
        let mute = |builder: Builder| builder.answers_upload_status(false);
        let work = Work::with(Personality::Ecr, mute, &json!({}), 160, 10).await;
        let (size, sent, invocations) = gets_through(work).await;
        assert!((size..=size + (invocations as u64 - 1) * 10 * MIB).contains(&sent), "{sent} of {size}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_gone_at_a_registry_that_does_not_tell_is_begun_again() {
    watched(async {
        let mute = |builder: Builder| builder.answers_upload_status(false);
        let mut work = Work::with(Personality::Ecr, mute, &json!({}), 160, 12).await;
        let outcome = work.on_push.invoke(push_event("team/app", "v1", &work.image.digest), TIMEOUT).await;
        assert_eq!(outcome.clone().ok().unwrap()["results"][0]["outcome"], "continued", "{outcome:?}");
        work.world.destination.expire_uploads();
        let mapping = EventSource::new(work.world.aws.sqs(), "work").timeout(TIMEOUT);
        mapping.drain(&mut work.fanout, MOST).await;
        work.world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert!(work.sent() > work.size());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_no_larger_than_ecrs_quota() {
    watched(async {
        let limited = |builder: Builder| builder.largest_part(10 * MIB);
        // With room for larger ones.
        let limits = json!({ "buffer_bytes": 96 * MIB });
        gets_through(Work::with(Personality::Ecr, limited, &limits, 160, 10).await).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_with_no_room_for_ecrs_least_part_says_what_to_raise() {
    watched(async {
        let limits = json!({ "buffer_bytes": 8 * MIB });
        let mut work = Work::with(Personality::Ecr, |builder| builder, &limits, 170, 10).await;
        let event = push_event("team/app", "v1", &work.image.digest);
        let (error_type, message) = flows::failed(&mut work.on_push, event, TIMEOUT).await;
        assert_eq!(error_type, "InvalidConfig", "{message}");
        for part in ["limits.buffer_bytes", "5242880"] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(work.world.destination.journal().count(Kind::UploadPatch), 0, "nothing is sent that can't be taken");
    })
    .await;
}
