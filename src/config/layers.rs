//! Four layers become one [`Config`]: defaults, file, environment, flags.

use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::Config;
use super::explain::{ConfigError, explain, number_text, refused, show};
use super::range::first_out_of_range;

/// The configuration file that is read where none is named.
pub const FILE: &str = "facemill.toml";

/// What the names of our environment variables start with.
pub(super) const PREFIX: &str = "FACEMILL_";
/// Variables of that prefix which belong to scripts and tests.
const NOT_SETTINGS: [&str; 5] =
    ["FACEMILL_TEST_", "FACEMILL_KAFKA_DATA", "FACEMILL_KAFKA_PORT", "FACEMILL_KAFKA_HEAP", "FACEMILL_KAFKA_LOG"];

/// Name of the layer that the environment makes.
pub(super) const ENVIRONMENT: &str = "the environment";
const FLAGS: &str = "the command line";

/// Where the layers come from. [`Config::load`] fills it from the process; tests fill it by hand.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file named by the user, which must exist.
    pub file: Option<PathBuf>,
    /// Folder in which `facemill.toml` is looked for when no file is named.
    pub folder: PathBuf,
    /// Environment variables, any; those that start with `FACEMILL_` count. An empty value means not set.
    pub environment: Vec<(String, String)>,
    /// What the command line sets, as a JSON object in the form of [`Config`]; `null` means not given.
    pub flags: serde_json::Value,
}

impl Sources {
    /// Merges the layers and checks the result.
    pub fn load(self) -> Result<Config, ConfigError> {
        let mut settings = Figment::new();
        if let Some(file) = self.file_layer()? {
            settings = settings.merge(file);
        }
        settings = settings.merge(environment_layer(&self.environment)?).merge(flags_layer(&self.flags)?);
        let config: Config = settings.extract().map_err(|error| explain(error, &settings))?;
        match first_out_of_range(&config) {
            Some(setting) => Err(refused(&settings, setting, String::new())),
            None => Ok(config),
        }
    }

    fn file_layer(&self) -> Result<Option<Layer>, ConfigError> {
        let path = self.file.clone().unwrap_or_else(|| self.folder.join(FILE));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if self.file.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let settings = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
            path: path.clone(),
            message: error.to_string().trim().to_owned(),
        })?;
        Layer::new(path.display().to_string(), settings).map(Some)
    }
}

/// One layer's settings and its name for messages.
struct Layer {
    name: String,
    settings: Dict,
}

impl Layer {
    fn new(name: String, mut settings: Dict) -> Result<Self, ConfigError> {
        if let Some(Value::Dict(_, section)) = settings.get_mut("kafka") {
            gather_properties(section, &name)?;
        }
        Ok(Self { name, settings })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.settings.clone())]))
    }
}

/// Moves every key of `[kafka]` that is not ours into its `properties`: `"security.protocol" = "SASL_SSL"`, and also
/// `security.protocol = "SASL_SSL"`, which TOML reads as a table in a table.
fn gather_properties(section: &mut Dict, origin: &str) -> Result<(), ConfigError> {
    let mut properties = Dict::new();
    for (key, value) in std::mem::take(section) {
        match (key.as_str(), value) {
            ("brokers" | "replication" | "topic_prefix" | "static_member", value) => drop(section.insert(key, value)),
            ("properties", Value::Dict(_, table)) => {
                for (name, value) in table {
                    flatten_property(name, value, origin, &mut properties)?;
                }
            }
            (_, value) => flatten_property(key, value, origin, &mut properties)?,
        }
    }
    if !properties.is_empty() {
        section.insert("properties".to_owned(), properties.into());
    }
    Ok(())
}

fn flatten_property(name: String, value: Value, origin: &str, into: &mut Dict) -> Result<(), ConfigError> {
    let text = match value {
        Value::Dict(_, table) => {
            return table
                .into_iter()
                .try_for_each(|(key, value)| flatten_property(format!("{name}.{key}"), value, origin, into));
        }
        Value::String(_, text) => text,
        Value::Char(_, letter) => letter.to_string(),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => number_text(number),
        found @ (Value::Array(..) | Value::Empty(..)) => {
            return Err(ConfigError::Refused {
                setting: format!("kafka.{name}"),
                found: show(&found),
                expected: "text, a number or a boolean".to_owned(),
                origin: origin.to_owned(),
            });
        }
    };
    into.insert(name, text.into());
    Ok(())
}

