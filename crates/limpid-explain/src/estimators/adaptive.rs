use super::Estimation;
use crate::{Context, ExplainError, Gradients, Node, Objective, Points, Sample};
use limpid_tensor::Tensor;

/// Parts of the path to begin with.
const PARTS: u64 = 8;

/// Parts that are divided at once.
const AT_ONCE: usize = 4;

/// Parts whose maps are kept, so that they can still be divided: memory does
/// not grow with their number.
const KEPT: usize = 32;

/// A part of the path, in the parameter that runs from 0 to 1, with the
/// objective at its ends and the gradient times velocity at its middle.
struct Part {
    ends: [f64; 2],
    scores: [f64; 2],
    map: Vec<f32>,
    /// What the node attributes less the score's change.
    gap: f64,
}

/// Nodes where they are needed: each part of the path has one at its middle.
/// The parts whose nodes attribute something else than the score's change are
/// divided into three, the worst first, until the gaps' sum and the root of the
/// sum of their squares are within the tolerance. The middle third keeps the
/// node, so no gradient is lost.
pub(super) fn map(
    estimation: &Estimation<'_>,
    cx: &mut dyn Context,
    objective: &Objective,
) -> Result<Tensor, ExplainError> {
    let quadrature = &estimation.trajectory.quadrature;
    let most = quadrature.steps.max(1);
    let scores = |cx: &mut dyn Context, at: &[f64]| scores(estimation, cx, objective, at);
    // Minus where the path leads away from the picture.
    let sign = match estimation.subject.path.ends() {
        Some([picture, end]) if picture < end => -1.0,
        _ => 1.0,
    };
    let mut sum = Sum {
        map: vec![0.0; estimation.subject.image.data().len()],
        gap: 0.0,
        squares: 0.0,
    };

    let count = PARTS.min(most);
    let edges: Vec<f64> = (0..=count).map(|i| i as f64 / count as f64).collect();
    let at_edges = scores(cx, &edges)?;
    let bound = {
        let total = at_edges[count as usize] - at_edges[0];
        quadrature.tolerance.unwrap_or_default() * total.abs()
    };
    let ends = edges.windows(2).zip(at_edges.windows(2));
    let ends: Vec<_> = ends.map(|(e, s)| ([e[0], e[1]], [s[0], s[1]])).collect();
    let mut kept = estimation.parts(cx, objective, sign, ends)?;
    let mut left = (most - count) as usize / 2;
    loop {
        let gap: f64 = sum.gap + kept.iter().map(|p| p.gap).sum::<f64>();
        let squares = sum.squares + kept.iter().map(|p| p.gap * p.gap).sum::<f64>();
        if left == 0 || gap.abs().max(squares.sqrt()) <= bound {
            break;
        }
        kept.sort_by(|a, b| b.gap.abs().total_cmp(&a.gap.abs()));
        let worst: Vec<Part> = kept.drain(..AT_ONCE.min(left).min(kept.len())).collect();
        left -= worst.len();
        let thirds = worst.iter().flat_map(|p| {
            let third = (p.ends[1] - p.ends[0]) / 3.0;
            [p.ends[0] + third, p.ends[1] - third]
        });
        let thirds: Vec<f64> = thirds.collect();
        let inner = scores(cx, &thirds)?;
        let mut outer = Vec::with_capacity(2 * worst.len());
        for (i, part) in worst.into_iter().enumerate() {
            let (at, inner) = (&thirds[2 * i..][..2], &inner[2 * i..][..2]);
            outer.push(([part.ends[0], at[0]], [part.scores[0], inner[0]]));
            outer.push(([at[1], part.ends[1]], [inner[1], part.scores[1]]));
            let middle = ([at[0], at[1]], [inner[0], inner[1]]);
            kept.push(estimation.part(sign, middle, part.map));
        }
        kept.extend(estimation.parts(cx, objective, sign, outer)?);
        kept.sort_by(|a, b| b.gap.abs().total_cmp(&a.gap.abs()));
        for part in kept.drain(KEPT.min(kept.len())..) {
            sum.add(estimation, &part);
        }
    }
    for part in &kept {
        sum.add(estimation, part);
    }
    let map = sum.map.into_iter().map(|v| v as f32).collect();
    Ok(Tensor::new(&estimation.subject.image.shape()[..], map)?)
}

/// The parts that are not divided any more.
struct Sum {
    map: Vec<f64>,
    gap: f64,
    squares: f64,
}

impl Sum {
    fn add(&mut self, estimation: &Estimation<'_>, part: &Part) {
        let weight = estimation.node(part.ends).weight;
        for (s, v) in self.map.iter_mut().zip(&part.map) {
            *s += f64::from(*v) * weight;
        }
        self.gap += part.gap;
        self.squares += part.gap * part.gap;
    }
}

impl Estimation<'_> {
    /// The middle of a part, weighted by its length.
    fn node(&self, ends: [f64; 2]) -> Node {
        let node = (self.trajectory.walk)((ends[0] + ends[1]) / 2.0);
        Node {
            weight: node.weight * (ends[1] - ends[0]),
            ..node
        }
    }

    fn part(&self, sign: f64, (ends, scores): ([f64; 2], [f64; 2]), map: Vec<f32>) -> Part {
        let weight = self.node(ends).weight;
        let attributed: f64 = map.iter().map(|v| f64::from(*v) * weight).sum();
        Part {
            ends,
            scores,
            map,
            gap: attributed - sign * (scores[1] - scores[0]),
        }
    }

    /// Parts with the gradients at their nodes.
    fn parts(
        &self,
        cx: &mut dyn Context,
        objective: &Objective,
        sign: f64,
        parts: Vec<([f64; 2], [f64; 2])>,
    ) -> Result<Vec<Part>, ExplainError> {
        let nodes = parts.iter().map(|p| self.node(p.0));
        let points: Vec<Sample> = nodes.map(|n| Sample::at(n.position)).collect();
        let request = Gradients {
            subject: self.subject,
            objective,
            points: &points,
            times_velocity: true,
        };
        let mut found = Vec::with_capacity(parts.len());
        cx.gradients(&request, &mut |i, map| {
            found.push(self.part(sign, parts[i], map.to_vec()));
            Ok(())
        })?;
        Ok(found)
    }
}

/// The objective at parameters of the path.
fn scores(
    estimation: &Estimation<'_>,
    cx: &mut dyn Context,
    objective: &Objective,
    parameters: &[f64],
) -> Result<Vec<f64>, ExplainError> {
    let at = |u: &f64| Sample::at((estimation.trajectory.walk)(*u).position);
    cx.scores(&Points {
        subject: estimation.subject,
        objectives: std::slice::from_ref(objective),
        points: &parameters.iter().map(at).collect::<Vec<_>>(),
    })
}
