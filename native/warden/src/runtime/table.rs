//! Columns of text, as runc prints them: padded to the longest cell and two blanks more.

const GAP: usize = 2;
const LEAST: usize = 10;

pub fn print(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count() + GAP)
                .max()
                .unwrap_or(0)
                .max(LEAST + GAP)
        })
        .collect();
    for row in rows {
        let line: String = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("{}", line.trim_end());
    }
}
