//! What computing in bf16 changes: the first class not at all, the ranks of a
//! map's pixels a little.

mod common;

use common::{PHOTOS, crop, embedded};
use limpid::GradientMethod;
use limpid::metrics::spearman;
use limpid::{
    BlurIntegratedGradients, Device, Explainer, IntegratedGradients, Model, Precision, RunOptions,
    Session, SmoothGrad, Target,
};
use limpid_cpu::{CpuOptions, Isa};
use limpid_render::Heatmap;

/// The standard deviation, in the model's pixels, by which maps of single
/// pixels are smoothed where they are drawn.
const SIGMA: f64 = 1.2;

/// A session in bf16; without the instructions for it, with others that
/// compute the same.
fn half(threads: usize) -> Session {
    let available = Precision::available().contains(&Precision::Bf16);
    let options = CpuOptions {
        threads: Some(threads),
        isa: (!available).then(|| Isa::available()[0]),
        precision: Precision::Bf16,
    };
    let model = Model::embedded().unwrap();
    model.session(Device::cpu_with(options).unwrap()).unwrap()
}

/// The signed sum over channels.
fn map(session: &Session, photo: &str, method: &dyn Explainer, class: usize) -> Vec<f32> {
    let options = RunOptions::default();
    let maps = session
        .explain_input(&crop(photo), method, &Target::Class(class), &options)
        .unwrap();
    let map = &maps[0].attribution().map;
    let plane = map.dims()[1] * map.dims()[2];
    let sum = |i: usize| map.data().iter().skip(i).step_by(plane).sum();
    (0..plane).map(sum).collect()
}

fn smoothed(data: &[f32], sigma: f64) -> Vec<f32> {
    let side = data.len().isqrt();
    let map = Heatmap {
        data,
        height: side,
        width: side,
    };
    map.smoothed(sigma).unwrap()
}

#[test]
fn maps_in_bf16_rank_pixels_as_those_in_f32() {
    let (single, half) = (embedded(), half(2));
    // Nested loops have the same points in both.
    let smooth = || SmoothGrad::new().samples(3).nested();
    let methods: [Box<dyn Explainer>; 2] = [
        Box::new(BlurIntegratedGradients::new().steps(16).smoothed(smooth())),
        Box::new(IntegratedGradients::new().steps(16).smoothed(smooth())),
    ];
    for photo in PHOTOS {
        let input = crop(photo);
        let top = single.predict(&input, 1).unwrap()[0].index;
        assert_eq!(half.predict(&input, 1).unwrap()[0].index, top, "{photo}");
        for method in &methods {
            let [a, b] = [&single, &half].map(|s| map(s, photo, &**method, top));
            let raw = spearman(&a, &b).unwrap();
            let drawn = spearman(&smoothed(&a, SIGMA), &smoothed(&b, SIGMA)).unwrap();
            let name = format!("{photo}, {}", method.id());
            assert!(raw.min(drawn) >= 0.99, "{name}: {raw}, smoothed {drawn}");
        }
    }
}

#[test]
fn maps_in_bf16_do_not_depend_on_threads_and_name_the_precision() {
    let method = IntegratedGradients::new().steps(5);
    let bits = |session: &Session| -> Vec<u32> {
        let map = map(session, "coffee", &method, 967);
        map.iter().map(|v| v.to_bits()).collect()
    };
    assert_eq!(bits(&half(1)), bits(&half(2)));
    let options = RunOptions::default();
    let maps = half(2).explain_input(&crop("coffee"), &method, &Target::Top(1), &options);
    assert_eq!(maps.unwrap()[0].manifest().precision, "bf16");
}
