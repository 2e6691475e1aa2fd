//! The command line.

use super::daemon;
use super::reload::Source;
use crate::api::json::run_json;
use crate::base::clock::Clock;
use crate::base::duration;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::config::{self, Inputs, Loaded, Location, Sources};
use crate::ingest::redact;
use crate::model::probe::ProbeRun;
use crate::probe::{Context, SlotStart, run_once};
use crate::telemetry::{Telemetry, logs};
use clap::{Args, Parser, Subcommand, ValueEnum};
use comfy_table::Table;
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const FAILED: u8 = 1;
const INVALID: u8 = 2;
const UNREACHABLE: u8 = 3;

/// Measures real-time back ends of mobile apps: probes, phones' telemetry, error budgets, pages.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 fine; 1 a run failed or an alert fires; 2 usage or invalid files; 3 the daemon cannot be reached."
)]
pub struct Cli {
    #[command(flatten)]
    files: Files,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Args)]
struct Files {
    /// Settings of the process.
    #[arg(long, global = true, env = "RADIOSONDE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of probes, read recursively.
    #[arg(long, global = true, env = "RADIOSONDE_PROBES", value_name = "DIR")]
    probes: Option<PathBuf>,
    /// Folder of SLOs, receivers and routes.
    #[arg(long, global = true, env = "RADIOSONDE_ALERTS", value_name = "DIR")]
    alerts: Option<PathBuf>,
    /// Data folder; one daemon at a time.
    #[arg(long, global = true, env = "RADIOSONDE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Listeners off loopback without tokens.
    #[arg(long, global = true)]
    insecure: bool,
}

#[derive(Clone, Debug, Args)]
struct Server {
    /// The daemon's address.
    #[arg(
        long,
        env = "RADIOSONDE_SERVER",
        default_value = "http://127.0.0.1:7663",
        value_name = "URL"
    )]
    server: String,
    /// Table for people, JSON for machines.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon until SIGTERM or Ctrl-C; SIGHUP reads the configuration anew.
    Run,
    /// Runs everything on this machine with nothing else installed: a sample back end, phones, the
    /// daemon, and faults by a script.
    Demo {
        /// Ends by itself after this long, for example 3m.
        #[arg(long = "for", value_parser = duration::parse, value_name = "DURATION")]
        lasts: Option<Duration>,
    },
    /// Validates all files and prints every problem with file, line, column and a hint.
    Check {
        /// Prints a complete commented radiosonde.yaml instead.
        #[arg(long)]
        example: bool,
    },
    /// Runs probes now and prints how each went.
    Probe {
        /// Names; all probes when none is given.
        names: Vec<String>,
        /// Runs each this many times.
        #[arg(long, default_value_t = 1)]
        repeat: u32,
        /// Waterfall for people, JSON for machines.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Shows budgets of the running daemon.
    Slo(Server),
    /// Shows alerts of the running daemon; exit code 1 when one fires.
    Alerts {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        action: Option<AlertsAction>,
    },
    /// Silences alerts of the running daemon.
    Silence {
        #[command(flatten)]
        server: Server,
        /// Matchers: severity=page, alertname=~"chat.*".
        #[arg(required = true)]
        matchers: Vec<String>,
        /// How long, for example 2h.
        #[arg(long = "for", default_value = "1h", value_name = "DURATION")]
        lasts: String,
        /// Why.
        #[arg(long)]
        comment: String,
        /// Who.
        #[arg(long, env = "USER", default_value = "cli")]
        by: String,
    },
}

#[derive(Debug, Subcommand)]
enum AlertsAction {
    /// Sends a test message to a receiver and prints its answer.
    Test {
        /// The receiver.
        receiver: String,
    },
}

impl Files {
    /// Where a daemon reads its configuration again.
    fn source(self) -> Source {
        let folder = |given: &Option<PathBuf>, default: &str| {
            given.clone().unwrap_or_else(|| PathBuf::from(default))
        };
        let folders = vec![folder(&self.probes, "probes"), folder(&self.alerts, "alerts")];
        Source { load: Arc::new(move || self.load()), folders }
    }

