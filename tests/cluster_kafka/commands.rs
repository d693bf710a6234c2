//! What operators do to jobs: call them off, submit them again, look why they wait, restart workers.

use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::cluster::{Cluster, LIMIT, metric, pass};
use crate::support::{frame_digests, run};

/// Waits until `is_so`; a fault fails the test instead of hanging it.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "{what} does not happen");
        std::thread::yield_now();
    }
}

#[test]
fn a_cancelled_job_leaves_its_lane_in_the_middle_of_a_chunk_and_can_be_submitted_again() {
    let mut cluster = Cluster::new();
    let clip = cluster.bench.clip(
        "clip.mp4",
        "-f lavfi -i testsrc2=s=1280x720:r=25:d=40 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50",
    );
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    let (_, worker) = cluster.start(&["worker", "--swapper", "none", "--workers", "1"]);
    let output = cluster.bench.path("out.mp4");
    let id = format!("cancel-{}", std::process::id());
    // One chunk of a thousand frames: a minute's work.
    let mut job = pass(&id, &clip, &output, 1000);
    job["video"] = json!({ "crf": 0, "preset": "veryslow" });
    cluster.submit(&job);
    wait_until("a chunk is in work", || metric(&worker, "facemill_lanes_busy", "") >= 1.0);

    let cancelled = cluster.run(&["cancel", &id]);
    let told = String::from_utf8_lossy(&cancelled.stdout).into_owned();
    assert!(cancelled.status.success() && told.contains("cancelled"), "{told}");
    wait_until("the lane is free again", || metric(&worker, "facemill_lanes_busy", "") == 0.0);
    assert_eq!(metric(&worker, "facemill_chunks_total", "outcome=\"done\""), 0.0);
    assert!(!output.exists());

    let resubmitted =
        cluster.run(&["resubmit", &id, "--store", &format!("file://{}", cluster.bench.path("store").display())]);
    assert!(resubmitted.status.success(), "{}", String::from_utf8_lossy(&resubmitted.stderr));
    let mut second = 0;
    let again = cluster.follow_from_run(&id, 2, |status| second = status["run"].as_u64().unwrap_or(0));
    assert_eq!((again["state"].as_str(), second), (Some("done"), 2), "{again}");
    assert_eq!(frame_digests(&output), frame_digests(&clip));
}

#[test]
fn a_job_without_workers_says_so_and_goes_on_when_they_come() {
    let mut cluster = Cluster::new();
    cluster.settings.push(("FACEMILL_ASSEMBLE__REPAIR_AFTER_SECONDS", "1"));
    let clip = cluster.bench.test_clip("clip.mp4", 40, 10);
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    let output = cluster.bench.path("out.mp4");
    let id = format!("waits-{}", std::process::id());
    cluster.submit(&pass(&id, &clip, &output, 10));
    let mut is_told = false;
    let (started, starting) = std::sync::mpsc::channel();
    let done = std::thread::scope(|scope| {
        let following = scope.spawn(|| {
            cluster.follow(&id, |status| {
                let waiting = status["waiting"].as_str().unwrap_or("");
                if waiting.contains("no worker of group workers-") && waiting.contains("facemill resubmit") && !is_told
                {
                    is_told = true;
                    started.send(()).expect("the test waits");
                }
            })
        });
        starting.recv_timeout(LIMIT).expect("the status says why the job waits");
        let _worker = cluster.spawn(&["worker", "--swapper", "none", "--workers", "1"], "off");
        following.join().expect("the job is followed to its end")
    });
    assert!(is_told);
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(frame_digests(&output), frame_digests(&clip));
}

