// A convolution's inputs for four output pixels that follow each other, as one
// vector: of windows of one tap and steps of one, where an image's pixels are a
// multiple of four.

@group(0) @binding(5) var<storage, read_write> x: array<vec4<${X}>>;

fn pixels(tap: vec4<i32>) -> vec4<f32> {
    if column_y.x < 0 || tap.y < 0 {
        return vec4<f32>();
    }
    return vec4<f32>(x[u32(column_at.x + tap.x) / 4u]);
}

fn fetch_b(column: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(pixels(taps[k]), pixels(taps[k + 1u]), pixels(taps[k + 2u]), pixels(taps[k + 3u]));
}
