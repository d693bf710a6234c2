//! An S3 service inside the test process: `s3s-fs` over a temporary folder, with signatures checked.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

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
        let mut service = S3ServiceBuilder::new(files);
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
        }
    }
}

/// A way to a server on which the first answer is lost.
pub struct Lossy {
    pub endpoint: String,
    relaying: JoinHandle<()>,
}

impl Lossy {
    pub async fn to(server: &S3Server) -> Self {
        let target = server.endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let relaying = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut upstream = TcpStream::connect(&target).await.unwrap();
            lose_answer(&mut client, &mut upstream).await;
            drop((client, upstream));
            while let Ok((mut client, _)) = listener.accept().await {
                let mut upstream = TcpStream::connect(&target).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut upstream).await });
            }
        });
        Self { endpoint, relaying }
    }
}

/// Passes the request on until the answer begins.
async fn lose_answer(client: &mut TcpStream, upstream: &mut TcpStream) {
    let (mut from_client, _keep) = client.split();
    let (mut from_upstream, mut to_upstream) = upstream.split();
    let mut first_byte = [0];
    tokio::select! {
        // Neither is used again whichever ends first.
        _ = tokio::io::copy(&mut from_client, &mut to_upstream) => {}
        _ = from_upstream.read(&mut first_byte) => {}
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.relaying.abort();
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
