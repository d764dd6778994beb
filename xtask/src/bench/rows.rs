//! What is compared: groups of contestants that take turns.

use serde_json::{Value, json};

/// The networks of seeded weights, and the bars of their gradients.
const NETWORKS: [(&str, Bar); 7] = [
    ("resnet50", Bar::new(1.25, 1.45)),
    ("resnet18", Bar::new(1.6, 2.2)),
    ("vgg16", Bar::new(2.0, 3.0)),
    ("mobilenetv2_100", Bar::new(2.5, 4.0)),
    ("efficientnet_lite0", Bar::new(2.5, 4.0)),
    ("vit_base_patch16_224", Bar::new(1.0, 1.3)),
    ("convnext_tiny", Bar::new(1.0, 1.3)),
];

/// The networks that are compared in bf16 as well.
const HALF: [&str; 2] = ["resnet50", "resnet18"];

/// The network that explanations are timed on.
pub(crate) const EXPLAINED: &str = "resnet18";

/// How many times as fast Limpid is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bar {
    pub(crate) least: f64,
    pub(crate) aim: f64,
}

impl Bar {
    const fn new(least: f64, aim: f64) -> Self {
        Self { least, aim }
    }
}

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Peer {
    Limpid,
    Torch,
    Onnxruntime,
    Blur,
    Explain,
}

/// One that takes a turn in each round.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) peer: Peer,
    pub(crate) request: Value,
}

/// A line of the table: two contestants.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) ours: usize,
    pub(crate) theirs: usize,
    pub(crate) bar: Option<Bar>,
}

/// Contestants that take turns.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) title: String,
    /// What a sample is of: seconds of a picture, a blur or a gradient.
    pub(crate) unit: &'static str,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) pairs: Vec<Pair>,
    /// Contestants that are to put out the same as the first one, and how far
    /// apart they may be.
    pub(crate) same: Vec<(usize, f64)>,
}

/// A kind of work, as `--work` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Work {
    /// Forward pass and input gradient, against PyTorch
    Gradient,
    /// Forward pass, against PyTorch and onnxruntime
    Forward,
    /// Stacks of blurs, against dense products and OpenCV
    Blurs,
    /// A gradient of an explanation, against PyTorch, PAIR's saliency and captum
    Explain,
    /// From the start of the process to an overlay on disk
    Start,
}

/// The names of the networks.
pub(crate) fn networks() -> impl Iterator<Item = &'static str> {
    NETWORKS.into_iter().map(|(name, _)| name)
}

/// Logits agree to this.
const SAME_LOGITS: f64 = 1e-3;

/// Gradients agree to this: what is left is units near a kink, which are open
/// in one program and closed in another.
const SAME_GRADIENTS: f64 = 1e-2;

/// Blurs by the heat equation agree to this.
const SAME_BLURS: f64 = 1e-4;

fn contestant(name: &'static str, peer: Peer, request: &Value, more: &Value) -> Contestant {
    let mut request = request.clone();
    if let (Some(request), Some(more)) = (request.as_object_mut(), more.as_object()) {
        request.extend(more.clone());
    }
    Contestant {
        name,
        peer,
        request,
    }
}

/// A network's gradient in f32, and in bf16 where that is compared.
pub(crate) fn gradient(network: &str, request: &Value, batch: usize) -> Group {
    let request = merged(request, &json!({"work": "gradient", "batch": batch}));
    let of = |name, peer, more| contestant(name, peer, &request, &more);
    let half = json!({"precision": "bf16"});
    let mut contestants = vec![
        of("Limpid", Peer::Limpid, json!({})),
        of("PyTorch, tuned", Peer::Torch, json!({"variant": "tuned"})),
        of("PyTorch, eager", Peer::Torch, json!({"variant": "eager"})),
    ];
    let bar = NETWORKS.into_iter().find(|(name, _)| *name == network);
    let bar = bar.map(|(_, bar)| bar).filter(|_| batch == 8);
    let mut pairs = vec![
        Pair {
            ours: 0,
            theirs: 1,
            bar,
        },
        Pair {
            ours: 0,
            theirs: 2,
            bar: None,
        },
    ];
    if HALF.contains(&network) && batch == 8 {
        contestants.push(of("Limpid, bf16", Peer::Limpid, half));
        let tuned = json!({"variant": "tuned", "precision": "bf16"});
        contestants.push(of("PyTorch, tuned, bf16", Peer::Torch, tuned));
        let bar = Some(Bar::new(1.1, 1.3));
        pairs.push(Pair {
            ours: 3,
            theirs: 4,
            bar,
        });
    }
    Group {
        title: format!("{network}, forward and gradient, batch {batch}"),
        unit: "picture",
        contestants,
        pairs,
        same: vec![(1, SAME_GRADIENTS), (2, SAME_GRADIENTS)],
    }
}

