use super::Segment;
use crate::InputError;

/// How XRAI adds regions to its map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Growth {
    /// Again and again the region whose pixels not yet taken have the largest
    /// mean.
    Full {
        /// The share of the picture at which it stops, from 0 to 1.
        area: f64,
    },
    /// By the mean of the whole regions, sorted once.
    Fast,
}

/// XRAI's map (Kapishnikov et al. 2019, as in PAIR's saliency library): regions
/// join it one by one, and the pixels that a region brings get their mean
/// attribution. A region that brings fewer than `min_new` is left out; pixels
/// that none brings get the mean of what is left. So the map's sum is that of
/// the attribution.
///
/// ```
/// use limpid_explain::regions::{Growth, xrai_merge};
/// let attribution = [5.0, 3.0, 1.0, 0.0];
/// let segments = [vec![0, 1], vec![1, 2]];
/// let map = xrai_merge(&attribution, &segments, Growth::Full { area: 1.0 }, 1)?;
/// assert_eq!(map, [4.0, 4.0, 1.0, 0.0]);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
///
/// # Errors
/// When the attribution is not finite, a region's pixels are not ascending or
/// outside of the picture, or the share is none.
pub fn xrai_merge(
    attribution: &[f32],
    segments: &[Segment],
    growth: Growth,
    min_new: usize,
) -> Result<Vec<f32>, InputError> {
    InputError::check_finite("the attribution", attribution)?;
    for segment in segments {
        let ascends = segment.windows(2).all(|w| w[0] < w[1]);
        if !ascends
            || segment
                .last()
                .is_some_and(|p| *p as usize >= attribution.len())
        {
            let expected = format!("ascending and less than {}", attribution.len());
            return Err(InputError::invalid(
                "a region's pixels",
                expected,
                format!("{segment:?}"),
            ));
        }
    }
    let mut map = Map {
        attribution,
        values: vec![None; attribution.len()],
        taken: 0,
    };
    match growth {
        Growth::Full { area } if (0.0..=1.0).contains(&area) => {
            map.grow(segments, area, min_new.max(1));
        }
        Growth::Full { area } => {
            return Err(InputError::invalid("the area", "from 0 to 1", area));
        }
        Growth::Fast => map.add_sorted(segments, min_new.max(1)),
    }
    Ok(map.finish())
}

struct Map<'a> {
    attribution: &'a [f32],
    values: Vec<Option<f32>>,
    taken: usize,
}

