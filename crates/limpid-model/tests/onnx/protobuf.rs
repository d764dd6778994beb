//! Protocol buffers written by hand, to say what no exporter would.

/// A message as its fields, in order.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.0.push(v as u8);
    }

    pub(crate) fn int(mut self, tag: u64, v: i64) -> Self {
        self.varint(tag << 3);
        self.varint(v as u64);
        self
    }

    pub(crate) fn bytes(mut self, tag: u64, v: impl AsRef<[u8]>) -> Self {
        self.varint(tag << 3 | 2);
        self.varint(v.as_ref().len() as u64);
        self.0.extend(v.as_ref());
        self
    }

    pub(crate) fn message(self, tag: u64, v: &Self) -> Self {
        self.bytes(tag, &v.0)
    }

    pub(crate) fn all(self, tag: u64, v: &[Self]) -> Self {
        v.iter().fold(self, |m, v| m.message(tag, v))
    }
}

/// A tensor of 32-bit floats (`data_type` 1) or 64-bit integers (7).
pub(crate) fn tensor(name: &str, dims: &[i64], data_type: i64, raw: &[u8]) -> Message {
    let dims = dims.iter().fold(Message::new(), |m, &d| m.int(1, d));
    dims.int(2, data_type).bytes(8, name).bytes(9, raw)
}

pub(crate) fn floats(name: &str, dims: &[i64], data: &[f32]) -> Message {
    let raw: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, dims, 1, &raw)
}

pub(crate) fn ints(name: &str, data: &[i64]) -> Message {
    let raw: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, &[data.len() as i64], 7, &raw)
}

/// A tensor whose bytes lie in another file.
pub(crate) fn outside(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> Message {
    let tensor = dims.iter().fold(Message::new(), |m, &d| m.int(1, d));
    let tensor = tensor.int(2, 1).bytes(8, name).int(14, 1);
    let entry = |(k, v): &(&str, &str)| Message::new().bytes(1, k).bytes(2, v);
    tensor.all(13, &entries.iter().map(entry).collect::<Vec<_>>())
}

pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Message {
    let m = inputs.iter().fold(Message::new(), |m, i| m.bytes(1, i));
    let m = outputs.iter().fold(m, |m, o| m.bytes(2, o));
    m.bytes(4, op).all(5, attributes)
}

pub(crate) fn int(name: &str, v: i64) -> Message {
    Message::new().bytes(1, name).int(3, v).int(20, 2)
}

pub(crate) fn list(name: &str, v: &[i64]) -> Message {
    let m = Message::new().bytes(1, name).int(20, 7);
    v.iter().fold(m, |m, &v| m.int(8, v))
}

/// An input or output; an extent of 0 is open.
pub(crate) fn value(name: &str, dims: &[i64]) -> Message {
    let dim = |&d: &i64| {
        if d == 0 {
            Message::new().bytes(2, "n")
        } else {
            Message::new().int(1, d)
        }
    };
    let shape = Message::new().all(1, &dims.iter().map(dim).collect::<Vec<_>>());
    let tensor = Message::new().int(1, 1).message(2, &shape);
    Message::new()
        .bytes(1, name)
        .message(2, &Message::new().message(1, &tensor))
}

/// A graph with the input `x` and the output `y`.
pub(crate) fn graph(dims: &[i64], nodes: &[Message], initializers: &[Message]) -> Message {
    let m = Message::new().all(1, nodes).all(5, initializers);
    m.message(11, &value("x", dims))
        .message(12, &value("y", &[]))
}

pub(crate) fn model(opset: i64, graph: &Message) -> Message {
    let set = Message::new().bytes(1, "").int(2, opset);
    Message::new().int(1, 8).message(8, &set).message(7, graph)
}
