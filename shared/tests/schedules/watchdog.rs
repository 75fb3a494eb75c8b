//! Names who is stuck on what when nothing is done any more.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::Instant;

use crate::world::World;

/// So long nothing is done only where somebody waits for what never comes.
const LIMIT: Duration = Duration::from_secs(3600);

/// What a task may wait for; registries by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Requests(usize),
    Reads(usize),
    Uploads(usize),
    Starts(usize),
    Streams(usize),
    /// The budget of all copies.
    Bytes,
    /// A receive window.
    Window,
    /// The client, to let go of bytes of this very copy.
    Room,
    /// A place among the images in work.
    Image,
    /// The large share of the manifests.
    Manifests,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(at) => write!(f, "a request at registry {at}"),
            Self::Reads(at) => write!(f, "a read at registry {at}"),
            Self::Uploads(at) => write!(f, "an upload at registry {at}"),
            Self::Starts(at) => write!(f, "a start at registry {at}"),
            Self::Streams(at) => write!(f, "streams at registry {at}"),
            Self::Bytes => f.write_str("the copies' bytes"),
            Self::Window => f.write_str("a receive window"),
            Self::Room => f.write_str("its own bytes to go"),
            Self::Image => f.write_str("a place for an image"),
            Self::Manifests => f.write_str("the large share of the manifests"),
        }
    }
}

/// Who waits for what, and when somebody's waiting ended last.
pub(crate) struct Watchdog(Mutex<State>);

struct State {
    next: u64,
    waiting: BTreeMap<u64, (String, Vec<Need>)>,
    moved: Instant,
}

/// Waits until it is dropped, whether it got what it waited for or was cancelled.
struct Waiting<'w>(&'w Watchdog, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting.remove(&self.1);
        state.moved = Instant::now();
    }
}

impl Watchdog {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { next: 0, waiting: BTreeMap::new(), moved: Instant::now() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that `who` waits for one of `needs` as long as `future` is not done.
    pub(crate) async fn waits<T>(&self, who: &str, needs: &[Need], future: impl Future<Output = T>) -> T {
        let waiting = {
            let mut state = self.state();
            state.next += 1;
            let number = state.next;
            state.waiting.insert(number, (who.to_owned(), needs.to_vec()));
            Waiting(self, number)
        };
        let output = future.await;
        drop(waiting);
        output
    }

    /// Runs `work` while something is done now and then; else says who is stuck.
    pub(crate) async fn watch<T>(&self, world: &World, work: impl Future<Output = T>) -> Result<T, String> {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(LIMIT / 4, &mut work).await {
                Ok(output) => return Ok(output),
                Err(_) if self.state().moved.elapsed() >= LIMIT => return Err(self.stuck(world)),
                Err(_) => {}
            }
        }
    }

    /// Of what somebody may wait for only that is named which is not to be had.
    fn stuck(&self, world: &World) -> String {
        let waiting: Vec<_> = self.state().waiting.values().cloned().collect();
        let mut text = String::new();
        for (who, needs) in waiting {
            let mut short: Vec<String> =
                needs.iter().filter(|need| !to_be_had(world, **need)).map(ToString::to_string).collect();
            short.dedup();
            let _ = writeln!(text, "  {who}: {}", if short.is_empty() { "?".to_owned() } else { short.join(", or ") });
        }
        for registry in &world.registries {
            let _ = writeln!(text, "  {}", registry.in_use);
        }
        let _ = writeln!(text, "  {}", world.reserved);
        text
    }
}

fn to_be_had(world: &World, need: Need) -> bool {
    let registry = |number: usize| &world.registries[number - 1];
    let deadline = &world.deadline;
    match need {
        Need::Requests(at) => at_once(registry(at).requests.admit(deadline)),
        Need::Reads(at) => at_once(registry(at).reads.admit(deadline)),
        Need::Uploads(at) => at_once(registry(at).uploads.admit(deadline)),
        Need::Starts(at) => at_once(registry(at).starts.admit(deadline)),
        Need::Streams(at) => at_once(registry(at).streams.one()),
        Need::Bytes => at_once(world.budget.reserve(1)),
        Need::Image => at_once(world.budget.manifests()),
        // Who waits for a window may wait for any of several hosts.
        Need::Room | Need::Manifests | Need::Window => false,
    }
}

/// Whether it is there now. A task that looks often is made to wait by the runtime, which is not meant here.
fn at_once<T>(future: impl Future<Output = T>) -> bool {
    tokio::task::unconstrained(future).now_or_never().is_some()
}
