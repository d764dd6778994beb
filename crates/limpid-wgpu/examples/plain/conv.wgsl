// A convolution with an invocation for each output.

struct Params {
    channels: u32,
    height: u32,
    width: u32,
    filters: u32,
    window: u32,
    outputs: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.outputs {
        return;
    }
    let column = id.x % p.width;
    let row = id.x / p.width % p.height;
    let filter_ = id.x / p.width / p.height % p.filters;
    let image = id.x / p.width / p.height / p.filters;
    let pad = p.window / 2u;
    var sum = 0.0;
    for (var c = 0u; c < p.channels; c++) {
        for (var i = 0u; i < p.window; i++) {
            for (var j = 0u; j < p.window; j++) {
                // Left of or above the image is beyond it, too.
                let in_row = row + i - pad;
                let in_column = column + j - pad;
                if in_row < p.height && in_column < p.width {
                    let at = ((image * p.channels + c) * p.height + in_row) * p.width + in_column;
                    let tap = ((filter_ * p.channels + c) * p.window + i) * p.window + j;
                    sum += weights[tap] * x[at];
                }
            }
        }
    }
    y[id.x] = sum;
}
