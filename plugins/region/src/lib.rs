//! Limpid's own methods as a plugin: maps of regions.
#![allow(unsafe_code, reason = "the entry symbol")]

limpid_plugin::export_explainers! {
    id: "limpid-region",
    name: "Limpid: maps of regions",
    methods: limpid_plugin::built_in("region"),
}
