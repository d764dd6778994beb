"""Turns a PyTorch image classifier into a "limpid-graph/1" description.

`Translator` reads the ATen graph of `torch.export` and writes it in Limpid's operators: ONNX's names,
weights by their name in the state dict. It is traced with an uncommon batch size, so that the batch
axis shows in every shape and can be left free; heights and widths stay free wherever the network
allows it, as `Reshape` takes 0 (keep) and -1 (infer).

`describe` is the whole way: export, translate, name the values, and find for every module the value
that a forward hook on it sees. The last is done by number: the graph and the hooked model run on the
same picture in float64 and their values are compared, so no rule can be wrong about it.

Operators that are not known are errors that name the ATen operator and the module that uses it.

Written with Python 3.11, torch 2.11.0.
"""

import math
from dataclasses import dataclass, replace

import torch

import limpid_aten_layers  # noqa: F401, whose rules join those of limpid_aten
from limpid_aten import BATCH, OPERATORS

DATA_PIXELS = 1024  # literal tensors from this size on are looked at for a shorter form


class TranslationError(Exception):
    """The network cannot be written as a description; the message says where and why."""


@dataclass(eq=False)
class Value:
    """A tensor of the graph.

    `shape` is what PyTorch sees; `actual` the extents in the description, which may be 1 where the
    other was broadcast by `expand`. Weights and what is computed of them alone are not `picture`.
    `data` is a literal tensor. `perm` is a transposition that has not been written yet because it
    moves the batch away from axis 0: the value is `base` seen through it.
    """

    shape: tuple
    actual: tuple
    picture: bool
    name: str = ""
    origin: str = ""  # the name while another stands in for it
    node: "Node | None" = None
    data: "torch.Tensor | None" = None
    base: "Value | None" = None
    perm: tuple = ()
    of: "Value | None" = None  # the value that this one broadcasts

    def seen_as(self, shape):
        """The same tensor, broadcast to `shape`."""
        return replace(self, shape=tuple(shape), of=self.of or self)


@dataclass(eq=False)
class Node:
    op: str
    attrs: dict
    inputs: list
    output: Value = None
    path: str = ""


@dataclass(eq=False)
class Box:
    """What an ATen value stands for now: operators that work in place change it."""

    value: object = None


@dataclass
class Description:
    """The translated network, before it is named and written."""

    nodes: list
    input: Value
    output: Value

    def literals(self):
        """The literal tensors that nodes read, in order."""
        found = {id(v): v for n in self.nodes for v in n.inputs if v.data is not None}
        return list(found.values())


def groups(source, target):
    """Cuts two shapes of equal size into the shortest runs of axes with equal products."""
    i = j = 0
    out = []
    while i < len(source) or j < len(target):
        a, b = [], []
        if i < len(source):
            a.append(i)
            i += 1
        if j < len(target):
            b.append(j)
            j += 1
        while math.prod(source[k] for k in a) != math.prod(target[k] for k in b):
            if math.prod(source[k] for k in a) < math.prod(target[k] for k in b):
                a.append(i)
                i += 1
            else:
                b.append(j)
                j += 1
        out.append((a, b))
    return out


def reshape_attr(source, target):
    """Reshape's `shape`: the batch as 0 or -1, and as much else as can be left to the input."""
    shape = list(target)
    kept = 0
    while kept < min(len(source), len(target)) and source[kept] == target[kept]:
        shape[kept] = 0
        kept += 1
    if kept == 0:
        shape[0] = -1
        return shape
    for a, b in groups(source, target):
        if len(a) > 1 and len(b) == 1 and shape[b[0]] != 0:
            shape[b[0]] = -1
            break
    return shape


