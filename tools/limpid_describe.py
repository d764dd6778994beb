"""`describe`: a PyTorch classifier as a "limpid-graph/1" description with named values and layers."""

import gzip
import json
import math

import torch

import limpid_reference as reference
from limpid_aten import BATCH
from limpid_graph import TranslationError, Translator, drop_dead, simplify

# Modules that pad as TensorFlow's SAME does: for the size at hand, the odd pixel last.
SAME_MODULES = ("Conv2dSame", "CondConv2dSame", "MaxPool2dSame", "AvgPool2dSame", "MobileNetV2ConvLayer")
MATCH = 1e-6  # two float64 computations of one value are nearer than this, two values are not


def translate(model, example, names):
    batch = torch.zeros(BATCH, *example.shape[1:], dtype=example.dtype)
    program = torch.export.export(model, (batch,), strict=False)
    net = Translator(program, names, SAME_MODULES).run()
    drop_dead(net)
    return net


@torch.no_grad()
def describe(model, example, *, names=lambda name: name, pinned_size=False, defaults=None, probe=None, twin=None):
    """The description of `model`, which has to be in eval mode.

    `example` [1, C, H, W] gives the input's extents; `names` turns the model's names of weights and
    modules into the bundle's. Layers are found by number, which takes a model in float64 with weights
    that matter: `model` itself, or `twin`, the same network with fewer channels; and a picture, `probe`
    [1, C, h, w] or `example`, of another size than the example's where the network takes any.
    """
    net = translate(model, example, names)
    source, probe = net, example if probe is None else probe
    if twin is not None:
        source = translate(twin, probe, names)
        if [(n.op, n.path) for n in net.nodes] != [(n.op, n.path) for n in source.nodes]:
            raise TranslationError("the narrow network is built differently from the wide one")
    found = find_layers(source, model if twin is None else twin, probe, names)
    layers = {path: net.nodes[k].output for path, k in found.items()}
    simplify(net, layers)
    modules = {names(path) for path, _ in model.named_modules() if names(path)}
    name_values(net, layers, modules, {names(n) for n in model.state_dict()})
    graph = write(net, example)
    graph["layers"] = {p: v.name for p, v in layers.items()}
    graph["defaults"] = defaults or {}
    if pinned_size:
        graph["fixed_size"] = True
    return graph


def find_layers(net, model, picture, names):
    """For every module the index of the node whose value a forward hook on it sees.

    The graph, under temporary names, and the hooked model run on the same picture.
    """
    weights = {names(n): t for n, t in model.state_dict().items()}
    named = [*(n.output for n in net.nodes), *net.literals()]
    for k, value in enumerate(named):
        value.origin, value.name = value.name, f"#{k}"
    seen, expected = reference.sketch_modules(model, picture)
    sketches = {}
    logits = reference.interpret(
        write(net, picture), weights, picture, lambda n, v: sketches.__setitem__(n, reference.Sketch(v))
    )
    reference.Sketch.directions.clear()
    gap = float((logits - expected).abs().max() / expected.abs().max())
    if not gap < MATCH:
        raise TranslationError(f"the description's logits differ from the model's by {gap:.1e}")
    shapes = {}
    for k, node in enumerate(net.nodes):
        if node.output.picture:
            shapes.setdefault(sketches[node.output.name].shape, []).append(k)
    layers = {}
    for module, sketch in seen.items():
        path = names(module)
        found = [k for k in shapes.get(sketch.shape, []) if sketch.differs(sketches[net.nodes[k].output.name]) < MATCH]
        inside = [k for k in found if (net.nodes[k].path + ".").startswith(path + ".")]
        if found:
            layers[path] = (inside or found)[-1 if inside else 0]
    for value in named:
        value.name = value.origin
    return layers


