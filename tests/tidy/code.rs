//! Just enough of Rust's grammar to look at sources: what is code, what is a name, what a `use` names.

/// Whether a line of code has this identifier or keyword.
pub fn has_word(line: &str, wanted: &str) -> bool {
    words(line).any(|(_, word)| word == wanted)
}

/// Identifiers and keywords of a line of code, with their byte positions.
pub fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let starts = line.char_indices().filter(move |(at, letter)| is_part(*letter) && !line[..*at].ends_with(is_part));
    starts.map(move |(at, _)| (at, line[at..].split(|letter| !is_part(letter)).next().unwrap_or_default()))
}

/// The text with every comment, string and character literal turned into spaces; lines stay where they are.
pub fn code_of(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let end = literal_end(&letters, at);
        if end == at {
            code.push(letters[at]);
            at += 1;
        } else {
            code.extend(letters[at..end].iter().map(|letter| if *letter == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that starts at `at` ends; `at` if none does.
fn literal_end(letters: &[char], at: usize) -> usize {
    let next = |offset: usize| letters.get(at + offset).copied().unwrap_or('\n');
    let follows_a_word = at > 0 && (letters[at - 1].is_alphanumeric() || letters[at - 1] == '_');
    match letters[at] {
        '/' if next(1) == '/' => (at..letters.len()).find(|i| letters[*i] == '\n').unwrap_or(letters.len()),
        '/' if next(1) == '*' => block_comment_end(letters, at),
        '"' => quoted_end(letters, at, '"'),
        'r' if !follows_a_word || letters[at - 1] == 'b' => raw_string_end(letters, at),
        // A lifetime has no second quote: 'a, but '\n' and 'a' are characters.
        '\'' if next(1) == '\\' || next(2) == '\'' => quoted_end(letters, at, '\''),
        _ => at,
    }
}

fn block_comment_end(letters: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i + 1 < letters.len() {
        match (letters[i], letters[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    letters.len()
}

fn quoted_end(letters: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < letters.len() {
        match letters[i] {
            '\\' => i += 2,
            letter if letter == quote => return i + 1,
            _ => i += 1,
        }
    }
    letters.len()
}

fn raw_string_end(letters: &[char], at: usize) -> usize {
    let hashes = letters[at + 1..].iter().take_while(|letter| **letter == '#').count();
    if letters.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let is_end =
        |i: &usize| letters[*i] == '"' && letters[i + 1..].iter().take(hashes).filter(|l| **l == '#').count() == hashes;
    (at + 2 + hashes..letters.len()).find(is_end).map_or(letters.len(), |i| i + 1 + hashes)
}

/// The first names of a path or of a group of paths: `a::b` → a; `{a::b, c::{d, e}, f}` → a, c, f.
pub fn names_after(path: &str) -> Vec<&str> {
    let Some(group) = path.trim_start().strip_prefix('{') else {
        return words(path).next().map(|(_, word)| word).into_iter().collect();
    };
    let mut depth = 0;
    let mut names = Vec::new();
    let mut start = 0;
    for (at, letter) in group.char_indices() {
        let ends_a_path = depth == 0 && matches!(letter, ',' | '}');
        if ends_a_path {
            names.extend(words(&group[start..at]).next().map(|(_, word)| word));
            start = at + 1;
        }
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

#[test]
fn blanks_what_is_not_code() {
    let table = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"x("a\"b")"#, "x(      )"),
        ("f(r#\"a\"b\"#)", "f(        )"),
        ("bar\"a\"", "bar   "),
        (
            "fn f<'a>(x: &'a str, c: char) { c == 'x' || c == '\\'' }",
            "fn f<'a>(x: &'a str, c: char) { c ==     || c ==      }",
        ),
        ("\"two\nlines\" end", "    \n       end"),
    ];
    for (text, expected) in table {
        assert_eq!(code_of(text), expected, "{text}");
    }
}
