//! Echoes to loopback, as far as this machine permits them, and what happens where it does not.

use super::super::deadline::Deadline;
use super::super::marking::Mark;
use super::super::runner::Context;
use super::super::template::Variables;
use super::super::tests::{attribute, number};
use super::*;
use crate::base::clock::{Clock, UnixNanos};
use crate::model::probe::{Failure, RunId, StepResult};
use crate::telemetry::Telemetry;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::task::AbortOnDropHandle;

/// Nothing here takes a fraction of it, unless something hangs.
const CEILING: Duration = Duration::from_secs(20);

fn ping(host: impl ToString) -> IcmpStep {
    IcmpStep {
        host: host.to_string(),
        count: 3,
        interval: Duration::from_millis(20),
        size: 56,
        family: Family::Any,
        max_loss: 0.0,
        wait: None,
        fallback: None,
        hop_limit: None,
    }
}

fn refuse(_: IpAddr) -> io::Result<EchoSocket> {
    Err(io::ErrorKind::PermissionDenied.into())
}

fn is_permitted(address: IpAddr) -> bool {
    EchoSocket::open(address).is_ok()
}

async fn run_step(
    step: &IcmpStep,
    open: impl Fn(IpAddr) -> io::Result<EchoSocket>,
    timeout: Duration,
) -> (StepResult, Option<Failure>) {
    let clock = Clock::system();
    let context = Context::new(clock.clone(), Telemetry::new());
    let began = clock.monotonic();
    let deadline = Deadline::new(&clock, began, timeout);
    let variables = Variables::new(RunId([1; 16]), UnixNanos(0));
    let mark = Mark { run: RunId([1; 16]), span: [1; 8], probe: "p".to_owned() };
    let with = StepContext {
        network: None,
        dialling: Default::default(),
        context: &context,
        deadline: &deadline,
        variables: &variables,
        mark: &mark,
        writes: &[],
    };
    let mut record = StepRecord::begin(&clock, began, "1", [1; 8]);
    let failure = run_over(step, open, with, &mut record).await.err();
    (record.finish(failure.clone()), failure)
}

fn phases(result: &StepResult) -> Vec<Phase> {
    result.phases.iter().map(|timing| timing.phase).collect()
}

#[track_caller]
fn assert_fails(failure: Option<Failure>, reason: FailureReason, part: &str) {
    let failure = failure.expect("it fails");
    assert_eq!(failure.reason, reason, "{}", failure.message);
    assert!(failure.message.contains(part), "{}", failure.message);
}

/// Guarantees echoes over both families where the machine permits them: all come back, phases lie end
/// to end, the value is a round trip.
#[tokio::test]
async fn loopback_echoes() {
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        if !is_permitted(address) {
            continue;
        }
        let (result, failure) = run_step(&ping(address), EchoSocket::open, CEILING).await;
        assert_eq!(failure, None);
        use Phase::{Send, Wait};
        assert_eq!(phases(&result), [Send, Wait, Send, Wait, Send, Wait]);
        assert_eq!(attribute(&result, "icmp.sent").as_deref(), Some("3"));
        assert_eq!(attribute(&result, "icmp.received").as_deref(), Some("3"));
        assert_eq!(attribute(&result, "icmp.fallback").as_deref(), None);
        assert!(attribute(&result, "icmp.rtt_min_ns").is_some());
        let value = result.message_latency_ns.expect("a value");
        assert!(value <= result.duration_ns && result.duration_ns >= 40_000_000);
    }
}

/// Guarantees the smallest and the largest payload, and names with a family.
#[tokio::test]
async fn sizes_and_families() {
    if !is_permitted(Ipv4Addr::LOCALHOST.into()) {
        return;
    }
    for size in [0, 1400] {
        let step = IcmpStep { size, count: 1, ..ping("127.0.0.1") };
        assert_eq!(run_step(&step, EchoSocket::open, CEILING).await.1, None);
    }
    let step = IcmpStep { family: Family::Ipv4, ..ping("localhost") };
    let (result, failure) = run_step(&step, EchoSocket::open, CEILING).await;
    assert_eq!(failure, None);
    assert_eq!(result.phases.first().map(|timing| timing.phase), Some(Phase::Resolve));
    assert_eq!(attribute(&result, "network.peer.address").as_deref(), Some("127.0.0.1"));
}

