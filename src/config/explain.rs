//! Every refusal names the setting, what was found, what is accepted and who gave it.

use std::path::PathBuf;

use figment::Figment;
use figment::error::Kind as Cause;
use figment::value::{Num, Value};

use super::layers::{ENVIRONMENT, PREFIX};
use super::range::expected;
use crate::error::{Classify, Kind};

const VARIABLE: &str = "environment variable";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("configuration file {path} cannot be read: {source}; create it, or leave out --config", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {path} is not valid TOML: {message}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A name that is no setting.
    #[error("{setting} is not a setting (expected one of {known}), given by {origin}{hint}")]
    Unknown {
        /// Its path, `worker.lane`.
        setting: String,
        /// The names that exist there.
        known: String,
        /// Which layer gave it.
        origin: String,
        /// What else may be wrong, or empty.
        hint: &'static str,
    },
    /// A value of the wrong type or out of range.
    #[error("{setting} is {found} (expected {expected}), given by {origin}")]
    Refused {
        /// Its path, `worker.lanes`.
        setting: String,
        /// The value.
        found: String,
        /// The accepted range.
        expected: String,
        /// Which layer gave it.
        origin: String,
    },
}

impl Classify for ConfigError {
    fn kind(&self) -> Kind {
        Kind::Fatal
    }
}

/// serde's error in an operator's terms.
pub(super) fn explain(error: figment::Error, settings: &Figment) -> ConfigError {
    let path = error.path.join(".");
    match error.kind {
        Cause::UnknownField(field, known) => {
            // The path ends with the unknown name, or with the section that holds it.
            let setting = match error.path.last() {
                Some(last) if *last == field => path,
                Some(_) => format!("{path}.{field}"),
                None => field,
            };
            let origin = origin(settings, &setting);
            let may_lack_an_underscore = !setting.contains('.') && origin.starts_with(VARIABLE);
            let hint = if may_lack_an_underscore { "; two underscores stand between section and setting" } else { "" };
            ConfigError::Unknown { setting, known: known.join(", "), origin, hint }
        }
        Cause::InvalidType(_, otherwise) | Cause::InvalidValue(_, otherwise) => refused(settings, &path, otherwise),
        Cause::UnknownVariant(_, known) => refused(settings, &path, known.join(", ")),
        other => refused(settings, &path, other.to_string()),
    }
}

pub(super) fn refused(settings: &Figment, setting: &str, otherwise: String) -> ConfigError {
    let found = settings.find_value(setting).map_or_else(|_| "not there".to_owned(), |value| show(&value));
    ConfigError::Refused {
        setting: setting.to_owned(),
        found,
        expected: expected(setting, otherwise),
        origin: origin(settings, setting),
    }
}

/// Who gave a setting: a file's path, a variable's name, or the command line.
fn origin(settings: &Figment, setting: &str) -> String {
    match settings.find_metadata(setting) {
        Some(layer) if layer.name == ENVIRONMENT => {
            format!("{VARIABLE} {PREFIX}{}", setting.replace('.', "__").to_uppercase())
        }
        Some(layer) => layer.name.clone().into_owned(),
        None => "default".to_owned(),
    }
}

pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, letter) => format!("{letter:?}"),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => number_text(*number),
        Value::Empty(..) => "empty".to_owned(),
        Value::Dict(..) => "a section".to_owned(),
        Value::Array(_, items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
    }
}

pub(super) fn number_text(number: Num) -> String {
    match (number.to_u128(), number.to_i128(), number.to_f64()) {
        (Some(unsigned), _, _) => unsigned.to_string(),
        (None, Some(signed), _) => signed.to_string(),
        (None, None, float) => float.unwrap_or(f64::NAN).to_string(),
    }
}
