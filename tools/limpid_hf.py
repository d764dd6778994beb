"""transformers' published image classifiers, built from their configurations without a download.

Each is described once, under "hf." and its published name. `config` in the description says which
config.json it serves: one whose `architectures` is among `architectures` and whose keys have the
values of `keys`; a key that is absent counts as `defaults` says, which are transformers' own.

Weights have the names of the published files. transformers 5 renames some when it loads and saves
them (`vit.layers.0.attention.q_proj` is `vit.encoder.layer.0.attention.attention.query` in a file),
and the layers have both paths.

Written with Python 3.11, torch 2.11.0, transformers 5.23.
"""

import json

import torch
import transformers
from transformers.core_model_loading import revert_weight_conversion

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def preprocessing(size, interpolation, crop_pct, crop_mode, colours):
    return {
        "input_size": [3, size, size],
        "interpolation": interpolation,
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
        **colours,
    }


def resnet(depths, layer_type):
    widths = [64, 128, 256, 512] if layer_type == "basic" else [256, 512, 1024, 2048]
    return (
        "ResNet",
        {"depths": depths, "layer_type": layer_type, "hidden_sizes": widths},
        preprocessing(224, "bicubic", 0.875, "center", IMAGENET),
    )


def vit_keys(width, layers, heads, patch, size):
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "patch_size": patch,
        "image_size": size,
    }


def vit(width, layers, heads, patch, size):
    return "ViT", vit_keys(width, layers, heads, patch, size), preprocessing(size, "bilinear", 1.0, "squash", HALF)


def deit(width, heads, size):
    """DeiT without the distillation token is published as a ViT."""
    return "ViT", vit_keys(width, 12, heads, 16, size), preprocessing(size, "bicubic", 0.875, "center", IMAGENET)


def distilled(width, heads, size):
    return (
        "DeiT",
        vit_keys(width, 12, heads, 16, size),
        preprocessing(size, "bicubic", 0.875 if size == 224 else 1.0, "center", IMAGENET),
    )


def convnext(depths, width, version=""):
    keys = {"depths": depths, "hidden_sizes": [width, 2 * width, 4 * width, 8 * width]}
    return f"ConvNext{version}", keys, preprocessing(224, "bicubic", 0.875, "center", IMAGENET)


def mobilenet_v2(multiplier, size):
    return "MobileNetV2", {"depth_multiplier": multiplier}, preprocessing(size, "bilinear", 0.875, "center", HALF)


def swin(width, depths, heads, window, size):
    keys = {
        "embed_dim": width,
        "depths": depths,
        "num_heads": [heads, 2 * heads, 4 * heads, 8 * heads],
        "window_size": window,
        "image_size": size,
    }
    return "Swin", keys, preprocessing(size, "bicubic", 1.0, "squash", IMAGENET)


