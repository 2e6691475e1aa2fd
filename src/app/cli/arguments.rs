//! What can be asked for, as clap reads it.

use super::help;
use crate::app::reload::Source;
use crate::base::duration;
use crate::base::secret::Secret;
use crate::config::{self, Inputs, Loaded, Location, Sources};
use crate::ingest::redact;
use crate::model::matcher::LabelMatcher;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

const FILES: &str = "Files";
const DAEMON: &str = "Daemon";

/// Measures real-time back ends of mobile apps: probes, phones' telemetry, error budgets, pages.
#[derive(Debug, Parser)]
#[command(name = "radiosonde", version, about, after_help = help::ROOT, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub files: Files,
    /// Colours: auto, always or never
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true
    )]
    pub color: Color,
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless the environment says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub(super) struct Files {
    /// Settings of the process [default: radiosonde.yaml]
    #[arg(
        long,
        global = true,
        env = "RADIOSONDE_CONFIG",
        hide_env = true,
        value_name = "FILE",
        help_heading = FILES
    )]
    pub config: Option<PathBuf>,
    /// Folder of probes, read recursively [default: probes]
    #[arg(
        long,
        global = true,
        env = "RADIOSONDE_PROBES",
        hide_env = true,
        value_name = "DIR",
        help_heading = FILES
    )]
    pub probes: Option<PathBuf>,
    /// Folder of SLOs, receivers and routes [default: alerts]
    #[arg(
        long,
        global = true,
        env = "RADIOSONDE_ALERTS",
        hide_env = true,
        value_name = "DIR",
        help_heading = FILES
    )]
    pub alerts: Option<PathBuf>,
    /// Data folder, of one daemon at a time [default: data]
    #[arg(
        long,
        global = true,
        env = "RADIOSONDE_DATA",
        hide_env = true,
        value_name = "DIR",
        help_heading = FILES
    )]
    pub data: Option<PathBuf>,
    /// Allow listeners off loopback without tokens
    #[arg(long, global = true, help_heading = FILES)]
    pub insecure: bool,
}

/// Which daemon to ask, and how to show its answer.
#[derive(Clone, Debug, Args)]
pub(super) struct Server {
    /// Table for people, JSON for machines
    #[arg(long, global = true, value_enum, default_value_t)]
    pub format: Format,
    /// Address of the daemon's page and API
    #[arg(
        long,
        global = true,
        env = "RADIOSONDE_SERVER",
        hide_env = true,
        default_value = "http://127.0.0.1:7663",
        value_parser = read_address,
        value_name = "URL",
        help_heading = DAEMON
    )]
    pub server: Url,
    /// One of the daemon's `api: tokens`; better in RADIOSONDE_TOKEN
    #[arg(
        long,
        global = true,
        env = "RADIOSONDE_TOKEN",
        hide_env = true,
        value_parser = read_secret,
        value_name = "TOKEN",
        help_heading = DAEMON
    )]
    pub token: Option<Secret>,
}

/// How to show an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines; carries `"version": 1`.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon until SIGTERM or Ctrl-C; SIGHUP reads the files anew
    #[command(after_help = help::RUN)]
    Run,
    /// Run everything on this machine: a sample back end, phones, the daemon, and faults
    #[command(after_help = help::DEMO)]
    Demo {
        /// End after this long, for example 3m
        #[arg(long = "for", value_parser = duration::parse, value_name = "DURATION")]
        lasts: Option<Duration>,
    },
    /// Validate all files: every mistake with its line and a hint
    #[command(after_help = help::CHECK)]
    Check(CheckArguments),
    /// Run probes now and show how each went
    #[command(after_help = help::PROBE)]
    Probe(ProbeArguments),
    /// Show budgets of the running daemon
    #[command(after_help = help::SLO)]
    Slo {
        #[command(flatten)]
        server: Server,
    },
    /// Show what fires, or test a receiver
    #[command(after_help = help::ALERTS)]
    Alerts {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: Option<AlertsAction>,
    },
    /// List, add or expire silences
    #[command(after_help = help::SILENCE)]
    Silence {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: Option<SilenceAction>,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct CheckArguments {
    /// Table for people, JSON for machines
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Print a complete commented radiosonde.yaml instead
    #[arg(long, conflicts_with = "format")]
    pub example: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ProbeArguments {
    /// Names, where * and ? stand for any text; all probes unless given
    pub names: Vec<String>,
    /// Only probes with this label; can be repeated, and all must hold
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = LabelMatcher::parse)]
    pub labels: Vec<LabelMatcher>,
    /// Run each this many times, one after the other
    #[arg(
        long,
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        value_name = "N"
    )]
    pub repeat: u32,
    /// Waterfall for people, JSON for machines, JUnit for CI
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
    /// Write it into a file, whole or not at all; its folder must exist
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How to show runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// For machines; carries `"version": 1`.
    Json,
    /// For CI: a test suite a probe, a test case a step.
    Junit,
}

