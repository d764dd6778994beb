//! Philox 4x32-10, the counter-based generator of Salmon et al., "Parallel
//! random numbers: as easy as 1, 2, 3" (SC 2011), and normal numbers from it.
//!
//! A number is a function of (seed, stream, sample, element) and of nothing
//! else, so noise is the same on every device, for any batch and thread count.

/// Ten rounds of Philox 4x32 on `counter` under `key`.
///
/// ```
/// // The known-answer test of the Random123 library.
/// use limpid_tensor::philox::philox4x32;
/// assert_eq!(
///     philox4x32([0; 4], [0; 2]),
///     [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
/// );
/// ```
#[must_use]
#[inline]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut words, mut key) = (counter, key);
    for _ in 0..10 {
        words = round(words, key);
        key = next_key(key);
    }
    words
}

#[inline(always)]
fn round([a, b, c, d]: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let p = u64::from(a) * 0xD251_1F53;
    let q = u64::from(c) * 0xCD9E_8D57;
    [
        (q >> 32) as u32 ^ b ^ key[0],
        q as u32,
        (p >> 32) as u32 ^ d ^ key[1],
        p as u32,
    ]
}

#[inline(always)]
fn next_key(key: [u32; 2]) -> [u32; 2] {
    [
        key[0].wrapping_add(0x9E37_79B9),
        key[1].wrapping_add(0xBB67_AE85),
    ]
}

/// The key of a seed: low word, high word.
#[must_use]
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// Four standard normal numbers for the elements `4 * quad ..` of `sample`.
#[must_use]
#[inline]
pub fn normal4(key: [u32; 2], stream: u32, sample: [u32; 2], quad: u32) -> [f64; 4] {
    let r = philox4x32([quad, sample[0], sample[1], stream], key);
    let [a, b] = box_muller(r[0], r[1]);
    let [c, d] = box_muller(r[2], r[3]);
    [a, b, c, d]
}

/// Quadruples of [`normals`].
const QUADS: usize = 16;

/// Standard normal numbers of a call of [`normals`].
pub const NORMALS: usize = 4 * QUADS;

/// What [`normal4`] gives for `quad` and the fifteen that follow it, in order,
/// written so that vectors compute it.
#[inline(always)]
pub fn normals(key: [u32; 2], stream: u32, sample: [u32; 2], quad: u32, out: &mut [f64; NORMALS]) {
    let mut words = [[0u32; QUADS]; 4];
    for i in 0..QUADS {
        words[0][i] = quad.wrapping_add(i as u32);
    }
    words[1] = [sample[0]; QUADS];
    words[2] = [sample[1]; QUADS];
    words[3] = [stream; QUADS];
    let mut key = key;
    for _ in 0..10 {
        let [a, b, c, d] = words;
        for i in 0..QUADS {
            let next = round([a[i], b[i], c[i], d[i]], key);
            for (words, next) in words.iter_mut().zip(next) {
                words[i] = next;
            }
        }
        key = next_key(key);
    }
    let mut pairs = [[[0.0; QUADS]; 2]; 2];
    for (pair, [cos, sin]) in pairs.iter_mut().enumerate() {
        let (radius, turn) = (words[2 * pair], words[2 * pair + 1]);
        for i in 0..QUADS {
            [cos[i], sin[i]] = box_muller(radius[i], turn[i]);
        }
    }
    for i in 0..QUADS {
        for pair in 0..2 {
            out[4 * i + 2 * pair] = pairs[pair][0][i];
            out[4 * i + 2 * pair + 1] = pairs[pair][1][i];
        }
    }
}

/// Four uniform numbers in (0, 1) for the elements `4 * quad ..` of `sample`.
#[must_use]
pub fn uniform4(key: [u32; 2], stream: u32, sample: [u32; 2], quad: u32) -> [f64; 4] {
    philox4x32([quad, sample[0], sample[1], stream], key).map(unit)
}

/// The midpoint of the `r`-th of 2^32 equal parts of (0, 1).
#[inline(always)]
fn unit(r: u32) -> f64 {
    (f64::from(r) + 0.5) * (1.0 / 4_294_967_296.0)
}

/// Box and Muller's transform. Written out in additions, multiplications,
/// divisions and a square root, which IEEE 754 rounds the same everywhere; a
/// system's `ln` and `cos` differ between C libraries.
#[inline(always)]
fn box_muller(r0: u32, r1: u32) -> [f64; 2] {
    let radius = (-2.0 * ln_unit(unit(r0))).sqrt();
    let (sin, cos) = sin_cos_turn(unit(r1));
    [radius * cos, radius * sin]
}

