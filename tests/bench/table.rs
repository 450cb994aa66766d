//! The one table that a bench prints.

use crate::compare::Row;

pub(crate) fn print(rows: &[Row]) -> String {
    let head = ["what", "ours", "peer", "ratio", "bar"].map(str::to_owned);
    let cells = |row: &Row| [&row.what, &row.ours, &row.peer, &row.ratio, &row.bar].map(Clone::clone);
    let lines: Vec<[String; 5]> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}
