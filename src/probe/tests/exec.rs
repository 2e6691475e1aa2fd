//! Exec steps: programs that report, that do not, and that do not end.

use super::super::exec::ExecStep;
use super::super::spec::{Action, HeaderText, Step};
use super::{assert_failure, assert_success, number, phases, run, run_within, step};
use crate::base::secret::Secret;
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use std::time::Duration;

/// A program that is a script.
fn script(text: &str) -> ExecStep {
    ExecStep {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), text.replace('$', "$$")],
        environment: Vec::new(),
        input: None,
        directory: None,
    }
}

async fn run_exec(step_: ExecStep) -> ProbeRun {
    run(vec![step("1", Action::Exec(step_))]).await
}

fn attribute(run: &ProbeRun, name: &str) -> Option<String> {
    super::attribute(&run.steps[0], name)
}

/// Guarantees that a report becomes the step's result, and that values can be captured from it.
#[tokio::test]
async fn a_program_reports() {
    let report = r#"sleep 0.02; echo '{"version":1,"outcome":"success","value_ms":3.5,"status":7,
        "phases":[{"name":"connect","ms":1},{"name":"wait","ms":4}],
        "checks":[{"name":"badge","passed":true}],"attributes":{"push.provider":"apns"}}'"#;
    let first = Step {
        capture: vec![("provider".to_owned(), "/attributes/push.provider".to_owned())],
        ..step("1", Action::Exec(script(report)))
    };
    let mut second =
        script(r#"test "$1" = apns && echo "{\"version\":1,\"outcome\":\"success\"}""#);
    second.arguments.extend(["name".to_owned(), "${provider}".to_owned()]);
    let run = run(vec![first, step("2", Action::Exec(second))]).await;
    assert_success(&run);
    let done = &run.steps[0];
    assert_eq!(phases(done), [Phase::Connect, Phase::Wait]);
    assert_eq!((done.protocol.as_str(), done.target.as_str()), ("exec", "/bin/sh"));
    assert_eq!((done.message_latency_ns, done.status), (Some(3_500_000), Some(7)));
    assert_eq!(attribute(&run, "push.provider").as_deref(), Some("apns"));
    assert_eq!(attribute(&run, "process.exit.code").as_deref(), Some("0"));
    assert_eq!(phases(&run.steps[1]), [Phase::Wait]);
}

/// Guarantees what a program gets: its own environment and nothing of ours but PATH, its input, its
/// directory, and who it runs for.
#[tokio::test]
async fn a_program_gets_what_it_needs_and_no_more() {
    let text = r#"
        read line
        test "$line" = "hello ${#RADIOSONDE_RUN_ID}" || { echo "input: $line" >&2; exit 1; }
        test "$KEY" = hush || { echo "env: $KEY" >&2; exit 1; }
        test "$(pwd)" = / || { pwd >&2; exit 1; }
        test -z "$HOME$CARGO_MANIFEST_DIR" || { echo "home: $HOME" >&2; exit 1; }
        test -n "$PATH" || { echo "no path" >&2; exit 1; }
        test "$RADIOSONDE_TIMEOUT_MS" -gt 10000 || { echo "timeout" >&2; exit 1; }
        case "$RADIOSONDE_BAGGAGE" in user_agent.synthetic.type=test,*) ;;
            *) echo "baggage: $RADIOSONDE_BAGGAGE" >&2; exit 1;; esac
        case "$RADIOSONDE_TRACEPARENT" in "00-$RADIOSONDE_RUN_ID-"*-01) ;;
            *) echo "trace: $RADIOSONDE_TRACEPARENT" >&2; exit 1;; esac
        echo '{"version":1,"outcome":"success"}'"#;
    let secret = |text: &str| HeaderText::Secret(Secret::new(text));
    let program = ExecStep {
        environment: vec![("KEY".to_owned(), secret("hush"))],
        input: Some(secret("hello 32\n")),
        directory: Some("/".into()),
        ..script(text)
    };
    let shown = format!("{:?}{:?}", program.environment, program.input);
    assert!(!shown.contains("hush") && !shown.contains("hello"), "{shown}");
    assert_success(&run_exec(program).await);
}

