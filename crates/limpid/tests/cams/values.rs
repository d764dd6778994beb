//! Values, against closed forms and against PyTorch in f64.

use crate::common::{Expected, PHOTOS, correlation, crop, embedded, relative_l2};
use crate::{Numbers, TARGETS, close, explain, map, maps, small};
use limpid::{
    AblationCam, Baseline, EigenCam, EigenGradCam, ElementWiseCam, Explainer, GradCam,
    GradCamPlusPlus, HiResCam, Kept, LayerCam, ReciproCam, RunOptions, ScoreCam, Target, XGradCam,
};

/// The methods at a layer, without cutting off negative values, by the fixtures' names.
fn family(layer: &str) -> Vec<(&'static str, Box<dyn Explainer>)> {
    vec![
        (
            "grad-cam",
            Box::new(GradCam::new().layer(layer).relu(false)),
        ),
        (
            "grad-cam++",
            Box::new(GradCamPlusPlus::new().layer(layer).relu(false)),
        ),
        (
            "hires-cam",
            Box::new(HiResCam::new().layer(layer).relu(false)),
        ),
        (
            "element-wise-cam",
            Box::new(ElementWiseCam::new().layer(layer)),
        ),
        (
            "layer-cam",
            Box::new(LayerCam::new().layer(layer).relu(false)),
        ),
        (
            "xgrad-cam",
            Box::new(XGradCam::new().layer(layer).relu(false)),
        ),
        ("eigen-cam", Box::new(EigenCam::new().layer(layer))),
        (
            "eigen-cam.centre=false",
            Box::new(EigenCam::new().layer(layer).centre(false)),
        ),
        ("eigen-grad-cam", Box::new(EigenGradCam::new().layer(layer))),
        (
            "eigen-grad-cam.centre=false",
            Box::new(EigenGradCam::new().layer(layer).centre(false)),
        ),
        (
            "ablation-cam",
            Box::new(AblationCam::new().layer(layer).relu(false)),
        ),
        ("recipro-cam", Box::new(ReciproCam::new().layer(layer))),
    ]
}

#[test]
fn the_small_networks_maps_are_pytorchs() {
    let (session, input, numbers) = small();
    let logits = session.logits(&input).unwrap();
    assert!(relative_l2(&logits, &numbers.get("logits")) < 1e-6);
    for layer in ["act1", "act2"] {
        let white = ScoreCam::new()
            .layer(layer)
            .relu(false)
            .baseline(Baseline::White);
        let cell = ReciproCam::new().layer(layer).mask(Kept::Cell);
        let mut methods = family(layer);
        methods.push((
            "score-cam",
            Box::new(ScoreCam::new().layer(layer).relu(false)),
        ));
        methods.push(("score-cam.baseline=white", Box::new(white)));
        methods.push(("recipro-cam.mask=cell", Box::new(cell)));
        for (name, method) in methods {
            for (target, found) in TARGETS
                .iter()
                .zip(maps(&session, &input, &*method, &TARGETS))
            {
                let key = format!("{layer}/{target}/{name}");
                close(&key, &found, &numbers.get(&key), 1e-4);
            }
        }
    }
}

#[test]
fn probabilities_and_differences_are_scores_too() {
    let (session, input, numbers) = small();
    let method = GradCam::new().layer("act1").relu(false);
    let explained = |target: &str| {
        let found = session
            .explain_input(
                &input,
                &method,
                &Target::parse(target),
                &RunOptions::default(),
            )
            .unwrap();
        found[0].attribution().map.data().to_vec()
    };
    let probability = numbers.get("act1/1/grad-cam.probability");
    close(
        "probability",
        &explained("probability:1"),
        &probability,
        1e-4,
    );
    let [one, three] = [1, 3].map(|t| numbers.get(&format!("act1/{t}/grad-cam")));
    let difference: Vec<f64> = one.iter().zip(three).map(|(a, b)| a - b).collect();
    close("difference", &explained("1 vs 3"), &difference, 1e-4);
}

