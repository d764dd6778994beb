use super::{Labels, pixels};
use crate::InputError;

/// Cells of equal size, `rows` by `columns` of them, numbered row by row. Where
/// the picture's sides are no multiple, cells differ by a pixel; there are
/// never more rows than the picture has.
///
/// ```
/// use limpid_explain::regions::grid;
/// assert_eq!(grid(1, 5, 1, 2)?.as_slice(), [0, 0, 0, 1, 1]);
/// assert_eq!(grid(2, 2, 9, 9)?.count(), 4);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
///
/// # Errors
/// When `rows` or `columns` is zero, or there are 2^32 pixels.
pub fn grid(
    height: usize,
    width: usize,
    rows: usize,
    columns: usize,
) -> Result<Labels, InputError> {
    pixels([height, width])?;
    if rows == 0 || columns == 0 {
        let found = format!("{rows} x {columns}");
        return Err(InputError::invalid("the grid", "at least 1 x 1", found));
    }
    let (rows, columns) = (rows.min(height), columns.min(width));
    Ok(Labels::number([height, width], rows * columns, |pixel| {
        let (y, x) = (pixel / width, pixel % width);
        y * rows / height * columns + x * columns / width
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_rectangles_of_nearly_equal_size() {
        for (h, w, rows, columns) in [(7, 7, 3, 2), (224, 224, 7, 7), (1, 1, 1, 1), (5, 3, 5, 3)] {
            let cells = grid(h, w, rows, columns).unwrap();
            assert_eq!(cells.count(), rows * columns);
            for cell in cells.segments() {
                let of = |f: fn(usize, usize) -> usize| {
                    let all = cell.iter().map(move |p| f(*p as usize, w));
                    all.clone().max().unwrap() - all.min().unwrap() + 1
                };
                let (ch, cw) = (of(|p, w| p / w), of(|p, w| p % w));
                assert_eq!(cell.len(), ch * cw);
                assert!((h / rows..=h.div_ceil(rows)).contains(&ch));
                assert!((w / columns..=w.div_ceil(columns)).contains(&cw));
            }
        }
        assert!(grid(4, 4, 0, 2).is_err());
        assert!(grid(usize::MAX, 2, 1, 1).is_err());
    }
}