#[derive(Debug, Subcommand)]
pub(super) enum AlertsAction {
    /// Send a test message to a receiver and say what it answered
    #[command(after_help = help::ALERTS_TEST)]
    Test {
        /// The receiver's name
        receiver: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SilenceAction {
    /// Show silences in force (the same as no command)
    List,
    /// Hold notifications of matching alerts back
    #[command(after_help = help::SILENCE_ADD)]
    Add(AddSilence),
    /// End silences now
    Expire {
        /// Ids, as `list` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct AddSilence {
    /// Which alerts: severity=page, 'alertname=~chat.*'
    #[arg(required = true, value_name = "MATCHER", value_parser = Matcher::read)]
    pub matchers: Vec<Matcher>,
    /// For how long, for example 2h
    #[arg(
        long = "for",
        default_value = "1h",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub lasts: Duration,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub comment: String,
    /// Who [default: $USER]
    #[arg(long, env = "USER", hide_env = true, default_value = "cli", hide_default_value = true)]
    pub by: String,
}

/// A matcher and the text it was read from: what is sent is what was written.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub text: String,
    pub parsed: LabelMatcher,
}

// === impl Color ===

impl Color {
    /// Makes this the choice for everything that is printed.
    pub(super) fn write_global(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

// === impl Files ===

impl Files {
    /// Where a daemon reads its configuration again.
    pub(super) fn source(self) -> Source {
        let folder = |given: &Option<PathBuf>, default: &str| {
            given.clone().unwrap_or_else(|| PathBuf::from(default))
        };
        let folders = vec![folder(&self.probes, "probes"), folder(&self.alerts, "alerts")];
        Source { load: Arc::new(move || self.load()), folders }
    }

    /// Reads and checks the whole configuration.
    pub(super) fn load(&self) -> Loaded {
        let location = |given: &Option<PathBuf>, default: &str| Location {
            path: given.clone().unwrap_or_else(|| PathBuf::from(default)),
            explicit: given.is_some(),
        };
        let mut loaded = config::load(&Inputs {
            sources: Sources::Disk {
                config: location(&self.config, "radiosonde.yaml"),
                probes: location(&self.probes, "probes"),
                alerts: location(&self.alerts, "alerts"),
            },
            env: &|name| std::env::var(name).ok(),
            attribute_is_kept: &|key| redact::is_kept(key, &[]),
            insecure: self.insecure,
        });
        if let (Some(settings), Some(data)) = (&mut loaded.settings, &self.data) {
            settings.daemon.data.clone_from(data);
        }
        loaded
    }
}

// === impl Matcher ===

impl Matcher {
    fn read(text: &str) -> Result<Self, crate::model::matcher::MatcherError> {
        Ok(Self { text: text.to_owned(), parsed: LabelMatcher::parse(text)? })
    }
}

/// `http://127.0.0.1:7663`, or the same without the scheme.
fn read_address(text: &str) -> Result<Url, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "write an address such as http://127.0.0.1:7663".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "the form that clap wants")]
fn read_secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Guarantees that the definition is consistent, and that no line of any help is too long for
    /// a terminal of 80 columns.
    #[test]
    fn every_help_fits_80_columns() {
        fn walk(command: &mut clap::Command, path: &str) {
            let name = format!("{path} {}", command.get_name());
            let help = command.render_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            assert!(help.contains("Usage:"), "{name}");
            for sub in command.get_subcommands_mut() {
                walk(sub, &name);
            }
        }
        Cli::command().debug_assert();
        let mut command = Cli::command().term_width(80);
        command.build();
        walk(&mut command, "");
    }

    /// Guarantees that an address may be written without its scheme, and that others are refused.
    #[test]
    fn addresses_may_do_without_a_scheme() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(read_address(text).ok().as_ref().map(Url::as_str), expected, "{text}");
        };
        check("127.0.0.1:7663", Some("http://127.0.0.1:7663/"));
        check("https://sonde.example.com/base/", Some("https://sonde.example.com/base/"));
        check("ftp://a", None);
        check("", None);
    }
}
