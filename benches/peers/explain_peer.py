#!/usr/bin/env python3
"""Explanations as `protocol` wants them: seconds of a gradient.

usage: explain_peer.py THREADS

`variant` is `nested`, Blur Integrated Gradients within SmoothGrad as a careful program has it
(batches, blurs as products with matrices that are there already); `pair`, the same without
noise by PAIR's saliency library; or `captum`, Integrated Gradients. All on the tuned network.
"""

import sys

import numpy as np
import saliency.core as saliency
import torch
from blur import matrix
from captum.attr import IntegratedGradients
from protocol import Prepared, Request, pictures, serve
from torch_peer import network


def nested(request: Request) -> Prepared:
    model, layout = network(request["model"], "tuned")
    x = torch.from_numpy(pictures({**request, "batch": 1}))
    batch, draws, steps = request["batch"], request["draws"], request["steps"]
    spread = 0.15 * (x.max() - x.min())
    sigmas = np.linspace(0.0, 50.0, steps + 1)
    blurs = torch.from_numpy(np.stack([matrix(x.shape[-1], s) for s in sigmas]))[:, None]
    generator = torch.Generator().manual_seed(0)

    def explain() -> torch.Tensor:
        total = torch.zeros_like(x[0])
        for _ in range(draws):
            noisy = x + spread * torch.randn(x.shape, generator=generator)
            levels = blurs @ noisy @ blurs.transpose(-1, -2)
            for first in range(0, steps, batch):
                last = min(first + batch, steps)
                y = levels[first:last].to(memory_format=layout).requires_grad_(True)
                gradient = torch.autograd.grad(model(y)[:, 0].sum(), y)[0]
                total += (gradient * (levels[first + 1 : last + 1] - levels[first:last])).sum(0)
        return -total / draws

    return Prepared(explain, draws * steps)


def pair(request: Request) -> Prepared:
    model, layout = network(request["model"], "tuned")
    x = pictures({**request, "batch": 1})[0].transpose(1, 2, 0)

    def call(images: np.ndarray, call_model_args: object, expected_keys: object) -> dict[str, np.ndarray]:
        y = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32))
        y = y.to(memory_format=layout).requires_grad_(True)
        gradient = torch.autograd.grad(model(y)[:, 0].sum(), y)[0]
        return {saliency.INPUT_OUTPUT_GRADIENTS: gradient.numpy().transpose(0, 2, 3, 1)}

    def explain() -> np.ndarray:
        return saliency.BlurIG().GetMask(x, call, max_sigma=50, steps=request["steps"], batch_size=request["batch"])

    return Prepared(explain, request["steps"])


def captum(request: Request) -> Prepared:
    model, layout = network(request["model"], "tuned")
    x = torch.from_numpy(pictures({**request, "batch": 1})).to(memory_format=layout)
    method = IntegratedGradients(model)

    def explain() -> torch.Tensor:
        return method.attribute(x, target=0, n_steps=request["steps"], internal_batch_size=request["batch"])

    return Prepared(explain, request["steps"])


def prepare(request: Request) -> Prepared:
    return {"nested": nested, "pair": pair, "captum": captum}[request["variant"]](request)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve(prepare)
