//! What stands above items: headers of files, what tests guarantee, and reasons.

use crate::lexemes::{Lexeme, behind_group, reads};
use crate::source::{Source, tree};
use crate::{Violation, assert_finds, assert_none};

/// `#[name(…)]`, `#![name(…)]` or a doc comment.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// What stands in the brackets.
    inside: &'a [Lexeme],
    /// Where it begins among the lexemes, and where what follows does.
    pub from: usize,
    /// The index behind it.
    pub behind: usize,
    is_inner: bool,
    line: usize,
}

/// All attributes, in order.
pub fn attributes(lexemes: &[Lexeme]) -> Vec<Attribute<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(line) = lexemes.get(at).map(|lexeme| lexeme.line) {
        let is_inner = reads(lexemes, at, &["#", "!", "["]);
        if !is_inner && !reads(lexemes, at, &["#", "["]) {
            at += 1;
            continue;
        }
        let open = at + if is_inner { 2 } else { 1 };
        let behind = behind_group(lexemes, open);
        let inside = lexemes.get(open + 1..behind - 1).unwrap_or_default();
        found.push(Attribute { inside, from: at, behind, is_inner, line });
        at = behind;
    }
    found
}

impl Attribute<'_> {
    /// Whether it has that name.
    pub fn is(&self, name: &str) -> bool {
        reads(self.inside, 0, &[name])
    }

    /// Whether that word is in it.
    pub fn has(&self, word: &str) -> bool {
        self.inside.iter().any(|lexeme| lexeme.text == word)
    }

    /// Whether it makes a function a test.
    pub fn is_test(&self) -> bool {
        let path = self.inside.iter().take_while(|lexeme| lexeme.is_word || lexeme.text == "::");
        path.last().is_some_and(|last| last.text == "test")
    }
}

fn undocumented_tests(source: &Source) -> Vec<Violation> {
    let all = attributes(&source.lexemes);
    // Attributes of one item follow one another.
    let runs = all.chunk_by(|one, next| one.behind == next.from && !one.is_inner);
    let tests = runs.filter(|run| run.iter().any(Attribute::is_test));
    let silent = tests.filter(|run| !run.iter().any(|attribute| attribute.is("doc")));
    silent
        .filter_map(|run| {
            let mark = run.iter().find(|attribute| attribute.is_test())?;
            let what = "a test says in a line above it what it guarantees: `/// Guarantees …`";
            Some(Violation::new(&source.path, mark.line, what))
        })
        .collect()
}

fn reasons(source: &Source) -> Vec<Violation> {
    let complaint = |attribute: &Attribute<'_>| {
        let is_allowed_by_condition = attribute.is("cfg_attr") && attribute.has("allow");
        if attribute.is("ignore") && !attribute.has("=") {
            Some("an ignored test says why: `#[ignore = \"needs …\"]`")
        } else if attribute.is("allow") || is_allowed_by_condition {
            Some("a lint is not allowed but expected: `#[expect(…, reason = \"…\")]`")
        } else if attribute.is("expect") && !attribute.has("reason") {
            Some("an expected lint says why: `reason = \"…\"`")
        } else {
            None
        }
    };
    let all = attributes(&source.lexemes);
    let wrong = all.iter().filter_map(|attribute| Some((attribute.line, complaint(attribute)?)));
    wrong.map(|(line, what)| Violation::new(&source.path, line, what)).collect()
}

fn header(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().map_while(|line| line.strip_prefix("//!"));
    let header: String = lines.flat_map(|line| [line.trim(), " "]).collect();
    let is_sentence = header.split_whitespace().count() > 3 && header.contains(['.', ':']);
    if is_sentence || source.text.starts_with("#![doc = include_str!(") {
        return Vec::new();
    }
    let what = "the file says at its top what it is for, in a sentence: `//! …`";
    vec![Violation::new(&source.path, 1, what)]
}

/// Guarantees that every test says what it guarantees.
#[test]
fn every_test_says_what_it_guarantees() {
    let good = "/// Guarantees a.\n#[tokio::test]\nasync fn a() {}\nfn b() {}";
    assert_finds(undocumented_tests, "src/a.rs", "/// B.\nfn b() {}\n#[test] fn a() {}", good);
    let within_macro = "x! {\n #[test] fn a() {} }";
    assert_finds(undocumented_tests, "src/a.rs", within_macro, "#[derive(A)] struct A;");
    assert_none(tree().iter().flat_map(undocumented_tests).collect());
}

/// Guarantees that what is ignored or expected has a reason, and that no lint is just allowed.
#[test]
fn exceptions_have_reasons() {
    let good = "#[expect(a, reason = \"b\")]\n#[ignore = \"needs c\"]\nfn d() {}";
    assert_finds(reasons, "src/a.rs", "fn a() {}\n#[ignore] fn b() {}", good);
    assert_finds(reasons, "src/a.rs", "#[expect(dead_code)] fn b() {}", good);
    assert_finds(reasons, "src/a.rs", "#![allow(dead_code)]", good);
    assert_finds(reasons, "src/a.rs", "#[cfg_attr(test, allow(a))] fn b() {}", good);
    assert_none(tree().iter().flat_map(reasons).collect());
}

/// Guarantees that every file says what it is for.
#[test]
fn every_file_has_a_header() {
    let good = "//! Floor 5: schedules probes.\nuse a::b;";
    assert_finds(header, "src/a.rs", "// Schedules and runs all probes.", good);
    assert_finds(header, "src/a.rs", "//! Tests.", good);
    assert_none(tree().iter().flat_map(header).collect());
}
