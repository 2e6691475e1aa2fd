//! What module files come to.

use super::super::{Loaded, load_embedded};
use crate::probe::blackbox::{Aim, Module, Prober};
use crate::probe::guard::AddressGuard;
use crate::probe::spec::{Action, HeaderText, HttpVersion};
use crate::probe::writes::may_write;
use std::sync::Arc;
use std::time::Duration;

fn load(files: &[(&str, &str)]) -> Loaded {
    let loaded = load_embedded(files, &|_| true);
    let all: Vec<String> =
        loaded.problems.iter().chain(&loaded.warnings).map(ToString::to_string).collect();
    assert_eq!(all, Vec::<String>::new());
    loaded
}

fn module(loaded: &Loaded, name: &str) -> Arc<Module> {
    let settings = loaded.settings.as_ref().expect("no mistakes");
    Arc::clone(settings.modules.modules.get(name).expect(name))
}

/// Guarantees that the modules of blackbox_exporter's example are there when no file has any, and that
/// the shipped file has every kind.
#[test]
fn the_usual_modules_are_there() {
    let names = |loaded: &Loaded| -> Vec<String> {
        let settings = loaded.settings.as_ref().expect("no mistakes");
        settings.modules.modules.keys().cloned().collect()
    };
    assert_eq!(
        names(&load(&[])),
        [
            "grpc",
            "grpc_plain",
            "http_2xx",
            "http_post_2xx",
            "icmp",
            "icmp_ttl5",
            "irc_banner",
            "pop3s_banner",
            "ssh_banner",
            "tcp_connect",
        ]
    );
    let shipped = load(&[("a.yaml", include_str!("../../../probes/blackbox-modules.yaml"))]);
    let kinds: std::collections::BTreeSet<&str> =
        names(&shipped).iter().map(|name| module(&shipped, name).prober.name()).collect();
    assert_eq!(kinds.len(), super::PROBERS.len(), "{kinds:?}");
    assert_eq!(names(&load(&[("a.yaml", "modules: { one: { prober: icmp } }")])), ["one"]);
}

/// Guarantees the defaults that blackbox_exporter has and probes have not.
#[test]
fn defaults_are_those_of_blackbox_exporter() {
    let loaded = load(&[(
        "a.yaml",
        "modules: { a: { prober: http }, b: { prober: dns, dns: { query_name: a.test } } }",
    )]);
    let http = module(&loaded, "a");
    assert!(http.families.prefers_v6 && http.families.fallback && http.timeout.is_none());
    let Prober::Http(http) = &http.prober else { unreachable!("http") };
    assert_eq!((http.step.method.as_str(), http.step.max_redirects), ("GET", 10));
    assert_eq!(http.step.version, HttpVersion::Auto);
    let dns = module(&loaded, "b");
    let Prober::Dns(dns) = &dns.prober else { unreachable!("dns") };
    assert_eq!(
        (dns.step.record_type, dns.step.min_answers, dns.step.recursion),
        (255, Some(0), true)
    );
    assert!(dns.step.accept_truncated && dns.step.rcodes.is_empty());
}

/// Guarantees that secrets are hidden where modules are shown, and arrive where they are sent; and that
/// texts of modules and targets are no templates of ours.
#[test]
fn secrets_and_dollars_arrive_as_they_are() {
    let files = [
        (
            "probes/a.yaml",
            "modules:\n  a:\n    prober: http\n    http:\n      body: 'cost $5 ${run.id} $$'\n      \
             headers: { Cookie: crumbs-$1, X-Plain: seen }\n      \
             authorization: { credentials_file: token.txt }\n      \
             http_headers: { X-Key: { secrets: [ hush ], values: [ open ] } }\n      \
             proxy_connect_header: { password: proxied }\n",
        ),
        ("probes/token.txt", "s3cr$t\n"),
    ];
    let loaded = load_embedded(&files, &|_| true);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let module = module(&loaded, "a");
    for secret in ["s3cr", "crumbs", "hush", "proxied"] {
        assert!(!module.shown.contains(secret), "{}", module.shown);
        assert!(!format!("{module:?}").contains(&format!("\"{secret}")), "{module:?}");
    }
    assert!(module.shown.contains("X-Plain: seen"), "{}", module.shown);
    let aim = Aim {
        target: "http://a.test/${run.id}?$x",
        hostname: Some("b.test:8080"),
        timeout: Duration::from_secs(1),
        writes: [].into(),
    };
    let spec = module.probe(&aim).expect("a target");
    let Action::Http(step) = &spec.steps[0].action else { unreachable!("http") };
    assert_eq!(step.body.as_deref(), Some("cost $$5 $${run.id} $$$$"));
    assert!(!step.url.replace("$$", "").contains('$'), "{}", step.url);
    assert_eq!(step.tls.server_name.as_deref(), Some("b.test"));
    let header = |name: &str| step.headers.iter().find(|(known, _)| known == name).map(|(_, v)| v);
    assert!(
        matches!(header("authorization"), Some(HeaderText::Secret(text)) if text.reveal() == "Bearer s3cr$$t")
    );
    assert!(
        matches!(header("cookie"), Some(HeaderText::Secret(text)) if text.reveal() == "crumbs-$$1")
    );
    assert_eq!(header("host").map(HeaderText::reveal), Some("b.test:8080"));
}

/// Guarantees who may have what probed: without a list all where only this machine asks, nothing
/// elsewhere; and that modules write where the list, or that of writes, says so.
#[test]
fn targets_are_those_of_the_list() {
    let check = |settings: &str, guard: &str, writes_out: bool| {
        let loaded = load_embedded(&[("radiosonde.yaml", settings)], &|_| true);
        let modules = loaded.settings.expect("no mistakes").modules;
        let found = match &modules.guard {
            AddressGuard::Anywhere => "anywhere".to_owned(),
            AddressGuard::Only(entries) => entries.len().to_string(),
        };
        assert_eq!(found, guard, "{settings}");
        let url = url::Url::parse("http://192.0.2.1/").expect("a URL");
        assert_eq!(may_write(&url, &modules.writes), writes_out, "{settings}");
    };
    check("", "anywhere", false);
    check("writes: { allow: [ 192.0.2.1 ] }", "anywhere", true);
    check("blackbox: { allow: [ 192.0.2.0/24, a.test ] }", "2", true);
    check("{ listen: 0.0.0.0:1, insecure: true }", "0", false);
    check("{ listen: 0.0.0.0:1, insecure: true, blackbox: { allow: [ a.test ] } }", "1", true);
}
