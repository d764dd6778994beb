use crate::InputError;
use delaunator::{Point, triangulate};
use image_webp::{ColorType, WebPEncoder};
use limpid_tensor::Tensor;

/// A picture of 8 bits a channel, `[H, W, C]`.
///
/// ```
/// use limpid_explain::pic::Pixels;
/// let grey = Pixels::new([2, 2], 1, vec![0, 85, 170, 255])?;
/// let normalised = grey.to_tensor(&[-1.0], &[1.0])?;
/// assert_eq!(normalised.data()[3], 1.0);
/// assert_eq!(Pixels::from_tensor(&normalised, &[-1.0], &[1.0])?, grey);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    size: [usize; 2],
    channels: usize,
    data: Vec<u8>,
}

impl Pixels {
    /// A picture of height and width `size`, of 1 (grey), 3 (RGB) or 4 channels.
    ///
    /// # Errors
    /// When there are other numbers of channels or of bytes.
    pub fn new(size: [usize; 2], channels: usize, data: Vec<u8>) -> Result<Self, InputError> {
        if ![1, 3, 4].contains(&channels) {
            return Err(InputError::invalid(
                "the number of channels",
                "1, 3 or 4",
                channels,
            ));
        }
        let expected = size[0].saturating_mul(size[1]).saturating_mul(channels);
        InputError::check_length("the picture", expected, data.len())?;
        Ok(Self {
            size,
            channels,
            data,
        })
    }

    /// The nearest picture to a normalised one, `[C, H, W]`, of which `black` and
    /// `white` are each channel's ends.
    ///
    /// # Errors
    /// When the tensor is no picture or not finite, or there is not one black and
    /// white for each channel.
    pub fn from_tensor(image: &Tensor, black: &[f32], white: &[f32]) -> Result<Self, InputError> {
        let [channels, height, width] = InputError::picture(image.dims())?;
        InputError::check_length("black", channels, black.len())?;
        InputError::check_length("white", channels, white.len())?;
        InputError::check_finite("the picture", image.data())?;
        let plane = height * width;
        let value = |i: usize| {
            let (pixel, c) = (i / channels, i % channels);
            let v = f64::from(image.data()[c * plane + pixel] - black[c]);
            (v / f64::from(white[c] - black[c]) * 255.0).round() as u8
        };
        Self::new(
            [height, width],
            channels,
            (0..image.data().len()).map(value).collect(),
        )
    }

    /// The normalised picture, `[C, H, W]`.
    ///
    /// # Errors
    /// When there is not one black and white for each channel, or memory is short.
    pub fn to_tensor(&self, black: &[f32], white: &[f32]) -> Result<Tensor, InputError> {
        InputError::check_length("black", self.channels, black.len())?;
        InputError::check_length("white", self.channels, white.len())?;
        let [height, width] = self.size;
        let mut image = Tensor::zeros([self.channels, height, width])?;
        for (i, byte) in self.data.iter().enumerate() {
            let (pixel, c) = (i / self.channels, i % self.channels);
            image.data_mut()[c * height * width + pixel] =
                black[c] + f32::from(*byte) / 255.0 * (white[c] - black[c]);
        }
        Ok(image)
    }

