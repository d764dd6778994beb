//! Limpid's own methods as a plugin: maps from changed pictures.
#![allow(unsafe_code, reason = "the entry symbol")]

limpid_plugin::export_explainers! {
    id: "limpid-perturbation",
    name: "Limpid: maps from changed pictures",
    methods: limpid_plugin::built_in("perturbation"),
}
