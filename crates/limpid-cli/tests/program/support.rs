use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A folder that a test works in.
pub(crate) struct Dir(tempfile::TempDir);

/// What a run of the program left.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn photo(name: &str) -> PathBuf {
    root().join("tests/fixtures/photos").join(name)
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

impl Dir {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Copies a photograph to a name in the folder.
    pub(crate) fn add(&self, photograph: &str, name: impl AsRef<Path>) -> Result<PathBuf> {
        self.write(name, &fs::read(photo(photograph))?)
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, bytes)?;
        Ok(path)
    }

    /// The program in this folder, with data and configuration of its own.
    pub(crate) fn program(&self) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_limpid"));
        program.current_dir(self.path()).stdin(Stdio::null());
        program.env_remove("LIMPID_PLUGIN_PATH");
        program.env("XDG_DATA_HOME", self.join("data"));
        program.env("XDG_CONFIG_HOME", self.join("config"));
        // Mesa's Vulkan complains on standard error where this is not set.
        program.env("XDG_RUNTIME_DIR", self.path());
        program
    }

    /// Runs the program in this folder.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Done> {
        Done::of(self.program().args(args).output()?)
    }

    /// All files below a folder of this one, as sorted relative paths.
    pub(crate) fn files(&self, folder: &str) -> Result<BTreeSet<String>> {
        let root = self.join(folder);
        let mut files = BTreeSet::new();
        let mut open = vec![root.clone()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let name = path.strip_prefix(&root)?;
                    files.insert(name.to_string_lossy().replace('\\', "/"));
                }
            }
        }
        Ok(files)
    }

    /// A bundle with the embedded model's weights, changed by `change`.
    pub(crate) fn bundle(
        &self,
        change: impl FnOnce(Vec<u8>) -> Result<Vec<u8>>,
    ) -> Result<PathBuf> {
        let assets = root().join("crates/limpid-model/assets/tf_efficientnet_lite0");
        let weights = change(fs::read(assets.join("model.safetensors"))?)?;
        self.write("bundle/config.json", &fs::read(assets.join("config.json"))?)?;
        self.write("bundle/model.safetensors", &weights)?;
        Ok(self.join("bundle"))
    }
}

impl Done {
    pub(crate) fn of(output: std::process::Output) -> Result<Self> {
        Ok(Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Checks that all went well and nothing was said.
    #[track_caller]
    pub(crate) fn good(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        assert_eq!(self.err, "");
        self
    }

    /// Checks the exit code and that the program has said one sentence, with
    /// all of these in it.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        let lines: Vec<&str> = self.err.lines().collect();
        assert_eq!(lines.len(), 1, "{}", self.err);
        assert!(lines[0].starts_with("limpid: "), "{}", self.err);
        for part in parts {
            assert!(lines[0].contains(part), "{part} is not in: {}", self.err);
        }
        self
    }

    /// The lines of standard output, each a JSON document.
    pub(crate) fn json(&self) -> Result<Vec<Value>> {
        let lines = self.out.lines();
        let documents: std::result::Result<_, _> = lines.map(serde_json::from_str).collect();
        Ok(documents?)
    }
}

/// The names of an object's values.
pub(crate) fn keys(object: &Value) -> BTreeSet<&str> {
    let object = object.as_object().into_iter().flatten();
    object.map(|(key, _)| key.as_str()).collect()
}

/// The shape and values of a `.npy` file as this program writes it.
pub(crate) fn npy(path: &Path) -> Result<(Vec<usize>, Vec<f32>)> {
    let bytes = fs::read(path)?;
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end])?;
    assert!(header.contains("'descr': '<f4', 'fortran_order': False"));
    let shape = header.split(['(', ')']).nth(1).ok_or("no shape")?;
    let shape = shape.split(',').map(str::trim).filter(|d| !d.is_empty());
    let shape: Vec<usize> = shape
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    let values = bytes[end..].chunks_exact(4);
    let values: Vec<f32> = values
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    assert_eq!(values.len(), shape.iter().product::<usize>());
    Ok((shape, values))
}

/// A `.npy` file of float32 in C order.
pub(crate) fn npy_bytes(shape: &str, values: &[f32]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}
