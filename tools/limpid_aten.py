"""The rules of `limpid_graph.Translator`: ATen's operators in Limpid's. Here are those that work by
element and those that move data; limpid_aten_layers.py has reductions, windows, products and norms.

`OPERATORS` maps an ATen operator (without overload; `relu_` works as `relu`) to
    "alias"     the value is its first argument's
    "nothing"   there is nothing to write
    a function  (translator, *arguments) -> Value or list of Values
"""

import torch

BATCH = 1009  # the traced batch: a prime, so that an extent which it divides has the batch in it
OPERATORS = {}


def rule(*names):
    def register(function):
        for name in names:
            OPERATORS[name] = function
        return function

    return register


for _name in (
    "alias",
    "contiguous",
    "clone",
    "detach",
    "dropout",
    "feature_dropout",
    "lift_fresh_copy",
    "to",
    "_to_copy",
    "type_as",
):
    OPERATORS[_name] = "alias"
for _name in ("_assert_tensor_metadata", "_assert_scalar"):
    OPERATORS[_name] = "nothing"


def is_value(x):
    return hasattr(x, "actual")


def as_value(t, x):
    return x if is_value(x) else t.scalar(x)


def pair(x):
    return list(x) * 2 if len(x) == 1 else list(x)


def broadcast(t, *values):
    """The operands as nodes may read them, with the shapes of their result."""
    values = [t.written(as_value(t, v)) for v in values]
    shape = torch.broadcast_shapes(*[v.shape for v in values])
    try:
        actual = torch.broadcast_shapes(*[v.actual for v in values])
    except RuntimeError:
        t.fail("adds a pattern that repeats along the batch")
    return values, shape, actual


def pointwise(t, op, *values, **attrs):
    values, shape, actual = broadcast(t, *values)
    return t.emit(op, values, shape, actual=actual, **attrs)


# Pointwise

UNARY = {
    "abs": "Abs",
    "ceil": "Ceil",
    "cos": "Cos",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "hardswish": "HardSwish",
    "log": "Log",
    "mish": "Mish",
    "neg": "Neg",
    "reciprocal": "Reciprocal",
    "round": "Round",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "silu": "Silu",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}
for _aten, _op in UNARY.items():
    OPERATORS[_aten] = lambda t, x, _op=_op: pointwise(t, _op, x)


@rule("relu")
def relu(t, x):
    return pointwise(t, "Clip", x, min=0.0)


@rule("relu6")
def relu6(t, x):
    return pointwise(t, "Clip", x, min=0.0, max=6.0)


@rule("hardtanh", "clamp", "clip")
def clamp(t, x, low=None, high=None):
    if t.target.startswith("aten.hardtanh"):
        low, high = -1.0 if low is None else low, 1.0 if high is None else high
    if is_value(low) or is_value(high):
        x = x if low is None else pointwise(t, "Max", x, low)
        return x if high is None else pointwise(t, "Min", x, high)
    return pointwise(t, "Clip", x, **{k: float(v) for k, v in (("min", low), ("max", high)) if v is not None})


@rule("clamp_min")
def clamp_min(t, x, low):
    return clamp(t, x, low, None)


@rule("clamp_max")
def clamp_max(t, x, high):
    return clamp(t, x, None, high)


@rule("hardsigmoid")
def hardsigmoid(t, x):
    return pointwise(t, "HardSigmoid", x, alpha=1 / 6, beta=0.5)


@rule("leaky_relu")
def leaky_relu(t, x, slope=0.01):
    return pointwise(t, "LeakyRelu", x, alpha=float(slope))


@rule("elu")
def elu(t, x, alpha=1.0, scale=1.0, input_scale=1.0):
    if (scale, input_scale) != (1, 1):
        t.fail("scales its input or output")
    return pointwise(t, "Elu", x, alpha=float(alpha))


@rule("celu")
def celu(t, x, alpha=1.0):
    return pointwise(t, "Celu", x, alpha=float(alpha))


@rule("selu")
def selu(t, x):
    return pointwise(t, "Selu", x)


@rule("softplus")
def softplus(t, x, beta=1.0, threshold=20.0):
    if beta != 1:
        t.fail("has a beta other than 1")
    return pointwise(t, "Softplus", x)


@rule("gelu")
def gelu(t, x, approximate="none"):
    return pointwise(t, "Gelu", x, **({} if approximate == "none" else {"approximate": approximate}))


@rule("rsqrt")
def rsqrt(t, x):
    return pointwise(t, "Reciprocal", pointwise(t, "Sqrt", x))


@rule("square")
def square(t, x):
    return pointwise(t, "Mul", x, x)


@rule("add")
def add(t, a, b, alpha=1):
    return pointwise(t, "Add", a, b if alpha == 1 else pointwise(t, "Mul", b, alpha))


@rule("sub")
def sub(t, a, b, alpha=1):
    return pointwise(t, "Sub", a, b if alpha == 1 else pointwise(t, "Mul", b, alpha))


@rule("rsub")
def rsub(t, a, b, alpha=1):
    return sub(t, b, a, alpha)


