#!/usr/bin/env python3
"""Writes graph descriptions of timm's EfficientNet-Lite family.

usage: describe_architectures.py OUT_DIR [--only NAME...] [--check]

For tf_efficientnet_lite0..4 and efficientnet_lite0..4 it builds timm's model (random weights;
nothing is downloaded), walks its modules and writes OUT_DIR/NAME.json:

  format    "limpid-graph/1"
  inputs    [{"name": "x", "shape": [3, H, W]}], the shape from timm's default config, no batch axis
  nodes     name, op (as in ONNX), attrs, inputs, outputs; weights appear by parameter name, without
            shapes, so one description serves any number of classes
  layers    timm's module path -> name of the value that a forward hook on that module sees
  outputs   ["classifier"]
  defaults  input_size, interpolation, crop_pct, crop_mode, mean, std of timm's default config

A value is named by the module whose output it is. Where a BatchNorm carries an activation, PATH is
the value after the activation and PATH.norm the one before.

A convolution's padding is {"explicit": [top, left, bottom, right]}, or "same_upper" in the tf_ models
(TensorFlow SAME: the odd pixel goes below and to the right).

--check runs every description through a small interpreter in float64, with randomised weights and
BatchNorm statistics, at the default size and at an odd size, and compares the logits and the value
of every layer with what timm computes and its forward hooks see.

Written with Python 3.11, torch 2.11.0, timm 1.0.31.
"""

import argparse
import json
import sys
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, DropPath
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from torch import nn

NAMES = [f"{prefix}efficientnet_lite{i}" for prefix in ("tf_", "") for i in range(5)]
DEFAULTS = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
SEED = 0
TOLERANCE = 1e-9


