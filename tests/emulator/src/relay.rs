//! A way to a registry that is longer than it is: every byte arrives some time after it left, in both directions.
//!
//! A delayed answer alone would not show what flow-control windows are worth: those are waited for once for each
//! window's bytes, not once for each request.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};

/// Bytes on their way in one direction of a connection, at most. Chosen: over what a registry's h2 windows let out, so
/// that windows decide and not this.
const ON_THE_WAY: usize = 64 << 20;

/// One read: large enough that wake-ups are few.
const PIECE: usize = 256 << 10;

/// Listens as long as the runtime lives.
#[derive(Debug)]
pub struct Relay;

/// Bytes, and when they arrive.
struct Parcel(Instant, Vec<u8>, OwnedSemaphorePermit);

impl Relay {
    /// A new address of this machine from which everything takes `delay` to get to `target`, and back.
    ///
    /// # Errors
    /// If this machine has no port left to listen on.
    pub async fn start(target: SocketAddr, delay: Duration) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((target.ip(), 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let _ = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::join!(carry(near_in, far_out, delay), carry(far_in, near_out, delay));
                });
            }
        });
        Ok(address)
    }
}

/// Carries one direction to its end.
async fn carry(from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin, delay: Duration) {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::join!(depart(from, sender, delay), arrive(to, receiver));
}

async fn depart(mut from: impl AsyncRead + Unpin, parcels: mpsc::UnboundedSender<Parcel>, delay: Duration) {
    let room = Arc::new(Semaphore::new(ON_THE_WAY));
    loop {
        let mut bytes = Vec::with_capacity(PIECE);
        let Ok(1..) = from.read_buf(&mut bytes).await else { return };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&room).acquire_many_owned(length).await else { return };
        if parcels.send(Parcel(Instant::now() + delay, bytes, permit)).is_err() {
            return;
        }
    }
}

async fn arrive(mut to: impl AsyncWrite + Unpin, mut parcels: mpsc::UnboundedReceiver<Parcel>) {
    while let Some(Parcel(at, bytes, _permit)) = parcels.recv().await {
        tokio::time::sleep_until(at).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
