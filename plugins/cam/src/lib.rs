//! Limpid's own methods as a plugin: class activation maps.
#![allow(unsafe_code, reason = "the entry symbol")]

limpid_plugin::export_explainers! {
    id: "limpid-cam",
    name: "Limpid: class activation maps",
    methods: limpid_plugin::built_in("cam"),
}
