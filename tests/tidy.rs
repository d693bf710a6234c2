//! The rules of DESIGN.md and STYLE.md that can be seen in the sources. Each is a function from a file to what is wrong in
//! it, and has a test of its own that shows what it catches and what it lets pass.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[path = "tidy/code.rs"]
mod code;

use code::{code_of, has_word, names_after, words};

/// Longest file, lines. STYLE.md asks for a second look at 400.
const LINES_MAX: usize = 600;
/// Modules that know nothing of each other.
const SIBLINGS: [&str; 4] = ["vision", "media", "broker", "store"];
/// Crates with one owner: what their paths begin with, and the module.
const OWNERS: [(&str, &str); 9] = [
    ("rdkafka", "broker"),
    ("rdkafka_sys", "broker"),
    ("ort", "vision"),
    ("ffmpeg_next", "media"),
    ("ffmpeg_sys_next", "media"),
    ("aws_", "store"),
    ("c2pa", "credentials"),
    ("rcgen", "credentials"),
    ("x509_parser", "credentials"),
];
/// Files and folders in which `unsafe` may stand.
const UNSAFE: [&str; 3] = ["src/media/", "src/vision/model.rs", "src/broker/embedded.rs"];
/// Files and folders that may read the environment.
const ENVIRONMENT: [&str; 4] = ["src/config.rs", "src/config/", "src/main.rs", "src/faults.rs"];
/// Files and folders that compute and do nothing else.
const PURE: [&str; 6] =
    ["src/contract.rs", "src/contract/", "src/plan.rs", "src/plan/", "src/assemble/ledger.rs", "src/broker/window.rs"];
/// Names that only code which does input or output needs.
const IO: [&str; 8] = ["fs", "tokio", "net", "File", "OpenOptions", "TcpStream", "process", "thread"];

const RULES: [fn(&Source) -> Vec<Finding>; 10] = [
    siblings_apart,
    crates_with_their_owner,
    unsafe_where_allowed,
    unsafe_with_its_reason,
    environment_in_config,
    pure_without_io,
    opens_with_why,
    one_job_long,
    nothing_unfinished,
    no_unwrap,
];

#[test]
fn sources_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "load-tests"] {
        rust_files(&root.join(folder), &mut files);
    }
    assert!(
        files.len() > 10,
        "only {} Rust files below {}: is this the repository's root?",
        files.len(),
        root.display()
    );

    let mut report = String::new();
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("read {}: {error}", file.display()));
        let path = file.strip_prefix(root).expect("files are below the root").to_str().expect("paths are UTF-8");
        for Finding { line, rule, remedy } in findings(path, &text) {
            writeln!(report, "{path}:{line}: {rule}; {remedy}").expect("a String takes everything");
            count += 1;
        }
    }
    assert!(report.is_empty(), "{count} findings:\n{report}");
}

/// Every `.rs` file below `folder`, in a fixed order, without build outputs.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("read a folder's entry").path()).collect();
    paths.sort();
    for path in paths {
        let is_output = path.file_name().is_some_and(|name| name == "target");
        if path.is_dir() && !is_output {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn findings(path: &str, text: &str) -> Vec<Finding> {
    let source = Source::new(path, text);
    RULES.iter().flat_map(|rule| rule(&source)).collect()
}

/// One breach of a rule.
#[derive(Debug)]
struct Finding {
    /// Counted from 1.
    line: usize,
    rule: String,
    remedy: &'static str,
}

/// A file as the rules see it.
struct Source<'a> {
    /// From the repository's root, `src/store/fs.rs`.
    path: &'a str,
    lines: Vec<&'a str>,
    /// The same lines with comments, strings and characters blanked.
    code: Vec<String>,
    /// Index of the first line of test code: from the first `#[cfg(test)] mod … {` on all is taken to be test code.
    tests_from: usize,
}

impl<'a> Source<'a> {
    fn new(path: &'a str, text: &'a str) -> Self {
        let code: Vec<String> = code_of(text).lines().map(str::to_owned).collect();
        let is_test_file = path.starts_with("tests/")
            || path.ends_with("/tests.rs")
            || path.ends_with("/testing.rs")
            || path.contains("/tests/");
        let tests_from = if is_test_file { 0 } else { first_test_line(&code) };
        Self { path, lines: text.lines().collect(), code, tests_from }
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || place.ends_with('/') && self.path.starts_with(place))
    }

    /// The module below `src` that this file belongs to: `store` for `src/store/fs.rs` and `src/store.rs`.
    fn module(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        below.split('/').next().map(|name| name.trim_end_matches(".rs"))
    }

    /// A finding for every line of `code` (without tests if `shipped`) of which `is_bad` says so.
    fn lines_where(
        &self,
        shipped: bool,
        is_bad: impl Fn(&str) -> bool,
        rule: impl Fn(&str) -> String,
        remedy: &'static str,
    ) -> Vec<Finding> {
        let end = if shipped { self.tests_from } else { self.code.len() };
        let bad = self.code[..end].iter().enumerate().filter(|(_, line)| is_bad(line));
        bad.map(|(index, line)| Finding { line: index + 1, rule: rule(line.trim()), remedy }).collect()
    }
}