class Description:
    """Collects nodes and layers while the modules are walked in the order of execution."""

    def __init__(self, same):
        self.same = same
        self.nodes = []
        self.layers = {}

    def node(self, op, name, inputs, attrs=None):
        self.nodes.append({"name": name, "op": op, "attrs": attrs or {}, "inputs": inputs, "outputs": [name]})
        return name

    def layer(self, path, value):
        self.layers[path] = value
        return value

    def conv(self, path, module, x):
        assert module.bias is None and module.padding_mode == "zeros", path
        kernel, dilation = module.kernel_size, module.dilation
        if self.same:
            padding = "same_upper"
        else:
            top, left = module.padding
            padding = {"explicit": [top, left, top, left]}
            assert all(p == d * (k - 1) // 2 for p, d, k in zip(module.padding, dilation, kernel)), path
        attrs = {"strides": list(module.stride), "dilations": list(dilation), "groups": module.groups,
                 "padding": padding}
        return self.layer(path, self.node("Conv", path, [x, f"{path}.weight"], attrs))

    def norm(self, path, module, x):
        assert isinstance(module, BatchNormAct2d) and isinstance(module.drop, nn.Identity), path
        parameters = [f"{path}.{p}" for p in ("weight", "bias", "running_mean", "running_var")]
        has_act = not isinstance(module.act, nn.Identity)
        name = f"{path}.norm" if has_act else path
        x = self.node("BatchNormalization", name, [x, *parameters], {"epsilon": module.eps})
        self.layer(f"{path}.drop", x)
        if has_act:
            assert isinstance(module.act, nn.ReLU6), path
            x = self.node("Clip", path, [x], {"min": 0.0, "max": 6.0})
        self.layer(f"{path}.act", x)
        return self.layer(path, x)

    def identity(self, path, module, x):
        assert isinstance(module, nn.Identity), path
        return self.layer(path, x)

    def block(self, path, module, x):
        """One block; the convolutions and norms alternate in the order that timm runs them in."""
        shortcut = x
        if isinstance(module, DepthwiseSeparableConv):
            steps = ["conv_dw", "bn1", "aa", "se", "conv_pw", "bn2"]
        elif isinstance(module, InvertedResidual):
            steps = ["conv_pw", "bn1", "conv_dw", "bn2", "aa", "se", "conv_pwl", "bn3"]
        else:
            sys.exit(f"{path}: no rule for {type(module).__name__}")
        assert module.conv_s2d is None, path
        for step in steps:
            handle = self.conv if step.startswith("conv") else self.norm if step.startswith("bn") else self.identity
            x = handle(f"{path}.{step}", getattr(module, step), x)
        if module.has_skip:
            self.identity(f"{path}.drop_path", module.drop_path, x)
            x = self.node("Add", path, [x, shortcut])
        return self.layer(path, x)


def describe(name, model):
    config = model.pretrained_cfg
    d = Description(same=name.startswith("tf_"))
    x = d.conv("conv_stem", model.conv_stem, "x")
    x = d.norm("bn1", model.bn1, x)
    for i, stage in enumerate(model.blocks):
        for j, block in enumerate(stage):
            x = d.block(f"blocks.{i}.{j}", block, x)
        d.layer(f"blocks.{i}", x)
    d.layer("blocks", x)
    x = d.conv("conv_head", model.conv_head, x)
    x = d.norm("bn2", model.bn2, x)
    assert model.global_pool.pool_type == "avg"
    x = d.layer("global_pool.pool", d.node("GlobalAveragePool", "global_pool.pool", [x]))
    x = d.node("Flatten", "global_pool", [x], {"axis": 1})
    d.layer("global_pool.flatten", x)
    d.layer("global_pool", x)
    x = d.node("Gemm", "classifier", [x, "classifier.weight", "classifier.bias"], {"trans_b": True})
    d.layer("classifier", x)
    return {
        "format": "limpid-graph/1",
        "inputs": [{"name": "x", "shape": list(config["input_size"])}],
        "nodes": d.nodes,
        "layers": d.layers,
        "outputs": [x],
        "defaults": {key: list(config[key]) if isinstance(config[key], tuple) else config[key] for key in DEFAULTS},
    }


def same_upper(x, kernel, strides, dilations):
    """Pads for an output of ceil(size / stride), the odd pixel last."""
    pads = []
    for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        pads.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = pads
    return F.pad(x, (left, right, top, bottom))


def interpret(graph, weights, x):
    """Every value of the graph, for a batch x."""
    values = {graph["inputs"][0]["name"]: x}
    for node in graph["nodes"]:
        at = node["attrs"]
        i = [values[n] if n in values else weights[n] for n in node["inputs"]]
        match node["op"]:
            case "Conv":
                if at["padding"] == "same_upper":
                    v = same_upper(i[0], i[1].shape[2:], at["strides"], at["dilations"])
                else:
                    top, left, bottom, right = at["padding"]["explicit"]
                    v = F.pad(i[0], (left, right, top, bottom))
                v = F.conv2d(v, i[1], None, at["strides"], 0, at["dilations"], at["groups"])
            case "BatchNormalization":
                scale, bias, mean, var = (p[:, None, None] for p in i[1:])
                v = (i[0] - mean) / torch.sqrt(var + at["epsilon"]) * scale + bias
            case "Clip":
                v = i[0].clamp(at["min"], at["max"])
            case "Add":
                v = i[0] + i[1]
            case "GlobalAveragePool":
                v = i[0].mean(dim=(2, 3), keepdim=True)
            case "Flatten":
                v = i[0].flatten(at["axis"])
            case "Gemm":
                v = i[0] @ (i[1].T if at["trans_b"] else i[1]) + i[2]
            case op:
                sys.exit(f"{node['name']}: no rule for {op}")
        values[node["outputs"][0]] = v
    return values


@torch.no_grad()
def randomise(model, size):
    """Random weights, and BatchNorm statistics measured on noise: without them a network this deep
    amplifies rounding errors until no comparison is sharp."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        elif isinstance(module, BatchNormAct2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
            module.momentum = 1.0
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.1)
            nn.init.normal_(module.bias)
    model.train()
    for module in model.modules():
        if isinstance(module, DropPath):
            module.eval()
    model(torch.randn(2, 3, *size, dtype=torch.float64))
    model.eval()


@torch.no_grad()
def check(name, model, graph):
    """Compares logits and layers with timm's; returns the largest relative difference."""
    torch.manual_seed(SEED)
    model = model.double()
    randomise(model, graph["inputs"][0]["shape"][1:])
    weights = model.state_dict()
    used = {n for node in graph["nodes"] for n in node["inputs"] if n in weights}
    unused = {n for n in weights if not n.endswith("num_batches_tracked")} - used
    assert not unused, f"{name}: parameters that no node uses: {sorted(unused)}"

    seen = {}
    hooks = []
    for path, module in model.named_modules():
        if path:
            # Activations work in place, so what the hook sees is copied at once.
            hooks.append(module.register_forward_hook(lambda _m, _i, out, path=path: seen.__setitem__(path, out.clone())))
    worst = 0.0
    _, h, w = graph["inputs"][0]["shape"]
    for size in ((h, w), (97, 130)):
        x = torch.randn(1, 3, *size, dtype=torch.float64)
        seen.clear()
        expected = model(x)
        values = interpret(graph, weights, x)
        assert set(seen) == set(graph["layers"]), f"{name}: layers differ: {set(seen) ^ set(graph['layers'])}"
        pairs = [(path, seen[path], values[value]) for path, value in graph["layers"].items()]
        for path, a, b in [*pairs, ("logits", expected, values[graph["outputs"][0]])]:
            assert a.shape == b.shape, f"{name}: {path} has shape {list(b.shape)}, timm's has {list(a.shape)}"
            error = float((a - b).abs().max() / a.abs().max())
            assert error < TOLERANCE, f"{name}: {path} differs by {error:.2e}"
            worst = max(worst, error)
    for hook in hooks:
        hook.remove()
    return worst, len(pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="directory for the descriptions")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="only these")
    parser.add_argument("--check", action="store_true", help="compare with timm's own computation")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        model = timm.create_model(name, pretrained=False).eval()
        graph = describe(name, model)
        path = args.out / f"{name}.json"
        text = json.dumps(graph, separators=(",", ":"))
        path.write_text(text + "\n", encoding="utf-8")
        line = f"{name}: {len(graph['nodes'])} nodes, {len(graph['layers'])} layers, {path.stat().st_size} bytes"
        if args.check:
            # What is checked is what was written.
            worst, layers = check(name, model, json.loads(path.read_text(encoding="utf-8")))
            line += f"; {layers} layers at two sizes within {worst:.1e} of timm"
        print(line, flush=True)


if __name__ == "__main__":
    main()
