#!/usr/bin/env python3
"""PyTorch as `protocol` wants it: forward passes and input gradients.

usage: torch_peer.py THREADS

`variant` is `eager`, the network as timm makes it, or `tuned`: batch normalisation folded,
channels last where there are convolutions, and no gradient recorded where none is asked for.
Parameters are frozen in both. `precision` `bf16` is autocast.
"""

import sys
from contextlib import nullcontext

import models
import torch
from protocol import Prepared, Request, pictures, serve
from torch import nn


def network(bundle: str, variant: str) -> tuple[nn.Module, torch.memory_format]:
    model = models.load(bundle)
    if variant == "eager":
        return model, torch.contiguous_format
    model = models.fold(model)
    convolutions = sum(isinstance(m, nn.Conv2d) for m in model.modules())
    layout = torch.channels_last if convolutions > 1 else torch.contiguous_format
    return model.to(memory_format=layout), layout


def prepare(request: Request) -> Prepared:
    tuned = request["variant"] == "tuned"
    model, layout = network(request["model"], request["variant"])
    x = torch.from_numpy(pictures(request)).to(memory_format=layout)
    half = request.get("precision", "f32") == "bf16"

    def precision():
        return torch.autocast("cpu", torch.bfloat16) if half else nullcontext()

    def forward() -> torch.Tensor:
        with torch.inference_mode() if tuned else torch.no_grad(), precision():
            return model(x).float()

    def gradient() -> torch.Tensor:
        y = x.detach().requires_grad_(True)
        with precision():
            score = model(y)[:, 0].sum()
        return torch.autograd.grad(score, y)[0].contiguous()

    run = {"forward": forward, "gradient": gradient}[request["work"]]
    return Prepared(run, len(x))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve(prepare)
