use super::grid_map::extents;
use super::{CamRule, GridMap, Listed, activations};
use crate::params::Given;
use crate::{Context, ExplainError, LayerVariants, ParamInfo, ParamKind, Parameters, Request};
use limpid_tensor::Tensor;

/// What is kept of a layer around a cell.
///
/// ```
/// use limpid_explain::methods::Kept;
/// assert_eq!(Kept::from_name("cell"), Some(Kept::Cell));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kept {
    /// The cell and its neighbours, by the factors 1/4 at the cell, 1/8 beside
    /// it and 1/16 at the corners.
    #[default]
    Gaussian,
    /// The cell alone.
    Cell,
}

impl Kept {
    /// The names that the parameter `mask` takes.
    pub const NAMES: [&str; 2] = ["gaussian", "cell"];

    /// The name that the parameter `mask` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// What bears this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Gaussian, Self::Cell];
        all.into_iter().find(|k| k.name() == name)
    }

    /// The factor at a distance in rows and columns.
    fn factor(self, rows: usize, columns: usize) -> f32 {
        match (self, rows, columns) {
            (Self::Cell, 0, 0) => 1.0,
            (Self::Gaussian, 0, 0) => 0.25,
            (Self::Gaussian, 0, 1) | (Self::Gaussian, 1, 0) => 0.125,
            (Self::Gaussian, 1, 1) => 0.0625,
            _ => 0.0,
        }
    }
}

/// Recipro-CAM: the score when the layer has only what surrounds a cell.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeptCells {
    kept: Kept,
}

/// Recipro-CAM: each cell's value is the score when everything else in the
/// layer is set to zero, all channels alike (Byun and Lee, 2022); without a
/// gradient, with a pass through what follows the layer for each cell.
///
/// Values are the scores themselves, where the paper has probabilities from
/// least to largest: take a probability as target for those. Tokens that are no
/// cells, such as a class token, stay as they are.
///
/// ```
/// use limpid_explain::{Explainer, methods::{Kept, ReciproCam}};
/// assert_eq!(ReciproCam::new().mask(Kept::Cell).id(), "recipro-cam");
/// ```
pub type ReciproCam = super::Cam<KeptCells>;

impl ReciproCam {
    /// With something else kept around each cell.
    #[must_use]
    pub fn mask(mut self, kept: Kept) -> Self {
        self.rule.kept = kept;
        self
    }
}

impl KeptCells {
    fn of_layer(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        name: &str,
        layer: &Tensor,
    ) -> Result<Vec<GridMap>, ExplainError> {
        let [_, rows, columns] = extents(layer);
        let variants = LayerVariants {
            image: request.image,
            layer: name,
            objectives: request.objectives,
            count: rows * columns,
        };
        let scores = cx.layer_scores(&variants, &mut |kept, cells| {
            let (y, x) = (kept / columns, kept % columns);
            for channel in cells.chunks_mut(rows * columns) {
                for (i, v) in channel.iter_mut().enumerate() {
                    let apart = (y.abs_diff(i / columns), x.abs_diff(i % columns));
                    *v *= self.kept.factor(apart.0, apart.1);
                }
            }
            Ok(())
        })?;
        let objectives = request.objectives.len();
        let map = |objective: usize| {
            let of_objective = scores.iter().skip(objective).step_by(objectives);
            GridMap::on(layer, of_objective.copied().collect())
        };
        Ok((0..objectives).map(map).collect())
    }
}

impl CamRule for KeptCells {
    const ID: &'static str = "recipro-cam";
    const RELU: Option<bool> = Some(false);

    fn parameters(&self) -> Parameters {
        Parameters::from_iter([("mask".to_owned(), self.kept.name().into())])
    }

    fn maps(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
        layers: &[String],
    ) -> Result<Vec<Vec<GridMap>>, ExplainError> {
        let found = activations::<Self>(cx, request, layers)?;
        let of_layer = |(name, layer): (&String, &Tensor)| self.of_layer(cx, request, name, layer);
        layers.iter().zip(&found).map(of_layer).collect()
    }
}

impl Listed for KeptCells {
    const SUMMARY: &'static str = "for each cell of a layer the score when everything else there is set to zero; the score itself, so negative values are kept (relu=true cuts them off)";

    fn params() -> Vec<ParamInfo> {
        vec![ParamInfo::new(
            "mask",
            ParamKind::choice(&Kept::NAMES),
            Kept::default().name(),
            "what is kept: the cell and, weaker, its eight neighbours, or the cell alone",
        )]
    }

    fn given(given: &Given) -> Result<Self, ExplainError> {
        Ok(Self {
            kept: given
                .text("mask")
                .and_then(Kept::from_name)
                .unwrap_or_default(),
        })
    }
}
