//! The running daemon's API, asked over HTTP.

use super::exit::{FAILED, INVALID, UNREACHABLE};
use super::files::Files;
use super::server::Server;
use super::terminal::{complain, cut, hint, note};
use crate::base::error::Chain;
use crate::config;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;
use url::{Host, Url};

/// A daemon that has not answered by then will not.
const CONNECT: Duration = Duration::from_secs(5);
/// A receiver that is tested may take its own timeout.
const ANSWER: Duration = Duration::from_secs(60);
/// The version of the API's JSON.
const VERSION: u64 = 1;

/// A daemon somewhere.
pub(super) struct Daemon<'a> {
    server: &'a Server,
    url: Url,
    /// What the files here say, when that is another.
    own: Option<Url>,
    client: reqwest::Client,
}

/// Why the daemon did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nothing answers.
    #[error("no radiosonde answers on {url}")]
    Unreachable {
        /// What was tried.
        url: Url,
        /// Why.
        source: reqwest::Error,
    },
    /// Something else answers.
    #[error("{url} answers, but not as radiosonde does: {found}")]
    Foreign {
        /// What was tried.
        url: Url,
        /// What came.
        found: String,
    },
    /// It wants a token.
    #[error("{url} wants a token: {words}")]
    Token {
        /// What was tried.
        url: Url,
        /// Its own words.
        words: String,
    },
    /// It refuses: what was asked is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It tried and did not succeed.
    #[error("{0}")]
    Failed(String),
}

// === impl Daemon ===

impl<'a> Daemon<'a> {
    /// The daemon that was named; without a name the one that `files` configure.
    ///
    /// # Errors
    /// With the exit code, when the system's certificates cannot be read.
    pub(super) fn new(server: &'a Server, files: &Files) -> Result<Self, ExitCode> {
        // Files with mistakes configure nothing, and need not be whole to ask a daemon.
        let settings = files.load().settings;
        if settings.is_none() && server.server.is_none() {
            note("the files here have mistakes (radiosonde check): the default address is asked");
        }
        let configured =
            address(settings.map_or(config::Daemon::default().listen, |s| s.daemon.listen));
        let url = server.server.clone().unwrap_or_else(|| configured.clone());
        let own = Some(configured).filter(|own| *own != url);
        let mut builder = reqwest::Client::builder().connect_timeout(CONNECT).timeout(ANSWER);
        if is_loopback(&url) {
            // A proxy's loopback is not ours.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            complain(&format!("no HTTP client: {}", Chain(&error)), UNREACHABLE)
        })?;
        Ok(Self { server, url, own, client })
    }

    /// `GET` of the path made of `segments`. What went wrong is printed.
    ///
    /// # Errors
    /// With the exit code.
    pub(super) async fn get(&self, segments: &[&str]) -> Result<Value, ExitCode> {
        self.ask(Method::GET, segments, None).await
    }

    /// The same with any method and a body.
    ///
    /// # Errors
    /// With the exit code.
    pub(super) async fn ask(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, ExitCode> {
        let answer = self.call(method, segments, body).await;
        answer.map_err(|error| self.explain(&error))
    }

    async fn call(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            let _ = path.pop_if_empty().push("api").extend(segments);
        }
        let mut request = self.client.request(method, url.clone());
        if let Some(token) = &self.server.token {
            request = request.bearer_auth(token.reveal());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |source| ClientError::Unreachable { url: url.clone(), source };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        judge(&url, status, &text)
    }

    /// Says what went wrong and what to do about it; the exit code that goes with it.
    fn explain(&self, error: &ClientError) -> ExitCode {
        match error {
            ClientError::Unreachable { source, .. } => {
                let code = complain(&format!("{error}: {}", innermost(source)), UNREACHABLE);
                hint(&self.next_step());
                code
            }
            ClientError::Foreign { .. } => {
                let code = complain(&error.to_string(), UNREACHABLE);
                hint("name the daemon's page with --server URL or RADIOSONDE_SERVER");
                code
            }
            ClientError::Token { .. } => {
                let code = complain(&error.to_string(), INVALID);
                hint("give one of the daemon's `api: tokens` in RADIOSONDE_TOKEN, or with --token");
                code
            }
            ClientError::Invalid(words) => complain(words, INVALID),
            ClientError::Failed(words) => complain(words, FAILED),
        }
    }

    /// What to try when nobody answers: often the files here name another address.
    fn next_step(&self) -> String {
        match &self.own {
            Some(own) => format!(
                "the files here say that it listens on {}: start it with `radiosonde run`, and leave \
                 --server and RADIOSONDE_SERVER away",
                own.as_str().trim_end_matches('/')
            ),
            None => "start it with `radiosonde run` or `radiosonde demo`, or name another address \
                     with --server URL or RADIOSONDE_SERVER"
                .to_owned(),
        }
    }
}

/// Where a listener is reached from this machine.
fn address(listen: SocketAddr) -> Url {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let text = format!("http://{}", SocketAddr::new(ip, listen.port()));
    Url::parse(&text).expect("an address and a port make a URL")
}

/// What an answer means.
fn judge(url: &Url, status: StatusCode, text: &str) -> Result<Value, ClientError> {
    let foreign = |found| ClientError::Foreign { url: url.clone(), found };
    let json: Value = serde_json::from_str(text).map_err(|_| {
        let said = cut(text.trim(), 80);
        foreign(format!("{status}{}{said}", if said.is_empty() { "" } else { ", " }))
    })?;
    match json.get("version").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(other) => {
            return Err(foreign(format!(
                "version {other} of its API, and this program knows {VERSION}; use the same \
                 radiosonde on both sides"
            )));
        }
        None => return Err(foreign(format!("{status} without a version"))),
    }
    if status.is_success() {
        return Ok(json);
    }
    let words = json.get("error").and_then(Value::as_str).unwrap_or(status.as_str()).to_owned();
    Err(match status {
        StatusCode::UNAUTHORIZED => ClientError::Token { url: url.clone(), words },
        _ if status.is_client_error() => ClientError::Invalid(words),
        _ => ClientError::Failed(words),
    })
}

/// What the operating system said in the end; the layers above only repeat that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_timeout() { "it did not answer in time".to_owned() } else { cause.to_string() }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees which answers count as the daemon's, and that the others say what came instead.
    #[test]
    fn answers_are_told_apart() {
        let check = |status: u16, text: &str, expected: &str| {
            let url = Url::parse("http://127.0.0.1:7663/api/slos").unwrap();
            let got = judge(&url, StatusCode::from_u16(status).unwrap(), text);
            let got = got.map_or_else(|error| error.to_string(), |json| json.to_string());
            assert!(got.contains(expected), "{status} {text}: {got}");
        };
        check(200, r#"{"version":1,"slos":[]}"#, r#""slos":[]"#);
        check(200, r#"{"version":2,"slos":[]}"#, "version 2 of its API");
        check(200, r#"{"data":[]}"#, "not as radiosonde does");
        check(404, "<html>nginx</html>", "404 Not Found, <html>nginx</html>");
        check(502, "", "not as radiosonde does: 502 Bad Gateway");
        check(404, r#"{"version":1,"error":"there is no receiver `x`"}"#, "no receiver `x`");
        check(401, r#"{"version":1,"error":"a bearer token"}"#, "wants a token");
    }
}
