//! Plugins: packed, found, refused, and run in this process and in another.

use crate::support::{Dir, Done, Result, keys};
use limpid_plugin_suite::{built, installed};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A first-party plugin with its manifest in the folder `plugins`; the folder of
/// the plugin and its library.
fn packed(dir: &Dir, package: &str) -> Result<(PathBuf, PathBuf)> {
    let library = built(package);
    let done = dir.run([
        "plugins".as_ref(),
        "pack".as_ref(),
        library.as_os_str(),
        "--to".as_ref(),
        "plugins".as_ref(),
    ])?;
    let id = package.replace("-plugin", "");
    let folder = dir.join("plugins").join(&id);
    let expected = format!("{id} {} (", env!("CARGO_PKG_VERSION"));
    assert!(done.good().out.starts_with(&expected), "{}", done.out);
    let copy = folder.join(library.file_name().ok_or("no name")?);
    assert_eq!(fs::read(&copy)?, fs::read(&library)?);
    Ok((folder, copy))
}

/// What `limpid plugins` lists.
fn listed(dir: &Dir, args: &[&str]) -> Result<Vec<Value>> {
    let done = dir.run([&["plugins", "--json"], args].concat())?;
    let list = done.good().json()?.remove(0);
    Ok(list.as_array().ok_or("no list")?.clone())
}

/// Checks that a plugin is listed as refused for a reason, and that explaining
/// by it is a wrong call for the same reason.
#[track_caller]
fn refused(dir: &Dir, plugin: &str, reason: &str) -> Result<()> {
    let list = listed(dir, &["--plugin", plugin])?;
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(list[0]["status"], "refused");
    assert_eq!(list[0]["methods"], Value::Array(Vec::new()));
    let found = list[0]["reason"].as_str().unwrap_or_default();
    assert!(found.contains(reason), "{found}");
    let text = dir.run(["plugins", "--plugin", plugin])?;
    assert!(text.good().out.contains(reason), "{}", text.out);
    explain(dir, &["--plugin", plugin])?.says(2, &[reason]);
    let methods = dir.run(["methods", "--plugin", plugin])?;
    methods.says(0, &["a plugin is not used", reason]);
    Ok(())
}

/// Explains a photograph by the gradient, and by what `args` say.
fn explain(dir: &Dir, args: &[&str]) -> Result<Done> {
    dir.add("coffee.jpg", "coffee.jpg")?;
    let method = match args.contains(&"--method") {
        true => &[][..],
        false => &["--method", "limpid-gradient/gradient"],
    };
    dir.run(
        [
            &["explain", "coffee.jpg", "--format", "npy,json"],
            method,
            args,
        ]
        .concat(),
    )
}

#[test]
fn a_plugin_is_packed_listed_and_its_methods_are_methods() -> Result<()> {
    let dir = Dir::new()?;
    let (_, library) = packed(&dir, "limpid-plugin-gradient")?;
    let list = listed(&dir, &["--plugin", "plugins/limpid-gradient"])?;
    assert_eq!(list.len(), 1);
    let wanted = "path source id version abi methods status reason";
    assert_eq!(keys(&list[0]), wanted.split(' ').collect());
    let found = list[0]["path"].as_str().map(Path::new);
    assert_eq!(found, Some(&*library.canonicalize()?));
    assert_eq!(list[0]["source"], "named");
    assert_eq!(list[0]["id"], "limpid-gradient");
    assert_eq!(list[0]["abi"], "1.0");
    assert_eq!(list[0]["status"], "usable");
    assert_eq!(list[0]["reason"], Value::Null);
    assert_eq!(list[0]["methods"][0], "limpid-gradient/gradient");

    let args = ["methods", "--json", "--plugin", "plugins/limpid-gradient"];
    let methods = dir.run(args)?.good().json()?.remove(0);
    let methods = methods.as_array().ok_or("no list")?;
    let find = |id: &str| methods.iter().find(|m| m["id"] == id);
    let own = find("gradient").ok_or("no gradient")?;
    let plugins = find("limpid-gradient/gradient").ok_or("no gradient of the plugin")?;
    assert_eq!(own["plugin"], Value::Null);
    assert_eq!(plugins["plugin"], "limpid-gradient");
    for key in ["kind", "params", "output"] {
        assert_eq!(own[key], plugins[key], "{key}");
    }
    // Packed again it is replaced.
    packed(&dir, "limpid-plugin-gradient")?;
    Ok(())
}

