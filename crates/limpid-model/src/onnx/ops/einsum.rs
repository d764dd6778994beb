//! Einstein sums: transposes, reshapes and one product for each pair.

use super::one;
use super::product::product;
use crate::onnx::builder::Value;
use crate::onnx::call::Call;
use crate::onnx::refusal::{Refusal, Result};
use limpid_tensor::Shape;
use serde_json::json;
use std::collections::BTreeMap;

/// A value whose axes have names.
#[derive(Clone)]
struct Term {
    value: Value,
    labels: Vec<char>,
}

pub(super) fn einsum(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let values = c.all()?;
    let equation: String = c
        .attributes
        .text("equation", "")?
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let (mut terms, output) = parse(c, &equation, &values)?;
    for term in &mut terms {
        diagonal(c, term)?;
    }
    let mut rest = terms.into_iter();
    let mut left = rest.next().ok_or_else(|| wrong(&equation))?;
    let mut rest: Vec<Term> = rest.collect();
    while !rest.is_empty() {
        let right = rest.remove(0);
        let needed = |l: &char| output.contains(l) || rest.iter().any(|t| t.labels.contains(l));
        let needed: Vec<char> = left
            .labels
            .iter()
            .chain(&right.labels)
            .copied()
            .filter(needed)
            .collect();
        left = pair(c, left, right, &needed)?;
    }
    sum_out(c, &mut left, |l| output.contains(l))?;
    if output.len() != left.labels.len() {
        return Err(wrong(&equation));
    }
    arrange(c, &left, &output).and_then(one)
}

fn wrong(equation: &str) -> Refusal {
    Refusal::new(format!(
        "has the equation `{}`, which does not fit its inputs; export the model again",
        crate::description::short(equation)
    ))
}

/// The terms of an equation and the labels of its output. The axes that `...`
/// stands for are called `0`, `1`, ... counted from the last one.
fn parse(c: &Call<'_>, equation: &str, values: &[Value]) -> Result<(Vec<Term>, Vec<char>)> {
    let (inputs, output) = match equation.split_once("->") {
        Some((inputs, output)) => (inputs, Some(output)),
        None => (equation, None),
    };
    let specs: Vec<&str> = inputs.split(',').collect();
    if specs.len() != values.len() {
        return Err(wrong(equation));
    }
    let mut terms = Vec::with_capacity(values.len());
    let mut widest = 0;
    let mut extents: BTreeMap<char, usize> = BTreeMap::new();
    for (spec, value) in specs.iter().zip(values) {
        let dims = c.dims(value);
        let named = spec.replacen("...", "", 1);
        let hidden = if named.len() == spec.len() {
            0
        } else {
            dims.len()
                .checked_sub(named.len())
                .ok_or_else(|| wrong(equation))?
        };
        widest = widest.max(hidden);
        let labels = expand(spec, hidden).ok_or_else(|| wrong(equation))?;
        if labels.len() != dims.len() {
            return Err(wrong(equation));
        }
        for (&label, &extent) in labels.iter().zip(&dims) {
            let known = extents.entry(label).or_insert(extent);
            if *known != extent && *known != 1 && extent != 1 {
                return Err(wrong(equation));
            }
            *known = extent.max(*known);
        }
        terms.push(Term {
            value: value.clone(),
            labels,
        });
    }
    let output = match output {
        Some(spec) => expand(spec, widest).ok_or_else(|| wrong(equation))?,
        None => {
            // Without an output: what stands once, in alphabetical order.
            let count = |l: char| {
                terms
                    .iter()
                    .flat_map(|t| &t.labels)
                    .filter(|&&x| x == l)
                    .count()
            };
            let hidden = expand("...", widest).unwrap_or_default();
            let single = extents
                .keys()
                .copied()
                .filter(|&l| l.is_ascii_alphabetic() && count(l) == 1);
            hidden.into_iter().chain(single).collect()
        }
    };
    let known = output.iter().all(|l| extents.contains_key(l));
    let once = (0..output.len()).all(|i| !output[..i].contains(&output[i]));
    if !known || !once {
        return Err(wrong(equation));
    }
    Ok((terms, output))
}

/// The labels of a term whose `...` stands for `hidden` axes.
fn expand(spec: &str, hidden: usize) -> Option<Vec<char>> {
    if hidden > 8 {
        return None;
    }
    let digits: String = (0..hidden)
        .rev()
        .filter_map(|i| char::from_digit(i as u32, 10))
        .collect();
    let labels = spec.replacen("...", "~", 1);
    if !labels.chars().all(|l| l.is_ascii_alphabetic() || l == '~') {
        return None;
    }
    Some(labels.replace('~', &digits).chars().collect())
}

