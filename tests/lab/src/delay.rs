//! A wire that takes its time: what is sent to one port of a namespace arrives at another
//! address, each way late by the same delay, in order.
//!
//! It runs in threads of its own and ends when dropped. Connections are accepted at once, as a
//! busy server's kernel does; what is slow is everything said on them.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::net::Namespace;

/// Chunks under way in one direction of one connection.
const UNDER_WAY: usize = 1024;

/// The delay of many wires; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Slowness(Arc<AtomicU64>);

impl Slowness {
    /// From now on each way takes `by` longer.
    pub fn set(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// One slow wire.
#[derive(Debug)]
pub struct Delay {
    stop: Option<oneshot::Sender<()>>,
}

impl Delay {
    /// Listens at `listen` in `namespace` and passes everything on to `to`.
    pub fn start(namespace: &Namespace, listen: &str, to: &str, by: &Slowness) -> Result<Self> {
        let listener = namespace
            .inside(|| TcpListener::bind(listen))?
            .with_context(|| format!("the slow wire cannot listen at {listen}"))?;
        listener.set_nonblocking(true)?;
        let (stop, stopped) = oneshot::channel();
        let (namespace, to, by) = (namespace.clone(), to.to_owned(), by.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("slow wire".to_owned())
            .spawn(move || {
                // Connections to `to` are made by this thread, so it lives in there.
                if let Err(error) = namespace.enter() {
                    eprintln!("pnwatch-lab: the slow wire has no namespace: {error:#}");
                    return;
                }
                runtime.block_on(async move {
                    tokio::select! {
                        () = serve(listener, to, by) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self { stop: Some(stop) })
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn serve(listener: TcpListener, to: String, by: Slowness) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((near, _)) = listener.accept().await {
        let (to, by) = (to.clone(), by.clone());
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(&to).await else {
                return;
            };
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::join!(
                pass(near_read, far_write, by.clone()),
                pass(far_read, near_write, by)
            );
        });
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    by: Slowness,
) {
    let (queue, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            let bytes = buffer.get(..count).unwrap_or_default().to_vec();
            let end = bytes.is_empty();
            if end
                || queue
                    .send((Instant::now() + by.get(), bytes))
                    .await
                    .is_err()
            {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = under_way.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
