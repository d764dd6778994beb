// softmax(q k' scale + bias) v without its scores in memory (Dao et al., 2022,
// "FlashAttention"): a workgroup has ROWS queries of a head and takes 32 keys
// at a time. Sums so far are relative to the largest score so far, and are
// scaled when a larger one is met (Milakov and Gimelshein, 2018).
//
// Eight lanes share two queries: in a block each has four neighbouring keys, of
// the result vectors eight apart. The order of sums depends on the keys alone.

#include "shared/reduce.wgsl"
#include "shared/exp.wgsl"
// Queries of a workgroup: a quarter of its invocations.
#parameter ROWS = 64
// Vectors of a result that a lane has.
#parameter COLUMNS = 2

const ROWS: u32 = ${ROWS}u;
const COLUMNS: u32 = ${COLUMNS}u;
const KEYS: u32 = 32u;
// Depths of q and k, and rows of v, that lie in workgroup memory at once.
const DEPTH: u32 = 16u;
const VALUES: u32 = 8u;
// The lowest number, with which some networks hide keys; not infinite, so that
// infinity is not subtracted from itself.
const LOWEST: f32 = -3.4028234663852886e38;

struct Params {
    base: u32,
    end: u32,
    queries: u32,
    keys: u32,
    // The lengths of a query, and of a line of v.
    depth: u32,
    columns: u32,
    // Blocks of queries.
    blocks: u32,
    heads: u32,
    // Distances in the bias.
    bias_image: u32,
    bias_head: u32,
    bias_query: u32,
    bias_key: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> k: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

override BIAS: bool = false;

// Of q four depths of each query, part by part, and behind them of k four keys
// at each depth; or lines of v.
var<workgroup> operands: array<vec4<f32>, 4u * ROWS + DEPTH * KEYS / 4u>;
// e^score of four keys for each query.
var<workgroup> weights: array<vec4<f32>, KEYS / 4u * ROWS>;

// Which head of all images' heads.
var<private> head: u32;
var<private> lane: u32;
// The two queries, in the block.
var<private> rows: vec2<u32>;

// Of the two queries, for each of the lane's four keys.
struct Scores {
    a: vec4<f32>,
    b: vec4<f32>,
}

// Of the two queries, the lane's vectors.
struct Results {
    a: array<vec4<f32>, COLUMNS>,
    b: array<vec4<f32>, COLUMNS>,
}

fn query(row: u32, at: u32) -> f32 {
    if row < p.queries && at < p.depth {
        return q[(head * p.queries + row) * p.depth + at];
    }
    return 0.0;
}

fn key(row: u32, at: u32) -> f32 {
    if row < p.keys && at < p.depth {
        return k[(head * p.keys + row) * p.depth + at];
    }
    return 0.0;
}

fn value(row: u32, at: u32) -> f32 {
    if row < p.keys && at < p.columns {
        return v[(head * p.keys + row) * p.columns + at];
    }
    return 0.0;
}

fn add_depth(scores: ptr<function, Scores>, at: u32, a: f32, b: f32) {
    let keys = operands[4u * ROWS + at * (KEYS / 4u) + lane];
    (*scores).a = fma(vec4<f32>(a), keys, (*scores).a);
    (*scores).b = fma(vec4<f32>(b), keys, (*scores).b);
}

// The products of the two queries and the lane's keys.
fn products(tid: u32, first_row: u32, first_key: u32) -> Scores {
    var scores: Scores;
    for (var depth = 0u; depth < p.depth; depth += DEPTH) {
        let row = first_row + tid / 4u;
        let at = depth + tid % 4u * 4u;
        operands[tid % 4u * ROWS + tid / 4u] =
            vec4<f32>(query(row, at), query(row, at + 1u), query(row, at + 2u), query(row, at + 3u));
        // As many vectors as the smallest workgroup has invocations.
        if tid < DEPTH * KEYS / 4u {
            let first = first_key + tid / DEPTH * 4u;
            let at = depth + tid % DEPTH;
            operands[4u * ROWS + tid % DEPTH * (KEYS / 4u) + tid / DEPTH] =
                vec4<f32>(key(first, at), key(first + 1u, at), key(first + 2u, at), key(first + 3u, at));
        }
        workgroupBarrier();
        for (var part = 0u; part < DEPTH / 4u; part++) {
            let a = operands[part * ROWS + rows.x];
            let b = operands[part * ROWS + rows.y];
            add_depth(&scores, 4u * part, a.x, b.x);
            add_depth(&scores, 4u * part + 1u, a.y, b.y);
            add_depth(&scores, 4u * part + 2u, a.z, b.z);
            add_depth(&scores, 4u * part + 3u, a.w, b.w);
        }
        workgroupBarrier();
    }
    return scores;
}

// A query's scores from its products with the lane's keys.
fn finished(products: vec4<f32>, row: u32, first: u32) -> vec4<f32> {
    var scores = products * p.scale;
    if BIAS && row < p.queries {
        let line = head / p.heads * p.bias_image + head % p.heads * p.bias_head + row * p.bias_query;
        for (var j = 0u; j < 4u; j++) {
            if first + j < p.keys {
                scores[j] += bias[line + (first + j) * p.bias_key];
            }
        }
    }
    return scores;
}

// Scores of keys that are there; LOWEST for others.
fn there(scores: vec4<f32>, first: u32) -> vec4<f32> {
    let keys = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(LOWEST), scores, keys < vec4<u32>(p.keys));
}

