//! The floors: a module imports only from lower ones. The table in `src/ARCHITECTURE.md` says which
//! stands where; it names exactly the folders that exist.

use crate::paths::PathUse;
use crate::source::{Source, library, root};
use crate::{Violation, assert_finds, assert_none};
use std::collections::BTreeMap;
use std::fs;

const MAP: &str = "src/ARCHITECTURE.md";

/// Floors by module.
type Floors = BTreeMap<String, u32>;

/// Reads the rows `| 5 | `probe` | … |`.
fn floors(map: &str) -> Floors {
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let floor = cells.next()?.parse().ok()?;
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.trim_end_matches('/').to_owned(), floor))
    };
    map.lines().filter_map(row).collect()
}

fn map() -> String {
    fs::read_to_string(root().join(MAP)).expect("the architecture is described")
}

/// The module of `src` to which a path leads: `crate::base::clock` and, from the root, `super::base`.
fn target(path: &PathUse) -> Option<&str> {
    let head = path.written.first()?;
    let at = match head.as_str() {
        "crate" | "radiosonde" => 1,
        "super" => {
            let ups = path.written.iter().take_while(|part| *part == "super").count();
            if ups < path.depth {
                return None;
            }
            ups
        }
        _ => return None,
    };
    path.written.get(at).map(String::as_str)
}

fn imports(source: &Source, floors: &Floors) -> Vec<Violation> {
    let own = source.top();
    // The binary stands on top of everything.
    let floor = if own == "main.rs" { Some(&u32::MAX) } else { floors.get(own) };
    let complaint = |path: &PathUse| {
        let to = target(path)?;
        if to == own || to == "*" && own == "lib.rs" {
            return None;
        }
        let unknown = |name: &str| format!("`{name}` has no floor: name it in the table of {MAP}");
        let Some(floor) = floor else { return Some(unknown(own)) };
        let Some(below) = floors.get(to) else { return Some(unknown(to)) };
        (below >= floor).then(|| {
            format!(
                "`{own}` (floor {floor}) must not know `{to}` (floor {below}): move what both need to \
                 a lower floor, or let `app` bring them together"
            )
        })
    };
    let wrong = source.paths.iter().filter_map(|path| Some((path.line, complaint(path)?)));
    wrong.map(|(line, what)| Violation::new(&source.path, line, what)).collect()
}

/// Guarantees that modules know only lower floors, tests included.
#[test]
fn modules_import_from_lower_floors_only() {
    let sample = floors(
        "| 0 | `base` | x |\n| 4 | `journal` | x |\n| 4 | `store/` | x |\n| 9 | `api` | x |",
    );
    let rule = |source: &Source| imports(source, &sample);
    let good = "use crate::base::clock::Clock;\nfn f() { crate::store::g(); super::h(); }";
    let upward = "use crate::{base,\n api::x};";
    assert_finds(rule, "src/store/a.rs", upward, good);
    assert_finds(rule, "src/store/a.rs", "fn f() { crate::journal::g(); }", good);
    assert_finds(rule, "src/store/mod.rs", "fn f() { super::api::g(); }", "fn f() { self::g(); }");
    assert_finds(rule, "src/store/a.rs", "mod b {\n use super::super::super::api; }", good);
    assert_finds(rule, "src/store/a.rs", "m! { crate::api::x }", "m! { crate::base::x }");
    assert_finds(rule, "src/base/a.rs", "use crate::unknown;", "use crate::base::a;");
    assert_finds(rule, "src/main.rs", "use radiosonde::unknown;", "use radiosonde::api;");

    let floors = floors(&map());
    assert_none(library().flat_map(|source| imports(source, &floors)).collect());
}

/// Guarantees that the table names exactly the folders that exist, lowest first, and that the
/// library declares them in the same order.
#[test]
fn the_code_map_is_true() {
    let map = map();
    let floors = floors(&map);
    let entries = fs::read_dir(root().join("src")).expect("the sources");
    let entries = entries.map(|entry| entry.expect("a readable folder"));
    let mut folders: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let named: Vec<&String> = floors.keys().collect();
    assert_eq!(named, folders.iter().collect::<Vec<_>>(), "{MAP} and the folders of src differ");

    let library = fs::read_to_string(root().join("src/lib.rs")).expect("the library");
    let declared =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let order: Vec<Option<&u32>> = declared.map(|name| floors.get(name)).collect();
    assert_eq!(order.len(), folders.len(), "src/lib.rs declares every folder");
    assert!(order.is_sorted(), "src/lib.rs declares modules from the lowest floor up");
}
