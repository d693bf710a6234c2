//! An S3 of the harness's own (`s3s-fs` in this process), with a layer of faults before it: errors, stalls, slow bodies, answers that are
//! lost after the request was done, or conditions that are not heeded.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::dice::Dice;
use super::universe::Place;

const ID: &str = "harness";
const SECRET: &str = "harness-secret";
/// The only bucket.
pub const BUCKET: &str = "faults";
/// Bytes of a slow body that come at once.
const SLOW_PIECE: usize = 4096;
const SLOW_PAUSE: Duration = Duration::from_millis(20);

/// How often which fault strikes, each 0.0..=1.0 of all requests.
#[derive(Clone, Debug)]
pub struct Faults {
    /// 500 InternalError or 503 SlowDown; nothing is done.
    pub errors: f64,
    /// The request waits so long before it is done.
    pub stalls: f64,
    pub stall_for: Duration,
    /// The body of the answer trickles.
    pub slow: f64,
    /// The request is done, its answer thrown away, the connection closed.
    pub lost: f64,
    /// `If-None-Match` is not heeded.
    pub heedless: bool,
    pub dice: Dice,
}

impl Faults {
    pub fn none() -> Self {
        let stall_for = Duration::from_secs(2);
        Self { errors: 0.0, stalls: 0.0, stall_for, slow: 0.0, lost: 0.0, heedless: false, dice: Dice::new(0) }
    }
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    Error(StatusCode, &'static str),
    Stalled(Duration),
    Slow,
    Lost,
}

impl Faults {
    fn fate(&mut self) -> Fate {
        let dice = &mut self.dice;
        if dice.chance(self.errors) {
            return match dice.chance(0.5) {
                true => Fate::Error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
                false => Fate::Error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
            };
        }
        if dice.chance(self.lost) {
            return Fate::Lost;
        }
        if dice.chance(self.stalls) {
            return Fate::Stalled(self.stall_for);
        }
        if dice.chance(self.slow) { Fate::Slow } else { Fate::Passed }
    }
}

/// What the connections share.
struct Shared {
    service: S3Service,
    objects: PathBuf,
    faults: Mutex<(Faults, u32)>,
    /// `s3s-fs` decides on a condition and writes in two steps: one write at a time.
    writing: tokio::sync::Mutex<()>,
}

/// A running store; ends when dropped.
pub struct StoreProxy {
    endpoint: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

type Answer = Response<UnsyncBoxBody<Bytes, s3s::StdError>>;

impl StoreProxy {
    /// Serves the folder `objects`, with one empty bucket.
    pub async fn start(objects: &Path) -> Result<Self> {
        std::fs::create_dir_all(objects.join(BUCKET))?;
        let files = s3s_fs::FileSystem::new(objects).map_err(|error| anyhow::anyhow!("s3s-fs: {error:?}"))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ID, SECRET));
        let shared = Arc::new(Shared {
            service: service.build(),
            objects: objects.to_owned(),
            faults: Mutex::new((Faults::none(), 0)),
            writing: tokio::sync::Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let served = shared.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = served.clone();
                tokio::spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    let service = service_fn(move |request| answer(shared.clone(), request));
                    // A connection that breaks is the client's to notice.
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { endpoint, shared, serving })
    }

    /// From now on these faults; how often they strike is counted anew.
    pub fn set(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = (faults, 0);
    }

    /// How many requests were spoilt.
    pub fn struck(&self) -> u32 {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// For a universe's roles.
    pub fn place(&self) -> Place {
        let settings = [
            ("FACEMILL_STORE__ENDPOINT_URL", self.endpoint.as_str()),
            ("FACEMILL_STORE__FORCE_PATH_STYLE", "true"),
            ("FACEMILL_STORE__REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ];
        Place {
            url: format!("s3://{BUCKET}/store"),
            folder: self.shared.objects.join(BUCKET).join("store"),
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }
}

impl Drop for StoreProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An error of the service makes hyper close the connection without an answer.
type AnswerLost = std::io::Error;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, AnswerLost> {
    let (fate, heedless) = {
        let mut faults = shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let fate = faults.0.fate();
        faults.1 += u32::from(fate != Fate::Passed);
        (fate, faults.0.heedless)
    };
    match fate {
        Fate::Error(status, code) => return Ok(refuse(request, status, code).await),
        Fate::Stalled(time) => tokio::time::sleep(time).await,
        Fate::Passed | Fate::Slow | Fate::Lost => {}
    }
    let is_write = request.method() != Method::GET && request.method() != Method::HEAD;
    let turn = if is_write { Some(shared.writing.lock().await) } else { None };
    if heedless && request.headers().contains_key("if-none-match") {
        // What stood there before is gone: the same as a condition that nobody looks at.
        let _ = std::fs::remove_file(shared.objects.join(request.uri().path().trim_start_matches('/')));
    }
    let answered = hyper::service::Service::call(&shared.service, request).await;
    drop(turn);
    let response = match answered {
        Ok(response) => response,
        Err(error) => {
            let text = format!("{error:?}");
            return Ok(whole(StatusCode::INTERNAL_SERVER_ERROR, text));
        }
    };
    match fate {
        Fate::Lost => Err(AnswerLost::other("lost on purpose")),
        Fate::Slow => Ok(trickle(response).await),
        _ => Ok(response.map(|body| body.boxed_unsync())),
    }
}

/// An error as S3 words it. The request is read to its end first, as a server would.
async fn refuse(request: Request<Incoming>, status: StatusCode, code: &str) -> Answer {
    // A client that gives up meanwhile does not want the answer.
    let _ = request.into_body().collect().await;
    whole(
        status,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>injected</Message></Error>"
        ),
    )
}

fn whole(status: StatusCode, text: String) -> Answer {
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    answer
}

async fn trickle(response: Response<s3s::Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let whole = BodyExt::collect(body).await.map(|body| body.to_bytes()).unwrap_or_default();
    let pieces: Vec<Bytes> = whole.chunks(SLOW_PIECE).map(Bytes::copy_from_slice).collect();
    let frames = futures::stream::iter(pieces).then(|piece| async move {
        tokio::time::sleep(SLOW_PAUSE).await;
        Ok::<_, s3s::StdError>(Frame::data(piece))
    });
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_as_often_as_asked() {
        let count = |mut faults: Faults, wanted: fn(Fate) -> bool| (0..1000).filter(|_| wanted(faults.fate())).count();
        assert_eq!(count(Faults::none(), |fate| fate == Fate::Passed), 1000);
        assert_eq!(count(Faults { lost: 1.0, ..Faults::none() }, |fate| fate == Fate::Lost), 1000);
        let errors = count(Faults { errors: 0.3, ..Faults::none() }, |fate| matches!(fate, Fate::Error(..)));
        assert!((200..400).contains(&errors), "{errors}");
    }
}
