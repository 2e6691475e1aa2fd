//! What a start opens: listeners, history, the journal's and the front door's configuration.

use super::checkpoint_loop::Checkpoints;
use super::daemon::{Addresses, StartError};
use crate::config::Settings;
use crate::ingest::{self, IdentityKey, Token};
use crate::journal;
use crate::model::series::{History, Tier};
use crate::store::data_dir::DataDir;
use crate::store::history::{Config as HistoryConfig, SledHistory};
use crate::telemetry::Telemetry;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Binds a listener.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("{what} cannot listen on {address}: {error}; is another radiosonde or collector running?").into()
    })
}

/// Opens history at the checkpoint's epoch. One that cannot be opened is set aside.
///
/// # Errors
/// When the folder cannot be used at all.
pub fn history(
    settings: &Settings,
    data: &Arc<DataDir>,
    epoch: u64,
    telemetry: &Telemetry,
) -> Result<(Checkpoints, Arc<dyn History>), StartError> {
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
    let history: Arc<dyn History> = Arc::new(history);
    Ok((Checkpoints { data: Arc::clone(data), history: Arc::clone(&history), keep }, history))
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
    let phones = &settings.phones;
    let mut kept = phones.keep_attributes.clone();
    kept.push(phones.region_attribute.clone());
    Ok(ingest::Config {
        grpc_listen: addresses.otlp_grpc,
        http_listen: addresses.otlp_http,
        tokens: tokens
            .map(|(name, secret)| Token { name: name.clone(), secret: secret.clone() })
            .collect(),
        extra_attributes: kept,
        ..ingest::Config::new(IdentityKey::new(data.identity_key()?))
    })
}
