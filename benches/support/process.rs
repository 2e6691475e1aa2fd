//! A benchmark once more as a process of its own, in another role.

use anyhow::{Context, ensure};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// This program once more with these arguments; killed when dropped.
pub struct Twin {
    child: Child,
    /// What its first line named.
    pub addresses: Vec<SocketAddr>,
}

impl Twin {
    /// Starts it and waits for its first line: addresses, separated by blanks.
    pub fn execute(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .context("the twin does not start")?;
        let out = child.stdout.take().context("a pipe")?;
        let mut twin = Self { child, addresses: Vec::new() };
        let mut line = String::new();
        let _ = BufReader::new(out).read_line(&mut line)?;
        let addresses = line.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>();
        twin.addresses = addresses?;
        ensure!(!twin.addresses.is_empty(), "the twin said nothing");
        Ok(twin)
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
