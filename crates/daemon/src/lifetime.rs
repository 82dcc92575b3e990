//! How servers learn that they shall end, and how their owner learns that they have.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// Ends servers: they stop accepting, and open connections finish what they are answering.
#[derive(Clone, Debug)]
pub struct Lifetime {
    stopping: watch::Receiver<bool>,
    /// Held by every connection: when all are gone, the stopper sees the end.
    _open: mpsc::Sender<()>,
}

/// The other end of a [`Lifetime`]. Dropping it stops the servers too.
#[derive(Debug)]
pub struct Stopper {
    stop: watch::Sender<bool>,
    closed: mpsc::Receiver<()>,
}

impl Lifetime {
    /// A lifetime, and what ends it.
    pub fn new() -> (Self, Stopper) {
        let (stop, stopping) = watch::channel(false);
        let (open, closed) = mpsc::channel(1);
        (Self { stopping, _open: open }, Stopper { stop, closed })
    }

    /// Returns when the servers are asked to stop.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the sender is gone: that is a stop too.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}

impl Stopper {
    /// Asks the servers to stop.
    pub fn stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Waits until every clone of the lifetime is gone, at most for this long.
    pub async fn drained(&mut self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.closed.recv()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn servers_end_when_they_are_asked_to_and_when_nobody_can_ask_any_more() {
        let (lifetime, mut stopper) = Lifetime::new();
        let server = tokio::spawn(async move { lifetime.stopped().await });
        stopper.stop();
        stopper.drained(Duration::from_mins(1)).await;
        server.await.unwrap();

        let (lifetime, stopper) = Lifetime::new();
        drop(stopper);
        lifetime.stopped().await;
    }

    #[tokio::test]
    async fn draining_has_an_end() {
        let (_lifetime, mut stopper) = Lifetime::new();
        stopper.stop();
        stopper.drained(Duration::from_millis(1)).await;
    }
}
