//! The files of the tree, read once.

use crate::attributes::attributes;
use crate::lexemes::{Lexeme, behind_group, lexemes, reads};
use crate::paths::{PathUse, paths};
use crate::sizes::{Function, functions};
use proc_macro2::TokenStream;
use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A Rust source.
#[derive(Clone, Debug)]
pub struct Source {
    /// From the root of the repository: `src/probe/sse.rs`.
    pub path: String,
    /// The text.
    pub text: String,
    /// Everything but white space and plain comments.
    pub lexemes: Vec<Lexeme>,
    /// Every path that the code names, `use` declarations included.
    pub paths: Vec<PathUse>,
    /// Every function with a body.
    pub functions: Vec<Function>,
    /// Lines that hold more than comments.
    pub code_lines: BTreeSet<usize>,
    /// Whether only tests use the file.
    is_test: bool,
    /// Lines of items that only tests use.
    test_lines: Vec<RangeInclusive<usize>>,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All sources under `src`, `tests` and `benches`.
pub fn tree() -> &'static [Source] {
    static TREE: LazyLock<Vec<Source>> = LazyLock::new(read_tree);
    &TREE
}

/// The sources under `src`.
pub fn library() -> impl Iterator<Item = &'static Source> {
    tree().iter().filter(|source| source.path.starts_with("src/"))
}

/// Every file below a folder, from the root of the repository.
pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// A path from the root of the repository, with slashes.
pub fn relative(path: &Path) -> String {
    let relative = path.strip_prefix(root()).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

fn read_tree() -> Vec<Source> {
    let paths = ["src", "tests", "benches"].iter().flat_map(|top| files_under(&root().join(top)));
    let rust = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a readable file");
        Source::parse(&relative(&path), &text)
    };
    let mut sources: Vec<Source> = rust.map(read).collect();
    let tests: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs");
        source.is_test |= tests
            .iter()
            .any(|module| stem == module || source.path.starts_with(&format!("{module}/")));
    }
    sources
}

impl Source {
    /// Reads a text as the source at `path`.
    pub fn parse(path: &str, text: &str) -> Self {
        let tokens: TokenStream =
            text.parse().unwrap_or_else(|error| unreachable!("{path} is no Rust: {error}"));
        let syntax = syn::parse2(tokens.clone())
            .unwrap_or_else(|error| unreachable!("{path} is no Rust: {error}"));
        let lexemes = lexemes(tokens, text);
        let code_lines = code_lines(&lexemes, text);
        let code: Vec<Lexeme> = lexemes.iter().filter(|lexeme| !lexeme.is_doc).cloned().collect();
        Self {
            paths: paths(&code, depth_of(path)),
            functions: functions(&syntax, &code_lines),
            is_test: !path.starts_with("src/")
                || reads(&code, 0, &["#", "!", "[", "cfg", "(", "test", ")"]),
            test_lines: test_lines(&lexemes),
            path: path.to_owned(),
            text: text.to_owned(),
            lexemes,
            code_lines,
        }
    }

    /// Whether a line is of use to tests only.
    pub fn is_test(&self, line: usize) -> bool {
        self.is_test || self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// The folder of `src` or the file in it to which this belongs: `probe`, `main.rs`.
    pub fn top(&self) -> &str {
        let mut parts = self.path.split('/').skip(1);
        parts.next().unwrap_or_default()
    }

    /// Modules in files of their own that only tests use, as `src/probe/tests`.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "mod" | "lib" | "main")) => folder,
            _ => stem,
        };
        let words = self
            .lexemes
            .windows(3)
            .filter(|words| reads(words, 0, &["mod"]) && reads(words, 2, &[";"]));
        let names = words.filter(|words| words.first().is_some_and(|word| self.is_test(word.line)));
        names.filter_map(|words| Some(format!("{folder}/{}", words.get(1)?.text))).collect()
    }
}

/// How deep the module lies that a file of `src` is: `src/probe/sse.rs` is `probe::sse`, so 2.
fn depth_of(path: &str) -> usize {
    let parts = path.trim_end_matches(".rs").split('/').skip(1);
    parts.filter(|part| !matches!(*part, "mod" | "lib" | "main")).count()
}

fn code_lines(lexemes: &[Lexeme], text: &str) -> BTreeSet<usize> {
    let blank: BTreeSet<usize> =
        text.lines().zip(1..).filter(|(line, _)| line.trim().is_empty()).map(|(_, n)| n).collect();
    let code = lexemes.iter().filter(|lexeme| !lexeme.is_doc);
    code.flat_map(|lexeme| lexeme.line..=lexeme.last_line).filter(|n| !blank.contains(n)).collect()
}

/// Items behind `#[cfg(test)]` or `#[test]`, to their end.
fn test_lines(lexemes: &[Lexeme]) -> Vec<RangeInclusive<usize>> {
    let marks = attributes(lexemes).into_iter().filter(|attribute| {
        let is_condition = attribute.is("cfg") && attribute.has("test") && !attribute.has("not");
        is_condition || attribute.is_test()
    });
    let range = |from: usize, mut at: usize| {
        let first = lexemes.get(from)?.line;
        while let Some(lexeme) = lexemes.get(at) {
            match lexeme.text.as_str() {
                ";" => return Some(first..=lexeme.line),
                "{" => {
                    let end = behind_group(lexemes, at) - 1;
                    return Some(first..=lexemes.get(end)?.line);
                }
                "(" | "[" => at = behind_group(lexemes, at),
                _ => at += 1,
            }
        }
        None
    };
    marks.filter_map(|mark| range(mark.from, mark.behind)).collect()
}