SMALL, LARGE = [2, 2, 6, 2], [2, 2, 18, 2]
PUBLISHED = {
    "resnet-18": resnet([2, 2, 2, 2], "basic"),
    "resnet-26": resnet([2, 2, 2, 2], "bottleneck"),
    "resnet-34": resnet([3, 4, 6, 3], "basic"),
    "resnet-50": resnet([3, 4, 6, 3], "bottleneck"),
    "resnet-101": resnet([3, 4, 23, 3], "bottleneck"),
    "resnet-152": resnet([3, 8, 36, 3], "bottleneck"),
    "deit-tiny-patch16-224": deit(192, 3, 224),
    "deit-small-patch16-224": deit(384, 6, 224),
    "deit-tiny-distilled-patch16-224": distilled(192, 3, 224),
    "deit-small-distilled-patch16-224": distilled(384, 6, 224),
    "deit-base-distilled-patch16-224": distilled(768, 12, 224),
    "deit-base-distilled-patch16-384": distilled(768, 12, 384),
    "vit-base-patch16-224": vit(768, 12, 12, 16, 224),
    "vit-base-patch16-384": vit(768, 12, 12, 16, 384),
    "vit-base-patch32-224": vit(768, 12, 12, 32, 224),
    "vit-base-patch32-384": vit(768, 12, 12, 32, 384),
    "vit-large-patch16-224": vit(1024, 24, 16, 16, 224),
    "vit-large-patch16-384": vit(1024, 24, 16, 16, 384),
    "vit-large-patch32-384": vit(1024, 24, 16, 32, 384),
    "vit-huge-patch14-224": vit(1280, 32, 16, 14, 224),
    "convnext-tiny": convnext([3, 3, 9, 3], 96),
    "convnext-small": convnext([3, 3, 27, 3], 96),
    "convnext-base": convnext([3, 3, 27, 3], 128),
    "convnext-large": convnext([3, 3, 27, 3], 192),
    "convnext-xlarge": convnext([3, 3, 27, 3], 256),
    "convnextv2-atto": convnext([2, 2, 6, 2], 40, "V2"),
    "convnextv2-femto": convnext([2, 2, 6, 2], 48, "V2"),
    "convnextv2-pico": convnext([2, 2, 6, 2], 64, "V2"),
    "convnextv2-nano": convnext([2, 2, 8, 2], 80, "V2"),
    "convnextv2-tiny": convnext([3, 3, 9, 3], 96, "V2"),
    "convnextv2-base": convnext([3, 3, 27, 3], 128, "V2"),
    "convnextv2-large": convnext([3, 3, 27, 3], 192, "V2"),
    "convnextv2-huge": convnext([3, 3, 27, 3], 352, "V2"),
    "mobilenet_v2_0.35_96": mobilenet_v2(0.35, 96),
    "mobilenet_v2_0.75_160": mobilenet_v2(0.75, 160),
    "mobilenet_v2_1.0_224": mobilenet_v2(1.0, 224),
    "mobilenet_v2_1.4_224": mobilenet_v2(1.4, 224),
    "swin-tiny-patch4-window7-224": swin(96, SMALL, 3, 7, 224),
    "swin-small-patch4-window7-224": swin(96, LARGE, 3, 7, 224),
    "swin-base-patch4-window7-224": swin(128, LARGE, 4, 7, 224),
    "swin-large-patch4-window7-224": swin(192, LARGE, 6, 7, 224),
    "swin-base-patch4-window12-384": swin(128, LARGE, 4, 12, 384),
    "swin-large-patch4-window12-384": swin(192, LARGE, 6, 12, 384),
}
NAMES = [f"hf.{name}" for name in PUBLISHED]

# Everything in a config.json that the network's form depends on; the rest concerns training, the
# class names, or sizes that come with the weights (num_channels).
VIT_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "image_size",
    "patch_size",
    "qkv_bias",
)
CONVNEXT_KEYS = ("patch_size", "num_stages", "hidden_sizes", "depths", "hidden_act", "layer_norm_eps")
STRUCTURE = {
    "ResNet": (
        "embedding_size",
        "hidden_sizes",
        "depths",
        "layer_type",
        "hidden_act",
        "downsample_in_first_stage",
        "downsample_in_bottleneck",
    ),
    "ViT": VIT_KEYS,
    "DeiT": VIT_KEYS,
    "ConvNext": CONVNEXT_KEYS,
    "ConvNextV2": CONVNEXT_KEYS,
    "MobileNetV2": (
        "depth_multiplier",
        "depth_divisible_by",
        "min_depth",
        "expand_ratio",
        "output_stride",
        "first_layer_is_expansion",
        "finegrained_output",
        "hidden_act",
        "tf_padding",
        "layer_norm_eps",
    ),
    "Swin": (
        "image_size",
        "patch_size",
        "embed_dim",
        "depths",
        "num_heads",
        "window_size",
        "mlp_ratio",
        "qkv_bias",
        "hidden_act",
        "use_absolute_embeddings",
        "layer_norm_eps",
    ),
}
FIXED_SIZE = ("ViT", "DeiT", "Swin")


RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def preprocessing_of(directory, size):
    """timm's keys for the preprocessor_config.json in `directory`, if there is one."""
    path = directory / "preprocessor_config.json"
    given = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    edges = given.get("size", size)
    whole, crop = edges, given.get("crop_size", {})
    if isinstance(edges, dict):
        whole = edges.get("height") or edges.get("shortest_edge") or size
    crop = crop.get("height", whole) if isinstance(crop, dict) and given.get("do_center_crop", True) else crop or whole
    if "crop_pct" in given:
        crop_pct, crop = given["crop_pct"], whole
    else:
        crop_pct = crop / whole
    squash = (
        isinstance(edges, dict)
        and "height" in edges
        or isinstance(edges, int)
        and crop == whole
        and "crop_pct" not in given
    )
    colours = {k: given.get(f"image_{k}", IMAGENET[k]) for k in ("mean", "std")}
    return preprocessing(
        crop, RESAMPLING.get(given.get("resample"), "bicubic"), crop_pct, "squash" if squash else "center", colours
    )


class Logits(torch.nn.Module):
    """The model as a function of the picture alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(pixel_values=x).logits


def plain(value):
    return list(value) if isinstance(value, tuple) else value


def file_names(model):
    """A tensor's name in the model -> its name in a published file."""
    state = {name: torch.empty(0) for name in model.state_dict()}
    renamed = revert_weight_conversion(model, dict(state))
    by_tensor = {id(t): n for n, t in renamed.items()}
    return {name: by_tensor[id(t)] for name, t in state.items()}


def module_aliases(renamed, paths):
    """The paths of modules in published code, from the names of their tensors: new -> old."""
    aliases = {}
    for new, old in renamed.items():
        new, old = new.rsplit(".", 1)[0], old.rsplit(".", 1)[0]
        while new != old and new and old:
            aliases.setdefault(new, set()).add(old)
            new, _, tail = new.rpartition(".")
            old, _, other = old.rpartition(".")
            if tail != other:
                break
    return {new: old.pop() for new, old in aliases.items() if len(old) == 1 and new in paths}


def wrap(model):
    """A transformers classifier as `describe` wants it: the module, and its names' translation."""
    renamed = file_names(model)

    def names(name):
        name = name.removeprefix("model.") if name != "model" else ""
        return renamed.get(name, name)

    paths = {p for p, _ in model.named_modules()}
    return Logits(model).eval(), names, module_aliases(renamed, paths)


def build(name, classes, initialisation):
    """(module, preprocessing, fixed size, extra keys of the description, names, what makes it narrow)."""
    family, keys, defaults = PUBLISHED[name.removeprefix("hf.")]
    config_class = getattr(transformers, f"{family}Config")
    architecture = f"{family}ForImageClassification" + ("WithTeacher" if family == "DeiT" else "")
    config = config_class(**keys, num_labels=classes)
    with initialisation:
        model = getattr(transformers, architecture)(config)
    module, names, aliases = wrap(model)
    default = config_class()
    structure = STRUCTURE[family]
    extra = {
        "config": {
            "architectures": [architecture],
            "keys": {k: plain(getattr(config, k)) for k in structure},
            "defaults": {k: plain(getattr(default, k)) for k in structure},
        },
        "aliases": aliases,
    }
    narrow = {"ViT": "hidden_size", "DeiT": "hidden_size", "Swin": "embed_dim"}.get(family)
    if family.startswith("ConvNext"):
        change = {"hidden_sizes": [8, 16, 32, 64]}
    elif narrow:
        change = {narrow: 8 * (keys["num_heads"][0] if family == "Swin" else keys["num_attention_heads"])}

    def twin():
        return Logits(
            getattr(transformers, architecture)(config_class(**{**keys, **change}, num_labels=classes))
        ).eval()

    return (
        module,
        defaults,
        family in FIXED_SIZE,
        extra,
        names,
        twin if narrow or family.startswith("ConvNext") else None,
    )