fn first_test_line(code: &[String]) -> usize {
    let opens_tests = |index: &usize| {
        let mut rest = code[*index..].iter().map(|line| line.trim());
        let is_marked = rest.next() == Some("#[cfg(test)]");
        let item = rest.find(|line| !line.starts_with("#["));
        is_marked && item.is_some_and(|item| has_word(item, "mod") && item.ends_with(['{', '}']))
    };
    (0..code.len()).find(opens_tests).unwrap_or(code.len())
}

fn siblings_apart(source: &Source) -> Vec<Finding> {
    let Some(module) = source.module().filter(|module| SIBLINGS.contains(module)) else { return Vec::new() };
    let whole = source.code.join("\n");
    let mut found = Vec::new();
    for (at, _) in whole.match_indices("crate::") {
        let line = whole[..at].matches('\n').count() + 1;
        for name in names_after(&whole[at + "crate::".len()..]) {
            if name != module && SIBLINGS.contains(&name) {
                let rule = format!("{module} imports {name}");
                found.push(Finding { line, rule, remedy: "let the caller of both carry plain data between them" });
            }
        }
    }
    found
}

fn crates_with_their_owner(source: &Source) -> Vec<Finding> {
    let uses = |line: &str| {
        words(line).find_map(|(at, word)| {
            let after = &line[at + word.len()..];
            let is_path = after.starts_with("::") || line[..at].trim_end().ends_with("use");
            let owner = OWNERS.iter().find(|(name, _)| word == *name || name.ends_with('_') && word.starts_with(name));
            owner.filter(|(_, owner)| is_path && source.module() != Some(owner))
        })
    };
    let is_product = source.path.starts_with("src/");
    source.lines_where(
        false,
        |line| is_product && uses(line).is_some(),
        |line| uses(line).map_or_else(String::new, |(name, owner)| format!("{name} is used outside src/{owner}")),
        "add what is needed to the owner's interface",
    )
}

fn unsafe_where_allowed(source: &Source) -> Vec<Finding> {
    let is_allowed = source.is_in(&UNSAFE);
    source.lines_where(
        false,
        |line| !is_allowed && has_word(line, "unsafe"),
        |_| "unsafe outside media, vision/model.rs and broker/embedded.rs".to_owned(),
        "find a safe way, or move it to where it may stand",
    )
}

fn unsafe_with_its_reason(source: &Source) -> Vec<Finding> {
    let unsafe_lines = source.code.iter().enumerate().filter(|(_, line)| has_word(line, "unsafe"));
    let unreasoned = unsafe_lines.filter(|(index, _)| !has_reason_above(source, *index));
    unreasoned
        .map(|(index, _)| Finding {
            line: index + 1,
            rule: "unsafe without its reason".to_owned(),
            remedy: "say in a line `// SAFETY:` above it why it holds",
        })
        .collect()
}

/// Whether the line, or the comment above the statement or item that it belongs to, says `SAFETY:` (or, for an `unsafe fn`,
/// has the section `# Safety`).
fn has_reason_above(source: &Source, index: usize) -> bool {
    let says_why = |line: &str| line.contains("// SAFETY:") || line.contains("/// # Safety");
    if says_why(source.lines[index]) {
        return true;
    }
    for above in (0..index).rev() {
        let (line, code) = (source.lines[above].trim(), source.code[above].trim());
        if says_why(line) {
            return true;
        }
        let is_comment = line.starts_with("//");
        let is_attribute = code.starts_with("#[");
        let goes_on_below = !code.is_empty() && !code.ends_with([';', '{', '}']);
        if !(is_comment || is_attribute || goes_on_below) {
            return false;
        }
    }
    false
}

fn environment_in_config(source: &Source) -> Vec<Finding> {
    let may_read = source.is_in(&ENVIRONMENT) || !source.path.starts_with("src/");
    source.lines_where(
        true,
        |line| {
            !may_read
                && (line.contains("std::env")
                    || words(line).any(|(at, word)| word == "env" && line[at..].starts_with("env::")))
        },
        |_| "the environment is read outside config and main".to_owned(),
        "make it a setting in config.rs and pass the value in",
    )
}

