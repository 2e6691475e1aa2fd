//! The parts that pages are put together of: sections, tables, events, figures, facts, plots.
//!
//! Each looks and reads the same wherever it stands: one heading and landmark a section, a caption
//! for every table, the instant behind every age.

use super::format::ago;
use crate::base::clock::UnixNanos;
use maud::{Markup, Render, html};

/// A column of a table.
#[derive(Clone, Copy)]
pub(super) enum Column<'a> {
    /// Of words.
    Text(&'a str),
    /// Of figures, which stand below each other.
    Number(&'a str),
}

/// A section under a heading; `#id` leads to it.
pub(super) fn section(id: &str, heading: impl Render, body: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (heading) }
            (body)
        }
    }
}

/// A section of several, which says how many there are.
pub(super) fn counted(id: &str, heading: &str, count: usize, body: &Markup) -> Markup {
    section(id, html! { (heading) @if count > 0 { " " span .count { (count) } } }, body)
}

/// What stands where there is nothing, and nothing has to be done.
pub(super) fn calm(words: &str) -> Markup {
    html! { p .calm { (words) } }
}

/// A table of rows. It scrolls by itself where it is wider than the page.
pub(super) fn rows(caption: &str, columns: &[Column<'_>], body: &Markup) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label=(caption) {
            table .rows {
                caption .hidden { (caption) }
                thead { tr {
                    @for column in columns {
                        @match *column {
                            Column::Text(name) => { th scope="col" { (name) } }
                            Column::Number(name) => { th scope="col" .number { (name) } }
                        }
                    }
                } }
                tbody { (body) }
            }
        }
    }
}

/// Things that happened, in order.
pub(super) fn events(items: &Markup) -> Markup {
    html! { ol .changes { (items) } }
}

/// One thing that happened: when, of what kind, and what.
pub(super) fn event(now: UnixNanos, at: UnixNanos, kind: impl Render, what: impl Render) -> Markup {
    html! { li { span .when { (ago(now, at)) } (kind) span { (what) } } }
}

/// A figure of a row of figures.
pub(super) fn figure(name: impl Render, value: impl Render) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// Names and what they stand for.
pub(super) fn facts<N: Render, V: Render>(pairs: impl IntoIterator<Item = (N, V)>) -> Markup {
    html! { dl .facts { @for (name, value) in pairs { dt { (name) } dd { (value) } } } }
}

/// A drawing over time between its scale and its axis: values from the top down, how far back it
/// reaches, and what its shapes mean.
pub(super) fn plot(scale: &[String], drawing: &Markup, span: &str, meaning: &str) -> Markup {
    html! {
        figure {
            div .plot {
                p .scale { @for value in scale { span { (value) } } }
                (drawing)
            }
            figcaption {
                span { "−" (span) }
                @if !meaning.is_empty() { span { (meaning) } }
                span { "now" }
            }
        }
    }
}
