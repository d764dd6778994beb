use harfrust::{Buffer, Direction, Script, ShapeOptions, ShaperFont};
use unicode_bidi::{Level, ParagraphBidiInfo};
use unicode_segmentation::UnicodeSegmentation;

use super::fonts::{self, FaceId};

/// A glyph at its place on a line; lengths in units of the font size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Glyph {
    pub(crate) face: FaceId,
    pub(crate) id: u32,
    /// From the line's left end.
    pub(crate) x: f32,
    /// Above the baseline.
    pub(crate) y: f32,
}

/// A shaped line, its glyphs from left to right.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) glyphs: Vec<Glyph>,
    /// In units of the font size.
    pub(crate) width: f32,
}

/// A stretch of text in one font and one script.
struct Run<'a> {
    text: &'a str,
    face: FaceId,
    script: Option<Script>,
}

/// Shapes one line of cleaned text. The line reads from left to right as a
/// whole, since its parts ("5: label") do; right-to-left words keep their
/// direction inside.
pub(crate) fn shape_line(text: &str) -> Line {
    let mut line = Line::default();
    let bidi = ParagraphBidiInfo::new(text, Some(Level::ltr()));
    let (levels, runs) = bidi.visual_runs(0..text.len());
    for range in runs {
        let rtl = levels.get(range.start).is_some_and(Level::is_rtl);
        let mut pieces = split(&text[range]);
        if rtl {
            pieces.reverse();
        }
        for piece in &pieces {
            append(&mut line, piece, rtl);
        }
    }
    line
}

/// Splits by font and script. Marks and joiners stay with what precedes them.
fn split(text: &str) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    let (mut start, mut face, mut script) = (0, None, None);
    for (i, c) in text.char_indices() {
        let own = harfrust::unicode::script(u32::from(c));
        let neutral = own == Script::COMMON || own == Script::INHERITED;
        let wanted = match face {
            Some(f) if super::is_joiner(c) => f,
            Some(f) if own == Script::INHERITED && fonts::face_has(f, c) => f,
            _ => fonts::face_for(c).unwrap_or(0),
        };
        let other_script = !neutral && script.is_some_and(|s| s != own);
        if let Some(f) = face
            && (f != wanted || other_script)
        {
            runs.push(Run {
                text: &text[start..i],
                face: f,
                script,
            });
            start = i;
            script = None;
        }
        face = Some(wanted);
        if !neutral {
            script = Some(own);
        }
    }
    if let Some(face) = face {
        runs.push(Run {
            text: &text[start..],
            face,
            script,
        });
    }
    runs
}

fn append(line: &mut Line, run: &Run<'_>, rtl: bool) {
    let Some(font) = fonts::font(run.face) else {
        return;
    };
    let mut buffer = Buffer::new();
    buffer.push_str(run.text);
    buffer.set_direction(if rtl {
        Direction::RightToLeft
    } else {
        Direction::LeftToRight
    });
    buffer.set_script(run.script);
    let shaper = ShaperFont::new(font);
    if harfrust::shape(&shaper, &mut buffer, ShapeOptions::new()).is_err() {
        return;
    }
    let em = f32::from(font.units_per_em().max(1));
    for (info, at) in buffer.glyph_infos().iter().zip(buffer.glyph_positions()) {
        line.glyphs.push(Glyph {
            face: run.face,
            id: info.glyph_id,
            x: line.width + at.x_offset as f32 / em,
            y: at.y_offset as f32 / em,
        });
        line.width += at.x_advance as f32 / em;
    }
}

