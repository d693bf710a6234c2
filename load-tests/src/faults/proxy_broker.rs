//! A proxy in front of a Kafka broker that knows requests from responses: it holds back or loses answers of chosen kinds, after the
//! broker has done what was asked.
//!
//! Clients reach it because the broker advertises its port. Whose answers are spoilt is chosen by client id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::dice::Dice;

/// Kafka's numbers of requests (protocol guide, "API keys").
pub const PRODUCE: i16 = 0;
pub const OFFSET_COMMIT: i16 = 8;
/// Longest frame, bytes: more than brokers accept; what is longer is no frame.
const FRAME_MAX: usize = 200 << 20;

/// What is done to answers.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Kinds of requests.
    pub apis: Vec<i16>,
    /// Part of the answers that are held back, and how long.
    pub late: f64,
    pub late_by: Duration,
    /// Part of the answers that are lost with their connection.
    pub lost: f64,
    pub dice: Dice,
}

/// Rules by client id, and how often they have struck.
#[derive(Clone, Default)]
pub struct Rules(Arc<Mutex<HashMap<String, (Rule, u32)>>>);

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    Late(Duration),
    Lost,
}

impl Rules {
    pub fn set(&self, client: &str, rule: Rule) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(client.to_owned(), (rule, 0));
    }

    pub fn clear(&self, client: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(client);
    }

    /// How many answers to this client were spoilt since its rule was set.
    pub fn struck(&self, client: &str) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(client).map_or(0, |(_, struck)| *struck)
    }

    fn fate(&self, request: &Request) -> Fate {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((rule, struck)) = rules.get_mut(&request.client) else { return Fate::Passed };
        if !rule.apis.contains(&request.api) {
            return Fate::Passed;
        }
        let fate = if rule.dice.chance(rule.lost) {
            Fate::Lost
        } else if rule.dice.chance(rule.late) {
            Fate::Late(rule.late_by)
        } else {
            Fate::Passed
        };
        *struck += u32::from(fate != Fate::Passed);
        fate
    }
}

/// A running proxy; ends when dropped.
pub struct BrokerProxy {
    pub port: u16,
    pub rules: Rules,
    serving: JoinHandle<()>,
}

impl BrokerProxy {
    /// Listens on a free port and passes on to `broker_port`.
    pub async fn start(broker_port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let rules = Rules::default();
        let shared = rules.clone();
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Both ends close when either is gone; the broker may be away.
                let Ok(broker) = TcpStream::connect(("127.0.0.1", broker_port)).await else { continue };
                tokio::spawn(relay(client, broker, shared.clone()));
            }
        });
        Ok(Self { port, rules, serving })
    }
}

impl Drop for BrokerProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Requests under way on one connection, by correlation id.
type Pending = Arc<Mutex<HashMap<i32, Request>>>;

async fn relay(client: TcpStream, broker: TcpStream, rules: Rules) {
    // Small frames must not wait for company.
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
    let pending = Pending::default();
    // Whichever direction ends first ends the connection.
    tokio::select! {
        _ = requests(from_client, to_broker, pending.clone()) => {}
        _ = answers(from_broker, to_client, pending, rules) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, pending: Pending) -> std::io::Result<()> {
    let mut frames = Frames::default();
    while let Some(frame) = frames.read(&mut from).await? {
        if let Some(request) = Request::parse(&frame[4..]) {
            pending.lock().unwrap_or_else(PoisonError::into_inner).insert(request.correlation, request);
        }
        to.write_all(&frame).await?;
    }
    Ok(())
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    pending: Pending,
    rules: Rules,
) -> std::io::Result<()> {
    let mut frames = Frames::default();
    while let Some(frame) = frames.read(&mut from).await? {
        let correlation = number(&frame[4..]);
        let request = correlation
            .and_then(|correlation| pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation));
        match request.map_or(Fate::Passed, |request| rules.fate(&request)) {
            Fate::Passed => {}
            Fate::Late(by) => tokio::time::sleep(by).await,
            Fate::Lost => return Ok(()),
        }
        to.write_all(&frame).await?;
    }
    Ok(())
}

