//! What the pages of a run and of a probe say.

use super::super::{render_probe, render_run, sample};
use super::document::text;
use crate::model::probe::Phase;

/// Guarantees that failures come first and in words, that every fact has its table, that repeated
/// ones fold, and that a message's way to its receivers is drawn.
#[test]
fn a_run_tells_what_its_steps_found() {
    let html = render_run(&sample::resilience_view());
    let facts = [
        "<b>lost</b> in <a href=\"#step-6\">step 6</a>",
        "crowd[117]",
        "id=\"waterfall\"",
        "kept open by the run before",
        "id=\"steps\"",
        "id=\"step-1\"",
        "6 checks held",
        "50 messages</b> came over its streams",
        "Message by message</summary>",
        "<caption>Fallback</caption>",
        "<caption>Connection</caption>",
        "<caption>Emulated network</caption>",
        "<caption>TLS</caption>",
        "<caption>Held stream</caption>",
        "<caption>Cut</caption>",
        "<caption>Resume</caption>",
        "<caption>Ledger</caption>",
        "1 more</summary>",
        "<caption>TURN</caption>",
        "<caption>Other facts</caption>",
        "title=\"vendor.zone\">vendor zone",
        "199 of 200 receivers had it, from 8.20ms to 120ms",
        "<b>status</b>: expected status 200, but it is 503",
        "id=\"trace\"",
    ];
    let mut rest = html.as_str();
    for fact in facts {
        let at = rest.find(fact);
        assert!(at.is_some(), "{fact} is missing or out of order");
        rest = rest.split_at(at.unwrap_or_default()).1;
    }
}

/// Guarantees a legend of exactly the phases that occur, whatever phases there are.
#[test]
fn the_legend_is_of_what_occurs() {
    for phase in Phase::ALL {
        let meaning = phase.meaning();
        assert!(
            !meaning.is_empty() && !meaning.contains("[`") && !meaning.ends_with('.'),
            "{meaning}"
        );
        assert!(meaning.len() < 90, "{meaning}");
    }
    let view = sample::resilience_view();
    let html = text(&render_run(&view)).replace("&#39;", "'");
    for phase in Phase::ALL {
        let occurs = view.run.phase_ns(*phase).is_some();
        assert_eq!(html.contains(phase.meaning()), occurs, "{phase:?}");
    }
}

/// Guarantees that a slot that was not run says so and how it counts, and shows no figures of a run.
#[test]
fn a_missed_slot_has_no_figures() {
    let html = render_run(&sample::missed_view());
    assert!(html.contains("counts neither as good nor as bad"));
    assert!(html.contains("in maintenance: vendor work"));
    assert!(!html.contains("id=\"waterfall\"") && !html.contains("Whole run"));
}

/// Guarantees that a probe's page tells its targets apart, which slots were not run and why, what is
/// uncertain, and what measuring adds.
#[test]
fn a_probe_page_tells_what_its_figures_are_worth() {
    let words = text(&render_probe(&sample::probe_page()));
    for part in [
        "its runs differ by target",
        "chat-a.example.com:443",
        "Slots that were not run",
        "are limited to 10/1m",
        "the run before was still going",
        "For 1 of them that decides whether it was within 150ms",
        "4 of the newest 92 runs went over a stream",
        "Measuring on this machine adds",
    ] {
        assert!(words.contains(part), "{part}");
    }
}
