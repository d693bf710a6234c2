//! What a lane's process writes to standard error: its log is passed on to this process's, and the last lines are kept, since they
//! are all that a process leaves that has died.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStderr;
use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;
use tracing::{debug, error, info, trace, warn};

/// Lines that are kept.
const LINES: usize = 4;
/// Longest line that is kept, characters.
const LINE_MAX: usize = 300;

/// What a lane writes before it tells of a failure, so that its worker knows to have heard all that was said before.
pub const MARK: &str = "{\"mark\":true}";

/// The last lines that were not passed on to the log as what they are: panics, and what C and C++ libraries say when they abort.
#[derive(Clone, Debug, Default)]
pub struct LastWords {
    lines: Arc<Mutex<VecDeque<String>>>,
    marked: Arc<Notify>,
}

impl LastWords {
    /// Passes on what comes, until the process has closed it.
    pub async fn listen(self, from: ChildStderr, lane: u32) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while let Ok(1..) = from.read_until(b'\n', &mut line).await {
            let text = String::from_utf8_lossy(&line);
            self.hear(text.trim_end(), lane);
            line.clear();
        }
    }

    fn hear(&self, line: &str, lane: u32) {
        if let Ok(Value::Object(mut event)) = serde_json::from_str(line)
            && let Some(Value::String(level)) = event.remove("level")
        {
            return pass_on(&level, &text_of(event), lane);
        }
        if line == MARK {
            return self.marked.notify_one();
        }
        if line.is_empty() {
            return;
        }
        warn!(lane, "{line}");
        self.keep(line);
    }

    /// Keeps a line.
    pub fn keep(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(LINE_MAX).collect());
    }

    /// Waits for the lane's next [`MARK`], if it has not come yet. Cancel-safe.
    pub async fn marked(&self) {
        self.marked.notified().await;
    }

    /// The lines, in one.
    pub fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

/// What a lane is to log for this process's log to have what it wants.
pub fn filter() -> String {
    let wanted = LevelFilter::current();
    if wanted <= LevelFilter::WARN { wanted.to_string() } else { format!("warn,facemill={wanted},ffmpeg={wanted}") }
}

/// Message and fields of a JSON log line.
fn text_of(mut event: Map<String, Value>) -> String {
    let message = event.remove("message");
    let mut text = message.as_ref().and_then(Value::as_str).unwrap_or("").to_owned();
    for name in ["timestamp", "target"] {
        event.remove(name);
    }
    for (name, value) in event {
        text += &match value {
            Value::String(value) => format!(" {name}={value}"),
            value => format!(" {name}={value}"),
        };
    }
    text
}

fn pass_on(level: &str, text: &str, lane: u32) {
    match level {
        "ERROR" => error!(lane, "{text}"),
        "WARN" => warn!(lane, "{text}"),
        "INFO" => info!(lane, "{text}"),
        "DEBUG" => debug!(lane, "{text}"),
        _ => trace!(lane, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_the_log_is_not_among_them() {
        let words = LastWords::default();
        words.hear(r#"{"timestamp":"t","level":"INFO","message":"all is well","target":"facemill"}"#, 1);
        for number in 0..6 {
            words.hear(&format!("line {number}"), 1);
        }
        words.hear("", 1);
        words.hear(MARK, 1);
        words.hear(&"x".repeat(1000), 1);
        assert_eq!(words.text(), format!("line 3; line 4; line 5; {}", "x".repeat(LINE_MAX)));
    }

    #[test]
    fn a_log_line_keeps_its_fields() {
        let event = r#"{"timestamp":"t","message":"slow","target":"facemill","frames":3,"why":"disk"}"#;
        assert_eq!(text_of(serde_json::from_str(event).unwrap()), "slow frames=3 why=disk");
    }
}
