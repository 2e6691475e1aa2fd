//! How hard probes may press a target, all of them and all their runs together.
//!
//! A run that would break a cap is not run: its slot is missed through our own rule, which says
//! nothing about the target. A message above the rate waits, under the deadline of its run, and a
//! message's latency counts from when it was sent. All targets that an entry names share its caps.
//!
//! Runs are counted exactly: of a cap of n a second, never more than n begin within any second.
//! Messages go by the generic cell rate algorithm, one each 1/n of a second; what a timer was late
//! may be made up for within five milliseconds, so that the rate is reached and not only kept.

use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::record::StepRecord;
use super::spec::{Action, ProbeSpec};
use super::target::Target;
use super::template::specimen;
use super::writes::WriteTarget;
use crate::base::clock::MonoNanos;
use crate::model::probe::FailureReason;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// So far may messages lag behind their rate and still make up for it: nanoseconds; half a percent of a second.
const SLACK_NS: u64 = 5_000_000;
/// A million hertz in a hertz.
const MILLION: u64 = 1_000_000;

/// Caps of the targets that an entry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// As the user wrote it.
    pub name: String,
    /// Which targets.
    pub target: WriteTarget,
    /// No more runs begin in a second.
    pub max_runs: Option<Rate>,
    /// No more runs go on at once.
    pub max_concurrent_runs: Option<u32>,
    /// No more messages are sent in a second: over streams, and by requests that write.
    pub max_messages: Option<Rate>,
}

/// So often in a second, exact to a millionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    millionths: u64,
}

/// All caps, and what counts against them. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Limits(Arc<Mutex<Vec<Gauge>>>);

/// A cap and what counts against it.
#[derive(Debug)]
struct Gauge {
    limit: Limit,
    /// When the last runs began, as many as are needed to judge the next one.
    begun: VecDeque<MonoNanos>,
    /// Each run that goes on holds another reference.
    running: Arc<()>,
    /// When the next message may be sent.
    next_message: MonoNanos,
}

/// Counts a run as going on until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Permit {
    _held: Vec<Arc<()>>,
}

/// The cap that a run would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capped {
    /// The entry.
    pub limit: String,
    /// `rate` or `concurrency`.
    pub kind: &'static str,
    /// In words.
    pub message: String,
}

// === impl Rate ===

impl Rate {
    /// Reads `10` or `0.5`; above zero, and no more than a million.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return None;
        }
        let whole = whole.parse::<u64>().ok()?.checked_mul(MILLION)?;
        let millionths = whole.checked_add(format!("{fraction:0<6}").parse().ok()?)?;
        (1..=MILLION * MILLION).contains(&millionths).then_some(Self { millionths })
    }

    /// How many fit into one [`Self::span`].
    fn count(self) -> usize {
        usize::try_from(self.millionths / MILLION).unwrap_or(usize::MAX).max(1)
    }

    /// The time for [`Self::count`] of them: a second for a whole number.
    fn span(self) -> Duration {
        self.time_of(self.count() as u64)
    }

    /// The time that so many take, rounded up: the rate is kept, not nearly kept.
    fn time_of(self, count: u64) -> Duration {
        let ns = u128::from(count) * u128::from(MILLION) * 1_000_000_000;
        let ns = ns.div_ceil(u128::from(self.millionths.max(1)));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:06}", self.millionths % MILLION);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{}{point}{fraction} a second", self.millionths / MILLION)
    }
}

// === impl Limits ===

impl Limits {
    /// Puts other caps into force. What counts against an entry of the same name goes on counting.
    pub fn replace(&self, limits: Vec<Limit>) {
        let mut gauges = self.0.lock();
        let mut before = std::mem::take(&mut *gauges);
        let carry = |limit: Limit| {
            let known = before.iter().position(|gauge| gauge.limit.name == limit.name);
            match known.map(|at| before.swap_remove(at)) {
                Some(gauge) => Gauge { limit, ..gauge },
                None => Gauge::new(limit),
            }
        };
        *gauges = limits.into_iter().map(carry).collect();
    }

