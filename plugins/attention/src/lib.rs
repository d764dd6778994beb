//! Limpid's own methods as a plugin: maps from attention.
#![allow(unsafe_code, reason = "the entry symbol")]

limpid_plugin::export_explainers! {
    id: "limpid-attention",
    name: "Limpid: maps from attention",
    methods: limpid_plugin::built_in("attention"),
}
