//! An S3 service inside the test process: `s3s-fs` over a temporary folder, with signatures checked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::{AccessKey, StoreConfig};

const ID: &str = "test-id";
const SECRET: &str = "test-secret";

pub struct S3Server {
    endpoint: String,
    serving: JoinHandle<()>,
    _objects: tempfile::TempDir,
}

impl S3Server {
    /// With one empty bucket.
    pub async fn start(bucket: &str) -> Self {
        let objects = tempfile::tempdir().unwrap();
        std::fs::create_dir(objects.path().join(bucket)).unwrap();
        let files = s3s_fs::FileSystem::new(objects.path()).unwrap();
        Self::serve(files, objects).await
    }

    /// One that gets something wrong. Also returns the keys of uploads that it was asked to abort.
    pub async fn start_stub(bucket: &str, ignores: Ignores) -> (Self, Arc<Mutex<Vec<String>>>) {
        let objects = tempfile::tempdir().unwrap();
        std::fs::create_dir(objects.path().join(bucket)).unwrap();
        let aborted: Arc<Mutex<Vec<String>>> = Arc::default();
        let files = s3s_fs::FileSystem::new(objects.path()).unwrap();
        let stub = Stub { files, ignores, aborted: aborted.clone() };
        (Self::serve(stub, objects).await, aborted)
    }

    /// One that takes up uploads in parts and never answers to a part.
    pub async fn start_hanging(bucket: &str) -> (Self, Arc<Hanging>) {
        let objects = tempfile::tempdir().unwrap();
        std::fs::create_dir(objects.path().join(bucket)).unwrap();
        let hanging = Arc::<Hanging>::default();
        (Self::serve(HangingStub(hanging.clone()), objects).await, hanging)
    }

    async fn serve(s3: impl S3, objects: tempfile::TempDir) -> Self {
        let mut service = S3ServiceBuilder::new(s3);
        service.set_auth(SimpleAuth::from_single(ID, SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let http = Builder::new(TokioExecutor::new());
            while let Ok((stream, _)) = listener.accept().await {
                let connection = http.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
                tokio::spawn(connection);
            }
        });
        Self { endpoint, serving, _objects: objects }
    }

    pub fn config(&self) -> StoreConfig {
        StoreConfig {
            endpoint_url: Some(self.endpoint.clone()),
            region: Some("us-east-1".into()),
            force_path_style: true,
            access_key: Some(AccessKey { id: ID.into(), secret: SECRET.into() }),
            read_limit: None,
        }
    }
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The answer is this status and error code, and the server hears of nothing.
    Answer(u16, &'static str),
    /// It is reset at once.
    Reset,
    /// It ends after so many bytes of the server's answer, which has begun.
    EndAfter(usize),
    /// Nothing more comes after so many bytes of the answer.
    StallAfter(usize),
    /// After so many bytes of the answer the rest comes byte by byte.
    TrickleAfter(usize),
    /// The answer comes at 64 KiB each 0.1 s.
    Slow,
}

/// A way to a server on which the first connections go wrong.
pub struct Faulty {
    endpoint: String,
    relaying: JoinHandle<()>,
}

impl Faulty {
    pub async fn to(server: &S3Server, faults: &[Fault]) -> Self {
        let target = server.endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut faults = VecDeque::from(faults.to_vec());
        let relaying = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let (fault, target) = (faults.pop_front(), target.clone());
                connections.spawn(async move {
                    // Its end is what the test is about.
                    let _ = relay(&mut client, &target, fault).await;
                });
            }
        });
        Self { endpoint, relaying }
    }

    /// The server's configuration, by this way.
    pub fn config(&self, server: &S3Server) -> StoreConfig {
        StoreConfig { endpoint_url: Some(self.endpoint.clone()), ..server.config() }
    }
}

