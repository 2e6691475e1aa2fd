//! When the configuration is to be read anew: its files changed, or somebody sent a hang-up.

use super::daemon::Running;
use super::reload;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

/// Editors write a file in several steps, and a checkout many files: a reload waits until nothing
/// has changed for this long,
const QUIET: Duration = Duration::from_millis(300);
/// but not longer than this.
const AT_MOST: Duration = Duration::from_secs(5);

/// Reloads whenever a file of the configuration changes, until shutdown begins. Without a watch
/// (the system's limit is reached), it says so and ends: the other two ways remain.
pub async fn reload_on_change(running: Arc<Running>, shutdown: Shutdown) {
    let (changed, mut changes) = mpsc::channel(1);
    let places = running.source.folders.clone();
    let mut watch = match Watch::new(places, changed) {
        Ok(watch) => watch,
        Err(error) => return tell_blind(&error),
    };
    let mut first = true;
    loop {
        if let Err(error) = watch.follow(&running) {
            tell_blind(&error);
        }
        // The first time at once: a file may have changed between its reading and the watch.
        if !std::mem::take(&mut first) {
            tokio::select! {
                () = shutdown.begun() => return,
                change = changes.recv() => if change.is_none() { return },
            }
        }
        let settled =
            async { while let Ok(Some(())) = tokio::time::timeout(QUIET, changes.recv()).await {} };
        // Files that never rest are read all the same, and again after the next change.
        drop(tokio::time::timeout(AT_MOST, settled).await);
        drop(reload::reload(&running).await);
    }
}

/// Reloads at every SIGHUP, until shutdown begins.
pub async fn reload_on_hangup(running: Arc<Running>, mut hangup: Signal, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            _ = hangup.recv() => drop(reload::reload(&running).await),
        }
    }
}

fn tell_blind(error: &notify::Error) {
    tracing::warn!(error = %Chain(error), "changes of files are not noticed; reload with SIGHUP or POST /-/reload");
}

/// The folders that are watched. Folders rather than files: editors replace a file, and a mounted
/// ConfigMap swaps the folder behind a link.
struct Watch {
    watcher: RecommendedWatcher,
    /// Folders that are read with all that is in them; one may not be there yet.
    whole: Vec<PathBuf>,
    watched: BTreeMap<PathBuf, RecursiveMode>,
}

impl Watch {
    /// Sends into `changed`, once for any number of changes that nobody has received yet.
    fn new(whole: Vec<PathBuf>, changed: mpsc::Sender<()>) -> Result<Self, notify::Error> {
        let places = whole.clone();
        let heard = move |event: Result<Event, notify::Error>| {
            // An error may have cost us an event: better once too often.
            if event.map_or(true, |event| matters(&event, &places)) {
                // A full queue holds the same news already.
                let _ = changed.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(heard)?;
        Ok(Self { watcher, whole, watched: BTreeMap::new() })
    }

    /// Watches the folders of all files that are read now, and those in which new ones may appear.
    fn follow(&mut self, running: &Running) -> Result<(), notify::Error> {
        let settings = Arc::clone(&running.settings.read());
        let beside = settings.files.iter().chain(&self.whole).filter_map(|path| folder_of(path));
        let mut wanted: BTreeMap<PathBuf, RecursiveMode> =
            beside.map(|folder| (folder, RecursiveMode::NonRecursive)).collect();
        for folder in &settings.folders {
            let _ = wanted.insert(folder.clone(), RecursiveMode::NonRecursive);
        }
        for folder in &self.whole {
            let _ = wanted.insert(folder.clone(), RecursiveMode::Recursive);
        }
        // A folder that went and came again is another one.
        self.watched.retain(|folder, mode| {
            let stays = folder.is_dir() && wanted.get(folder) == Some(mode);
            if !stays {
                // It may be gone, and its watch with it.
                drop(self.watcher.unwatch(folder));
            }
            stays
        });
        for (folder, mode) in wanted {
            if self.watched.contains_key(&folder) {
                continue;
            }
            match self.watcher.watch(&folder, mode) {
                Ok(()) => drop(self.watched.insert(folder, mode)),
                // A place that is optional and not there.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether a change may be one of the configuration: of a YAML file, a list of targets, a certificate, a folder that is
/// read, or the link behind which a ConfigMap swaps folders.
fn matters(event: &Event, whole: &[PathBuf]) -> bool {
    const READ: [&str; 6] = ["yaml", "yml", "json", "pem", "crt", "key"];
    let is_read = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        extension.is_some_and(|extension| READ.contains(&extension))
            || name.starts_with("..")
            || whole.iter().any(|folder| path.ends_with(folder))
    };
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(is_read)
}

fn is_absent(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let here = folder.as_os_str().is_empty();
    Some(if here { PathBuf::from(".") } else { folder.to_owned() })
}
