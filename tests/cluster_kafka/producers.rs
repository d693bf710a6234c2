//! Producers that are not ours: a Python client and Kafka's own console producer.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cluster::{Cluster, pass};
use crate::support::{Running, fetched, frame_digests, run};

/// Publishes lines on topic `jobs` with kafka-python, keyed by job where there is one.
fn publish_with_python(cluster: &Cluster, lines: &[String]) {
    let wheel = fetched("kafka-client/kafka_python.whl");
    let script = "import json, sys; from kafka import KafkaProducer\n\
        producer = KafkaProducer(bootstrap_servers=sys.argv[1], acks='all')\n\
        for line in sys.stdin:\n    \
            producer.send('jobs', value=line.strip().encode(), key=json.loads(line).get('job', '').encode()).get(timeout=30)\n";
    let mut command = Command::new("python3");
    command.args(["-c", script, &cluster.brokers]).env("PYTHONPATH", wheel).stdin(Stdio::piped());
    feed(command, lines);
}

/// Publishes lines on topic `jobs` with the console producer of Kafka's distribution, without keys.
fn publish_with_console(cluster: &Cluster, lines: &[String]) {
    let mut command = Command::new("java");
    command.args(["-cp", &format!("{}/*", kafka_jars().display()), "org.apache.kafka.tools.ConsoleProducer"]);
    command.args(["--bootstrap-server", &cluster.brokers, "--topic", "jobs"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    feed(command, lines);
}

fn feed(mut command: Command, lines: &[String]) {
    let mut child = Running(command.spawn().expect("the producer can be started"));
    let mut input = child.0.stdin.take().expect("a pipe");
    lines.iter().for_each(|line| writeln!(input, "{line}").expect("the producer reads"));
    drop(input);
    assert!(child.0.wait().expect("the producer ends").success());
}

/// Where deploy/kafka/start.sh has put Kafka.
fn kafka_jars() -> PathBuf {
    let version = run(Command::new("sed").args([
        "-n",
        r"s:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p",
        "deploy/kafka/pom.xml",
    ]));
    let version = String::from_utf8(version).expect("a version");
    let marker = fetched_folder(&format!("kafka-{}", version.trim()));
    assert!(marker.is_dir(), "{} is missing: run `make test-kafka`", marker.display());
    marker
}

fn fetched_folder(name: &str) -> PathBuf {
    fetched("media/WolfgangLanger_Pexels.mp4").ancestors().nth(2).expect("the cache folder").join(name)
}

#[test]
fn jobs_of_other_producers_are_done_and_malformed_ones_hold_nobody_up() {
    let mut cluster = Cluster::new();
    let clip = cluster.bench.test_clip("clip.mp4", 40, 10);
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    cluster.start(&["worker", "--swapper", "none", "--workers", "1"]);
    let id = |name: &str| format!("{name}-{}", std::process::id());
    let job = |name: &str| pass(&id(name), &clip, &cluster.bench.path(&format!("{name}.mp4")), 10);
    // All records have one key or none, and the bad ones come first: were they to block their partition, the others would not be done.
    let mut misspelt = job("misspelt");
    misspelt["outptu"] =
        misspelt.as_object_mut().and_then(|fields| fields.remove("output")).expect("a job has an output");
    let mut wrong = job("wrong");
    wrong["chunk_frames"] = json!([9, 8]);
    let lines = |jobs: &[&Value]| jobs.iter().map(|job| job.to_string()).collect::<Vec<_>>();
    let mut first = vec!["this is no job".to_owned(), "{\"job\": 7}".to_owned()];
    first.extend(lines(&[&misspelt, &wrong, &job("console")]));
    publish_with_console(&cluster, &first);
    publish_with_python(&cluster, &lines(&[&misspelt, &job("python")]));

    for name in ["console", "python"] {
        let done = cluster.follow(&id(name), |_| {});
        assert_eq!(done["state"], "done", "{done}");
        assert_eq!(frame_digests(&cluster.bench.path(&format!("{name}.mp4"))), frame_digests(&clip));
    }
    let refused = cluster.follow(&id("wrong"), |_| {});
    assert_eq!((refused["state"].as_str(), refused["refused"].as_bool()), (Some("failed"), Some(true)), "{refused}");
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("chunk_frames")), "{refused}");

    let letters = cluster.dead_letters();
    let named =
        |field: &str| letters.iter().filter(|letter| letter["message"].as_str().unwrap_or("").contains(field)).count();
    assert!(named("outptu") >= 2 && named("chunk_frames") >= 1 && named("expected") >= 2, "{letters:?}");
    assert!(named("job: invalid type: integer `7`") >= 1, "{letters:?}");
}
