//! Which daemon to ask, and how to show its answer.

use crate::base::secret::Secret;
use clap::{Args, ValueEnum};
use url::Url;

const DAEMON: &str = "Daemon";

/// Which daemon to ask, and how to show its answer.
#[derive(Clone, Debug, Args)]
pub(super) struct Server {
    /// Show as text (a table) or json
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "FORMAT"
    )]
    pub format: Format,
    /// Address of the daemon's page and API [default: `listen` of the files here, else
    /// http://127.0.0.1:7663]
    #[arg(
        long,
        global = true,
        env = "RADIOSONDE_SERVER",
        hide_env = true,
        value_parser = read_address,
        value_name = "URL",
        help_heading = DAEMON
    )]
    pub server: Option<Url>,
    /// One of the daemon's `api: tokens`; better in RADIOSONDE_TOKEN
    #[arg(
        long,
        global = true,
        env = "RADIOSONDE_TOKEN",
        hide_env = true,
        value_parser = read_secret,
        value_name = "TOKEN",
        help_heading = DAEMON
    )]
    pub token: Option<Secret>,
}

/// How to show an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines; carries `"version": 1`.
    Json,
}

/// `http://127.0.0.1:7663`, or the same without the scheme.
fn read_address(text: &str) -> Result<Url, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "write an address such as http://127.0.0.1:7663".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "the form that clap wants")]
fn read_secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that an address may be written without its scheme, and that others are refused.
    #[test]
    fn addresses_may_do_without_a_scheme() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(read_address(text).ok().as_ref().map(Url::as_str), expected, "{text}");
        };
        check("127.0.0.1:7663", Some("http://127.0.0.1:7663/"));
        check("https://sonde.example.com/base/", Some("https://sonde.example.com/base/"));
        check("ftp://a", None);
        check("", None);
    }
}
