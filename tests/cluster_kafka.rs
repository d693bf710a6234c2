//! The roles as processes of their own, on a real Apache Kafka.
//!
//! `make test-kafka` starts the broker of deploy/kafka and sets FACEMILL_TEST_BROKERS.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Bench, Running, demo_clip, facemill, frame_digests, portrait, run, times};

/// So that a fault fails a test instead of hanging it.
const LIMIT: Duration = Duration::from_secs(180);

/// All tests use the same topics and groups: a role of one would take the jobs of another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Every role of one cluster, over one store.
struct Cluster {
    // Fields are dropped in this order: the roles end before the turn does.
    roles: Vec<Running>,
    bench: Bench,
    brokers: String,
    settings: Vec<(&'static str, &'static str)>,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    fn new() -> Self {
        let brokers = std::env::var("FACEMILL_TEST_BROKERS")
            .expect("FACEMILL_TEST_BROKERS names a Kafka broker: run `make test-kafka`, or set it to what deploy/kafka/start.sh prints");
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Self { roles: Vec::new(), bench: Bench::new(), brokers, settings: Vec::new(), _turn }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = facemill();
        command.current_dir(self.bench.path(".")).args(arguments).args(["--brokers", &self.brokers]);
        command.env("FACEMILL_KAFKA__REPLICATION", "1").env("FACEMILL_KAFKA__SESSION_TIMEOUT_MS", "6000");
        command.env("FACEMILL_SCRATCH", self.bench.path("scratch")).envs(self.settings.iter().copied());
        command
    }

    /// Starts a role; returns its number and the address of its metrics.
    fn start(&mut self, role: &[&str]) -> (usize, String) {
        let free = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = free.local_addr().expect("a bound address").to_string();
        drop(free);
        self.roles.push(self.spawn(role, &address));
        (self.roles.len() - 1, address)
    }

    fn spawn(&self, role: &[&str], metrics: &str) -> Running {
        let store = format!("file://{}", self.bench.path("store").display());
        let root = self.bench.path("").display().to_string();
        let mut command = self.command(role);
        command
            .args(["--store", &store, "--root", &root, "--metrics", metrics])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Running(command.spawn().expect("a role can be started"))
    }

    fn submit(&self, job: &Value) {
        let mut submit = self.command(&["submit", "-"]);
        let mut child =
            Running(submit.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("submit can be started"));
        write!(child.0.stdin.take().expect("a pipe"), "{job}").expect("submit reads its input");
        assert!(child.0.wait().expect("submit ends").success());
    }

    /// Follows a job; calls `each` with every status until it is final, and returns that one.
    fn follow(&self, job: &str, mut each: impl FnMut(&Value)) -> Value {
        let status = self.command(&["status", job, "--watch", "--json"]);
        let mut watch = Command::new("timeout");
        watch.arg(LIMIT.as_secs().to_string()).arg(status.get_program()).args(status.get_args());
        let mut child =
            Running(watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("status can be started"));
        let lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
        for line in lines {
            let status: Value = serde_json::from_str(&line.expect("text")).expect("JSON lines");
            each(&status);
            if ["done", "failed", "cancelled"].contains(&status["state"].as_str().unwrap_or("")) {
                return status;
            }
        }
        panic!("{job} has no final state after {LIMIT:?}");
    }
}

