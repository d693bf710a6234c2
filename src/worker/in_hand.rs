//! Chunks in hand in this process, by the names of their results: records of one chunk are worked on one after the other, so that all but
//! the first find its result.
//!
//! Ingest that starts again publishes a clip's chunks again, and a copy of a record comes to the same worker; so does a record whose
//! partition went and came back while its chunk is still in work.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::contract::Fingerprint;

/// Chunks that are worked on here.
#[derive(Debug, Default)]
pub struct InHand {
    chunks: Mutex<HashSet<Fingerprint>>,
    /// Told whenever one of them is left.
    left: Notify,
}

/// A chunk that nobody else here works on until this is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    all: &'a InHand,
    chunk: Fingerprint,
    /// Another record of the chunk was in front: its result may be there by now.
    pub has_waited: bool,
}

impl InHand {
    /// Takes a chunk; waits while somebody else has it. Cancel-safe: it is taken only by the poll that returns it.
    pub async fn take(&self, chunk: Fingerprint) -> Held<'_> {
        let mut has_waited = false;
        loop {
            // Before the look: a chunk that is left between the two is heard of.
            let left = self.left.notified();
            if self.lock().insert(chunk) {
                return Held { all: self, chunk, has_waited };
            }
            has_waited = true;
            left.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Fingerprint>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.chunk);
        self.all.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;
    use crate::contract::Digest;

    fn chunk(name: &str) -> Fingerprint {
        serde_json::from_value(serde_json::json!(Digest::of(name.as_bytes()))).unwrap()
    }

    /// What a future gives if it is polled once.
    async fn now<F: Future>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
        let poll = std::future::poll_fn(|context| {
            Poll::Ready(match future.as_mut().poll(context) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            })
        });
        poll.await
    }

    #[tokio::test]
    async fn records_of_one_chunk_come_one_after_the_other() {
        let in_hand = InHand::default();
        let first = in_hand.take(chunk("a")).await;
        assert!(!first.has_waited);
        let mut second = Box::pin(in_hand.take(chunk("a")));
        let mut third = Box::pin(in_hand.take(chunk("a")));
        assert!(now(&mut second).await.is_none());
        assert!(now(&mut third).await.is_none());
        assert!(!in_hand.take(chunk("b")).await.has_waited, "another chunk is free");

        drop(first);
        let held = now(&mut second).await.expect("the first has left it");
        assert!(held.has_waited);
        assert!(now(&mut third).await.is_none(), "one at a time");
        drop(held);
        assert!(now(&mut third).await.is_some_and(|held| held.has_waited));
        assert!(in_hand.lock().is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_no_longer_is_in_nobodys_way() {
        let in_hand = InHand::default();
        let first = in_hand.take(chunk("a")).await;
        let mut second = Box::pin(in_hand.take(chunk("a")));
        let mut third = Box::pin(in_hand.take(chunk("a")));
        assert!(now(&mut second).await.is_none());
        assert!(now(&mut third).await.is_none());
        drop(first);
        // Told that the chunk is free, and gone before it takes it.
        drop(second);
        assert!(now(&mut third).await.is_some());
        assert!(!in_hand.take(chunk("a")).await.has_waited);
    }
}
