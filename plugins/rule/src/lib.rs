//! Limpid's own methods as a plugin: gradients under other rules.
#![allow(unsafe_code, reason = "the entry symbol")]

limpid_plugin::export_explainers! {
    id: "limpid-rule",
    name: "Limpid: gradients under other rules",
    methods: limpid_plugin::built_in("rule"),
}
