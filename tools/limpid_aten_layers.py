"""The rules of `limpid_graph.Translator`, second part: reductions, windows, products and norms."""

import math

import torch

from limpid_aten import BATCH, pair, pointwise, rule, square


# Reductions and pooling


def axes_of(x, dims):
    rank = len(x.shape)
    return sorted(
        d % rank for d in (range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims)
    )


def reduce_(t, op, x, dims, keepdim, **attrs):
    axes = axes_of(x, dims)
    if 0 in axes and x.picture:
        t.fail("sums over the batch")
    x = t.full(x)
    kept = [1 if k in axes else e for k, e in enumerate(x.shape)]
    if op == "ReduceMean" and len(x.shape) == 4 and axes == [2, 3]:
        y = t.emit("GlobalAveragePool", [x], kept)
    else:
        y = t.emit(op, [x], kept, axes=axes)
    return y if keepdim else t.reshape(y, [e for k, e in enumerate(kept) if k not in axes])


@rule("mean")
def mean(t, x, dims=None, keepdim=False, dtype=None):
    return reduce_(t, "ReduceMean", x, dims, keepdim)


@rule("sum")
def sum_(t, x, dims=None, keepdim=False, dtype=None):
    return reduce_(t, "ReduceSum", x, dims, keepdim)


@rule("amax")
def amax(t, x, dims=None, keepdim=False):
    return reduce_(t, "ReduceMax", x, dims, keepdim)


@rule("amin")
def amin(t, x, dims=None, keepdim=False):
    return reduce_(t, "ReduceMin", x, dims, keepdim)


@rule("linalg_vector_norm", "norm")
def norm(t, x, order=2, dims=None, keepdim=False, dtype=None):
    if order == 1:
        return reduce_(t, "ReduceSum", pointwise(t, "Abs", x), dims, keepdim)
    if order != 2:
        t.fail(f"is a norm of order {order}")
    return reduce_(t, "ReduceL2", x, dims, keepdim)


@rule("var")
def var(t, x, dims=None, unbiased=True, keepdim=False, correction=None):
    axes = axes_of(x, dims)
    count = math.prod(x.shape[a] for a in axes)
    correction = (1 if unbiased else 0) if correction is None else correction
    centred = pointwise(t, "Sub", x, reduce_(t, "ReduceMean", x, axes, True))
    y = reduce_(t, "ReduceMean", square(t, centred), axes, keepdim)
    return y if correction == 0 else pointwise(t, "Mul", y, count / (count - correction))


def explicit(pads):
    top, left = pair(pads)
    return {"explicit": [top, left, top, left]}


@rule("adaptive_avg_pool2d")
def adaptive_avg_pool2d(t, x, output):
    x = t.full(x)
    if pair(output) == [1, 1]:
        return t.emit("GlobalAveragePool", [x], t.fake.shape)
    return t.emit("AdaptiveAveragePool", [x], t.fake.shape, output=pair(output))


@rule("adaptive_avg_pool1d")
def adaptive_avg_pool1d(t, x, output):
    if list(output) != [1]:
        t.fail("has more than one window")
    return reduce_(t, "ReduceMean", x, [2], True)


@rule("adaptive_max_pool2d")
def adaptive_max_pool2d(t, x, output):
    if pair(output) != [1, 1]:
        t.fail("has more than one window")
    y = t.emit("GlobalMaxPool", [t.full(x)], (*x.shape[:2], 1, 1))
    return [y, None]


def pool(t, op, x, kernel, stride, padding, ceil_mode, **attrs):
    # TensorFlow's SAME modules pad for the size at hand; the description says what they mean.
    x, padding = before_window(t, t.full(x), padding)
    attrs = {"kernel": pair(kernel), "strides": pair(stride or kernel), **attrs, "padding": padding}
    if ceil_mode:
        attrs["ceil_mode"] = True
    return t.emit(op, [x], t.fake.shape if isinstance(t.fake, torch.Tensor) else t.fake[0].shape, **attrs)


@rule("max_pool2d")
def max_pool2d(t, x, kernel, stride=(), padding=(0,), dilation=(1,), ceil_mode=False):
    attrs = {} if pair(dilation) == [1, 1] else {"dilations": pair(dilation)}
    return pool(t, "MaxPool", x, kernel, stride, padding, ceil_mode, **attrs)


@rule("max_pool2d_with_indices")
def max_pool2d_with_indices(t, *args):
    return [max_pool2d(t, *args), None]


