//! Panics, which the SDK must catch.

use limpid_plugin::explain::methods::MethodInfo;
use limpid_plugin::explain::paths::Constant;
use limpid_plugin::explain::{
    Accumulation, Attribution, Context, Domain, ExplainError, Explainer, Fragment, Gradients,
    LayerVariants, ModelInfo, Parameters, Path, Planner, Request, Sample, Subject, Sums, Weighted,
};
use limpid_plugin::graph::{Graph, ValueId};
use limpid_plugin::{Export, tensor::Tensor};
use std::sync::Arc;

/// Where a method panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Create,
    Parameters,
    Explain,
    Destroy,
    Visit,
    Vary,
    Planner,
    Path,
}

pub(crate) fn exports() -> Vec<Export> {
    let all = [
        ("panic-create", Where::Create),
        ("panic-parameters", Where::Parameters),
        ("panic-explain", Where::Explain),
        ("panic-destroy", Where::Destroy),
        ("panic-visit", Where::Visit),
        ("panic-vary", Where::Vary),
        ("panic-planner", Where::Planner),
        ("panic-path", Where::Path),
    ];
    let exports = all.into_iter().map(|(id, place)| {
        let build = move || {
            assert!(place != Where::Create, "on purpose, in create");
            Panics { id, place }
        };
        Export::from(MethodInfo {
            id: id.into(),
            kind: "gradient".into(),
            output: "[C,H,W]".into(),
            summary: "panics".into(),
            params: Vec::new(),
            smooth: None,
            build: Arc::new(move |_, _| Ok(Box::new(build()))),
        })
    });
    exports.collect()
}

struct Panics {
    id: &'static str,
    place: Where,
}

impl Drop for Panics {
    fn drop(&mut self) {
        assert!(self.place != Where::Destroy, "on purpose, in destroy");
    }
}

struct Faulty;

impl Planner for Faulty {
    fn next(&mut self, _: &mut Sums<'_>) -> Result<Vec<Weighted>, ExplainError> {
        panic!("on purpose, in a planner")
    }
}

impl Path for Faulty {
    fn build(&self, _: &mut Graph, x: ValueId, _: usize) -> Result<Fragment, ExplainError> {
        Ok(Fragment {
            point: x,
            velocity: None,
            reference: None,
            statics: Vec::new(),
            controls: Vec::new(),
        })
    }

    fn controls(&self, _: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        panic!("on purpose, in a path")
    }

    fn ends(&self) -> Option<[f64; 2]> {
        None
    }
}

impl Explainer for Panics {
    fn id(&self) -> &str {
        self.id
    }

    fn parameters(&self, _: &ModelInfo, _: &[usize]) -> Parameters {
        assert!(self.place != Where::Parameters, "on purpose, in parameters");
        Parameters::new()
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let subject = Subject::new(request.image, &Constant);
        let objective = &request.objectives[0];
        let points = &[Sample::at(0.0)];
        let gradients = |path| Gradients {
            subject: Subject { path, ..subject },
            objective,
            points,
            times_velocity: false,
        };
        match self.place {
            Where::Explain => panic!("on purpose, in explain"),
            Where::Visit => cx.gradients(&gradients(&Constant), &mut |_, _| {
                panic!("on purpose, in a visit")
            })?,
            Where::Path => cx.gradients(&gradients(&Faulty), &mut |_, _| Ok(()))?,
            Where::Vary => {
                let layer = cx.model().cam_layer.clone().unwrap_or_default();
                let variants = LayerVariants {
                    image: request.image,
                    layer: &layer,
                    objectives: request.objectives,
                    count: 2,
                };
                cx.layer_scores(&variants, &mut |_, _| panic!("on purpose, in vary"))?;
            }
            Where::Planner => {
                let sums = Accumulation {
                    subject,
                    objective,
                    rows: 1,
                    initial: Vec::new(),
                    expected: 1,
                };
                cx.accumulate(&sums, &mut Faulty)?;
            }
            Where::Create | Where::Parameters | Where::Destroy => {}
        }
        let map = Tensor::zeros(request.image.dims())?;
        let map = Attribution::new(map, Domain::Input, cx.evaluations());
        Ok(request.objectives.iter().map(|_| map.clone()).collect())
    }
}