fn pure_without_io(source: &Source) -> Vec<Finding> {
    let is_pure = source.is_in(&PURE);
    let io = |line: &str| words(line).map(|(_, word)| word).find(|word| IO.contains(word)).map(str::to_owned);
    source.lines_where(
        true,
        |line| is_pure && io(line).is_some(),
        |line| format!("{} in a file that only computes", io(line).unwrap_or_default()),
        "do the input and output in the caller",
    )
}

fn opens_with_why(source: &Source) -> Vec<Finding> {
    let first = source.lines.first().copied().unwrap_or_default();
    let includes_its_page = first.starts_with("#![doc = include_str!(");
    if first.starts_with("//!") || includes_its_page {
        return Vec::new();
    }
    vec![Finding {
        line: 1,
        rule: "a file without its reason".to_owned(),
        remedy: "open it with `//!` and why it exists",
    }]
}

fn one_job_long(source: &Source) -> Vec<Finding> {
    let count = source.lines.len();
    if count <= LINES_MAX {
        return Vec::new();
    }
    let rule = format!("{count} lines (at most {LINES_MAX})");
    vec![Finding { line: count, rule, remedy: "find the second job in it and give that a file" }]
}

fn nothing_unfinished(source: &Source) -> Vec<Finding> {
    const UNFINISHED: [&str; 5] = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore]", "#[ignore ="];
    let mark = |line: &str| UNFINISHED.into_iter().find(|mark| line.contains(mark));
    source.lines_where(
        false,
        |line| mark(line).is_some(),
        |line| format!("{} is left", mark(line).unwrap_or_default()),
        "finish it, or open an issue and return an error",
    )
}

fn no_unwrap(source: &Source) -> Vec<Finding> {
    source.lines_where(
        true,
        |line| line.contains(".unwrap()"),
        |_| "unwrap outside tests".to_owned(),
        "return an error, or `expect` with the invariant as its message",
    )
}

/// Asserts on which lines of `text`, as the file `path`, `rule` finds something.
fn check(rule: fn(&Source) -> Vec<Finding>, table: &[(&str, &str, &[usize])]) {
    for (path, text, expected) in table {
        let lines: Vec<usize> = rule(&Source::new(path, text)).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, *expected, "{path}:\n{text}");
    }
}

#[test]
fn catches_siblings_that_meet() {
    check(
        siblings_apart,
        &[
            ("src/vision/mesh.rs", "use crate::media::Decoded;", &[1]),
            ("src/store/fs.rs", "\nuse crate::{error::Kind, broker::{Claim, media}};", &[2]),
            ("src/broker.rs", "fn f() { crate::store::open() }", &[1]),
            ("src/media/join.rs", "use crate::{\n    error::Kind,\n    vision,\n};", &[1]),
            (
                "src/vision/mesh.rs",
                "use crate::vision::Face; // not crate::media\nuse crate::frame::{store, media};",
                &[],
            ),
            ("src/worker/lane.rs", "use crate::media::Decoded; use crate::vision::Face;", &[]),
        ],
    );
}

#[test]
fn catches_crates_away_from_their_owner() {
    check(
        crates_with_their_owner,
        &[
            ("src/worker/lane.rs", "use rdkafka::Message;", &[1]),
            ("src/store/s3.rs", "use ffmpeg_next as ffmpeg;", &[1]),
            ("src/cli/models.rs", "\nlet s = ort::session::Session::builder();", &[2]),
            ("src/main.rs", "aws_config::load()", &[1]),
            ("src/store/s3.rs", "use aws_sdk_s3::Client;", &[]),
            ("src/vision/model.rs", "use ort::session::Session;", &[]),
            ("src/worker/lane.rs", "// rdkafka::x\nlet ort = sort::by(); let aws_region = 1;", &[]),
        ],
    );
}

#[test]
fn catches_unsafe_in_the_wrong_place() {
    check(
        unsafe_where_allowed,
        &[
            ("src/store/fs.rs", "fn f() {\n    unsafe { x() }\n}", &[2]),
            ("src/vision/swap/warp.rs", "unsafe impl Send for X {}", &[1]),
            ("src/media/decode.rs", "unsafe { x() }", &[]),
            ("src/broker/embedded.rs", "unsafe { x() }", &[]),
            ("src/store/fs.rs", "// unsafe\n#![forbid(unsafe_code)] fn g(s: &str) { s == \"unsafe\" }", &[]),
        ],
    );
}

