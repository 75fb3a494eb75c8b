//! What no client may do that repeats a push: looked for at the moment of each request, by the registry itself.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use crate::{lock, registry::Shared};

/// What was found. Off, as it reads every blob of an image when its manifest is put.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    on: AtomicBool,
    found: Mutex<Vec<String>>,
}

impl Audit {
    pub(super) fn begin(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    pub(super) fn found(&self) -> Vec<String> {
        lock(&self.found).clone()
    }

    fn note(&self, what: String) {
        lock(&self.found).push(what);
    }

    fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }
}

/// A blob's bytes begin to arrive under the digest that they are to have.
pub(super) fn blob_arrives(shared: &Shared, name: &str, digest: &str) {
    if shared.audit.is_on() && shared.store.has_blob(name, digest) {
        shared.audit.note(format!("{name}: blob {digest} is committed, and is sent again"));
    }
}

/// A manifest was taken, and the tag moved if it named one.
pub(super) fn manifest_taken(shared: &Shared, name: &str, reference: &str) {
    if shared.audit.is_on()
        && let Err(reason) = shared.store.is_whole(name, reference)
    {
        shared.audit.note(format!("{name}: {reference} was put, and is not whole: {reason}"));
    }
}

/// A manifest came before what it refers to.
pub(super) fn manifest_too_early(shared: &Shared, name: &str, reference: &str) {
    if shared.audit.is_on() {
        shared.audit.note(format!("{name}: {reference} came before what it refers to was good for it"));
    }
}
