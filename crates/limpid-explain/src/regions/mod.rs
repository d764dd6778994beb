//! Regions of a picture: superpixels and cells, and their growth into a map.

mod felzenszwalb;
mod grid;
mod merge;

pub use felzenszwalb::{Felzenszwalb, xrai_segments};
pub use grid::grid;
pub use merge::{Growth, xrai_merge};

use crate::InputError;

/// A region: the indices of its pixels in a picture of `[H, W]`, ascending.
pub type Segment = Vec<u32>;

/// A partition of a picture: one label for each pixel.
///
/// ```
/// use limpid_explain::regions::grid;
/// let cells = grid(2, 4, 1, 2)?;
/// assert_eq!(cells.as_slice(), [0, 0, 1, 1, 0, 0, 1, 1]);
/// assert_eq!(cells.segments(), [[0, 1, 4, 5], [2, 3, 6, 7]]);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    height: usize,
    width: usize,
    labels: Vec<u32>,
    count: usize,
}

impl Labels {
    /// The partition `same(pixel)` of equal values, numbered in the order of
    /// their first pixels.
    fn number(
        [height, width]: [usize; 2],
        keys: usize,
        mut same: impl FnMut(usize) -> usize,
    ) -> Self {
        let mut names = vec![u32::MAX; keys];
        let mut count = 0;
        let labels = (0..height * width)
            .map(|pixel| {
                let name = &mut names[same(pixel)];
                if *name == u32::MAX {
                    *name = count;
                    count += 1;
                }
                *name
            })
            .collect();
        Self {
            height,
            width,
            labels,
            count: count as usize,
        }
    }

    /// Height and width.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// The number of regions; labels are less.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The labels, row by row.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        &self.labels
    }

    /// The pixels of each region.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let mut segments = vec![Segment::new(); self.count];
        for (pixel, label) in self.labels.iter().enumerate() {
            segments[*label as usize].push(pixel as u32);
        }
        segments
    }

    /// The pixels within a distance of `radius` from each region: dilation by
    /// a disk. Regions overlap then.
    #[must_use]
    pub fn dilated(&self, radius: usize) -> Vec<Segment> {
        let [height, width] = self.size();
        let (rows, columns) = (radius.min(height) as isize, radius.min(width) as isize);
        let within =
            |&(y, x): &(isize, isize)| (y * y + x * x) as usize <= radius.saturating_mul(radius);
        let disk: Vec<_> = (-rows..=rows)
            .flat_map(|y| (-columns..=columns).map(move |x| (y, x)))
            .filter(within)
            .collect();
        // A disk around an inner pixel adds nothing to those around the border.
        let is_border = |y: usize, x: usize| {
            let label = self.labels[y * width + x];
            let other = |pixel: usize| self.labels[pixel] != label;
            y > 0 && other((y - 1) * width + x)
                || y + 1 < height && other((y + 1) * width + x)
                || x > 0 && other(y * width + x - 1)
                || x + 1 < width && other(y * width + x + 1)
        };
        let mut owner = vec![u32::MAX; self.labels.len()];
        let mut segments = self.segments();
        for (label, segment) in (0u32..).zip(&mut segments) {
            let own = segment.len();
            for pixel in &segment[..] {
                owner[*pixel as usize] = label;
            }
            for i in 0..own {
                let (y, x) = (segment[i] as usize / width, segment[i] as usize % width);
                if !is_border(y, x) {
                    continue;
                }
                for (dy, dx) in &disk {
                    let (Some(y), Some(x)) = (y.checked_add_signed(*dy), x.checked_add_signed(*dx))
                    else {
                        continue;
                    };
                    if y < height && x < width && owner[y * width + x] != label {
                        owner[y * width + x] = label;
                        segment.push((y * width + x) as u32);
                    }
                }
            }
            segment.sort_unstable();
        }
        segments
    }
}

/// The number of pixels of a picture whose pixels can be counted in 32 bits.
fn pixels([height, width]: [usize; 2]) -> Result<usize, InputError> {
    height
        .checked_mul(width)
        .filter(|n| u32::try_from(*n).is_ok_and(|n| n < u32::MAX))
        .ok_or_else(|| {
            let found = format!("{height} x {width}");
            InputError::invalid("a picture with regions", "of less than 2^32 pixels", found)
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use safetensors::{Dtype, SafeTensors};

    pub(crate) fn fixture(topic: &str) -> Vec<u8> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/");
        std::fs::read(format!("{root}{topic}")).unwrap()
    }

    /// A fixture's array, whatever its type, in f64.
    pub(crate) fn array(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f64>) {
        let view = file.tensor(name).unwrap();
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::U8 | Dtype::BOOL => bytes.iter().map(|v| f64::from(*v)).collect(),
            Dtype::U16 => bytes
                .chunks_exact(2)
                .map(|b| f64::from(u16::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            Dtype::F32 => bytes
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            Dtype::F64 => bytes
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            other => panic!("{other:?}"),
        };
        (view.shape().to_vec(), values)
    }

    /// Every pixel within the radius of a region's pixel, one by one.
    fn naive(labels: &Labels, radius: usize) -> Vec<Segment> {
        let [height, width] = labels.size();
        let near = |label: u32, pixel: usize| {
            (0..height * width).any(|q| {
                let (dy, dx) = (
                    (q / width).abs_diff(pixel / width),
                    (q % width).abs_diff(pixel % width),
                );
                labels.as_slice()[q] == label && dy * dy + dx * dx <= radius * radius
            })
        };
        (0..labels.count() as u32)
            .map(|label| {
                (0..height * width)
                    .filter(|pixel| near(label, *pixel))
                    .map(|pixel| pixel as u32)
                    .collect()
            })
            .collect()
    }

    #[test]
    fn dilation_is_a_disk_around_every_pixel() {
        for (height, width, keys) in [(1, 1, 1), (1, 9, 3), (7, 1, 2), (13, 17, 6)] {
            let key = |p: usize| (p * 7919 + p * p / 5) % 97 % keys;
            let labels = Labels::number([height, width], keys, key);
            for radius in [0, 1, 2, 5, 40] {
                assert_eq!(labels.dilated(radius), naive(&labels, radius));
            }
        }
    }

    #[test]
    fn an_empty_picture_has_no_region() {
        let labels = grid(0, 5, 2, 2).unwrap();
        assert_eq!((labels.count(), labels.segments().len()), (0, 0));
        assert!(labels.dilated(5).is_empty());
    }
}
