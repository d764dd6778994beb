//! Messages as bytes: the lengths of both parts, a text of JSON, and float32
//! numbers, all little-endian. A plugin shares the worker's memory and files, so
//! what a worker sends is read as if anybody had sent it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// The longest text, in bytes.
const MAX_TEXT: u32 = 1 << 24;

/// Numbers that are copied at once.
const CHUNK: usize = 4096;

/// Writes a message with its numbers, which may be in several parts.
pub(super) fn write(
    mut to: impl Write,
    message: &impl Serialize,
    numbers: &[&[f32]],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|n| *n <= MAX_TEXT);
    let length = length.ok_or_else(|| io::Error::other("a message is too long"))?;
    let count: usize = numbers.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(12 + text.len());
    bytes.extend(length.to_le_bytes());
    bytes.extend((count as u64).to_le_bytes());
    bytes.extend(&text);
    to.write_all(&bytes)?;
    for part in numbers.iter().flat_map(|part| part.chunks(CHUNK)) {
        bytes.clear();
        bytes.extend(part.iter().flat_map(|v| v.to_le_bytes()));
        to.write_all(&bytes)?;
    }
    to.flush()
}

/// Reads a message with at most so many numbers; `None` where the other side has
/// hung up. Memory is taken for what has arrived, not for what was announced.
pub(super) fn read<T: DeserializeOwned>(
    mut from: impl Read,
    most: u64,
) -> io::Result<Option<(T, Vec<f32>)>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut head = [0; 12];
    match from.read(&mut head[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut head[1..])?,
    }
    let [a, b, c, d, count @ ..] = head;
    let (length, count) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(count));
    if length > MAX_TEXT || count > most {
        return Err(wrong("a message is too long"));
    }
    let mut text = Vec::new();
    from.by_ref().take(length.into()).read_to_end(&mut text)?;
    if text.len() != length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = serde_json::from_slice(&text).map_err(|_| wrong("a message is not readable"))?;
    let (mut numbers, mut left) = (Vec::new(), count as usize);
    let mut bytes = [0; 4 * CHUNK];
    while left > 0 {
        let bytes = &mut bytes[..4 * left.min(CHUNK)];
        from.read_exact(bytes)?;
        left -= bytes.len() / 4;
        let chunks = bytes.chunks_exact(4);
        numbers.extend(chunks.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    }
    Ok(Some((message, numbers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32, count: u64, rest: &[u8]) -> Vec<u8> {
        [&length.to_le_bytes()[..], &count.to_le_bytes(), rest].concat()
    }

    #[test]
    fn messages_come_back_to_the_bit() {
        let numbers: Vec<f32> = (0..10_000).map(|i| f32::from_bits(i * 429_497)).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &"text", &[&numbers[..5000], &numbers[5000..]]).unwrap();
        let (text, found): (String, _) = read(&bytes[..], 10_000).unwrap().unwrap();
        assert_eq!(text, "text");
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&numbers));
        assert!(read::<String>(&[][..], 0).unwrap().is_none());
    }

    #[test]
    fn lengths_that_are_made_up_are_refused() {
        let cases = [
            frame(u32::MAX, 0, b"1"),
            frame(MAX_TEXT, 0, b"1"),
            frame(1, u64::MAX, b"1"),
            frame(1, 3, b"1"),
            frame(1, 2, b"1abcd"),
            frame(1, 0, b"{"),
            b"no frame at all, but a sentence of a plugin".to_vec(),
            vec![0],
        ];
        for case in cases {
            assert!(read::<u32>(&case[..], 2).is_err(), "{case:?}");
        }
    }
}
