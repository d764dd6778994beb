// A stack of matrix products with an invocation for each output.

struct Params {
    rows: u32,
    columns: u32,
    depth: u32,
    outputs: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.outputs {
        return;
    }
    let column = id.x % p.columns;
    let row = id.x / p.columns % p.rows;
    let product = id.x / p.columns / p.rows;
    var sum = 0.0;
    for (var k = 0u; k < p.depth; k++) {
        sum += a[(product * p.rows + row) * p.depth + k]
            * b[(product * p.depth + k) * p.columns + column];
    }
    y[id.x] = sum;
}
