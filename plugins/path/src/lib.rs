//! Limpid's own methods as a plugin: sums of gradients along a path.
#![allow(unsafe_code, reason = "the entry symbol")]

limpid_plugin::export_explainers! {
    id: "limpid-path",
    name: "Limpid: sums of gradients along a path",
    methods: limpid_plugin::built_in("path"),
}
