//! The top line: one verdict over the whole view, in words.
//!
//! It is made here, from the same lists that the page shows, so that the two cannot disagree.

use super::format::{clock_text, coarse, share};
use super::symbol::Level;
use super::view::{BudgetVerdict, FiringView, PageView, Readiness};
use crate::model::alert::AlertState;
use crate::model::objective::Severity;

/// The verdict: is anything wrong, for whom, since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headline {
    /// How bad it is.
    pub level: Level,
    /// Is anything wrong?
    pub sentence: String,
    /// For whom and since when; or what the verdict rests on.
    pub detail: Option<String>,
}

/// The verdict over a view. What is worst is said first; what is not known is never called good.
#[must_use]
pub fn headline(view: &PageView) -> Headline {
    if let Readiness::Replaying { done } = view.readiness {
        return Headline {
            level: Level::Unknown,
            sentence: "Starting: the journal is being read".to_owned(),
            detail: Some(format!(
                "{} done; until then budgets and alerts are those of the last checkpoint.",
                share(done.clamp(0.0, 1.0))
            )),
        };
    }
    firing(view).unwrap_or_else(|| quiet(view))
}

/// The verdict when something fires or is frozen.
fn firing(view: &PageView) -> Option<Headline> {
    let of = |severity: Severity| -> Vec<&FiringView> {
        view.firing.iter().filter(|alert| alert.severity == severity).collect()
    };
    let (pages, tickets) = (of(Severity::Page), of(Severity::Ticket));
    let (level, worst, sentence) = if pages.is_empty() {
        let sentence = format!(
            "Nobody is paged; {} open: {}",
            plural(tickets.len(), "ticket"),
            names(&tickets)
        );
        (Level::Warning, &tickets, sentence)
    } else {
        let mut sentence = format!("Paging: {}", names(&pages));
        if !tickets.is_empty() {
            sentence.push_str(&format!("; {} open", plural(tickets.len(), "ticket")));
        }
        (Level::Bad, &pages, sentence)
    };
    let oldest = worst.iter().min_by_key(|alert| alert.since)?;
    let affected: Vec<&str> =
        worst.iter().filter_map(|alert| alert.affected.as_deref()).take(2).collect();
    let mut detail = if affected.is_empty() {
        String::new()
    } else {
        format!("Hits {}; ", affected.join(" and "))
    };
    detail.push_str(&format!(
        "since {}, {}.",
        clock_text(view.now, oldest.since),
        coarse(view.now.since(oldest.since))
    ));
    if worst.iter().all(|alert| alert.state == AlertState::Frozen) {
        detail.push_str(" Data is missing, so whether it still burns is not known.");
    }
    Some(Headline { level, sentence, detail: Some(upper_first(&detail)) })
}

/// The verdict when nothing fires.
fn quiet(view: &PageView) -> Headline {
    let having = |verdict: BudgetVerdict| {
        let names: Vec<&str> = view
            .budgets
            .iter()
            .filter(|budget| budget.verdict == verdict)
            .map(|budget| budget.name.as_str())
            .collect();
        (!names.is_empty()).then(|| listed(&names))
    };
    let stale: Vec<&str> = view
        .freshness
        .sources
        .iter()
        .filter(|source| source.stale)
        .map(|source| source.name.as_str())
        .collect();
    let say =
        |level, sentence: String, detail: Option<String>| Headline { level, sentence, detail };
    let total = view.budgets.len();
    if let Some(trouble) = &view.freshness.degraded {
        return say(
            Level::Warning,
            format!("Degraded: {trouble}"),
            Some("Nothing fires.".to_owned()),
        );
    }
    if total == 0 {
        return say(
            Level::Unknown,
            "No objective yet".to_owned(),
            Some("Nothing can be judged until an SLO says what is good.".to_owned()),
        );
    }
    if let Some(names) = having(BudgetVerdict::Exhausted) {
        return say(
            Level::Warning,
            format!("Nothing fires, but the budget is gone: {names}"),
            None,
        );
    }
    if !stale.is_empty() {
        return say(
            Level::Unknown,
            format!("Nothing fires, but data is stale: {}", listed(&stale)),
            None,
        );
    }
    if let Some(names) = having(BudgetVerdict::NoData) {
        return say(Level::Unknown, format!("Nothing fires, but data is missing: {names}"), None);
    }
    let sentence = match total {
        1 => "All is well: the SLO is within its budget".to_owned(),
        _ => format!("All is well: all {total} SLOs are within their budgets"),
    };
    say(Level::Good, sentence, None)
}

/// `1 page`, `3 pages`.
pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn names(alerts: &[&FiringView]) -> String {
    listed(&alerts.iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>())
}

/// Two names, and how many more there are.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, two] => format!("{one} and {two}"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} more", rest.len()),
    }
}

fn upper_first(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::super::view::{BudgetView, SourceFreshness};
    use super::*;

    /// Guarantees the order of the verdict: pages, tickets, what is gone, what is not known, good.
    #[test]
    fn the_worst_is_said_first() {
        let mut view = sample::big();
        let check = |view: &PageView, level: Level, part: &str| {
            let found = headline(view);
            assert_eq!(found.level, level, "{found:?}");
            assert!(found.sentence.contains(part), "{found:?}");
        };
        check(&view, Level::Bad, "Paging: send-message-on-phones; 1 ticket open");
        assert!(
            headline(&view)
                .detail
                .is_some_and(|d| d.starts_with("Hits app 4.2.0 on cellular; since"))
        );
        view.firing.retain(|alert| alert.severity == Severity::Ticket);
        check(&view, Level::Warning, "Nobody is paged");
        view.firing.clear();
        check(&view, Level::Warning, "the budget is gone: crash-ratio");
        view.budgets.retain(|budget| budget.verdict != BudgetVerdict::Exhausted);
        view.freshness.sources =
            vec![SourceFreshness { name: "phones".to_owned(), newest: None, stale: true }];
        check(&view, Level::Unknown, "data is stale: phones");
        view.freshness.sources.clear();
        check(&view, Level::Unknown, "data is missing");
        view.budgets =
            vec![BudgetView { verdict: BudgetVerdict::Healthy, ..BudgetView::default() }; 3];
        check(&view, Level::Good, "all 3 SLOs");
        view.freshness.degraded = Some("the control lane cannot be written".to_owned());
        check(&view, Level::Warning, "Degraded");
        view.readiness = Readiness::Replaying { done: 0.5 };
        check(&view, Level::Unknown, "Starting");
        check(&PageView::default(), Level::Unknown, "No objective yet");
    }
}
