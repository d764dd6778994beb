//! Which values are maps: where the rows and columns of the picture lie among
//! the axes of a value, also when they are one axis of tokens.

use crate::ops::{AxisFilter, SparseMatrix};
use crate::{Graph, Node, Op, Source, ValueId};

/// What an axis of a value runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Axis {
    /// Anything else: the batch, channels, heads.
    #[default]
    Other,
    /// Rows of the picture.
    Rows,
    /// Columns of the picture.
    Columns,
    /// Rows within a stripe of them; the stripes are the axis before.
    InnerRows,
    /// Columns within a stripe.
    InnerColumns,
    /// The cells of a grid, row by row, between `before` and further tokens.
    Cells {
        rows: usize,
        columns: usize,
        before: usize,
    },
}

/// How a value of one picture is a map of channels: cell (c, y, x) is element
/// `offset + c * strides[0] + y * strides[1] + x * strides[2]` of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The channels.
    pub channels: usize,
    /// The rows.
    pub rows: usize,
    /// The columns.
    pub columns: usize,
    offset: usize,
    strides: [usize; 3],
}

impl Grid {
    /// The cells of a value's data, `[channels, rows, columns]` in C order.
    ///
    /// # Panics
    /// When the data are not of the value that the grid is of.
    #[must_use]
    pub fn cells(&self, data: &[f32]) -> Vec<f32> {
        let mut cells = vec![0.0; self.channels * self.rows * self.columns];
        self.copy_cells(data, &mut cells);
        cells
    }

    /// Copies the cells of a value's data into `cells`, `[channels, rows, columns]`
    /// in C order.
    ///
    /// # Panics
    /// When the data are not of the value that the grid is of, or there are not as
    /// many cells as the grid has.
    pub fn copy_cells(&self, data: &[f32], cells: &mut [f32]) {
        let plane = self.rows * self.columns;
        if self.strides == [plane, self.columns, 1] {
            cells.copy_from_slice(&data[self.offset..][..self.channels * plane]);
            return;
        }
        let mut into = cells.chunks_mut(self.columns.max(1));
        for c in 0..self.channels {
            for y in 0..self.rows {
                let row = self.offset + c * self.strides[0] + y * self.strides[1];
                let values = into.next().expect("a row of cells for each of the grid's");
                for (x, v) in values.iter_mut().enumerate() {
                    *v = data[row + x * self.strides[2]];
                }
            }
        }
    }

    /// Puts `cells`, `[channels, rows, columns]` in C order, among a value's data;
    /// what is no cell stays.
    ///
    /// # Panics
    /// When the data are not of the value that the grid is of, or the cells not
    /// as many as the grid has.
    pub fn put_cells(&self, cells: &[f32], data: &mut [f32]) {
        let mut cells = cells.chunks(self.columns.max(1));
        for c in 0..self.channels {
            for y in 0..self.rows {
                let row = self.offset + c * self.strides[0] + y * self.strides[1];
                let values = cells.next().expect("a row of cells for each of the grid's");
                for (x, v) in values.iter().enumerate() {
                    data[row + x * self.strides[2]] = *v;
                }
            }
        }
    }

    /// Whether there is more than one cell.
    #[must_use]
    pub fn is_map(&self) -> bool {
        self.rows * self.columns > 1
    }

