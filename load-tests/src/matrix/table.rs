//! The table, and below it what it has no room for: why a difference is meant to be there, and what the others are.

use std::path::PathBuf;

use super::WAYS;
use super::compare::Finding;
use super::look::Look;
use super::recipes::Difference;

/// What became of a case.
pub struct Row {
    pub name: &'static str,
    pub extension: &'static str,
    /// Codec and pixel format.
    codec: String,
    pixels: String,
    pub cells: Vec<Cell>,
    /// Declared differences that are not there.
    pub stale: Vec<String>,
    /// The output that browsers play, the frames it should have, and its codec.
    pub output: Option<(PathBuf, usize, String)>,
    pub browser: Option<Played>,
}

/// What a browser did with an output.
pub enum Played {
    /// All frames, to the end.
    Whole,
    /// It has no decoder for this.
    Unknown,
    Wrong(String),
}

/// One way of a case.
pub struct Cell {
    way: usize,
    expected: Vec<(Finding, &'static str)>,
    unexpected: Vec<Finding>,
}

impl Cell {
    pub fn new<'a>(way: usize, findings: Vec<Finding>, declared: impl Fn(&Finding) -> Option<&'a Difference>) -> Self {
        let mut cell = Self { way, expected: Vec::new(), unexpected: Vec::new() };
        for finding in findings {
            match declared(&finding).map(|difference| difference.why) {
                Some(why) => cell.expected.push((finding, why)),
                None => cell.unexpected.push(finding),
            }
        }
        cell
    }

    pub fn has(&self, what: &str) -> bool {
        let all = self.expected.iter().map(|(finding, _)| finding).chain(&self.unexpected);
        all.into_iter().any(|finding| finding.what == what)
    }

    fn shown(&self) -> String {
        let expected = self.expected.iter().map(|(finding, _)| finding.what.to_owned());
        let unexpected = self.unexpected.iter().map(|finding| format!("**{}**", finding.what));
        let words: Vec<String> = unexpected.chain(expected).collect();
        if words.is_empty() { "ok".to_owned() } else { words.join(", ") }
    }
}

impl Row {
    pub fn new(name: &'static str, extension: &'static str, source: &Look) -> Self {
        Self {
            name,
            extension,
            codec: source.codec.clone(),
            pixels: source.picture.pixels.clone(),
            cells: Vec::new(),
            stale: Vec::new(),
            output: None,
            browser: None,
        }
    }

    fn is_clean(&self) -> bool {
        let is_played = !matches!(self.browser, Some(Played::Wrong(_)));
        is_played && self.stale.is_empty() && self.cells.iter().all(|cell| cell.unexpected.is_empty())
    }

    fn cell(&self, way: usize) -> String {
        self.cells.iter().find(|cell| cell.way == way).map_or(String::new(), Cell::shown)
    }
}

/// A row in a few words.
pub fn line(row: &Row) -> String {
    let cells: Vec<String> = row.cells.iter().map(Cell::shown).collect();
    let what = if row.is_clean() { "" } else { "NOT AS DECLARED: " };
    format!("{what}{} to {}: {}", row.name, row.extension, cells.join(" | "))
}

/// Prints everything; true if nothing differs that no recipe declares.
pub fn print(rows: &[Row], with_browser: bool) -> bool {
    let mut columns = vec!["clip", "codec, pixels", "to"];
    columns.extend(WAYS.iter().map(|way| way.name));
    columns.extend(with_browser.then_some("browser"));
    println!("| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
    for row in rows {
        let mut cells = vec![row.name.to_owned(), format!("{}, {}", row.codec, row.pixels), row.extension.to_owned()];
        cells.extend((0..WAYS.len()).map(|way| row.cell(way)));
        if with_browser {
            cells.push(match &row.browser {
                None => String::new(),
                Some(Played::Whole) => "ok".to_owned(),
                Some(Played::Unknown) => "no decoder".to_owned(),
                Some(Played::Wrong(_)) => "**differs**".to_owned(),
            });
        }
        println!("| {} |", cells.join(" | "));
    }
    let mut reasons: Vec<String> = Vec::new();
    for row in rows {
        let told = row.cells.iter().flat_map(|cell| &cell.expected);
        for (finding, why) in told {
            let reason = format!("- {} to {}, {}: {why}", row.name, row.extension, finding.what);
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    if !reasons.is_empty() {
        println!("\nDiffers, and is meant to:\n\n{}", reasons.join("\n"));
    }
    let troubles: Vec<String> = rows.iter().flat_map(troubles).collect();
    if !troubles.is_empty() {
        println!("\nNot as declared:\n\n{}", troubles.join("\n"));
    }
    rows.iter().all(Row::is_clean)
}

fn troubles(row: &Row) -> Vec<String> {
    let place = format!("- {} to {}", row.name, row.extension);
    let mut troubles: Vec<String> = Vec::new();
    for cell in &row.cells {
        let way = WAYS[cell.way].name;
        troubles.extend(cell.unexpected.iter().map(|finding| format!("{place} ({way}): {finding}")));
    }
    troubles.extend(row.stale.iter().map(|stale| format!("{place}: {stale}")));
    if let Some(Played::Wrong(what)) = &row.browser {
        troubles.push(format!("{place} (browser): {what}"));
    }
    troubles
}
