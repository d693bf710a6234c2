//! The log goes to standard error: text for people, JSON for collectors.

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

use super::TelemetryError;
use crate::config::{Log, LogFormat};

/// Sets up the log of this process, once. `verbosity` is 0 for information of facemill and warnings of everything else, -1 for
/// warnings only, 1 for debug, 2 and more for trace; `log.filter` wins over it. `writer` is `std::io::stderr`, or what
/// writes past a progress bar; `colour` should be set only where that is a terminal.
pub fn init_logs<W>(log: &Log, verbosity: i8, writer: W, colour: bool) -> Result<(), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let directives = log.filter.clone().unwrap_or_else(|| directives(verbosity).to_owned());
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| TelemetryError::Filter { filter: directives, reason: error.to_string() })?;
    let builder = fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour);
    let installed = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    installed.map_err(|_| TelemetryError::LogsInstalled)
}

fn directives(verbosity: i8) -> &'static str {
    match verbosity {
        // A command tells the user itself what matters; the broker is inside of it, and its news are of use only to who
        // looks for a fault.
        i8::MIN..=-1 => "error,librdkafka=off",
        0 => "warn,facemill=info",
        1 => "info,facemill=debug",
        2..=i8::MAX => "debug,facemill=trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verbosity_is_a_valid_filter() {
        for verbosity in [i8::MIN, -1, 0, 1, 2, i8::MAX] {
            EnvFilter::try_new(directives(verbosity)).unwrap();
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        let log = Log { filter: Some("facemill=loud".into()), ..Log::default() };
        let error = init_logs(&log, 0, std::io::stderr, false).unwrap_err().to_string();
        assert!(error.starts_with("log.filter is \"facemill=loud\" (expected directives"), "{error}");
    }
}
