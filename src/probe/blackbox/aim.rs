//! From a module and a target to a probe of one run.

use super::{
    Exchange, GrpcModule, HttpModule, IcmpModule, Module, Prober, TcpModule, WebSocketModule,
    literal,
};
use crate::model::labels::Labels;
use crate::probe::awaited::ExpectText;
use crate::probe::dns::{DnsStep, parse_server};
use crate::probe::grpc::{Call, GrpcStep};
use crate::probe::icmp::{Family, IcmpStep, is_host};
use crate::probe::spec::{
    Action, Cadence, Expect, HeaderText, HttpStep, ProbeSpec, Repeat, Step, TextCheck,
    WebSocketStep,
};
use crate::probe::tcp::{TcpStep, Turn};
use crate::probe::writes::WriteTarget;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The stream's step of a WebSocket module.
const STREAM: &str = "stream";
const HOST: &str = "host";

/// What a request asks for, besides the module.
#[derive(Clone, Debug)]
pub struct Aim<'a> {
    /// As the request wrote it.
    pub target: &'a str,
    /// By which name to ask for it: `Host` and SNI.
    pub hostname: Option<&'a str>,
    /// The run takes no longer.
    pub timeout: Duration,
    /// Where it may write to, besides loopback.
    pub writes: Arc<[WriteTarget]>,
}

impl Module {
    /// The probe of one run.
    ///
    /// # Errors
    /// What is wrong with the target, or with what else the request says.
    pub fn probe(&self, aim: &Aim<'_>) -> Result<ProbeSpec, String> {
        let target = aim.target.trim();
        let steps = match &self.prober {
            Prober::Http(module) => vec![Action::Http(http(module, target, aim.hostname)?)],
            Prober::Tcp(module) => vec![Action::Tcp(tcp(module, target, aim.hostname)?)],
            Prober::Dns(module) => {
                let _ = parse_server(target).ok_or_else(|| unfit(target, "10.0.0.53:53"))?;
                let server = literal(target);
                vec![Action::Dns(DnsStep { server, ..module.step.clone() })]
            }
            Prober::Icmp(module) => vec![Action::Icmp(icmp(module, target)?)],
            Prober::Grpc(module) => vec![Action::Grpc(grpc(module, target)?)],
            Prober::WebSocket(module) => websocket(module, target)?,
        };
        let step = |(action, number): (Action, u32)| Step {
            name: if number == 1 { STREAM.to_owned() } else { number.to_string() },
            action,
            count: 1,
            hold: None,
            capture: Vec::new(),
        };
        Ok(ProbeSpec {
            name: self.name.clone(),
            cadence: Cadence::Every(Duration::from_secs(60)),
            timeout: aim.timeout,
            overlap: true,
            labels: Labels::default(),
            steps: steps.into_iter().zip(1..).map(step).collect(),
            cleanup: Vec::new(),
            addresses: Default::default(),
            targets: Default::default(),
            writes: Arc::clone(&aim.writes),
            network: None,
        })
    }
}

fn unfit(target: &str, example: &str) -> String {
    let short: String = target.chars().take(100).collect();
    format!("the target {short:?} is not one of this module's; for example {example}")
}

fn url(target: &str, schemes: [&str; 2], given: &str, example: &str) -> Result<Url, String> {
    let begins = schemes.iter().any(|scheme| target.starts_with(&format!("{scheme}://")));
    let whole = if begins { target.to_owned() } else { format!("{given}://{target}") };
    let parsed = Url::parse(&whole).ok();
    let fits = parsed.filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
    fits.filter(|url| schemes.contains(&url.scheme())).ok_or_else(|| unfit(target, example))
}

