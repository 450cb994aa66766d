//! Columns as wide as their widest cell, by Go's `text/tabwriter` as the CLI sets it up.

/// The least width of a column, with the space after it.
const LEAST: usize = 10;
/// The space after a cell.
const SPACE: usize = 3;

/// Lines of cells; the last cell of a line isn't filled up.
pub(super) fn lines<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if index + 1 < N {
                let width = (widths[index] + SPACE).max(LEAST);
                text.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_filled_up_to_the_widest_and_to_ten() {
        let rows = [["ID", "B"], ["longer than that", "\u{2026}x"], ["", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(lines(&rows), "ID                 B\nlonger than that   \u{2026}x\n                   \n");
        assert_eq!(lines(&[["a".to_owned(), "b".to_owned()]]), "a         b\n");
    }
}