class Translator:
    """Walks an exported program. The rules for ATen's operators are in `limpid_aten`
    and `limpid_aten_layers`."""

    def __init__(self, program, names, same_modules=()):
        self.program = program
        self.names = names
        self.same_modules = tuple(same_modules)
        self.nodes = []
        self.boxes = {}
        self.weights = {}
        self.literals = {}
        self.path = ""
        self.stack = []

    # Values

    def weight(self, name, tensor):
        if name not in self.weights:
            shape = tuple(tensor.shape)
            self.weights[name] = Value(shape, shape, False, name=name)
        return self.weights[name]

    def literal(self, tensor, name=""):
        """A value for a tensor that is written into the description."""
        tensor = torch.as_tensor(tensor)
        shape = tuple(tensor.shape)
        return Value(shape, shape, False, name=name, data=tensor)

    def scalar(self, number):
        return self.literal(torch.tensor(float(number), dtype=torch.float64))

    def emit(self, op, inputs, shape, /, actual=None, **attrs):
        """Adds a node; `shape` is the output's as PyTorch sees it."""
        inputs = [self.materialise(v) for v in inputs]
        picture = any(v.picture for v in inputs)
        shape = tuple(shape)
        output = Value(shape, tuple(actual or shape), picture)
        output.node = Node(op, attrs, inputs, output, self.path)
        self.nodes.append(output.node)
        return output

    def materialise(self, value):
        """The value as nodes may read it: written transposition, shared literals."""
        if value.base is not None:
            if value.perm[0] != 0:
                self.fail("moves the batch away from axis 0")
            return self.emit("Transpose", [value.base], value.shape, perm=list(value.perm))
        if value.data is not None:
            key = (value.actual, value.data.double().contiguous().numpy().tobytes())
            if key not in self.literals:
                value.data = value.data.double()
                short = self.equivalence(value) if value.data.numel() >= DATA_PIXELS else None
                self.literals[key] = short or value
            return self.literals[key]
        return value.of or value

    def equivalence(self, value):
        """A literal [..., T, T] that says which tokens are of one kind, written by their kinds.

        Swin's attention masks are of this form: 0 within a region of the rolled picture, -100 across.
        """
        data = value.data
        if data.dim() < 2 or data.shape[-1] != data.shape[-2]:
            return None
        levels = data.unique()
        if len(levels) != 2:
            return None
        same = float(data[..., 0, 0].flatten()[0])
        other = float(levels[levels != same][0])
        kinds = (data == same).double().argmax(dim=-1, keepdim=True)  # the first token of the same kind
        if not torch.equal(torch.where(kinds == kinds.mT, same, other), data):
            return None
        row = self.literal(kinds.mT, value.name)
        perm = list(range(data.dim()))
        perm[-2:] = perm[:-3:-1]
        column = self.emit("Transpose", [row], kinds.shape, perm=perm)
        equal = self.emit("Equal", [row, column], data.shape)
        scaled = self.emit("Mul", [equal, self.scalar(same - other)], data.shape)
        return self.emit("Add", [scaled, self.scalar(other)], data.shape)

    def full(self, value):
        """The value with every extent written out, for operators that do not broadcast."""
        if value.base is not None or value.actual == value.shape:
            return value
        target = list(value.shape)
        if target[0] == BATCH * value.actual[0]:
            target[0] = value.actual[0]
        if tuple(target) == value.actual:
            return value
        attr = [1 if a == t else t for a, t in zip(value.actual, target)]
        return self.emit("Expand", [value], value.shape, actual=target, shape=attr)

    def reshape(self, value, target):
        """`value` with the extents `target`, without a node where nothing changes."""
        target = tuple(target)
        value = self.written(value)
        if value.shape == target:
            return value
        if value.data is not None and value.actual == value.shape:
            return self.literal(value.data.reshape(target), value.name)
        if not value.picture:
            actual = []
            for a, b in groups(value.shape, target):
                if len(a) == len(b) == 1:
                    actual.append(value.actual[a[0]])
                elif b and b[0] == 0 and len(b) == 1:
                    actual.append(math.prod(value.actual[k] for k in a))
                elif all(value.actual[k] == value.shape[k] for k in a):
                    actual += [target[k] for k in b]
                else:
                    break
            if len(actual) != len(target):
                value = self.full(value)
                if value.actual != value.shape:
                    self.fail("reshapes a weight that is repeated along the batch")
                actual = target
            return self.emit("Reshape", [value], target, actual=actual, shape=list(actual))
        value = self.full(value)
        if len(target) == 2 and len(value.shape) > 2 and value.shape[0] == target[0]:
            return self.emit("Flatten", [value], target, axis=1)
        return self.emit("Reshape", [value], target, shape=reshape_attr(value.shape, target))

    def written(self, value):
        return self.materialise(value) if value.base is not None else value

    def permute(self, value, perm):
        base, perm = (value.base, tuple(value.perm[p] for p in perm)) if value.base else (value, tuple(perm))
        shape = tuple(base.shape[p] for p in perm)
        if perm == tuple(range(len(perm))):
            return base
        if base.data is not None and base.actual == base.shape:
            return self.literal(base.data.permute(perm), base.name)
        if base.picture and (perm[0] != 0 or value.base is not None):
            return Value(shape, shape, True, base=base, perm=perm)
        base = self.full(base)
        actual = tuple(base.actual[p] for p in perm)
        return self.emit("Transpose", [base], shape, actual=actual, perm=list(perm))

    def slice(self, value, axis, start, step, count):
        """`count` elements from `start` on; -1 in the description where that is all the rest."""
        extent = value.shape[axis]
        if (start, step, count) == (0, 1, extent):
            return value
        if value.base is not None:
            perm = value.perm
            part = self.slice(value.base, perm[axis], start, step, count)
            return Value(
                tuple(part.shape[p] for p in perm), tuple(part.shape[p] for p in perm), True, base=part, perm=perm
            )
        if value.data is not None and value.actual == value.shape and step > 0:
            index = torch.arange(start, start + step * count, step)
            return self.literal(value.data.index_select(axis, index), value.name)
        value = self.full(value)
        if axis == 0 and value.picture:
            self.fail("takes a part of the batch")
        shape = list(value.shape)
        shape[axis] = count
        rest = count == (-(-(extent - start) // step) if step > 0 else start // -step + 1)
        return self.emit("Slice", [value], shape, axis=axis, start=start, step=step, count=-1 if rest else count)

    def select(self, value, axis, index):
        """One element along `axis`, and the axis gone."""
        if value.base is not None:
            at = value.perm[axis]
            part = self.select(value.base, at, index)
            perm = [p - (p > at) for p in value.perm if p != at]
            return self.permute(part, perm)
        shape = tuple(e for k, e in enumerate(value.shape) if k != axis)
        # Parts of a last axis that was cut up: q, k and v come out of the product's own last axis.
        node = value.node
        if node is not None and node.op == "Reshape" and value.picture:
            source = node.inputs[0]
            a, b = groups(source.shape, value.shape)[-1]
            if a == [len(source.shape) - 1] and len(b) > 1 and axis == b[0]:
                count = source.shape[-1] // value.shape[axis]
                return self.reshape(self.slice(source, a[0], index * count, 1, count), shape)
        return self.reshape(self.slice(value, axis, index, 1, 1), shape)

    # The walk

    def fail(self, reason):
        where = f"module `{self.path}`" if self.path else "the network's forward"
        raise TranslationError(f"{where}: {self.target} {reason}")

    def inside(self, names):
        """Whether the operator runs in a module whose class is one of `names`."""
        return any(kind.rsplit(".", 1)[-1] in names for _, kind in self.stack)

    def argument(self, arg):
        if isinstance(arg, torch.fx.Node):
            return self.boxes[arg].value
        if isinstance(arg, (list, tuple)):
            return [self.argument(a) for a in arg]
        return arg

    def run(self):
        signature = self.program.graph_signature
        self.program.graph.eliminate_dead_code()
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.boxes[node] = Box(self.placeholder(node, signature))
            elif node.op == "call_function":
                self.call(node)
            elif node.op == "output":
                logits = self.argument(node.args[0][0])
            else:
                self.target = node.op
                self.fail("is no operator")
        self.target = "output"
        logits = self.materialise(logits)
        if logits.node is None or len(logits.shape) != 2:
            self.fail(f"has the shape {list(logits.shape)}; the network has to put out logits [batch, classes]")
        return Description(self.nodes, self.input, logits)

    def placeholder(self, node, signature):
        fake = node.meta["val"]
        for table in (
            signature.inputs_to_parameters,
            signature.inputs_to_buffers,
            signature.inputs_to_lifted_tensor_constants,
        ):
            if node.name in table:
                name = table[node.name]
                state = self.program.state_dict.get(name)
                tensor = state if state is not None else self.program.constants.get(name)
                if state is None or not state.dtype.is_floating_point:
                    return self.literal(tensor.detach().to("cpu"), self.names(name))
                return self.weight(self.names(name), fake)
        self.input = Value(tuple(fake.shape), tuple(fake.shape), True, name="x")
        return self.input

    def call(self, node):
        stack = node.meta.get("nn_module_stack") or {}
        self.stack = [(path, kind if isinstance(kind, str) else kind.__name__) for path, kind in stack.values()]
        self.path = self.names(self.stack[-1][0]) if self.stack else ""
        self.target = str(node.target)
        if self.target == "<built-in function getitem>":
            source = self.argument(node.args[0])
            self.boxes[node] = Box(source[node.args[1]])
            return
        name = self.target.removeprefix("aten.").split(".")[0]
        in_place = name.endswith("_") and not name.startswith("_")
        rule = OPERATORS.get(name.rstrip("_") if in_place else name)
        if rule == "alias" and getattr(self.argument(node.args[0]), "data", None) is None:
            self.boxes[node] = self.boxes[node.args[0]]
            return
        if rule == "nothing":
            return
        args = [self.argument(a) for a in node.args]
        kwargs = {k: self.argument(a) for k, a in node.kwargs.items()}
        self.fake = node.meta.get("val")
        value = self.evaluate(node, args, kwargs)
        if value is None and not callable(rule):
            self.fail("has no counterpart among Limpid's operators")
        if value is None:
            value = rule(self, *args, **kwargs)
        if in_place:
            self.boxes[node.args[0]].value = value
            self.boxes[node] = self.boxes[node.args[0]]
        else:
            self.boxes[node] = Box(value)

    def evaluate(self, node, args, kwargs):
        """The result where every tensor is literal and nothing has the batch in it."""
        if not isinstance(self.fake, torch.Tensor) or any(e % BATCH == 0 and e for e in self.fake.shape[:1]):
            return None

        def data(arg):
            if isinstance(arg, Value):
                if arg.data is None or arg.actual != arg.shape:
                    raise LookupError
                return arg.data
            return [data(a) for a in arg] if isinstance(arg, list) else arg

        try:
            tensors = [data(a) for a in args]
            kwargs = {k: data(a) for k, a in kwargs.items() if k not in ("device", "layout", "pin_memory")}
        except LookupError:
            return None
        named = next((a.name for a in args if isinstance(a, Value)), "")
        return self.literal(node.target(*tensors, **kwargs), named)


def simplify(net, layers):
    """Merges chains of Reshape and of Transpose and drops dead nodes; the values of `layers` stay."""
    changed = True
    while changed:
        pinned = {id(v) for v in layers.values()} | {id(net.output)}
        readers = {}
        for node in net.nodes:
            for value in node.inputs:
                readers[id(value)] = readers.get(id(value), 0) + 1
        changed = any(merge(node, readers, pinned) for node in net.nodes)
        drop_dead(net, pinned)
        for node in [n for n in net.nodes if moves_nothing(n)]:
            source = node.inputs[0]
            for other in net.nodes:
                other.inputs = [source if v is node.output else v for v in other.inputs]
            for path, value in layers.items():
                layers[path] = source if value is node.output else value
            net.output = source if net.output is node.output else net.output
            net.nodes.remove(node)
            changed = True


def drop_dead(net, pinned=frozenset()):
    alive, kept = {id(net.output), *pinned}, []
    for node in reversed(net.nodes):
        if id(node.output) in alive:
            alive.update(id(v) for v in node.inputs)
            kept.append(node)
    net.nodes = kept[::-1]


def merge(node, readers, pinned):
    """Takes the Reshape or Transpose before `node` into it, if nothing else needs that one."""
    before = node.inputs[0].node if node.op in ("Reshape", "Transpose") else None
    if before is None or before.op != node.op or id(before.output) in pinned or readers[id(before.output)] > 1:
        return False
    source = before.inputs[0]
    if node.op == "Transpose":
        node.attrs = {"perm": [before.attrs["perm"][p] for p in node.attrs["perm"]]}
    elif source.picture:
        node.attrs = {"shape": reshape_attr(source.shape, node.output.shape)}
    node.inputs = [source]
    readers[id(source)] += 1
    return True


def moves_nothing(node):
    if node.op == "Reshape":
        source = node.inputs[0]
        return source.shape == node.output.shape and source.actual == node.output.actual
    return node.op == "Transpose" and node.attrs["perm"] == sorted(node.attrs["perm"])
