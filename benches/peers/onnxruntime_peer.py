#!/usr/bin/env python3
"""onnxruntime as `protocol` wants it: forward passes.

usage: onnxruntime_peer.py THREADS
"""

import sys
from pathlib import Path

import onnxruntime
from protocol import Prepared, Request, pictures, serve


def prepare(request: Request) -> Prepared:
    if request["work"] != "forward" or request.get("precision", "f32") != "f32":
        raise ValueError("onnxruntime has forward passes in f32")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(sys.argv[1])
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    file = str(Path(request["model"]) / "model.onnx")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    x = pictures(request)
    return Prepared(lambda: session.run(None, {"x": x})[0], len(x))


if __name__ == "__main__":
    serve(prepare)