#[test]
fn catches_unsafe_without_a_reason() {
    check(
        unsafe_with_its_reason,
        &[
            ("src/media/a.rs", "let a = 1;\nlet b = unsafe { x() };", &[2]),
            ("src/media/a.rs", "// SAFETY: of the first\nlet a = unsafe { x() };\nlet b = unsafe { y() };", &[3]),
            ("src/media/a.rs", "// SAFETY: x is alive,\n// and nobody else has it.\nlet b = unsafe { x() };", &[]),
            ("src/media/a.rs", "// SAFETY: x is alive.\nlet b = call(\n    unsafe { x() },\n", &[]),
            ("src/media/a.rs", "// SAFETY: owned.\n#[allow(x)]\nunsafe impl Send for X {}", &[]),
            ("src/media/a.rs", "unsafe { x() } // SAFETY: x is alive.", &[]),
            ("src/media/a.rs", "/// # Safety\n/// x must live.\npub unsafe fn x() {}", &[]),
        ],
    );
}

#[test]
fn catches_the_environment_read_elsewhere() {
    check(
        environment_in_config,
        &[
            ("src/store/s3.rs", "let a = std::env::var(\"A\");", &[1]),
            ("src/vision/model.rs", "use std::env;\nenv::var(\"A\");", &[1, 2]),
            ("src/config.rs", "std::env::vars()", &[]),
            ("src/config/layers.rs", "std::env::vars()", &[]),
            (
                "src/vision/model.rs",
                "env!(\"CARGO_MANIFEST_DIR\")\n#[cfg(test)]\nmod tests {\nstd::env::var(\"A\")",
                &[],
            ),
            ("load-tests/src/main.rs", "std::env::args()", &[]),
        ],
    );
}

#[test]
fn catches_io_in_what_only_computes() {
    check(
        pure_without_io,
        &[
            ("src/plan.rs", "use std::fs;", &[1]),
            ("src/contract/job.rs", "\nuse tokio::sync::mpsc;", &[2]),
            ("src/assemble/ledger.rs", "std::net::TcpStream::connect(a)", &[1]),
            ("src/broker/window.rs", "File::open(path)", &[1]),
            ("src/broker/consumer.rs", "use std::fs;", &[]),
            ("src/plan.rs", "// std::fs\nlet offset = 1;\n#[cfg(test)]\nmod tests {\nuse std::fs;", &[]),
        ],
    );
}

#[test]
fn catches_files_that_do_not_say_why() {
    check(
        opens_with_why,
        &[
            ("src/plan.rs", "use std::ops::Range;", &[1]),
            ("src/plan.rs", "", &[1]),
            ("src/plan.rs", "\n//! Late.", &[1]),
            ("src/plan.rs", "//! Keyframes and times become spans.", &[]),
            ("src/lib.rs", "#![doc = include_str!(\"ARCHITECTURE.md\")]", &[]),
        ],
    );
}

#[test]
fn catches_long_files() {
    let allowed = "//\n".repeat(LINES_MAX);
    let long = "//\n".repeat(LINES_MAX + 1);
    check(one_job_long, &[("src/a.rs", &allowed, &[]), ("tests/a.rs", &long, &[LINES_MAX + 1])]);
}

#[test]
fn catches_what_is_unfinished() {
    check(
        nothing_unfinished,
        &[
            ("src/a.rs", "fn f() { todo!() }", &[1]),
            ("src/a.rs", "\nunimplemented!(\"later\")", &[2]),
            ("src/a.rs", "#[cfg(test)]\nmod tests {\n    #[ignore]\n    #[ignore = \"slow\"]", &[3, 4]),
            ("src/a.rs", "// todo!()\nlet a = \"dbg!(x)\";\n#[cfg(not(ignored))]", &[]),
        ],
    );
}

#[test]
fn catches_unwrap_outside_tests() {
    check(
        no_unwrap,
        &[
            ("src/a.rs", "let a = b.unwrap();", &[1]),
            (
                "src/a.rs",
                "b.unwrap_or(1); b.expect(\"b is checked above\");\n#[cfg(test)]\nmod tests { b.unwrap() }",
                &[],
            ),
            (
                "src/a.rs",
                "#[cfg(test)]\nmod testing;\nb.unwrap();\n#[cfg(test)]\n#[allow(x)]\npub(crate) mod tests {\nb.unwrap()",
                &[3],
            ),
            ("src/store/tests.rs", "b.unwrap()", &[]),
            ("tests/end_to_end.rs", "b.unwrap()", &[]),
            ("load-tests/src/main.rs", "b.unwrap()", &[1]),
        ],
    );
}
