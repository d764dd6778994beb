use crate::simd::{LANES, Simd, Vectorize};
use half::bf16;
use std::arch::x86_64::*;
use std::mem::transmute;

/// One register of sixteen lanes, with the instructions for bf16 or without.
/// Made by [`run`] and [`run_bf16`] alone.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const BF16: bool>(());

/// Runs `f` with the instructions enabled.
///
/// # Safety
/// The processor must have them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn run<F: Vectorize>(f: F) -> F::Output {
    f.run(Avx512::<false>(()))
}

/// Runs `f` with the instructions and those for bf16 enabled.
///
/// # Safety
/// The processor must have them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512bf16")]
pub(super) unsafe fn run_bf16<F: Vectorize>(f: F) -> F::Output {
    f.run(Avx512::<true>(()))
}

// SAFETY of every block below: the value `self` exists only under `run` or
// `run_bf16`, whose callers vouched for the instructions, and `BF16` only under
// the second; references to so many numbers are valid for so many numbers.
impl<const BF16: bool> Simd for Avx512<BF16> {
    type V = __m512;
    type Pairs = __m512i;
    const WIDE: bool = true;
    const FUSED: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m512, to: &mut [f32; LANES]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn inside(self, v: __m512, low: __m512, high: __m512) -> u16 {
        // SAFETY: see above.
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(low, v);
            _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(above, v, high)
        }
    }
    #[inline(always)]
    fn keep(self, v: __m512, lanes: u16) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_maskz_mov_ps(lanes, v) }
    }
    #[inline(always)]
    fn prefetch<T>(self, at: *const T) {
        // SAFETY: a prefetch reads nothing and faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn splat_pair(self, pair: u32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(pair.cast_signed()) }
    }
    #[inline(always)]
    fn load_pairs(self, from: &[bf16; 2 * LANES]) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_epi16(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn dot(self, a: __m512i, b: __m512i, c: __m512) -> __m512 {
        if BF16 {
            // SAFETY: see above; the types are registers of the same bits.
            return unsafe {
                let [a, b] = [a, b].map(|pairs| transmute::<__m512i, __m512bh>(pairs));
                _mm512_dpbf16_ps(c, a, b)
            };
        }
        // SAFETY: see above.
        unsafe {
            let first = |pairs| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs));
            let mask = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
            let second = |pairs| _mm512_castsi512_ps(_mm512_and_si512(pairs, mask));
            let c = _mm512_fmadd_ps(first(a), first(b), c);
            _mm512_fmadd_ps(second(a), second(b), c)
        }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let halves = _mm256_loadu_si256(from.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        }
    }
    #[inline(always)]
    fn store_bf16(self, v: __m512, to: &mut [bf16; LANES]) {
        if BF16 {
            // SAFETY: see above; the types are registers of the same bits.
            unsafe {
                let halves = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
                _mm256_storeu_si256(to.as_mut_ptr().cast(), halves);
            }
            return;
        }
        // SAFETY: see above.
        unsafe {
            let bits = _mm512_castps_si512(v);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let nearest = _mm512_add_epi32(bits, up);
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let halves = _mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(nearest, nan, quiet));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(halves));
        }
    }
}
