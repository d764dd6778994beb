// Four neighbours of a row as one vector, where its length is a multiple of four.

@group(0) @binding(3) var<storage, read_write> x: array<vec4<${X}>>;

fn entries(row: u32, k: u32) -> vec4<f32> {
    if row < p.rows && k < p.length {
        return vec4<f32>(x[(row * p.length + k) / 4u]);
    }
    return vec4<f32>();
}
