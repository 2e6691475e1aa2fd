//! Names that say nothing: what belongs everywhere is found nowhere.

use crate::lexemes::Lexeme;
use crate::source::{Source, tree};
use crate::{Violation, assert_finds, assert_none};

/// Words that no module, file or type has in its name.
const EMPTY_WORDS: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "utilities"];

/// Keywords before the name of a module or type.
const DECLARING: [&str; 6] = ["mod", "struct", "enum", "trait", "type", "union"];

/// `FooManager` and `foo_manager` are foo and manager.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in name.chars() {
        if (character == '_' || character.is_uppercase())
            && words.last().is_some_and(|w| !w.is_empty())
        {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| character != '_') {
            word.extend(character.to_lowercase());
        }
    }
    words
}

fn empty_word(name: &str) -> Option<String> {
    words(name).into_iter().find(|word| EMPTY_WORDS.contains(&word.as_str()))
}

fn empty_names(source: &Source) -> Vec<Violation> {
    let names = source.lexemes.windows(2).filter_map(|pair| match pair {
        [keyword, name] if DECLARING.contains(&keyword.text.as_str()) && name.is_word => Some(name),
        _ => None,
    });
    let what = |word: &str| format!("`{word}` says nothing: name it after what it does");
    let wrong = |name: &Lexeme| {
        empty_word(&name.text).map(|word| Violation::new(&source.path, name.line, what(&word)))
    };
    let file = source.path.trim_end_matches(".rs").split(['/', '-']).find_map(empty_word);
    let file = file.map(|word| Violation::new(&source.path, 1, what(&word)));
    names.filter_map(wrong).chain(file).collect()
}

/// Guarantees that modules, files and types are named after what they do.
#[test]
fn names_say_what_things_do() {
    let good = "struct Scheduler;\nmod queue {}\nfn helper() {}";
    assert_finds(empty_names, "src/a.rs", "struct A;\nstruct ProbeManager;", good);
    assert_finds(empty_names, "src/a.rs", "mod common {}", good);
    let file = empty_names(&Source::parse("src/http_utils.rs", "struct A;"));
    assert_eq!(file.len(), 1);
    assert_none(tree().iter().flat_map(empty_names).collect());
}