    /// Lets a run begin, or says which cap it would break; then nothing is counted.
    pub(super) fn admit(&self, spec: &ProbeSpec, now: MonoNanos) -> Result<Permit, Capped> {
        let mut gauges = self.0.lock();
        if gauges.is_empty() {
            return Ok(Permit::default());
        }
        let urls = urls(spec);
        let mut concerned: Vec<&mut Gauge> = gauges
            .iter_mut()
            .filter(|gauge| urls.iter().any(|url| gauge.limit.target.allows(url)))
            .collect();
        if let Some(capped) = concerned.iter_mut().find_map(|gauge| gauge.refusal(now)) {
            return Err(capped);
        }
        Ok(Permit { _held: concerned.into_iter().map(|gauge| gauge.begin(now)).collect() })
    }

    /// When so many messages may be sent to `url`, which are counted then; `None` when that is later
    /// than `latest`. With that, the entry and rate by which they wait.
    fn reserve(
        &self,
        url: &Url,
        messages: u32,
        now: MonoNanos,
        latest: MonoNanos,
    ) -> Result<Option<MonoNanos>, (String, Rate)> {
        let mut gauges = self.0.lock();
        let paced = |gauge: &mut Gauge| {
            let rate = gauge.limit.max_messages.filter(|_| gauge.limit.target.allows(url))?;
            let from = gauge.next_message.max(MonoNanos(now.0.saturating_sub(SLACK_NS)));
            // The last of several goes when its turn has come, and the others with it.
            let at = from.plus(rate.time_of(u64::from(messages.saturating_sub(1))));
            Some((at, rate, gauge.limit.name.clone()))
        };
        let all: Vec<(MonoNanos, Rate, String)> = gauges.iter_mut().filter_map(paced).collect();
        let Some((at, rate, name)) = all.into_iter().max_by_key(|(at, _, _)| *at) else {
            return Ok(None);
        };
        if at > latest {
            return Err((name, rate));
        }
        for gauge in gauges.iter_mut() {
            let limit = &gauge.limit;
            if let Some(rate) = limit.max_messages.filter(|_| limit.target.allows(url)) {
                gauge.next_message = at.plus(rate.time_of(1));
            }
        }
        Ok(Some(at))
    }
}

// === impl Gauge ===

impl Gauge {
    fn new(limit: Limit) -> Self {
        let (running, begun) = (Arc::default(), VecDeque::new());
        Self { limit, begun, running, next_message: MonoNanos(0) }
    }

    /// Why no run may begin now.
    fn refusal(&mut self, now: MonoNanos) -> Option<Capped> {
        let Limit { name, max_runs, max_concurrent_runs, .. } = &self.limit;
        let capped = |kind, message| Some(Capped { limit: name.clone(), kind, message });
        let running = Arc::strong_count(&self.running) - 1;
        if let Some(most) = max_concurrent_runs.filter(|most| running >= *most as usize) {
            let words = format!("not run: of {most} runs that may go on at once at {name}, all do");
            return capped("concurrency", words);
        }
        let rate = (*max_runs)?;
        while self.begun.len() > rate.count() {
            let _ = self.begun.pop_front();
        }
        let oldest = self.begun.front().filter(|_| self.begun.len() == rate.count())?;
        if now.since(*oldest) >= rate.span() {
            return None;
        }
        capped("rate", format!("not run: runs at {name} are limited to {rate}"))
    }

    /// Counts a run that begins.
    fn begin(&mut self, now: MonoNanos) -> Arc<()> {
        if let Some(rate) = self.limit.max_runs {
            self.begun.push_back(now);
            while self.begun.len() > rate.count() {
                let _ = self.begun.pop_front();
            }
        }
        Arc::clone(&self.running)
    }
}