/// A network's forward pass.
pub(crate) fn forward(network: &str, request: &Value, batch: usize) -> Group {
    let request = merged(request, &json!({"work": "forward", "batch": batch}));
    let of = |name, peer, more| contestant(name, peer, &request, &more);
    let bar = (batch == 8).then_some(Bar::new(1.0, 1.2));
    Group {
        title: format!("{network}, forward, batch {batch}"),
        unit: "picture",
        contestants: vec![
            of("Limpid", Peer::Limpid, json!({})),
            of("onnxruntime", Peer::Onnxruntime, json!({})),
            of("PyTorch, tuned", Peer::Torch, json!({"variant": "tuned"})),
        ],
        pairs: vec![
            Pair {
                ours: 0,
                theirs: 1,
                bar,
            },
            Pair {
                ours: 0,
                theirs: 2,
                bar: None,
            },
        ],
        same: vec![(1, SAME_LOGITS), (2, SAME_LOGITS)],
    }
}

/// A stack of a hundred blurs of one picture.
pub(crate) fn blurs(request: &Value) -> Group {
    let request = merged(
        request,
        &json!({"work": "blurs", "batch": 100, "side": 224}),
    );
    let of = |name, peer, more| contestant(name, peer, &request, &more);
    let bar = Some(Bar::new(4.0, 7.0));
    let pair = |theirs| Pair {
        ours: 0,
        theirs,
        bar,
    };
    Group {
        title: "100 blurs of 3x224x224, sigma 0 to 50".to_owned(),
        unit: "blur",
        contestants: vec![
            of("Limpid", Peer::Limpid, json!({})),
            of(
                "Toeplitz products, numpy",
                Peer::Blur,
                json!({"variant": "numpy"}),
            ),
            of(
                "Toeplitz products, PyTorch",
                Peer::Blur,
                json!({"variant": "torch"}),
            ),
            of("OpenCV", Peer::Blur, json!({"variant": "opencv"})),
        ],
        pairs: vec![
            pair(1),
            pair(2),
            Pair {
                ours: 0,
                theirs: 3,
                bar: None,
            },
        ],
        // OpenCV's kernel is another: sampled, and cut off.
        same: vec![(1, SAME_BLURS), (2, SAME_BLURS)],
    }
}

/// A gradient of Blur Integrated Gradients within SmoothGrad: sampled jointly
/// here, in nested loops there.
pub(crate) fn smoothed(request: &Value, gradients: u32) -> Group {
    let request = merged(request, &json!({"work": "explain", "batch": 8}));
    let of = |name, peer, more| contestant(name, peer, &request, &more);
    let ours = json!({"method": "blur-ig", "smooth": 25, "params": {"evaluations": gradients.to_string()}});
    let theirs = json!({"variant": "nested", "draws": gradients.div_ceil(100), "steps": 20});
    Group {
        title: format!("{EXPLAINED}, a gradient of Blur IG x SmoothGrad"),
        unit: "gradient",
        contestants: vec![
            of("Limpid", Peer::Limpid, ours),
            of("PyTorch, tuned, nested", Peer::Explain, theirs),
        ],
        pairs: vec![Pair {
            ours: 0,
            theirs: 1,
            bar: None,
        }],
        same: Vec::new(),
    }
}

/// A gradient of what other libraries have.
pub(crate) fn libraries(request: &Value) -> Vec<Group> {
    let request = merged(request, &json!({"work": "explain", "batch": 8}));
    let group = |title, method, name, variant| {
        let of = |name, peer, more| contestant(name, peer, &request, &more);
        let ours = json!({"method": method, "params": {"steps": "24"}});
        let theirs = json!({"variant": variant, "steps": 24});
        Group {
            title: format!("{EXPLAINED}, a gradient of {title}"),
            unit: "gradient",
            contestants: vec![
                of("Limpid", Peer::Limpid, ours),
                of(name, Peer::Explain, theirs),
            ],
            pairs: vec![Pair {
                ours: 0,
                theirs: 1,
                bar: None,
            }],
            same: Vec::new(),
        }
    };
    vec![
        group("Blur IG", "blur-ig", "PAIR saliency, tuned PyTorch", "pair"),
        group(
            "Integrated Gradients",
            "integrated-gradients",
            "captum, tuned PyTorch",
            "captum",
        ),
    ]
}

/// Both objects' keys.
fn merged(one: &Value, other: &Value) -> Value {
    contestant("", Peer::Limpid, one, other).request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_name_contestants_and_bars_are_of_batch_8() {
        let request = json!({"model": "m"});
        let mut groups = vec![blurs(&request), smoothed(&request, 200)];
        groups.extend(libraries(&request));
        for network in networks() {
            for batch in [1, 8] {
                groups.extend([
                    gradient(network, &request, batch),
                    forward(network, &request, batch),
                ]);
            }
        }
        for group in &groups {
            let there = |i: usize| i < group.contestants.len();
            assert!(group.pairs.iter().all(|p| there(p.ours) && there(p.theirs)));
            assert!(group.same.iter().all(|(i, _)| there(*i)));
            assert!(group.contestants.iter().all(|c| c.request["model"] == "m"));
            let ours = group.pairs.iter().map(|p| group.contestants[p.ours].peer);
            assert!(ours.into_iter().all(|peer| peer == Peer::Limpid));
        }
        assert_eq!(gradient("resnet50", &request, 8).pairs.len(), 3);
        assert_eq!(
            gradient("vgg16", &request, 8).pairs[0].bar,
            Some(Bar::new(2.0, 3.0))
        );
        assert_eq!(gradient("vgg16", &request, 1).pairs[0].bar, None);
    }
}