fn environment_layer(variables: &[(String, String)]) -> Result<Layer, ConfigError> {
    let mut settings = Dict::new();
    for (variable, text) in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        let is_of_a_script = NOT_SETTINGS.iter().any(|prefix| variable.starts_with(prefix));
        if text.is_empty() || is_of_a_script {
            continue;
        }
        let name = name.to_lowercase();
        match name.split_once("__") {
            None => drop(settings.insert(name, Value::from(text.as_str()))),
            Some((section, setting)) => {
                let entry = settings.entry(section.to_owned()).or_insert_with(|| Dict::new().into());
                if let Value::Dict(_, section_settings) = entry {
                    let (key, value) = environment_setting(section, setting, text);
                    section_settings.insert(key, value);
                }
            }
        }
    }
    Layer::new(ENVIRONMENT.to_owned(), settings)
}

/// Numbers, booleans and lists are read as such, but never in `[kafka]`, where `0123` may be a password.
fn environment_setting(section: &str, setting: &str, text: &str) -> (String, Value) {
    match (section, setting) {
        ("kafka", "brokers" | "topic_prefix" | "static_member") => (setting.to_owned(), text.into()),
        ("kafka", "replication") => (setting.to_owned(), toml_or_text(text)),
        ("kafka", property) => (property.replace('_', "."), text.into()),
        _ => (setting.to_owned(), toml_or_text(text)),
    }
}

/// `3`, `true` and `["/srv/faces"]` are what they are in TOML; anything else is text, without quotes.
fn toml_or_text(text: &str) -> Value {
    let parsed: Option<Dict> = toml::from_str(&format!("value = {text}")).ok();
    match parsed.and_then(|mut table| table.remove("value")) {
        Some(value @ (Value::Num(..) | Value::Bool(..) | Value::Array(..))) => value,
        _ => text.into(),
    }
}

fn flags_layer(flags: &serde_json::Value) -> Result<Layer, ConfigError> {
    let Some(Value::Dict(_, settings)) = given(flags) else {
        return Layer::new(FLAGS.to_owned(), Dict::new());
    };
    Layer::new(FLAGS.to_owned(), settings)
}

