//! Tables: a header, a rule, and columns that wrap rather than run out of the terminal.

use super::terminal;
use comfy_table::{
    Attribute, Cell, CellAlignment, ContentArrangement, LineStyle, Row, Table, TableStyle,
};

/// The width where there is no terminal to ask.
const DEFAULT_WIDTH: u16 = 100;

/// A column's heading; numbers align to the right.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Words.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
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
        .set_width(terminal::width().unwrap_or(DEFAULT_WIDTH))
        // Whether escapes are shown is decided where they are printed.
        .force_no_tty()
        .enforce_styling()
        .set_header(columns.iter().map(|column| column.heading()))
        .add_rows(rows);
    for (column, at) in columns.iter().zip(0..) {
        if let Some(shown) = table.column_mut(at) {
            let _ = shown.set_padding((if at == 0 { 0 } else { 1 }, 1));
            shown.set_cell_alignment(column.alignment());
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

impl Column {
    fn heading(self) -> Cell {
        let (Self::Left(text) | Self::Right(text)) = self;
        Cell::new(text).add_attribute(Attribute::Bold)
    }

    fn alignment(self) -> CellAlignment {
        match self {
            Self::Left(_) => CellAlignment::Left,
            Self::Right(_) => CellAlignment::Right,
        }
    }
}
