//! `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts and drains processes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Metrics, TelemetryError};
use crate::config::Listen;

/// How often samples are folded into buckets; between scrapes of a usual interval.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// Whether this process takes work: set when its consumer is assigned, cleared when it drains. Starts cleared.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// From now on `/readyz` answers 200 or 503.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An address that is listened on; [`Server::run`] answers.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens as `listen` says; `None` where it is off.
pub async fn bind(listen: Listen) -> Result<Option<Server>, TelemetryError> {
    let listener = match listen {
        Listen::Off => return Ok(None),
        Listen::At(address) => listen_on(address).await?,
        Listen::Auto => match listen_on(Listen::DEFAULT).await {
            Ok(listener) => listener,
            Err(_) => listen_on(SocketAddr::new(Listen::DEFAULT.ip(), 0)).await?,
        },
    };
    let address = listener.local_addr().map_err(TelemetryError::Serve)?;
    Ok(Some(Server { listener, address }))
}

async fn listen_on(address: SocketAddr) -> Result<TcpListener, TelemetryError> {
    TcpListener::bind(address).await.map_err(|source| TelemetryError::Listen { address, source })
}

impl Server {
    /// Where it answers, with the port that was really taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is cancelled. Cancel it last, after draining: `/healthz` is 200 for as long as the process lives.
    pub async fn run(self, metrics: Metrics, ready: Ready, stop: CancellationToken) -> Result<(), TelemetryError> {
        let folding = fold(metrics.clone(), stop.clone());
        let serving = axum::serve(self.listener, routes(metrics, ready)).with_graceful_shutdown(stop.cancelled_owned());
        let (served, ()) = tokio::join!(serving, folding);
        served.map_err(TelemetryError::Serve)
    }
}

async fn fold(metrics: Metrics, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(FOLD_EVERY);
    // Both are cancel-safe: a tick that loses comes again.
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.fold();
    }
}

fn routes(metrics: Metrics, ready: Ready) -> Router {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    Router::new()
        .route("/metrics", get(async move || ([(header::CONTENT_TYPE, TEXT)], metrics.render())))
        .route("/healthz", get(async || "alive\n"))
        .route(
            "/readyz",
            get(async move || match ready.get() {
                true => (StatusCode::OK, "ready\n"),
                false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            }),
        )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::{ALL, tests::recorded, tests::set_gauges};
    use super::*;

    const ANY_PORT: Listen = Listen::At(SocketAddr::new(Listen::DEFAULT.ip(), 0));

    /// The whole answer to `GET path`, head and body.
    async fn scrape(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_until_stopped() {
        let server = bind(ANY_PORT).await.unwrap().expect("it is not off");
        let (address, ready, stop) = (server.address(), Ready::default(), CancellationToken::new());
        let running = tokio::spawn(server.run(recorded(set_gauges), ready.clone(), stop.clone()));

        let metrics = scrape(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("text/plain; version=0.0.4"), "{metrics}");
        for metric in ALL {
            assert!(metrics.contains(&format!("# TYPE {} ", metric.name)), "{} is missing in:\n{metrics}", metric.name);
        }
        assert!(scrape(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(scrape(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        ready.set(true);
        assert!(scrape(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(scrape(address, "/else").await.starts_with("HTTP/1.1 404"));

        stop.cancel();
        running.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "it still listens");
    }

    #[tokio::test]
    async fn listens_as_configured() {
        assert!(bind(Listen::Off).await.unwrap().is_none());

        let first = bind(ANY_PORT).await.unwrap().expect("it is not off");
        let taken = bind(Listen::At(first.address())).await.err().expect("the port is taken").to_string();
        assert!(taken.starts_with(&format!("metrics.listen {} cannot be listened on", first.address())), "{taken}");

        // Whoever has the default port, two of them can always be had.
        let pair = (bind(Listen::Auto).await.unwrap().unwrap(), bind(Listen::Auto).await.unwrap().unwrap());
        assert_ne!(pair.0.address(), pair.1.address());
        assert!(pair.0.address().ip().is_loopback() && pair.1.address().ip().is_loopback());
    }
}
