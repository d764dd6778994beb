//! The colour maps with every kind of colour vision.

use limpid_render::Palette;

/// sRGB to linear light.
fn linear(rgb: [u8; 3]) -> [f64; 3] {
    rgb.map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    })
}

/// CIE lightness L* of linear RGB.
fn lightness([r, g, b]: [f64; 3]) -> f64 {
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    if y > 216.0 / 24389.0 {
        116.0 * y.cbrt() - 16.0
    } else {
        y * 24389.0 / 27.0
    }
}

type Matrix = [[f64; 3]; 3];

const NORMAL: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
/// Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
const PROTANOPIA: Matrix = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
];
const DEUTERANOPIA: Matrix = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
];
const TRITANOPIA: Matrix = [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.303900],
];

fn seen(vision: &Matrix, palette: Palette, t: f64) -> [f64; 3] {
    let rgb = linear(palette.color(t));
    vision.map(|row| {
        let v: f64 = row.iter().zip(rgb).map(|(a, b)| a * b).sum();
        v.clamp(0.0, 1.0)
    })
}

#[test]
fn sequential_lightness_rises_with_every_colour_vision() {
    for vision in [NORMAL, PROTANOPIA, DEUTERANOPIA, TRITANOPIA] {
        let at = |i: usize| lightness(seen(&vision, Palette::Sequential, i as f64 / 32.0));
        for i in 0..32 {
            assert!(at(i + 1) > at(i), "step {i}");
        }
        // Neighbouring ticks, of which there are at most about seven.
        for i in 0..7 {
            let t = |i| lightness(seen(&vision, Palette::Sequential, f64::from(i) / 7.0));
            assert!(t(i + 1) - t(i) > 8.0, "tick {i}: {}", t(i + 1) - t(i));
        }
    }
}

#[test]
fn diverging_signs_differ_and_lightness_tells_the_magnitude() {
    for vision in [NORMAL, PROTANOPIA, DEUTERANOPIA, TRITANOPIA] {
        let color = |t| seen(&vision, Palette::Diverging, t);
        assert!(lightness(color(0.5)) > 90.0);
        for i in 0..4 {
            let inner = f64::from(i) / 8.0;
            let outer = f64::from(i + 1) / 8.0;
            for side in [-1.0, 1.0] {
                let (a, b) = (color(0.5 + side * inner), color(0.5 + side * outer));
                assert!(lightness(a) - lightness(b) > 2.0, "{side} {inner}");
            }
            // Equal magnitudes: which of red and blue prevails tells the sign.
            let (minus, plus) = (color(0.5 - outer), color(0.5 + outer));
            assert!(minus[2] - minus[0] > 0.03, "{outer}: {minus:?}");
            assert!(plus[0] - plus[2] > 0.01, "{outer}: {plus:?}");
        }
    }
}

#[test]
fn positions_outside_of_the_bar_take_the_ends() {
    for palette in [Palette::Sequential, Palette::Diverging] {
        assert_eq!(palette.color(-3.0), palette.color(0.0));
        assert_eq!(palette.color(7.0), palette.color(1.0));
        assert_eq!(palette.color(f64::NAN), palette.color(0.0));
    }
    // matplotlib's inferno, first and last.
    assert_eq!(Palette::Sequential.color(0.0), [0, 0, 4]);
    assert_eq!(Palette::Sequential.color(1.0), [252, 255, 164]);
}