BINARY = {
    "mul": "Mul",
    "multiply": "Mul",
    "minimum": "Min",
    "maximum": "Max",
    "eq": "Equal",
    "lt": "Less",
    "le": "LessOrEqual",
}
for _aten, _op in BINARY.items():
    OPERATORS[_aten] = lambda t, a, b, _op=_op: pointwise(t, _op, a, b)


@rule("div", "divide")
def div(t, a, b, rounding_mode=None):
    if rounding_mode is not None:
        t.fail("rounds its quotient")
    return pointwise(t, "Div", a, b)


@rule("gt")
def gt(t, a, b):
    return pointwise(t, "Less", b, a)


@rule("ge")
def ge(t, a, b):
    return pointwise(t, "LessOrEqual", b, a)


@rule("pow")
def power(t, a, b):
    if b == 2:
        return square(t, a)
    return pointwise(t, "Pow", a, b)


@rule("where")
def where(t, condition, a, b):
    return pointwise(t, "Where", condition, a, b)


@rule("addcmul")
def addcmul(t, x, a, b, value=1):
    product = pointwise(t, "Mul", a, b)
    return pointwise(t, "Add", x, product if value == 1 else pointwise(t, "Mul", product, value))


@rule("_prelu_kernel", "prelu")
def prelu(t, x, slope):
    if slope.shape and len(slope.shape) == 1 and len(x.shape) > 2:
        slope = t.reshape(slope, (1, slope.shape[0], *[1] * (len(x.shape) - 2)))
    return pointwise(t, "PRelu", x, slope)


# Shape and data movement


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze")
def reshape(t, x, *_):
    return t.reshape(x, t.fake.shape)


@rule("permute")
def permute(t, x, dims):
    return t.permute(x, [d % len(x.shape) for d in dims])


@rule("transpose", "swapaxes")
def transpose(t, x, a, b):
    perm = list(range(len(x.shape)))
    perm[a], perm[b] = perm[b], perm[a]
    return t.permute(x, perm)


@rule("t", "numpy_T", "mT")
def transpose_last(t, x):
    return transpose(t, x, -1, -2) if len(x.shape) > 1 else x


@rule("expand", "expand_as")
def expand(t, x, *_, implicit=False):
    shape = tuple(t.fake.shape)
    x = t.written(x)
    if shape == x.shape:
        return x
    new = (1,) * (len(shape) - len(x.shape))
    if new:
        if x.picture:
            t.fail("adds an axis before the batch")
        x = t.reshape(x, new + x.shape)
    return x.seen_as(shape)


