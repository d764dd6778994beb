use super::{Labels, Segment, pixels};
use crate::InputError;
use limpid_tensor::Tensor;

/// Superpixels by Felzenszwalb and Huttenlocher, "Efficient Graph-Based Image
/// Segmentation" (IJCV 2004), as scikit-image computes them: neighbours are the
/// eight around a pixel, an edge's weight is the distance of their colours, and
/// of equal edges the earlier comes first.
///
/// ```
/// use limpid_explain::regions::Felzenszwalb;
/// use limpid_tensor::Tensor;
/// let halves = Tensor::new([1, 1, 8], vec![0., 0., 0., 0., 1., 1., 1., 1.])?;
/// let labels = Felzenszwalb { scale: 1.0, sigma: 0.0, min_size: 2 }.segment(&halves)?;
/// assert_eq!(labels.as_slice(), [0, 0, 0, 0, 1, 1, 1, 1]);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Felzenszwalb {
    /// How much contrast is ignored, in 1/255 of the picture's unit; larger
    /// values make larger regions.
    pub scale: f64,
    /// The standard deviation of the blur before, in pixels; at most 100.
    pub sigma: f64,
    /// Regions of fewer pixels are joined to a neighbour.
    pub min_size: usize,
}

impl Default for Felzenszwalb {
    /// The defaults of scikit-image.
    fn default() -> Self {
        Self {
            scale: 1.0,
            sigma: 0.8,
            min_size: 20,
        }
    }
}

impl Felzenszwalb {
    /// The regions of a picture `[C, H, W]`.
    ///
    /// # Errors
    /// When the picture is no `[C, H, W]` or not finite, or a parameter is out
    /// of its range.
    pub fn segment(&self, picture: &Tensor) -> Result<Labels, InputError> {
        let planes = Planes::new(picture)?;
        Edges::new(planes, self.sigma)?.merge(self.scale, self.min_size)
    }
}

/// The side to which XRAI brings a picture before it is cut into regions, so
/// that the scales mean the same for every picture.
const XRAI_SIDE: usize = 224;
const XRAI_SCALES: [f64; 6] = [50.0, 100.0, 150.0, 250.0, 500.0, 1200.0];
const XRAI_SIGMA: f64 = 0.8;
const XRAI_MIN_SIZE: usize = 150;
const XRAI_DILATION: usize = 5;

/// The overlapping regions of XRAI (Kapishnikov et al. 2019): Felzenszwalb's at
/// six scales, of the picture with its values brought to [-1, 1] and its sides
/// to 224, each grown by five pixels. For a picture of 224 x 224 they are those
/// of PAIR's saliency library; others are resized by a triangle filter here, by
/// a cubic spline there.
///
/// ```
/// use limpid_explain::regions::xrai_segments;
/// use limpid_tensor::Tensor;
/// let grey = Tensor::zeros([3, 20, 30])?;
/// assert_eq!(xrai_segments(&grey)?.len(), 6);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
///
/// # Errors
/// When the picture is no `[C, H, W]` or not finite.
pub fn xrai_segments(picture: &Tensor) -> Result<Vec<Segment>, InputError> {
    let mut planes = Planes::new(picture)?;
    let size @ [height, width] = planes.size;
    planes.normalise();
    let edges = Edges::new(planes.resized([XRAI_SIDE; 2]), XRAI_SIGMA)?;
    let mut segments = Vec::new();
    for scale in XRAI_SCALES {
        let labels = edges.merge(scale, XRAI_MIN_SIZE)?;
        let side = |i: usize, n: usize, to: usize| (2 * i + 1) * to / (2 * n);
        let [h, w] = labels.size();
        let nearest = Labels::number(size, labels.count(), |pixel| {
            let (y, x) = (pixel / width, pixel % width);
            labels.as_slice()[side(y, height, h) * w + side(x, width, w)] as usize
        });
        segments.extend(nearest.dilated(XRAI_DILATION));
    }
    Ok(segments)
}

