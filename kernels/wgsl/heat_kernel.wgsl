// A step of blurs by the cosine transform (DCT-II): along the last axis of
// planes, which it transposes. Two steps make the modes of pictures, two more
// turn what a blur leaves of them into a picture.
//
// Columns are lines of all planes, rows are modes forward and points backward.
// A mode is even or odd about the middle of its axis, so its first half says
// all: even modes are sums over x(i) + x(n-1-i), odd ones over x(i) - x(n-1-i).
// Backward the two sums over even and over odd modes make a point and its
// mirror image. Modes are stored with the even ones first, and as plain sums
// over cosines, of which 1 is exact; the blur sets their weight right.
//
// Modes of which the blur leaves less than 1e-8 are zeros, and the sum over
// them ends where no column of a block has more. A zero changes no sum, so
// nothing depends on what shares a block.

#include "shared/parts.wgsl"
#include "shared/exp.wgsl"
#variant X = f32 | f16
#variant Y = f32 | f16

struct Params {
    base: u32,
    end: u32,
    // Points of a line, half of them (the one in the middle included), and
    // vectors of a row of the basis.
    points: u32,
    half: u32,
    vectors: u32,
    // Lines of a plane, planes of an image, columns in all.
    lines: u32,
    planes: u32,
    columns: u32,
    // Blocks of rows, forward of both parities.
    row_blocks: u32,
    // Planes of x, which all images share where they are those of one.
    planes_in: u32,
    // Images that a plane of this step is for.
    sharing: u32,
    // The frequency of mode 1 of this axis and of that of the lines, and the
    // frequency times sigma behind which modes are negligible, as a part of pi.
    step: f32,
    line_step: f32,
    reach: f32,
    // One for each pixel.
    weight: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
// By parity, depth and row.
@group(0) @binding(1) var<storage, read> basis: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> sigmas: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<${X}>;
@group(0) @binding(4) var<storage, read_write> y: array<${Y}>;

// Backward, and whether this step blurs: then lines are modes of the other axis.
override INVERSE: bool = false;
override BLUR: bool = false;
// The derivative with respect to sigma instead of the blur.
override SLOPE: bool = false;

const A_BY_DEPTH: bool = false;
const B_BY_DEPTH: bool = true;

var<private> first_row: u32;
var<private> parity: u32;
// Of the four columns that this invocation fetches: where they begin, how many
// points or modes they have, sigma, and the squared frequency and the weight of
// the line.
var<private> column_at: vec4<u32>;
var<private> column_length: vec4<u32>;
var<private> column_sigma: vec4<f32>;
var<private> column_square: vec4<f32>;
var<private> column_weight: vec4<f32>;
// The first of the columns that it puts, and whether as mirror images.
var<private> first_put: u32;
var<private> mirrored: bool;

// The modes that a block's columns have.
var<workgroup> most: atomic<u32>;
var<workgroup> bound: u32;

// How many of `points` modes a blur keeps.
fn kept(sigma: f32, points: u32) -> u32 {
    let last = f32(points) * p.reach / abs(sigma);
    // What is not a number keeps all.
    if last < f32(points - 1u) {
        return u32(last) + 1u;
    }
    return points;
}

// Those of the first `length` points or modes that a sum runs over.
fn depth_of(length: u32) -> u32 {
    return select((length + 1u) / 2u, (length + 1u - parity) / 2u, INVERSE);
}

// The squared frequency of a mode.
fn square(mode: f32, step: f32) -> f32 {
    return mode * step * (mode * step);
}

// The mode that is stored at `at`.
fn stored_mode(at: u32, points: u32) -> u32 {
    let even = (points + 1u) / 2u;
    return select(2u * (at - even) + 1u, 2u * at, at < even);
}

fn fetch_a(row: u32, k: u32) -> mat4x4<f32> {
    let vector = (first_row + row) / 4u;
    var part: mat4x4<f32>;
    for (var c = 0u; c < 4u; c++) {
        let depth = depth_at(k + c);
        if vector < p.vectors && depth < p.half {
            part[c] = basis[(parity * p.half + depth) * p.vectors + vector];
        }
    }
    return part;
}

// A point of a column and its mirror image.
fn folded(at: u32, i: u32) -> f32 {
    let v = f32(x[at + i]);
    let mirror = p.points - 1u - i;
    if mirror == i {
        return select(v, 0.0, parity == 1u);
    }
    let other = f32(x[at + mirror]);
    return select(v + other, v - other, parity == 1u);
}

// What a blur leaves of the modes with these squared frequencies.
fn decay(sigma: vec4<f32>, squares: vec4<f32>) -> vec4<f32> {
    let v = -0.5 * sigma * sigma * squares;
    let times = vec4<f32>(exp_(v.x), exp_(v.y), exp_(v.z), exp_(v.w));
    return select(times, -sigma * squares * times, vec4<bool>(SLOPE));
}

// The factor by which the product of a mode with itself is short of 1, less
// the one that all modes have.
fn weight(mode: u32) -> f32 {
    return select(2.0, 1.0, mode == 0u);
}

fn entries(k: u32) -> vec4<f32> {
    let depth = depth_at(k);
    var v: vec4<f32>;
    if depth >= p.half {
        return v;
    }
    let place = select(0u, parity * p.half, INVERSE) + depth;
    for (var j = 0u; j < 4u; j++) {
        if depth < depth_of(column_length[j]) {
            if INVERSE {
                v[j] = f32(x[column_at[j] + place]);
            } else {
                v[j] = folded(column_at[j], place);
            }
        }
    }
    if BLUR {
        let mode = 2u * depth + parity;
        let times = decay(column_sigma, column_square + square(f32(mode), p.step));
        v *= times * (column_weight * weight(mode));
    }
    return v;
}

fn fetch_b(column: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(entries(k), entries(k + 1u), entries(k + 2u), entries(k + 3u));
}

fn put(row: u32, v: vec4<f32>) {
    let at = first_row + row;
    let second = select(parity == 1u, mirrored, INVERSE);
    let rows = select(p.half, p.points - p.half, second);
    var to = at;
    if second {
        to = select(p.half + at, p.points - 1u - at, INVERSE);
    }
    for (var j = 0u; j < 4u; j++) {
        let column = first_put + j * (BN / 4u);
        if at < rows && column < p.columns {
            let plane = column / p.lines;
            y[(plane * p.points + to) * p.lines + column % p.lines] = ${Y}(v[j]);
        }
    }
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let block = workgroup_number(id, count, p.base);
    if block >= p.end {
        return;
    }
    let row_block = block % p.row_blocks;
    let first_column = block / p.row_blocks * BN;
    first_put = first_column + put_column(tid, 0u);
    if tid == 0u {
        atomicStore(&most, 0u);
    }
    workgroupBarrier();
    var modes = 0u;
    for (var j = 0u; j < 4u; j++) {
        let column = first_column + fetched_column(tid) + j;
        if column >= p.columns {
            continue;
        }
        let plane = column / p.lines;
        let line = column % p.lines;
        column_at[j] = (plane % p.planes_in * p.lines + line) * p.points;
        column_length[j] = p.points;
        if INVERSE {
            let sigma = sigmas[plane / p.planes];
            column_sigma[j] = sigma;
            column_length[j] = kept(sigma, p.points);
            if BLUR {
                let mode = stored_mode(line, p.lines);
                column_square[j] = square(f32(mode), p.line_step);
                column_weight[j] = weight(mode) * p.weight;
                if mode >= kept(sigma, p.lines) {
                    column_length[j] = 0u;
                }
            }
            modes = max(modes, column_length[j]);
        }
    }
    if !INVERSE {
        let first = first_column / p.lines / p.planes * p.sharing;
        let last = min(first_column + BN, p.columns) - 1u;
        let behind = (last / p.lines / p.planes + 1u) * p.sharing;
        for (var image = first + tid; image < behind; image += INVOCATIONS) {
            modes = max(modes, kept(sigmas[image], p.points));
        }
    }
    atomicMax(&most, modes);
    workgroupBarrier();
    if tid == 0u {
        bound = atomicLoad(&most);
    }
    let needed = workgroupUniformLoad(&bound);
    if INVERSE {
        first_row = row_block * BM;
        var sum: Sums;
        var difference: Sums;
        for (; parity < 2u; parity++) {
            var part: Sums;
            add_product(tid, depth_of(needed), &part);
            let sign = select(1.0, -1.0, parity == 1u);
            for (var i = 0u; i < TM * GROUPS_N; i++) {
                sum[i] += part[i];
                difference[i] += sign * part[i];
            }
        }
        // A loop, so that what stores them stands once in the compiled code.
        for (var side = 0u; side < 2u; side++) {
            mirrored = side == 1u;
            put_all(tid, &sum);
            sum = difference;
        }
    } else {
        let blocks = p.row_blocks / 2u;
        first_row = row_block % blocks * BM;
        parity = row_block / blocks;
        // Modes that no blur keeps are not looked at.
        if 2u * first_row + parity < needed {
            var sums: Sums;
            add_product(tid, p.half, &sums);
            put_all(tid, &sums);
        }
    }
}
