// The exponential function within 2 units in the last place, for arguments
// whose result is a normal number or 0.

fn exp_(v: f32) -> f32 {
    // v = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first of
    // which is exact when multiplied by n. Comparisons keep what is not a number.
    var x = select(v, -104.0, v < -104.0);
    x = select(x, 89.0, x > 89.0);
    let n = round(x * 1.44269504);
    let r = fma(-n, -2.12194440e-4, fma(-n, 0.693359375, x));
    var q = 1.0 / 5040.0;
    q = fma(q, r, 1.0 / 720.0);
    q = fma(q, r, 1.0 / 120.0);
    q = fma(q, r, 1.0 / 24.0);
    q = fma(q, r, 1.0 / 6.0);
    q = fma(q, r, 0.5);
    q = 1.0 + fma(r * r, q, r);
    // 2^n is beyond the normal numbers where the result is not: it comes in two parts.
    let whole = i32(n);
    let half = whole >> 1u;
    return q * bitcast<f32>((half + 127) << 23u) * bitcast<f32>((whole - half + 127) << 23u);
}
