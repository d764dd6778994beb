#!/usr/bin/env python3
"""One input gradient of tf_efficientnet_lite0: Limpid against tuned PyTorch, in turn.

usage: gradient.py PROGRAM PICTURE OUT.json [--rounds N] [--batch N]

PROGRAM is a release build of `limpid`. Each round times Limpid (Integrated Gradients of 96
steps, the program's own `seconds`, which leaves out decoding and start-up) and then PyTorch
(12 gradients of batch 8: batch normalisation folded, channels_last, parameters frozen, two
threads). What counts is the ratio of each round; machines drift, a time alone says little.
Needs torch 2.11 and timm 1.0.31; not part of the tests.
"""

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time

import timm
import torch
from torch.nn.utils.fusion import fuse_conv_bn_weights

STEPS = 96
PAIRS = {
    "EfficientNet": [("conv_stem", "bn1"), ("conv_head", "bn2")],
    "DepthwiseSeparableConv": [("conv_dw", "bn1"), ("conv_pw", "bn2")],
    "InvertedResidual": [("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")],
}


def tuned_model():
    model = timm.create_model("tf_efficientnet_lite0").eval()
    for module in model.modules():
        for conv_name, norm_name in PAIRS.get(type(module).__name__, []):
            conv, norm = getattr(module, conv_name), getattr(module, norm_name)
            weight, bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
            conv.weight, conv.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
            setattr(module, norm_name, norm.act)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def limpid(program, picture, batch):
    with tempfile.TemporaryDirectory() as out:
        command = [program, "explain", picture, "--method", "integrated-gradients", "--param", f"steps={STEPS}",
                   "--batch", str(batch), "--threads", "2", "--format", "npy", "--json", "--out", out]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(line)["seconds"] * 1e3 / STEPS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("picture")
    parser.add_argument("out")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()

    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = tuned_model()
    x = torch.randn(8, 3, 224, 224).to(memory_format=torch.channels_last)

    def gradient():
        y = x.clone().requires_grad_(True)
        torch.autograd.grad(model(y)[:, 3].sum(), y)

    gradient()
    rounds = []
    for _ in range(options.rounds):
        ours = limpid(options.program, options.picture, options.batch)
        start = time.perf_counter()
        for _ in range(STEPS // 8):
            gradient()
        theirs = (time.perf_counter() - start) * 1e3 / STEPS
        rounds.append({"limpid_ms": ours, "torch_ms": theirs, "ratio": theirs / ours})
    ratios = [r["ratio"] for r in rounds]
    result = {
        "what": "forward + input gradient, f32, tf_efficientnet_lite0 at 224x224, per image",
        "limpid_batch": options.batch, "torch_batch": 8, "threads": 2,
        "torch": torch.__version__, "timm": timm.__version__, "machine": platform.processor() or platform.machine(),
        "rounds": rounds,
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    print(json.dumps(result["ratio"]))


if __name__ == "__main__":
    main()
