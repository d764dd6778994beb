//! The graphs that `docs/plugins.md` shows.

use limpid_graph::{Fact, text};

const PAGE: &str = include_str!("../../../docs/plugins.md");

#[test]
fn the_graphs_of_the_page_can_be_read() {
    let blocks = PAGE.split("```json\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|b| b.split("```").next()).collect();
    let picture = |_: usize, _: &str| Some(Fact::f32([1, 3, 5, 7]));
    let graphs = blocks.iter().map(|b| text::read(b, 4, picture).unwrap());
    let shapes: Vec<Vec<Vec<usize>>> = graphs
        .map(|g| {
            g.outputs()
                .iter()
                .map(|v| g.fact(*v).shape.to_vec())
                .collect()
        })
        .collect();
    let expected = [
        vec![vec![1, 3, 5, 7]],
        vec![vec![4, 3, 5, 7], vec![1, 3, 5, 7]],
    ];
    assert_eq!(shapes, expected);
}