/// ln(u) for u in (0, 1), relative error below 1e-11.
#[inline(always)]
fn ln_unit(u: f64) -> f64 {
    // u = m * 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh((m-1)/(m+1)).
    let bits = u.to_bits();
    let above = u64::from((bits & 0x000F_FFFF_FFFF_FFFF) > 0x0006_A09E_667F_3BCD);
    let exponent = (bits >> 52) as i32 - 1023 + above as i32;
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | ((1023 - above) << 52));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = 1.0
        + z * (1.0 / 3.0
            + z * (1.0 / 5.0
                + z * (1.0 / 7.0 + z * (1.0 / 9.0 + z * (1.0 / 11.0 + z * (1.0 / 13.0))))));
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * s * p
}

/// (sin, cos) of `v` turns for v in (0, 1), absolute error below 1e-13.
#[inline(always)]
fn sin_cos_turn(v: f64) -> (f64, f64) {
    let quarter = (v * 4.0 + 0.5).floor();
    let x = (v - quarter * 0.25) * std::f64::consts::TAU; // |x| <= pi/4
    let z = x * x;
    let sin = x
        * (1.0
            + z * (-1.0 / 6.0
                + z * (1.0 / 120.0
                    + z * (-1.0 / 5040.0
                        + z * (1.0 / 362_880.0
                            + z * (-1.0 / 39_916_800.0 + z * (1.0 / 6_227_020_800.0)))))));
    let cos = 1.0
        + z * (-1.0 / 2.0
            + z * (1.0 / 24.0
                + z * (-1.0 / 720.0
                    + z * (1.0 / 40_320.0
                        + z * (-1.0 / 3_628_800.0
                            + z * (1.0 / 479_001_600.0 + z * (-1.0 / 87_178_291_200.0)))))));
    // The quarter is in the lowest bits of a double of this size. Without a
    // branch: odd quarters swap the two, and the sign is a bit.
    let quarter = (quarter + 4_503_599_627_370_496.0).to_bits();
    let (a, b) = if quarter & 1 == 0 {
        (sin, cos)
    } else {
        (cos, sin)
    };
    let negate = |v: f64, when: u64| f64::from_bits(v.to_bits() ^ (when & 2) << 62);
    (negate(a, quarter), negate(b, quarter + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // From Random123's kat_vectors, philox 4x32 10.
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn elementary_functions_match_the_system() {
        for i in 0..100_000u32 {
            let u = unit(i.wrapping_mul(42_949));
            assert!((ln_unit(u) / u.ln() - 1.0).abs() < 1e-9, "ln {u}");
            let (s, c) = sin_cos_turn(u);
            let (sr, cr) = (u * std::f64::consts::TAU).sin_cos();
            assert!((s - sr).abs() < 1e-12 && (c - cr).abs() < 1e-12, "turn {u}");
        }
        assert!(ln_unit(unit(0)).is_finite() && ln_unit(unit(u32::MAX)).is_finite());
    }

    #[test]
    fn vectors_give_the_same_numbers() {
        for quad in [0, 7, u32::MAX - 3] {
            let mut many = [0.0; NORMALS];
            normals(key(11), 2, [3, 4], quad, &mut many);
            for (i, four) in many.chunks(4).enumerate() {
                let quad = quad.wrapping_add(i as u32);
                assert_eq!(four, normal4(key(11), 2, [3, 4], quad), "{quad}");
            }
        }
    }

    #[test]
    fn quarters_of_a_turn_are_told_apart() {
        for (turn, expected) in [
            (0.01, [1, 1]),
            (0.26, [1, -1]),
            (0.51, [-1, -1]),
            (0.76, [-1, 1]),
        ] {
            let (sin, cos) = sin_cos_turn(turn);
            assert_eq!([sin, cos].map(|v| v.signum() as i32), expected, "{turn}");
        }
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let n = 200_000u32;
        let xs: Vec<f64> = (0..n / 4)
            .flat_map(|q| normal4(key(7), 3, [5, 0], q))
            .collect();
        let mean = |p: i32| xs.iter().map(|x| x.powi(p)).sum::<f64>() / f64::from(n);
        assert!(mean(1).abs() < 0.01);
        assert!((mean(2) - 1.0).abs() < 0.02);
        assert!(mean(3).abs() < 0.05);
        assert!((mean(4) - 3.0).abs() < 0.15);
    }
}
