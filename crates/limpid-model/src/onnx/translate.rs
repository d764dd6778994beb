//! From the nodes of a file to those of a graph.

use super::attributes::Attributes;
use super::builder::{Builder, Value};
use super::call::Call;
use super::literal::{Kind, Literal};
use super::ops;
use super::proto::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto,
};
use super::refusal::{Refusal, Result};
use crate::description::short;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// The most nodes that are looked at, with those of functions at every call.
const MAX_VISITS: usize = 1 << 16;

/// The deepest nesting of functions and branches.
const MAX_DEPTH: usize = 24;

/// The operator sets that are read.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;

/// The values of a graph or of a function's body, by name.
pub(super) struct Scope {
    values: HashMap<String, Entry>,
    /// What stands before the names of values in a function's body.
    prefix: String,
    opsets: HashMap<String, i64>,
}

/// A value, or why there is none; this only matters once something needs it.
type Entry = std::result::Result<Value, Rc<Refusal>>;

impl Scope {
    pub(super) fn new(opsets: &[OperatorSetIdProto]) -> Self {
        let opsets = opsets
            .iter()
            .map(|o| (domain(o.domain()).to_owned(), o.version()));
        Self {
            values: HashMap::new(),
            prefix: String::new(),
            opsets: opsets.collect(),
        }
    }

    /// The version of ONNX's own operators, if it is one that is read.
    pub(super) fn opset(&self) -> Result<i64> {
        match self.opsets.get("") {
            Some(v) if OPSETS.contains(v) => Ok(*v),
            Some(v) => Err(Refusal::new(format!(
                "it uses the operator set {v}; {} to {} are read, so export the model with another",
                OPSETS.start(),
                OPSETS.end()
            ))),
            None => Err(Refusal::new(
                "it names no operator set; export or download the model again",
            )),
        }
    }

    pub(super) fn define(&mut self, name: &str, value: Value) -> Result<()> {
        self.enter(name, Ok(value))
    }

    fn enter(&mut self, name: &str, entry: Entry) -> Result<()> {
        if self.values.insert(name.to_owned(), entry).is_some() {
            return Err(Refusal::fatal(format!(
                "makes `{}`, which exists already; export the model again",
                short(name)
            )));
        }
        Ok(())
    }

    /// The value of this name, if it exists and could be made.
    pub(super) fn value(&self, name: &str) -> Result<Value> {
        match self.values.get(name) {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(refusal)) => Err(Refusal::clone(refusal)),
            None => Err(Refusal::new(format!(
                "reads `{}`, which nothing before it makes: the nodes form a cycle or are out of order, so export the model again",
                short(name)
            ))),
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }
}

/// ONNX's own domain has two names.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// What is translated, and how far.
pub(super) struct Translator<'m> {
    pub(super) builder: Builder,
    functions: HashMap<(&'m str, &'m str, &'m str), &'m FunctionProto>,
    visits: usize,
    depth: usize,
    /// Nodes whose own name is not that of a value: name to first output.
    pub(super) aliases: Vec<(String, String)>,
}

impl<'m> Translator<'m> {
    pub(super) fn new(builder: Builder, functions: &'m [FunctionProto]) -> Self {
        Self {
            builder,
            functions: functions
                .iter()
                .map(|f| ((domain(f.domain()), f.name(), f.overload()), f))
                .collect(),
            visits: 0,
            depth: 0,
            aliases: Vec::new(),
        }
    }

    pub(super) fn initializers(
        &mut self,
        tensors: &[TensorProto],
        scope: &mut Scope,
    ) -> Result<()> {
        for proto in tensors {
            if scope.contains(proto.name()) {
                continue;
            }
            let literal = Literal::read(proto, &mut self.builder.external)?;
            self.builder.grant(literal.shape().elements()? as u64);
            scope.define(proto.name(), Value::literal(literal))?;
        }
        Ok(())
    }

