//! Limpid's own methods as a plugin: gradients with respect to the picture.
#![allow(unsafe_code, reason = "the entry symbol")]

limpid_plugin::export_explainers! {
    id: "limpid-gradient",
    name: "Limpid: gradients with respect to the picture",
    methods: limpid_plugin::built_in("gradient"),
}