/// Waits until so many messages may be sent to a target.
///
/// # Errors
/// A local failure when they may not be sent within the deadline: nothing is known about the target.
pub(super) async fn pace(
    target: &Target,
    messages: u32,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let limits = &with.context.limits;
    let (now, latest) = (record.now(), record.now().plus(with.deadline.remaining()));
    let at = limits.reserve(target.url(), messages, now, latest).map_err(|(name, rate)| {
        let words = format!(
            "messages to {name} are limited to {rate} by limits: in radiosonde.yaml, and the next \
             may be sent only after the run's timeout"
        );
        failure(FailureReason::Local, words)
    })?;
    let Some(at) = at.filter(|at| *at > now) else { return Ok(()) };
    // Not reached is what is hoped for: the deadline is only the time to wait until.
    let _ = with.deadline.no_later_than(at).limit(std::future::pending::<()>()).await;
    let waited = record.now().since(now);
    record.held_back(waited);
    with.context.telemetry.probe_throttled_messages_total.inc_by(u64::from(messages));
    Ok(())
}

// === where a probe goes ===

/// The targets of a probe as far as its definition tells; what a run captures may lead elsewhere.
fn urls(spec: &ProbeSpec) -> Vec<Url> {
    let steps = spec.steps.iter().chain(&spec.cleanup);
    let target = spec.targets.target();
    steps.flat_map(|step| ways(&step.action)).filter_map(|action| url(action, target)).collect()
}

/// The first host that a probe goes to, where that is a name that is known before the run.
pub(super) fn named_host(spec: &ProbeSpec) -> Option<String> {
    let steps = spec.steps.iter().chain(&spec.cleanup);
    let mut hosts = steps.flat_map(|step| ways(&step.action)).filter_map(|action| {
        let text = place(action)?;
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
        let is_known = !authority.split(['/', '?', '#']).next()?.contains("${");
        let url = url(action, None).filter(|_| is_known)?;
        let host = url.host_str()?.to_lowercase();
        let is_name = host.parse::<IpAddr>().is_err() && !host.starts_with('[');
        is_name.then_some(host)
    });
    hosts.next()
}

/// The blocks of an action that has several.
fn ways(action: &Action) -> &[Action] {
    match action {
        Action::Fallback(fallback) => &fallback.streams,
        one => std::slice::from_ref(one),
    }
}

/// Where an action goes: a URL, or for some a host.
fn place(action: &Action) -> Option<&str> {
    Some(match action {
        Action::Http(step) => &step.url,
        Action::WebSocket(step) => &step.url,
        Action::Sse(step) => &step.url,
        Action::Poll(step) => &step.url,
        Action::Reconnect { reconnect, .. } => reconnect.url.as_ref()?,
        Action::Grpc(step) => &step.url,
        Action::Mqtt(step) => &step.url,
        Action::WebRtc(step) => &step.url,
        Action::Tcp(step) => &step.url,
        Action::Tls(step) => &step.url,
        Action::Udp(step) => &step.url,
        Action::Stun(step) => &step.url,
        Action::Turn(step) => &step.url,
        Action::Dns(step) => &step.server,
        Action::Icmp(step) => &step.host,
        Action::Exec(_)
        | Action::Expect { .. }
        | Action::Send { .. }
        | Action::Ledger { .. }
        | Action::Heartbeat { .. }
        | Action::Drop { .. }
        | Action::Fallback(_) => return None,
    })
}

