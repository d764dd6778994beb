// A convolution's inputs for four output pixels, one by one.

@group(0) @binding(5) var<storage, read_write> x: array<${X}>;

fn pixel(at: i32, row: i32, column: i32, tap: vec4<i32>) -> f32 {
    let outside = u32(row + tap.y) >= p.in_height || u32(column + tap.z) >= p.in_width;
    if outside {
        return 0.0;
    }
    return f32(x[u32(at + tap.x)]);
}

fn pixels(tap: vec4<i32>) -> vec4<f32> {
    return vec4<f32>(
        pixel(column_at.x, column_y.x, column_x.x, tap),
        pixel(column_at.y, column_y.y, column_x.y, tap),
        pixel(column_at.z, column_y.z, column_x.z, tap),
        pixel(column_at.w, column_y.w, column_x.w, tap),
    );
}

fn fetch_b(column: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(pixels(taps[k]), pixels(taps[k + 1u]), pixels(taps[k + 2u]), pixels(taps[k + 3u]));
}
