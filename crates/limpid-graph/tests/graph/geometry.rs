//! Padding and window geometry against the published formulas and numbers
//! worked out by hand.

use limpid_graph::ops::{Conv, ConvTranspose, Padding};
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Op, Operator};

/// TensorFlow's documentation of "SAME", for one axis: before, after.
fn tensorflow_same(input: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let total = if input.is_multiple_of(stride) {
        kernel.saturating_sub(stride)
    } else {
        kernel.saturating_sub(input % stride)
    };
    (total / 2, total - total / 2)
}

#[test]
fn same_padding_is_tensorflows() {
    let same = |input: usize, kernel: usize, stride: usize| {
        Padding::SameUpper.resolve([input; 2], [kernel; 2], [stride; 2], [1; 2])
    };
    // EfficientNet's stem and the block at 112 with a 5x5 window.
    assert_eq!(same(224, 3, 2), [0, 0, 1, 1]);
    assert_eq!(same(112, 5, 2), [1, 1, 2, 2]);
    assert_eq!(same(7, 3, 1), [1, 1, 1, 1]);
    assert_eq!(same(7, 3, 2), [1, 1, 1, 1]);
    assert_eq!(same(8, 1, 2), [0; 4]);
    for input in 1..40 {
        for kernel in 1..8 {
            for stride in 1..5 {
                let (before, after) = tensorflow_same(input, kernel, stride);
                let found = same(input, kernel, stride);
                assert_eq!(
                    found,
                    [before, before, after, after],
                    "{input} {kernel} {stride}"
                );
            }
        }
    }
}

#[test]
fn same_padding_gives_the_quotient_rounded_up() {
    for input in 1..20 {
        for (kernel, stride, dilation) in [(3, 2, 1), (5, 3, 1), (3, 1, 2), (2, 2, 3), (1, 4, 1)] {
            let conv = Conv {
                strides: [stride; 2],
                dilations: [dilation; 2],
                padding: Padding::SameUpper,
                ..Conv::default()
            };
            let x = Fact::f32([1, 1, input, input]);
            let w = Fact::f32([1, 1, kernel, kernel]);
            let out = Op::from(conv).infer(&[&x, &w]).unwrap().remove(0);
            assert_eq!(
                out.shape[2],
                input.div_ceil(stride),
                "{input} {kernel} {stride}"
            );
        }
    }
}

fn row(data: &[f64]) -> RefTensor {
    RefTensor::new([1, 1, 1, data.len()], data.to_vec())
}

#[test]
fn convolution_by_hand() {
    let conv = |op: Conv, x: &[f64], w: &[f64]| op.reference(&[&row(x), &row(w)]).remove(0).data;
    let x = [1.0, 2.0, 3.0, 4.0, 5.0];
    let w = [1.0, 10.0, 100.0];
    assert_eq!(conv(Conv::default(), &x, &w), [321.0, 432.0, 543.0]);
    let strided = Conv {
        strides: [1, 2],
        padding: Padding::Explicit([0, 1, 0, 1]),
        ..Conv::default()
    };
    assert_eq!(conv(strided, &x, &w), [210.0, 432.0, 54.0]);
    let dilated = Conv {
        dilations: [1, 2],
        ..Conv::default()
    };
    assert_eq!(conv(dilated, &x, &w), [531.0]);
}

#[test]
fn transposed_convolution_by_hand() {
    let transpose =
        |op: ConvTranspose, x: &[f64], w: &[f64]| op.reference(&[&row(x), &row(w)]).remove(0).data;
    let (x, w) = ([1.0, 2.0], [1.0, 10.0, 100.0]);
    assert_eq!(
        transpose(ConvTranspose::default(), &x, &w),
        [1.0, 12.0, 120.0, 200.0]
    );
    let strided = ConvTranspose {
        strides: [1, 2],
        ..ConvTranspose::default()
    };
    assert_eq!(
        transpose(strided.clone(), &x, &w),
        [1.0, 10.0, 102.0, 20.0, 200.0]
    );
    let cut = ConvTranspose {
        pads: [0, 1, 0, 2],
        ..strided.clone()
    };
    assert_eq!(transpose(cut, &x, &w), [10.0, 102.0]);
    let longer = ConvTranspose {
        output_padding: [0, 1],
        ..strided
    };
    assert_eq!(
        transpose(longer, &x, &w),
        [1.0, 10.0, 102.0, 20.0, 200.0, 0.0]
    );
}

#[test]
fn transposed_extent_is_pytorchs() {
    for (input, kernel, stride, dilation, pads, extra) in [
        (5, 3, 2, 1, [1, 1], 1),
        (4, 4, 2, 1, [1, 1], 0),
        (3, 3, 1, 2, [0, 2], 0),
        (7, 2, 3, 1, [0, 0], 2),
    ] {
        let op = ConvTranspose {
            strides: [stride; 2],
            dilations: [dilation; 2],
            pads: [pads[0], pads[0], pads[1], pads[1]],
            output_padding: [extra; 2],
            ..ConvTranspose::default()
        };
        let x = Fact::f32([1, 2, input, input]);
        let w = Fact::f32([2, 3, kernel, kernel]);
        let out = Op::from(op).infer(&[&x, &w]).unwrap().remove(0);
        let extent = (input - 1) * stride + dilation * (kernel - 1) + extra + 1 - pads[0] - pads[1];
        assert_eq!(out.shape.dims(), [1, 3, extent, extent]);
    }
}

#[test]
fn groups_do_not_mix() {
    // Two groups of two channels to one each; the second group's weight is zero.
    let x = RefTensor::new([1, 4, 1, 1], vec![1.0, 2.0, 3.0, 4.0]);
    let w = RefTensor::new([2, 2, 1, 1], vec![5.0, 7.0, 0.0, 1.0]);
    let op = Conv {
        groups: 2,
        ..Conv::default()
    };
    assert_eq!(op.reference(&[&x, &w])[0].data, [19.0, 4.0]);
}