/// Guarantees that an address of the other family is no address.
#[tokio::test]
async fn a_family_must_be_there() {
    let step = IcmpStep { family: Family::Ipv6, ..ping("127.0.0.1") };
    let (_, failure) = run_step(&step, refuse, CEILING).await;
    assert_fails(failure, FailureReason::Resolve, "127.0.0.1 has no IPv6 address");
}

/// Guarantees that without permission connections are timed, that this is said and no failure, and
/// that a host that refuses them has answered.
#[tokio::test]
async fn without_permission_connections_are_timed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let step = IcmpStep { fallback: Some(port), ..ping("127.0.0.1") };
    for is_open in [true, false] {
        let (result, failure) = run_step(&step, refuse, CEILING).await;
        assert_eq!(failure, None);
        assert_eq!(phases(&result), [Phase::Connect; 3]);
        let said = attribute(&result, "icmp.fallback");
        assert_eq!(said.as_deref(), Some("tcp connect: not permitted to send ICMP"));
        assert_eq!(attribute(&result, "icmp.received").as_deref(), Some("3"));
        assert!(result.message_latency_ns.is_some());
        if is_open {
            // Accepted ones would be reset only when the listener goes.
            let _ = listener.accept().await.expect("it was connected to");
        }
    }
}

/// Guarantees that a definition may insist on echoes, and is told how to permit them.
#[tokio::test]
async fn without_permission_and_fallback_it_is_our_fault() {
    let (_, failure) = run_step(&ping("127.0.0.1"), refuse, CEILING).await;
    assert_fails(failure.clone(), FailureReason::Local, "net.ipv4.ping_group_range");
    assert_fails(failure, FailureReason::Local, "cap_net_raw");
}

/// Guarantees what is said of losses: a silent host costs the timeout, a part of the echoes is lost,
/// and what the definition allows passes.
#[tokio::test]
async fn losses_are_told() {
    let judged = |arrived: [bool; 4], max_loss: f64, passed: bool| {
        let clock = Clock::manual(UnixNanos(0));
        let context = Context::new(clock.clone(), Telemetry::new());
        let deadline = Deadline::new(&clock, MonoNanos(0), Duration::from_secs(1));
        if passed {
            clock.advance(Duration::from_secs(1));
        }
        let variables = Variables::new(RunId([1; 16]), UnixNanos(0));
        let mark = Mark { run: RunId([1; 16]), span: [1; 8], probe: "p".to_owned() };
        let with = StepContext {
            network: None,
            dialling: Default::default(),
            context: &context,
            deadline: &deadline,
            variables: &variables,
            mark: &mark,
            writes: &[],
        };
        let mut record = StepRecord::begin(&clock, MonoNanos(0), "1", [1; 8]);
        let echoes: Vec<Echo> = (1..)
            .zip(arrived)
            .map(|(n, came)| Echo {
                from: MonoNanos(n * 100),
                sent: MonoNanos(n * 100 + 1),
                arrived: came.then_some(MonoNanos(n * 100 + 10 * n)),
            })
            .collect();
        record.phase(Phase::Wait, MonoNanos(0), MonoNanos(1_000));
        let step = IcmpStep { count: 4, max_loss, ..ping("10.0.0.1") };
        let failure = judge(&step, &step.host, &echoes, None, with, &mut record).err();
        (record.finish(None), failure)
    };
    let (result, failure) = judged([true, true, true, true], 0.0, false);
    assert_eq!((failure, result.message_latency_ns), (None, Some(25)));
    let (_, failure) = judged([true, false, true, true], 0.0, false);
    let words = "no more than 0% of 4 echoes are lost, but 1 of 4 are (25%)";
    assert_fails(failure, FailureReason::Lost, words);
    let (result, failure) = judged([true, false, true, true], 0.25, false);
    assert_eq!((failure, result.message_latency_ns), (None, Some(30)));
    let (_, failure) = judged([false; 4], 1.0, false);
    assert_fails(failure, FailureReason::Lost, "4 of 4 are (100%)");
    let (_, failure) = judged([false; 4], 0.0, true);
    assert_fails(failure, FailureReason::Timeout, "waiting for an answer of 10.0.0.1 to 4 echoes");
}