@rule("avg_pool2d")
def avg_pool2d(t, x, kernel, stride=(), padding=(0,), ceil_mode=False, count_include_pad=True, divisor=None):
    if divisor is not None:
        t.fail("divides by a number of its own")
    same = t.inside(t.same_modules)
    include = count_include_pad and (same or any(padding) or ceil_mode)
    return pool(
        t, "AveragePool", x, kernel, stride, padding, ceil_mode, **({"count_include_pad": True} if include else {})
    )


# Products


def before_window(t, x, padding):
    """The input and padding of a window, with a Pad before it taken in."""
    node = x.node
    same = t.inside(t.same_modules)
    before = node is not None and node.op == "Pad" and node.attrs.get("mode") is None
    if same and not any(padding):
        inside = before and (node.path == t.path or t.path.startswith(node.path + "."))
        return (node.inputs[0] if inside else x), "same_upper"
    if before and "value" not in node.attrs and t.target.startswith("aten.conv"):
        batch, channels, (top, bottom), (left, right) = node.attrs["pads"]
        if batch == channels == [0, 0] and min(top, bottom, left, right) >= 0:
            pt, pl = pair(padding)
            return node.inputs[0], {"explicit": [top + pt, left + pl, bottom + pt, right + pl]}
    return x, explicit(padding)