#[test]
fn a_job_whose_workers_are_gone_after_an_upgrade_is_planned_anew() {
    let mut cluster = Cluster::new();
    cluster.settings.push(("FACEMILL_ASSEMBLE__REPAIR_AFTER_SECONDS", "1"));
    let clip = cluster.bench.test_clip("clip.mp4", 40, 10);
    let (old, _) = cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    let output = cluster.bench.path("out.mp4");
    let id = format!("stranded-{}", std::process::id());
    cluster.submit(&pass(&id, &clip, &output, 10));
    let waits_for = |cluster: &Cluster| {
        let status = cluster.run(&["status", &id, "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        let waiting = status["waiting"].as_str().unwrap_or_default();
        waiting.split_whitespace().find(|word| word.starts_with("workers-")).map(str::to_owned)
    };
    wait_until("the job waits for workers", || waits_for(&cluster).is_some());
    let old_group = waits_for(&cluster);

    // The next version: what it plans is for other workers.
    run(Command::new("kill").args(["-TERM", &cluster.roles[old].0.id().to_string()]));
    assert_eq!(cluster.roles[old].0.wait().expect("ingest ends").code(), Some(0));
    cluster.settings.push(("FACEMILL_WORKER__PROVIDER", "openvino,cpu"));
    cluster.start(&["ingest"]);
    let (_, worker) = cluster.start(&["worker", "--swapper", "none", "--workers", "1"]);
    assert_eq!(waits_for(&cluster), old_group, "the new worker is not one of those");
    assert_eq!(metric(&worker, "facemill_chunks_total", ""), 0.0);

    let store = format!("file://{}", cluster.bench.path("store").display());
    let resubmitted = cluster.run(&["resubmit", &id, "--store", &store]);
    assert!(resubmitted.status.success(), "{}", String::from_utf8_lossy(&resubmitted.stderr));
    let again = cluster.follow_from_run(&id, 2, |_| {});
    assert_eq!(again["state"], "done", "{again}");
    assert_eq!(frame_digests(&output), frame_digests(&clip));
}

#[test]
fn a_worker_that_is_asked_to_end_finishes_its_chunk() {
    let mut cluster = Cluster::new();
    let clip = cluster.bench.clip(
        "clip.mp4",
        "-f lavfi -i testsrc2=s=640x360:r=25:d=40 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50",
    );
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    let role = ["worker", "--swapper", "none", "--workers", "1"];
    let (first, first_metrics) = cluster.start(&role);
    let output = cluster.bench.path("out.mp4");
    let id = format!("drain-{}", std::process::id());
    let mut job = pass(&id, &clip, &output, 100);
    job["video"] = json!({ "crf": 0, "preset": "slow" });
    cluster.submit(&job);
    wait_until("a chunk is in work", || metric(&first_metrics, "facemill_lanes_busy", "") >= 1.0);
    let (_, second_metrics) = cluster.start(&role);
    run(Command::new("kill").args(["-TERM", &cluster.roles[first].0.id().to_string()]));
    let ended = cluster.roles[first].0.wait().expect("the worker ends");
    assert_eq!(ended.code(), Some(0));

    let done = cluster.follow(&id, |_| {});
    assert_eq!(done["state"], "done", "{done}");
    let second_did = metric(&second_metrics, "facemill_chunks_total", "outcome=\"done\"");
    assert!((1.0..=9.0).contains(&second_did), "the first has finished its chunk, the second the others: {second_did}");
    assert_eq!(done["totals"]["chunks_done"], 10, "{done}");
    assert_eq!(frame_digests(&output), frame_digests(&clip));
}

#[test]
fn an_id_belongs_to_its_first_content() {
    let mut cluster = Cluster::new();
    let clip = cluster.bench.test_clip("clip.mp4", 40, 10);
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    cluster.start(&["worker", "--swapper", "none", "--workers", "1"]);
    let (output, other) = (cluster.bench.path("out.mp4"), cluster.bench.path("other.mp4"));
    let id = format!("content-{}", std::process::id());
    let job = pass(&id, &clip, &output, 10);
    for _ in 0..3 {
        cluster.submit(&job);
    }
    assert_eq!(cluster.follow(&id, |_| {})["state"], "done");
    let before = std::fs::read(&output).expect("the output");
    cluster.submit(&pass(&id, &clip, &other, 10));
    // What comes after it on the same partition shows that it has been dealt with.
    cluster.submit(&job);
    let about = |letter: &serde_json::Value| letter["key"] == json!(id);
    wait_until("the second content is dead-lettered", || cluster.dead_letters().iter().any(about));
    let letter = cluster.dead_letters().into_iter().rfind(about).expect("just seen");
    let message = letter["message"].as_str().expect("a message");
    assert!(
        message.contains("is another job already") && message.matches(char::is_alphanumeric).count() > 128,
        "{message}"
    );
    assert!(!other.exists());
    assert_eq!(std::fs::read(&output).expect("the output"), before);
}

#[test]
fn a_dead_letter_is_shown_and_replayed() {
    let mut cluster = Cluster::new();
    let clip = cluster.bench.test_clip("clip.mp4", 40, 10);
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    cluster.start(&["worker", "--swapper", "none", "--workers", "1"]);
    let output = cluster.bench.path("later/out.mp4");
    let id = format!("replayed-{}", std::process::id());
    // Refused, since the output's folder is not there; then its owner makes it.
    cluster.submit(&pass(&id, &clip, &output, 10));
    assert_eq!(cluster.follow(&id, |_| {})["state"], "failed");
    let about = |letter: &serde_json::Value| letter["key"] == json!(id);
    wait_until("the refused job is dead-lettered", || cluster.dead_letters().iter().any(about));
    let letter = cluster.dead_letters().into_iter().rfind(about).expect("just seen");
    let place = letter["position"].as_str().expect("the list says where it lies").to_owned();
    let shown = cluster.run(&["dead-letters", "show", &place]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("output") && shown.contains(&id), "{shown}");

    std::fs::create_dir(cluster.bench.path("later")).expect("a folder can be made");
    let replayed = cluster.run(&["dead-letters", "replay", &place]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let done = cluster.follow_from_run(&id, 2, |_| {});
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(frame_digests(&output), frame_digests(&clip));
}

#[test]
fn lost_descriptors_are_published_again() {
    let mut cluster = Cluster::new();
    cluster.settings.push(("FACEMILL_ASSEMBLE__REPAIR_AFTER_SECONDS", "1"));
    let clip = cluster.bench.test_clip("clip.mp4", 40, 10);
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    let output = cluster.bench.path("out.mp4");
    let id = format!("lost-{}", std::process::id());
    cluster.submit(&pass(&id, &clip, &output, 10));
    let (waits, is_waiting) = std::sync::mpsc::channel();
    let done = std::thread::scope(|scope| {
        let following = scope.spawn(|| {
            cluster.follow(&id, |status| {
                if status["waiting"].as_str().is_some_and(|waiting| waiting.contains("no worker of group")) {
                    // Told again and again; once is enough.
                    let _ = waits.send(());
                }
            })
        });
        is_waiting.recv_timeout(LIMIT).expect("all is published and nobody works");
        cluster.delete_all_records("chunks");
        let _worker = cluster.spawn(&["worker", "--swapper", "none", "--workers", "1"], "off");
        following.join().expect("the job is followed to its end")
    });
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(frame_digests(&output), frame_digests(&clip));
}
