//! Where every field of the interface lies: on a machine of 64 bits, the same
//! in Rust, in C and in `layout.txt`, which only grows.
#![cfg(target_pointer_width = "64")]
#![allow(clippy::print_stdout, reason = "a test that is left out says why")]

use limpid_plugin_abi::*;
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// A field: its name, offset and size.
type Field = (&'static str, usize, usize);

/// A struct: its name, size and fields.
type Layout = (&'static str, usize, Vec<Field>);

const fn size_of_field<T, F>(_: fn(T) -> F) -> usize {
    size_of::<F>()
}

/// The layouts of structs. A field that is not named does not compile.
macro_rules! layouts {
    ($($name:ident { $($field:ident),+ $(,)? })+) => {
        vec![$({
            let _ = |all: $name| {
                let $name { $($field: _),+ } = all;
            };
            let fields = vec![$((
                stringify!($field),
                offset_of!($name, $field),
                size_of_field(|all: $name| all.$field),
            )),+];
            (stringify!($name), size_of::<$name>(), fields)
        }),+]
    };
}

fn layouts() -> Vec<Layout> {
    layouts! {
        limpid_head { struct_size, abi_major, abi_minor }
        limpid_str { data, len }
        limpid_sink { target, write }
        limpid_host {
            head, capabilities, version, last_error, set_error, is_cancelled, progress, log,
            evaluations, limits, emit, get_extension, tensor_new, tensor_shape, tensor_read,
            tensor_release, compute, noise, pass, integrate, accumulate, gradients, scores,
            layer_gradients, layer_scores, picture, pictures_open, pictures_read,
        }
        limpid_attentions { head, read }
        limpid_tokens { head, before, rows, columns, class_token }
        limpid_plugin { head, id, name, version, methods, method_count, create, get_extension }
        limpid_method { head, id, kind, output, summary, parameters, smooth, required, optional }
        limpid_instance { head, smoothed, reserved, parameters, explain, destroy }
        limpid_objective { classes, weights, count, readout, reserved }
        limpid_sample { draw, position }
        limpid_weighted { sample, weight, row }
        limpid_node { position, weight }
        limpid_array { data, shape, rank }
        limpid_evaluations { gradients, forwards }
        limpid_model {
            head, classes, channels, black, white, cam_layer, cam_layers, cam_layer_count,
        }
        limpid_limits { head, batch, threads, bytes }
        limpid_request { head, picture, shape, tensor, objectives, objective_count, seed, model }
        limpid_path {
            head, object, flags, reserved, ends, graph, build, statics, static_count,
            control_count, controls,
        }
        limpid_subject { head, picture, shape, path, noise, noise_scale, noise_seed, rule }
        limpid_integration { head, subject, objective, draws, nodes, node_count, reduce, reserved }
        limpid_accumulation { head, subject, objective, rows, initial, expected, object, next }
        limpid_plan { head, object, add, sums }
        limpid_points {
            head, subject, objectives, objective_count, points, point_count, times_velocity,
            reserved, object, visit,
        }
        limpid_layers { head, picture, shape, layers, layer_count, objectives, objective_count }
        limpid_variants { head, at, count, object, vary }
        limpid_pass { head, pictures, objective, rule, layers, layer_count }
        limpid_passed { head, logits, activations, gradients }
        limpid_map {
            head, data, tensor, shape, rank, domain, has_sign, layer, standard_error, is_complete,
            reserved, expected, evaluations,
        }
    }
}

fn text(all: &[Layout]) -> String {
    let mut text = String::from("# struct, size; then each field: offset, size\n");
    for (name, size, fields) in all {
        writeln!(text, "{name} {size}").unwrap();
        for (field, offset, size) in fields {
            writeln!(text, "    {field} {offset} {size}").unwrap();
        }
    }
    text
}

#[test]
fn layout_is_the_one_that_is_kept() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/layout.txt");
    let found = text(&layouts());
    if env::var_os("LIMPID_UPDATE_HEADER").is_some_and(|v| v == "1") {
        fs::write(&file, &found).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == kept,
        "{} differs: structs may only grow at their end, and those without a head not at all; \
         if that is so, run this test with LIMPID_UPDATE_HEADER=1",
        file.display()
    );
}

/// All structs are listed, and nothing lies between fields or behind the last:
/// what a compiler may leave there is not zero.
#[test]
fn no_struct_has_holes() {
    let sources = [
        include_str!("../src/basic.rs"),
        include_str!("../src/host.rs"),
        include_str!("../src/plugin.rs"),
        include_str!("../src/request.rs"),
    ];
    let all = layouts();
    let lines = sources.iter().flat_map(|s| s.lines());
    let structs: Vec<&str> = lines
        .filter_map(|l| l.strip_prefix("pub struct ")?.strip_suffix(" {"))
        .collect();
    let listed: Vec<&str> = all.iter().map(|(name, ..)| *name).collect();
    assert_eq!(listed, structs);
    for (name, size, fields) in all {
        let mut end = 0;
        for (field, offset, size) in fields {
            assert_eq!(offset, end, "there is a hole before {name}.{field}");
            end = offset + size;
        }
        assert_eq!(size, end, "there is a hole at the end of {name}");
    }
}

/// A C compiler puts every field where Rust does.
#[test]
fn c_agrees() {
    let mut source = String::from("#include <stddef.h>\n#include \"limpid_plugin.h\"\n");
    for (name, size, fields) in layouts() {
        let says = |claim: String| format!("_Static_assert({claim}, \"{name}\");\n");
        source += &says(format!("sizeof({name}) == {size}"));
        for (field, offset, size) in fields {
            source += &says(format!("offsetof({name}, {field}) == {offset}"));
            source += &says(format!("sizeof((({name} *)0)->{field}) == {size}"));
        }
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("layout.c");
    fs::write(&file, source).unwrap();
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-c"]);
    command.arg(&file).arg("-o").arg(folder.join("layout.o"));
    let include = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("include");
    match command.arg("-I").arg(include).output() {
        Ok(done) => {
            let words = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{words}");
        }
        Err(error) => println!("left out: `cc` cannot be run: {error}"),
    }
}
