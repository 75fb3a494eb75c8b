//! A connection that can be ended as a proxy ends it that has had enough of a client: `GOAWAY` with `ENHANCE_YOUR_CALM`
//! (RFC 9113, section 6.8), and then nothing more. hyper's server says no such thing by itself, so it is written here,
//! between two of its frames.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Eight bytes on stream 0: the last stream that was processed, and the reason, which is 11.
fn go_away(last: u32) -> [u8; 17] {
    let mut frame = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
    frame[9..13].copy_from_slice(&last.to_be_bytes());
    frame
}

/// The type of a frame that begins an answer.
const HEADERS: u8 = 1;

/// The head of a frame: three bytes of length, then type, flags and stream.
const HEAD: usize = 9;

/// A connection that says it once it is told to.
pub(super) struct Calmed<S> {
    io: S,
    told: Arc<AtomicBool>,
    /// What of a frame's head was written, while one is.
    head: Vec<u8>,
    /// What is left of the frame behind its head.
    left: usize,
    /// The last stream that has an answer.
    answered: u32,
    /// What of [`go_away`] was written.
    said: usize,
}

impl<S> Calmed<S> {
    /// `io`, until `told`; over HTTP/2 alone.
    pub(super) fn new(io: S, told: Arc<AtomicBool>) -> Self {
        Self { io, told, head: Vec::with_capacity(HEAD), left: 0, answered: 0, said: 0 }
    }

    /// Whether the last frame is whole.
    fn between_frames(&self) -> bool {
        self.head.is_empty() && self.left == 0
    }

    /// Follows what was written.
    fn wrote(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let in_frame = bytes.len().min(self.left);
            self.left -= in_frame;
            bytes = &bytes[in_frame..];
            let of_head = bytes.len().min(HEAD - self.head.len());
            self.head.extend_from_slice(&bytes[..of_head]);
            bytes = &bytes[of_head..];
            if let [a, b, c, kind, _, d, e, f, g] = self.head[..] {
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if kind == HEADERS {
                    self.answered = self.answered.max(u32::from_be_bytes([d & 0x7f, e, f, g]));
                }
                self.head.clear();
            }
        }
    }

    /// How much of `bytes` may be written before a frame ends.
    fn room(&self, bytes: &[u8]) -> usize {
        let room = if self.head.is_empty() { self.left } else { HEAD - self.head.len() };
        room.clamp(1, bytes.len().max(1)).min(bytes.len())
    }
}

impl<S: AsyncWrite + Unpin> Calmed<S> {
    fn end(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let frame = go_away(self.answered);
        while self.said < frame.len() {
            match ready!(Pin::new(&mut self.io).poll_write(context, &frame[self.said..])) {
                Ok(count) => self.said += count,
                Err(error) => return Poll::Ready(error),
            }
        }
        let flushed = ready!(Pin::new(&mut self.io).poll_flush(context));
        let ended = flushed.and(ready!(Pin::new(&mut self.io).poll_shutdown(context)));
        Poll::Ready(ended.err().unwrap_or_else(|| io::Error::other("calmed by the script")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Calmed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut bytes = bytes;
        if this.told.load(Ordering::SeqCst) {
            if this.between_frames() {
                return this.end(context).map(Err);
            }
            bytes = &bytes[..this.room(bytes)];
        }
        let count = ready!(Pin::new(&mut this.io).poll_write(context, bytes))?;
        this.wrote(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.told.load(Ordering::SeqCst) {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            return self.poll_write(context, first);
        }
        let this = &mut *self;
        let count = ready!(Pin::new(&mut this.io).poll_write_vectored(context, slices))?;
        let mut left = count;
        for slice in slices {
            let taken = left.min(slice.len());
            this.wrote(&slice[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Calmed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}
