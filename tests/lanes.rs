//! Lanes as processes: what they are given, what they can lose, and that nothing is left of them.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use facemill::contract::{ChunkSpec, Plan, Run, SliceIndex, Swapper};
use facemill::error::{Classify, Kind};
use facemill::seal;
use facemill::vision::Execution;
use facemill::worker::lane::{LaneOrder, LaneReport};
use facemill::worker::lanes::Lanes;
use facemill::worker::{LaneError, LaneSettings, Meter};
use serde_json::{Value, json};
use support::{Bench, Ran, Running, facemill, frame_digests, run};
use tokio_util::sync::CancellationToken;

/// A chunk that can be given to lanes, of `frames` frames of 320×180.
fn order(bench: &Bench, frames: u32) -> LaneOrder {
    bench.test_clip("clip.mp4", frames, frames);
    order_of_clip(bench)
}

/// The only chunk of `clip.mp4`, as `facemill swap` has left it.
fn order_of_clip(bench: &Bench) -> LaneOrder {
    let swap = ["-t", "clip.mp4", "-o", "out.mp4", "--swapper", "none", "--chunk-frames", "1..1000000"];
    Ran::from(bench.swap(&swap).args(["--output-video-crf", "0"])).done();
    let run: Run = read(&bench.path("data"), "run.json");
    let plan: Plan = read(&bench.path("data"), "plan.json");
    let slices: SliceIndex = read(&bench.path("data"), "slices.json");
    assert_eq!(plan.chunks.len(), 1);
    LaneOrder {
        spec: run.spec(&plan, &plan.chunks[0], slices.slices[0]),
        slice: find(&bench.path("data/store/sources"), &|name| name.ends_with(".nut")),
        photos: BTreeMap::new(),
        reference: None,
        result: bench.path("result.nut"),
    }
}

/// The only file below `folder` of which `is_it` says so.
fn find(folder: &Path, is_it: &dyn Fn(&str) -> bool) -> PathBuf {
    let mut found = files(folder, is_it);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// All files below `folder` of which `is_it` says so.
fn files(folder: &Path, is_it: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if is_it(path.file_name().unwrap().to_str().unwrap()) {
                found.push(path);
            }
        }
    }
    found
}

fn read<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> T {
    serde_json::from_slice(&std::fs::read(find(folder, &|found| found == name)).unwrap()).unwrap()
}

fn settings() -> LaneSettings {
    LaneSettings {
        program: env!("CARGO_BIN_EXE_facemill").into(),
        environment: Vec::new(),
        onnxruntime: "nowhere/libonnxruntime.so".into(),
        models: "nowhere".into(),
        execution: Execution::default(),
        threads: 1,
        swapper: Swapper::None,
        made: "nowhere".into(),
        memory_mb: 1024,
        chunk_time: Duration::from_secs(60),
        frame_time: Duration::from_secs(2),
        chunks_per_lane: 500,
    }
}

/// A program that stands in for a lane: a shell script.
fn stand_in(bench: &Bench, script: &str) -> LaneSettings {
    let path = bench.path("lane.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    run(Command::new("chmod").arg("+x").arg(&path));
    LaneSettings { program: path, environment: vec![("PATH".into(), "/usr/bin:/bin".into())], ..settings() }
}

/// The same chunk, encoded so slowly that nobody sees its end.
fn slow(mut order: LaneOrder) -> LaneOrder {
    order.spec.video.preset = "placebo".to_owned();
    order
}

/// A chunk of the first frame alone.
fn one_frame(order: &LaneOrder) -> ChunkSpec {
    let mut spec = order.spec.clone();
    (spec.span.end, spec.span.hi, spec.last_pts) = (spec.span.start + 1, spec.span.lo + 1, spec.first_pts);
    spec
}

/// Processes of which `is_it` says so, by their folder in `/proc`.
fn processes(is_it: impl Fn(&Path) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    let numbered = entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    numbered.filter(|(_, path)| is_it(path)).map(|(number, _)| number).collect()
}

/// State and parent of a process, the third and fourth field of its `stat`.
fn stat(process: &Path) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    let mut fields = stat.rsplit(") ").next()?.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// Processes that `parent` has started and that are at work.
fn children(parent: u32) -> Vec<u32> {
    processes(|path| stat(path).is_some_and(|(state, found)| found == parent && state != "Z"))
}

/// Waits until `process` is no more, but for a status that nobody has fetched. One that stays makes the test hang.
fn await_end(process: u32) {
    let path = PathBuf::from(format!("/proc/{process}"));
    while stat(&path).is_some_and(|(state, _)| state != "Z") {
        std::thread::yield_now();
    }
}

fn kill(signal: &str, process: u32) {
    run(Command::new("kill").args([signal, &process.to_string()]));
}

/// A pool, and a way to its processes: tests run beside each other in one process, whose children they all are.
struct Pool {
    lanes: Arc<Lanes>,
    meter: Arc<Meter>,
    mark: String,
}

/// A chunk on the next free lane; left, wherever it is, once `stop` is cancelled.
async fn compute(lanes: &Lanes, order: Arc<LaneOrder>, stop: &CancellationToken) -> Result<LaneReport, LaneError> {
    // Cancel-safe: a lane that is not handed out stays free.
    let lane = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(LaneError::Stopped),
        lane = lanes.acquire() => lane?,
    };
    lane.run(order, stop).await
}

