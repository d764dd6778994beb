#!/usr/bin/env python3
"""Writes a PyTorch image classifier as a Limpid bundle: config.json, model.safetensors, graph.json.

usage: export_bundle.py timm:NAME OUT    [--weights FILE] [--classes N] [--size H [W]] [--labels FILE]
       export_bundle.py hf:DIR OUT       [--weights FILE] [--labels FILE]
       export_bundle.py hf:CONFIG.json OUT --weights FILE [--labels FILE]

timm:NAME is a model of timm, with the weights of FILE (a state dict as .safetensors) or, without
--weights, the pretrained ones, which timm downloads. hf:DIR is a directory of transformers with
config.json and model.safetensors. --random takes random weights instead, to try a network out.
--labels is a text file with one class name a line.

For any other network call `export` from Python:

    from export_bundle import export
    model = MyNetwork()
    model.load_state_dict(torch.load("my.pt", weights_only=True))
    export(model, torch.zeros(1, 3, 224, 224), "my-bundle/", labels=["T-shirt", "shoe"],
           preprocessing={"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 1.0})

The network has to take one picture tensor [N, C, H, W] and put out logits [N, classes] (a Softmax at
the end is best left off), to be exportable by `torch.export`, and to use operators that Limpid has;
an error names the one that it has not and the module that uses it. It is put into eval mode.

What is written is checked: the description is run in float64 by an interpreter of its own against
the model, at the example's size and at another; if the other size does not work, the bundle says
"fixed_size". The names of the layers are the paths of the modules, and each is the value that a
forward hook on that module sees.

Needs Python 3.11 or later, torch 2.11, safetensors; timm 1.0.31 for timm:, transformers 5.23 for hf:.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from limpid_describe import check, describe
from limpid_graph import TranslationError

DEFAULTS = {
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
TOLERANCE = 1e-6


def works_at(graph, model, shape, names):
    """Whether model and description agree for pictures of another size."""
    picture = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    try:
        check(graph, model, picture, names=names, tolerance=TOLERANCE)
    except Exception:  # whatever a network says about a size that it does not take
        return False
    return True


def export(model, example, out, *, name="network", labels=None, preprocessing=None, names=lambda name: name):
    """Writes the bundle `out` and returns its description.

    `example` is a picture tensor [1, C, H, W] (its numbers do not matter); `labels` the classes'
    names; `preprocessing` any of input_size, mean, std, interpolation, crop_pct, crop_mode as in timm
    (the others are ImageNet's); `names` turns names of tensors and modules into the bundle's.
    """
    if example.dim() != 4 or example.shape[0] != 1:
        raise TranslationError(f"the example has the shape {list(example.shape)}; give one picture [1, C, H, W]")
    model = model.eval().cpu()
    tensors = {
        names(n): t.detach().to(torch.float32).contiguous().clone()
        for n, t in model.state_dict().items()
        if t.dtype.is_floating_point
    }
    before = next((p.dtype for p in model.parameters()), torch.float32)
    model = model.double()
    _, channels, height, width = example.shape
    picture = torch.randn(example.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    preprocessing = {**DEFAULTS, "input_size": [channels, height, width], **(preprocessing or {})}
    try:
        with torch.no_grad():
            graph = describe(model, picture, names=names, defaults=preprocessing)
            check(graph, model, picture, names=names, tolerance=TOLERANCE)
            classes = model(picture).shape[1]
            if not works_at(graph, model, (channels, height + 33, width + 66), names):
                graph["fixed_size"] = True
    finally:
        model.to(before)
    if labels is not None and len(labels) != classes:
        raise TranslationError(f"{len(labels)} labels were given for {classes} classes")
    read = {n for node in graph["nodes"] for n in node["inputs"]}
    config = {"architecture": name, "num_classes": classes, "pretrained_cfg": preprocessing}
    if labels is not None:
        config["label_names"] = list(labels)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "graph.json").write_text(json.dumps(graph, separators=(",", ":")) + "\n", encoding="utf-8")
    (out / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    save_file({n: t for n, t in tensors.items() if n in read}, out / "model.safetensors")
    return graph


def from_timm(name, args):
    import timm
    from timm.layers import set_fused_attn

    set_fused_attn(True, experimental=True)
    options = {"num_classes": args.classes} if args.classes else {}
    options |= {"img_size": tuple(args.size)} if args.size and name.startswith(("vit", "deit", "swin", "mixer")) else {}
    model = timm.create_model(name, pretrained=not (args.weights or args.random), **options)
    if args.weights:
        model.load_state_dict(load_file(args.weights))
    config = {k: v for k, v in model.pretrained_cfg.items() if k in ("input_size", *DEFAULTS)}
    if args.size:
        config["input_size"] = (config["input_size"][0], *args.size)
    return model, {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}, None, lambda n: n


def from_transformers(place, args):
    import transformers

    import limpid_hf

    place = Path(place)
    directory = place if place.is_dir() else place.parent
    config = transformers.AutoConfig.from_pretrained(place)
    if args.weights or args.random:
        model = transformers.AutoModelForImageClassification.from_config(config)
    else:
        model = transformers.AutoModelForImageClassification.from_pretrained(directory)
    module, names, _ = limpid_hf.wrap(model)
    if args.weights:
        tensors = load_file(args.weights)
        module.load_state_dict(
            {n: tensors[names(n)] if names(n) in tensors else t for n, t in module.state_dict().items()}
        )
        missing = [
            names(n) for n, t in module.state_dict().items() if t.dtype.is_floating_point and names(n) not in tensors
        ]
        if missing:
            raise TranslationError(f"{args.weights} has no tensor {missing[0]}")
    size = config.image_size if isinstance(getattr(config, "image_size", None), int) else 224
    preprocessing = limpid_hf.preprocessing_of(directory, size)
    labels = [config.id2label[i] for i in range(config.num_labels)]
    return module, preprocessing, labels, names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="timm:NAME, hf:DIR or hf:CONFIG.json")
    parser.add_argument("out", type=Path, help="directory of the bundle")
    parser.add_argument("--weights", type=Path, help="a state dict as .safetensors")
    parser.add_argument("--random", action="store_true", help="random weights")
    parser.add_argument("--classes", type=int, help="number of classes (timm:)")
    parser.add_argument("--size", type=int, nargs="+", help="height and width of the input (timm:)")
    parser.add_argument("--labels", type=Path, help="text file with a class name a line")
    args = parser.parse_args()
    if args.size:
        args.size = (args.size * 2)[:2]
    kind, _, place = args.model.partition(":")
    if kind not in ("timm", "hf") or not place:
        parser.error(f"{args.model} is neither timm:NAME nor hf:PLACE")
    torch.manual_seed(0)
    try:
        model, preprocessing, labels, names = (from_timm if kind == "timm" else from_transformers)(place, args)
        if args.labels:
            labels = args.labels.read_text(encoding="utf-8").splitlines()
        example = torch.zeros(1, *preprocessing["input_size"])
        name = place if kind == "timm" else Path(place).resolve().stem
        graph = export(model, example, args.out, name=name, labels=labels, preprocessing=preprocessing, names=names)
    except (TranslationError, OSError, RuntimeError) as error:
        sys.exit(f"export_bundle: {error}")
    size = "fixed size" if graph.get("fixed_size") else "any size"
    print(f"{args.out}: {len(graph['nodes'])} nodes, {len(graph['layers'])} layers, {size}")


if __name__ == "__main__":
    main()
