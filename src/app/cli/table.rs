//! Tables: a header, a rule, and columns that wrap rather than run out of the terminal.

use super::terminal;
use comfy_table::{
    Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Row, Table,
    TableStyle,
};

/// The width where there is no terminal to ask.
const DEFAULT_WIDTH: u16 = 100;
/// Where a name may break: a space without width, gone when the table is drawn.
const BREAK: char = '\u{200b}';

/// A column's heading; numbers align to the right.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Words that are never broken.
    Left(&'static str),
    /// Figures, which are never broken.
    Right(&'static str),
    /// Names, which may break after a hyphen; made with [`name`].
    Name(&'static str),
    /// Sentences, which may break at a space.
    Text(&'static str),
}

/// How wide a table may be.
pub(super) fn table_width() -> u16 {
    terminal::width().unwrap_or(DEFAULT_WIDTH)
}

/// The table as lines, each with a line break.
pub(super) fn render<R: Into<Row>>(
    columns: &[Column],
    rows: impl IntoIterator<Item = R>,
) -> String {
    let rule = LineStyle::none().fill('─').junction('─');
    let mut table = Table::new();
    let _ = table
        .load_style(TableStyle::new().header_separator(rule))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(table_width())
        // Whether escapes are shown is decided where they are printed.
        .force_no_tty()
        .enforce_styling()
        .set_header(columns.iter().map(|column| column.heading()))
        .add_rows(rows);
    // Otherwise the spaces beside a text have its style, and cannot be trimmed.
    table.style_text_only();
    for (column, at) in columns.iter().zip(0..) {
        if let Some(shown) = table.column_mut(at) {
            let _ = shown.set_padding((if at == 0 { 0 } else { 1 }, 1));
            shown.set_cell_alignment(column.alignment());
            match column {
                Column::Left(_) | Column::Right(_) => {
                    let _ = shown.set_constraint(ColumnConstraint::ContentWidth);
                }
                Column::Name(_) => drop(shown.set_delimiter(BREAK)),
                Column::Text(_) => {}
            }
        }
    }
    table.lines().map(|line| format!("{}\n", line.replace(BREAK, "").trim_end())).collect()
}

/// A name that may break after its hyphens.
pub(super) fn name(text: &str) -> String {
    text.replace('-', &format!("-{BREAK}"))
}

impl Column {
    fn heading(self) -> Cell {
        let (Self::Left(text) | Self::Right(text) | Self::Name(text) | Self::Text(text)) = self;
        Cell::new(text).add_attribute(Attribute::Bold)
    }

    fn alignment(self) -> CellAlignment {
        match self {
            Self::Left(_) | Self::Name(_) | Self::Text(_) => CellAlignment::Left,
            Self::Right(_) => CellAlignment::Right,
        }
    }
}
