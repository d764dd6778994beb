#!/usr/bin/env python3
"""Writes the built-in descriptions of timm's and transformers' architectures.

usage: describe_architectures.py OUT_DIR [--only PATTERN...] [--check] [--list]

Builds each model with random weights (nothing is downloaded), exports it with `torch.export`,
translates it (see limpid_graph.py) and writes OUT_DIR/NAME.json.gz. NAME is timm's architecture, or
"hf." and the published name for the configurations of transformers. PATTERN is a shell pattern.

A description has weights by name and without shapes, so it serves any number of classes. In
convolutional networks height and width are free; the others have "fixed_size": true. `layers` maps
the path of a module to the value that a forward hook on it sees; a module whose output is no value
of the graph (the attention weights, for example) is left out. A module that returns several tensors
stands for the first one.

A large transformer is described without running it: its layers are found in the same network with
fewer channels.

--check does without that shortcut, and runs what was written in float64 through an interpreter of
its own (limpid_reference.py), with randomised weights and measured BatchNorm statistics, at the
default size and, where the size is free, at an odd one, and compares the logits and every layer with
the model's.

Written with Python 3.11, torch 2.11.0, timm 1.0.31, transformers 5.23.
"""

import argparse
import fnmatch
import gc
import gzip
import json
import re
import sys
import time
from pathlib import Path

import timm
import torch
from timm.layers import set_fused_attn
from torch.overrides import TorchFunctionMode

import limpid_hf
from limpid_describe import check, describe, randomise, save, unused_weights

CLASSES = 10
DEFAULTS = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
FIXED = r"(vit|deit|deit3|swin|mixer)_.*"
# Every timm architecture that one of these matches as a whole.
FAMILIES = [
    r"resnet(10t|14t|18d?|26[dt]?|34d?|50[cdst]?|101[cds]?|152[cds]?|200d?)",
    r"resnext(50d?_32x4d|101_(32x4d|32x8d|32x16d|32x32d|64x4d))|wide_resnet(50|101)_2",
    r"vgg(11|13|16|19)(_bn)?",
    r"densenet(121|161|169|201|264d)",
    r"inception_v3",
    r"mobilenetv1_.*|mobilenetv2_.*|(tf_)?mobilenetv3_.*",
    r"(sem?nasnet|mnasnet)_.*",
    r"(tf_)?efficientnet_(b[0-8]|e[lms]|lite[0-4]|l2)|(tf_)?efficientnetv2_(rw_)?([a-z]|xl|b[0-3])",
    r"ghostnet_.*",
    r"regnet[xy]_\d+(_tv)?",
    r"convnext_(atto|femto|pico|nano|tiny|zepto_rms)(_ols|_rms|_hnf)?|convnext_(small|base|large|large_mlp|xlarge|xxlarge)",
    r"convnextv2_.*",
    r"vit_(tiny|xsmall|small|medium|base|large|huge)_patch\d+_(clip_(quickgelu_)?|gap_|plus_|plus_clip_)?\d+(_miil)?",
    r"vit_(small|base|large)_patch14_(reg4_)?dinov2|vit_(wee|pwee|little|medium|mediumd|betwixt)_patch16_reg[14]_gap_\d+",
    r"deit3?_.*",
    r"swin_.*",
    r"mixer_.*",
]


class WithoutInitialisation(TorchFunctionMode):
    """Leaves new parameters as they are: they get other values anyway, and untouched memory costs nothing."""

    SKIPPED = tuple(getattr(torch.Tensor, f"{name}_") for name in ("normal", "uniform", "erfinv", "mul", "add", "clamp"))

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in self.SKIPPED and args[0].requires_grad:
            return args[0]
        return function(*args, **(kwargs or {}))


def timm_names():
    pattern = re.compile("|".join(f"(?:{f})" for f in FAMILIES))
    return [n for n in timm.list_models() if pattern.fullmatch(n)]


