// Sines and cosines of an angle from -pi/4 to pi/4, within 1 unit in the last
// place. The angle is `high` + `low`, of which `low` is below the last place of `high`.

struct Angle {
    // Whole quarters of a turn that were taken off, of which the last two bits count.
    quarter: u32,
    high: f32,
    low: f32,
}

// The angle of `turn` 2^-64 turns.
fn angle_of_turn(turn: vec2<u32>) -> Angle {
    let quarter = (turn.x + 0x20000000u) >> 30u;
    // What is left, in units of 2^-64 quarters, of either sign.
    var rest = vec2<u32>(bits_from(turn.x, turn.y, 2u), turn.y << 2u);
    let sign = rest.x & 0x80000000u;
    if sign != 0u {
        rest = add_wide(~rest, vec2<u32>(0u, 1u));
    }
    var exponent = 127u - 32u;
    if rest.x == 0u {
        rest = vec2<u32>(rest.y, 0u);
        exponent -= 32u;
    }
    if rest.x == 0u {
        return Angle(quarter, 0.0, 0.0);
    }
    let zeros = countLeadingZeros(rest.x);
    // Times pi / 2, which is 2^-31 times the constant.
    let size = multiply_wide(bits_from(rest.x, rest.y, zeros), 0xc90fdaa2u);
    let unit = bitcast<f32>(((exponent - zeros + 1u) << 23u) | sign);
    return Angle(quarter, f32(size.x & 0xffffff00u) * unit, f32(size.x & 0xffu) * unit);
}

fn sin_of(a: Angle) -> f32 {
    let z = a.high * a.high;
    let q = -1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0)));
    return a.high + (a.high * z * q + a.low * (1.0 - 0.5 * z));
}

fn cos_of(a: Angle) -> f32 {
    let z = a.high * a.high;
    let q = 1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0 + z * (-1.0 / 3628800.0)));
    let half = 0.5 * z;
    let whole = 1.0 - half;
    return whole + ((1.0 - whole - half) + (z * z * q - a.high * a.low));
}

// The sine of the angle with its quarters and some more.
fn sin_of_quarters(a: Angle, more: u32) -> f32 {
    let quarter = a.quarter + more;
    var y = 0.0;
    if (quarter & 1u) == 1u {
        y = cos_of(a);
    } else {
        y = sin_of(a);
    }
    return select(y, -y, (quarter & 2u) == 2u);
}