    fn load(&self) -> Loaded {
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

/// Parses the arguments and does what they say. `demo` is handed in, because only `main` may know
/// the demo world.
pub fn main(demo: impl FnOnce(Option<Duration>) -> ExitCode) -> ExitCode {
    let cli = Cli::parse();
    // A second installation would fail, and only tests make one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    match cli.command {
        Command::Run => run(cli.files),
        Command::Demo { lasts } => demo(lasts),
        Command::Check { example: true } => print(config::example()),
        Command::Check { example: false } => check(&cli.files),
        Command::Probe { names, repeat, format } => probe(&cli.files, &names, repeat, format),
        Command::Slo(server) => block_on(slo(server)),
        Command::Alerts { server, action: None } => block_on(alerts(server)),
        Command::Alerts { server, action: Some(AlertsAction::Test { receiver }) } => {
            block_on(act(server, &format!("/api/receivers/{receiver}/test"), Value::Null))
        }
        Command::Silence { server, matchers, lasts, comment, by } => {
            let body = serde_json::json!({
                "matchers": matchers, "duration": lasts, "comment": comment, "created_by": by,
            });
            block_on(act(server, "/api/silences", body))
        }
    }
}

/// A runtime for the daemon; failures to make one are printed.
pub fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => complain(&format!("no async runtime: {error}"), FAILED),
    }
}

fn run(files: Files) -> ExitCode {
    let loaded = files.load();
    let Some(settings) = loaded.settings.clone() else { return report(&loaded) };
    logs::init(settings.daemon.log_format, &settings.daemon.log_level);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    block_on(async move {
        let shutdown = Shutdown::new();
        drop(tokio::spawn(end_on_signal(shutdown.clone())));
        let source = files.source();
        let outcome = daemon::run(settings, source, Clock::system(), shutdown, |addresses| {
            tracing::info!(page = %format!("http://{}", addresses.page), otlp_http = %addresses.otlp_http, otlp_grpc = %addresses.otlp_grpc, "radiosonde runs");
        });
        match outcome.await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&Chain(&*error).to_string(), FAILED),
        }
    })
}

/// Begins the shutdown at SIGTERM or Ctrl-C.
pub async fn end_on_signal(shutdown: Shutdown) {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
        () = shutdown.begun() => {}
    }
    shutdown.begin();
}

fn check(files: &Files) -> ExitCode {
    let loaded = files.load();
    match &loaded.settings {
        Some(settings) => {
            for warning in &loaded.warnings {
                let _ = complain(&format!("warning: {warning}"), 0);
            }
            print(&format!(
                "{} probes and {} SLOs are fine\n",
                settings.probes.len(),
                settings.slos.len()
            ))
        }
        None => report(&loaded),
    }
}

fn report(loaded: &Loaded) -> ExitCode {
    for problem in &loaded.problems {
        let _ = complain(&problem.to_string(), INVALID);
    }
    complain(&format!("{} problems", loaded.problems.len()), INVALID)
}

fn probe(files: &Files, names: &[String], repeat: u32, format: Format) -> ExitCode {
    let loaded = files.load();
    let Some(settings) = &loaded.settings else { return report(&loaded) };
    if let Some(unknown) =
        names.iter().find(|name| settings.probes.iter().all(|p| p.name != **name))
    {
        return complain(&format!("there is no probe named `{unknown}`"), INVALID);
    }
    let wanted = settings.probes.iter().filter(|p| names.is_empty() || names.contains(&p.name));
    block_on(async {
        let context = Context::new(Clock::system(), Telemetry::new());
        let mut runs = Vec::new();
        for probe in wanted {
            for _ in 0..repeat {
                let run = run_once(probe, SlotStart::now(&context.clock), &context).await;
                if format == Format::Text {
                    let _ = print(&waterfall(&run));
                }
                runs.push(run);
            }
        }
        if format == Format::Json {
            let json: Vec<Value> = runs.iter().map(run_json).collect();
            let _ = print(&format!("{:#}\n", serde_json::json!({ "version": 1, "runs": json })));
        }
        if runs.iter().all(ProbeRun::succeeded) {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(FAILED)
        }
    })
}

