//! What `--help` says beyond the list of options: examples, the environment, exit codes.
//!
//! Lines stay within 80 columns, so that no terminal breaks them.

/// A heading as clap writes its own.
macro_rules! heading {
    ($text:literal) => {
        concat!("\u{1b}[1m\u{1b}[4m", $text, "\u{1b}[0m\n")
    };
}

/// `radiosonde --help`
pub(super) const ROOT: &str = concat!(
    heading!("Examples:"),
    "  radiosonde demo                   everything on this machine, at once
  radiosonde check --example > radiosonde.yaml      every setting, commented
  radiosonde check                  every mistake in the files
  radiosonde probe chat-echo        one run now, as a waterfall
  radiosonde run                    the daemon; its page is on 127.0.0.1:7663
  radiosonde slo                    budgets of the running daemon

",
    heading!("Environment:"),
    "  RADIOSONDE_CONFIG, RADIOSONDE_PROBES, RADIOSONDE_ALERTS, RADIOSONDE_DATA
                      the same as the options of that name
  RADIOSONDE_SERVER, RADIOSONDE_TOKEN
                      the daemon that slo, alerts and silence ask
  NO_COLOR, CLICOLOR_FORCE
                      no colours, or colours even where no terminal is

",
    heading!("Exit codes:"),
    "  0  fine
  1  a run failed, an alert fires, or what was tried did not succeed
  2  the command line or a file is wrong
  3  the daemon cannot be reached"
);

/// `radiosonde run --help`
pub(super) const RUN: &str = concat!(
    heading!("Examples:"),
    "  radiosonde run
  radiosonde run --config /etc/radiosonde.yaml --data /var/lib/radiosonde
  kill -HUP $(pidof radiosonde)             reads the files anew

Without a file it listens on loopback: page, API and /metrics on 7663, OTLP/gRPC
on 4317, OTLP/HTTP on 4318. `radiosonde check --example` shows every setting.

",
    heading!("Exit codes:"),
    "  0  ended by a signal
  1  a port, the data folder or the journal cannot be had
  2  a file is wrong; every mistake is shown"
);

/// `radiosonde demo --help`
pub(super) const DEMO: &str = concat!(
    heading!("Examples:"),
    "  radiosonde demo                           until Ctrl-C
  radiosonde demo --for 3m                  ends by itself

The page is http://127.0.0.1:7663. Within two minutes a region slows down, an
alert fires, says why, and resolves. Nothing is left behind."
);

/// `radiosonde check --help`
pub(super) const CHECK: &str = concat!(
    heading!("Examples:"),
    "  radiosonde check                          ./radiosonde.yaml ./probes ./alerts
  radiosonde check --probes staging/probes  another folder
  radiosonde check --format json | jq '.problems[].message'
  radiosonde check --example > radiosonde.yaml

",
    heading!("Exit codes:"),
    "  0  all files are fine; warnings may be shown
  2  a file is wrong"
);

/// `radiosonde probe --help`
pub(super) const PROBE: &str = concat!(
    heading!("Examples:"),
    "  radiosonde probe                          all probes, once
  radiosonde probe chat-echo 'feed-*'       by name; * and ? stand for any text
  radiosonde probe --label owner=messaging  by label, also != =~ !~
  radiosonde probe chat-echo --repeat 100   a table of percentiles
  radiosonde probe chat-echo --network lte+handover      as a phone on the road
  radiosonde probe --format junit --out probes.xml       for CI
  radiosonde probe --format json | jq '.runs[].steps[].messages'  when each came
  radiosonde probe --schema                 the JSON Schema of that document
  radiosonde probe --calibrate              the instrument's own error

The value of a probe is the time from send to match where it waits for a
message, otherwise of the whole run. With --out the terminal still gets the
text. Ctrl-C ends after the run under way, a second one at once.

--calibrate needs no files: servers on 127.0.0.1 answer over HTTP, WebSocket and
SSE after known delays, 100 runs each unless --repeat says otherwise. What a run
measures beyond the delay is its error. With names: only what those speak.

",
    heading!("Exit codes:"),
    "  0  all runs passed
  1  a run failed, or --calibrate finds a median error of more than 1 ms
  2  the command line or a file is wrong, or no probe is selected"
);

/// `radiosonde slo --help`
pub(super) const SLO: &str = concat!(
    heading!("Examples:"),
    "  radiosonde slo
  radiosonde slo --format json | jq '.slos[] | select(.met | not) | .name'

Burn is how fast the budget goes: at 1x it lasts exactly the window.

",
    heading!("Exit codes:"),
    "  0  the daemon answered
  3  the daemon cannot be reached"
);

/// `radiosonde alerts --help`
pub(super) const ALERTS: &str = concat!(
    heading!("Examples:"),
    "  radiosonde alerts                         what fires now
  radiosonde alerts test oncall             a test message to a receiver
  radiosonde alerts --format json | jq -r '.alerts[].alertname'

",
    heading!("Exit codes:"),
    "  0  no alert fires
  1  an alert fires
  3  the daemon cannot be reached"
);

/// `radiosonde alerts test --help`
pub(super) const ALERTS_TEST: &str = concat!(
    heading!("Examples:"),
    "  radiosonde alerts test oncall

",
    heading!("Exit codes:"),
    "  0  the receiver took the message
  1  the receiver refused it or cannot be reached
  2  there is no such receiver
  3  the daemon cannot be reached"
);

/// `radiosonde silence --help`
pub(super) const SILENCE: &str = concat!(
    heading!("Examples:"),
    "  radiosonde silence                        what is silenced now
  radiosonde silence add alertname=chat-up --for 2h --comment 'deploy'
  radiosonde silence expire 9f86d081884c7d65

A silence holds back what begins to fire. Alerts go on to be shown, and whoever
was told of one hears of its end.

",
    heading!("Exit codes:"),
    "  0  done
  2  the command line is wrong, or there is no such silence
  3  the daemon cannot be reached"
);

/// `radiosonde silence add --help`
pub(super) const SILENCE_ADD: &str = concat!(
    heading!("Examples:"),
    "  radiosonde silence add alertname=chat-up --for 2h --comment 'deploy'
  radiosonde silence add severity=ticket 'owner=~mess.*' --comment 'known'

All matchers must hold: name=value, name!=value, name=~regex, name!~regex."
);
