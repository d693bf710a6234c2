//! `facemill gc`: deletes what is old and no open job needs.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::config::Config;
use crate::gc::{self, Settings};

use super::args::Gc;
use super::{Exit, Misconfigured, role};

/// Runs the command.
pub async fn run(args: Gc, config: Config) -> Result<Exit> {
    let retention_days = config.store.retention_days;
    let days = args.older_than.unwrap_or(retention_days);
    if days < retention_days {
        let found = format!("--older-than is {days} (expected store.retention_days, {retention_days}, or more");
        return Err(Misconfigured(format!("{found}: jobs rely on what is younger)")).into());
    }
    let store = role::store(&config).await?;
    let keep = Duration::from_secs(days * 24 * 3600);
    let report = gc::run(&*store, Settings { keep, dry_run: args.dry_run }).await?;
    if args.json {
        println!("{}", json!({ "dry_run": args.dry_run, "older_than_days": days, "report": report }));
        return Ok(Exit::Done);
    }
    let verb = if args.dry_run { "would delete" } else { "deleted" };
    for (class, tally) in &report.deleted {
        println!(
            "{verb} {:>8} {:<22} {:>12}",
            tally.objects,
            class.as_str(),
            indicatif::HumanBytes(tally.bytes).to_string()
        );
    }
    if report.deleted.is_empty() {
        println!("nothing is older than {days} days and needed by no open job");
    }
    println!("{} open jobs keep what they need", report.open_jobs);
    Ok(Exit::Done)
}
