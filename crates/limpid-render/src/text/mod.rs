//! Lines of text in any script: cleaning, bidirectional order, shaping, breaking
//! and drawing.

mod draw;
pub(crate) mod fonts;
mod shape;

pub(crate) use draw::draw_line;
pub(crate) use shape::{Line, break_lines, shape_line};

use unicode_segmentation::UnicodeSegmentation;

/// Longer texts are cut; no line of a picture holds more.
const MAX_CHARS: usize = 400;
/// Longer clusters (stacked marks without end) are cut.
const MAX_CLUSTER: usize = 12;
/// Stands for what no embedded font can draw.
const REPLACEMENT: char = '\u{fffd}';

/// Makes a text fit to be drawn as part of a line: white space and control
/// characters become single spaces, invisible directional controls, variation
/// selectors and tags go, and what no font has becomes U+FFFD.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::new();
    let (mut kept, mut space) = (0, false);
    // A cluster may be arbitrarily long, so the input is cut first.
    let end = text
        .char_indices()
        .nth(4 * MAX_CHARS)
        .map_or(text.len(), |(i, _)| i);
    for cluster in text[..end].graphemes(true) {
        let mut length = 0;
        for c in cluster.chars() {
            if c.is_control() || c.is_whitespace() {
                space = true;
                continue;
            }
            if is_dropped(c) || length == MAX_CLUSTER {
                continue;
            }
            if space && !out.is_empty() {
                out.push(' ');
                kept += 1;
            }
            space = false;
            length += 1;
            kept += 1;
            let visible = is_joiner(c) || fonts::face_for(c).is_some();
            out.push(if visible { c } else { REPLACEMENT });
        }
        if kept >= MAX_CHARS {
            out.push('…');
            break;
        }
    }
    out
}

/// Zero-width joiner and non-joiner: invisible, but part of the spelling of
/// Persian and of the Indic scripts.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Characters without a shape of their own whose effect is unwanted here.
fn is_dropped(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x34f | 0x61c | 0x180b..=0x180f | 0x200b | 0x200e..=0x200f
        | 0x202a..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff
        | 0xfff9..=0xfffb | 0xe0000..=0xe0fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_overrides_are_harmless() {
        assert_eq!(clean("  a\nb\t\u{0}\u{1b}c\r\n"), "a b c");
        assert_eq!(clean("a\u{202e}b\u{2066}c\u{feff}d"), "abcd");
        assert_eq!(clean("a\u{2028}b\u{2029}c\u{85}d"), "a b c d");
        assert_eq!(clean("\u{200b}"), "");
    }

    #[test]
    fn what_no_font_has_is_replaced_not_dropped() {
        assert_eq!(clean("x\u{10fffd}y"), "x\u{fffd}y");
        assert_eq!(clean("\u{1fae8}"), "\u{fffd}");
        assert_eq!(clean("☕ é ß"), "☕ é ß");
    }

    #[test]
    fn length_is_bounded() {
        assert!(clean(&"word ".repeat(100_000)).chars().count() <= MAX_CHARS + MAX_CLUSTER + 1);
        let stacked = format!("a{}", "\u{301}".repeat(100_000));
        assert_eq!(clean(&stacked).chars().count(), MAX_CLUSTER);
    }
}