def name_values(net, layers, modules, taken):
    """A value has the name of the module whose output it is, others the module that makes them and a word."""
    paths = {}
    for path, value in layers.items():
        paths.setdefault(id(value), []).append(path)
    taken = taken | {"x"}
    for value in net.literals():
        alone = value.data.numel() == 1
        value.name = unique(f"number.{number(value.data)}" if alone else value.name or "table", taken)
    used = set()
    for node in net.nodes:
        # The innermost module that made it, or its owner where it is a mere activation or flattening.
        own = [p for p in paths.get(id(node.output), []) if (node.path + ".").startswith(p + ".")]
        own.sort(key=len)
        name = own.pop() if own else None
        while own and name.rsplit(".", 1)[-1] in ("act", "flatten", "drop"):
            name = own.pop()
        if name is None or name in used:
            word = {"BatchNormalization": "norm"}.get(node.op, node.op.lower())
            owner = node.path
            if word == "norm" and owner in modules:
                name = f"{owner}.norm"
            else:
                name = f"{owner}.{word}" if owner else word
            # A name that a module has would be mistaken for its output.
            name = unique(name, taken | modules | used)
        else:
            name = unique(name, taken)
        used.add(name)
        taken.add(name)
        node.output.name = name


def unique(name, taken):
    if name not in taken:
        taken.add(name)
        return name
    k = 2
    while f"{name}_{k}" in taken:
        k += 1
    taken.add(f"{name}_{k}")
    return f"{name}_{k}"


def number(x):
    return int(x) if float(x).is_integer() else float(x)


def write(net, example):
    literals = net.literals()
    graph = {
        "format": "limpid-graph/1",
        "inputs": [{"name": "x", "shape": list(example.shape[1:])}],
    }
    if literals:
        graph["constants"] = {
            v.name: {"shape": list(v.data.shape), "values": [number(e) for e in v.data.flatten().tolist()]}
            for v in literals
        }
    graph["nodes"] = [
        {
            "name": n.output.name,
            "op": n.op,
            "attrs": n.attrs,
            "inputs": [v.name for v in n.inputs],
            "outputs": [n.output.name],
        }
        for n in net.nodes
    ]
    graph["layers"] = {}
    graph["outputs"] = [net.output.name]
    return graph


def check(graph, model, x, *, names=lambda name: name, tolerance=1e-9):
    """Compares logits and layers of the description as written with the model's; the largest difference."""
    weights = {names(n): t for n, t in model.state_dict().items()}
    return reference.compare(graph, weights, model, x, tolerance, names)


def unused_weights(graph, model, names=lambda name: name):
    """Floating-point tensors of the state dict that no node reads."""
    read = {n for node in graph["nodes"] for n in node["inputs"]}
    return sorted(names(n) for n, t in model.state_dict().items() if t.dtype.is_floating_point and names(n) not in read)


def save(graph, path):
    """Writes `path`.json.gz: compact, and the same bytes for the same description."""
    text = json.dumps(graph, separators=(",", ":"))
    with (
        open(path, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as packed,
    ):
        packed.write(text.encode())


@torch.no_grad()
def randomise(model, size, seed=0):
    """Random weights with which activations are of normal size and every branch matters.

    BatchNorm's statistics are measured on noise: without them a network this deep amplifies rounding
    errors until no comparison is sharp.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = []
    for module in model.modules():
        kind = type(module).__name__.lower()
        if hasattr(module, "running_mean") and module.running_mean is not None:
            norms.append(module)
        for name, p in module.named_parameters(recurse=False):
            u = torch.rand(p.shape, generator=generator, dtype=p.dtype) * 2 - 1
            if p.dim() >= 2 and "norm" not in kind and p.numel() // p.shape[0] > 1 and "gamma" not in name:
                p.copy_(u * math.sqrt(3 / (p.numel() // p.shape[0])))
            elif "bias" in name:
                p.copy_(0.1 * u)
            elif "norm" in kind:
                p.copy_(1 + 0.25 * u)
            else:
                p.copy_(0.5 + 0.25 * u)
    if norms:
        for module in norms:
            module.train()
            module.momentum = 1.0
        model(torch.randn(2, *size, generator=generator, dtype=p.dtype))
        for module in norms:
            module.eval()
