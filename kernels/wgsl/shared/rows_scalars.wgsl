// Four neighbours of a row, one by one.

@group(0) @binding(3) var<storage, read_write> x: array<${X}>;

fn entry(row: u32, k: u32) -> f32 {
    if row < p.rows && k < p.length {
        return f32(x[row * p.length + k]);
    }
    return 0.0;
}

fn entries(row: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(entry(row, k), entry(row, k + 1u), entry(row, k + 2u), entry(row, k + 3u));
}
