//! What is done in few places only: asking the time, touching files, making threads, printing. Each
//! table says where, and why there.

use crate::lexemes::reads;
use crate::source::{Source, tree};
use crate::{Violation, assert_none};

/// By what something forbidden is known.
enum Sign {
    /// A path with these parts in it, whatever it is imported as: `thread::spawn`.
    Path(&'static str),
    /// A macro of that name.
    Macro(&'static str),
    /// A method of that name.
    Method(&'static str),
    /// A keyword.
    Word(&'static str),
}
use Sign::{Macro, Method, Path, Word};

/// A rule about what is not done.
struct Ban {
    signs: &'static [Sign],
    /// What to do instead.
    instead: &'static str,
    /// Where the rule holds: these folders and files, or everything when there are none.
    within: &'static [&'static str],
    /// Whether it holds for tests, too.
    tests_too: bool,
    /// Folders and files that do it nevertheless, and the reason.
    allowed: &'static [(&'static str, &'static str)],
    /// Texts that break the rule.
    bad: &'static [&'static str],
}

const NOTHING: Ban =
    Ban { signs: &[], instead: "", within: &[], tests_too: false, allowed: &[], bad: &[] };

const UNBOUNDED: Ban = Ban {
    signs: &[
        Path("unbounded_channel"),
        Path("std::sync::mpsc::channel"),
        Path("channel::unbounded"),
        Path("mpsc::unbounded"),
    ],
    instead: "every queue has a bound: `tokio::sync::mpsc::channel(n)` or `sync_channel(n)`",
    tests_too: true,
    bad: &[
        "use tokio::sync::mpsc::unbounded_channel;",
        "use std::sync::mpsc; fn f() { mpsc::channel(); }",
        "fn f() { futures::channel::mpsc::unbounded(); }",
        "fn f() { crossbeam::channel::unbounded(); }",
    ],
    ..NOTHING
};

const TIME: Ban = Ban {
    signs: &[Path("Instant::now"), Path("SystemTime::now"), Path("Utc::now"), Path("Local::now")],
    instead: "take `now` as an argument, or ask a `base::clock::Clock`",
    tests_too: true,
    allowed: &[
        ("src/base/clock.rs", "the one place that asks"),
        ("tests/", "a client of the daemon has a clock of its own"),
        ("benches/", "measures"),
    ],
    bad: &[
        "fn f() { std::time::Instant::now(); }",
        "use std::time::SystemTime as Time; fn f() { Time::now(); }",
        "fn f() { chrono::Utc::now(); }",
    ],
    ..NOTHING
};

const FILES: Ban = Ban {
    signs: &[Path("std::fs"), Path("tokio::fs"), Path("File::open"), Path("File::create")],
    instead: "only journal, store and config touch files",
    allowed: &[
        ("src/journal/", "the lanes"),
        ("src/store/", "history and checkpoints"),
        ("src/config/", "reads what the user wrote"),
        ("src/app/cli/out_file.rs", "a report that the user asked for"),
        ("src/telemetry/process.rs", "the kernel's files about this process"),
        ("tests/", "read the repository"),
        ("benches/", "keep their data somewhere"),
    ],
    bad: &[
        "use std::{fs, io};",
        "fn f() { tokio::fs::read(\"a\"); }",
        "use std::fs::File; fn f() { File::open(\"a\"); }",
    ],
    ..NOTHING
};

const EXIT: Ban = Ban {
    signs: &[Path("process::exit"), Path("process::abort")],
    instead: "return an `ExitCode` from `main`: nothing that must be dropped is skipped",
    tests_too: true,
    bad: &["use std::process; fn f() { process::exit(1); }"],
    ..NOTHING
};

const PRINTING: Ban = Ban {
    signs: &[Macro("println"), Macro("eprintln"), Macro("print"), Macro("eprint")],
    instead: "log with tracing: the terminal is the command line's",
    allowed: &[("tests/", "talk to who runs them"), ("benches/", "print their figures")],
    bad: &["fn f() { println!(\"a\"); }", "fn f() { anstream::eprint!(\"a\"); }"],
    ..NOTHING
};

const UNWRAP: Ban = Ban {
    signs: &[Method("unwrap")],
    instead: "hand the error on, or `expect` with the reason why it cannot happen",
    allowed: &[("tests/", "a test may fail")],
    bad: &["fn f() { g().unwrap(); }"],
    ..NOTHING
};

const UNSAFE: Ban = Ban {
    signs: &[Word("unsafe")],
    instead: "there is no unsafe code here",
    tests_too: true,
    bad: &["fn f() { unsafe { g() } }", "unsafe impl Send for A {}"],
    ..NOTHING
};

const UNFINISHED: Ban = Ban {
    signs: &[Macro("todo"), Macro("unimplemented"), Macro("dbg")],
    instead: "finish it or leave it out",
    tests_too: true,
    bad: &["fn f() { todo!() }", "fn f() { std::dbg!(1); }"],
    ..NOTHING
};

const SERDE: Ban = Ban {
    signs: &[Path("serde"), Path("serde_json")],
    instead: "core types know no format: `wire` and `api` have types of their own",
    within: &["src/model/", "src/base/"],
    tests_too: true,
    bad: &[
        "#[derive(serde::Serialize)] struct A;",
        "use serde::Serialize;\n#[derive(Serialize)] struct A;",
    ],
    ..NOTHING
};

const MODEL: Ban = Ban {
    signs: &[Word("async"), Word("await"), Path("tokio"), Path("std::io"), Path("std::net")],
    instead: "the model waits for nothing and talks to nobody",
    within: &["src/model/"],
    tests_too: true,
    bad: &["async fn f() {}", "use tokio::sync::mpsc;", "fn f() { std::net::lookup(); }"],
    ..NOTHING
};

const THREADS: Ban = Ban {
    signs: &[
        Path("thread::spawn"),
        Path("thread::scope"),
        Path("thread::Builder"),
        Path("runtime::Builder"),
        Path("Runtime::new"),
    ],
    instead: "spawn a task on the runtime that is there: threads are made in few places, so that \
              probes share none with ingestion",
    allowed: &[
        ("src/probe/scheduler.rs", "one thread keeps time, another runs probes and nothing else"),
        ("src/probe/on_demand.rs", "runs that somebody waits for disturb no scheduled one"),
        ("src/probe/reference/server.rs", "shares nothing with the runtime that is measured"),
        ("src/journal/running.rs", "a writer thread a lane, which waits for the disk"),
        ("src/app/fold_loop.rs", "the fold has a thread of its own"),
        ("src/app/cli", "the runtime of listeners and loops"),
        ("src/demo/phones/mod.rs", "simulated phones are another machine"),
        ("tests/", "run beside the daemon"),
        ("benches/", "make load"),
    ],
    bad: &[
        "use std::thread; fn f() { thread::spawn(g); }",
        "use std::thread::Builder; fn f() { Builder::new(); }",
        "fn f() { tokio::runtime::Builder::new_current_thread(); }",
    ],
    ..NOTHING
};

fn contains(path: &[String], part: &str) -> bool {
    let part: Vec<&str> = part.split("::").collect();
    path.windows(part.len()).any(|window| window.iter().zip(&part).all(|(a, b)| a == b))
}

/// Where the sign is seen, with what was seen.
fn seen(sign: &Sign, source: &Source) -> Vec<(usize, String)> {
    let code = &source.lexemes;
    let at = |words: &[&str], shown: &str| -> Vec<(usize, String)> {
        let found = code.iter().enumerate().filter(|(at, _)| reads(code, *at, words));
        found.map(|(_, first)| (first.line, shown.to_owned())).collect()
    };
    let paths = source.paths.iter();
    match sign {
        Path(part) => paths
            .filter(|path| contains(&path.resolved, part))
            .map(|path| (path.line, path.resolved.join("::")))
            .collect(),
        Macro(name) => paths
            .filter(|path| path.is_macro && path.written.last().is_some_and(|last| last == name))
            .map(|path| (path.line, format!("{name}!")))
            .collect(),
        Method(name) => at(&[".", name, "("], &format!(".{name}()")),
        Word(word) => at(&[word], word),
    }
}

impl Ban {
    fn holds_in(&self, path: &str) -> bool {
        self.within.is_empty() || self.within.iter().any(|place| path.starts_with(place))
    }

    /// Everything that breaks the rule, allowed or not.
    fn broken(&self, source: &Source) -> Vec<Violation> {
        if !self.holds_in(&source.path) {
            return Vec::new();
        }
        let seen = self.signs.iter().flat_map(|sign| seen(sign, source));
        let counts = seen.filter(|(line, _)| self.tests_too || !source.is_test(*line));
        let what = |seen: &str| format!("`{seen}`: {}", self.instead);
        counts.map(|(line, seen)| Violation::new(&source.path, line, what(&seen))).collect()
    }

    fn allows(&self, path: &str) -> bool {
        self.allowed.iter().any(|(place, _)| path.starts_with(place))
    }

    /// Holds the tree to the rule, after seeing that the rule finds what breaks it. A place that is
    /// allowed but does not need it any more is wrong as well.
    #[track_caller]
    fn hold(&self) {
        let home = self.within.first().copied().unwrap_or("src/query/");
        for bad in self.bad {
            let here = |text: &str| self.broken(&Source::parse(&format!("{home}a.rs"), text));
            assert!(!here(bad).is_empty(), "this is not found: {bad}");
            if !self.tests_too {
                let test = format!("#[cfg(test)] mod tests {{ {bad} }}");
                assert_eq!(here(&test), [], "tests may do this");
            }
        }
        let broken: Vec<Violation> = tree().iter().flat_map(|source| self.broken(source)).collect();
        let idle = self.allowed.iter().filter(|(place, _)| {
            place.starts_with("src/") && !broken.iter().any(|found| found.file.starts_with(place))
        });
        let idle = idle.map(|(place, reason)| {
            let what =
                format!("this is allowed here ({reason}) but not done: take it off the list");
            Violation::new(place, 1, what)
        });
        let not_allowed = broken.iter().filter(|found| !self.allows(&found.file)).cloned();
        assert_none(not_allowed.chain(idle).collect());
    }
}

/// Guarantees that no queue grows without bound.
#[test]
fn every_queue_has_a_bound() {
    UNBOUNDED.hold();
}

/// Guarantees that one place asks the time.
#[test]
fn only_the_clock_asks_the_time() {
    TIME.hold();
}

/// Guarantees that few modules touch files.
#[test]
fn few_modules_touch_files() {
    FILES.hold();
}

/// Guarantees that the process ends by returning from `main`.
#[test]
fn nobody_exits_but_main() {
    EXIT.hold();
}

/// Guarantees that the daemon does not write to the terminal.
#[test]
fn only_the_command_line_prints() {
    PRINTING.hold();
}

/// Guarantees that no error of production is unwrapped.
#[test]
fn nothing_is_unwrapped() {
    UNWRAP.hold();
}

/// Guarantees that there is no unsafe code.
#[test]
fn nothing_is_unsafe() {
    UNSAFE.hold();
}

/// Guarantees that nothing is left for later.
#[test]
fn nothing_is_unfinished() {
    UNFINISHED.hold();
}

/// Guarantees that core types know no format.
#[test]
fn core_types_derive_no_serde() {
    SERDE.hold();
}

/// Guarantees that the model does no I/O.
#[test]
fn the_model_does_no_io() {
    MODEL.hold();
}

/// Guarantees that all threads are known: the probe runtime shares none with ingestion.
#[test]
fn threads_are_made_in_few_places() {
    THREADS.hold();
}