    /// The grid of a value of these extents, for one picture.
    fn of(dims: &[usize], axes: &[Axis]) -> Option<Self> {
        if dims.first() != Some(&1) {
            return None;
        }
        let stride = |axis: usize| dims[axis + 1..].iter().product::<usize>();
        let (mut channel, mut rows, mut columns, mut cells) = (None, None, None, None);
        for (i, axis) in axes.iter().enumerate().skip(1) {
            let place = match axis {
                Axis::Rows => &mut rows,
                Axis::Columns => &mut columns,
                Axis::Cells { .. } => &mut cells,
                Axis::Other => &mut channel,
                Axis::InnerRows | Axis::InnerColumns => return None,
            };
            if place.replace(i).is_some() {
                return None;
            }
        }
        let channel = channel?;
        let grid = |rows: usize, columns: usize, offset, strides: [usize; 2]| Self {
            channels: dims[channel],
            rows,
            columns,
            offset,
            strides: [stride(channel), strides[0], strides[1]],
        };
        match (rows, columns, cells) {
            (Some(y), Some(x), None) => Some(grid(dims[y], dims[x], 0, [stride(y), stride(x)])),
            (None, None, Some(t)) => match axes[t] {
                Axis::Cells {
                    rows,
                    columns,
                    before,
                } => {
                    let token = stride(t);
                    Some(grid(
                        rows,
                        columns,
                        before * token,
                        [columns * token, token],
                    ))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Which values of a graph are maps: rows and columns are followed from the
/// picture through a graph of one picture, written by
/// [`lower`](crate::passes::lower) with few operators.
pub struct Maps<'a> {
    graph: &'a Graph,
    axes: Vec<Vec<Axis>>,
}

impl<'a> Maps<'a> {
    /// The maps of a graph.
    #[must_use]
    pub fn of(graph: &'a Graph) -> Self {
        let axes = follow(graph);
        Self { graph, axes }
    }

    /// The map that a value is, if it is one.
    #[must_use]
    pub fn grid(&self, value: ValueId) -> Option<Grid> {
        Grid::of(&self.graph.fact(value).shape, &self.axes[value.index()])
    }

    /// The tokens that the last axis of a value runs over, if they are a grid's:
    /// how many stand before it, its rows and its columns. Others may follow.
    #[must_use]
    pub fn tokens(&self, value: ValueId) -> Option<[usize; 3]> {
        match self.axes[value.index()].last() {
            Some(&Axis::Cells {
                rows,
                columns,
                before,
            }) => Some([before, rows, columns]),
            _ => None,
        }
    }

    /// Whether the scores are read from a pooling over the picture, and not
    /// from a class token.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.last_pooling().is_some()
    }

    /// The last pooling over rows and columns.
    fn last_pooling(&self) -> Option<&'a Node> {
        let pools = |node: &&Node| match &node.op {
            Op::GlobalAveragePool(_) => true,
            Op::ReduceSum(op) => over_the_picture(&self.axes[node.inputs[0].index()], &op.axes),
            Op::ReduceMax(op) => over_the_picture(&self.axes[node.inputs[0].index()], &op.axes),
            _ => false,
        };
        let pooled = |node: &&Node| self.grid(node.inputs[0]).is_some_and(|g| g.is_map());
        self.graph.nodes().iter().rev().find(pools).filter(pooled)
    }

    /// The layer that a class activation map uses by default: what the last pooling
    /// over rows and columns reads; where a class token is read instead, the
    /// normalised input of the last attention, as the last block's output has no
    /// gradient at the other tokens; else the last map. Of several names for one
    /// value the shortest is the outermost module.
    #[must_use]
    pub fn default_layer(&self) -> Option<String> {
        let graph = self.graph;
        let is_map = |v: ValueId| self.grid(v).is_some_and(|g| g.is_map());
        let name = |v: ValueId| {
            let names = graph.layers().iter().filter(|(_, value)| **value == v);
            names
                .map(|(name, _)| name)
                .min_by_key(|name| (name.len(), name.as_str()))
        };
        let named_map = |v: ValueId| if is_map(v) { name(v) } else { None };
        let last_pooling = || {
            let node = self.last_pooling()?;
            upstream(graph, node.inputs[0]).find_map(named_map)
        };
        let last_attention = || {
            let softmax = |n: &&Node| matches!(n.op, Op::Softmax(_));
            let node = graph.nodes().iter().rev().find(softmax)?;
            let mut last = None;
            for v in upstream(graph, node.inputs[0]) {
                last = named_map(v).or(last);
                let normalised = |(_, n): (usize, &Node)| matches!(n.op, Op::Normalize(_));
                if last.is_some() && graph.producer(v).is_some_and(normalised) {
                    break;
                }
            }
            last
        };
        let last_map = || {
            let maps = graph.layers().values().copied().filter(|v| is_map(*v));
            maps.max().and_then(name)
        };
        last_pooling()
            .or_else(last_attention)
            .or_else(last_map)
            .cloned()
    }
}

/// A value and those that it is made from, along the last operand of each node
/// that depends on the picture.
fn upstream(graph: &Graph, from: ValueId) -> impl Iterator<Item = ValueId> {
    std::iter::successors(Some(from), |v| {
        let (_, node) = graph.producer(*v)?;
        let computed = |v: &&ValueId| !matches!(graph.value(**v).source, Source::Constant(_));
        node.inputs.iter().rev().find(computed).copied()
    })
}

/// Whether these are the axes of a picture's rows and columns.
fn over_the_picture(axes: &[Axis], reduced: &[usize]) -> bool {
    let spatial = |a: &Axis| !matches!(a, Axis::Other);
    let mut found = axes
        .iter()
        .enumerate()
        .filter(|(_, a)| spatial(a))
        .peekable();
    found.peek().is_some()
        && found.all(|(i, _)| reduced.contains(&i))
        && reduced.iter().all(|i| axes.get(*i).is_some_and(spatial))
}

/// The axes of every value.
fn follow(graph: &Graph) -> Vec<Vec<Axis>> {
    let picture = vec![Axis::Other, Axis::Other, Axis::Rows, Axis::Columns];
    let mut all: Vec<Vec<Axis>> = Vec::with_capacity(graph.values().len());
    for v in graph.values() {
        let rank = v.fact.shape.len();
        all.push(match v.source {
            Source::Input(_) if rank == 4 => picture.clone(),
            _ => vec![Axis::Other; rank],
        });
    }
    for node in graph.nodes() {
        let operands: Vec<(&[usize], &[Axis])> = node
            .inputs
            .iter()
            .map(|v| (&graph.fact(*v).shape[..], &all[v.index()][..]))
            .collect();
        let outputs = node.outputs.iter().map(|v| match &node.op {
            // A window may also slide over something else, such as channels.
            Op::Conv(_) | Op::ConvTranspose(_) | Op::MaxPool(_) | Op::GlobalAveragePool(_)
                if operands[0].1[2..] == picture[2..] =>
            {
                picture.clone()
            }
            op => axes_of(op, &operands, &graph.fact(*v).shape),
        });
        let outputs: Vec<Vec<Axis>> = outputs.collect();
        for (v, axes) in node.outputs.iter().zip(outputs) {
            all[v.index()] = axes;
        }
    }
    all
}

/// The axes of an output of extents `dims`.
fn axes_of(op: &Op, operands: &[(&[usize], &[Axis])], dims: &[usize]) -> Vec<Axis> {
    let other = || vec![Axis::Other; dims.len()];
    let Some(&(from, axes)) = operands.first() else {
        return other();
    };
    match op {
        Op::Transpose(op) => op.perm.iter().map(|p| axes[*p]).collect(),
        Op::Reshape(_) | Op::Flatten(_) => reshaped(from, axes, dims),
        Op::AxisFilter(op) => filtered(op, axes),
        Op::Concat(op) => {
            let mut out = joined(operands, dims);
            let mut start = 0;
            for (dims, axes) in operands {
                if let Axis::Cells {
                    rows,
                    columns,
                    before,
                } = axes[op.axis]
                {
                    out[op.axis] = Axis::Cells {
                        rows,
                        columns,
                        before: before + start,
                    };
                }
                start += dims[op.axis];
            }
            out
        }
        Op::MatMul(op) => {
            let (b, n) = (operands[1].1, axes.len());
            let mut out = joined(operands, dims);
            let (rows, columns) = (dims.len() - 2, dims.len() - 1);
            out[rows] = axes[n - if op.trans_a { 1 } else { 2 }];
            out[columns] = b[b.len() - if op.trans_b { 2 } else { 1 }];
            out
        }
        Op::Gemm(_) => {
            let mut out = axes.to_vec();
            out.last_mut()
                .into_iter()
                .for_each(|last| *last = Axis::Other);
            out
        }
        Op::Normalize(_) if dims != from => other(),
        Op::Softmax(_) | Op::Normalize(_) | Op::BatchNormalization(_) => axes.to_vec(),
        Op::ReduceSum(_) | Op::ReduceMax(_) => {
            let kept = axes.iter().zip(from).zip(dims);
            kept.map(|((a, f), d)| if f == d { *a } else { Axis::Other })
                .collect()
        }
        op if op.formula(operands.len()).is_some() => joined(operands, dims),
        Op::Expand(_) => joined(operands, dims),
        _ => other(),
    }
}

/// The axes of operands that are broadcast together: of each, the first that is known.
fn joined(operands: &[(&[usize], &[Axis])], dims: &[usize]) -> Vec<Axis> {
    let of = |i: usize| {
        operands.iter().find_map(|(from, axes)| {
            let at = (i + from.len()).checked_sub(dims.len())?;
            (from[at] == dims[i] && axes[at] != Axis::Other).then_some(axes[at])
        })
    };
    (0..dims.len()).map(|i| of(i).unwrap_or_default()).collect()
}

/// A filter along tokens keeps a grid that it moves as a whole.
fn filtered(op: &AxisFilter, axes: &[Axis]) -> Vec<Axis> {
    let mut out = axes.to_vec();
    if let Axis::Cells {
        rows,
        columns,
        before,
    } = axes[op.axis]
    {
        let moved = moved_to(&op.matrix, before, rows * columns);
        out[op.axis] = match moved {
            Some(before) => Axis::Cells {
                rows,
                columns,
                before,
            },
            None => Axis::Other,
        };
    }
    out
}

/// Where a matrix takes `count` positions from `from` on, unchanged.
fn moved_to(matrix: &SparseMatrix, from: usize, count: usize) -> Option<usize> {
    let first = (0..matrix.rows()).find(|r| *matrix.row(*r) == [(from, 1.0)])?;
    let kept = |i: usize| first + i < matrix.rows() && *matrix.row(first + i) == [(from + i, 1.0)];
    (0..count).all(kept).then_some(first)
}

/// The axes after a reshape: extents are matched in the smallest groups of equal
/// products.
fn reshaped(from: &[usize], axes: &[Axis], to: &[usize]) -> Vec<Axis> {
    let mut out = Vec::with_capacity(to.len());
    let (mut i, mut j) = (0, 0);
    while j < to.len() {
        let (first_i, first_j) = (i, j);
        let (mut left, mut right) = (from.get(i).copied().unwrap_or(1), to[j]);
        (i, j) = ((i + 1).min(from.len()), j + 1);
        while left != right {
            if left < right && i < from.len() {
                left *= from[i];
                i += 1;
            } else if right < left && j < to.len() {
                right *= to[j];
                j += 1;
            } else {
                break;
            }
        }
        out.extend(regrouped(
            &from[first_i.min(from.len())..i],
            &axes[first_i.min(axes.len())..i],
            &to[first_j..j],
        ));
    }
    out
}

/// The axes of one group of a reshape.
fn regrouped(from: &[usize], axes: &[Axis], to: &[usize]) -> Vec<Axis> {
    // Axes of one element say nothing but where they alone remain.
    let long =
        |dims: &[usize]| -> Vec<usize> { (0..dims.len()).filter(|i| dims[*i] > 1).collect() };
    let (sources, targets) = (long(from), long(to));
    let read: Vec<Axis> = sources.iter().map(|i| axes[*i]).collect();
    let made: Vec<Axis> = match (&read[..], &targets[..]) {
        ([axis], [_]) => vec![*axis],
        ([Axis::Rows, Axis::Columns], [_]) => vec![Axis::Cells {
            rows: from[sources[0]],
            columns: from[sources[1]],
            before: 0,
        }],
        ([Axis::Rows, Axis::InnerRows], [_]) => vec![Axis::Rows],
        ([Axis::Columns, Axis::InnerColumns], [_]) => vec![Axis::Columns],
        ([Axis::Rows], [_, _]) => vec![Axis::Rows, Axis::InnerRows],
        ([Axis::Columns], [_, _]) => vec![Axis::Columns, Axis::InnerColumns],
        (
            [
                Axis::Cells {
                    rows,
                    columns,
                    before: 0,
                },
            ],
            [y, x],
        ) if to[*y] == *rows && to[*x] == *columns => {
            vec![Axis::Rows, Axis::Columns]
        }
        _ => vec![Axis::Other; targets.len()],
    };
    let mut out = if from.len() == to.len() {
        axes.to_vec()
    } else {
        vec![Axis::Other; to.len()]
    };
    for (i, axis) in targets.into_iter().zip(made) {
        out[i] = axis;
    }
    out
}
