//! The roles as processes of their own, on a real Apache Kafka.
//!
//! `make test-kafka` starts the broker of deploy/kafka and sets FACEMILL_TEST_BROKERS.

mod support;

#[path = "cluster_kafka/audit.rs"]
mod audit;
#[path = "cluster_kafka/cluster.rs"]
mod cluster;
#[path = "cluster_kafka/commands.rs"]
mod commands;
#[path = "cluster_kafka/producers.rs"]
mod producers;

use std::path::Path;
use std::process::Command;

use cluster::{Cluster, LIMIT, location, metric};
use serde_json::json;
use support::{demo_clip, frame_digests, portrait, run, times};

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
fn a_folder_of_stills_whose_assembler_is_killed_half_way() {
    let mut cluster = Cluster::new();
    let [from, to] = ["photos", "swapped"].map(|name| cluster.bench.path(name));
    for folder in [&from, &to] {
        std::fs::create_dir(folder).unwrap();
    }
    let stills: Vec<String> =
        (0..60).map(|number| format!("{number:02}.{}", ["png", "tiff", "jpg"][number % 3])).collect();
    for (number, still) in stills.iter().enumerate() {
        let side = 400 + 2 * number;
        let picture = format!("-f lavfi -i testsrc2=s={side}x300:d=0.04 -frames:v 1 -pix_fmt");
        let pixels = if still.ends_with("jpg") { "yuvj444p" } else { "rgb24" };
        cluster.bench.clip(&format!("photos/{still}"), &format!("{picture} {pixels}"));
    }
    cluster.start(&["ingest"]);
    let (assembler, _) = cluster.start(&["assemble"]);
    let worker = ["worker", "--swapper", "none", "--workers", "1"];
    let _workers = [cluster.start(&worker), cluster.start(&worker), cluster.start(&worker)];
    let job = format!("folder-{}", std::process::id());
    cluster.submit(&json!({
        "job": job, "sources": [], "target": format!("{}/", location(&from)), "output": format!("{}/", location(&to)),
        "swap": { "swapper": "none" },
    }));
    // What the killed one was writing lies there under a hidden name, until it is old enough to be swept.
    let is_seen = |entry: &std::fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    let there = || std::fs::read_dir(&to).unwrap().flatten().filter(is_seen).count();
    commands::wait_until("some stills are out", || there() >= 5);
    run(Command::new("kill").args(["-KILL", &cluster.roles[assembler].0.id().to_string()]));
    let before = there();
    let _successor = cluster.spawn(&["assemble"], "off");
    let done = cluster.follow(&job, |_| {});
    assert_eq!(done["state"], "done", "{done}");
    assert!(before < stills.len(), "killed too late");
    for still in &stills {
        let (source, output) = (from.join(still), to.join(still));
        match still.ends_with("jpg") {
            true => assert_eq!(frame_digests(&output).len(), 1, "{still}"),
            false => assert_eq!(frame_digests(&output), frame_digests(&source), "{still}"),
        }
    }
    assert_eq!(there(), stills.len(), "nothing else lies there");
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