fn largest_of(v: vec4<f32>) -> f32 {
    return larger(larger(v.x, v.y), larger(v.z, v.w));
}

fn powers(scores: vec4<f32>, largest: f32, first: u32) -> vec4<f32> {
    let v = vec4<f32>(
        exp_(scores.x - largest), exp_(scores.y - largest), exp_(scores.z - largest), exp_(scores.w - largest));
    let keys = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), v, keys < vec4<u32>(p.keys));
}

fn total(v: vec4<f32>) -> f32 {
    return v.x + v.y + v.z + v.w;
}

fn add_value(results: ptr<function, Results>, at: u32, a: f32, b: f32) {
    for (var c = 0u; c < COLUMNS; c++) {
        let values = operands[at * (8u * COLUMNS) + c * 8u + lane];
        (*results).a[c] = fma(vec4<f32>(a), values, (*results).a[c]);
        (*results).b[c] = fma(vec4<f32>(b), values, (*results).b[c]);
    }
}

// Adds the block's lines of v, each times its weight.
fn add_values(tid: u32, first_key: u32, results: ptr<function, Results>) {
    for (var block = 0u; block < KEYS; block += VALUES) {
        for (var i = tid; i < VALUES * 8u * COLUMNS; i += 4u * ROWS) {
            let row = first_key + block + i / (8u * COLUMNS);
            let at = i % (8u * COLUMNS) * 4u;
            operands[i] = vec4<f32>(value(row, at), value(row, at + 1u), value(row, at + 2u), value(row, at + 3u));
        }
        workgroupBarrier();
        for (var part = 0u; part < VALUES / 4u; part++) {
            let a = weights[(block / 4u + part) * ROWS + rows.x];
            let b = weights[(block / 4u + part) * ROWS + rows.y];
            add_value(results, 4u * part, a.x, b.x);
            add_value(results, 4u * part + 1u, a.y, b.y);
            add_value(results, 4u * part + 2u, a.z, b.z);
            add_value(results, 4u * part + 3u, a.w, b.w);
        }
        workgroupBarrier();
    }
}

fn put(row: u32, column: u32, v: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        if row < p.queries && column + j < p.columns {
            y[(head * p.queries + row) * p.columns + column + j] = v[j];
        }
    }
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) tid: u32,
) {
    let group = workgroup_number(id, count, p.base);
    if group >= p.end {
        return;
    }
    invocation = tid;
    head = group / p.blocks;
    lane = own_lane();
    rows = vec2<u32>(tid / 8u, tid / 8u + ROWS / 2u);
    let first_row = group % p.blocks * ROWS;
    var largest = vec2<f32>(LOWEST);
    var sums = vec2<f32>(0.0);
    var results: Results;
    for (var first_key = 0u; first_key < p.keys; first_key += KEYS) {
        let first = first_key + lane * 4u;
        let block = products(tid, first_row, first_key);
        let a = finished(block.a, first_row + rows.x, first);
        let b = finished(block.b, first_row + rows.y, first);
        let before = largest;
        largest.x = larger(before.x, largest_of_lanes(largest_of(there(a, first))));
        largest.y = larger(before.y, largest_of_lanes(largest_of(there(b, first))));
        let weights_a = powers(a, largest.x, first);
        let weights_b = powers(b, largest.y, first);
        weights[lane * ROWS + rows.x] = weights_a;
        weights[lane * ROWS + rows.y] = weights_b;
        let shrunk = vec2<f32>(exp_(before.x - largest.x), exp_(before.y - largest.y));
        sums = sums * shrunk + vec2<f32>(sum_of_lanes(total(weights_a)), sum_of_lanes(total(weights_b)));
        for (var c = 0u; c < COLUMNS; c++) {
            results.a[c] *= shrunk.x;
            results.b[c] *= shrunk.y;
        }
        add_values(tid, first_key, &results);
    }
    for (var c = 0u; c < COLUMNS; c++) {
        put(first_row + rows.x, (c * 8u + lane) * 4u, results.a[c] / sums.x);
        put(first_row + rows.y, (c * 8u + lane) * 4u, results.b[c] / sums.y);
    }
}