@rule("conv2d")
def conv2d(t, x, weight, bias=None, stride=(1,), padding=(0,), dilation=(1,), groups=1):
    kernel, dilation = weight.shape[2:], pair(dilation)
    x = t.full(x)
    if padding == "valid":
        padding = [0, 0]
    if padding == "same":
        sides = [(d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for k, d in zip(kernel, dilation)]
        padding = {"explicit": [sides[0][0], sides[1][0], sides[0][1], sides[1][1]]}
    else:
        x, padding = before_window(t, x, padding)
    inputs = [x, weight] if bias is None else [x, weight, bias]
    return t.emit(
        "Conv", inputs, t.fake.shape, strides=pair(stride), dilations=dilation, groups=groups, padding=padding
    )


@rule("conv1d")
def conv1d(t, x, weight, bias=None, stride=(1,), padding=(0,), dilation=(1,), groups=1):
    x = t.reshape(x, (*x.shape[:2], 1, x.shape[2]))
    weight = t.reshape(weight, (*weight.shape[:2], 1, weight.shape[2]))
    inputs = [x, weight] if bias is None else [x, weight, bias]
    shape = (*t.fake.shape[:2], 1, t.fake.shape[2])
    y = t.emit(
        "Conv",
        inputs,
        shape,
        strides=[1, *stride],
        dilations=[1, *dilation],
        groups=groups,
        padding=explicit([0, *padding]),
    )
    return t.reshape(y, t.fake.shape)


@rule("conv_transpose2d")
def conv_transpose2d(t, x, weight, bias=None, stride=(1,), padding=(0,), output_padding=(0,), groups=1, dilation=(1,)):
    inputs = [t.full(x), weight] if bias is None else [t.full(x), weight, bias]
    return t.emit(
        "ConvTranspose",
        inputs,
        t.fake.shape,
        strides=pair(stride),
        dilations=pair(dilation),
        groups=groups,
        pads=explicit(padding)["explicit"],
        output_padding=pair(output_padding),
    )


@rule("linear")
def linear(t, x, weight, bias=None):
    x = t.written(x)
    if len(x.shape) < 2:
        t.fail("has an input of one axis")
    if x.actual[-1] != x.shape[-1]:
        x = t.full(x)
    inputs = [x, weight] if bias is None else [x, weight, bias]
    out = weight.shape[0]
    return t.emit("Gemm", inputs, (*x.shape[:-1], out), actual=(*x.actual[:-1], out), trans_b=True)


@rule("addmm")
def addmm(t, bias, x, weight):
    return t.emit("Gemm", [x, weight, bias], t.fake.shape)


@rule("matmul", "bmm", "mm")
def matmul(t, a, b):
    if not b.picture and len(b.shape) == 2 and b.base is None and len(a.shape) >= 2:
        return t.emit("Gemm", [a, b], t.fake.shape)
    if min(len(a.shape), len(b.shape)) < 2:
        t.fail("multiplies by a vector")
    attrs, inputs = {}, []
    for value, flag in ((a, "trans_a"), (b, "trans_b")):
        value = t.written(value)
        node, rank = value.node, len(value.shape)
        swapped = [*range(rank - 2), rank - 1, rank - 2]
        if node is not None and node.op == "Transpose" and node.attrs["perm"] == swapped:
            value, attrs[flag] = node.inputs[0], True
        inputs.append(value)
    return t.emit("MatMul", inputs, t.fake.shape, **attrs)


@rule("scaled_dot_product_attention")
def attention(t, q, k, v, mask=None, dropout=0.0, is_causal=False, scale=None, enable_gqa=False):
    if is_causal or enable_gqa:
        t.fail("is causal or has grouped heads")
    q, k, v = (t.full(t.written(x)) for x in (q, k, v))
    if not (q.picture and k.picture and v.picture) or len(q.shape) != 4:
        t.fail("attends with something other than computed [N, heads, tokens, d]")
    attrs = {}
    if scale is not None and not math.isclose(scale, q.shape[-1] ** -0.5, rel_tol=1e-12):
        attrs["scale"] = float(scale)
    shape = q.shape[:-1] + v.shape[-1:]
    if mask is None:
        return t.emit("Attention", [q, k, v], shape, **attrs)
    period = 1 if mask.picture or len(mask.shape) < 4 else mask.actual[0]
    if period == 1:
        return t.emit("Attention", [q, k, v, mask], shape, **attrs)
    # One bias a window: windows become heads, so that the bias does not repeat along the batch.
    heads = q.shape[1]
    if mask.actual[1] != heads:
        target = (period, heads, *mask.actual[2:])
        mask = t.emit("Expand", [mask], (BATCH * period, *target[1:]), actual=target, shape=[1, heads, 1, 1])
    bias = t.emit("Reshape", [mask], (1, period * heads, *mask.actual[2:]), shape=[1, period * heads, *mask.actual[2:]])
    wide = [t.reshape(x, (x.shape[0] // period, period * heads, *x.shape[2:])) for x in (q, k, v)]
    y = t.emit("Attention", [*wide, bias], (*wide[0].shape[:-1], v.shape[-1]), **attrs)
    return t.reshape(y, shape)


# Normalisation and softmax


@rule("batch_norm", "_native_batch_norm_legit_no_training")
def batch_norm(t, x, scale, bias, mean_, variance, *rest):
    training, epsilon = (rest[0], rest[2]) if len(rest) > 2 else (False, rest[1])
    if training or mean_ is None:
        t.fail("measures its statistics on the batch; call model.eval()")
    scale = t.literal(torch.ones(x.shape[1])) if scale is None else scale
    bias = t.literal(torch.zeros(x.shape[1])) if bias is None else bias
    return t.emit("BatchNormalization", [t.full(x), scale, bias, mean_, variance], x.shape, epsilon=epsilon)


@rule("layer_norm")
def layer_norm(t, x, shape, scale=None, bias=None, epsilon=1e-5, *_):
    x = t.full(x) if x.picture else x
    if bias is not None and scale is None:
        t.fail("has a bias but no scale")
    inputs = [x, *(p for p in (scale, bias) if p is not None)]
    return t.emit(
        "LayerNormalization", inputs, x.shape, actual=x.actual, axis=len(x.shape) - len(shape), epsilon=epsilon
    )


@rule("rms_norm")
def rms_norm(t, x, shape, scale=None, epsilon=None):
    scale = t.literal(torch.ones(shape)) if scale is None else scale
    epsilon = torch.finfo(torch.float32).eps if epsilon is None else epsilon
    return t.emit("RMSNormalization", [t.full(x), scale], x.shape, axis=len(x.shape) - len(shape), epsilon=epsilon)


@rule("group_norm")
def group_norm(t, x, groups, scale=None, bias=None, epsilon=1e-5, *_):
    scale = t.literal(torch.ones(x.shape[1])) if scale is None else scale
    bias = t.literal(torch.zeros(x.shape[1])) if bias is None else bias
    return t.emit("GroupNormalization", [t.full(x), scale, bias], x.shape, num_groups=groups, epsilon=epsilon)


@rule("instance_norm")
def instance_norm(t, x, scale, bias, mean_, variance, use_input_stats, momentum, epsilon, *_):
    if not use_input_stats:
        return batch_norm(t, x, scale, bias, mean_, variance, False, momentum, epsilon)
    scale = t.literal(torch.ones(x.shape[1])) if scale is None else scale
    bias = t.literal(torch.zeros(x.shape[1])) if bias is None else bias
    return t.emit("InstanceNormalization", [t.full(x), scale, bias], x.shape, epsilon=epsilon)


@rule("softmax", "_softmax")
def softmax(t, x, axis, *_):
    return t.emit("Softmax", [t.full(x)], x.shape, axis=axis % len(x.shape))


@rule("log_softmax", "_log_softmax")
def log_softmax(t, x, axis, *_):
    return t.emit("LogSoftmax", [t.full(x)], x.shape, axis=axis % len(x.shape))
