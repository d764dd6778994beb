//! Lists `architectures/*.json.gz`, so that a new description touches no code.

use std::path::Path;
use std::{env, fs};

fn main() {
    let directory =
        Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("architectures");
    let mut files: Vec<_> = fs::read_dir(&directory)
        .expect("the directory of architectures is readable")
        .map(|entry| entry.expect("its entries are readable").path())
        .filter_map(|path| {
            let file = path.file_name()?.to_str().expect("names are text");
            Some((file.strip_suffix(".json.gz")?.to_owned(), path))
        })
        .collect();
    files.sort();
    let entries: Vec<String> = files
        .iter()
        .map(|(name, path)| format!("({name:?}, include_bytes!({path:?})),\n"))
        .collect();
    let out = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("architectures.rs");
    fs::write(out, format!("&[\n{}]\n", entries.concat())).expect("the output is writable");
    println!("cargo::rerun-if-changed={}", directory.display());
    println!("cargo::rerun-if-changed=build.rs");
}
