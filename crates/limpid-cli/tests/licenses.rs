//! The list of crates that `limpid licenses` prints, against Cargo.lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn crate_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A package of Cargo.lock.
#[derive(Default, Clone)]
struct Locked {
    name: String,
    version: String,
    external: bool,
    dependencies: Vec<String>,
}

fn locked() -> Result<Vec<Locked>> {
    let text = fs::read_to_string(crate_dir().join("../../Cargo.lock"))?;
    let packages = text.split("[[package]]").skip(1).map(|block| {
        let mut package = Locked::default();
        for line in block.lines() {
            let quoted = line.split('"').nth(1).unwrap_or_default().to_owned();
            if line.starts_with("name = ") {
                package.name = quoted;
            } else if line.starts_with("version = ") {
                package.version = quoted;
            } else if line.starts_with("source = ") {
                package.external = true;
            } else if line.starts_with(" \"") {
                package.dependencies.push(quoted);
            }
        }
        package
    });
    Ok(packages.collect())
}

/// What a crate of the workspace depends on outside of its tests: Cargo.lock
/// does not tell these from what the tests use.
fn normal_dependencies(name: &str) -> Result<BTreeSet<String>> {
    let manifest = crate_dir().join("..").join(name).join("Cargo.toml");
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in fs::read_to_string(manifest)?.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.ends_with("dependencies]") && !section.ends_with("dev-dependencies]");
        } else if let (true, Some(end)) = (inside, line.find(['.', ' ', '='])) {
            names.insert(line[..end].to_owned());
        }
    }
    names.remove("#");
    Ok(names)
}

/// Names and versions of all crates from elsewhere that the program is built
/// from, on whatever system.
fn built_from() -> Result<BTreeSet<(String, String)>> {
    let packages = locked()?;
    let find = |spec: &str| {
        let (name, version) = spec.split_once(' ').unwrap_or((spec, ""));
        let fits = |p: &&Locked| p.name == name && (version.is_empty() || p.version == version);
        packages
            .iter()
            .find(fits)
            .ok_or(format!("{spec} is not in Cargo.lock"))
    };
    let mut seen = BTreeSet::new();
    let mut open = vec!["limpid-cli".to_owned()];
    let mut external = BTreeSet::new();
    while let Some(spec) = open.pop() {
        if !seen.insert(spec.clone()) {
            continue;
        }
        let package = find(&spec)?;
        let mut dependencies = package.dependencies.clone();
        if package.external {
            external.insert((package.name.clone(), package.version.clone()));
        } else {
            let normal = normal_dependencies(&package.name)?;
            dependencies.retain(|d| normal.contains(d.split(' ').next().unwrap_or(d)));
        }
        open.extend(dependencies);
    }
    Ok(external)
}

const AGAIN: &str = "run `LIMPID_UPDATE_LICENSES=1 cargo test -p limpid-cli --test licenses` to write the list again";

fn list() -> PathBuf {
    crate_dir().join("assets/crates.tsv")
}

#[test]
fn the_list_of_crates_matches_the_lock_file() -> Result<()> {
    if std::env::var_os("LIMPID_UPDATE_LICENSES").is_some() {
        write_the_list_of_crates()?;
    }
    let mut listed = BTreeSet::new();
    for line in fs::read_to_string(list())?.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [name, version, license, source] = cells[..] else {
            return Err(format!("{line} has not four cells").into());
        };
        assert!(!license.is_empty() && !source.is_empty(), "{line}");
        assert!(
            listed.insert((name.to_owned(), version.to_owned())),
            "{line}"
        );
    }
    let built = built_from()?;
    let texts = fs::read_to_string(list().with_extension("txt"))?;
    let headings = texts.lines().filter(|line| line.starts_with("---- "));
    let named: BTreeSet<&str> = headings
        .flat_map(|line| line[5..].split(": ").last().unwrap_or(line).split(", "))
        .collect();
    for (name, version) in &built {
        let crate_name = format!("{name} {version}");
        assert!(
            named.contains(crate_name.as_str()),
            "no text for {crate_name}; {AGAIN}"
        );
    }
    assert!(built.iter().any(|(name, _)| name == "image"));
    assert_eq!(listed, built, "{AGAIN}");
    Ok(())
}

/// How the names of licence files begin, in lower case.
const LICENSE_FILES: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
];

/// The licence files of a crate, but for the text of the Apache licence, which
/// the program has once.
fn license_texts(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_lowercase();
        if path.is_file() && LICENSE_FILES.iter().any(|start| name.starts_with(start)) {
            files.push(path);
        }
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let text = String::from_utf8_lossy(&fs::read(file)?).replace('\r', "");
        let apache = text.contains("Apache License") && text.len() > 9000;
        if !apache || text.contains("LLVM") {
            texts.push(text.trim_matches('\n').trim_end().to_owned());
        }
    }
    Ok(texts)
}

/// Writes the list and the texts; needs the sources of all crates, which cargo
/// fetches.
fn write_the_list_of_crates() -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(crate_dir())
        .output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let built = built_from()?;
    let mut lines = String::new();
    // Texts that differ in spaces alone are one.
    let mut texts: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    let mut without = Vec::new();
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    for (name, version) in &built {
        let found = packages
            .iter()
            .find(|p| p["name"] == **name && p["version"] == **version);
        let package = found.ok_or_else(|| format!("{name} {version} is unknown"))?;
        let text = |key: &str| package[key].as_str();
        let license = text("license").ok_or_else(|| format!("{name} has no licence"))?;
        let source = text("repository").or_else(|| text("homepage"));
        let source = source.ok_or_else(|| format!("{name} has no repository"))?;
        lines += &format!("{name}\t{version}\t{license}\t{source}\n");

        let manifest = Path::new(text("manifest_path").ok_or("no manifest")?);
        let found = license_texts(manifest.parent().ok_or("no folder")?)?;
        if found.is_empty() {
            without.push(format!("{name} {version}"));
        }
        for text in found {
            let key = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let (_, names) = texts.entry(key).or_insert((text, Vec::new()));
            let name = format!("{name} {version}");
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    fs::write(list(), lines)?;
    let mut texts: Vec<(String, Vec<String>)> = texts.into_values().collect();
    texts.sort_by(|a, b| a.1.cmp(&b.1).then(a.0.cmp(&b.0)));
    let mut all = String::new();
    for (text, names) in texts {
        all += &format!("---- {}\n\n{text}\n\n", names.join(", "));
    }
    let note = "Their packages hold no text but that of the Apache License 2.0, or none:";
    all += &format!("---- {note} {}\n", without.join(", "));
    fs::write(list().with_extension("txt"), all)?;
    Ok(())
}