/// A metric's value over all its labels that contain `label`.
fn metric(address: &str, name: &str, label: &str) -> f64 {
    let mut stream = TcpStream::connect(address).expect("the role serves its metrics");
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
        .expect("a request can be sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn location(path: &Path) -> String {
    format!("file://{}", path.display())
}

#[test]
fn three_workers_share_a_job_and_one_that_is_killed_costs_nothing() {
    let mut cluster = Cluster::new();
    let clip = cluster.bench.clip(
        "clip.mp4",
        "-f lavfi -i testsrc2=s=640x360:r=25:d=40 -f lavfi -i sine=d=40 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 10 \
         -c:a aac",
    );
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    let worker = ["worker", "--swapper", "none", "--workers", "1"];
    let workers = [cluster.start(&worker), cluster.start(&worker), cluster.start(&worker)];
    let output = cluster.bench.path("out.mp4");
    let job = format!("share-{}", std::process::id());
    cluster.submit(&json!({
        "job": job, "sources": [], "target": location(&clip), "output": location(&output),
        "swap": { "swapper": "none" }, "video": { "crf": 0, "preset": "slow" }, "chunk_frames": [10, 10],
    }));

    let victim = cluster.roles[workers[0].0].0.id().to_string();
    let mut shared_before_the_kill = 0.0;
    let mut is_killed = false;
    let done = cluster.follow(&job, |status| {
        let settled = status["totals"]["chunks_done"].as_u64().unwrap_or(0);
        if settled >= 15 && !is_killed {
            shared_before_the_kill = metric(&workers[0].1, "facemill_chunks_total", "outcome=\"done\"");
            run(Command::new("kill").args(["-KILL", &victim]));
            is_killed = true;
        }
    });
    assert!(is_killed, "the job was done before a worker could be killed");
    assert_eq!(done["state"], "done", "{done}");
    let totals = &done["totals"];
    assert_eq!(totals["chunks_done"].as_u64().unwrap() + totals["chunks_reused"].as_u64().unwrap(), 100, "{done}");
    for (_, address) in &workers[1..] {
        assert!(metric(address, "facemill_chunks_total", "outcome=\"done\"") >= 1.0, "each worker has done a share");
    }
    assert!(shared_before_the_kill >= 1.0, "the killed worker had done a share");
    assert_eq!(frame_digests(&output), frame_digests(&clip));
    assert_eq!(times(&output), times(&clip));
}

#[test]
fn an_assembler_that_is_killed_while_the_clip_is_still_being_cut_is_replaced() {
    let mut cluster = Cluster::new();
    // So few at once that ingest waits for the assembler's news again and again.
    cluster.settings.push(("FACEMILL_INGEST__OUTSTANDING_CHUNKS", "4"));
    let clip = cluster.bench.clip(
        "clip.mp4",
        "-f lavfi -i testsrc2=s=640x360:r=25:d=16 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 10",
    );
    cluster.start(&["ingest"]);
    let (assembler, _) = cluster.start(&["assemble"]);
    cluster.start(&["worker", "--swapper", "none", "--workers", "1"]);
    let output = cluster.bench.path("out.mp4");
    let job = format!("recount-{}", std::process::id());
    cluster.submit(&json!({
        "job": job, "sources": [], "target": location(&clip), "output": location(&output),
        "swap": { "swapper": "none" }, "video": { "crf": 0, "preset": "slow" }, "chunk_frames": [10, 10],
    }));
    let victim = cluster.roles[assembler].0.id().to_string();
    let (killed, is_killed) = std::sync::mpsc::channel::<()>();
    let done = std::thread::scope(|scope| {
        let following = scope.spawn(|| {
            let mut settled_once = false;
            cluster.follow(&job, |status| {
                if status["totals"]["chunks_done"].as_u64() >= Some(8) && !settled_once {
                    run(Command::new("kill").args(["-KILL", &victim]));
                    settled_once = true;
                    killed.send(()).expect("the test waits");
                }
            })
        });
        is_killed.recv_timeout(LIMIT).expect("some chunks are settled in time");
        let _successor = cluster.spawn(&["assemble"], "off");
        following.join().expect("the job is followed to its end")
    });
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(frame_digests(&output), frame_digests(&clip));
}

#[test]
fn a_swap_and_a_job_that_is_refused() {
    let mut cluster = Cluster::new();
    let clip = cluster.bench.path("demo.mp4");
    std::fs::copy(demo_clip(), &clip).unwrap();
    let photo = cluster.bench.path("photo.jpg");
    std::fs::copy(portrait(), &photo).unwrap();
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    cluster.start(&["worker", "--workers", "2"]);
    let output = cluster.bench.path("out.mp4");
    let number = std::process::id();
    let job = |name: &str, target: &Path| {
        json!({
            "job": format!("{name}-{number}"), "sources": [location(&photo)], "target": location(target),
            "output": location(&output), "frame_limit": 96,
        })
    };
    cluster.submit(&job("swap", &clip));
    cluster.submit(&job("gone", &cluster.bench.path("gone.mp4")));
    let done = cluster.follow(&format!("swap-{number}"), |_| {});
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(frame_digests(&output).len(), 96);
    let refused = cluster.follow(&format!("gone-{number}"), |_| {});
    assert_eq!((&refused["state"], &refused["refused"]), (&json!("failed"), &json!(true)), "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("gone.mp4"), "{refused}");
}
