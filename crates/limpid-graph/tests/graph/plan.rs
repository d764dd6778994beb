//! Memory plans: every value has its place, and no two that are alive at once
//! share a byte.

use crate::support::{Built, Network, network};
use limpid_graph::passes::{Rule, fold_batch_norm, fuse, vjp};
use limpid_graph::{Fact, Graph, Location, Plan, Source};
use limpid_tensor::{DType, TensorError};
use proptest::prelude::*;
use std::ops::Range;
use std::sync::Arc;

const ALIGNMENT: usize = 64;

fn bytes(fact: &Fact) -> Result<usize, TensorError> {
    let n = fact.shape.elements()?;
    Ok(match fact.dtype {
        DType::Bits => n.div_ceil(8),
        _ => 4 * n,
    })
}

fn plan(graph: &Graph) -> Plan {
    Plan::new(Arc::new(graph.clone()), bytes, ALIGNMENT).unwrap()
}

/// For each value in the arena its bytes and the steps at which they must hold.
fn residents(plan: &Plan) -> Vec<(Range<usize>, Range<usize>)> {
    let graph = plan.graph();
    let mut found = Vec::new();
    for value in 0..graph.values().len() {
        let Source::Node { node, output } = graph.values()[value].source else {
            continue;
        };
        let id = graph.nodes()[node].outputs[output];
        let Location::Arena(place) = plan.location(id) else {
            continue;
        };
        let last = graph
            .nodes()
            .iter()
            .enumerate()
            .filter(|(_, n)| n.inputs.contains(&id))
            .map(|(i, _)| i)
            .max()
            .unwrap_or(node);
        assert_eq!(place.start % ALIGNMENT, 0);
        assert!(place.len() >= bytes(graph.fact(id)).unwrap());
        assert!(place.end <= plan.arena_bytes());
        found.push((place.clone(), node..last + 1));
    }
    found
}

fn meet(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

fn check(graph: &Graph) -> (usize, usize) {
    let plan = plan(graph);
    let residents = residents(&plan);
    for (i, (place, life)) in residents.iter().enumerate() {
        for (other_place, other_life) in &residents[..i] {
            assert!(!(meet(place, other_place) && meet(life, other_life)));
        }
    }
    for (i, v) in graph.values().iter().enumerate() {
        let id = match v.source {
            Source::Node { node, output } => graph.nodes()[node].outputs[output],
            _ => continue,
        };
        let output = graph.outputs().iter().position(|o| *o == id);
        let expected = output.map(Location::Output);
        match expected {
            Some(expected) => assert_eq!(*plan.location(id), expected, "value {i}"),
            None => assert!(matches!(plan.location(id), Location::Arena(_)), "value {i}"),
        }
    }
    for (k, id) in graph.inputs().iter().enumerate() {
        assert_eq!(*plan.location(*id), Location::Input(k));
    }
    for node in graph.nodes() {
        for v in &node.inputs {
            let constant = graph.is_constant(*v);
            assert_eq!(*plan.location(*v) == Location::Constant, constant);
        }
    }
    assert_eq!(plan.steps().count(), graph.nodes().len());
    assert!(plan.steps().enumerate().all(|(i, s)| s.index == i));
    for step in 0..graph.nodes().len() {
        let nodes = step..(step + 2).min(graph.nodes().len());
        let start = plan.free(nodes.clone(), 100);
        assert!(start <= plan.arena_bytes() && start.is_multiple_of(ALIGNMENT));
        for (place, life) in &residents {
            assert!(!(meet(place, &(start..start + 100)) && meet(life, &nodes)));
        }
    }
    // No smaller than what is alive at once, no larger than everything.
    let needed = (0..graph.nodes().len())
        .map(|step| {
            let alive = residents.iter().filter(|(_, life)| life.contains(&step));
            alive.map(|(place, _)| place.len()).sum::<usize>()
        })
        .max()
        .unwrap_or(0);
    let sum = residents
        .iter()
        .map(|(place, _)| place.len())
        .sum::<usize>();
    assert!(needed <= plan.arena_bytes() && plan.arena_bytes() <= sum);
    (plan.arena_bytes(), sum)
}

fn prepared(network: &Network) -> Graph {
    let Built { graph, .. } = network.build();
    let folded = fold_batch_norm(&graph).unwrap();
    let wrt = &folded.inputs()[..1];
    let g = vjp(&folded, folded.outputs()[0], wrt, Rule::Standard).unwrap();
    fuse(&g.graph).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_overlaps(network in network()) {
        check(&network.build().graph);
        check(&prepared(&network));
    }
}

#[test]
fn the_arena_is_reused() {
    use crate::support::Block::Conv;
    let layer = Conv {
        channels: 3,
        kernel: 3,
        stride: 1,
        bias: true,
        norm: true,
        clip: 1,
    };
    let network = Network {
        input: [1, 3, 16, 16],
        blocks: vec![layer; 10],
        pins: vec![],
    };
    // A chain: at most a step's input and output are alive.
    let (arena, sum) = check(&fold_batch_norm(&network.build().graph).unwrap());
    assert_eq!(arena, 2 * 3 * 16 * 16 * 4);
    assert!(sum > 9 * arena);
    // With the gradient, ten masks of one bit an element more.
    let (arena, _) = check(&prepared(&network));
    let mask = (3usize * 16 * 16).div_ceil(8).next_multiple_of(ALIGNMENT);
    assert!(arena <= 2 * 3 * 16 * 16 * 4 + 10 * mask, "{arena}");
}

#[test]
fn a_size_that_overflows_is_an_error() {
    let network = Network {
        input: [1, 3, 4, 4],
        blocks: vec![crate::support::Block::Sigmoid],
        pins: vec![],
    };
    let graph = Arc::new(network.build().graph);
    for huge in [usize::MAX, usize::MAX - ALIGNMENT, usize::MAX / 2 + 1] {
        assert!(Plan::new(Arc::clone(&graph), |_| Ok(huge), ALIGNMENT).is_err());
    }
    let refuse = |f: &Fact| Err(TensorError::Overflow(f.shape.clone()));
    assert!(Plan::new(graph, refuse, ALIGNMENT).is_err());
}

#[test]
fn outputs_that_no_node_makes_are_refused() {
    let network = Network {
        input: [1, 3, 4, 4],
        blocks: vec![crate::support::Block::Sigmoid],
        pins: vec![],
    };
    let Built {
        graph, x, logits, ..
    } = network.build();
    let constant = graph.nodes().last().unwrap().inputs[1];
    for (outputs, name) in [
        ([logits, x], "`x`"),
        ([logits, constant], "constant"),
        ([logits; 2], "twice"),
    ] {
        let mut graph = graph.clone();
        graph.set_outputs(&outputs);
        let e = Plan::new(Arc::new(graph), bytes, ALIGNMENT)
            .unwrap_err()
            .to_string();
        assert!(e.contains(name), "{e}");
    }
}
