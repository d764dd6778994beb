#!/usr/bin/env python3
"""Stacks of blurs as `protocol` wants them.

usage: blur_peer.py THREADS

`variant` is `numpy` or `torch`, two dense products a blur whose matrices are there already, or
`opencv`.
"""

import sys

import cv2
import numpy as np
import torch
from blur import matrix, sigmas
from protocol import Prepared, Request, pictures, serve


def prepare(request: Request) -> Prepared:
    x = pictures({**request, "batch": 1})[0]
    n, values = x.shape[1], sigmas(request["batch"])
    if request["variant"] == "opencv":
        planes = np.ascontiguousarray(x.transpose(1, 2, 0))

        def blurred() -> np.ndarray:
            blur = [cv2.GaussianBlur(planes, (0, 0), s, borderType=cv2.BORDER_REFLECT) if s else planes for s in values]
            return np.stack(blur).transpose(0, 3, 1, 2)

        return Prepared(blurred, len(values))
    matrices = np.stack([matrix(n, s) for s in values])
    out = np.empty((len(values), *x.shape), np.float32)
    half = np.empty_like(x)
    if request["variant"] == "torch":
        multiply, (x, matrices, out, half) = torch.matmul, map(torch.from_numpy, (x, matrices, out, half))
    else:
        multiply = np.matmul

    def products() -> np.ndarray:
        for one, blur in zip(matrices, out):
            multiply(one, x, out=half)
            multiply(half, one.T, out=blur)
        return out

    return Prepared(products, len(values))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    cv2.setNumThreads(int(sys.argv[1]))
    serve(prepare)