    /// Translates `nodes` into the scope; `read` are the names that something
    /// outside of them reads.
    pub(super) fn nodes<'n>(
        &mut self,
        nodes: &[&'n NodeProto],
        scope: &mut Scope,
        mut read: HashSet<&'n str>,
    ) -> Result<()> {
        for node in nodes {
            names_read(node, &mut read);
        }
        for node in nodes {
            let place = || {
                let opset = scope
                    .opsets
                    .get(domain(node.domain()))
                    .copied()
                    .unwrap_or(0);
                let name = [node.name(), node.output.first().map_or("", |o| o)]
                    .into_iter()
                    .find(|n| !n.is_empty());
                format!(
                    "node `{}{}` ({}, opset {opset})",
                    short(&scope.prefix),
                    short(name.unwrap_or_default()),
                    short(node.op_type())
                )
            };
            self.visits += 1;
            if self.visits > MAX_VISITS {
                return Err(Refusal::fatal(format!(
                    "the network has more than {MAX_VISITS} nodes, counting those of functions at every call; no network that this program runs needs as many"
                )));
            }
            let place = place();
            let mut outputs = match self.node(node, scope, &read) {
                Ok(outputs) => outputs.into_iter().map(Ok).collect(),
                Err(refusal) => {
                    let refusal = refusal.at(|| place.clone());
                    if refusal.fatal {
                        return Err(refusal);
                    }
                    vec![Err(Rc::new(refusal)); node.output.len()]
                }
            };
            while outputs.len() < node.output.len() {
                let missing = Refusal::new(format!(
                    "its output {} is not supported; export the model without it",
                    outputs.len()
                ));
                outputs.push(Err(Rc::new(missing.at(|| place.clone()))));
            }
            self.name_layers(node, scope, &outputs);
            for (name, entry) in node
                .output
                .iter()
                .zip(outputs)
                .filter(|(n, _)| !n.is_empty())
            {
                scope
                    .enter(name, entry)
                    .map_err(|e| e.at(|| place.clone()))?;
            }
        }
        Ok(())
    }

    fn name_layers(&mut self, node: &NodeProto, scope: &Scope, outputs: &[Entry]) {
        for (name, entry) in node.output.iter().zip(outputs) {
            if let Ok(Value::Computed(id, _)) = entry
                && !name.is_empty()
            {
                self.builder
                    .graph
                    .set_layer(format!("{}{name}", scope.prefix), *id);
            }
        }
        if let (Some(first), false) = (node.output.first(), node.name().is_empty()) {
            let name = format!("{}{}", scope.prefix, node.name());
            self.aliases
                .push((name, format!("{}{first}", scope.prefix)));
        }
    }

    fn node(
        &mut self,
        node: &NodeProto,
        scope: &mut Scope,
        read: &HashSet<&str>,
    ) -> Result<Vec<Value>> {
        let inputs: Vec<Option<Value>> = node
            .input
            .iter()
            .map(|name| {
                if name.is_empty() {
                    Ok(None)
                } else {
                    scope.value(name).map(Some)
                }
            })
            .collect::<Result<_>>()?;
        let key = (domain(node.domain()), node.op_type(), node.overload());
        if let Some(&function) = self.functions.get(&key) {
            return self.function(node, function, inputs, scope);
        }
        if !key.0.is_empty() {
            return Err(Refusal::new(format!(
                "the operators of the domain `{}` are not supported; export the model with ONNX's own",
                short(key.0)
            )));
        }
        if key.1 == "If" {
            return self.branch(node, &inputs, scope);
        }
        let translate = ops::find(key.1).ok_or_else(|| {
            let advice = match key.1 {
                "Loop" | "Scan" => "export the model without loops over its layers",
                _ => "replace it by others in the model and export again",
            };
            Refusal::new(format!("the operator is not supported; {advice}"))
        })?;
        let mut call = Call {
            builder: &mut self.builder,
            attributes: Attributes(&node.attribute),
            op: key.1,
            opset: scope.opset()?,
            name: format!("{}{}", scope.prefix, node.output.first().map_or("", |o| o)),
            inputs,
            wanted: node
                .output
                .iter()
                .map(|o| !o.is_empty() && read.contains(o.as_str()))
                .collect(),
        };
        translate(&mut call)
    }

