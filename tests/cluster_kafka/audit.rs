//! What is written down of every run, and what is not done because it could not be.

use std::time::Instant;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};

use super::cluster::{Cluster, LIMIT, location, pass};
use super::support::portrait;

/// Audit records of a job, as the command exports them.
fn audited(cluster: &Cluster, job: &str) -> Vec<Value> {
    let output = cluster.run(&["audit", "export", "--job", job, "--since", "1d"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn each_run_is_written_down_once_however_it_ends() {
    let mut cluster = Cluster::new();
    cluster.settings.push(("FACEMILL_INGEST__CONSENT", "required"));
    let clip = cluster.bench.test_clip("clip.mp4", 40, 10);
    let photo = cluster.bench.path("photo.jpg");
    std::fs::copy(portrait(), &photo).unwrap();
    cluster.start(&["ingest"]);
    cluster.start(&["assemble"]);
    cluster.start(&["worker", "--swapper", "none", "--workers", "1"]);
    let number = std::process::id();
    let [done, refused, consented] =
        ["audit-done", "audit-refused", "audit-consented"].map(|name| format!("{name}-{number}"));
    cluster.submit(&pass(&done, &clip, &cluster.bench.path("out.mp4"), 10));
    let lends = |job: &str, consent: Value| {
        let output = location(&cluster.bench.path(&format!("{job}.jpg")));
        let sources = [location(&photo)];
        let mut job = json!({ "job": job, "sources": sources, "target": location(&photo), "output": output });
        if !consent.is_null() {
            job["consent"] = consent;
        }
        job
    };
    cluster.submit(&lends(&refused, Value::Null));
    let consent = json!({ "subject": "customer 7", "basis": "contract", "reference": "7/2026", "date": "2026-11-01" });
    cluster.submit(&lends(&consented, consent.clone()));
    for job in [&done, &refused, &consented] {
        cluster.follow(job, |_| {});
    }
    // Published again: the same jobs, and no new runs.
    cluster.submit(&pass(&done, &clip, &cluster.bench.path("out.mp4"), 10));
    cluster.follow(&done, |_| {});

    let [record] = &audited(&cluster, &done)[..] else { panic!("one run, one record") };
    assert_eq!((&record["state"], &record["run"]), (&json!("done"), &json!(1)), "{record}");
    let output = std::fs::read(cluster.bench.path("out.mp4")).unwrap();
    assert_eq!(record["output"]["sha256"], facemill::contract::Digest::of(&output).to_string());
    let [record] = &audited(&cluster, &refused)[..] else { panic!("one run, one record") };
    assert_eq!((&record["refused"], &record["sources"]), (&json!(true), &json!([])), "{record}");
    assert!(record["reason"].as_str().unwrap().starts_with("consent: none"), "{record}");
    assert!(!cluster.bench.path(&format!("{refused}.jpg")).exists());
    let [record] = &audited(&cluster, &consented)[..] else { panic!("one run, one record") };
    assert_eq!((&record["state"], &record["consent"][0]["subject"]), (&json!("done"), &consent["subject"]), "{record}");
    assert_eq!(record["sources"].as_array().unwrap().len(), 1, "{record}");
}

/// Makes the audit's topic take nothing, or anything.
fn let_audit_take(cluster: &Cluster, prefix: &str, bytes: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &cluster.brokers).create().expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let name = format!("{prefix}audit");
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("max.message.bytes", bytes);
    let made = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).expect("the broker answers");
    if made[0].is_err() {
        let change = AlterConfig::new(ResourceSpecifier::Topic(&name)).set("max.message.bytes", bytes);
        let changed =
            runtime.block_on(admin.alter_configs([&change], &AdminOptions::new())).expect("the broker answers");
        assert!(changed[0].is_ok(), "{changed:?}");
    }
}

#[test]
fn an_assembler_that_cannot_write_things_down_or_sign_does_not_start() {
    let mut cluster = Cluster::new();
    let prefix: &'static str = format!("unwritable-{}-", std::process::id()).leak();
    cluster.settings.push(("FACEMILL_KAFKA__TOPIC_PREFIX", prefix));
    let_audit_take(&cluster, prefix, "0");
    let clip = cluster.bench.test_clip("clip.mp4", 20, 10);
    let (output, job) = (cluster.bench.path("out.mp4"), format!("unwritable-{}", std::process::id()));
    cluster.start(&["ingest"]);
    cluster.start(&["worker", "--swapper", "none", "--workers", "1"]);
    cluster.submit(&pass(&job, &clip, &output, 10));
    let store = format!("file://{}", cluster.bench.path("store").display());
    let assemble = ["assemble", "--store", &store, "--metrics", "off"];
    let ended = cluster.run(&assemble);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && said.contains("the audit cannot be written"), "{said}");

    let junk = cluster.bench.path("junk.pem");
    std::fs::write(&junk, "no certificate").unwrap();
    let mut unsigned = cluster.command(&assemble);
    unsigned.env("FACEMILL_CREDENTIALS__CERTIFICATE", &junk).env("FACEMILL_CREDENTIALS__KEY", &junk);
    let ended = unsigned.output().expect("the program can be started");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(2) && said.contains("credentials.certificate"), "{said}");
    assert!(!output.exists(), "nothing is half done");

    let_audit_take(&cluster, prefix, "1048588");
    // The broker takes a moment to go by it.
    let began = Instant::now();
    let mut assembler = cluster.spawn(&["assemble"], "off");
    while !output.exists() {
        assert!(began.elapsed() < LIMIT, "the job is not done");
        if assembler.0.try_wait().expect("its state can be asked for").is_some() {
            assembler = cluster.spawn(&["assemble"], "off");
        }
        std::thread::yield_now();
    }
    let done = cluster.follow(&job, |_| {});
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(audited(&cluster, &job).len(), 1);
}
