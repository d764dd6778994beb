// Blurs along one axis, a matrix for each, with an invocation for each output.

struct Params {
    // Images of x: one for all blurs, or one for each.
    images: u32,
    planes: u32,
    height: u32,
    width: u32,
    // 1 along rows, the width along columns.
    stride: u32,
    length: u32,
    outputs: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> matrices: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.outputs {
        return;
    }
    let pixels = p.height * p.width;
    let position = id.x / p.stride % p.length;
    let blur = id.x / pixels / p.planes;
    let image = blur % p.images;
    let plane = id.x / pixels % p.planes;
    let first = (image * p.planes + plane) * pixels + id.x % pixels - position * p.stride;
    var sum = 0.0;
    for (var k = 0u; k < p.length; k++) {
        sum += matrices[(blur * p.length + position) * p.length + k] * x[first + k * p.stride];
    }
    y[id.x] = sum;
}