    fn deeper<T>(&mut self, what: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err(Refusal::fatal(format!(
                "functions and branches nest more than {MAX_DEPTH} deep, or a function calls itself; export the model again"
            )));
        }
        self.depth += 1;
        let result = what(self);
        self.depth -= 1;
        result
    }

    /// Puts a local function's body in place of its call.
    fn function(
        &mut self,
        node: &NodeProto,
        function: &'m FunctionProto,
        inputs: Vec<Option<Value>>,
        outer: &Scope,
    ) -> Result<Vec<Value>> {
        let mut scope = Scope::new(&function.opset_import);
        for (domain, version) in &outer.opsets {
            scope.opsets.entry(domain.clone()).or_insert(*version);
        }
        let own = [node.name(), node.output.first().map_or("", |o| o)];
        let own = own
            .into_iter()
            .find(|n| !n.is_empty())
            .unwrap_or("function");
        scope.prefix = format!("{}{own}/", outer.prefix);
        for (name, value) in function.input.iter().zip(inputs) {
            if let Some(value) = value {
                scope.define(name, value)?;
            }
        }
        let body: Vec<Cow<'_, NodeProto>> = function
            .node
            .iter()
            .map(|inner| bind_attributes(inner, node, function, &scope))
            .collect();
        let body: Vec<&NodeProto> = body.iter().map(|n| &**n).collect();
        let read = function.output.iter().map(String::as_str).collect();
        self.deeper(|t| t.nodes(&body, &mut scope, read))?;
        function
            .output
            .iter()
            .map(|name| scope.value(name))
            .collect()
    }

    /// Puts a branch in place of an `If` whose condition is known.
    fn branch(
        &mut self,
        node: &NodeProto,
        inputs: &[Option<Value>],
        scope: &mut Scope,
    ) -> Result<Vec<Value>> {
        let Some(Some(Value::Literal(condition))) = inputs.first() else {
            return Err(Refusal::new(
                "its condition depends on the picture, which is not supported; export the model without branches",
            ));
        };
        let holds = condition.double().data.first().is_some_and(|&v| v != 0.0);
        let name = if holds { "then_branch" } else { "else_branch" };
        let graph: &GraphProto = Attributes(&node.attribute)
            .graph(name)
            .ok_or_else(|| Refusal::new(format!("lacks its {name}; export the model again")))?;
        self.deeper(|t| {
            t.initializers(&graph.initializer, scope)?;
            let read = graph
                .output
                .iter()
                .map(super::proto::ValueInfoProto::name)
                .collect();
            t.nodes(&graph.node.iter().collect::<Vec<_>>(), scope, read)
        })?;
        graph.output.iter().map(|o| scope.value(o.name())).collect()
    }
}

/// A node of a function's body with the attributes of the call, and without
/// the inputs that the call leaves out.
fn bind_attributes<'n>(
    inner: &'n NodeProto,
    call: &NodeProto,
    function: &FunctionProto,
    scope: &Scope,
) -> Cow<'n, NodeProto> {
    let absent = |name: &String| function.input.contains(name) && !scope.contains(name);
    let refers = |a: &AttributeProto| !a.ref_attr_name().is_empty() || a.g.is_some();
    if !inner.attribute.iter().any(refers) && !inner.input.iter().any(absent) {
        return Cow::Borrowed(inner);
    }
    let mut bound = inner.clone();
    for name in &mut bound.input {
        if function.input.contains(name) && !scope.contains(name) {
            name.clear();
        }
    }
    bound.attribute = bound
        .attribute
        .into_iter()
        .filter_map(|mut a| {
            if let Some(graph) = &mut a.g {
                for node in &mut graph.node {
                    *node = bind_attributes(node, call, function, scope).into_owned();
                }
            }
            let wanted = a.ref_attr_name();
            if wanted.is_empty() {
                return Some(a);
            }
            let given = call.attribute.iter().find(|c| c.name() == wanted);
            let given =
                given.or_else(|| function.attribute_proto.iter().find(|d| d.name() == wanted))?;
            Some(AttributeProto {
                name: a.name,
                ..given.clone()
            })
        })
        .collect();
    Cow::Owned(bound)
}

/// The names that a node reads, with those that its branches read.
fn names_read<'n>(node: &'n NodeProto, read: &mut HashSet<&'n str>) {
    read.extend(node.input.iter().map(String::as_str));
    for graph in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
        for inner in &graph.node {
            names_read(inner, read);
        }
        read.extend(graph.output.iter().map(super::proto::ValueInfoProto::name));
    }
}

/// A value that is given anew at every run.
pub(super) fn computed(id: limpid_graph::ValueId, kind: Kind) -> Value {
    Value::Computed(id, kind)
}
