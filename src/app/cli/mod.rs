//! The command line: what was asked for is done, and shown to people and to machines.
//!
//! `arguments` says what can be asked for and `help` how; then a file a command: `run`,
//! `check`, `probe`, `slo`, `alerts`, `silence`. Beside them what several share: words to
//! the terminal (`terminal`, `palette`, `table`), the daemon's API (`server`, `client`),
//! `files` and mistakes in them (`problems`), and the process itself (`process`).
//!
//! Promises: what was asked for goes to standard output and everything else to standard error; exit
//! codes are those of `exit`; nothing is said by colour alone.

mod alerts;
mod arguments;
mod check;
mod client;
mod demo_hint;
mod files;
mod help;
mod out_file;
mod palette;
mod probe;
mod problems;
mod process;
mod run;
mod server;
mod silence;
mod slo;
mod table;
mod terminal;

pub use process::{block_on, end_on_signal};
pub use terminal::complain;

use arguments::{AlertsAction, Cli, Command};
use clap::Parser;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// What an exit code says.
mod exit {
    /// A run failed, an alert fires, or what was tried did not succeed.
    pub(super) const FAILED: u8 = 1;
    /// The command line or a file is wrong.
    pub(super) const INVALID: u8 = 2;
    /// No daemon answers.
    pub(super) const UNREACHABLE: u8 = 3;
    /// Ctrl-C, as shells have it: 128 + SIGINT.
    pub(super) const INTERRUPTED: u8 = 130;
}

/// Parses the arguments and does what they say. The demo is handed in, because only `main` may know
/// that world: how to run it, and where its back end listens.
pub fn main(demo: impl FnOnce(Option<Duration>) -> ExitCode, servers: [SocketAddr; 2]) -> ExitCode {
    let Cli { files, color, command } = Cli::parse();
    color.write_global();
    // A second installation would fail, and only tests make one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    match command {
        Command::Run => run::run(files, servers),
        Command::Demo { lasts } => demo(lasts),
        Command::Check(wanted) => check::check(&files, &wanted),
        Command::Probe(wanted) => probe::probe(&files, &wanted),
        Command::Slo { server } => block_on(slo::slo(&files, &server)),
        Command::Alerts { server, action: None } => block_on(alerts::list(&files, &server)),
        Command::Alerts { server, action: Some(AlertsAction::Test { receiver }) } => {
            block_on(alerts::test(&files, &server, &receiver))
        }
        Command::Silence { server, action } => block_on(silence::silence(&files, &server, action)),
    }
}