/// A picture's channels in f64.
struct Planes {
    size: [usize; 2],
    channels: usize,
    values: Vec<f64>,
}

impl Planes {
    fn new(picture: &Tensor) -> Result<Self, InputError> {
        let [channels, height, width] = InputError::picture(picture.dims())?;
        pixels([height, width])?;
        InputError::check_finite("the picture", picture.data())?;
        Ok(Self {
            size: [height, width],
            channels,
            values: picture.data().iter().map(|v| f64::from(*v)).collect(),
        })
    }

    /// Brings the values to [-1, 1]; a picture of one value to 0.
    fn normalise(&mut self) {
        let min = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = self
            .values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        for v in &mut self.values {
            *v = if max > min {
                (*v - min) / (max - min) * 2.0 - 1.0
            } else {
                0.0
            };
        }
    }

    /// Bilinear, antialiased where it becomes smaller. An empty picture stays.
    fn resized(self, size: [usize; 2]) -> Self {
        if self.size == size || self.values.is_empty() {
            return self;
        }
        let taps = [0, 1].map(|axis| triangle(self.size[axis], size[axis]));
        self.filtered(&taps, size)
    }

    fn blurred(self, sigma: f64) -> Self {
        let taps = self.size.map(|n| gaussian(n, sigma));
        let size = self.size;
        self.filtered(&taps, size)
    }

    /// Rows, then columns, replaced by weighted sums of rows and columns.
    fn filtered(self, [rows, columns]: &[Vec<Taps>; 2], size: [usize; 2]) -> Self {
        let ([_, width], [to_height, to_width]) = (self.size, size);
        let plane = self.size[0] * width;
        let mut values = Vec::with_capacity(self.channels * to_height * to_width);
        let mut line = vec![0.0; width];
        for c in 0..self.channels {
            let plane = &self.values[c * plane..][..plane];
            for taps in rows {
                for (x, out) in line.iter_mut().enumerate() {
                    *out = weigh(taps, |y| plane[y * width + x]);
                }
                values.extend(columns.iter().map(|taps| weigh(taps, |x| line[x])));
            }
        }
        Self {
            size,
            channels: self.channels,
            values,
        }
    }
}

/// The terms of one output: weight * (sum of one or two inputs).
type Taps = Vec<(f64, usize, Option<usize>)>;

fn weigh(taps: &Taps, value: impl Fn(usize) -> f64) -> f64 {
    taps.iter().fold(0.0, |sum, (weight, a, b)| {
        sum + (value(*a) + b.map_or(0.0, &value)) * weight
    })
}

/// A Gaussian cut off at four standard deviations, with the picture mirrored at
/// its border. The order of summation is that of scipy's `gaussian_filter`:
/// edges of nearly equal weight are merged in the same order.
fn gaussian(n: usize, sigma: f64) -> Vec<Taps> {
    let radius = (4.0 * sigma + 0.5) as usize;
    let weight = |d: usize| (-0.5 / (sigma * sigma) * (d * d) as f64).exp();
    let sum: f64 = (1..=radius).rev().chain(0..=radius).map(weight).sum();
    let mirrored = |i: isize| {
        let i = i.rem_euclid(2 * n as isize) as usize;
        i.min(2 * n - 1 - i)
    };
    let taps = |i: usize| {
        let pair = |d: usize| {
            let (i, d) = (i as isize, d as isize);
            (mirrored(i - d), Some(mirrored(i + d)))
        };
        let outer = (1..=radius).rev().map(|d| {
            let (a, b) = pair(d);
            (weight(d) / sum, a, b)
        });
        std::iter::once((1.0 / sum, i, None)).chain(outer).collect()
    };
    (0..n).map(taps).collect()
}

