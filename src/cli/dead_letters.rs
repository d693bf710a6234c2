//! `facemill dead-letters`: what could not be done, and doing it again.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, Result};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::broker::{BrokerConfig, Delivery, News, Producer, Reader, StartAt};
use crate::calendar::to_the_second;
use crate::config::Config;
use crate::contract::topics;
use crate::dead_letters::{DeadLetter, Origin};

use super::args::{DeadLetters, DeadLettersCommand, ListLetters, Position, ReplayLetters};
use super::role::broker;
use super::{Exit, SILENCE_LIMIT};

/// A record of the topic, whoever wrote it.
type Found = Delivery<IgnoredAny, ()>;

/// Runs the command.
pub async fn run(args: DeadLetters, config: Config) -> Result<Exit> {
    let broker = broker(&config, "dead-letters")?;
    match args.command {
        DeadLettersCommand::List(args) => list(args, &broker).await,
        DeadLettersCommand::Show(args) => show(args.position, &broker).await,
        DeadLettersCommand::Replay(args) => replay(args, &broker).await,
    }
}

/// Hands every record there is now to `see`, until that has seen enough (`false`). After an error it has seen what came before.
async fn each(broker: &BrokerConfig, mut see: impl FnMut(Found) -> bool) -> Result<()> {
    let mut reader = Reader::start(broker, topics::DEAD_LETTERS, StartAt::Beginning).await?;
    while let Some(news) = reader.next_within(SILENCE_LIMIT).await {
        let goes_on = match news.context("read the dead letters to their end")? {
            News::Record(found) => see(found),
            News::CaughtUp => false,
        };
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// The letters, each origin once: a record that was delivered twice may have been put there twice. And whether these are all.
async fn letters(broker: &BrokerConfig, topic: Option<&str>) -> (Vec<(Found, DeadLetter)>, Result<()>) {
    let (mut letters, mut seen) = (Vec::new(), BTreeSet::<Origin>::new());
    let read_all = each(broker, |mut found| {
        if let Some(letter) = read(&found)
            && topic.is_none_or(|topic| topic == letter.origin.topic)
            && seen.insert(letter.origin.clone())
        {
            found.payload = None; // the letter has it
            letters.push((found, letter));
        }
        true
    })
    .await;
    letters.sort_by_key(|(found, _)| (found.timestamp, found.partition, found.offset));
    (letters, read_all)
}

/// Says so where it is none.
fn read(found: &Found) -> Option<DeadLetter> {
    let letter = DeadLetter::read(found);
    letter.inspect_err(|error| eprintln!("facemill: {} is no dead letter: {error}", position(found))).ok()
}

async fn list(args: ListLetters, broker: &BrokerConfig) -> Result<Exit> {
    let (letters, read_all) = letters(broker, args.topic.as_deref()).await;
    let mut out = std::io::stdout().lock();
    for (found, letter) in letters {
        let DeadLetter { origin, key, reason, .. } = &letter;
        let (at, when) = (position(&found), found.timestamp.map(to_the_second));
        let line = if args.json {
            json!({
                "position": at.to_string(), "when": when, "key": key, "stage": reason.stage, "class": reason.class,
                "topic": origin.topic, "partition": origin.partition, "offset": origin.offset,
                "exception": reason.exception, "message": reason.message,
            })
            .to_string()
        } else {
            let when = when.unwrap_or_else(|| "-".to_owned());
            let key = key.as_deref().unwrap_or("-");
            let message = reason.message.lines().next().unwrap_or_default();
            let Origin { topic, partition, offset } = origin;
            format!("{at}  {when}  {topic}[{partition}]@{offset}  {key}  {}  {message}", reason.class)
        };
        if writeln!(out, "{line}").is_err() {
            return Ok(Exit::Done); // `| head` has seen enough
        }
    }
    read_all?;
    Ok(Exit::Done)
}

async fn show(wanted: Position, broker: &BrokerConfig) -> Result<Exit> {
    let mut shown = None;
    each(broker, |found| {
        if position(&found) == wanted {
            shown = Some(found);
        }
        shown.is_none()
    })
    .await?;
    let Some(found) = shown else {
        eprintln!("facemill: no dead letter at {wanted} (`facemill dead-letters list` shows those that there are)");
        return Ok(Exit::Failed);
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "key: {}", found.key.as_deref().unwrap_or("-"))?;
    for (name, value) in &found.headers {
        writeln!(out, "{name}: {}", String::from_utf8_lossy(value))?;
    }
    writeln!(out)?;
    match &found.payload {
        Some(payload) => out.write_all(payload).and_then(|()| writeln!(out)),
        None => writeln!(out, "(no value)"),
    }
    .context("write to standard output")?;
    Ok(Exit::Done)
}

async fn replay(args: ReplayLetters, broker: &BrokerConfig) -> Result<Exit> {
    let mut wanted: BTreeSet<Position> = args.positions.iter().copied().collect();
    let (mut chosen, read_all) =
        if args.all { letters(broker, args.topic.as_deref()).await } else { (Vec::new(), Ok(())) };
    read_all.context("nothing was published again")?;
    if !wanted.is_empty() {
        each(broker, |found| {
            if wanted.contains(&position(&found))
                && let Some(letter) = read(&found)
            {
                wanted.remove(&position(&found));
                chosen.push((found, letter));
            }
            !wanted.is_empty()
        })
        .await
        .context("nothing was published again")?;
    }
    for position in &wanted {
        eprintln!("facemill: no dead letter at {position}");
    }
    let mut exit = if wanted.is_empty() { Exit::Done } else { Exit::Failed };
    let mut of_failed_jobs = BTreeSet::new();
    let producer = Producer::start(broker)?;
    for (found, letter) in chosen {
        let at = position(&found);
        match letter.replay(&producer, (at.partition, at.offset)).await {
            Ok((partition, offset)) => {
                println!("{at} is {}[{partition}]@{offset}", letter.origin.topic);
                if letter.origin.topic == topics::CHUNKS {
                    of_failed_jobs.extend(letter.key);
                }
            }
            Err(error) if error.is_of_this_letter() => {
                eprintln!("facemill: {at} was not published again: {error}");
                exit = Exit::Failed;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("publish {at} again (those printed before it were)"));
            }
        }
    }
    if !of_failed_jobs.is_empty() {
        let jobs: Vec<String> = of_failed_jobs.into_iter().collect();
        eprintln!(
            "note: a job fails with its chunk, and workers pass over the chunks of a job that has; `facemill resubmit JOB` does it \
             again: {}",
            jobs.join(", ")
        );
    }
    Ok(exit)
}

fn position(found: &Found) -> Position {
    Position { partition: found.partition, offset: found.offset }
}