/// Breaks cleaned text into at most `max_lines` lines no wider than `width` (in
/// units of the font size), between words where possible. What does not fit is
/// cut with an ellipsis.
pub(crate) fn break_lines(text: &str, width: f32, max_lines: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && lines.len() < max_lines {
        let whole = shape_line(rest);
        if whole.width <= width {
            lines.push(whole);
            break;
        }
        if lines.len() + 1 == max_lines {
            lines.push(ellipsised(rest, width));
            break;
        }
        let fits = |end: &usize| shape_line(rest[..*end].trim_end()).width <= width;
        let words: Vec<usize> = breaks(rest.split_word_bound_indices());
        let end = match words.partition_point(fits) {
            // A word wider than the line is broken between its clusters; one
            // cluster at least is taken, so that there is progress.
            0 => {
                let clusters = breaks(rest.grapheme_indices(true));
                clusters[clusters.partition_point(fits).saturating_sub(1)]
            }
            n => words[n - 1],
        };
        lines.push(shape_line(rest[..end].trim_end()));
        rest = rest[end..].trim_start();
    }
    lines
}

/// The longest beginning of `text` that fits with an ellipsis after it.
fn ellipsised(text: &str, width: f32) -> Line {
    let shape = |end: usize| shape_line(&format!("{}…", text[..end].trim_end()));
    let clusters = breaks(text.grapheme_indices(true));
    let n = clusters.partition_point(|end| shape(*end).width <= width);
    shape(n.checked_sub(1).map_or(0, |i| clusters[i]))
}

/// The end of each piece; never empty, since no empty text gets here.
fn breaks<'a>(pieces: impl Iterator<Item = (usize, &'a str)>) -> Vec<usize> {
    pieces.map(|(i, piece)| i + piece.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<u32> {
        shape_line(text).glyphs.iter().map(|g| g.id).collect()
    }

    #[test]
    fn right_to_left_words_are_reversed_and_joined() {
        let hebrew = ids("אבג");
        let single: Vec<u32> = ["ג", "ב", "א"].iter().flat_map(|c| ids(c)).collect();
        assert_eq!(hebrew, single);
        // Arabic letters take other forms inside of a word.
        let separate: Vec<u32> = ["ب", "ل", "ك"].iter().flat_map(|c| ids(c)).collect();
        assert_ne!(ids("كلب"), separate);
        // The number before a label stays at its left.
        assert_eq!(ids("5: א")[0], ids("5")[0]);
    }

    #[test]
    fn devanagari_vowel_signs_are_reordered() {
        // In कि the sign is written before the consonant that it follows.
        let syllable = shape_line("कि");
        let consonant = ids("क")[0];
        assert_eq!(syllable.glyphs.last().unwrap().id, consonant);
    }

    #[test]
    fn each_script_is_drawn_with_real_glyphs() {
        let labels = [
            "espresso",
            "Ελληνικά",
            "кофе",
            "قهوة",
            "קפה",
            "कॉफ़ी",
            "กาแฟ",
            "咖啡",
            "コーヒー",
            "커피",
            "কফি",
            "காபி",
            "ყავა",
            "սուրճ",
            "ቡና",
            "ཀོ་ཕི",
            "កាហ្វេ",
            "ကော်ဖီ",
            "కాఫీ",
        ];
        for label in labels {
            let text = super::super::clean(label);
            assert!(!text.contains('\u{fffd}'), "{label}");
            let line = shape_line(&text);
            assert!(line.glyphs.iter().all(|g| g.id != 0), "{label}");
            assert!(line.width > 1.0, "{label}");
        }
    }

    #[test]
    fn lines_break_between_words_and_end_in_an_ellipsis() {
        let text = "a rather long label that needs more than a single line of text";
        for width in [5.0, 10.0, 20.0] {
            let lines = break_lines(text, width, 3);
            assert!(lines.len() <= 3);
            assert!(lines.iter().all(|l| l.width <= width && l.width > 0.0));
        }
        let cut = break_lines(text, 10.0, 1);
        assert_eq!(cut[0].glyphs.last().unwrap().id, ids("…")[0]);
        assert_eq!(break_lines(text, 1000.0, 2).len(), 1);
        assert_eq!(break_lines("", 10.0, 2).len(), 0);
        // Too narrow for anything: one cluster for each line, and an end.
        assert_eq!(break_lines("abcdef", 0.1, 3).len(), 3);
        let long = break_lines(&"x".repeat(60), 10.0, 2);
        assert!(long.len() == 2 && long.iter().all(|l| l.width <= 10.0));
    }
}