@rule("repeat", "tile")
def repeat(t, x, repeats):
    new = len(repeats) - len(x.shape)
    if new:
        x = t.reshape(x, (1,) * new + x.shape)
    shape = tuple(e * r for e, r in zip(x.shape, repeats))
    if not x.picture and len(repeats) and repeats[0] % BATCH == 0:
        repeats = [repeats[0] // BATCH, *repeats[1:]]
    elif x.picture and repeats[0] != 1:
        t.fail("repeats the batch")
    if all(r == 1 for r in repeats):
        return x.seen_as(shape)
    actual = tuple(e * r for e, r in zip(x.actual, repeats))
    return t.emit("Tile", [x], shape, actual=actual, repeats=list(repeats))


@rule("cat", "concat", "concatenate")
def concat(t, values, axis=0):
    axis %= len(values[0].shape)
    values = [v for v in values if v.shape != (0,)]
    values = [v if v.actual[axis] == v.shape[axis] else t.full(v) for v in map(t.written, values)]
    if axis == 0 and any(v.picture for v in values):
        t.fail("joins along the batch")
    shape = list(values[0].shape)
    shape[axis] = sum(v.shape[axis] for v in values)
    actual = [max(v.actual[k] for v in values) for k in range(len(shape))]
    actual[axis] = shape[axis]
    return t.emit("Concat", values, shape, actual=actual, axis=axis)


@rule("stack")
def stack(t, values, axis=0):
    axis %= len(values[0].shape) + 1
    return concat(t, [t.reshape(v, v.shape[:axis] + (1,) + v.shape[axis:]) for v in values], axis)


@rule("slice", "narrow")
def slice_(t, x, axis=0, start=None, end=None, step=1):
    axis %= len(x.shape)
    extent = x.shape[axis]
    if t.target.startswith("aten.narrow"):
        end = start % extent + end if extent else 0
    start, end, step = slice(start, end, step).indices(extent)
    return t.slice(x, axis, start, step, len(range(start, end, step)))


@rule("select")
def select(t, x, axis, index):
    axis %= len(x.shape)
    return t.select(x, axis, index % x.shape[axis])


@rule("unbind")
def unbind(t, x, axis=0):
    axis %= len(x.shape)
    return Parts(t, x.shape[axis], lambda i: t.select(x, axis, i))


@rule("split", "split_with_sizes", "chunk", "tensor_split")
def split(t, x, sizes, axis=0):
    axis %= len(x.shape)
    extent = x.shape[axis]
    if isinstance(sizes, int):
        size = -(-extent // sizes) if t.target.startswith("aten.chunk") else sizes
        sizes = [min(size, extent - k) for k in range(0, extent, size)]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return Parts(t, len(sizes), lambda i: t.slice(x, axis, starts[i], 1, sizes[i]))


class Parts:
    """The outputs of an operator with several, each written when it is first taken."""

    def __init__(self, t, count, make):
        self.t, self.count, self.make, self.made = t, count, make, {}

    def __getitem__(self, i):
        i %= self.count
        if i not in self.made:
            self.made[i] = self.make(i)
        return self.made[i]


@rule("index")
def index(t, x, indices):
    indices = list(indices)
    taken = [k for k, i in enumerate(indices) if i is not None]
    if len(taken) != 1 or indices[taken[0]].data is None:
        t.fail("indexes by something that is no single constant")
    axis, which = taken[0], indices[taken[0]].data
    if axis == 0 and x.picture:
        t.fail("picks from the batch")
    x = t.full(x)
    numbers = [int(i) % x.shape[axis] for i in which.flatten()]
    if axis == 0 and len(x.shape) == 2 and (windows := relative_positions(numbers, x.shape[0])):
        return window_bias(t, x, windows, tuple(t.fake.shape))
    shape = list(x.shape)
    shape[axis] = len(numbers)
    taken = t.emit("Gather", [x], shape, axis=axis, indices=numbers)
    return t.reshape(taken, t.fake.shape)


@rule("index_select")
def index_select(t, x, axis, which):
    return index(t, x, [None] * (axis % len(x.shape)) + [which])


def relative_positions(numbers, rows):
    """The side w where row [(y, x), (y', x')] of the table is (y - y' + w - 1)(2w - 1) + x - x' + w - 1."""
    side = round(len(numbers) ** 0.25)
    span = 2 * side - 1
    if side < 2 or side**4 != len(numbers) or span * span != rows:
        return None
    at = range(side)
    expected = [(y - v + side - 1) * span + x - u + side - 1 for y in at for x in at for v in at for u in at]
    return side if expected == numbers else None


def window_bias(t, table, side, shape):
    """Swin's bias of every pair of tokens in a window: two short gathers instead of a long one."""
    span, heads = 2 * side - 1, table.shape[1]
    steps = [a - b + side - 1 for a in range(side) for b in range(side)]
    grid = t.reshape(table, (span, span, heads))
    rows = t.emit("Gather", [grid], (side * side, span, heads), axis=0, indices=steps)
    both = t.emit("Gather", [rows], (side * side, side * side, heads), axis=1, indices=steps)
    both = t.permute(t.reshape(both, (side, side, side, side, heads)), (0, 2, 1, 3, 4))
    return t.reshape(both, shape)


PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@rule("pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d")
def pad(t, x, pads, mode="constant", value=None):
    if not isinstance(mode, str):
        mode, value = "constant", mode
    mode = {"reflection_pad2d": "reflect", "replication_pad2d": "replicate"}.get(t.target.split(".")[1], mode)
    if not any(pads):
        return x
    x = t.full(x)
    rank = len(x.shape)
    sides = [[0, 0] for _ in range(rank)]
    for k in range(len(pads) // 2):
        sides[rank - 1 - k] = [pads[2 * k], pads[2 * k + 1]]
    shape = [e + a + b for e, (a, b) in zip(x.shape, sides)]
    attrs = {"pads": sides}
    if mode != "constant":
        attrs["mode"] = PAD_MODES[mode]
    elif value:
        attrs["value"] = float(value)
    return t.emit("Pad", [x], shape, **attrs)


@rule("roll")
def roll(t, x, shifts, dims=()):
    shifts = [shifts] if isinstance(shifts, int) else shifts
    dims = [dims] if isinstance(dims, int) else dims
    if len(dims) != len(shifts):
        t.fail("rolls without naming the axes")
    x = t.full(x)
    for shift, axis in zip(shifts, dims):
        if shift:
            x = t.emit("Roll", [x], x.shape, axis=axis % len(x.shape), shift=shift)
    return x


@rule("flip")
def flip(t, x, dims):
    for axis in dims:
        axis %= len(x.shape)
        x = t.slice(x, axis, x.shape[axis] - 1, -1, x.shape[axis])
    return x


@rule("pixel_shuffle")
def pixel_shuffle(t, x, factor):
    return t.emit("DepthToSpace", [x], t.fake.shape, blocksize=factor, mode="CRD")


UPSAMPLE = {"upsample_nearest2d": "nearest", "upsample_bilinear2d": "linear", "upsample_bicubic2d": "cubic"}


@rule(*UPSAMPLE)
def upsample(t, x, size=None, *rest):
    mode = UPSAMPLE[t.target.split(".")[1]]
    factors = rest[-1] if rest else None
    if not isinstance(factors, list):
        factors = None
    align = bool(rest[0]) if mode != "nearest" and rest else False
    if mode == "nearest":
        attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        attrs = {"mode": mode, "coordinate_transformation_mode": "align_corners" if align else "half_pixel"}
    attrs |= {"scales": [1.0, 1.0, *map(float, factors)]} if factors else {"sizes": [0, 0, *t.fake.shape[2:]]}
    return t.emit("Resize", [t.full(x)], t.fake.shape, **attrs)
