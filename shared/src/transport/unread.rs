//! What a connection has taken in and nobody has read yet. The HTTP crate has those bytes and does not say how many they
//! are; so they are counted where they come in, and where they go out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::Receiving;

/// The unread bytes of one connection, in the books of the byte budget.
#[derive(Debug)]
pub(super) struct Unread {
    h2: bool,
    books: Receiving,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: u64,
    /// Answers whose body is neither at its end nor dropped.
    open: u32,
    /// Whether one was dropped before its end: what had come of it is gone, and nobody says how much that was.
    dropped: bool,
}

/// An answer's body that is being read.
#[derive(Debug)]
pub(super) struct OpenRead {
    unread: Arc<Unread>,
    ended: bool,
}

impl Unread {
    pub(super) fn new(h2: bool, books: Receiving) -> Self {
        Self { h2, books, counts: Mutex::default() }
    }

    /// Whether the connection carries many bodies at once.
    pub(super) fn is_h2(&self) -> bool {
        self.h2
    }

    /// That many bytes came in.
    pub(super) fn came(&self, bytes: u64) {
        self.counts().bytes += bytes;
        self.books.came(bytes);
    }

    pub(super) fn open(self: &Arc<Self>) -> OpenRead {
        self.counts().open += 1;
        OpenRead { unread: Arc::clone(self), ended: false }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Held for sums, which can't panic.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn went(&self, bytes: u64, counts: &mut Counts) {
        let went = bytes.min(counts.bytes);
        counts.bytes -= went;
        self.books.went(went);
    }
}

impl OpenRead {
    /// That many bytes of the body went out.
    pub(super) fn took(&self, bytes: u64) {
        self.unread.went(bytes, &mut self.unread.counts());
    }

    /// The body has ended: all that came of it has gone out.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }
}

impl Drop for OpenRead {
    fn drop(&mut self) {
        let unread = &self.unread;
        let mut counts = unread.counts();
        counts.open -= 1;
        counts.dropped |= !self.ended;
        // What a dropped body leaves counts until nothing else is open, when all that is left must be of such. Over
        // HTTP/1.1 heads and framing are counted with the one body there is, and go with it.
        if counts.open == 0 && (counts.dropped || !unread.h2) {
            counts.dropped = false;
            unread.went(u64::MAX, &mut counts);
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let left = self.counts().bytes;
        self.books.went(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ByteBudget;

    fn connection(h2: bool) -> (ByteBudget, Arc<Unread>) {
        let budget = ByteBudget::new(64 << 20);
        let unread = Arc::new(Unread::new(h2, budget.receiving()));
        (budget, unread)
    }

    /// What is held now: the peak since a moment ago.
    fn held(budget: &ByteBudget) -> u64 {
        let _ = budget.take_peak();
        budget.take_peak()
    }

    #[test]
    fn bytes_count_from_when_they_come_until_they_are_taken() {
        let (budget, unread) = connection(true);
        let (first, mut second) = (unread.open(), unread.open());
        unread.came(1000);
        first.took(300);
        assert_eq!(held(&budget), 700);
        unread.came(50);
        second.took(700);
        second.end();
        drop(second);
        assert_eq!(held(&budget), 50);
        assert_eq!(first.unread.counts().bytes, 50);
    }

    #[test]
    fn a_dropped_body_counts_until_no_other_is_read() {
        let (budget, unread) = connection(true);
        let (first, mut second) = (unread.open(), unread.open());
        unread.came(1000);
        drop(first);
        assert_eq!(held(&budget), 1000);
        second.took(100);
        second.end();
        drop(second);
        assert_eq!(held(&budget), 0);
        unread.came(10);
        assert_eq!(held(&budget), 10, "what comes for the next one counts");
    }

    #[test]
    fn over_http1_nothing_is_left_between_bodies() {
        let (budget, unread) = connection(false);
        unread.came(200);
        let mut read = unread.open();
        read.took(150);
        assert_eq!(held(&budget), 50);
        read.end();
        drop(read);
        assert_eq!(held(&budget), 0);
    }

    #[test]
    fn a_connection_that_ends_leaves_nothing_in_the_books() {
        let (budget, unread) = connection(true);
        unread.came(200);
        drop(unread);
        assert_eq!(held(&budget), 0);
    }
}
