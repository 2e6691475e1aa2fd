//! The paths that code names: `use` declarations taken apart, and every `a::b::c`, with the names
//! that a file imports put in full.

use crate::lexemes::{Lexeme, behind_group, reads};
use std::collections::HashMap;

/// A path somewhere in code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathUse {
    /// As it stands there, a `use` declaration in full.
    pub written: Vec<String>,
    /// With what its first name was imported as.
    pub resolved: Vec<String>,
    /// Where.
    pub line: usize,
    /// How deep the module around it lies: 0 is the root of the crate.
    pub depth: usize,
    /// Whether its first name is that of a crate: neither imported nor a module beside it.
    pub is_foreign: bool,
    /// Whether it calls a macro.
    pub is_macro: bool,
}

/// A name that a declaration makes known.
struct Import {
    path: Vec<String>,
    name: String,
    line: usize,
}

/// All paths of a source without its doc comments.
pub fn paths(code: &[Lexeme], depth: usize) -> Vec<PathUse> {
    let mut reader = Reader { code, depth, inline: Vec::new(), found: Vec::new() };
    reader.read();
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    for declared in code.windows(3).filter(|words| reads(words, 0, &["mod"])) {
        let name = declared.get(1).map(|name| name.text.clone()).unwrap_or_default();
        known.insert(name.clone(), vec!["self".to_owned(), name]);
    }
    for (path, import) in &reader.found {
        if let Some(name) = import {
            known.insert(name.clone(), path.written.clone());
        }
    }
    let resolve = |(mut path, import): (PathUse, Option<String>)| {
        let head = path.written.first().cloned().unwrap_or_default();
        let meaning = known.get(&head).filter(|_| import.is_none() && path.is_foreign);
        path.is_foreign &= meaning.is_none() && !is_relative(&head);
        path.resolved = match meaning {
            Some(meaning) => meaning.iter().chain(path.written.iter().skip(1)).cloned().collect(),
            None => path.written.clone(),
        };
        // A single word that means nothing else is a variable or a keyword.
        (import.is_some() || path.resolved.len() > 1 || path.is_macro).then_some(path)
    };
    reader.found.into_iter().filter_map(resolve).collect()
}

fn is_relative(head: &str) -> bool {
    matches!(head, "crate" | "self" | "super" | "Self")
}

struct Reader<'a> {
    code: &'a [Lexeme],
    depth: usize,
    /// Modules written out within the file: where they end.
    inline: Vec<usize>,
    /// Paths, and the name under which a declaration makes one known.
    found: Vec<(PathUse, Option<String>)>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        while let Some(lexeme) = self.code.get(at) {
            while self.inline.last().is_some_and(|end| *end <= at) {
                let _ = self.inline.pop();
                self.depth -= 1;
            }
            let is_word = lexeme.is_word;
            if is_word && lexeme.text == "mod" && reads(self.code, at + 2, &["{"]) {
                self.inline.push(behind_group(self.code, at + 2));
                self.depth += 1;
                at += 3;
            } else if let Some((imports, behind)) = self.declaration(at) {
                for Import { path, name, line } in imports {
                    self.add(path, line, Some(name), false);
                }
                at = behind;
            } else if is_word {
                at = self.path(at);
            } else {
                at += 1;
            }
        }
    }

    fn add(&mut self, written: Vec<String>, line: usize, import: Option<String>, is_macro: bool) {
        let (resolved, depth) = (Vec::new(), self.depth);
        let path = PathUse { written, resolved, line, depth, is_foreign: true, is_macro };
        self.found.push((path, import));
    }

    /// A path that begins here. What follows a dot is a method, what follows `>::` has no beginning.
    fn path(&mut self, at: usize) -> usize {
        let before = |n: usize| at.checked_sub(n).and_then(|at| self.code.get(at));
        let follows = |n: usize, sign: &str| before(n).is_some_and(|lexeme| lexeme.text == sign);
        let is_part = follows(1, ".") || follows(1, "::") && (follows(2, ">") || follows(2, "$"));
        let mut end = at + 1;
        let mut written: Vec<String> =
            self.code.get(at).map(|first| first.text.clone()).into_iter().collect();
        while reads(self.code, end, &["::"])
            && let Some(next) = self.code.get(end + 1).filter(|next| next.is_word)
        {
            written.push(next.text.clone());
            end += 2;
        }
        let is_macro = reads(self.code, end, &["!"]) && !reads(self.code, end + 1, &["="]);
        if !is_part && let Some(line) = self.code.get(at).map(|first| first.line) {
            self.add(written, line, None, is_macro);
        }
        end
    }

    /// `use a::{b, c as d};` and the index behind it.
    fn declaration(&self, at: usize) -> Option<(Vec<Import>, usize)> {
        if !reads(self.code, at, &["use"]) || reads(self.code, at + 1, &["<"]) {
            return None;
        }
        let mut imports = Vec::new();
        let start = at + 1 + usize::from(reads(self.code, at + 1, &["::"]));
        let behind = self.tree(start, &[], &mut imports)?;
        reads(self.code, behind, &[";"]).then_some((imports, behind + 1))
    }

    fn tree(&self, mut at: usize, prefix: &[String], imports: &mut Vec<Import>) -> Option<usize> {
        let mut path = prefix.to_vec();
        loop {
            let lexeme = self.code.get(at)?;
            match lexeme.text.as_str() {
                "{" => {
                    let end = behind_group(self.code, at);
                    at += 1;
                    while at < end - 1 {
                        at = self.tree(at, &path, imports)?;
                        at += usize::from(reads(self.code, at, &[","]));
                    }
                    return Some(end);
                }
                "*" => {
                    imports.push(Import { path, name: "*".to_owned(), line: lexeme.line });
                    return Some(at + 1);
                }
                _ if !lexeme.is_word => return None,
                "self" if !prefix.is_empty() && path.len() == prefix.len() => {}
                name => path.push(name.to_owned()),
            }
            at += 1;
            if reads(self.code, at, &["::"]) {
                at += 1;
                continue;
            }
            let mut name = path.last().cloned().unwrap_or_default();
            if reads(self.code, at, &["as"]) {
                name = self.code.get(at + 1)?.text.clone();
                at += 2;
            }
            imports.push(Import { path, name, line: lexeme.line });
            return Some(at);
        }
    }
}

/// Guarantees that nested declarations, aliases, absolute paths and modules written out are read.
#[test]
fn paths_are_read_in_full() {
    let text = "
        use crate::{a, b::{self, c as d}};
        mod e { fn f() { d::now(); super::g::h(); x.a(); ::http::j!(); Vec::<u8>::k(); } }
    ";
    let source = crate::source::Source::parse("src/m.rs", text);
    let found: Vec<String> = source.paths.iter().map(|path| path.resolved.join("::")).collect();
    for expected in ["crate::a", "crate::b", "crate::b::c", "crate::b::c::now", "super::g::h"] {
        assert!(found.iter().any(|path| path == expected), "{expected} in {found:?}");
    }
    let made = source.paths.iter().find(|path| path.is_macro).expect("a macro");
    assert!(made.is_foreign && made.written == ["http", "j"] && made.depth == 2);
    assert!(!found.iter().any(|path| path == "k" || path == "x::a"), "{found:?}");
}
