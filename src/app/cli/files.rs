//! Where the configuration is, and the reading of it.

use crate::app::reload::Source;
use crate::config::{self, Inputs, Loaded, Location, Sources};
use crate::ingest::redact;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

const FILES: &str = "Files";

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
