//! A time limit for tests that says which step hangs.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// The steps of a test that are under way. Clones share them.
#[derive(Clone, Default)]
pub struct Steps {
    open: Arc<Mutex<Vec<(usize, String, Instant)>>>,
    next: Arc<Mutex<usize>>,
}

/// A step that is under way until this is dropped.
pub struct Step {
    steps: Steps,
    number: usize,
}

impl Steps {
    /// Begins a step, such as `"push to the source"`.
    #[must_use = "the step ends when this is dropped"]
    pub fn begin(&self, what: impl Into<String>) -> Step {
        let number = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next
        };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push((number, what.into(), Instant::now()));
        Step { steps: self.clone(), number }
    }

    /// Runs a future as a step.
    pub async fn during<T>(&self, what: impl Into<String>, future: impl Future<Output = T>) -> T {
        let _step = self.begin(what);
        future.await
    }

    fn describe(&self) -> String {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_empty() {
            return "no step that it named".into();
        }
        let one = |(_, what, since): &(usize, String, Instant)| {
            format!("\"{what}\" (for {:.1} s)", since.elapsed().as_secs_f64())
        };
        open.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let mut open = self.steps.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(number, ..)| *number != self.number);
    }
}

/// Runs a test's body. Past the limit it panics with the test's name and the steps that are under way.
///
/// A body that blocks its thread can't be stopped like that: ten seconds later the whole process ends.
pub async fn watch<T, F: Future<Output = T>>(test: &str, limit: Duration, body: impl FnOnce(Steps) -> F) -> T {
    let steps = Steps::default();
    let (done, waiting) = mpsc::channel::<()>();
    let (name, seen) = (test.to_owned(), steps.clone());
    thread::spawn(move || {
        if waiting.recv_timeout(limit + GRACE) == Err(mpsc::RecvTimeoutError::Timeout) {
            give_up(&format!("{name} blocks its thread past {limit:?}, busy with {}", seen.describe()));
        }
    });
    // Kept until the message is written: dropping the body would end its steps.
    let mut body = Box::pin(body(steps.clone()));
    let result = tokio::time::timeout(limit, &mut body).await;
    drop(done);
    result.unwrap_or_else(|_| panic!("{test} is not done after {limit:?}, busy with {}", steps.describe()))
}

const GRACE: Duration = Duration::from_secs(10);

#[allow(clippy::print_stderr, reason = "the process ends here")]
fn give_up(message: &str) {
    eprintln!("{message}");
    std::process::exit(101);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "slow is not done after 50ms, busy with \"the second step\"")]
    async fn the_step_that_hangs_is_named() {
        watch("slow", Duration::from_millis(50), |steps| async move {
            steps.during("the first step", async {}).await;
            steps.during("the second step", std::future::pending::<()>()).await;
        })
        .await;
    }

    #[tokio::test]
    async fn a_test_in_time_gets_its_result() {
        assert_eq!(watch("quick", Duration::from_secs(5), |_| async { 7 }).await, 7);
    }
}