fn triangle(from: usize, to: usize) -> Vec<Taps> {
    let ratio = from as f64 / to as f64;
    let reach = ratio.max(1.0);
    let taps = |i: usize| {
        let centre = (i as f64 + 0.5) * ratio - 0.5;
        let first = (centre - reach).ceil().max(0.0) as usize;
        let last = ((centre + reach).floor() as usize).min(from - 1);
        let weight = |j: usize| (1.0 - (j as f64 - centre).abs() / reach).max(0.0);
        let sum: f64 = (first..=last).map(weight).sum();
        (first..=last).map(|j| (weight(j) / sum, j, None)).collect()
    };
    (0..to).map(taps).collect()
}

struct Edge {
    weight: f64,
    ends: [u32; 2],
}

/// The graph of a picture's neighbours, its edges by ascending weight.
struct Edges {
    size: [usize; 2],
    edges: Vec<Edge>,
}

impl Edges {
    fn new(planes: Planes, sigma: f64) -> Result<Self, InputError> {
        if !(0.0..=100.0).contains(&sigma) {
            return Err(InputError::invalid("sigma", "from 0 to 100", sigma));
        }
        let planes = if sigma > 0.0 {
            planes.blurred(sigma)
        } else {
            planes
        };
        let size @ [height, width] = planes.size;
        let plane = height * width;
        let distance = |a: usize, b: usize| {
            let square = |c: usize| {
                let d = planes.values[c * plane + a] - planes.values[c * plane + b];
                d * d
            };
            (0..planes.channels).map(square).sum::<f64>().sqrt()
        };
        let mut edges = Vec::with_capacity(4 * plane);
        // Right, down, down right, up right; each from the upper left pixel of
        // the pair's rectangle.
        for (rows, columns, rises) in [(0, 1, false), (1, 0, false), (1, 1, false), (1, 1, true)] {
            for y in 0..height.saturating_sub(rows) {
                for x in 0..width.saturating_sub(columns) {
                    let (left, right) = if rises { (rows, 0) } else { (0, rows) };
                    let a = (y + left) * width + x;
                    let b = (y + right) * width + x + columns;
                    edges.push(Edge {
                        weight: distance(a, b),
                        ends: [a as u32, b as u32],
                    });
                }
            }
        }
        edges.sort_by(|a, b| a.weight.total_cmp(&b.weight));
        Ok(Self { size, edges })
    }

    fn merge(&self, scale: f64, min_size: usize) -> Result<Labels, InputError> {
        if !(scale >= 0.0 && scale.is_finite()) {
            return Err(InputError::invalid("scale", "finite, at least 0", scale));
        }
        let scale = scale / 255.0;
        let n = self.size[0] * self.size[1];
        let mut forest = Forest::new(n);
        let mut inner = vec![0.0f64; n];
        for edge in &self.edges {
            let Some([a, b]) = forest.roots(edge.ends) else {
                continue;
            };
            // scikit-image rounds the thresholds to f32.
            let threshold = |root: usize| (inner[root] + scale / forest.sizes[root] as f64) as f32;
            if edge.weight < f64::from(threshold(a).min(threshold(b))) {
                inner[forest.join(a, b)] = edge.weight;
            }
        }
        for edge in &self.edges {
            if let Some([a, b]) = forest.roots(edge.ends)
                && forest.sizes[a].min(forest.sizes[b]) < min_size
            {
                forest.join(a, b);
            }
        }
        Ok(Labels::number(self.size, n, |pixel| forest.root(pixel)))
    }
}

/// Disjoint sets; a set's root is its first pixel.
struct Forest {
    parents: Vec<u32>,
    sizes: Vec<usize>,
}

impl Forest {
    fn new(n: usize) -> Self {
        Self {
            parents: (0..n as u32).collect(),
            sizes: vec![1; n],
        }
    }

    fn root(&mut self, mut i: usize) -> usize {
        while self.parents[i] as usize != i {
            self.parents[i] = self.parents[self.parents[i] as usize];
            i = self.parents[i] as usize;
        }
        i
    }

