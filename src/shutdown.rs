//! The first signal asks for a clean stop, the second does not ask.

use std::io;
use std::process;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A signal that asks this process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a service manager.
    Terminate,
}

impl StopSignal {
    /// What a shell sees of a process that died of this signal: 128 + its number.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Cancels `token` at the first SIGINT or SIGTERM: whoever holds it or a child of it drains. A second one of either exits at
/// once, with 130 or 143; what is lost then is made again by the next run.
///
/// Handlers are in place when this returns; the future must be polled, and never ends.
///
/// # Errors
/// The system refuses to install a handler.
pub fn signals(token: CancellationToken) -> io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let next_signal = async move || {
        // Both are cancel-safe: a signal that is not taken stays.
        tokio::select! {
            _ = interrupt.recv() => StopSignal::Interrupt,
            _ = terminate.recv() => StopSignal::Terminate,
        }
    };
    Ok(drain_then_exit(next_signal, token, |second| process::exit(second.exit_code())))
}

/// Has this process ignore the signals by which a terminal or a service manager ends all processes of a service, for its whole
/// life: for a child that its parent ends.
///
/// # Errors
/// The system refuses to install a handler.
pub fn leave_to_parent() -> io::Result<()> {
    // A handler stays installed when nobody waits for its signals any more, nor is there a runtime to wait in.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        drop(signal(kind)?);
    }
    Ok(())
}

async fn drain_then_exit(
    mut next_signal: impl AsyncFnMut() -> StopSignal,
    token: CancellationToken,
    exit: impl Fn(StopSignal),
) {
    let first = next_signal().await;
    info!(signal = ?first, "draining; once more to stop at once");
    token.cancel();
    loop {
        let second = next_signal().await;
        warn!(signal = ?second, "stopping at once");
        exit(second);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn first_signal_drains_and_second_exits() {
        let (send, mut receive) = mpsc::channel(1);
        let (exits, mut exited) = mpsc::unbounded_channel();
        let token = CancellationToken::new();
        let child = token.child_token();
        let next_signal = async move || receive.recv().await.expect("the test keeps the sender");
        let watching = tokio::spawn(drain_then_exit(next_signal, token, move |second| {
            exits.send(second.exit_code()).expect("the test keeps the receiver");
        }));

        assert!(!child.is_cancelled());
        send.send(StopSignal::Interrupt).await.unwrap();
        child.cancelled().await;
        assert!(exited.try_recv().is_err(), "the first signal must not exit");

        send.send(StopSignal::Terminate).await.unwrap();
        assert_eq!(exited.recv().await, Some(143));
        send.send(StopSignal::Interrupt).await.unwrap();
        assert_eq!(exited.recv().await, Some(130));
        watching.abort();
    }

    #[tokio::test]
    async fn nothing_is_cancelled_without_a_signal() {
        fn is_send<T: Send>(value: T) -> T {
            value
        }
        let token = CancellationToken::new();
        let waiting = is_send(drain_then_exit(async || std::future::pending().await, token.clone(), |_| ()));
        assert!(is_pending(waiting).await);
        assert!(!token.is_cancelled());
    }

    /// Whether `future` is not done after one poll.
    async fn is_pending(future: impl Future) -> bool {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
