//! What a start opens: listeners, history, the hashes of items, the journal's and the front door's
//! configuration.

use super::checkpoint_loop::{Checkpoints, HASHES};
use super::daemon::{Addresses, StartError};
use super::rebuild::Rebuild;
use super::reload;
use crate::alert::Core;
use crate::api::blackbox::Blackbox;
use crate::base::clock::UnixNanos;
use crate::config::{Daemon, Settings};
use crate::ingest::{self, IdentityKey, Token};
use crate::journal;
use crate::model::series::{History, Tier};
use crate::probe::{Context, OnDemand};
use crate::store::data_dir::{DataDir, DataDirError};
use crate::store::dedupe_files;
use crate::store::history::{Config as HistoryConfig, SledHistory};
use crate::telemetry::Telemetry;
use crate::wire::state::CheckpointState;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Binds the three listeners: the page's, OTLP's two, and where they are.
///
/// # Errors
/// When an address is taken or not ours.
pub async fn listeners(
    daemon: &Daemon,
) -> Result<(TcpListener, ingest::Listeners, Addresses), StartError> {
    let page = bind(daemon.listen, "the page and API", "listen").await?;
    let grpc = bind(daemon.otlp_grpc, "OTLP/gRPC", "otlp.grpc").await?;
    let http = bind(daemon.otlp_http, "OTLP/HTTP", "otlp.http").await?;
    let addresses = Addresses {
        page: page.local_addr()?,
        otlp_grpc: grpc.local_addr()?,
        otlp_http: http.local_addr()?,
    };
    Ok((page, ingest::Listeners { grpc, http }, addresses))
}

async fn bind(address: SocketAddr, what: &str, key: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        format!(
            "{what} cannot listen on {address}: {error}; is another radiosonde or collector \
             running? `{key}` in radiosonde.yaml names another address"
        )
        .into()
    })
}

/// The place for probes on request.
///
/// # Errors
/// When the machine refuses a thread.
pub fn blackbox(settings: &Settings, context: &Context) -> Result<Arc<Blackbox>, StartError> {
    let daemon = &settings.daemon;
    let is_open_here = daemon.listen.ip().is_loopback() && daemon.api_tokens.is_empty();
    let place = OnDemand::start(context.clone())?;
    Ok(Arc::new(Blackbox::new(Arc::clone(&settings.modules), place, is_open_here)))
}

/// History as a start finds it.
pub struct Opened {
    /// The engine.
    pub history: Arc<dyn History>,
    /// What is to be made anew in it from the journal.
    pub rebuild: Arc<Rebuild>,
    /// Where checkpoints go.
    pub checkpoints: Checkpoints,
}

/// Opens history at the checkpoint's epoch. What cannot be opened is set aside.
///
/// # Errors
/// When the folder cannot be used at all.
pub fn history(
    settings: &Settings,
    data: &Arc<DataDir>,
    checkpoint: Option<&CheckpointState>,
    telemetry: &Telemetry,
) -> Result<Opened, StartError> {
    let (epoch, at) =
        checkpoint.map(|state| (state.epoch, UnixNanos(state.at_unix_nano))).unwrap_or_default();
    telemetry.checkpoint_last_success_timestamp_seconds.set(at.as_seconds());
    let limits = settings.daemon.history;
    let keep =
        [(Tier::TenSeconds, limits.ten_seconds_keep), (Tier::OneMinute, limits.one_minute_keep)];
    let config = HistoryConfig {
        dir: data.join("history"),
        cache_bytes_per_window: 4 << 20,
        keep,
        max_disk_bytes: Some(limits.max_disk_bytes),
    };
    let (history, report) = SledHistory::open(config, telemetry)?;
    for set_aside in &report.set_aside {
        tracing::error!(from = %set_aside.from.display(), to = %set_aside.to.display(), reason = set_aside.reason, "history was set aside");
    }
    history.recover(epoch)?;
    let sled = Arc::new(history);
    let history: Arc<dyn History> = sled.clone();
    Ok(Opened {
        checkpoints: Checkpoints::new(Arc::clone(data), Arc::clone(&history), keep),
        rebuild: Arc::new(Rebuild::new(sled, report.set_aside, at, epoch)),
        history,
    })
}

/// Puts back the hashes of items that were folded before the checkpoint. What is missing shortens the
/// horizon within which duplicates are recognised, with a message; it does not keep from starting.
///
/// # Errors
/// When the folder cannot be read.
pub fn restore_hashes(
    core: &mut Core,
    data: &DataDir,
    checkpoint: Option<&CheckpointState>,
    now: UnixNanos,
) -> Result<(), DataDirError> {
    let epoch = checkpoint.map_or(0, |state| state.epoch);
    let state = checkpoint.and_then(|state| state.dedupe.clone()).unwrap_or_default();
    let (dedupe, hashes) = (&mut core.folder.dedupe, data.join(HASHES));
    let mut readable = true;
    let piece = |piece: &[u8]| readable &= dedupe.restore(piece, &state);
    let whole = dedupe_files::recover(data.files(), &hashes, epoch, piece)?;
    let known = checkpoint.is_none_or(|checkpoint| checkpoint.dedupe.is_some());
    if !dedupe.restored(&state, now, whole && readable && known) {
        tracing::warn!(folder = %hashes.display(), "hashes of items are missing; duplicates of what came before may count twice");
    }
    Ok(())
}

/// How the journal is kept.
#[must_use]
pub fn journal_config(settings: &Settings, data: &DataDir) -> journal::Config {
    let limits = settings.daemon.journal;
    journal::Config {
        segment_bytes: limits.segment_bytes,
        bulk_keep: limits.bulk_keep,
        bulk_keep_bytes: limits.bulk_keep_bytes,
        control_keep: limits.control_keep,
        ..journal::Config::new(data.join("journal"))
    }
}

/// How the front door admits and redacts.
///
/// # Errors
/// When the key that hashes identities can be neither read nor made.
pub fn ingest_config(
    settings: &Settings,
    addresses: Addresses,
    data: &DataDir,
) -> Result<ingest::Config, StartError> {
    let tokens = settings.daemon.otlp_tokens.iter();
    Ok(ingest::Config {
        grpc_listen: addresses.otlp_grpc,
        http_listen: addresses.otlp_http,
        tokens: tokens
            .map(|(name, secret)| Token { name: name.clone(), secret: secret.clone() })
            .collect(),
        extra_attributes: reload::kept_attributes(settings),
        ..ingest::Config::new(IdentityKey::new(data.identity_key()?))
    })
}
