//! The real binary as a child process, in a folder and on ports of its own.

use anyhow::{Context, ensure};
use radiosonde::base::clock::Clock;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A daemon gets this long to become ready.
const START_WITHIN: Duration = Duration::from_secs(300);

/// A daemon that runs; killed when dropped.
pub struct Daemon {
    child: Child,
    page: SocketAddr,
}

/// Ports of the page, OTLP/gRPC and OTLP/HTTP that nobody listens on at present.
pub fn free_ports() -> anyhow::Result<[u16; 3]> {
    // Bound at the same time, so that they differ.
    let bound = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(bound) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

impl Daemon {
    /// Executes `radiosonde run` in `dir`, on its subfolders `data`, `probes` and `alerts` unless
    /// `arguments` name others. Its log is `dir/log`.
    pub fn execute(dir: &Path, ports: [u16; 3], arguments: &[&str]) -> anyhow::Result<Self> {
        let [page, grpc, http] = ports;
        let settings = format!(
            "listen: 127.0.0.1:{page}\notlp:\n  grpc: 127.0.0.1:{grpc}\n  http: 127.0.0.1:{http}\n"
        );
        std::fs::write(dir.join("radiosonde.yaml"), settings)?;
        let log = File::create(dir.join("log"))?;
        let child = Command::new(env!("CARGO_BIN_EXE_radiosonde"))
            .arg("run")
            .args(arguments)
            .current_dir(dir)
            .stdout(log.try_clone()?)
            .stderr(Stdio::from(log))
            .spawn()
            .context("the daemon does not start")?;
        Ok(Self { child, page: SocketAddr::from(([127, 0, 0, 1], page)) })
    }

    /// Waits until `/-/ready` answers 200; how long that took from here.
    pub fn wait_until_ready(&mut self, clock: &Clock) -> anyhow::Result<Duration> {
        let began = clock.monotonic();
        loop {
            if self.get("/-/ready").is_ok() {
                return Ok(clock.monotonic().since(began));
            }
            ensure!(self.child.try_wait()?.is_none(), "the daemon ended; see its log");
            let waited = clock.monotonic().since(began);
            ensure!(waited < START_WITHIN, "the daemon did not become ready");
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The body of a page that answers 200.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.page)?;
        let host = self.page;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(
            head.starts_with("HTTP/1.1 200"),
            "{path} answers {}",
            head.get(..12).unwrap_or(head)
        );
        Ok(body.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