fn http(module: &HttpModule, target: &str, hostname: Option<&str>) -> Result<HttpStep, String> {
    let url = url(target, ["http", "https"], "http", "https://api.example.com/health")?;
    let mut step = HttpStep { url: literal(url.as_str()), ..module.step.clone() };
    let given = step.headers.iter().find(|(name, _)| name == HOST).map(|(_, text)| text.clone());
    if let Some(hostname) = hostname {
        let host = literal(hostname);
        if given.as_ref().is_some_and(|given| given.reveal() != host) {
            return Err(
                "the module sets the header Host to another name than `hostname`".to_owned()
            );
        }
        if given.is_none() {
            step.headers.push((HOST.to_owned(), HeaderText::Plain(host)));
        }
    }
    let named = hostname.map(str::to_owned).or_else(|| given.map(|text| text.reveal().to_owned()));
    if let (None, Some(name)) = (&step.tls.server_name, named) {
        step.tls.server_name = Some(without_port(&name).to_owned());
    }
    Ok(step)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn tcp(module: &TcpModule, target: &str, hostname: Option<&str>) -> Result<TcpStep, String> {
    const EXAMPLE: &str = "mail.example.com:25";
    let scheme = if module.tls { "tls" } else { "tcp" };
    let whole = Url::parse(&format!("{scheme}://{target}")).ok();
    let is_place = |url: &Url| {
        url.port().is_some() && matches!(url.path(), "" | "/") && url.username().is_empty()
    };
    let _ = whole.filter(is_place).ok_or_else(|| unfit(target, EXAMPLE))?;
    let mut options = module.options.clone();
    options.server_name = options.server_name.or(hostname.map(str::to_owned));
    let mut turns = Vec::new();
    for Exchange { expect, send, starttls, .. } in &module.dialogue {
        let text = expect.clone().map(TextCheck::Matches);
        turns.extend(
            text.map(|text| Turn::ExpectLine(ExpectText { text: Some(text), within: None })),
        );
        turns.extend(send.as_ref().map(|text| Turn::Send(format!("{text}\n"))));
        turns.extend(starttls.then_some(Turn::StartTls));
    }
    Ok(TcpStep { url: literal(&format!("{scheme}://{target}")), tls: options, turns })
}

fn icmp(module: &IcmpModule, target: &str) -> Result<IcmpStep, String> {
    if !is_host(target) {
        return Err(unfit(target, "edge.example.com"));
    }
    Ok(IcmpStep {
        host: literal(target),
        count: 1,
        interval: Duration::from_millis(10),
        size: module.size,
        // Which address it is was decided when the name was resolved.
        family: Family::Any,
        max_loss: 0.0,
        wait: None,
        fallback: None,
        hop_limit: module.hop_limit,
    })
}

fn grpc(module: &GrpcModule, target: &str) -> Result<GrpcStep, String> {
    let example = "chat.example.com:443";
    let found = url(target, ["http", "https"], "http", example)?;
    let place = found.host_str().map(|host| match found.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    });
    let place = place.ok_or_else(|| unfit(target, example))?;
    let scheme = if module.tls { "https" } else { "http" };
    Ok(GrpcStep {
        url: literal(&format!("{scheme}://{place}")),
        call: Call::Health { service: literal(&module.service) },
        metadata: module.metadata.clone(),
        status: Vec::new(),
        expect: None,
        messages: None,
        reads: true,
        tls: module.options.clone(),
    })
}

fn websocket(module: &WebSocketModule, target: &str) -> Result<Vec<Action>, String> {
    let url = url(target, ["ws", "wss"], "ws", "wss://chat.example.com/socket")?;
    let mut steps = vec![Action::WebSocket(WebSocketStep {
        url: literal(url.as_str()),
        headers: module.headers.clone(),
        subprotocols: Vec::new(),
        chosen_subprotocol: None,
        compression: None,
        binary: None,
        fragment: None,
        send: None,
        ping: false,
        expect: None,
        max_gap: None,
        close_code: None,
        tls: module.options.clone(),
    })];
    for Exchange { expect, send, .. } in &module.dialogue {
        steps.extend(expect.clone().map(|pattern| Action::Expect {
            on: vec![STREAM.to_owned()],
            expect: Expect {
                json: None,
                text: Some(TextCheck::Matches(pattern)),
                event: None,
                within: None,
                since: None,
            },
        }));
        steps.extend(send.clone().map(|send| Action::Send {
            on: STREAM.to_owned(),
            send,
            repeat: Repeat::ONCE,
        }));
    }
    Ok(steps)
}