async fn relay(client: &mut TcpStream, target: &str, fault: Option<Fault>) -> std::io::Result<()> {
    let fault = match fault {
        None => {
            let mut upstream = TcpStream::connect(target).await?;
            return tokio::io::copy_bidirectional(client, &mut upstream).await.map(drop);
        }
        Some(Fault::Reset) => {
            // Something must have come for the client to notice.
            client.read_u8().await?;
            return client.set_zero_linger();
        }
        Some(Fault::Answer(status, code)) => {
            client.read_u8().await?;
            let body = format!("<Error><Code>{code}</Code><Message>by the test</Message></Error>");
            let length = body.len();
            let head = format!("HTTP/1.1 {status} No\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            client.write_all(format!("{head}{body}").as_bytes()).await?;
            client.shutdown().await?;
            // Closing with unread bytes would reset the connection before the answer is read.
            return tokio::io::copy(client, &mut tokio::io::sink()).await.map(drop);
        }
        Some(fault) => fault,
    };
    let mut upstream = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_upstream, mut to_upstream) = upstream.split();
    let answer = async {
        if let Fault::Slow = fault {
            loop {
                let mut piece = (&mut from_upstream).take(64 << 10);
                tokio::io::copy(&mut piece, &mut to_client).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let (Fault::EndAfter(bytes) | Fault::StallAfter(bytes) | Fault::TrickleAfter(bytes)) = fault else {
            unreachable!("the others have been dealt with")
        };
        let mut first = (&mut from_upstream).take(bytes as u64);
        tokio::io::copy(&mut first, &mut to_client).await?;
        let mut next = from_upstream.read_u8().await?;
        match fault {
            Fault::StallAfter(_) => std::future::pending::<()>().await,
            Fault::TrickleAfter(_) => loop {
                to_client.write_u8(next).await?;
                next = from_upstream.read_u8().await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            },
            _ => {}
        }
        Ok(())
    };
    tokio::select! {
        // Neither is used again whichever ends first.
        _ = tokio::io::copy(&mut from_client, &mut to_upstream) => Ok(()),
        ended = answer => ended,
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.relaying.abort();
    }
}

/// What a service gets wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignores {
    pub if_none_match: bool,
    pub if_match: bool,
}

/// `s3s-fs`, forgetful, and with unfinished uploads of its own: one of 1970, one of the year 2100.
struct Stub {
    files: s3s_fs::FileSystem,
    ignores: Ignores,
    aborted: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl S3 for Stub {
    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if self.ignores.if_none_match {
            req.input.if_none_match = None;
        }
        if self.ignores.if_match {
            req.input.if_match = None;
        }
        self.files.put_object(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(req).await
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        // One a page.
        let is_first = req.input.key_marker.is_none();
        let (key, seconds) = if is_first { ("old", 0) } else { ("young", 4_102_444_800) };
        let initiated = Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let prefix = req.input.prefix.unwrap_or_default();
        let key = if prefix == "exactly" { prefix } else { format!("{prefix}{key}") };
        let upload = MultipartUpload {
            key: Some(key.clone()),
            upload_id: Some("id".into()),
            initiated: Some(initiated),
            ..Default::default()
        };
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(vec![upload]),
            is_truncated: Some(is_first),
            next_key_marker: is_first.then_some(key),
            next_upload_id_marker: is_first.then(|| "id".into()),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.aborted.lock().unwrap().push(req.input.key);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// What a server that hangs is asked.
#[derive(Default)]
pub struct Hanging {
    /// To take a part.
    pub part: Notify,
    /// To abort the upload.
    pub abort: Notify,
}

struct HangingStub(Arc<Hanging>);

#[async_trait::async_trait]
impl S3 for HangingStub {
    async fn create_multipart_upload(
        &self,
        _req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let upload_id = Some("id".into());
        Ok(S3Response::new(CreateMultipartUploadOutput { upload_id, ..Default::default() }))
    }

    async fn upload_part(&self, _req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.0.part.notify_one();
        std::future::pending().await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        if req.input.upload_id == "id" {
            self.0.abort.notify_one();
        }
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
