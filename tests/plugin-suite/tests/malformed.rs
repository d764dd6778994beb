//! Libraries that are no sound plugins are refused, with the reason.

use limpid_plugin_host::Plugin;
use limpid_plugin_suite::{compiled, newest_header};
use std::fs;

/// A plugin of one method, some of whose parts are replaced.
fn source(replaced: &[(&str, &str)]) -> String {
    let mut text = String::from(
        r#"#include <stddef.h>
#include "limpid_plugin.h"

static limpid_status create(const limpid_host *host, limpid_str method, limpid_str parameters,
                            uint64_t smooth, limpid_sink error, limpid_instance **out) {
    (void)host, (void)method, (void)parameters, (void)smooth, (void)error, (void)out;
    return LIMPID_UNSUPPORTED;
}

static const limpid_method one = {
    LIMPID_HEAD(limpid_method), LIMPID_TEXT("one"), LIMPID_TEXT("gradient"),
    LIMPID_TEXT("[C,H,W]"), LIMPID_TEXT("a method"), LIMPID_TEXT("{}"), 0, 0, 0
};
static const limpid_method *const methods[] = { &one };

static const limpid_plugin plugin = {
    LIMPID_HEAD(limpid_plugin), LIMPID_TEXT("plain"), LIMPID_TEXT("Plain"),
    LIMPID_TEXT("0.1.0"), methods, sizeof methods / sizeof *methods, create, NULL
};

const limpid_plugin *limpid_plugin_entry(const limpid_host *host, limpid_sink error) {
    (void)host, (void)error, (void)methods, (void)create;
    return &plugin;
}
"#,
    );
    for (part, by) in replaced {
        assert!(text.contains(part), "{part}");
        text = text.replace(part, by);
    }
    text
}

/// Loads the plugin of this source; `None` where it cannot be built.
fn load(name: &str, source: &str) -> Option<Result<Plugin, String>> {
    let folder = tempfile::tempdir().unwrap().keep();
    let file = folder.join(name).with_extension("c");
    fs::write(&file, source).unwrap();
    let library = compiled(&file, &newest_header(), &folder)?;
    let loaded = Plugin::load(&library, None).map_err(|e| {
        let path = library.display().to_string();
        let text = e.to_string();
        assert!(text.starts_with(&path), "{text} does not begin with {path}");
        text[path.len()..].to_owned()
    });
    let _ = fs::remove_dir_all(&folder);
    Some(loaded)
}

/// A name, what is replaced by what, and what the host says.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn plugins_that_are_refused() {
    let entry = "return &plugin;";
    let cases: &[Case<'_>] = &[
        (
            "no-symbol",
            &[
                ("limpid_plugin_entry", "other_entry"),
                (
                    "const limpid_plugin *other",
                    "const limpid_plugin *other_entry(const limpid_host *, limpid_sink);\nconst limpid_plugin *other",
                ),
            ],
            "it is no plugin of Limpid: it has no symbol `limpid_plugin_entry`",
        ),
        (
            "null",
            &[(entry, "(void)plugin;\n    return NULL;")],
            "it refuses this host without a reason",
        ),
        (
            "null-with-words",
            &[(
                entry,
                r#"limpid_str words = LIMPID_TEXT("I want a host of gold");
    (void)plugin;
    error.write(error.target, words);
    return NULL;"#,
            )],
            "I want a host of gold",
        ),
        (
            "other-major",
            &[(
                "plugin = {\n    LIMPID_HEAD(limpid_plugin)",
                "plugin = {\n    { sizeof(limpid_plugin), 2, 7 }",
            )],
            "it was built for version 2 of the plugin interface; this Limpid has 1.0",
        ),
        (
            "smaller-than-a-head",
            &[(
                "plugin = {\n    LIMPID_HEAD(limpid_plugin)",
                "plugin = {\n    { 4, 1, 0 }",
            )],
            "it refuses this host without a reason",
        ),
        (
            "twice",
            &[("{ &one }", "{ &one, &one }")],
            "its method `one` has a wrong id or is there twice",
        ),
        (
            "null-method",
            &[("{ &one }", "{ &one, NULL }")],
            "one of its methods is null",
        ),
        (
            "null-list",
            &[("methods, sizeof methods / sizeof *methods", "NULL, 3")],
            "its list of methods is null",
        ),
        (
            "many-methods",
            &[("sizeof methods / sizeof *methods", "(uint64_t)1 << 60")],
            "1152921504606846976 methods",
        ),
        (
            "wrong-id",
            &[("\"plain\"", "\"../plain\"")],
            "its id `../plain` is not made of a-z, 0-9 and `-`",
        ),
        (
            "wrong-method-id",
            &[("\"one\"", "\"One method\"")],
            "its method `One method` has a wrong id or is there twice",
        ),
        (
            "no-text",
            &[("\"one\"", r#""\xff\xfe""#)],
            "its method's id is no text in UTF-8",
        ),
        (
            "long-text",
            &[("LIMPID_TEXT(\"Plain\")", "{ \"Plain\", (uint64_t)1 << 62 }")],
            "its name has 4611686018427387904 bytes",
        ),
        (
            "no-create",
            &[("create, NULL", "NULL, NULL")],
            "it has no function `create`",
        ),
    ];
    for (name, replaced, words) in cases {
        let Some(loaded) = load(name, &source(replaced)) else {
            return;
        };
        let error = loaded.map(|p| p.id().to_owned()).unwrap_err();
        assert!(error.contains(words), "{name}: {error}");
    }
}

/// A method of which something is wrong is refused by itself.
#[test]
fn methods_that_are_refused() {
    let cases: &[(&str, (&str, &str), &str)] = &[
        (
            "output",
            ("[C,H,W]", "[W,H,C]"),
            "its maps are `[W,H,C]`, not [C,H,W], [H,W] or [h,w]",
        ),
        (
            "no-json",
            ("\"{}\"", "\"steps\""),
            "its parameters are no object of JSON",
        ),
        (
            "twice",
            (
                "\"{}\"",
                r#""{\"a\": {\"type\": \"boolean\"}, \"a\": {\"type\": \"string\"}}""#,
            ),
            "`a` twice",
        ),
        (
            "no-schema",
            ("\"{}\"", r#""{\"steps\": 7}""#),
            "parameter `steps`",
        ),
        (
            "unknown-type",
            ("\"{}\"", r#""{\"steps\": {\"type\": \"quaternion\"}}""#),
            "there is no type `quaternion`",
        ),
        (
            "future",
            (
                "LIMPID_TEXT(\"{}\"), 0, 0, 0",
                "LIMPID_TEXT(\"{}\"), 0, (uint64_t)1 << 40, 0",
            ),
            "it needs services 0x10000000000 of a newer Limpid",
        ),
    ];
    for (name, replaced, words) in cases {
        let Some(loaded) = load(name, &source(&[*replaced])) else {
            return;
        };
        let plugin = loaded.unwrap();
        assert!(plugin.methods().is_empty(), "{name}");
        let [refused] = plugin.refused() else {
            panic!("{name}: {:?}", plugin.refused());
        };
        assert_eq!(refused.method, "one");
        assert!(refused.reason.contains(words), "{name}: {}", refused.reason);
    }
}