    /// The roots of an edge's ends, if they are two.
    fn roots(&mut self, ends: [u32; 2]) -> Option<[usize; 2]> {
        let [a, b] = ends.map(|end| self.root(end as usize));
        (a != b).then_some([a, b])
    }

    fn join(&mut self, a: usize, b: usize) -> usize {
        let (root, child) = (a.min(b), a.max(b));
        self.parents[child] = root as u32;
        self.sizes[root] += self.sizes[child];
        root
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{array, fixture};
    use super::*;
    use safetensors::SafeTensors;

    fn picture(file: &SafeTensors<'_>, name: &str) -> Tensor {
        let (shape, values) = array(file, name);
        Tensor::new(shape, values.iter().map(|v| *v as f32).collect()).unwrap()
    }

    #[test]
    fn partitions_equal_those_of_scikit_image() {
        let bytes = fixture("regions/felzenszwalb.safetensors");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = metadata.metadata().clone().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let cases: Vec<(String, String, f64, f64, usize)> =
            serde_json::from_str(&metadata["cases"]).unwrap();
        assert!(cases.len() >= 10);
        for (name, image, scale, sigma, min_size) in cases {
            let image = picture(&file, &image);
            let (_, expected) = array(&file, &name);
            let method = Felzenszwalb {
                scale,
                sigma,
                min_size,
            };
            let labels = method.segment(&image).unwrap();
            let found: Vec<f64> = labels.as_slice().iter().map(|l| f64::from(*l)).collect();
            assert!(found == expected, "{name}: {} regions", labels.count());
        }
    }

    #[test]
    fn regions_of_xrai_equal_those_of_pair() {
        let bytes = fixture("regions/xrai.safetensors");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let image = picture(&file, "photo");
        // Of each mask the number of pixels, the sum of their indices and that
        // of their squares.
        let (shape, moments) = array(&file, "photo-moments");
        let segments = xrai_segments(&image).unwrap();
        assert_eq!([segments.len(), 3], *shape);
        for (i, (segment, expected)) in segments.iter().zip(moments.chunks(3)).enumerate() {
            let moment = |k: i32| segment.iter().map(|p| f64::from(*p).powi(k)).sum::<f64>();
            assert!([0, 1, 2].map(moment) == expected, "mask {i}");
        }
    }

    #[test]
    fn resizing_keeps_a_linear_picture() {
        let ramp = |n: usize| (0..n).map(move |i| (i as f64 + 0.5) / n as f64);
        for n in [10usize, 40, 224, 500] {
            let planes = Planes {
                size: [1, n],
                channels: 1,
                values: ramp(n).collect(),
            };
            let resized = planes.resized([224, 224]);
            // Away from the border, where the filter is cut off, to a tenth of
            // a pixel: a triangle sampled at a broken ratio is not exact.
            for (a, b) in resized.values[30..194].iter().zip(ramp(224).skip(30)) {
                assert!((a - b).abs() < 2e-4, "{n}: {a} {b}");
            }
        }
    }

    #[test]
    fn any_picture_has_regions() {
        for dims in [[3, 0, 4], [3, 1, 1], [1, 1, 300], [0, 3, 3], [4, 2, 1]] {
            let n = dims.iter().product::<usize>();
            let image = Tensor::new(dims, (0..n).map(|i| i as f32).collect()).unwrap();
            let labels = Felzenszwalb::default().segment(&image).unwrap();
            assert_eq!(labels.as_slice().len(), dims[1] * dims[2]);
            xrai_segments(&image).unwrap();
        }
        let image = Tensor::zeros([3, 4, 4]).unwrap();
        for (scale, sigma) in [(f64::NAN, 0.8), (-1.0, 0.8), (1.0, 1e9), (1.0, f64::NAN)] {
            let method = Felzenszwalb {
                scale,
                sigma,
                min_size: 1,
            };
            assert!(method.segment(&image).is_err());
        }
        assert!(
            Felzenszwalb::default()
                .segment(&Tensor::zeros([4, 4]).unwrap())
                .is_err()
        );
    }
}