def build_timm(name):
    """(model, preprocessing, fixed size, extra keys, names, what makes it narrow)."""
    with WithoutInitialisation():
        model = timm.create_model(name, pretrained=False, num_classes=CLASSES).eval()
    config = model.pretrained_cfg
    defaults = {k: list(config[k]) if isinstance(config[k], tuple) else config[k] for k in DEFAULTS}
    narrow = None
    if re.match("vit|deit", name):
        block = model.blocks[0]
        narrow = {"embed_dim": 8 * getattr(block, "attn", block).num_heads}
    elif name.startswith("swin"):
        narrow = {"embed_dim": 8 * model.layers[0].blocks[0].attn.num_heads}
    elif name.startswith("convnext"):
        narrow = {"dims": (8, 16, 32, 64)}

    def twin():
        return timm.create_model(name, pretrained=False, num_classes=CLASSES, **narrow).eval()

    return model, defaults, re.fullmatch(FIXED, name) is not None, {}, lambda n: n, twin if narrow else None


def odd_size(name, size):
    # vgg's first dense layer is a convolution of 7 by 7: smaller pictures take another way.
    return (233, 260) if name.startswith("vgg") else (97, 130)


def make(name, out, checked):
    start = time.time()
    if name.startswith("hf."):
        model, defaults, fixed, extra, names, narrow = limpid_hf.build(name, CLASSES, WithoutInitialisation())
    else:
        model, defaults, fixed, extra, names, narrow = build_timm(name)
    parameters = sum(p.numel() for p in model.parameters())
    twin = narrow().double() if narrow and not checked else None
    if twin is None:
        model = model.double()
    model.requires_grad_(False)
    size = defaults["input_size"]
    odd = (size[0], *size[1:]) if fixed else (size[0], *odd_size(name, size))
    randomise(model if twin is None else twin, odd)
    noise = torch.Generator().manual_seed(1)
    probe = torch.randn(1, *odd, generator=noise, dtype=torch.float64)
    example = torch.zeros(1, *size, dtype=torch.float64 if twin is None else torch.float32)
    graph = describe(model, example, names=names, pinned_size=fixed, defaults=defaults, probe=probe, twin=twin)
    aliases = extra.pop("aliases", {})
    graph["layers"] |= {
        old: graph["layers"][new]
        for new, old in aliases.items()
        if new in graph["layers"] and old not in graph["layers"]
    }
    graph |= extra
    path = out / f"{name}.json.gz"
    save(graph, path)
    unused = unused_weights(graph, model, names)
    if unused:
        raise SystemExit(f"{name}: no node reads {', '.join(unused)}")
    counts = f"{len(graph['nodes'])} nodes, {len(graph['layers'])} layers, {path.stat().st_size} bytes"
    line = f"{name}: {parameters / 1e6:.1f} M, {counts}"
    if checked:
        with gzip.open(path) as file:
            graph = json.load(file)
        known = {names(path) for path, _ in model.named_modules()}
        graph["layers"] = {p: v for p, v in graph["layers"].items() if p in known}  # not the second names
        worst = check(graph, model, probe, names=names)
        if not fixed:
            picture = torch.randn(1, *size, generator=noise, dtype=torch.float64)
            worst = max(worst, check(graph, model, picture, names=names))
        line += f"; {'one size' if fixed else 'two sizes'} within {worst:.1e}"
    print(f"{line}; {time.time() - start:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="directory for the descriptions")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="only these")
    parser.add_argument("--check", action="store_true", help="compare with the models' own computation")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # One operator for attention, where timm would write it out by default in Swin.
    set_fused_attn(True, experimental=True)
    names = [n for n in [*timm_names(), *limpid_hf.NAMES] if any(fnmatch.fnmatch(n, p) for p in args.only)]
    if args.list:
        print("\n".join(names))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        try:
            make(name, args.out, args.check)
        except Exception as error:  # the others are still of use
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
        gc.collect()
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


if __name__ == "__main__":
    main()