#[test]
fn a_manifest_is_written_beside_the_library() -> Result<()> {
    let dir = Dir::new()?;
    let library = installed(&built("limpid-plugin-gradient"), dir.path())?;
    let path = library.to_str().ok_or("no text")?;
    refused(&dir, path, "there is no plugin.toml beside it")?;
    dir.run(["plugins", "pack", path])?.good();
    explain(&dir, &["--plugin", path])?.good();
    // A folder holds one plugin.
    let other = built("limpid-plugin-path");
    let name = other.file_name().ok_or("no name")?;
    let beside = library.with_file_name(name);
    fs::copy(&other, &beside)?;
    let beside = beside.to_str().ok_or("no text")?;
    let again = dir.run(["plugins", "pack", beside])?;
    again.says(2, &["a folder holds one plugin", "--to"]);
    refused(&dir, beside, "a folder holds one plugin")?;
    let text = dir.write("notes/text.so", b"no library")?;
    let text = text.to_str().ok_or("no text")?;
    dir.run(["plugins", "pack", text])?
        .says(2, &["text.so", "cannot be loaded"]);
    dir.run(["plugins", "pack", "missing.so"])?
        .says(2, &["missing.so"]);
    Ok(())
}

/// The maps of a built-in method and of a plugin's of the same name, which must be
/// the same files but for what names the method.
fn same_maps(dir: &Dir, method: &str, args: &[&str]) -> Result<()> {
    let plugins = format!("limpid-path/{method}");
    for (out, isolate) in [("here", &[][..]), ("there", &["--isolate"])] {
        let methods = format!("{method},{plugins}");
        let fixed = [
            "--method",
            &methods,
            "--target",
            "top:2",
            "--out",
            out,
            "--plugin",
            "plugins/limpid-path",
        ];
        explain(dir, &[&fixed, args, isolate].concat())?.good();
        let files = dir.files(out)?;
        let own: Vec<&String> = files
            .iter()
            .filter(|f| !f.contains("limpid-path"))
            .collect();
        assert!(own.len() >= 4 && 2 * own.len() == files.len(), "{files:?}");
        for file in own {
            let other = file.replacen("coffee.", "coffee.limpid-path.", 1);
            let read = |name: &str| fs::read(dir.join(out).join(name));
            let (own, other) = (read(file)?, read(&other)?);
            if file.ends_with(".npy") {
                assert!(own == other, "{file}: {isolate:?}");
                continue;
            }
            let (mut own, mut other): (Value, Value) = (
                serde_json::from_slice(&own)?,
                serde_json::from_slice(&other)?,
            );
            assert_eq!(other["method"], *plugins);
            for manifest in [&mut own, &mut other] {
                for key in ["method", "seconds", "files"] {
                    manifest[key].take();
                }
                manifest["standard_error"]["file"].take();
            }
            assert_eq!(own, other);
        }
        assert_eq!(files, dir.files("here")?);
    }
    Ok(())
}

#[test]
fn maps_are_those_of_the_built_in_method_to_the_bit() -> Result<()> {
    let dir = Dir::new()?;
    packed(&dir, "limpid-plugin-path")?;
    let param = "limpid-path/blur-ig.steps=3";
    same_maps(
        &dir,
        "blur-ig",
        &["--param", "blur-ig.steps=3", "--param", param],
    )
}

#[test]
fn standard_errors_are_those_of_the_built_in_method_to_the_bit() -> Result<()> {
    let dir = Dir::new()?;
    packed(&dir, "limpid-plugin-path")?;
    let method = "integrated-gradients";
    same_maps(
        &dir,
        method,
        &["--smooth", "4", "--param", "evaluations=32", "--seed", "3"],
    )?;
    let files = dir.files("there")?;
    let error = "coffee.limpid-path.integrated-gradients+smoothgrad.967.stderr.npy";
    assert!(files.contains(error), "{files:?}");
    Ok(())
}