/// A run as a waterfall: a line a phase, its bar where it lay in time.
fn waterfall(run: &ProbeRun) -> String {
    const WIDTH: u64 = 40;
    let humane = |ns: u64| duration::humane(Duration::from_nanos(ns));
    let value = run.latency_ns.map(|ns| format!("  {}", humane(ns))).unwrap_or_default();
    let mut text = format!("{}  {}{value}\n", run.probe, run.outcome.as_str());
    let scale = |ns: u64| ns.saturating_mul(WIDTH) / run.duration_ns.max(1);
    for step in &run.steps {
        text.push_str(&format!("  {} {} {}\n", step.name, step.protocol, step.target));
        for phase in &step.phases {
            let from = scale(phase.offset_ns).min(WIDTH - 1);
            let length = scale(phase.duration_ns).clamp(1, WIDTH - from);
            let bar = format!("{}{}", " ".repeat(from as usize), "=".repeat(length as usize));
            text.push_str(&format!(
                "    {:<12} |{bar:<40}| {}\n",
                phase.phase.as_str(),
                humane(phase.duration_ns)
            ));
        }
        for check in step.checks.iter().filter(|check| !check.passed) {
            text.push_str(&format!(
                "    FAILED {}: found {}\n",
                check.name,
                check.found.as_deref().unwrap_or("nothing")
            ));
        }
    }
    if let Some(failure) = &run.failure {
        text.push_str(&format!("  {}: {}\n", failure.reason.as_str(), failure.message));
    }
    text
}

async fn slo(server: Server) -> ExitCode {
    let answer = match get(&server, "/api/slos").await {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    if server.format == Format::Json {
        return print(&format!("{answer:#}\n"));
    }
    let rows = answer.get("slos").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut table = Table::new();
    let _ = table.set_header(["SLO", "objective", "window", "attained", "budget left", "met"]);
    for row in &rows {
        let percent = |name: &str| {
            row.get(name)
                .and_then(Value::as_f64)
                .map_or("-".to_owned(), |v| format!("{:.3} %", v * 100.0))
        };
        let text = |name: &str| {
            row.get(name)
                .map(|v| v.as_str().map_or(v.to_string(), str::to_owned))
                .unwrap_or_default()
        };
        let _ = table.add_row([
            text("name"),
            percent("objective"),
            text("window"),
            percent("attained"),
            percent("budget_remaining"),
            text("met"),
        ]);
    }
    print(&format!("{table}\n"))
}

async fn alerts(server: Server) -> ExitCode {
    let answer = match get(&server, "/api/alerts").await {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let rows = answer.get("alerts").and_then(Value::as_array).cloned().unwrap_or_default();
    if server.format == Format::Json {
        let _ = print(&format!("{answer:#}\n"));
    } else if rows.is_empty() {
        let _ = print("no alert fires\n");
    } else {
        let mut table = Table::new();
        let _ = table.set_header(["alert", "severity", "state", "since", "summary"]);
        for row in &rows {
            let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
            let summary = row.pointer("/annotations/summary").and_then(Value::as_str).unwrap_or("");
            let _ = table.add_row([
                text("alertname"),
                text("severity"),
                text("state"),
                text("started_at"),
                summary.to_owned(),
            ]);
        }
        let _ = print(&format!("{table}\n"));
    }
    if rows.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

async fn get(server: &Server, path: &str) -> Result<Value, ExitCode> {
    let url = format!("{}{path}", server.server.trim_end_matches('/'));
    let answer = reqwest::get(&url).await.map_err(|_| {
        complain(
            &format!("no radiosonde answers on {}; is it running? (--server URL)", server.server),
            UNREACHABLE,
        )
    })?;
    answer
        .json()
        .await
        .map_err(|error| complain(&format!("{url} did not answer in JSON: {error}"), UNREACHABLE))
}

async fn act(server: Server, path: &str, body: Value) -> ExitCode {
    let url = format!("{}{path}", server.server.trim_end_matches('/'));
    let answer = reqwest::Client::new().post(&url).json(&body).send().await;
    let Ok(answer) = answer else {
        return complain(
            &format!("no radiosonde answers on {}; is it running? (--server URL)", server.server),
            UNREACHABLE,
        );
    };
    let ok = answer.status().is_success();
    let text = answer.text().await.unwrap_or_default();
    if ok { print(&format!("{text}\n")) } else { complain(&text, FAILED) }
}

fn print(text: &str) -> ExitCode {
    // A reader that went away is no error of ours.
    drop(anstream::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

/// Prints words to standard error.
pub fn complain(words: &str, code: u8) -> ExitCode {
    drop(writeln!(anstream::stderr(), "{words}"));
    ExitCode::from(code)
}