/// Of a network that ends in ReLU, global pooling and a linear layer, the maps are
/// known: W_c A_c, summed and divided by the number of cells.
#[test]
fn before_pooling_and_a_linear_layer_maps_are_the_classic_cam() {
    let (session, input, _) = small();
    let weights = Numbers::of("small/model.safetensors");
    let (weight, bias) = (weights.get("fc.weight"), weights.get("fc.bias"));
    let activation = session.activation(&input, "act2").unwrap();
    let &[channels, rows, columns] = activation.dims() else {
        panic!("no map")
    };
    let cells = rows * columns;
    let a = |c: usize, p: usize| f64::from(activation.data()[c * cells + p]);
    let sum_a = |c: usize| (0..cells).map(|p| a(c, p)).sum::<f64>();
    for target in 0..5 {
        let w = |c: usize| weight[target * channels + c] / cells as f64;
        let summed = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            let at = |p| (0..channels).map(|c| of(c, p)).sum();
            (0..cells).map(at).collect()
        };
        let score = bias[target] + (0..channels).map(|c| w(c) * sum_a(c)).sum::<f64>();
        let cam = summed(&|c, p| w(c) * a(c, p));
        let ablation = summed(&|c, p| w(c) * sum_a(c) / score.abs() * a(c, p));
        let one_cell: Vec<f64> = cam.iter().map(|v| bias[target] + v).collect();
        let positive = summed(&|c, p| w(c).max(0.0) * a(c, p));
        // alpha = g^2 / (2 g^2 + g^3 sum A), the weight its sum times relu(g).
        let plus_plus = summed(&|c, p| {
            let (g, total) = (w(c), sum_a(c));
            let alpha = if g == 0.0 {
                0.0
            } else {
                g * g / (2.0 * g * g + g * g * g * total)
            };
            cells as f64 * alpha * g.max(0.0) * a(c, p)
        });
        // torch-cam's coefficients are never divided.
        let torch_cam = summed(&|c, p| {
            let g = w(c);
            cells as f64 * g * g * g.max(0.0) * a(c, p)
        });
        let found = |method: &dyn Explainer| map(&session, &input, method, target);
        let methods: [(&str, Box<dyn Explainer>, &[f64]); 8] = [
            ("grad-cam", Box::new(GradCam::new().relu(false)), &cam),
            ("hires-cam", Box::new(HiResCam::new().relu(false)), &cam),
            ("xgrad-cam", Box::new(XGradCam::new().relu(false)), &cam),
            ("layer-cam", Box::new(LayerCam::new()), &positive),
            (
                "element-wise-cam",
                Box::new(ElementWiseCam::new()),
                &positive,
            ),
            ("grad-cam++", Box::new(GradCamPlusPlus::new()), &plus_plus),
            (
                "ablation-cam",
                Box::new(AblationCam::new().relu(false)),
                &ablation,
            ),
            (
                "recipro-cam",
                Box::new(ReciproCam::new().mask(Kept::Cell)),
                &one_cell,
            ),
        ];
        for (name, method, expected) in methods {
            close(
                &format!("{target} {name}"),
                &found(&*method),
                expected,
                1e-5,
            );
        }
        let found = found(&GradCamPlusPlus::new());
        assert!(correlation(&found, &torch_cam) < 0.9999 && relative_l2(&found, &torch_cam) > 0.5);
        // HiResCAM adds up to the score less the bias.
        let total: f64 = cam.iter().sum();
        assert!((total - (score - bias[target])).abs() < 1e-9);
    }
}

#[test]
fn grad_cam_plus_plus_divides_its_coefficients() {
    let (session, input, numbers) = small();
    for target in TARGETS {
        let method = GradCamPlusPlus::new().layer("act1").relu(false);
        let found = map(&session, &input, &method, target);
        let undivided = numbers.get(&format!("act1/{target}/grad-cam++.torch-cam"));
        let r = correlation(&found, &undivided);
        println!("correlation with torch-cam's formula: {r:.4}");
        assert!(r < 0.999 && relative_l2(&found, &undivided) > 0.5, "{r}");
    }
}

#[test]
fn principal_components_point_where_the_layer_is_active() {
    let session = embedded();
    for name in PHOTOS {
        let input = crop(name);
        for layer in ["blocks.2", "blocks.4", "bn2"] {
            let activation = session.activation(&input, layer).unwrap();
            let cells = activation.dims()[1] * activation.dims()[2];
            let mut sum = vec![0.0; cells];
            for channel in activation.data().chunks(cells) {
                sum.iter_mut()
                    .zip(channel)
                    .for_each(|(s, a)| *s += f64::from(*a));
            }
            let method = EigenCam::new().layer(layer);
            let maps = maps(&session, &input, &method, &[1, 2]);
            assert!(correlation(&maps[0], &sum) > 0.0, "{name} {layer}");
            assert_eq!(maps[0], maps[1]);
        }
    }
}

#[test]
fn the_photographs_maps_are_pytorchs() {
    let session = embedded();
    let numbers = Numbers::of("photos.safetensors");
    for name in PHOTOS {
        let input = crop(name);
        let target = numbers.get(&format!("{name}/target"))[0] as usize;
        assert_eq!(target, Expected::of(name).class());
        for layer in ["bn2", "blocks.4"] {
            for (method_name, method) in family(layer) {
                let key = format!("{name}/{layer}/{method_name}");
                let found = map(&session, &input, &*method, target);
                close(&key, &found, &numbers.get(&key), 1e-2);
            }
        }
        let key = format!("{name}/blocks.4/score-cam");
        let method = ScoreCam::new().layer("blocks.4").relu(false);
        close(
            &key,
            &map(&session, &input, &method, target),
            &numbers.get(&key),
            1e-2,
        );
    }
}

#[test]
fn negative_values_are_cut_off_where_that_is_asked_for() {
    let (session, input, _) = small();
    let cut = |whole: Vec<f32>| whole.iter().map(|v| v.max(0.0)).collect::<Vec<f32>>();
    let pairs: [(Box<dyn Explainer>, Box<dyn Explainer>); 3] = [
        (
            Box::new(GradCam::new().layer("act1")),
            Box::new(GradCam::new().layer("act1").relu(false)),
        ),
        (
            Box::new(EigenCam::new().layer("act1").relu(true)),
            Box::new(EigenCam::new().layer("act1")),
        ),
        (
            Box::new(AblationCam::new().layer("act1")),
            Box::new(AblationCam::new().layer("act1").relu(false)),
        ),
    ];
    for (without, with) in pairs {
        let signed = &explain(&session, &input, &*with, &[1]).unwrap()[0];
        assert!(signed.attribution().signed);
        let whole = signed.attribution().map.data().to_vec();
        assert!(whole.iter().any(|v| *v < 0.0), "{}", with.id());
        let unsigned = &explain(&session, &input, &*without, &[1]).unwrap()[0];
        assert!(!unsigned.attribution().signed);
        assert_eq!(unsigned.attribution().map.data(), cut(whole));
    }
}
