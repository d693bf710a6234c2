//! `facemill status`: how far a job is, from topic `status`.

use anyhow::Result;

use crate::broker::{StartAt, Watch};
use crate::config::Config;
use crate::contract::{State, Status, Totals, topics};

use super::Exit;
use super::args::StatusOf;
use super::follow::{Follower, Seen};
use super::role::broker;

/// Runs the command.
pub async fn run(args: StatusOf, config: Config) -> Result<Exit> {
    let job = match args.job.job() {
        Ok(job) => job,
        Err(exit) => return Ok(exit),
    };
    let broker = broker(&config, "status")?;
    let mut news = Follower::start(&broker, &job, StartAt::Beginning).await?;
    let mut caught_up = false;
    loop {
        match news.next().await? {
            None => return Ok(Exit::Failed),
            Some(Seen::CaughtUp) => {
                caught_up = true;
                match news.newest() {
                    Some(status) => print(status, args.json),
                    None if args.watch => eprintln!("no news of {job} yet; waiting"),
                    None => {
                        // Where the broker cannot tell, nothing is said of it.
                        let ingests = Watch::new(&broker).members(topics::INGEST_GROUP).await;
                        let why = if matches!(ingests, Ok(0)) { "; no ingest is running: start one" } else { "" };
                        eprintln!("facemill: no news of {job}: it was not accepted yet, or ended long ago{why}");
                        return Ok(Exit::Failed);
                    }
                }
            }
            Some(Seen::Status(status)) if caught_up => print(&status, args.json),
            Some(Seen::Status(_)) => {}
        }
        let ended = news.newest().filter(|status| status.state.is_final());
        match ended {
            _ if !caught_up => {}
            Some(status) => return Ok(if status.state == State::Done { Exit::Done } else { Exit::Failed }),
            None if !args.watch => return Ok(Exit::Done),
            None => {}
        }
    }
}

fn print(status: &Status, json: bool) {
    match json {
        true => println!("{}", serde_json::to_string(status).unwrap_or_default()),
        false => println!("{}", line(status)),
    }
}

/// A status in a line.
pub fn line(status: &Status) -> String {
    let Totals { frames, frames_done, chunks, chunks_done, chunks_reused, .. } = &status.totals;
    let state = serde_json::to_value(status.state).ok();
    let state = state.as_ref().and_then(|state| state.as_str()).unwrap_or("unknown");
    let mut line = format!("{} run {}: {state}", status.job, status.run);
    if *chunks > 0 {
        let settled = chunks_done + chunks_reused;
        line += &format!(", {settled} of {chunks} chunks, {frames_done} of {frames} frames");
    }
    if let Some(output) = &status.output {
        line += &format!(", {output}");
    }
    if let Some(reason) = status.reason.as_ref().or(status.waiting.as_ref()) {
        line += &format!(": {reason}");
    }
    line
}
