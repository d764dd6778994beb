//! The embedded fonts. Nothing is read from the system, so that a picture is the
//! same on every machine; all but the first are compressed and are unpacked when
//! a text first needs them.

use std::io::Read;
use std::sync::OnceLock;

use harfrust::Font;

/// Copyright notice and licence of an embedded font.
#[derive(Debug, Clone, Copy)]
pub struct FontNotice {
    /// The font's name.
    pub name: &'static str,
    /// SPDX identifier of its licence.
    pub license: &'static str,
    /// The notice and the licence's whole text.
    pub text: &'static str,
}

/// The notices of all embedded fonts.
///
/// ```
/// let names: Vec<_> = limpid_render::font_notices().iter().map(|f| f.name).collect();
/// assert_eq!(names[0], "DejaVu Sans");
/// ```
pub fn font_notices() -> &'static [FontNotice] {
    &[
        FontNotice {
            name: "DejaVu Sans",
            license: "Bitstream-Vera",
            text: include_str!("../../assets/fonts/LICENSE-DejaVu.txt"),
        },
        FontNotice {
            name: "Noto Sans",
            license: "OFL-1.1",
            text: include_str!("../../assets/fonts/LICENSE-Noto.txt"),
        },
        FontNotice {
            name: "Droid Sans Fallback",
            license: "Apache-2.0",
            text: include_str!("../../assets/fonts/LICENSE-Droid.txt"),
        },
        FontNotice {
            name: "GNU Unifont",
            license: "OFL-1.1",
            text: include_str!("../../assets/fonts/LICENSE-Unifont.txt"),
        },
    ]
}

/// One embedded font file and the characters that it is asked for.
struct Face {
    packed: &'static [u8],
    compressed: bool,
    /// Inclusive ranges of code points.
    ranges: &'static [(u32, u32)],
    font: OnceLock<Option<Font>>,
}

/// Index into [`FACES`].
pub(super) type FaceId = usize;

const ALL: &[(u32, u32)] = &[(0, 0x10_ffff)];
const CJK: &[(u32, u32)] = &[
    (0x2e80, 0x31ff),
    (0x3200, 0x4dbf),
    (0x4e00, 0x9fff),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe4f),
    (0xff00, 0xffef),
    (0x2_0000, 0x2_ffff),
];

macro_rules! face {
    ($file:literal, $compressed:literal, $ranges:expr) => {
        Face {
            packed: include_bytes!(concat!("../../assets/fonts/", $file)),
            compressed: $compressed,
            ranges: $ranges,
            font: OnceLock::new(),
        }
    };
}

/// In order of preference. Unpacked fonts are kept: they are constants, computed
/// late.
static FACES: [Face; 17] = [
    face!("DejaVuSans.ttf", false, ALL),
    face!(
        "NotoSansDevanagari-Regular.ttf.gz",
        true,
        &[(0x900, 0x97f), (0x1cd0, 0x1cff), (0xa8e0, 0xa8ff)]
    ),
    face!("NotoSansBengali-Regular.ttf.gz", true, &[(0x980, 0x9ff)]),
    face!("NotoSansGurmukhi-Regular.ttf.gz", true, &[(0xa00, 0xa7f)]),
    face!("NotoSansGujarati-Regular.ttf.gz", true, &[(0xa80, 0xaff)]),
    face!("NotoSansOriya-Regular.ttf.gz", true, &[(0xb00, 0xb7f)]),
    face!("NotoSansTamil-Regular.ttf.gz", true, &[(0xb80, 0xbff)]),
    face!("NotoSansTelugu-Regular.ttf.gz", true, &[(0xc00, 0xc7f)]),
    face!("NotoSansKannada-Regular.ttf.gz", true, &[(0xc80, 0xcff)]),
    face!("NotoSansMalayalam-Regular.ttf.gz", true, &[(0xd00, 0xd7f)]),
    face!("NotoSansSinhala-Regular.ttf.gz", true, &[(0xd80, 0xdff)]),
    face!("NotoSansThai-Regular.ttf.gz", true, &[(0xe00, 0xe7f)]),
    face!(
        "NotoSansMyanmar-Regular.ttf.gz",
        true,
        &[(0x1000, 0x109f), (0xaa60, 0xaa7f)]
    ),
    face!(
        "NotoSansEthiopic-Regular.ttf.gz",
        true,
        &[(0x1200, 0x139f), (0x2d80, 0x2ddf)]
    ),
    face!(
        "NotoSansKhmer-Regular.ttf.gz",
        true,
        &[(0x1780, 0x17ff), (0x19e0, 0x19ff)]
    ),
    face!("DroidSansFallbackFull.ttf.gz", true, CJK),
    face!("unifont.otf.gz", true, ALL),
];

/// No embedded font is larger than this when unpacked.
const MAX_FONT_BYTES: u64 = 8 << 20;

impl Face {
    fn font(&self) -> Option<&Font> {
        self.font
            .get_or_init(|| {
                if !self.compressed {
                    return Font::new(self.packed, 0);
                }
                let mut bytes = Vec::new();
                flate2::read::GzDecoder::new(self.packed)
                    .take(MAX_FONT_BYTES)
                    .read_to_end(&mut bytes)
                    .ok()?;
                Font::new(bytes, 0)
            })
            .as_ref()
    }

    fn has(&self, c: char) -> bool {
        let code = u32::from(c);
        self.ranges.iter().any(|(a, b)| (*a..=*b).contains(&code))
            && self.font().is_some_and(|f| {
                f.charmap()
                    .map_unicode(code)
                    .is_some_and(|g| g.to_u32() != 0)
            })
    }
}

/// The preferred font that has `c`.
pub(super) fn face_for(c: char) -> Option<FaceId> {
    FACES.iter().position(|face| face.has(c))
}

pub(super) fn face_has(face: FaceId, c: char) -> bool {
    FACES.get(face).is_some_and(|f| f.has(c))
}

pub(super) fn font(face: FaceId) -> Option<&'static Font> {
    FACES.get(face).and_then(Face::font)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_font_unpacks_and_parses() {
        for (id, face) in FACES.iter().enumerate() {
            let font = face.font().unwrap_or_else(|| panic!("font {id}"));
            assert!(font.num_glyphs() > 50, "font {id}");
        }
    }

    #[test]
    fn each_script_has_its_font() {
        let face = |c| face_for(c).unwrap();
        for c in ['a', 'ß', 'Ω', 'Ж', 'ع', 'ש', 'ა', '\u{fffd}', '…', '−', '≥'] {
            assert_eq!(face(c), 0, "{c}");
        }
        for (c, id) in [('क', 1), ('ক', 2), ('ਕ', 3), ('ક', 4), ('க', 6), ('ท', 11)] {
            assert_eq!(face(c), id, "{c}");
        }
        for c in ['中', '濃', 'あ', 'カ', '、'] {
            assert_eq!(face(c), 15, "{c}");
        }
        for c in ['한', 'ᠮ', 'Ꮳ', 'བ'] {
            assert_eq!(face(c), 16, "{c}");
        }
        assert_eq!(face_for('\u{10fffd}'), None);
    }
}
