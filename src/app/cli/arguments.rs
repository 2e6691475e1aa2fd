//! What can be asked for, as clap reads it.

use super::files::Files;
use super::help;
use super::server::{Format, Server};
use crate::base::duration;
use crate::model::matcher::{LabelMatcher, MatcherError};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

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
    /// Show as text or json
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
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
    /// Run each this many times, one after the other [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub repeat: Option<u32>,
    /// Measure this instrument instead: against servers on loopback that know the truth
    #[arg(long)]
    pub calibrate: bool,
    /// Through this emulated network, such as lte+handover; none for the real one
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// Repeat the chance of a run: the number that it tells as network.seed
    #[arg(long, value_name = "SEED")]
    pub network_seed: Option<u64>,
    /// List networks and where their figures come from, and run nothing
    #[arg(long, conflicts_with_all = ["names", "labels", "network", "network_seed", "format", "calibrate"])]
    pub networks: bool,
    /// Print the JSON Schema of what --format json prints, and run nothing
    #[arg(long, exclusive = true)]
    pub schema: bool,
    /// Show as text (a waterfall), json, or junit for CI
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub format: ReportFormat,
    /// Write that into a file, whole or not at all; its folder must exist
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

// === impl Matcher ===

impl Matcher {
    fn read(text: &str) -> Result<Self, MatcherError> {
        Ok(Self { text: text.to_owned(), parsed: LabelMatcher::parse(text)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Guarantees that the definition is consistent, and that no line of any help is too long for
    /// a terminal of 80 columns or had to be broken to fit.
    #[test]
    fn every_help_fits_80_columns() {
        fn walk(command: &mut clap::Command, path: &str) {
            let name = format!("{path} {}", command.get_name());
            let help = command.render_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            assert!(help.contains("Usage:"), "{name}");
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in examples.lines() {
                assert!(help.contains(line), "{name}: {line}");
            }
            for sub in command.get_subcommands_mut() {
                walk(sub, &name);
            }
        }
        Cli::command().debug_assert();
        let mut command = Cli::command().term_width(80);
        command.build();
        walk(&mut command, "");
    }
}