    /// The bytes, `[H, W, C]`.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The picture as it is guessed from its known pixels and its corners: what
    /// is between them is interpolated linearly in the triangles of Delaunay's
    /// triangulation, as by scipy's `griddata`, and rounded. Of four points on
    /// one circle either diagonal is right, and libraries differ. A picture of
    /// one row or column, which has no triangles, is interpolated along it.
    ///
    /// ```
    /// use limpid_explain::pic::Pixels;
    /// let ramp = Pixels::new([3, 3], 1, vec![0, 9, 20, 9, 9, 9, 40, 9, 60])?;
    /// let blurred = ramp.blurred(&[false; 9])?;
    /// assert_eq!(blurred.data(), [0, 10, 20, 20, 30, 40, 40, 50, 60]);
    /// # Ok::<(), limpid_explain::InputError>(())
    /// ```
    ///
    /// # Errors
    /// When `known` is not of the picture's `H * W` pixels.
    pub fn blurred(&self, known: &[bool]) -> Result<Self, InputError> {
        let [height, width] = self.size;
        InputError::check_length("the mask", height * width, known.len())?;
        if known.is_empty() {
            return Ok(self.clone());
        }
        let mut known = known.to_vec();
        for corner in [0, width - 1, (height - 1) * width, height * width - 1] {
            known[corner] = true;
        }
        let points: Vec<usize> = (0..known.len()).filter(|i| known[*i]).collect();
        let mut blurred = self.clone();
        if height == 1 || width == 1 {
            for ends in points.windows(2) {
                let [a, b] = [ends[0], ends[1]];
                for pixel in a + 1..b {
                    blurred.mix(pixel, [a, b, b], [b - pixel, pixel - a, 0]);
                }
            }
            return Ok(blurred);
        }
        let point = |i: &usize| Point {
            x: (i % width) as f64,
            y: (i / width) as f64,
        };
        let triangulation = triangulate(&points.iter().map(point).collect::<Vec<_>>());
        for corners in triangulation.triangles.chunks_exact(3) {
            let corners = [corners[0], corners[1], corners[2]].map(|i| points[i]);
            Triangle::new(corners, width).for_each(|pixel, weights| {
                if !known[pixel] {
                    blurred.mix(pixel, corners, weights);
                }
            });
        }
        Ok(blurred)
    }

    /// Sets a pixel to the weighted mean of three.
    fn mix(&mut self, pixel: usize, corners: [usize; 3], weights: [usize; 3]) {
        let total = weights.iter().sum::<usize>() as f64;
        for c in 0..self.channels {
            let value = |i: usize| f64::from(self.data[corners[i] * self.channels + c]);
            let sum: f64 = (0..3).map(|i| value(i) * weights[i] as f64).sum();
            self.data[pixel * self.channels + c] = (sum / total).round_ties_even() as u8;
        }
    }

    /// How much information the picture holds: its size in bytes as lossless
    /// WebP. PAIR's library takes that of libwebp, whose encoder finds more to
    /// save; a curve's axis is a ratio of such sizes, which differs by less than
    /// 0.1 between the two on a photograph.
    ///
    /// ```
    /// use limpid_explain::pic::Pixels;
    /// let flat = Pixels::new([32, 32], 1, vec![9; 1024])?;
    /// let noise = (0..1024u32).map(|i| (i * i % 251) as u8).collect();
    /// let noise = Pixels::new([32, 32], 1, noise)?;
    /// assert!(flat.entropy()? < noise.entropy()?);
    /// # Ok::<(), limpid_explain::InputError>(())
    /// ```
    ///
    /// # Errors
    /// When a side is zero or over 16384 pixels, which WebP cannot hold.
    pub fn entropy(&self) -> Result<f64, InputError> {
        let [height, width] = self.size;
        let kind = match self.channels {
            1 => ColorType::L8,
            3 => ColorType::Rgb8,
            _ => ColorType::Rgba8,
        };
        let sides = [height, width].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let mut file = Vec::new();
        WebPEncoder::new(&mut file)
            .encode(&self.data, sides[1], sides[0], kind)
            .map_err(|_| {
                let found = format!("{height} x {width}");
                InputError::invalid("the picture's sides", "from 1 to 16384", found)
            })?;
        Ok(file.len() as f64)
    }
}

/// A triangle of pixels, counterclockwise as seen with y upwards: inside, all
/// three edge functions are at least zero.
struct Triangle {
    width: usize,
    rows: [i64; 2],
    /// Factors of x and y and the constant of the edge across from each corner.
    edges: [[i64; 3]; 3],
}

impl Triangle {
    fn new(corners: [usize; 3], width: usize) -> Self {
        let at = |i: usize| {
            [
                (corners[i % 3] % width) as i64,
                (corners[i % 3] / width) as i64,
            ]
        };
        let edge = |i: usize| {
            let ([x0, y0], [x1, y1]) = (at(i + 1), at(i + 2));
            [y0 - y1, x1 - x0, x0 * y1 - x1 * y0]
        };
        let mut edges = [0, 1, 2].map(edge);
        let [x, y] = at(0);
        if edges[0][0] * x + edges[0][1] * y + edges[0][2] < 0 {
            edges = edges.map(|e| e.map(|v| -v));
        }
        let rows = [0, 1, 2].map(|i| at(i)[1]);
        Self {
            width,
            rows: [
                rows[0].min(rows[1]).min(rows[2]),
                rows[0].max(rows[1]).max(rows[2]),
            ],
            edges,
        }
    }

