"""Limpid's operators in plain PyTorch, to check descriptions: `interpret` and `compare`.

It shares no code with the translation, so a wrong description cannot be confirmed by the mistake
that made it.
"""

import math

import torch
import torch.nn.functional as F


class Mismatch(Exception):
    """A description computes something other than the model."""


def constants(graph, dtype):
    return {
        n: torch.tensor(c["values"], dtype=dtype).reshape(c["shape"]) for n, c in graph.get("constants", {}).items()
    }


def interpret(graph, weights, x, see=None):
    """The output of the graph for a batch `x`; `see(name, value)` is called for every value."""
    values = {graph["inputs"][0]["name"]: x}
    known = {**weights, **constants(graph, x.dtype)}
    last = {name: node["name"] for node in graph["nodes"] for name in node["inputs"]}
    if see:
        see(graph["inputs"][0]["name"], x)
    for node in graph["nodes"]:
        inputs = [values[n] if n in values else known[n] for n in node["inputs"]]
        value = OPERATORS[node["op"]](node.get("attrs", {}), *inputs)
        (name,) = node["outputs"]
        assert name not in values and name not in known, f"{name} is made twice"
        values[name] = value
        if see:
            see(name, value)
        for name in node["inputs"]:
            if last[name] == node["name"] and name in values and name not in graph["outputs"]:
                values[name] = None
    return values[graph["outputs"][0]]


