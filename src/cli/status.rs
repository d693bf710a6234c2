//! `facemill status`: how far a job is, from topic `status`.

use anyhow::Result;

use crate::broker::{News, Reader, StartAt};
use crate::config::Config;
use crate::contract::{JobId, State, Status, Totals, topics};

use super::Exit;
use super::args::StatusOf;
use super::role::broker;

/// Runs the command.
pub async fn run(args: StatusOf, config: Config) -> Result<Exit> {
    let job: JobId = match args.job.parse() {
        Ok(job) => job,
        Err(refusal) => {
            eprintln!("facemill: {refusal}");
            return Ok(Exit::Usage);
        }
    };
    let mut news = Reader::<Status>::start(&broker(&config, "status")?, topics::STATUS, StartAt::Beginning).await?;
    let mut newest: Option<Status> = None;
    let mut caught_up = false;
    loop {
        match news.next().await {
            None => return Ok(Exit::Failed),
            Some(news) => match news? {
                News::CaughtUp => {
                    caught_up = true;
                    match &newest {
                        Some(status) => print(status, args.json),
                        None if args.watch => eprintln!("no news of {job} yet; waiting"),
                        None => {
                            eprintln!("facemill: no news of {job}: it was not accepted yet, or ended long ago");
                            return Ok(Exit::Failed);
                        }
                    }
                }
                News::Record(delivery) => {
                    let Ok(status) = delivery.record else { continue };
                    if status.job != job {
                        continue;
                    }
                    if caught_up {
                        print(&status, args.json);
                    }
                    newest = Some(status);
                }
            },
        }
        let ended = newest.as_ref().filter(|status| status.state.is_final());
        match ended {
            _ if !caught_up => {}
            Some(status) => return Ok(if status.state == State::Done { Exit::Done } else { Exit::Failed }),
            None if !args.watch => return Ok(Exit::Done),
            None => {}
        }
    }
}

fn print(status: &Status, json: bool) {
    if json {
        let line = serde_json::to_string(status).unwrap_or_default();
        return println!("{line}");
    }
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
    if let Some(reason) = &status.reason {
        line += &format!(": {reason}");
    }
    println!("{line}");
}
