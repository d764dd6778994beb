//! What the processor and its system say of themselves.

use std::fs;

/// The processor's name.
pub(crate) fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    field(&info, "model name").map_or_else(|| std::env::consts::ARCH.to_owned(), str::to_owned)
}

/// The bytes of memory, where the system says so.
pub(crate) fn memory() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = field(&info, "MemTotal")?
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    kib.checked_mul(1024)
}

/// The value of a line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn fields() {
        let text = "processor\t: 0\nmodel name\t: A Processor: fast\nMemTotal:       16 kB\n";
        assert_eq!(super::field(text, "model name"), Some("A Processor: fast"));
        assert_eq!(super::field(text, "MemTotal"), Some("16 kB"));
        assert_eq!(super::field(text, "flags"), None);
    }
}
