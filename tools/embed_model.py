#!/usr/bin/env python3
"""Makes the embedded form of a timm bundle: weights rounded to binary16.

usage: embed_model.py SOURCE_DIR OUT_DIR

SOURCE_DIR holds config.json and model.safetensors (f32). OUT_DIR receives a
compact config.json and model.safetensors.

- `num_batches_tracked` and every other integer tensor is dropped: inference does not use it.
- Weights of two or more dimensions are rounded to f16 (to nearest, ties to even).
- One-dimensional tensors (biases, BatchNorm parameters and statistics) are rounded to f16
  unless an element would lose more than 2^-11 of itself (a binary16 subnormal) or overflow;
  then the whole tensor, a few kilobytes, stays f32.

A weight below 2^-14 also loses relative precision, but by at most 2^-25 absolutely. So a weight
tensor is refused when its rounding error exceeds 2^-11 of the tensor in the L2 norm, or when a
value overflows. What was done is printed.

Written with Python 3.11, numpy 2.4.6, safetensors 0.8.0.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

UNIT_ROUNDOFF = 2.0**-11


def element_loss(exact, rounded):
    """The largest relative error of any non-zero element."""
    nonzero = exact != 0
    if not nonzero.any():
        return 0.0
    return float((np.abs(rounded - exact)[nonzero] / np.abs(exact)[nonzero]).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="directory with config.json and model.safetensors in f32")
    parser.add_argument("out", type=Path, help="directory to write config.json and model.safetensors to")
    args = parser.parse_args()

    out, kept, flushed, worst, dropped = {}, [], 0, (0.0, ""), 0
    variances = []
    with safe_open(args.source / "model.safetensors", "np") as weights:
        for name in sorted(weights.keys()):
            tensor = weights.get_tensor(name)
            if not np.issubdtype(tensor.dtype, np.floating):
                dropped += 1
                continue
            exact = tensor.astype(np.float64)
            with np.errstate(over="ignore"):
                half = tensor.astype(np.float16)
            rounded = half.astype(np.float64)
            finite = bool(np.isfinite(rounded).all())
            if name.endswith("running_var"):
                variances.append((float(exact.min()), float(exact.max()), name))
            if tensor.ndim < 2 and (not finite or element_loss(exact, rounded) > UNIT_ROUNDOFF):
                kept.append(name)
                out[name] = tensor.astype(np.float32)
                continue
            if not finite:
                sys.exit(f"{name}: a value overflows binary16")
            loss = float(np.linalg.norm(rounded - exact) / max(np.linalg.norm(exact), 1e-300))
            if loss > UNIT_ROUNDOFF:
                sys.exit(f"{name}: binary16 loses {loss:.2e} of the tensor (L2)")
            worst = max(worst, (loss, name))
            flushed += int(((rounded == 0) & (exact != 0)).sum())
            out[name] = half

    args.out.mkdir(parents=True, exist_ok=True)
    save_file(out, args.out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((args.source / "config.json").read_text(encoding="utf-8"))
    (args.out / "config.json").write_text(
        json.dumps(config, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
    )

    print(f"{len(out)} tensors, {dropped} integer tensors dropped")
    print(f"f16: {len(out) - len(kept)} tensors, worst relative L2 error {worst[0]:.2e} ({worst[1]}), "
          f"{flushed} tiny values became 0")
    print(f"f32: {len(kept)} tensors, {sum(out[k].nbytes for k in kept)} bytes: " + ", ".join(kept))
    if variances:
        print(f"running_var: smallest {min(variances)[0]:.3g}, largest {max(v[1] for v in variances):.6g} "
              f"(binary16 holds 65504)")
    print(f"model.safetensors: {(args.out / 'model.safetensors').stat().st_size} bytes, "
          f"config.json: {(args.out / 'config.json').stat().st_size} bytes")


if __name__ == "__main__":
    main()