impl Map<'_> {
    fn sum(&self, pixels: &[u32]) -> f64 {
        pixels
            .iter()
            .map(|p| f64::from(self.attribution[*p as usize]))
            .sum()
    }

    /// The mean of pixels; that of none is below every other.
    fn mean(&self, pixels: &[u32]) -> f64 {
        match pixels.len() {
            0 => f64::NEG_INFINITY,
            n => self.sum(pixels) / n as f64,
        }
    }

    /// The pixels of a region that are not taken.
    fn new_of(&self, segment: &Segment) -> Segment {
        let is_new = |p: &u32| self.values[*p as usize].is_none();
        segment.iter().copied().filter(is_new).collect()
    }

    fn take(&mut self, pixels: &[u32]) {
        let mean = self.mean(pixels) as f32;
        for pixel in pixels {
            self.values[*pixel as usize] = Some(mean);
        }
        self.taken += pixels.len();
    }

    /// What each region would bring is kept as a count and a sum, from which a
    /// taken pixel is subtracted: the whole costs as much as all regions have
    /// pixels.
    fn grow(&mut self, segments: &[Segment], area: f64, min_new: usize) {
        let mut owners = vec![Vec::new(); self.values.len()];
        for (i, segment) in (0u32..).zip(segments) {
            for pixel in segment {
                owners[*pixel as usize].push(i);
            }
        }
        let mut counts: Vec<usize> = segments.iter().map(Vec::len).collect();
        let mut sums: Vec<f64> = segments.iter().map(|s| self.sum(s)).collect();
        while self.taken as f64 / self.values.len() as f64 <= area {
            let mut best: Option<(usize, f64)> = None;
            for i in 0..segments.len() {
                if counts[i] >= min_new {
                    let gain = sums[i] / counts[i] as f64;
                    if best.is_none_or(|(_, most)| gain > most) {
                        best = Some((i, gain));
                    }
                }
            }
            let Some((best, _)) = best else { break };
            let pixels = self.new_of(&segments[best]);
            self.take(&pixels);
            for pixel in pixels {
                for owner in &owners[pixel as usize] {
                    counts[*owner as usize] -= 1;
                    sums[*owner as usize] -= f64::from(self.attribution[pixel as usize]);
                }
            }
        }
    }

    fn add_sorted(&mut self, segments: &[Segment], min_new: usize) {
        let mut order: Vec<(f64, &Segment)> = segments.iter().map(|s| (self.mean(s), s)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, segment) in order {
            let pixels = self.new_of(segment);
            if pixels.len() >= min_new {
                self.take(&pixels);
            }
        }
    }

    fn finish(mut self) -> Vec<f32> {
        let left: Segment = (0u32..)
            .zip(&self.values)
            .filter_map(|(i, v)| v.is_none().then_some(i))
            .collect();
        self.take(&left);
        self.values.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{array, fixture};
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn maps_equal_those_of_pair() {
        let bytes = fixture("regions/xrai.safetensors");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (_, attribution) = array(&file, "attribution");
        let (shape, masks) = array(&file, "masks");
        let bits = |byte: &f64| {
            (0..8)
                .rev()
                .map(|i| *byte as u8 >> i & 1)
                .collect::<Vec<_>>()
        };
        let attribution: Vec<f32> = attribution.iter().map(|v| *v as f32).collect();
        let segments: Vec<Segment> = masks
            .chunks(shape[1])
            .map(|mask| {
                let bits = (0u32..).zip(mask.iter().flat_map(bits));
                bits.filter(|(_, bit)| *bit == 1).map(|(i, _)| i).collect()
            })
            .collect();
        assert_eq!(segments.len(), shape[0]);
        for (name, growth) in [
            ("full", Growth::Full { area: 1.0 }),
            ("full-0.3", Growth::Full { area: 0.3 }),
            ("fast", Growth::Fast),
        ] {
            let (_, expected) = array(&file, name);
            let map = xrai_merge(&attribution, &segments, growth, 50).unwrap();
            let scale = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for (a, b) in map.iter().zip(&expected) {
                assert!((f64::from(*a) - b).abs() <= 1e-6 * scale, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn the_sum_stays() {
        let n = 60usize;
        let attribution: Vec<f32> = (0..n).map(|i| ((i * 37) % 19) as f32 - 9.0).collect();
        let segments: Vec<Segment> = (0..20u32)
            .map(|i| (i..(i * 3 + 5).min(n as u32)).collect())
            .collect();
        for growth in [
            Growth::Full { area: 0.5 },
            Growth::Full { area: 1.0 },
            Growth::Fast,
        ] {
            let map = xrai_merge(&attribution, &segments, growth, 4).unwrap();
            let sum = |m: &[f32]| m.iter().map(|v| f64::from(*v)).sum::<f64>();
            assert!((sum(&map) - sum(&attribution)).abs() < 1e-4);
        }
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        let full = Growth::Full { area: 1.0 };
        assert!(xrai_merge(&[f32::NAN], &[vec![0]], full, 1).is_err());
        assert!(xrai_merge(&[1.0], &[vec![1]], full, 1).is_err());
        assert!(xrai_merge(&[1.0, 2.0], &[vec![1, 0]], full, 1).is_err());
        assert!(xrai_merge(&[1.0], &[vec![0]], Growth::Full { area: 2.0 }, 1).is_err());
        assert!(xrai_merge(&[], &[vec![]], full, 1).unwrap().is_empty());
        assert_eq!(xrai_merge(&[2.0], &[], Growth::Fast, 0).unwrap(), [2.0]);
    }
}
