//! A benchmark once more as a process of its own, in another role.

use anyhow::{Context, ensure};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// This program once more with these arguments; killed when dropped.
pub struct ServerProcess {
    child: Child,
    /// What its first line named.
    pub addresses: Vec<SocketAddr>,
}

impl ServerProcess {
    /// Starts it and waits for its first line: addresses, separated by blanks.
    pub fn execute(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .context("the server does not start")?;
        let out = child.stdout.take().context("a pipe")?;
        let mut server = Self { child, addresses: Vec::new() };
        let mut line = String::new();
        let _ = BufReader::new(out).read_line(&mut line)?;
        let addresses = line.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>();
        server.addresses = addresses?;
        ensure!(!server.addresses.is_empty(), "the server said nothing");
        Ok(server)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
