//! What a blob consists of: held bytes, bytes made on the fly, or only their size.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{
    digest::{Algorithm, Hasher},
    random,
};

/// Uploads are kept in pieces of this size: chosen, large enough to be few and small enough to waste little.
const PIECE: usize = 1024 * 1024;

/// The content of a blob. Clones share it.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Held(Arc<[Bytes]>, u64),
    Generated { seed: u64, size: u64 },
    Discarded { size: u64 },
}

impl Content {
    pub(crate) fn of(bytes: Bytes) -> Self {
        let size = bytes.len() as u64;
        Self::Held(Arc::from([bytes]), size)
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Held(_, size) | Self::Generated { size, .. } | Self::Discarded { size } => *size,
        }
    }

    /// Some bytes from `offset`, at most `max`; empty only at the end.
    pub(crate) fn read(&self, offset: u64, max: usize) -> Bytes {
        match self {
            Self::Generated { seed, size } => random::page(*seed, *size, offset, max),
            Self::Discarded { .. } => Bytes::new(),
            Self::Held(pieces, _) => {
                let mut start = 0;
                for piece in pieces.iter() {
                    let end = start + piece.len() as u64;
                    if offset < end {
                        let from = usize::try_from(offset - start).unwrap_or(0);
                        return piece.slice(from..piece.len().min(from.saturating_add(max)));
                    }
                    start = end;
                }
                Bytes::new()
            }
        }
    }

    /// The digest of the content, unless it was discarded.
    pub(crate) fn digest(&self, algorithm: Algorithm) -> Option<String> {
        if matches!(self, Self::Discarded { .. }) {
            return None;
        }
        let mut hasher = Hasher::new(algorithm);
        let mut offset = 0;
        while offset < self.size() {
            let piece = self.read(offset, PIECE);
            hasher.update(&piece);
            offset += piece.len() as u64;
        }
        Some(hasher.finish())
    }

    /// All bytes in one, for small content only.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        if matches!(self, Self::Discarded { .. }) {
            return None;
        }
        if let Self::Held(pieces, _) = self
            && let [piece] = pieces.as_ref()
        {
            return Some(piece.clone());
        }
        let mut out = BytesMut::new();
        while (out.len() as u64) < self.size() {
            let piece = self.read(out.len() as u64, PIECE);
            out.extend_from_slice(&piece);
        }
        Some(out.freeze())
    }
}

/// Collects what arrives. A failed part can be taken back.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pieces: Vec<Bytes>,
    tail: BytesMut,
    size: u64,
    /// Keep no more than this; what is larger is only counted.
    keep: Option<u64>,
    dropped: bool,
}

impl Collector {
    pub(crate) fn keeping(keep: Option<u64>) -> Self {
        Self { keep, ..Self::default() }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if self.dropped || self.keep.is_some_and(|keep| self.size > keep) {
            self.dropped = true;
            self.pieces.clear();
            self.tail = BytesMut::new();
            return;
        }
        // Copied, because a frame would keep the connection's whole read buffer alive.
        while !bytes.is_empty() {
            let room = (PIECE - self.tail.len()).min(bytes.len());
            self.tail.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if self.tail.len() == PIECE {
                self.pieces.push(self.tail.split().freeze());
            }
        }
    }

    pub(crate) fn truncate(&mut self, size: u64) {
        if self.dropped {
            self.size = size;
            return;
        }
        while self.size > size {
            if self.tail.is_empty() {
                let Some(piece) = self.pieces.pop() else { return };
                self.tail = BytesMut::from(piece.as_ref());
            }
            let excess = usize::try_from(self.size - size).unwrap_or(usize::MAX).min(self.tail.len());
            self.tail.truncate(self.tail.len() - excess);
            self.size -= excess as u64;
        }
    }

    pub(crate) fn finish(mut self) -> Content {
        if self.dropped {
            return Content::Discarded { size: self.size };
        }
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
        Content::Held(Arc::from(self.pieces), self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_taken_back_leaves_what_was_before_it() {
        let bytes = random::bytes(1, 3 * PIECE + 17);
        let mut collector = Collector::default();
        collector.push(&bytes[..PIECE + 5]);
        collector.push(&bytes[PIECE..]);
        collector.truncate(PIECE as u64 + 5);
        collector.push(&bytes[PIECE + 5..]);
        assert_eq!(collector.finish().whole().as_deref(), Some(bytes.as_slice()));
    }
}