/// The same value without its `null`s.
fn given(json: &serde_json::Value) -> Option<Value> {
    Some(match json {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(flag) => (*flag).into(),
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(items) => items.iter().filter_map(given).collect::<Vec<_>>().into(),
        serde_json::Value::Object(fields) => {
            fields.iter().filter_map(|(key, value)| Some((key.clone(), given(value)?))).collect::<Dict>().into()
        }
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(unsigned), _) => unsigned.into(),
            (None, Some(signed)) => signed.into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Listen, LogFormat};
    use super::*;

    /// Loads from the text of a file, `NAME=value` lines and flags.
    fn load(file: &str, environment: &str, flags: serde_json::Value) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if !file.is_empty() {
            std::fs::write(folder.path().join(FILE), file).expect("write the file");
        }
        let environment = environment
            .lines()
            .map(|line| line.split_once('=').expect("NAME=value"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let sources = Sources { file: None, folder: folder.path().to_owned(), environment, flags };
        let path = folder.path().join(FILE).display().to_string();
        sources.load().map_err(|error| error.to_string().replace(&path, FILE))
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        assert_eq!(load("", "", json!(null)).unwrap(), Config::default());
        assert_eq!(
            load("", "PATH=/bin\nFACEMILL_TEST_BROKERS=x:1\nFACEMILL_STORE__URL=", json!({})).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn later_layers_win() {
        let file = "[worker]\nlanes = 2";
        let variable = "FACEMILL_WORKER__LANES=3";
        let flag = json!({"worker": {"lanes": 4}});
        let absent = json!({"worker": {"lanes": null}});
        let default = Config::default().worker.lanes;
        let table = [
            ("", "", json!({}), default),
            (file, "", json!({}), 2),
            (file, variable, json!({}), 3),
            (file, variable, absent, 3),
            (file, variable, flag.clone(), 4),
            ("", "", flag, 4),
        ];
        for (file, environment, flags, lanes) in table {
            assert_eq!(
                load(file, environment, flags.clone()).unwrap().worker.lanes,
                lanes,
                "{file} {environment} {flags}"
            );
        }
    }

    #[test]
    fn layers_merge_setting_by_setting() {
        let file = "[worker]\nlanes = 2\n[kafka]\nbrokers = 'a:1'\nsecurity.protocol = 'SSL'\n'fetch.min.bytes' = 1";
        let config =
            load(file, "FACEMILL_KAFKA__SECURITY_PROTOCOL=SASL_SSL", json!({"worker": {"threads": 2}})).unwrap();
        assert_eq!((config.worker.lanes, config.worker.threads), (2, 2));
        assert_eq!(config.kafka.brokers.as_deref(), Some("a:1"));
        let properties: Vec<_> = config.kafka.properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(properties, [("fetch.min.bytes", "1"), ("security.protocol", "SASL_SSL")]);
    }

    #[test]
    fn values_are_read_as_written() {
        let environment = "FACEMILL_KAFKA__SASL_PASSWORD=0123\nFACEMILL_KAFKA__REPLICATION=3\nFACEMILL_KAFKA__BROKERS=k1:9092,k2:9092\n\
            FACEMILL_LOCATIONS__ROOTS=[\"/srv/faces\", \"/srv/clips\"]\nFACEMILL_STORE__FORCE_PATH_STYLE=true\nFACEMILL_METRICS__LISTEN=off\n\
            FACEMILL_LOG__FORMAT=json\nFACEMILL_ONNXRUNTIME=/opt/libonnxruntime.so\nFACEMILL_STORE__URL=s3://bucket/prefix";
        let config = load("", environment, json!({})).unwrap();
        assert_eq!(config.kafka.properties["sasl.password"], "0123");
        assert_eq!((config.kafka.brokers.as_deref(), config.kafka.replication), (Some("k1:9092,k2:9092"), Some(3)));
        assert_eq!(config.locations.roots, [PathBuf::from("/srv/faces"), PathBuf::from("/srv/clips")]);
        assert!(config.store.force_path_style);
        assert_eq!(config.store.url.as_deref(), Some("s3://bucket/prefix"));
        assert_eq!((config.metrics.listen, config.log.format), (Listen::Off, LogFormat::Json));
        assert_eq!(config.onnxruntime, Some("/opt/libonnxruntime.so".into()));

        let listen = |text: &str| {
            load(&format!("[metrics]\nlisten = '{text}'"), "", json!({})).map(|config| config.metrics.listen)
        };
        assert_eq!(listen("auto"), Ok(Listen::Auto));
        assert_eq!(listen("0.0.0.0:80"), Ok(Listen::At("0.0.0.0:80".parse().unwrap())));
    }

    #[test]
    fn refusals_name_setting_value_range_and_origin() {
        let table = [
            ("[worker]\nlanes = 0", "", json!({}), "worker.lanes is 0 (expected 1..=64), given by facemill.toml"),
            ("[worker]\nlanes = -1", "", json!({}), "worker.lanes is -1 (expected 1..=64), given by facemill.toml"),
            ("[worker]\nlanes = 1.5", "", json!({}), "worker.lanes is 1.5 (expected 1..=64), given by facemill.toml"),
            (
                "",
                "FACEMILL_WORKER__LANES=many",
                json!({}),
                "worker.lanes is \"many\" (expected 1..=64), given by environment variable FACEMILL_WORKER__LANES",
            ),
            (
                "[worker]\nlanes = 2",
                "",
                json!({"worker": {"lanes": 65}}),
                "worker.lanes is 65 (expected 1..=64), given by the command line",
            ),
            (
                "[ingest]\noutstanding_chunks = 10001",
                "",
                json!({}),
                "ingest.outstanding_chunks is 10001 (expected 1..=10000), given by facemill.toml",
            ),
            (
                "[assemble]\nrepair_after_seconds = 0",
                "",
                json!({}),
                "assemble.repair_after_seconds is 0 (expected 1..=86400), given by facemill.toml",
            ),
            (
                "[store]\nurl = 'http://x'",
                "",
                json!({}),
                "store.url is \"http://x\" (expected file:///folder or s3://bucket/prefix), given by facemill.toml",
            ),
            (
                "[locations]\nroots = ['faces']",
                "",
                json!({}),
                "locations.roots is [\"faces\"] (expected a list of absolute folders, [\"/srv/faces\"]), given by facemill.toml",
            ),
            (
                "",
                "FACEMILL_LOCATIONS__ROOTS=/srv/faces",
                json!({}),
                "locations.roots is \"/srv/faces\" (expected a list of absolute folders, [\"/srv/faces\"]), \
                 given by environment variable FACEMILL_LOCATIONS__ROOTS",
            ),
            (
                "[metrics]\nlisten = 'here'",
                "",
                json!({}),
                "metrics.listen is \"here\" (expected auto, off or address:port), given by facemill.toml",
            ),
            (
                "[log]\nformat = 'xml'",
                "",
                json!({}),
                "log.format is \"xml\" (expected text or json), given by facemill.toml",
            ),
            ("worker = 3", "", json!({}), "worker is 3 (expected a section, [worker]), given by facemill.toml"),
            ("kafka = 3", "", json!({}), "kafka is 3 (expected a section, [kafka]), given by facemill.toml"),
            (
                "[kafka]\nbrokers = 'a:b'",
                "",
                json!({}),
                "kafka.brokers is \"a:b\" (expected host:port, several separated by commas), given by facemill.toml",
            ),
            (
                "[kafka]\n'ssl.ca.location' = ['a']",
                "",
                json!({}),
                "kafka.ssl.ca.location is [\"a\"] (expected text, a number or a boolean), given by facemill.toml",
            ),
        ];
        for (file, environment, flags, expected) in table {
            assert_eq!(load(file, environment, flags), Err(expected.to_owned()), "{file} {environment}");
        }
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        let table = [
            (
                "[worker]\nlane = 2",
                "",
                json!({}),
                "worker.lane is not a setting (expected one of lanes, threads, provider, grace_seconds, lane_memory_mb, \
                 chunk_seconds, frame_seconds, hardware_encoders, chunks_per_lane), given by facemill.toml",
            ),
            (
                "",
                "FACEMILL_WORKER__LANE=2",
                json!({}),
                "worker.lane is not a setting (expected one of lanes, threads, provider, grace_seconds, lane_memory_mb, \
                 chunk_seconds, frame_seconds, hardware_encoders, chunks_per_lane), given by environment variable FACEMILL_WORKER__LANE",
            ),
            (
                "",
                "FACEMILL_WORKER_LANES=2",
                json!({}),
                "worker_lanes is not a setting (expected one of kafka, store, locations, limits, ingest, worker, assemble, credentials, metrics, log, onnxruntime, scratch, models), given by environment variable FACEMILL_WORKER_LANES; two underscores stand between \
                 section and setting",
            ),
            (
                "",
                "",
                json!({"assemble": {"job": 1}}),
                "assemble.job is not a setting (expected one of jobs, repair_after_seconds, grace_seconds), given by the command line",
            ),
        ];
        for (file, environment, flags, expected) in table {
            assert_eq!(load(file, environment, flags), Err(expected.to_owned()), "{file} {environment}");
        }
    }

    #[test]
    fn files_that_cannot_be_used_say_why() {
        let syntax = load("[worker\n", "", json!({})).unwrap_err();
        assert!(
            syntax.starts_with("configuration file facemill.toml is not valid TOML: TOML parse error at line 1"),
            "{syntax}"
        );
        let missing = Sources { file: Some("/nowhere/facemill.toml".into()), ..Sources::default() }.load().unwrap_err();
        assert!(
            missing.to_string().starts_with("configuration file /nowhere/facemill.toml cannot be read"),
            "{missing}"
        );
    }

    /// In `deploy/facemill.toml` a line `#name = value` is a setting at its default, a line `# text` is prose.
    #[test]
    fn the_annotated_example_holds_every_setting_at_its_default() {
        let example = include_str!("../../deploy/facemill.toml");
        assert_eq!(
            load(example, "", json!({})).unwrap(),
            Config::default(),
            "nothing is set in the example as it stands"
        );

        let uncommented: String = example
            .lines()
            .filter_map(|line| {
                line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).or(Some(line))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let all: Dict = toml::from_str(&uncommented).unwrap();
        let names = |section: &str| -> Vec<String> {
            let Some(Value::Dict(_, settings)) = all.get(section) else { panic!("[{section}] is missing") };
            settings.keys().cloned().collect()
        };
        assert_eq!(
            names("store"),
            [
                "endpoint_url",
                "force_path_style",
                "longest_job_days",
                "patience_seconds",
                "region",
                "retention_days",
                "url"
            ]
        );
        assert_eq!(
            names("worker"),
            [
                "chunk_seconds",
                "chunks_per_lane",
                "frame_seconds",
                "grace_seconds",
                "hardware_encoders",
                "lane_memory_mb",
                "lanes",
                "provider",
                "threads"
            ]
        );
        assert_eq!(names("ingest"), ["consent", "gate", "jobs", "outstanding_chunks"]);
        assert_eq!(names("credentials"), ["certificate", "command", "key", "producer", "sign"]);
        let config = load(&uncommented, "", json!({})).unwrap();
        assert_eq!((&config.ingest, &config.assemble), (&Config::default().ingest, &Config::default().assemble));
        assert_eq!((config.metrics, config.log.format), (Config::default().metrics, LogFormat::Text));
    }
}
