//! The repository around the sources: what lies where, what is said in it, and which crates it needs.

use crate::source::{Source, files_under, library, relative, root};
use crate::{Violation, assert_none};
use std::collections::BTreeSet;
use std::fs;

/// What may lie at the top, besides files that begin with a dot.
const TOP: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "alerts",
    "benches",
    "dashboards",
    "probes",
    "src",
];

/// Words of work in progress and of the place where it was done; put together here, so that this
/// file does not hold them.
const UNWANTED: [(&str, &str); 5] = [
    (concat!("TO", "DO"), "do it, or describe it under known gaps"),
    (concat!("FIX", "ME"), "fix it, or describe it under known gaps"),
    (concat!("XX", "X"), "say what is meant"),
    (concat!("/wo", "rk/"), "no path of one machine"),
    (concat!("helper ", "session"), "the repository speaks of the product alone"),
];

/// Crates that stand in `Cargo.toml` without being named in the sources, and why.
const UNNAMED: [(&str, &str); 0] = [];

fn manifest() -> String {
    fs::read_to_string(root().join("Cargo.toml")).expect("the manifest")
}

/// The keys of a section of the manifest, with their lines.
fn keys<'a>(manifest: &'a str, section: &str) -> Vec<(&'a str, usize)> {
    let numbered = manifest.lines().zip(1..);
    let inside = numbered.skip_while(|(line, _)| *line != section).skip(1);
    let inside = inside.take_while(|(line, _)| !line.starts_with('['));
    inside.filter_map(|(line, at)| Some((line.split_once(" = ")?.0, at))).collect()
}

fn unwanted(file: &str, text: &str) -> Vec<Violation> {
    let on_line = |(line, at): (&str, usize)| -> Vec<Violation> {
        let words = UNWANTED.iter().filter(|(word, _)| line.contains(word));
        words.map(|(word, what)| Violation::new(file, at, format!("`{word}`: {what}"))).collect()
    };
    text.lines().zip(1..).flat_map(on_line).collect()
}

/// Crates that no source names: `Cargo.toml` says `name`, sources say `name::…`.
fn unnamed<'a>(manifest: &str, sources: impl Iterator<Item = &'a Source>) -> Vec<Violation> {
    let named: BTreeSet<String> = sources
        .flat_map(|source| source.paths.iter().filter(|path| path.is_foreign))
        .filter_map(|path| path.written.first().cloned())
        .collect();
    let crates = keys(manifest, "[dependencies]");
    let missing = crates.into_iter().filter(|(name, _)| {
        !named.contains(&name.replace('-', "_")) && !UNNAMED.iter().any(|(known, _)| known == name)
    });
    let what = "no source names this crate: remove it, or say in tests/tidy why it is here";
    missing
        .map(|(name, at)| Violation::new("Cargo.toml", at, format!("`{name}`: {what}")))
        .collect()
}

/// Guarantees that nothing lies about: every entry of the top folder is known, or ignored by git.
#[test]
fn the_top_folder_is_tidy() {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    let ignored: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
    let entries = fs::read_dir(root()).expect("the repository");
    let names =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let strange: Vec<String> = names
        .filter(|name| !name.starts_with('.') && name != "tests")
        .filter(|name| !TOP.contains(&name.as_str()) && !ignored.contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "{strange:?}: move it into a folder, or into .gitignore");
}

/// Guarantees that no file speaks of work to be done or of the machine on which it was done.
#[test]
fn the_repository_speaks_of_the_product() {
    for (word, _) in UNWANTED {
        assert_eq!(unwanted("a", &format!("fine\n// {word} b")).len(), 1, "{word}");
    }
    let tops = TOP.iter().chain(&["tests", ".ci"]).map(|top| root().join(top));
    let files = tops.flat_map(|top| if top.is_dir() { files_under(&top) } else { vec![top] });
    let texts = files.filter_map(|path| Some((relative(&path), fs::read_to_string(path).ok()?)));
    assert_none(texts.flat_map(|(file, text)| unwanted(&file, &text)).collect());
}

/// Guarantees that every crate is used, and so read, licensed and compiled for something.
#[test]
fn every_crate_is_used() {
    let sample =
        "[dependencies]\na-b = \"1\"\nhttp = \"1\"\nc = \"1\"\n[dev-dependencies]\nd = \"1\"";
    let text = "use a_b::X;\nuse super::http;\nfn f() { http::g(); ::c::h(); }";
    let source = Source::parse("src/a.rs", text);
    let found: Vec<usize> = unnamed(sample, [source].iter()).iter().map(|v| v.line).collect();
    assert_eq!(found, [3], "http is a module there");
    assert_none(unnamed(&manifest(), library()));
}

/// Guarantees that the compiler asks for the documentation of everything public.
#[test]
fn missing_documentation_is_a_warning() {
    let manifest = manifest();
    let lints = keys(&manifest, "[lints.rust]");
    for lint in ["missing_docs", "unsafe_code"] {
        assert!(lints.iter().any(|(name, _)| *name == lint), "{lint} belongs into [lints.rust]");
    }
}
