//! A wire across the servers of a test. The request that trips it is held, so that the client can be killed at that very
//! moment of it.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::lock;

/// A moment of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has arrived. Nothing is done of it, nor ever will be.
    Arrived,
    /// It is done. The client never hears of it.
    Done,
    /// It is done, and the answer is on its way.
    Answered,
}

/// Counts the requests of all servers that it is strung across. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Tripwire(Arc<Wire>);

#[derive(Debug, Default)]
struct Wire {
    state: Mutex<State>,
    tripped: Notify,
}

#[derive(Debug, Default)]
struct State {
    set: Option<(usize, Moment)>,
    tripped: Option<String>,
}

impl Tripwire {
    /// Is tripped by the `number`th request from now, the first being 1, at this moment of it.
    pub fn set(&self, number: usize, moment: Moment) {
        *lock(&self.0.state) = State { set: Some((number, moment)), tripped: None };
    }

    /// Lets all requests pass.
    pub fn lower(&self) {
        *lock(&self.0.state) = State::default();
    }

    /// Waits until it is tripped; the request that did, in words.
    pub async fn tripped(&self) -> String {
        loop {
            let notified = self.0.tripped.notified();
            if let Some(what) = lock(&self.0.state).tripped.clone() {
                return what;
            }
            notified.await;
        }
    }

    /// Counts a request; the moment at which it trips the wire, if it is the one.
    pub(crate) fn pass(&self) -> Option<Moment> {
        let mut state = lock(&self.0.state);
        let (left, moment) = state.set.as_mut()?;
        *left = left.saturating_sub(1);
        let moment = (*left == 0).then_some(*moment)?;
        state.set = None;
        Some(moment)
    }

    /// Trips the wire, and holds what is not to be answered for as long as the client lives.
    pub(crate) async fn trip(&self, moment: Moment, what: &str) {
        lock(&self.0.state).tripped = Some(format!("{moment:?}: {what}"));
        self.0.tripped.notify_waiters();
        if moment != Moment::Answered {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_request_that_was_said_trips_it_once() {
        let wire = Tripwire::default();
        assert_eq!(wire.pass(), None, "it is not set");
        wire.set(2, Moment::Answered);
        assert_eq!(wire.pass(), None);
        assert_eq!(wire.pass(), Some(Moment::Answered));
        assert_eq!(wire.pass(), None);
        wire.trip(Moment::Answered, "GET /v2/").await;
        assert_eq!(wire.tripped().await, "Answered: GET /v2/");
    }
}