/// The head of a request: what it asks, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    api: i16,
    correlation: i32,
    client: String,
}

impl Request {
    /// Reads a request header of version 1 or later: api key, api version, correlation id, client id (length −1: none).
    fn parse(frame: &[u8]) -> Option<Self> {
        let short = |at: usize| Some(i16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
        let length = usize::try_from(short(8)?).unwrap_or(0);
        let client = String::from_utf8_lossy(frame.get(10..10 + length)?).into_owned();
        Some(Self { api: short(0)?, correlation: number(&frame[4..])?, client })
    }
}

fn number(bytes: &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// Frames out of a stream of bytes: a length of four bytes, then as many.
#[derive(Debug, Default)]
struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    /// The next frame with its length in front; `None` at the end of the stream.
    async fn read(&mut self, from: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let Some(length) = number(&self.buffer) else { return Ok(None) };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= FRAME_MAX) else {
            return Err(std::io::Error::other(format!("a frame of {length} bytes")));
        };
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        let rest = self.buffer.split_off(4 + length);
        Ok(Some(std::mem::replace(&mut self.buffer, rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(api: i16, correlation: i32, client: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend_from_slice(&api.to_be_bytes());
        frame.extend_from_slice(&9_i16.to_be_bytes());
        frame.extend_from_slice(&correlation.to_be_bytes());
        frame.extend_from_slice(&(client.len() as i16).to_be_bytes());
        frame.extend_from_slice(client.as_bytes());
        frame.extend_from_slice(b"body");
        frame
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        [&(body.len() as i32).to_be_bytes(), body].concat()
    }

    #[test]
    fn heads_of_requests_are_read() {
        let parsed = Request::parse(&request(OFFSET_COMMIT, 77, "u1-")).unwrap();
        assert_eq!(parsed, Request { api: 8, correlation: 77, client: "u1-".to_owned() });
        let mut nameless = request(PRODUCE, 1, "");
        nameless[8..10].copy_from_slice(&(-1_i16).to_be_bytes());
        assert_eq!(Request::parse(&nameless).unwrap().client, "");
        assert_eq!(Request::parse(&[0, 0, 0]), None);
    }

    #[tokio::test]
    async fn frames_come_out_whole_however_they_arrive() {
        let (one, two) = (framed(b"one"), framed(&[7; 300]));
        let stream = [one.clone(), two.clone()].concat();
        for piece in [1, 2, 5, stream.len()] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for bytes in stream.chunks(piece) {
                frames.buffer.extend_from_slice(bytes);
                while let Some(frame) = frames.take().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, [one.clone(), two.clone()]);
        }
        let mut endless = Frames { buffer: i32::MAX.to_be_bytes().to_vec() };
        assert!(endless.take().is_err());
    }

    /// A broker that answers each request with its correlation id; one client's answers are lost, another's pass.
    #[tokio::test]
    async fn answers_of_the_chosen_client_and_kind_are_lost() {
        let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = broker.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = broker.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let mut frames = Frames::default();
                    while let Ok(Some(frame)) = frames.read(&mut from).await {
                        to.write_all(&framed(&frame[8..12])).await.unwrap();
                    }
                });
            }
        });
        let proxy = BrokerProxy::start(port).await.unwrap();
        let rule = Rule { apis: vec![PRODUCE], late: 0.0, late_by: Duration::ZERO, lost: 1.0, dice: Dice::new(1) };
        proxy.rules.set("victim", rule);
        for (client, api, passes) in
            [("victim", PRODUCE, false), ("victim", OFFSET_COMMIT, true), ("other", PRODUCE, true)]
        {
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
            stream.write_all(&framed(&request(api, 5, client))).await.unwrap();
            let mut answer = Vec::new();
            let read = Frames::default().read(&mut stream).await;
            if let Ok(Some(frame)) = read {
                answer = frame;
            }
            assert_eq!(!answer.is_empty(), passes, "{client} {api}");
        }
        assert_eq!(proxy.rules.struck("victim"), 1);
    }
}