/// What stands for a host: it hands each echo, with its number, to `answer` and sends what comes of
/// it.
struct StandIn {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

const IDENTIFIER: u16 = 0x1234;

impl StandIn {
    async fn new(answer: impl Fn(usize, Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            let mut packet = [0; 2048];
            for number in 0.. {
                let (length, asker) = socket.recv_from(&mut packet).await.expect("an echo");
                let mut echo = packet[..length].to_vec();
                echo[0] = 0;
                for reply in answer(number, echo) {
                    let _ = socket.send_to(&reply, asker).await.expect("sent");
                }
            }
        });
        Self { address, _task: AbortOnDropHandle::new(task) }
    }

    fn open(&self) -> io::Result<EchoSocket> {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address)?;
        EchoSocket::over(socket, IDENTIFIER)
    }

    async fn run(&self, step: &IcmpStep, timeout: Duration) -> (StepResult, Option<Failure>) {
        run_step(step, |_| self.open(), timeout).await
    }
}

/// Guarantees that a host that is silent costs the timeout and no more.
#[tokio::test]
async fn a_silent_host_costs_the_timeout() {
    let silent = StandIn::new(|_, _| Vec::new()).await;
    let (result, failure) = silent.run(&ping("127.0.0.1"), Duration::from_millis(200)).await;
    assert_fails(failure, FailureReason::Timeout, "for an answer of 127.0.0.1 to 3 echoes");
    assert!(result.duration_ns >= 200_000_000);
    assert_eq!(phases(&result), [Phase::Send; 3]);
    assert_eq!(attribute(&result, "icmp.received").as_deref(), Some("0"));
}

/// Guarantees that an answer is counted once, and only to an echo of this run.
#[tokio::test]
async fn foreign_answers_do_not_count() {
    let forging = StandIn::new(|_, echo| {
        let changed = |place: usize| {
            let mut echo = echo.clone();
            echo[place] ^= 0x40;
            echo
        };
        vec![changed(0), changed(4), changed(6), Vec::new(), echo[..7].to_vec(), echo.clone(), echo]
    })
    .await;
    let (result, failure) = forging.run(&ping("127.0.0.1"), CEILING).await;
    assert_eq!(failure, None);
    assert_eq!(attribute(&result, "icmp.received").as_deref(), Some("3"));
}

/// Guarantees that a lost echo is waited for as long as the step says, and passes where it may.
#[tokio::test]
async fn a_lost_echo_is_not_waited_for_for_ever() {
    let losing = || StandIn::new(|number, echo| if number == 1 { Vec::new() } else { vec![echo] });
    let wait = Some(Duration::from_millis(50));
    let allowed = IcmpStep { max_loss: 0.5, wait, ..ping("127.0.0.1") };
    let (result, failure) = losing().await.run(&allowed, CEILING).await;
    assert_eq!(failure, None);
    use Phase::{Send, Wait};
    assert_eq!(phases(&result), [Send, Wait, Send, Send, Wait]);
    let strict = IcmpStep { max_loss: 0.0, ..allowed };
    let (_, failure) = losing().await.run(&strict, CEILING).await;
    assert_fails(failure, FailureReason::Lost, "1 of 3 are (33.3%)");
}

/// Guarantees that an error which a network sends back costs one echo and not the step; where no echo
/// comes back, it says why.
#[tokio::test]
async fn an_error_costs_one_echo() {
    let opened_late = async |count: u16, max_loss: f64| {
        // Until somebody listens there, the system answers with errors.
        let reserved = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = reserved.local_addr().expect("bound");
        drop(reserved);
        let open = |_| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(address)?;
            EchoSocket::over(socket, IDENTIFIER)
        };
        let step = IcmpStep { count, max_loss, ..ping("127.0.0.1") };
        let echoing = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let socket = UdpSocket::bind(address).await.expect("it is free again");
            let mut packet = [0; 2048];
            loop {
                let (length, asker) = socket.recv_from(&mut packet).await.expect("an echo");
                packet[0] = 0;
                let _ = socket.send_to(&packet[..length], asker).await.expect("sent");
            }
        };
        tokio::select! {
            done = run_step(&step, open, CEILING) => done,
            () = echoing => unreachable!("it never ends"),
        }
    };
    let (result, failure) = opened_late(20, 0.9).await;
    assert_eq!(failure, None);
    let received = number(&result, "icmp.received").expect("it is told");
    assert!((1..20).contains(&received), "{received}");
    let (_, failure) = opened_late(1, 0.9).await;
    assert_fails(failure, FailureReason::Connect, "waiting for an answer of 127.0.0.1");
}
