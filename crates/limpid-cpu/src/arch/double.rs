//! Vectors of eight doubles.

use super::scalar::Scalar;
use crate::simd::{DOUBLES, Double};
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

// SAFETY of every block below: a value of an instruction set exists only under
// its `run`, whose caller vouched for the instructions; references to eight
// doubles are valid for eight doubles, and pieces of them lie within.

#[cfg(target_arch = "x86_64")]
impl<const BF16: bool> Double for super::avx512::Avx512<BF16> {
    type D = __m512d;

    #[inline(always)]
    fn splat_doubles(self, x: f64) -> __m512d {
        // SAFETY: see above.
        unsafe { _mm512_set1_pd(x) }
    }
    #[inline(always)]
    fn load_doubles(self, from: &[f64; DOUBLES]) -> __m512d {
        // SAFETY: see above.
        unsafe { _mm512_loadu_pd(from.as_ptr()) }
    }
    #[inline(always)]
    fn store_doubles(self, v: __m512d, to: &mut [f64; DOUBLES]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_pd(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn add_doubles(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: see above.
        unsafe { _mm512_add_pd(a, b) }
    }
    #[inline(always)]
    fn sub_doubles(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: see above.
        unsafe { _mm512_sub_pd(a, b) }
    }
    #[inline(always)]
    fn fma_doubles(self, a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Double for super::avx2::Avx2 {
    type D = [__m256d; 2];

    #[inline(always)]
    fn splat_doubles(self, x: f64) -> Self::D {
        // SAFETY: see above.
        [unsafe { _mm256_set1_pd(x) }; 2]
    }
    #[inline(always)]
    fn load_doubles(self, from: &[f64; DOUBLES]) -> Self::D {
        // SAFETY: see above.
        unsafe {
            let p = from.as_ptr();
            [_mm256_loadu_pd(p), _mm256_loadu_pd(p.add(4))]
        }
    }
    #[inline(always)]
    fn store_doubles(self, v: Self::D, to: &mut [f64; DOUBLES]) {
        // SAFETY: see above.
        unsafe {
            let p = to.as_mut_ptr();
            _mm256_storeu_pd(p, v[0]);
            _mm256_storeu_pd(p.add(4), v[1]);
        }
    }
    #[inline(always)]
    fn add_doubles(self, a: Self::D, b: Self::D) -> Self::D {
        // SAFETY: see above.
        unsafe { [_mm256_add_pd(a[0], b[0]), _mm256_add_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub_doubles(self, a: Self::D, b: Self::D) -> Self::D {
        // SAFETY: see above.
        unsafe { [_mm256_sub_pd(a[0], b[0]), _mm256_sub_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn fma_doubles(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D {
        // SAFETY: see above.
        unsafe {
            [
                _mm256_fmadd_pd(a[0], b[0], c[0]),
                _mm256_fmadd_pd(a[1], b[1], c[1]),
            ]
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Double for super::neon::Neon {
    type D = [float64x2_t; 4];

    #[inline(always)]
    fn splat_doubles(self, x: f64) -> Self::D {
        // SAFETY: see above.
        [unsafe { vdupq_n_f64(x) }; 4]
    }
    #[inline(always)]
    fn load_doubles(self, from: &[f64; DOUBLES]) -> Self::D {
        // SAFETY: see above.
        [0, 2, 4, 6].map(|at| unsafe { vld1q_f64(from[at..].as_ptr()) })
    }
    #[inline(always)]
    fn store_doubles(self, v: Self::D, to: &mut [f64; DOUBLES]) {
        for (v, to) in v.into_iter().zip(to.chunks_exact_mut(2)) {
            // SAFETY: see above.
            unsafe { vst1q_f64(to.as_mut_ptr(), v) }
        }
    }
    #[inline(always)]
    fn add_doubles(self, a: Self::D, b: Self::D) -> Self::D {
        // SAFETY: see above.
        [0, 1, 2, 3].map(|i| unsafe { vaddq_f64(a[i], b[i]) })
    }
    #[inline(always)]
    fn sub_doubles(self, a: Self::D, b: Self::D) -> Self::D {
        // SAFETY: see above.
        [0, 1, 2, 3].map(|i| unsafe { vsubq_f64(a[i], b[i]) })
    }
    #[inline(always)]
    fn fma_doubles(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D {
        // SAFETY: see above.
        [0, 1, 2, 3].map(|i| unsafe { vfmaq_f64(c[i], a[i], b[i]) })
    }
}

impl Double for Scalar {
    type D = [f64; DOUBLES];

    #[inline(always)]
    fn splat_doubles(self, x: f64) -> Self::D {
        [x; DOUBLES]
    }
    #[inline(always)]
    fn load_doubles(self, from: &[f64; DOUBLES]) -> Self::D {
        *from
    }
    #[inline(always)]
    fn store_doubles(self, v: Self::D, to: &mut [f64; DOUBLES]) {
        *to = v;
    }
    #[inline(always)]
    fn add_doubles(self, a: Self::D, b: Self::D) -> Self::D {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub_doubles(self, a: Self::D, b: Self::D) -> Self::D {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn fma_doubles(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
}
