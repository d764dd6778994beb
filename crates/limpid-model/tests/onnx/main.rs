//! ONNX files: what exporters write, what they mean, and what is refused.

mod exporters;
mod hostile;
mod mutations;
mod protobuf;
mod support;