#[test]
fn parameters_are_checked_before_the_run() -> Result<()> {
    let dir = Dir::new()?;
    packed(&dir, "limpid-plugin-path")?;
    for isolate in [&[][..], &["--isolate"]] {
        let run = |param: &str| {
            let method = ["--method", "limpid-path/blur-ig", "--param", param];
            let plugin = ["--plugin", "plugins/limpid-path"];
            explain(&dir, &[&method[..], &plugin, isolate].concat())
        };
        run("limpid-path/blur-ig.steps=no")?.says(2, &["steps", "a whole number"]);
        run("limpid-path/blur-ig.stops=2")?.says(2, &["no such parameter"]);
        // The plugin alone knows that these exclude each other.
        let excluded = ["--param", "tolerance=0.1", "--param", "rule=left"];
        let args = [
            "--method",
            "limpid-path/blur-ig",
            "--plugin",
            "plugins/limpid-path",
        ];
        explain(&dir, &[&args, &excluded[..], isolate].concat())?
            .says(2, &["`tolerance` places the nodes itself"]);
    }
    assert!(!dir.join("limpid-out").exists());
    Ok(())
}

#[test]
fn a_method_that_is_not_there_is_told_with_what_is() -> Result<()> {
    let dir = Dir::new()?;
    packed(&dir, "limpid-plugin-gradient")?;
    let plugin = ["--plugin", "plugins/limpid-gradient"];
    let run = |method: &str| explain(&dir, &[&["--method", method], &plugin[..]].concat());
    run("limpid-gradient/edges")?.says(2, &["limpid-gradient/edges", "limpid-gradient/smoothgrad"]);
    run("acme/edges")?.says(2, &["no plugin `acme` was found; found: limpid-gradient"]);
    run("edges")?.says(2, &["there is no method `edges`", "grad-cam"]);
    explain(&dir, &[])?.says(2, &["no plugin `limpid-gradient` was found"]);
    Ok(())
}

#[test]
fn a_library_that_was_changed_is_refused() -> Result<()> {
    let dir = Dir::new()?;
    let (folder, library) = packed(&dir, "limpid-plugin-gradient")?;
    let mut bytes = fs::read(&library)?;
    bytes.push(0);
    fs::write(&library, bytes)?;
    refused(&dir, "plugins/limpid-gradient", "its SHA-256 is")?;
    let manifest = folder.join("plugin.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, text.replace("abi = \"1.", "abi = \"2."))?;
    refused(
        &dir,
        "plugins/limpid-gradient",
        "version 2.0 of the plugin interface",
    )?;
    fs::write(&manifest, text.replace("\"lib", "\"../lib"))?;
    refused(&dir, "plugins/limpid-gradient", "is not the name of a file")?;
    fs::remove_file(&manifest)?;
    refused(&dir, "plugins/limpid-gradient", "there is no plugin.toml")
}

#[test]
fn a_library_that_is_none_is_refused_by_the_process_that_loads_it() -> Result<()> {
    let dir = Dir::new()?;
    let (folder, library) = packed(&dir, "limpid-plugin-gradient")?;
    // The manifest of one plugin, the library of another.
    let (other, path) = packed(&dir, "limpid-plugin-path")?;
    let digest = |folder: &Path| -> Result<String> {
        let text = fs::read_to_string(folder.join("plugin.toml"))?;
        let line = text.lines().find(|l| l.starts_with("sha256"));
        Ok(line.ok_or("no digest")?.to_owned())
    };
    let text = fs::read_to_string(folder.join("plugin.toml"))?;
    let text = text.replace(&digest(&folder)?, &digest(&other)?);
    fs::write(folder.join("plugin.toml"), text)?;
    fs::copy(path, library)?;
    let reason = "its id is limpid-path, plugin.toml says limpid-gradient";
    refused(&dir, "plugins/limpid-gradient", reason)?;
    explain(&dir, &["--plugin", "plugins/limpid-gradient", "--isolate"])?.says(2, &[reason]);
    Ok(())
}