/// Takes the diagonal where a term names an axis twice.
fn diagonal(c: &mut Call<'_>, term: &mut Term) -> Result<()> {
    while let Some((i, j)) = repeated(&term.labels) {
        let mut order: Vec<usize> = (0..term.labels.len())
            .filter(|&k| k != i && k != j)
            .collect();
        let kept: Vec<char> = order.iter().map(|&k| term.labels[k]).collect();
        let label = term.labels[i];
        order.extend([i, j]);
        let moved = c.transpose(&term.value, &order)?;
        let dims = c.dims(&moved);
        let (outer, n) = (&dims[..dims.len() - 2], dims[dims.len() - 1]);
        if dims[dims.len() - 2] != n {
            return Err(Refusal::new(
                "takes the diagonal of a value that is not square; export the model again",
            ));
        }
        let flat = c.reshape(&moved, &[outer, &[n * n]].concat())?;
        term.value = c.slice(&flat, outer.len(), 0, n as i64 + 1, n)?;
        term.labels = [kept, vec![label]].concat();
    }
    Ok(())
}

fn repeated(labels: &[char]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|j| (0..j).find(|&i| labels[i] == labels[j]).map(|i| (i, j)))
}

/// Sums over the axes that are not kept.
fn sum_out(c: &mut Call<'_>, term: &mut Term, keep: impl Fn(&char) -> bool) -> Result<()> {
    let gone: Vec<usize> = (0..term.labels.len())
        .filter(|&i| !keep(&term.labels[i]))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let dims = c.dims(&term.value);
    let sum = c.apply("ReduceSum", json!({"axes": gone}), &[&term.value])?;
    let kept: Vec<usize> = (0..dims.len()).filter(|i| !gone.contains(i)).collect();
    term.value = c.reshape(&sum, &kept.iter().map(|&i| dims[i]).collect::<Vec<_>>())?;
    term.labels = kept.iter().map(|&i| term.labels[i]).collect();
    Ok(())
}

/// The product of two terms, with the axes that are `needed` later.
fn pair(c: &mut Call<'_>, mut left: Term, mut right: Term, needed: &[char]) -> Result<Term> {
    let (of_left, of_right) = (left.labels.clone(), right.labels.clone());
    sum_out(c, &mut left, |l| needed.contains(l) || of_right.contains(l))?;
    sum_out(c, &mut right, |l| needed.contains(l) || of_left.contains(l))?;
    let both = |l: &char| of_left.contains(l) && of_right.contains(l);
    let pick = |labels: &[char], f: &dyn Fn(&char) -> bool| -> Vec<char> {
        labels.iter().copied().filter(|l| f(l)).collect()
    };
    let shared = pick(&left.labels, &|l| both(l) && needed.contains(l));
    let contracted = pick(&left.labels, &|l| both(l) && !needed.contains(l));
    let rows = pick(&left.labels, &|l| !both(l));
    let columns = pick(&right.labels, &|l| !both(l));
    let a = arrange(c, &left, &[&shared[..], &rows, &contracted].concat())?;
    let b = arrange(c, &right, &[&shared[..], &contracted, &columns].concat())?;
    let (da, db) = (c.dims(&a), c.dims(&b));
    let (s, r, k) = (shared.len(), rows.len(), contracted.len());
    let area = |dims: &[usize]| Shape::from(dims).elements();
    let (depth, width) = (area(&db[s..s + k])?, area(&db[s + k..])?);
    // Rows stay apart where a weight is on the right: it takes any number of axes.
    let (row_dims, apart) = (&da[s..s + r], s == 0 && b.known().is_some());
    let rows_of_a = if apart && r > 0 {
        row_dims.to_vec()
    } else {
        vec![area(row_dims)?]
    };
    let a = c.reshape(&a, &[&da[..s], &rows_of_a, &[depth]].concat())?;
    let b = c.reshape(&b, &[&db[..s], &[depth, width]].concat())?;
    let y = product(c, &a, &b)?;
    let shared_dims = c.dims(&y)[..s].to_vec();
    let value = c.reshape(&y, &[&shared_dims[..], row_dims, &db[s + k..]].concat())?;
    Ok(Term {
        value,
        labels: [shared, rows, columns].concat(),
    })
}

/// The term with its axes in the order of `labels`.
fn arrange(c: &mut Call<'_>, term: &Term, labels: &[char]) -> Result<Value> {
    let place = |l: &char| term.labels.iter().position(|x| x == l);
    let perm: Option<Vec<usize>> = labels.iter().map(place).collect();
    let perm = perm.ok_or_else(|| {
        Refusal::new("has an equation that does not fit its inputs; export the model again")
    })?;
    c.transpose(&term.value, &perm)
}
