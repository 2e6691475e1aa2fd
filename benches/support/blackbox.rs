//! `prometheus-blackbox-exporter` as a child process, where it is installed.

use super::daemon::free_ports;
use anyhow::{Context as _, ensure};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BLACKBOX: &str = "prometheus-blackbox-exporter";
const BLACKBOX_MODULES: &str =
    "modules:\n  http_2xx: { prober: http, timeout: 5s, http: { preferred_ip_protocol: ip4 } }\n";

/// The exporter that runs; killed when dropped.
pub struct Blackbox(Child);

impl Blackbox {
    /// Starts it on a free port with a module `http_2xx`, its file in `dir`, and waits until it listens.
    pub fn execute(dir: &Path) -> anyhow::Result<(Self, SocketAddr)> {
        let [port, ..] = free_ports()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let modules = dir.join("blackbox.yml");
        std::fs::write(&modules, BLACKBOX_MODULES)?;
        let child = Command::new(BLACKBOX)
            .arg(format!("--config.file={}", modules.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("it is not installed")?;
        let mut blackbox = Self(child);
        while TcpStream::connect(address).is_err() {
            ensure!(blackbox.0.try_wait()?.is_none(), "it ended");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok((blackbox, address))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Blackbox {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
