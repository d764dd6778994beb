//! Where on the picture a map lies, against a mask that knows what is where.

use super::pixel_map;
use crate::Attribution;

/// What is where: a label for each pixel, such as 0 for the background, 1 for
/// the object and 2 for something that the model ought not to look at.
///
/// ```
/// use limpid_explain::metrics::LabelMask;
/// let mask = LabelMask::new(vec![0, 1, 1, 1], [2, 2]).ok_or("not 2 x 2 labels")?;
/// assert_eq!(mask.area_share(1), 0.75);
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMask {
    labels: Vec<u8>,
    height: usize,
    width: usize,
}

impl LabelMask {
    /// A mask of `[height, width]` labels in C order; `None` where there are
    /// not as many, or none.
    #[must_use]
    pub fn new(labels: Vec<u8>, [height, width]: [usize; 2]) -> Option<Self> {
        let fits = !labels.is_empty() && height.checked_mul(width) == Some(labels.len());
        fits.then_some(Self {
            labels,
            height,
            width,
        })
    }

    /// Height and width in pixels.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// The labels, `[height, width]` in C order.
    #[must_use]
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The share of the pixels that bear a label, 0 to 1: the attribution share
    /// of a map that is the same everywhere.
    #[must_use]
    pub fn area_share(&self, label: u8) -> f64 {
        let count = self.labels.iter().filter(|l| **l == label).count();
        count as f64 / self.labels.len() as f64
    }

    /// The mask as a model sees it: the part `crop` = [x, y, width, height], in
    /// pixels of this mask, at `[height, width]`, by the nearest label. Outside
    /// of the mask, where the picture was padded, the label is 0.
    ///
    /// ```
    /// use limpid_explain::metrics::LabelMask;
    /// let mask = LabelMask::new(vec![1, 2, 3, 4], [2, 2]).ok_or("not 2 x 2 labels")?;
    /// let right = mask.resampled([1.0, 0.0, 2.0, 2.0], [2, 2]);
    /// assert_eq!(right.labels(), [2, 0, 4, 0]);
    /// # Ok::<(), &str>(())
    /// ```
    #[must_use]
    pub fn resampled(&self, crop: [f64; 4], [height, width]: [usize; 2]) -> Self {
        let [x, y, crop_width, crop_height] = crop;
        let nearest = |start: f64, length: f64, cells: usize, extent: usize| {
            let step = length / cells as f64;
            let at = move |i: usize| start + (i as f64 + 0.5) * step;
            let inside = move |v: f64| (0.0..extent as f64).contains(&v).then_some(v as usize);
            (0..cells).map(at).map(inside).collect::<Vec<_>>()
        };
        let columns = nearest(x, crop_width, width, self.width);
        let rows = nearest(y, crop_height, height, self.height);
        let label = |row: Option<usize>, column: Option<usize>| {
            row.zip(column)
                .map_or(0, |(row, column)| self.labels[row * self.width + column])
        };
        let labels = rows
            .iter()
            .flat_map(|row| columns.iter().map(|column| label(*row, *column)))
            .collect();
        Self {
            labels,
            height,
            width,
        }
    }
}

/// The share, 0 to 1, of a map's attribution that falls on the pixels of a
/// label. The mask is of the model's input. What is attributed to a pixel is the
/// positive part of the signed sum over channels; a map on a layer's grid is
/// first interpolated bilinearly to the mask's size. `None` where nothing is
/// positive.
#[must_use]
pub fn attribution_share(map: &Attribution, mask: &LabelMask, label: u8) -> Option<f64> {
    let (mut inside, mut total) = (0.0, 0.0);
    for (value, at) in pixel_map(map, mask.size()).into_iter().zip(&mask.labels) {
        let positive = f64::from(value.max(0.0));
        total += positive;
        if *at == label {
            inside += positive;
        }
    }
    (total > 0.0).then(|| inside / total)
}

/// The sum of a map over the pixels of a label, signs and all: for a path
/// method, whose map adds up to a difference of scores, the region's part of it.
/// A map that alternates in sign from pixel to pixel has much positive
/// attribution wherever it has any; what remains after cancelling is this. A map
/// on a layer's grid is interpolated as in [`attribution_share`].
#[must_use]
pub fn net_attribution(map: &Attribution, mask: &LabelMask, label: u8) -> f64 {
    let values = pixel_map(map, mask.size());
    let labelled = values
        .iter()
        .zip(&mask.labels)
        .filter(|(_, l)| **l == label);
    labelled.map(|(value, _)| f64::from(*value)).sum()
}