impl Pool {
    fn new(mark: &str, settings: LaneSettings) -> Self {
        let mark = format!("LC_TEST={mark}");
        let mut settings = settings;
        settings.environment.push(("LC_TEST".into(), mark["LC_TEST=".len()..].into()));
        let meter = Arc::new(Meter::default());
        Self { lanes: Arc::new(Lanes::new(1, &settings, meter.clone())), meter, mark }
    }

    async fn run(&self, order: &Arc<LaneOrder>) -> Result<LaneReport, LaneError> {
        compute(&self.lanes, order.clone(), &CancellationToken::new()).await
    }

    /// Starts a chunk that can be stopped, and waits until frames of it are encoded.
    async fn begin(
        &self,
        order: &Arc<LaneOrder>,
    ) -> (CancellationToken, tokio::task::JoinHandle<Result<LaneReport, LaneError>>) {
        let stop = CancellationToken::new();
        let (lanes, order, token) = (self.lanes.clone(), order.clone(), stop.clone());
        let before = self.meter.frames();
        let working = tokio::spawn(async move { compute(&lanes, order, &token).await });
        while self.meter.frames() == before {
            tokio::task::yield_now().await;
        }
        (stop, working)
    }

    fn processes(&self) -> Vec<u32> {
        let is_marked = |path: &Path| {
            let environment = std::fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == self.mark.as_bytes())
        };
        processes(is_marked)
    }

    /// The only process.
    fn process(&self) -> u32 {
        let found = self.processes();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0]
    }
}

