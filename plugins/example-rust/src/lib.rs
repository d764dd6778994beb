//! SmoothTaylor as a plugin (Goh, Lapuschkin, Weber, Samek and Binder, 2021).
#![allow(unsafe_code, reason = "the entry symbol")]

use limpid_plugin::explain::methods::MethodInfo;
use limpid_plugin::explain::{
    Attribution, Domain, ExplainError, Fragment, Integration, ModelInfo, Node, Noise, ParamInfo,
    ParamKind, Parameters, Path, Reduce, Request, Sample, Schedule, Subject,
};
use limpid_plugin::graph::{Fact, Graph, ValueId, ops::Sub};
use limpid_plugin::{Context, Explainer, tensor::Tensor};
use std::sync::Arc;

/// The mean over noisy copies z of a picture x of (x - z) * gradient at z: the
/// first term of Taylor's series around each of them.
struct SmoothTaylor {
    /// The number of copies.
    samples: u64,
    /// The noise's standard deviation, as a share of the picture's range.
    noise: f64,
}

/// Points that are the noisy copies, and go to the picture x, `[C, H, W]`.
struct ToPicture<'a>(&'a Tensor);

impl Path for ToPicture<'_> {
    fn build(&self, graph: &mut Graph, z: ValueId, _: usize) -> Result<Fragment, ExplainError> {
        let x = graph.input("x", Fact::f32([&[1], self.0.dims()].concat()));
        let step = graph.push("step", Sub {}, &[x, z])?[0];
        Ok(Fragment {
            point: z,
            velocity: Some(step),
            reference: None,
            statics: vec![x],
            controls: Vec::new(),
        })
    }

    fn statics(&self) -> Vec<&Tensor> {
        vec![self.0]
    }

    fn controls(&self, _: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        Ok(Vec::new())
    }
}

impl Explainer for SmoothTaylor {
    fn id(&self) -> &str {
        "smooth-taylor"
    }

    fn parameters(&self, _: &ModelInfo, _: &[usize]) -> Parameters {
        let pairs = [
            ("samples", self.samples.into()),
            ("noise", self.noise.into()),
        ];
        pairs
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let path = ToPicture(request.image);
        let values = request.image.data().iter().copied();
        let range = values.clone().fold(f32::MIN, f32::max) - values.fold(f32::MAX, f32::min);
        let noise = Noise {
            scale: (self.noise * f64::from(range)) as f32,
            seed: request.seed,
        };
        let node = Node {
            position: 0.0,
            weight: 1.0,
        };
        let mut explain = |objective| {
            let before = cx.evaluations();
            let map = cx.integrate(&Integration {
                subject: Subject {
                    noise: Some(noise),
                    ..Subject::new(request.image, &path)
                },
                objective,
                schedule: &Schedule::nested(self.samples, vec![node]),
                reduce: Reduce::Mean,
            })?;
            Ok(Attribution::new(
                map,
                Domain::Input,
                cx.evaluations().since(before),
            ))
        };
        request.objectives.iter().map(&mut explain).collect()
    }
}

/// `smooth-taylor`.
fn smooth_taylor() -> MethodInfo {
    let samples = ParamKind::Integer {
        min: 1,
        max: 1_000_000,
    };
    let noise = ParamKind::Float {
        min: 0.0,
        max: 10.0,
    };
    MethodInfo {
        id: "smooth-taylor".into(),
        kind: "gradient".into(),
        output: "[C,H,W]".into(),
        summary:
            "the first term of Taylor's series, averaged over noisy copies around which it is taken"
                .into(),
        params: vec![
            ParamInfo::new("samples", samples, 100, "noisy copies, each a gradient"),
            ParamInfo::new(
                "noise",
                noise,
                0.1,
                "the noise's standard deviation, as a share of the picture's range",
            ),
        ],
        smooth: None,
        build: Arc::new(|given, _| {
            Ok(Box::new(SmoothTaylor {
                samples: given.integer("samples").unwrap_or(100),
                noise: given.float("noise").unwrap_or(0.1),
            }))
        }),
    }
}

limpid_plugin::export_explainers! {
    id: "example",
    name: "An example: SmoothTaylor",
    methods: [smooth_taylor()],
}