/// Guarantees the reason of each way to fail, with the program's last line on standard error.
#[tokio::test]
async fn programs_that_fail() {
    let check = async |text: &str, reason: FailureReason, part: &str| {
        assert_failure(&run_exec(script(text)).await, reason, part);
    };
    let failed = r#"{"version":1,"outcome":"failure","reason":"late","message":"12 s"}"#;
    check(&format!("echo '{failed}'"), FailureReason::Late, "12 s").await;
    check(&format!("echo '{failed}'; exit 1"), FailureReason::Late, "12 s").await;
    let words = "the program exited with code 3; it said: no route";
    check("echo first >&2; echo no route >&2; exit 3", FailureReason::Check, words).await;
    check("kill -9 $$", FailureReason::Check, "the program was ended: signal: 9").await;
    check("true", FailureReason::Protocol, "printed nothing").await;
    check("echo OK; echo why >&2", FailureReason::Protocol, "; it said: why").await;
    let passed = r#"{"version":1,"outcome":"success"}"#;
    let words = "exited with code 1, but says that it was successful";
    check(&format!("echo '{passed}'; exit 1"), FailureReason::Protocol, words).await;
    let unknown = r#"{"version":1,"outcome":"success","phases":[{"name":"dns","ms":1}]}"#;
    check(&format!("echo '{unknown}'"), FailureReason::Protocol, "a phase `dns`").await;
    let missing = ExecStep { program: "/nowhere/push".into(), ..script("") };
    assert_failure(
        &run_exec(missing).await,
        FailureReason::Local,
        "/nowhere/push cannot be started",
    );
}

/// Guarantees that output is bounded, and that what went beyond is told.
#[tokio::test]
async fn output_is_bounded() {
    let text = "head -c 200000 /dev/zero | tr '\\0' x; head -c 100000 /dev/zero >&2; echo end >&2";
    let run = run_exec(script(text)).await;
    assert_failure(&run, FailureReason::Protocol, "more than 64 KiB, and the rest was discarded");
    assert_eq!(number(&run.steps[0], "exec.discarded_bytes"), Some(134_464));
}

/// Guarantees that a program that does not read its input does not hang.
#[tokio::test]
async fn input_need_not_be_read() {
    let program = ExecStep {
        input: Some(HeaderText::Plain("x".repeat(1 << 20))),
        ..script(r#"echo '{"version":1,"outcome":"success"}'"#)
    };
    assert_success(&run_exec(program).await);
}

/// Guarantees that a process left behind, with the pipes still open, is not waited for.
#[tokio::test]
async fn what_is_left_behind_is_not_waited_for() {
    let text = r#"sleep 30 & echo '{"version":1,"outcome":"success"}'"#;
    let run = run_exec(script(text)).await;
    assert_success(&run);
    assert!(run.duration_ns < 10_000_000_000);
}

/// Guarantees that a program that does not end costs the timeout, and that neither it nor what it
/// started lives on.
#[tokio::test]
async fn a_program_is_killed_at_the_deadline() {
    killed_at_the_deadline("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 300").await;
    killed_at_the_deadline("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait").await;
}

/// Runs a script that writes the number of a process to the file `{0}`, and waits for its end.
async fn killed_at_the_deadline(text: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let note = folder.path().join("pid");
    let text = text.replace("{0}", &note.display().to_string());
    let steps = vec![step("1", Action::Exec(script(&text)))];
    let run = run_within(Duration::from_millis(500), steps).await;
    assert_failure(&run, FailureReason::Timeout, "/bin/sh was running");
    assert!(run.duration_ns >= 500_000_000);
    let pid = std::fs::read_to_string(&note).expect("it had begun").trim().to_owned();
    let process = format!("/proc/{pid}/stat");
    let is_gone = || {
        // Until it is waited for, a process that was killed is a zombie.
        std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "))
    };
    let gone = async {
        while !is_gone() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it was killed");
}