/// The tolerance of the pointing game, in pixels, in Zhang et al., "Top-down
/// Neural Attention by Excitation Backprop" (2016), and in the papers since.
pub const POINTING_TOLERANCE: f64 = 15.0;

/// The pointing game: whether the map's maximum lies at most `tolerance` pixels
/// of the model's input from a pixel of the label. The map is the signed sum
/// over channels, interpolated as in [`attribution_share`]; of several maxima
/// the first in row-major order counts. `None` where the mask does not bear the
/// label, or the map is the same everywhere and so points nowhere.
#[must_use]
pub fn pointing_game(
    map: &Attribution,
    mask: &LabelMask,
    label: u8,
    tolerance: f64,
) -> Option<bool> {
    let values = pixel_map(map, mask.size());
    let first = *values.first()?;
    let (mut place, mut highest) = (0, first);
    for (i, value) in values.iter().enumerate() {
        if *value > highest {
            (place, highest) = (i, *value);
        }
    }
    let constant = values.iter().all(|v| *v == first);
    if constant || !mask.labels.contains(&label) {
        return None;
    }
    let (row, column) = (place / mask.width, place % mask.width);
    let near = |i: usize| {
        let (rows, columns) = (
            (i / mask.width).abs_diff(row),
            (i % mask.width).abs_diff(column),
        );
        (rows as f64).hypot(columns as f64) <= tolerance
    };
    let mut labelled = (0..values.len()).filter(|i| mask.labels[*i] == label);
    Some(labelled.any(near))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Domain, Evaluations};
    use limpid_tensor::Tensor;

    fn map(dims: &[usize], values: &[f32], domain: Domain) -> Attribution {
        Attribution {
            map: Tensor::from_slice(dims.to_vec(), values).unwrap(),
            domain,
            standard_error: None,
            signed: true,
            completeness: None,
            evaluations: Evaluations::default(),
        }
    }

    fn input(dims: &[usize], values: &[f32]) -> Attribution {
        map(dims, values, Domain::Input)
    }

    fn mask(labels: &[u8], size: [usize; 2]) -> LabelMask {
        LabelMask::new(labels.to_vec(), size).unwrap()
    }

    #[test]
    fn a_share_counts_the_positive_part_of_the_signed_channel_sum() {
        // Channel sums 3, -4, 1, 0: the second channel cancels the first at one
        // pixel, and what is negative does not count against the rest.
        let m = input(&[2, 2, 2], &[2.0, 1.0, -1.0, 5.0, 1.0, -5.0, 2.0, -5.0]);
        let regions = mask(&[1, 1, 2, 3], [2, 2]);
        assert_eq!(attribution_share(&m, &regions, 1), Some(0.75));
        assert_eq!(attribution_share(&m, &regions, 2), Some(0.25));
        assert_eq!(attribution_share(&m, &regions, 3), Some(0.0));
        assert_eq!(attribution_share(&m, &regions, 9), Some(0.0));
        let negative = input(&[1, 1, 2], &[-1.0, 0.0]);
        assert_eq!(
            attribution_share(&negative, &mask(&[1, 0], [1, 2]), 1),
            None
        );
    }

    #[test]
    fn a_net_attribution_keeps_signs_and_adds_up_to_the_map() {
        let m = input(&[2, 1, 3], &[2.0, -1.0, 4.0, -3.0, 0.5, 1.0]);
        let regions = mask(&[1, 1, 2], [1, 3]);
        assert_eq!(net_attribution(&m, &regions, 1), -1.5);
        assert_eq!(net_attribution(&m, &regions, 2), 5.0);
        assert_eq!(net_attribution(&m, &regions, 7), 0.0);
        assert_eq!(m.total(), 3.5);
    }

    #[test]
    fn a_map_on_a_grid_is_interpolated_first() {
        // 0 and 1 at the centres of two cells: over four pixels 0, 1/4, 3/4, 1.
        let m = map(&[1, 2], &[0.0, 1.0], Domain::Layer("bn2".into()));
        let regions = mask(&[1, 1, 2, 3], [1, 4]);
        assert_eq!(attribution_share(&m, &regions, 1), Some(0.125));
        assert_eq!(attribution_share(&m, &regions, 2), Some(0.375));
        assert_eq!(attribution_share(&m, &regions, 3), Some(0.5));
    }

    #[test]
    fn a_constant_map_has_the_share_of_the_area() {
        let m = map(&[2, 2], &[0.3; 4], Domain::Layer("bn2".into()));
        let labels: Vec<u8> = (0..35).map(|i| u8::from(i % 5 == 0)).collect();
        let regions = mask(&labels, [5, 7]);
        let share = attribution_share(&m, &regions, 1).unwrap();
        assert_eq!(regions.area_share(1), 0.2);
        assert!((share - 0.2).abs() < 1e-6, "{share}");
    }

    #[test]
    fn the_pointing_game_takes_the_first_maximum_and_a_round_tolerance() {
        let mut values = [0.0; 64 * 64];
        values[20 * 64 + 30] = 2.0;
        values[60 * 64 + 60] = 2.0;
        // A larger magnitude that speaks against the class is no maximum.
        values[0] = -9.0;
        let m = input(&[1, 64, 64], &values);
        let hit = |row: usize, column: usize, tolerance| {
            let mut labels = vec![0; 64 * 64];
            labels[row * 64 + column] = 1;
            pointing_game(&m, &mask(&labels, [64, 64]), 1, tolerance)
        };
        assert_eq!(hit(20, 30, 0.0), Some(true));
        assert_eq!(hit(20, 31, 0.0), Some(false));
        assert_eq!(hit(60, 60, POINTING_TOLERANCE), Some(false));
        // 9, 12 and 15 are a right triangle; 10 and 12 lie beyond 15.
        assert_eq!(hit(29, 42, POINTING_TOLERANCE), Some(true));
        assert_eq!(hit(30, 42, POINTING_TOLERANCE), Some(false));
        assert_eq!(hit(20, 45, POINTING_TOLERANCE), Some(true));
        assert_eq!(hit(4, 30, POINTING_TOLERANCE), Some(false));
    }

    #[test]
    fn a_map_without_a_maximum_and_a_mask_without_the_label_have_no_answer() {
        let regions = mask(&[1, 0], [1, 2]);
        let flat = input(&[1, 1, 2], &[0.0, 0.0]);
        assert_eq!(pointing_game(&flat, &regions, 1, 15.0), None);
        let peak = input(&[1, 1, 2], &[0.0, 1.0]);
        assert_eq!(pointing_game(&peak, &regions, 2, 15.0), None);
        assert_eq!(pointing_game(&peak, &regions, 1, 0.0), Some(false));
    }

    #[test]
    fn masks_are_resampled_as_pillow_does() {
        // numpy.array(Image.fromarray(numpy.arange(5, dtype="u1")[None])
        //     .resize((n, 1), Image.NEAREST))
        let five = mask(&[0, 1, 2, 3, 4], [1, 5]);
        let resized = |n| five.resampled([0.0, 0.0, 5.0, 1.0], [1, n]).labels;
        assert_eq!(resized(3), [0, 2, 4]);
        assert_eq!(resized(8), [0, 0, 1, 2, 2, 3, 4, 4]);
        assert_eq!(resized(4), [0, 1, 3, 4]);
        assert_eq!(resized(5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_crop_takes_its_part_and_padding_is_background() {
        let labels: Vec<u8> = (1..=16).collect();
        let m = mask(&labels, [4, 4]);
        let middle = m.resampled([1.0, 1.0, 2.0, 2.0], [2, 2]);
        assert_eq!(
            (middle.labels(), middle.size()),
            (&[6, 7, 10, 11][..], [2, 2])
        );
        let padded = m.resampled([-1.0, 3.0, 3.0, 2.0], [2, 3]);
        assert_eq!(padded.labels(), [0, 13, 14, 0, 0, 0]);
        // Numbers that make no sense read nothing.
        let nothing = m.resampled([f64::NAN, 0.0, f64::INFINITY, -4.0], [2, 2]);
        assert_eq!(nothing.labels(), [0; 4]);
        assert!(LabelMask::new(vec![1; 6], [2, 2]).is_none());
        assert!(LabelMask::new(Vec::new(), [0, 3]).is_none());
        assert!(LabelMask::new(vec![1], [usize::MAX, 2]).is_none());
    }
}