#[cfg(unix)]
#[test]
fn files_that_everybody_may_write_to_are_refused() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Dir::new()?;
    let (folder, library) = packed(&dir, "limpid-plugin-gradient")?;
    for path in [&library, &folder, &folder.join("plugin.toml")] {
        let before = fs::metadata(path)?.permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(before.mode() | 0o002))?;
        refused(
            &dir,
            "plugins/limpid-gradient",
            "every user may write to it",
        )?;
        fs::set_permissions(path, before)?;
    }
    explain(&dir, &["--plugin", "plugins/limpid-gradient"])?.good();
    Ok(())
}

#[test]
fn plugins_are_found_where_they_belong_and_nowhere_else() -> Result<()> {
    let dir = Dir::new()?;
    packed(&dir, "limpid-plugin-gradient")?;
    // Neither here nor in `plugins` here.
    assert_eq!(listed(&dir, &[])?, [] as [Value; 0]);
    let text = dir.run(["plugins"])?;
    assert!(
        text.good().out.contains("no plugin was found"),
        "{}",
        text.out
    );
    let with = |variable: &Path| -> Result<Vec<Value>> {
        let mut program = dir.program();
        program.env("LIMPID_PLUGIN_PATH", variable);
        let output = program.args(["plugins", "--json"]).output()?;
        let list: Value = serde_json::from_slice(&output.stdout)?;
        Ok(list.as_array().ok_or("no list")?.clone())
    };
    let relative = with("plugins".as_ref())?;
    assert_eq!(relative.len(), 1);
    assert_eq!(relative[0]["status"], "refused");
    let reason = relative[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("must be absolute"), "{reason}");
    let absolute = with(&dir.join("plugins"))?;
    assert_eq!(absolute[0]["status"], "usable", "{absolute:?}");
    assert_eq!(absolute[0]["source"], "LIMPID_PLUGIN_PATH");
    // The user's folder is found by itself; the one that is named comes first.
    let user = dir.join("data/limpid/plugins");
    let library = built("limpid-plugin-gradient");
    let args = ["plugins".as_ref(), "pack".as_ref(), library.as_os_str()];
    dir.run([&args[..], &["--to".as_ref(), user.as_os_str()]].concat())?
        .good();
    explain(&dir, &[])?.good();
    let both = listed(&dir, &["--plugin", "plugins/limpid-gradient"])?;
    assert_eq!(both.len(), 2);
    assert_eq!(both[0]["status"], "usable");
    assert_eq!(both[1]["source"], "user folder");
    let reason = both[1]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("comes first"), "{reason}");
    Ok(())
}

#[test]
fn evaluations_take_plugins_too() -> Result<()> {
    let dir = Dir::new()?;
    packed(&dir, "limpid-plugin-gradient")?;
    dir.add("coffee.jpg", "coffee.jpg")?;
    let run = |out: &str, args: &[&str]| -> Result<Value> {
        let fixed = [
            "evaluate",
            "coffee.jpg",
            "--methods",
            "gradient,limpid-gradient/gradient",
            "--metrics",
            "deletion-10,randomisation",
            "--out",
            out,
            "--plugin",
            "plugins/limpid-gradient",
        ];
        dir.run([&fixed, args].concat())?.good();
        Ok(serde_json::from_slice(&fs::read(dir.join(out))?)?)
    };
    let here = run("here.json", &[])?;
    let there = run("there.json", &["--isolate"])?;
    let result = |report: &Value, i: usize| report["pictures"][0]["results"][i].clone();
    assert_eq!(result(&here, 1)["method"], "limpid-gradient/gradient");
    for metric in ["deletion-10", "randomisation"] {
        let value = |report, i| result(report, i)["metrics"][metric].clone();
        assert!(value(&here, 0).is_number(), "{here}");
        assert_eq!(value(&here, 0), value(&here, 1), "{metric}");
        assert_eq!(value(&here, 0), value(&there, 0), "{metric}");
    }
    // The other process has no model of random weights, and says so.
    let isolated = result(&there, 1);
    assert_eq!(
        isolated["metrics"]["deletion-10"],
        result(&here, 0)["metrics"]["deletion-10"]
    );
    assert_eq!(isolated["metrics"]["randomisation"], Value::Null);
    assert!(
        isolated.to_string().contains("leave --isolate out"),
        "{isolated}"
    );
    Ok(())
}