fn url(action: &Action, target: Option<&str>) -> Option<Url> {
    let text = specimen(place(action)?, target);
    let mut url = match action {
        Action::Dns(step) => return super::dns::url(&text, step.transport),
        Action::Icmp(_) => return Url::parse(&format!("icmp://{}", bracketed(&text))).ok(),
        _ => Url::parse(&text).ok()?,
    };
    let port = match url.scheme() {
        "mqtt" => 1883,
        "mqtts" => 8883,
        _ => return Some(url),
    };
    let port = url.port().unwrap_or(port);
    url.set_port(Some(port)).ok().map(|()| url)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::spec::{FlowChecks, HttpStep, HttpVersion, Step, TlsOptions};
    use super::super::tests::spec;
    use super::*;
    use proptest::prelude::*;

    fn limit(name: &str, runs: &str) -> Limit {
        Limit {
            name: name.to_owned(),
            target: WriteTarget::parse(name).expect("a target"),
            max_runs: Rate::parse(runs),
            max_concurrent_runs: None,
            max_messages: Rate::parse(runs),
        }
    }

    fn asking(url: &str) -> ProbeSpec {
        let step = HttpStep {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            version: HttpVersion::Auto,
            status: Vec::new(),
            header_checks: Vec::new(),
            body_checks: Vec::new(),
            max_redirects: 0,
            flow_checks: FlowChecks::default(),
            tls: TlsOptions::default(),
        };
        let action = Action::Http(step);
        spec(vec![Step { name: "1".to_owned(), action, count: 1, hold: None, capture: Vec::new() }])
    }

    /// Guarantees which rates can be written, and that they are shown as they were.
    #[test]
    fn rates_are_decimals() {
        for (text, shown) in
            [("10", "10 a second"), ("0.5", "0.5 a second"), ("2.50", "2.5 a second")]
        {
            assert_eq!(Rate::parse(text).map(|rate| rate.to_string()).as_deref(), Some(shown));
        }
        for text in ["", "0", "-1", ".5", "5.", "1e3", "0.0000001", "1000001", "ten"] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
        assert_eq!(Rate::parse("3").map(|rate| rate.span()), Some(Duration::from_secs(1)));
        assert_eq!(Rate::parse("0.5").map(|rate| rate.span()), Some(Duration::from_secs(2)));
    }

    /// Guarantees that a limit is found by the host of a URL also where the rest is filled in later.
    #[test]
    fn a_target_is_known_before_the_run() {
        let limits = Limits::default();
        limits.replace(vec![limit("a.test:80", "1")]);
        let admit = |url: &str, at: u64| limits.admit(&asking(url), MonoNanos(at)).is_ok();
        assert!(admit("http://a.test/rooms/${room}", 0));
        assert!(!admit("http://a.test/", 999_999_999));
        assert!(admit("http://a.test:8080/", 999_999_999), "another port");
        assert!(admit("http://a.test/", 1_000_000_000));
    }

    proptest! {
        /// Guarantees, for runs and for messages, that no second holds more than the cap, and that
        /// somebody who always wants more gets the whole of it, within one percent.
        #[test]
        fn a_rate_is_kept_and_reached(rate in 1_u64..200, gaps in prop::collection::vec(0_u64..3_000_000, 2_000)) {
            let limits = Limits::default();
            limits.replace(vec![limit("a.test", &rate.to_string())]);
            let probe = asking("http://a.test/");
            let url = Url::parse("http://a.test/").expect("a URL");
            let (mut now, mut runs, mut messages) = (MonoNanos(7_000_000_000), Vec::new(), Vec::new());
            let begin = now;
            for gap in gaps {
                now = now.plus(Duration::from_nanos(gap));
                if limits.admit(&probe, now).is_ok() {
                    runs.push(now);
                }
                if let Ok(Some(at)) = limits.reserve(&url, 1, now, now) {
                    messages.push(at.max(now));
                }
            }
            let second = Duration::from_secs(1);
            let busiest = |times: &[MonoNanos]| {
                let within = |from: &MonoNanos| times.iter().filter(|at| **at >= *from && at.since(*from) < second).count();
                times.iter().map(within).max().unwrap_or(0) as f64
            };
            prop_assert!(busiest(&runs) <= rate as f64);
            prop_assert!(busiest(&messages) <= rate as f64 * 1.01 + 1.0);
            let seconds = now.since(begin).as_secs_f64();
            prop_assert!(messages.len() as f64 >= (seconds * rate as f64).floor() * 0.99 - 1.0);
        }
    }
}
