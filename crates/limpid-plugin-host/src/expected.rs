//! What a plugin's maps must look like, wherever they come from.

use limpid_explain::{Attribution, Domain, ExplainError};

/// The most cells of a map on a layer's grid.
const MAX_CELLS: usize = 1 << 24;

/// What the maps of a job must look like.
#[derive(Debug, Clone)]
pub struct Expected {
    /// How many there are to be.
    pub maps: usize,
    /// The picture, `[C, H, W]`.
    pub dims: [usize; 3],
    /// What the method says of its output: `[C,H,W]`, `[H,W]` or `[h,w]`.
    pub output: String,
}

impl Expected {
    /// The extents of a map on this domain; none are given for a layer's grid.
    ///
    /// # Errors
    /// [`ExplainError::Shape`] when the method's maps are on another domain.
    pub fn extents(&self, domain: &Domain) -> Result<Option<Vec<usize>>, ExplainError> {
        let [c, h, w] = self.dims;
        let (output, extents) = match domain {
            Domain::Input => ("[C,H,W]", Some(vec![c, h, w])),
            Domain::Layer(_) => ("[h,w]", None),
            _ => ("[H,W]", Some(vec![h, w])),
        };
        if output == self.output {
            return Ok(extents);
        }
        Err(ExplainError::Shape {
            what: "a map of the method".into(),
            expected: format!("{}, as it says itself", self.output),
            found: output.into(),
        })
    }

    /// The most numbers that a map may have.
    #[must_use]
    pub fn most(&self) -> usize {
        self.dims.iter().product::<usize>().max(MAX_CELLS)
    }

    /// Whether a map has the extents that its domain and the method ask for,
    /// and finite numbers.
    ///
    /// # Errors
    /// [`ExplainError::Shape`] or [`ExplainError::NonFinite`].
    pub fn check(&self, map: &Attribution) -> Result<(), ExplainError> {
        let dims = map.map.dims();
        let wanted = self.extents(&map.domain)?;
        let fits = match &wanted {
            Some(wanted) => dims == wanted,
            None => match dims {
                [h, w] => h
                    .checked_mul(*w)
                    .is_some_and(|n| (1..=MAX_CELLS).contains(&n)),
                _ => false,
            },
        };
        let error = map.standard_error.as_ref();
        if !fits || error.is_some_and(|e| e.dims() != dims) {
            return Err(ExplainError::Shape {
                what: "a map".into(),
                expected: wanted.map_or_else(
                    || format!("[h,w] with at most {MAX_CELLS} cells"),
                    |wanted| format!("{wanted:?}"),
                ),
                found: format!("{dims:?}"),
            });
        }
        let complete = map.completeness.is_none_or(|c| c.expected.is_finite());
        if map.map.is_finite() && error.is_none_or(|e| e.is_finite()) && complete {
            return Ok(());
        }
        Err(ExplainError::NonFinite {
            what: "a map of the plugin".into(),
        })
    }
}
