//! `radiosonde run`: the daemon, and words at its start.

use super::demo_hint::demo_hint;
use super::exit::FAILED;
use super::files::Files;
use super::palette::{DIM, Mark, STRONG, WARNING, paint};
use super::problems;
use super::process::{block_on, end_on_signal};
use super::terminal::{complain, count, is_watched, say, width, wrap};
use crate::app::daemon::{self, Addresses};
use crate::base::clock::Clock;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::config::{Problem, Settings};
use crate::telemetry::logs::{self, LogFormat};
use std::net::SocketAddr;
use std::process::ExitCode;

/// Runs the daemon until a signal ends it. `servers` are where the demo's back
/// end would listen.
pub(super) fn run(files: Files, servers: [SocketAddr; 2]) -> ExitCode {
    let loaded = files.load();
    let Some(settings) = loaded.settings.clone() else { return problems::report(&loaded) };
    logs::init(settings.daemon.log_format, &settings.daemon.log_level);
    let watched = is_watched() && settings.daemon.log_format == LogFormat::Text;
    if watched {
        problems::warn(&loaded);
    } else {
        loaded.warnings.iter().for_each(log_warning);
    }
    block_on(async move {
        let shutdown = Shutdown::new();
        drop(tokio::spawn(end_on_signal(shutdown.clone())));
        if let Some(words) = demo_hint(&settings.probes, servers).await {
            warn_of_demo(&words, watched);
        }
        let words = banner(&settings);
        let source = files.source();
        let outcome = daemon::run(settings, source, Clock::system(), shutdown, |addresses| {
            announce(addresses, &words, watched);
        });
        match outcome.await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&Chain(&*error).to_string(), FAILED),
        }
    })
}

fn log_warning(warning: &Problem) {
    let Problem { file, line, message, hint, .. } = warning;
    tracing::warn!(
        file = %file.display(), line, problem = message, hint,
        "something in the configuration is probably not meant"
    );
}

fn warn_of_demo(words: &str, watched: bool) {
    if watched {
        let lines = wrap(words, usize::from(width().unwrap_or(80)).saturating_sub(2));
        say(&format!("{} {}\n", paint(WARNING, Mark::Warning.sign()), lines.join("\n  ")));
    } else {
        tracing::warn!(hint = words, "the probes are the demo's");
    }
}

fn announce(addresses: Addresses, words: &str, watched: bool) {
    let Addresses { page, otlp_http, otlp_grpc } = addresses;
    if !watched {
        tracing::info!(page = %format!("http://{page}"), %otlp_http, %otlp_grpc, "radiosonde runs");
        return;
    }
    let line = |name: &str, address: SocketAddr| {
        format!("  {} http://{address}\n", paint(DIM, &format!("{name:<10}")))
    };
    say(&format!(
        "\n{words}\n{}{}{}{}\n\n",
        line("page", page),
        line("OTLP/HTTP", otlp_http),
        line("OTLP/gRPC", otlp_grpc),
        paint(DIM, "  Ctrl-C ends it; SIGHUP or POST /-/reload reads the files anew"),
    ));
}

/// What runs.
fn banner(settings: &Settings) -> String {
    let name = paint(STRONG, concat!("radiosonde ", env!("CARGO_PKG_VERSION")));
    format!(
        "{name} runs with {}, {} and {}; data in {}",
        count(settings.probes.len(), "probe", "probes"),
        count(settings.slos.len(), "SLO", "SLOs"),
        count(settings.receivers.len(), "receiver", "receivers"),
        settings.daemon.data.display(),
    )
}