def same_pads(x, kernel, strides, dilations, upper):
    pads = []
    for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        pads.append((total // 2, total - total // 2) if upper else (total - total // 2, total // 2))
    return pads


def padded(x, at, kernel, fill=0.0):
    padding, strides, dilations = at["padding"], at.get("strides", [1, 1]), at.get("dilations", [1, 1])
    if isinstance(padding, str):
        (top, bottom), (left, right) = same_pads(x, kernel, strides, dilations, padding == "same_upper")
    else:
        top, left, bottom, right = padding["explicit"]
    return F.pad(x, (left, right, top, bottom), value=fill), (top, left, bottom, right)


def conv(at, x, weight, bias=None):
    x, _ = padded(x, at, weight.shape[2:])
    return F.conv2d(x, weight, bias, at.get("strides", 1), 0, at.get("dilations", 1), at.get("groups", 1))


def conv_transpose(at, x, weight, bias=None):
    top, left, bottom, right = at["pads"]
    assert (top, left) == (bottom, right)
    return F.conv_transpose2d(
        x, weight, bias, at["strides"], (top, left), at["output_padding"], at["groups"], at["dilations"]
    )


def window_sizes(at, x):
    """The kernel's places along H and W: the padded input is extended where ceil_mode lets a window start."""
    kernel, strides, dilations = at["kernel"], at.get("strides", [1, 1]), at.get("dilations", [1, 1])
    _, (top, left, bottom, right) = padded(x[:1, :1], at, kernel)
    extra = []
    for size, k, s, d, before, after in zip(x.shape[2:], kernel, strides, dilations, (top, left), (bottom, right)):
        span = size + before + after - d * (k - 1) - 1
        count = span // s + 1
        if at.get("ceil_mode") and span % s and count * s < size + before:
            count += 1
        extra.append(max((count - 1) * s + d * (k - 1) + 1 - (size + before + after), 0))
    return extra


def unfolded(x, at):
    """[N, C, OH, OW, kh * kw]: what every window sees of an already padded input."""
    (kh, kw), (sh, sw), (dh, dw) = at["kernel"], at.get("strides", [1, 1]), at.get("dilations", [1, 1])
    oh, ow = ((x.shape[2 + a] - d * (k - 1) - 1) // s + 1 for a, (k, s, d) in enumerate(((kh, sh, dh), (kw, sw, dw))))
    parts = [
        x[:, :, i * dh : i * dh + (oh - 1) * sh + 1 : sh, j * dw : j * dw + (ow - 1) * sw + 1 : sw]
        for i in range(kh)
        for j in range(kw)
    ]
    return torch.stack(parts, -1)


def max_pool(at, x):
    extra = window_sizes(at, x)
    y, _ = padded(x, at, at["kernel"], -math.inf)
    return unfolded(F.pad(y, (0, extra[1], 0, extra[0]), value=-math.inf), at).amax(-1)


def average_pool(at, x):
    extra = window_sizes(at, x)
    more = (0, extra[1], 0, extra[0])
    ones = torch.ones_like(x[:1, :1])
    y, _ = padded(x, at, at["kernel"])
    counted, _ = padded(ones, at, at["kernel"], 1.0 if at.get("count_include_pad") else 0.0)
    return unfolded(F.pad(y, more), at).sum(-1) / unfolded(F.pad(counted, more), at).sum(-1)


def reshape(at, x):
    shape = [x.shape[k] if e == 0 else e for k, e in enumerate(at["shape"])]
    return x.reshape(shape)


def concat(at, *values):
    axis = at["axis"]
    extents = [max(v.shape[k] for v in values) for k in range(values[0].dim())]
    return torch.cat([v.expand([-1 if k == axis else e for k, e in enumerate(extents)]) for v in values], axis)


def slice_(at, x):
    axis, start, step, count = at["axis"], at["start"], at.get("step", 1), at["count"]
    if count == -1:
        count = -(-(x.shape[axis] - start) // step) if step > 0 else start // -step + 1
    index = start + step * torch.arange(count)
    assert count > 0 and index.min() >= 0 and index.max() < x.shape[axis]
    return x.index_select(axis, index)


def pad(at, x):
    pads = [side for sides in at["pads"][::-1] for side in sides]
    mode = at.get("mode", "constant")
    if mode == "constant":
        return F.pad(x, pads, value=at.get("value", 0.0))
    return F.pad(x, pads[:4], mode={"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode])


def resize(at, x):
    mode, transform = at["mode"], at["coordinate_transformation_mode"]
    size = {"scale_factor": at["scales"][2:]} if "scales" in at else {"size": at["sizes"][2:]}
    if mode == "nearest":
        assert (transform, at["nearest_mode"]) == ("asymmetric", "floor")
        return F.interpolate(x, mode="nearest", **size)
    name = {"linear": "bilinear", "cubic": "bicubic"}[mode]
    return F.interpolate(x, mode=name, align_corners=transform == "align_corners", **size)


def depth_to_space(at, x):
    n, c, h, w = x.shape
    b = at["blocksize"]
    if at["mode"] == "CRD":
        return x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // b**2, h * b, w * b)
    return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


def gemm(at, a, b, c=None):
    y = a @ (b.mT if at.get("trans_b") else b)
    return y if c is None else y + c


def matmul(at, a, b):
    return (a.mT if at.get("trans_a") else a) @ (b.mT if at.get("trans_b") else b)


def attention(at, q, k, v, bias=None):
    scores = q @ k.mT * at.get("scale", q.shape[-1] ** -0.5)
    return (scores if bias is None else scores + bias).softmax(-1) @ v


def batch_normalization(at, x, scale, bias, mean, variance):
    scale, bias, mean, variance = (p.reshape(-1, *[1] * (x.dim() - 2)) for p in (scale, bias, mean, variance))
    return (x - mean) / torch.sqrt(variance + at["epsilon"]) * scale + bias


def layer_normalization(at, x, scale=None, bias=None):
    axes = tuple(range(at["axis"], x.dim()))
    x = x - x.mean(axes, keepdim=True)
    x = x / torch.sqrt((x * x).mean(axes, keepdim=True) + at["epsilon"])
    x = x if scale is None else x * scale
    return x if bias is None else x + bias


def rms_normalization(at, x, scale):
    axes = tuple(range(at["axis"], x.dim()))
    return x / torch.sqrt((x * x).mean(axes, keepdim=True) + at["epsilon"]) * scale


def group_normalization(at, x, scale, bias, groups=None):
    y = x.reshape(x.shape[0], groups or at["num_groups"], -1)
    y = y - y.mean(-1, keepdim=True)
    y = (y / torch.sqrt((y * y).mean(-1, keepdim=True) + at["epsilon"])).reshape(x.shape)
    rest = [1] * (x.dim() - 2)
    return y * scale.reshape(-1, *rest) + bias.reshape(-1, *rest)


def softplus(x):
    return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))


def gelu(at, x):
    if at.get("approximate", "none") == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def hard_sigmoid(at, x):
    return (at.get("alpha", 0.2) * x + at.get("beta", 0.5)).clamp(0, 1)


SIMPLE = {
    "Abs": torch.abs,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Log": torch.log,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": softplus,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
    "Mish": lambda x: x * torch.tanh(softplus(x)),
    "Silu": lambda x: x / (1 + torch.exp(-x)),
    "HardSwish": lambda x: x * hard_sigmoid({"alpha": 1 / 6}, x),
    "Selu": torch.selu,
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Pow": torch.pow,
    "Min": torch.minimum,
    "Max": torch.maximum,
    "PRelu": lambda x, s: torch.where(x < 0, s * x, x),
    "Equal": lambda a, b: (a == b).to(a.dtype),
    "Less": lambda a, b: (a < b).to(a.dtype),
    "LessOrEqual": lambda a, b: (a <= b).to(a.dtype),
    "Where": lambda c, a, b: torch.where(c != 0, a, b),
}
OPERATORS = {
    **{name: lambda at, *x, _f=f: _f(*x) for name, f in SIMPLE.items()},
    "Clip": lambda at, x: x.clamp(at.get("min"), at.get("max")),
    "Celu": lambda at, x: F.celu(x, at.get("alpha", 1.0)),
    "Elu": lambda at, x: torch.where(x > 0, x, at.get("alpha", 1.0) * torch.expm1(x)),
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": lambda at, x: torch.where(x < 0, at.get("alpha", 0.01) * x, x),
    "Reshape": reshape,
    "Flatten": lambda at, x: x.reshape(math.prod(x.shape[: at["axis"]]), -1),
    "Transpose": lambda at, x: x.permute(at["perm"]),
    "Expand": lambda at, x: x.expand(torch.broadcast_shapes(x.shape, at["shape"])),
    "Tile": lambda at, x: x.repeat(at["repeats"]),
    "Concat": concat,
    "Slice": slice_,
    "Gather": lambda at, x: x.index_select(at["axis"], torch.tensor(at["indices"])),
    "Pad": pad,
    "Resize": resize,
    "DepthToSpace": depth_to_space,
    "Roll": lambda at, x: x.roll(at["shift"], at["axis"]),
    "ReduceSum": lambda at, x: x.sum(at["axes"], keepdim=True),
    "ReduceMean": lambda at, x: x.mean(at["axes"], keepdim=True),
    "ReduceMax": lambda at, x: x.amax(at["axes"], keepdim=True),
    "ReduceMin": lambda at, x: x.amin(at["axes"], keepdim=True),
    "ReduceL2": lambda at, x: (x * x).sum(at["axes"], keepdim=True).sqrt(),
    "GlobalAveragePool": lambda at, x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "GlobalMaxPool": lambda at, x: x.amax(tuple(range(2, x.dim())), keepdim=True),
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "AdaptiveAveragePool": lambda at, x: F.adaptive_avg_pool2d(x, at["output"]),
    "Gemm": gemm,
    "MatMul": matmul,
    "Attention": attention,
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "RMSNormalization": rms_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": lambda at, x, s, b: group_normalization(at, x, s, b, x.shape[1]),
    "Softmax": lambda at, x: x.softmax(at["axis"]),
    "LogSoftmax": lambda at, x: x.log_softmax(at["axis"]),
}


def first_tensor(output):
    """What a module put out, or the first tensor of it."""
    while output is not None and not isinstance(output, torch.Tensor):
        output = (
            next(iter(output.values() if isinstance(output, dict) else output), None)
            if hasattr(output, "__iter__")
            else None
        )
    return output


class Sketch:
    """A tensor's shape, norm and two random projections: enough to recognise it, and small."""

    directions = {}

    def __init__(self, x):
        self.shape = tuple(x.shape)
        flat = x.detach().reshape(-1)
        n = flat.numel()
        if n not in self.directions:
            generator = torch.Generator().manual_seed(n)
            self.directions[n] = torch.randn(2, n, generator=generator, dtype=torch.float32).to(flat.dtype)
        self.norm = float(flat.norm())
        self.at = (self.directions[n].to(flat.dtype) @ flat).tolist()

    def differs(self, other):
        """The difference of two tensors in relation to their size; infinite for other shapes."""
        if self.shape != other.shape:
            return math.inf
        gap = max(abs(a - b) for a, b in zip(self.at, other.at))
        return gap / max(self.norm, other.norm, 1e-300)


@torch.no_grad()
def sketch_modules(model, x):
    """What a forward hook sees of every module: path -> Sketch, and the output.

    Hooks look at once, as later modules may change a value in place. A module that runs several
    times with different outputs, or puts out no floating-point tensor, has no place here.
    """
    seen, hooks, twice = {}, [], set()

    def look(path, output):
        tensor = first_tensor(output)
        if tensor is None or not tensor.dtype.is_floating_point or tensor.numel() == 0:
            return
        sketch = Sketch(tensor)
        if path in seen and seen[path].differs(sketch) > 0:
            twice.add(path)
        seen[path] = sketch

    for path, module in model.named_modules():
        if path:
            hooks.append(module.register_forward_hook(lambda _m, _i, out, path=path: look(path, out)))
    try:
        output = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    Sketch.directions.clear()
    return {p: s for p, s in seen.items() if p not in twice}, output


@torch.no_grad()
def compare(graph, weights, model, x, tolerance, path_of=lambda p: p):
    """The largest relative difference between model and description in the logits and all layers."""
    seen, expected = sketch_modules(model, x)
    seen = {path_of(p): s for p, s in seen.items()}
    found = {}
    wanted = set(graph["layers"].values())

    def see(name, value):
        if name in wanted:
            found[name] = Sketch(value)

    logits = interpret(graph, weights, x, see)
    Sketch.directions.clear()
    if logits.shape != expected.shape:
        raise Mismatch(f"the logits have the shape {list(logits.shape)}, the model's {list(expected.shape)}")
    worst = float((logits - expected).abs().max() / expected.abs().max())
    if not worst < tolerance:
        raise Mismatch(f"the logits differ by {worst:.1e}")
    for path, name in graph["layers"].items():
        error = seen[path].differs(found[name])
        if not error < tolerance:
            raise Mismatch(f"layer {path} differs by {error:.1e}")
        worst = max(worst, error)
    return worst