    /// The pixels in the triangle or on its edges, with the weights of its
    /// corners; none where the corners are on one line.
    fn for_each(&self, mut visit: impl FnMut(usize, [usize; 3])) {
        let area: i64 = self.edges.iter().map(|e| e[2]).sum();
        if area <= 0 {
            return;
        }
        for y in self.rows[0]..=self.rows[1] {
            // Each edge bounds x from one side.
            let (mut first, mut last) = (0, self.width as i64 - 1);
            for [a, b, c] in self.edges {
                let rest = b * y + c;
                match a.signum() {
                    1 => first = first.max(-rest.div_euclid(a)),
                    -1 => last = last.min(rest.div_euclid(-a)),
                    _ => {}
                }
            }
            for x in first..=last {
                let weights = self.edges.map(|[a, b, c]| (a * x + b * y + c) as usize);
                visit((y * self.width as i64 + x) as usize, weights);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random_mask;
    use super::super::tests::{mask, pixels};
    use super::*;
    use crate::regions::tests::fixture;
    use safetensors::SafeTensors;

    #[test]
    fn blurred_pictures_are_those_of_pair_where_the_triangulation_is_unique() {
        let bytes = fixture("pic/pic.safetensors");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let image = pixels(&file, "image");
        for (share, equal) in [("0.005", 0.999), ("0.05", 0.995), ("0.5", 0.98)] {
            let known = mask(&file, &format!("revealed-{share}"));
            let expected = pixels(&file, &format!("blurred-{share}"));
            let found = image.blurred(&known).unwrap();
            let pairs = || found.data().iter().zip(expected.data());
            let same = pairs().filter(|(a, b)| a == b).count() as f64 / pairs().count() as f64;
            assert!(same >= equal, "{share}: {same}");
        }
    }

    #[test]
    fn a_linear_picture_is_restored_from_any_pixels() {
        let (h, w) = (40usize, 50usize);
        let data: Vec<u8> = (0..h * w)
            .map(|i| (2 * (i / w) + 3 * (i % w)) as u8)
            .collect();
        let image = Pixels::new([h, w], 1, data).unwrap();
        for share in [0.0, 0.001, 0.02, 0.5, 0.99] {
            for sample in 0..5 {
                let known = random_mask([h, w], share, 1, sample).unwrap();
                assert_eq!(image.blurred(&known).unwrap(), image, "{share}");
            }
        }
        // A lattice, where every circle has four points.
        let known: Vec<bool> = (0..h * w)
            .map(|i| i / w % 3 == 0 && i % w % 7 == 0)
            .collect();
        assert_eq!(image.blurred(&known).unwrap(), image);
        assert_eq!(image.blurred(&vec![true; h * w]).unwrap(), image);
    }

    #[test]
    fn lines_points_and_nothing() {
        let line = |size| Pixels::new(size, 1, vec![0, 9, 9, 9, 200]).unwrap();
        for size in [[1, 5], [5, 1]] {
            let blurred = line(size).blurred(&[false; 5]).unwrap();
            assert_eq!(blurred.data(), [0, 50, 100, 150, 200]);
        }
        let point = Pixels::new([1, 1], 3, vec![1, 2, 3]).unwrap();
        assert_eq!(point.blurred(&[false]).unwrap(), point);
        assert!(point.entropy().unwrap() > 0.0);
        let nothing = Pixels::new([0, 7], 3, vec![]).unwrap();
        assert_eq!(nothing.blurred(&[]).unwrap(), nothing);
        assert!(nothing.entropy().is_err());
        assert!(point.blurred(&[]).is_err());
        assert!(Pixels::new([1, 1], 2, vec![0, 0]).is_err());
        assert!(Pixels::new([usize::MAX, 2], 3, vec![]).is_err());
    }
}
