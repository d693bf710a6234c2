//! `facemill submit`: jobs from a file onto topic `jobs`, as any producer would publish them.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use crate::broker::Producer;
use crate::broker::topics::{TopicSpec, ensure};
use crate::config::Config;
use crate::contract::{Job, partition_of, topics};
use crate::json;
use crate::local;

use super::Exit;
use super::args::Submit;
use super::role::broker;

/// Runs the command. Nothing is published unless every job of the file is valid.
pub async fn run(args: Submit, config: Config) -> Result<Exit> {
    let file = args.file.clone();
    let text = match tokio::task::spawn_blocking(move || read(&file)).await? {
        Ok(text) => text,
        Err(error) => {
            eprintln!("facemill: {error:#}");
            return Ok(Exit::Refused);
        }
    };
    let jobs = match parse(&text) {
        Ok(jobs) => jobs,
        Err(problem) => {
            eprintln!("facemill: {}: {problem}", args.file.display());
            return Ok(Exit::Refused);
        }
    };
    let broker = broker(&config, "submit")?;
    ensure(&broker, &TopicSpec::builtin()?, config.kafka.replication).await?;
    let producer = Producer::start(&broker)?;
    let partitions = producer.partitions(topics::JOBS).await?;
    for job in &jobs {
        local::publish(&producer, job, partition_of(&job.job, partitions)).await?;
        println!("{}", job.job);
    }
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read jobs from standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("read jobs from {}", file.display()))
}

/// One JSON object, or several one after the other.
fn parse(text: &str) -> Result<Vec<Job>, String> {
    let mut jobs = Vec::new();
    let mut rest = serde_json::Deserializer::from_str(text);
    while rest.end().is_err() {
        let job: Job = json::next(&mut rest).map_err(|problem| format!("job {}: {problem}", jobs.len() + 1))?;
        job.validate().map_err(|refusal| format!("job {}: {refusal}", job.job))?;
        jobs.push(job);
    }
    if jobs.is_empty() {
        return Err("no job found (expected a JSON object, or several)".to_owned());
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_several_and_what_is_wrong() {
        let job = r#"{"job":"a","sources":["s3://b/f.jpg"],"target":"s3://b/t.mp4","output":"s3://b/o.mp4"}"#;
        assert_eq!(parse(job).unwrap().len(), 1);
        assert_eq!(parse(&format!("{job}\n{job}")).unwrap().len(), 2);
        for (text, named) in [
            ("", "no job"),
            ("[]", "job 1"),
            (&format!("{job} {{}}"), "job 2"),
            (&job.replace("\"output\"", "\"outptu\""), "outptu"),
            (&job.replace("\"s3://b/t.mp4\"", "7"), "job 1: target: invalid type: integer `7`"),
            (&job.replace("s3://b/f.jpg", "http://b/f.jpg"), "sources"),
        ] {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains(named), "{problem}");
        }
    }
}
