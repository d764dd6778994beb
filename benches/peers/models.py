#!/usr/bin/env python3
"""Networks to be timed: seeded weights, batch normalisation calibrated on normal numbers.

usage: models.py OUT NAME...

Writes OUT/NAME as a bundle of Limpid with a `model.onnx` beside it, and OUT/input.f32, 32
pictures of normal numbers; what is there already is kept.
"""

import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

PICTURES = (32, 3, 224, 224)
CONFIG = ["input_size", "interpolation", "crop_pct", "mean", "std"]


def seeded(name: str) -> nn.Module:
    """The architecture with seeded weights, whose activations neither vanish nor overflow."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=1000)
    for key, parameter in model.named_parameters():
        # Residual branches begin as (almost) nothing, and would stay unseen.
        if key.endswith("gamma") or (parameter.ndim == 1 and not key.endswith("bias")):
            nn.init.uniform_(parameter, 0.5, 1.0)
    generator = torch.Generator().manual_seed(1)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        # Most units of a rectifier are open: where half of them are, rounding errors grow from
        # layer to layer, and no two programs have the same gradients.
        nn.init.uniform_(norm.bias, 1.0, 2.0)
    if norms:
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        with torch.no_grad():
            for _ in range(2):
                model(torch.randn(8, 3, 224, 224, generator=generator))
    return model.eval()


def load(bundle: str) -> nn.Module:
    """The network of a bundle, its parameters frozen."""
    config = json.loads((Path(bundle) / "config.json").read_text())
    model = timm.create_model(config["architecture"], num_classes=config["num_classes"])
    model.load_state_dict(load_file(Path(bundle) / "model.safetensors"))
    return model.eval().requires_grad_(False)


def fold(model: nn.Module) -> nn.Module:
    """The network with each batch normalisation that reads a convolution folded into it."""
    made: dict[int, tuple[nn.Module, torch.Tensor]] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def convolved(conv: nn.Module, _: object, output: torch.Tensor) -> None:
        made[id(output)] = (conv, output)  # kept alive, so that no other has its id

    def normalised(norm: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], norm))

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(convolved))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(normalised))
    with torch.no_grad():
        model(torch.zeros(1, *PICTURES[1:]))
    for hook in hooks:
        hook.remove()
    rest = {}
    for conv, norm in pairs:
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        # timm's have their activation inside.
        rest[norm] = getattr(norm, "act", nn.Identity())
    for module in list(model.modules()):
        for name, child in module.named_children():
            if child in rest:
                setattr(module, name, rest[child])
    return model.requires_grad_(False)


def write(name: str, out: Path) -> None:
    folder = out / name
    config = folder / "config.json"
    if config.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    model = seeded(name)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    batch = torch.randn(2, *PICTURES[1:])
    torch.onnx.export(
        model, (batch,), str(folder / "model.onnx"), dynamo=False, opset_version=17,
        input_names=["x"], output_names=["logits"], dynamic_axes={"x": {0: "n"}, "logits": {0: "n"}},
    )
    document = {
        "architecture": name,
        "num_classes": 1000,
        "pretrained_cfg": {k: model.pretrained_cfg[k] for k in CONFIG},
    }
    # Last: a bundle with it is whole.
    config.write_text(json.dumps(document))


def main() -> None:
    torch.set_num_threads(2)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    np.random.default_rng(0).standard_normal(PICTURES, np.float32).astype("<f4").tofile(out / "input.f32")
    for name in sys.argv[2:]:
        print(name, file=sys.stderr)
        write(name, out)


if __name__ == "__main__":
    main()