/// The pool's processes are gone when it is closed, and their statuses fetched.
async fn close(pool: Pool) {
    let processes = pool.processes();
    pool.lanes.close().await;
    let left: Vec<_> = processes.iter().filter(|process| Path::new(&format!("/proc/{process}")).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_makes_results_one_after_the_other() {
    let bench = Bench::new();
    let order = Arc::new(order(&bench, 30));
    let pool = Pool::new("results", settings());
    for _ in 0..2 {
        let report = pool.run(&order).await.unwrap();
        assert_eq!(report.counts.frames, 30);
        let (footer, _) = seal::verify(&report.result).unwrap();
        assert_eq!(footer.fingerprint, order.spec.fingerprint());
        std::fs::remove_file(&report.result).unwrap();
    }
    assert_eq!(pool.meter.frames(), 60);
    let process = pool.process();

    // What is wrong with a chunk is its own affair, and does not count as frames.
    let mut longer = (*order).clone();
    longer.spec.span.hi += 1;
    let failed = pool.run(&Arc::new(longer)).await.unwrap_err();
    assert_eq!((failed.kind(), failed.is_death()), (Kind::Poison, false), "{failed}");
    assert_eq!(pool.meter.frames(), 60);

    assert_eq!(pool.run(&order).await.unwrap().counts.frames, 30);
    assert_eq!(pool.process(), process, "one process has done it all");
    let lanes = pool.lanes.clone();
    close(pool).await;
    assert!(matches!(compute(&lanes, order, &CancellationToken::new()).await, Err(LaneError::Stopped)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_left_when_it_is_to_be_and_its_lane_goes_on() {
    let bench = Bench::new();
    let order = Arc::new(slow(order(&bench, 1500)));
    let pool = Pool::new("stopped", settings());
    let (stop, working) = pool.begin(&order).await;
    let process = pool.process();
    stop.cancel();
    assert!(matches!(working.await.unwrap(), Err(LaneError::Stopped)));
    assert_eq!(pool.meter.frames(), 0, "what was left is not counted");

    // Whoever asks may just go away.
    let (_, working) = pool.begin(&order).await;
    working.abort();
    let quick = Arc::new(LaneOrder { spec: one_frame(&order), ..(*order).clone() });
    assert_eq!(pool.run(&quick).await.unwrap().counts.frames, 1);
    assert_eq!(pool.process(), process, "it has answered both times, and was not killed for it");
    close(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_killed_is_replaced() {
    let bench = Bench::new();
    let order = Arc::new(slow(order(&bench, 1500)));
    let pool = Pool::new("killed", settings());
    let (_, working) = pool.begin(&order).await;
    let process = pool.process();
    kill("-ABRT", process);
    let error = working.await.unwrap().unwrap_err();
    assert!(error.is_death() && error.to_string().contains("killed by signal 6 (SIGABRT)"), "{error}");

    let quick = Arc::new(LaneOrder { spec: one_frame(&order), ..(*order).clone() });
    assert_eq!(pool.run(&quick).await.unwrap().counts.frames, 1);
    let idle = pool.process();
    assert_ne!(idle, process);
    kill("-KILL", idle);
    await_end(idle);
    // The idle one is replaced as well; a chunk that was given to it in the moment of its death is a death all the same.
    let outcome = pool.run(&quick).await;
    assert!(outcome.as_ref().is_ok() || outcome.as_ref().is_err_and(LaneError::is_death), "{outcome:?}");
    assert_eq!(pool.run(&quick).await.unwrap().counts.frames, 1);
    assert_ne!(pool.process(), idle);
    close(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_has_its_number_of_chunks() {
    let bench = Bench::new();
    let order = Arc::new(order(&bench, 5));
    let pool = Pool::new("worn", LaneSettings { chunks_per_lane: 2, ..settings() });
    let mut processes = Vec::new();
    for _ in 0..3 {
        // With its report the second chunk's lane is on its way out, and its successor up or on its way.
        assert_eq!(pool.run(&order).await.unwrap().counts.frames, 5);
        processes.extend(pool.processes());
    }
    processes.sort_unstable();
    processes.dedup();
    assert!(processes.len() >= 2, "{processes:?}");
    close(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_without_memory_is_lost_and_says_so() {
    let bench = Bench::new();
    // x264 looks 60 frames ahead, of 12 MB each.
    bench.clip("clip.mp4", "-f lavfi -i testsrc2=s=3840x2160:r=25:d=3 -c:v libx264 -preset ultrafast -g 100");
    let order = Arc::new(slow(order_of_clip(&bench)));
    for memory_mb in [128, 300] {
        let pool = Pool::new("memory", LaneSettings { memory_mb, ..settings() });
        let error = pool.run(&order).await.unwrap_err();
        assert!(matches!(error, LaneError::OutOfMemory { .. }) && error.is_death(), "{error:?}");
        close(pool).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_hangs_is_killed() {
    let bench = Bench::new();
    let order = Arc::new(order(&bench, 5));
    let hanging = stand_in(&bench, "echo '{\"tell\":\"ready\"}'; exec sleep 1000");
    let (chunk_time, frame_time) = (Duration::from_secs(1), Duration::ZERO);
    let pool = Pool::new("deadline", LaneSettings { chunk_time, frame_time, ..hanging.clone() });
    let error = pool.run(&order).await.unwrap_err();
    assert!(matches!(error, LaneError::Deadline { seconds: 1 }) && error.is_death(), "{error:?}");
    close(pool).await;

    // Nor does it hold up whoever wants to leave its chunk.
    let pool = Pool::new("stuck", hanging);
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(matches!(compute(&pool.lanes, order.clone(), &stop).await, Err(LaneError::Stopped)));
    let stop = CancellationToken::new();
    let (lanes, token) = (pool.lanes.clone(), stop.clone());
    let working = tokio::spawn(async move { compute(&lanes, order, &token).await });
    stop.cancel();
    assert!(matches!(working.await.unwrap(), Err(LaneError::Stopped)));
    close(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_told_when_no_lane_comes_up() {
    let bench = Bench::new();
    let order = Arc::new(order(&bench, 5));
    let check = async |settings: LaneSettings, expected: &[&str]| {
        let pool = Pool::new("start", settings);
        let error = pool.run(&order).await.unwrap_err();
        assert_eq!((error.kind(), error.is_death()), (Kind::Fatal, false), "{error}");
        assert!(expected.iter().all(|part| error.to_string().contains(part)), "{error}");
        pool.lanes.close().await;
    };
    check(LaneSettings { swapper: Swapper::Mesh, ..settings() }, &["ONNX Runtime", "nowhere", "no such file"]).await;
    check(LaneSettings { program: "nowhere/facemill".into(), ..settings() }, &["run nowhere/facemill lane"]).await;
    check(stand_in(&bench, "echo no such device >&2; exit 3"), &["status 3", "no such device"]).await;

    // A lane that is long in coming holds up nobody who has lost interest.
    let pool = Pool::new("start", stand_in(&bench, "exec sleep 1000"));
    let stop = CancellationToken::new();
    let (lanes, token) = (pool.lanes.clone(), stop.clone());
    let waiting = tokio::spawn(async move { compute(&lanes, order, &token).await });
    stop.cancel();
    assert!(matches!(waiting.await.unwrap(), Err(LaneError::Stopped)));
    close(pool).await;
}

/// A run of `facemill swap` with one lane and many chunks, of which one is done.
fn running(bench: &Bench, environment: &[(&str, &str)]) -> (Running, std::io::Lines<BufReader<ChildStdout>>, PathBuf) {
    let clip = bench.clip(
        "long.mp4",
        "-f lavfi -i testsrc2=s=640x360:r=25:d=24 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 20",
    );
    let mut command = bench.swap(&["-t", "long.mp4", "-o", "out.mp4", "--chunk-frames", "20..20", "--workers", "1"]);
    command.args(["--swapper", "none", "--output-video-crf", "0", "--output-video-preset", "slow"]);
    command.envs(environment.iter().copied());
    let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let is_chunk = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event"] == "chunk";
    assert!(lines.by_ref().any(|line| is_chunk(&line.unwrap())), "a chunk is done");
    (running, lines, clip)
}

#[test]
fn a_job_outlives_its_lane() {
    let bench = Bench::new();
    let (running, lines, clip) = running(&bench, &[]);
    let lanes = children(running.0.id());
    assert_eq!(lanes.len(), 1);
    kill("-KILL", lanes[0]);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.last().unwrap().contains("\"done\""), "{rest:?}");
    assert_eq!(frame_digests(&bench.path("out.mp4")), frame_digests(&clip));
}

#[test]
fn a_chunk_that_is_handed_back_does_not_count_as_an_attempt() {
    let bench = Bench::new();
    let (mut running, lines, _) = running(&bench, &[]);
    let begun = || files(&bench.path("data/store/jobs"), &|name| name.ends_with(".begun"));
    // A chunk is begun for as long as its lane takes, and most are still to come.
    while begun().is_empty() {
        std::thread::yield_now();
    }
    kill("-INT", running.0.id());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(running.0.wait().unwrap().code(), Some(130), "{rest:?}");
    assert_eq!(begun(), Vec::<PathBuf>::new());
}

#[test]
fn a_killed_worker_leaves_no_lane() {
    let bench = Bench::new();
    let (running, _, _) = running(&bench, &[]);
    let lanes = children(running.0.id());
    assert_eq!(lanes.len(), 1);
    kill("-KILL", running.0.id());
    await_end(lanes[0]);
}

#[test]
fn lanes_are_given_no_credentials() {
    let bench = Bench::new();
    let secrets =
        [("AWS_SECRET_ACCESS_KEY", "hunter2"), ("FACEMILL_KAFKA__SASL_PASSWORD", "hunter2"), ("LC_TIME", "C")];
    let (running, _, _) = running(&bench, &secrets);
    let lanes = children(running.0.id());
    let given = std::fs::read(format!("/proc/{}/environ", lanes[0])).unwrap();
    let given = String::from_utf8_lossy(&given);
    assert!(given.contains("PATH=") && given.contains("LC_TIME=C"), "{given}");
    for kept_back in ["hunter2", "AWS_", "FACEMILL_"] {
        assert!(!given.contains(kept_back), "{kept_back} in {given}");
    }
    let arguments = std::fs::read(format!("/proc/{}/cmdline", lanes[0])).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains("hunter2"));
}

#[test]
fn signals_are_for_the_worker() {
    let bench = Bench::new();
    let order = order(&bench, 5);
    let mut command = facemill();
    command.args(["lane", "--onnxruntime", "nowhere", "--models", "nowhere", "--swapper", "none"]);
    let mut lane = Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(lane.0.stdout.take().unwrap()).lines();
    let mut hear = || serde_json::from_str::<Value>(&said.next().unwrap().unwrap()).unwrap();
    assert_eq!(hear(), json!({"tell": "ready"}));
    for signal in ["-INT", "-TERM", "-HUP"] {
        kill(signal, lane.0.id());
    }
    let mut stdin = lane.0.stdin.take().unwrap();
    let fingerprint = order.spec.fingerprint();
    writeln!(stdin, "{}", json!({"ask": "order", "order": order, "fingerprint": fingerprint})).unwrap();
    assert_eq!(hear(), json!({"tell": "encoded", "frames": 1}));
    let done = std::iter::from_fn(|| Some(hear())).find(|told| told["tell"] != "encoded").unwrap();
    assert_eq!((&done["tell"], &done["counts"]["frames"]), (&json!("done"), &json!(5)));
    drop(stdin);
    assert!(lane.0.wait().unwrap().success(), "it ends with its input");
}
