//! Character sets that servers read in another way than the web does.
//!
//! `encoding_rs` has the encodings of browsers. Where a server converts some of their bytes to other characters, a row of the log
//! would read differently from the same row of the table; so these characters are read as servers have them.
//!
//! # Source
//! Measured: `CONVERT(CONVERT(x USING …) USING utf8mb4)` of MySQL 8.0.15 and MariaDB 10.11, every character of one, two and, where
//! there are any, three bytes, and gb18030's of four from 81 to 84; the test `every_character_reads_as_the_server_converts_it`
//! does it again.

use std::borrow::Cow;
use std::sync::LazyLock;

use encoding_rs::{self as e, Encoding};

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the servers' own names")]
pub enum Mended {
    Latin5,
    Tis620,
    Greek,
    Hebrew,
    Cp866,
    Koi8u,
    Gb2312,
    Gb18030,
    Big5,
    Sjis,
    Ujis,
    Eucjpms,
}

/// Characters by their bytes, the first one the highest, in order.
type Differences = Vec<(u32, char)>;

impl Mended {
    /// The text of `bytes`, and whether some of them were no text.
    pub(super) fn decode(self, bytes: &[u8]) -> (Cow<'_, str>, bool) {
        let (encoding, differences) = self.parts();
        let mut differs = false;
        let mut at = 0;
        while at < bytes.len() && !differs {
            let n = self.length(&bytes[at..]);
            differs = self.difference(&bytes[at..at + n], differences).is_some();
            at += n;
        }
        if !differs {
            return encoding.decode_without_bom_handling(bytes);
        }
        let (mut out, mut bad) = (String::with_capacity(bytes.len() * 2), false);
        // What does not differ is decoded in one piece.
        let (mut from, mut at) = (0, 0);
        while at < bytes.len() {
            let n = self.length(&bytes[at..]);
            if let Some(c) = self.difference(&bytes[at..at + n], differences) {
                let (text, is_bad) = encoding.decode_without_bom_handling(&bytes[from..at]);
                out.push_str(&text);
                out.push(c);
                bad |= is_bad;
                from = at + n;
            }
            at += n;
        }
        let (text, is_bad) = encoding.decode_without_bom_handling(&bytes[from..]);
        out.push_str(&text);
        (Cow::Owned(out), bad | is_bad)
    }

    /// Bytes of the next character; those that are left, if there are fewer.
    fn length(self, bytes: &[u8]) -> usize {
        use Mended as M;
        let first = bytes[0];
        let n = match self {
            _ if first < 0x80 => 1,
            M::Latin5 | M::Tis620 | M::Greek | M::Hebrew | M::Cp866 | M::Koi8u => 1,
            M::Sjis if (0xa1..=0xdf).contains(&first) => 1,
            M::Ujis | M::Eucjpms if first == 0x8f => 3,
            M::Gb18030 if bytes.get(1).is_some_and(u8::is_ascii_digit) => 4,
            _ => 2,
        };
        n.min(bytes.len())
    }

    /// What servers have for a character, if that is something else.
    fn difference(self, bytes: &[u8], differences: &Differences) -> Option<char> {
        if bytes[0] < 0x80 {
            return None;
        }
        match (self, bytes) {
            // Control characters, where the web has those of Windows.
            (Mended::Latin5 | Mended::Tis620, [c @ 0x80..0xa0]) => return Some(char::from(*c)),
            // For users to define: 94 characters in each of ten rows, twice.
            (Mended::Ujis | Mended::Eucjpms, [row @ 0xf5..=0xfe, cell @ 0xa1..=0xfe]) => {
                return private(0xe000, *row, *cell);
            }
            (Mended::Ujis | Mended::Eucjpms, [0x8f, row @ 0xf5..=0xfe, cell @ 0xa1..=0xfe]) => {
                return private(0xe3ac, *row, *cell);
            }
            _ => {}
        }
        let code = bytes.iter().fold(0, |code, b| code << 8 | u32::from(*b));
        differences.binary_search_by_key(&code, |(code, _)| *code).ok().map(|i| differences[i].1)
    }

    fn parts(self) -> (&'static Encoding, &'static Differences) {
        macro_rules! listed {
            ($text:expr, $digits:literal) => {{
                static LISTED: LazyLock<Differences> = LazyLock::new(|| read($text, $digits));
                &*LISTED
            }};
        }
        match self {
            Mended::Latin5 => (e::WINDOWS_1254, listed!("", 2)),
            Mended::Tis620 => (e::WINDOWS_874, listed!("", 2)),
            Mended::Greek => (e::ISO_8859_7, listed!(GREEK, 2)),
            Mended::Hebrew => (e::ISO_8859_8, listed!(HEBREW, 2)),
            Mended::Cp866 => (e::IBM866, listed!(CP866, 2)),
            Mended::Koi8u => (e::KOI8_U, listed!(KOI8U, 2)),
            Mended::Gb2312 => (e::GBK, listed!(GB2312, 4)),
            Mended::Gb18030 => (e::GB18030, listed!(GB18030, 4)),
            Mended::Big5 => (e::BIG5, listed!(BIG5, 4)),
            Mended::Sjis => (e::SHIFT_JIS, listed!(SJIS, 4)),
            Mended::Ujis => (e::EUC_JP, listed!(UJIS, 4)),
            Mended::Eucjpms => (e::EUC_JP, listed!(EUCJPMS, 6)),
        }
    }
}

fn private(first: u32, row: u8, cell: u8) -> Option<char> {
    char::from_u32(first + u32::from(row - 0xf5) * 94 + u32::from(cell - 0xa1))
}

/// `a1c1〜a1c2‖`: so many hexadecimal digits, then the character.
fn read(text: &str, digits: usize) -> Differences {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((code, behind)) = rest.split_at_checked(digits) {
        let (Ok(code), Some(c)) = (u32::from_str_radix(code, 16), behind.chars().next()) else { break };
        out.push((code, c));
        rest = &behind[c.len_utf8()..];
    }
    out
}

const GREEK: &str = "a1ʽa2ʼ";
const HEBREW: &str = "af‾";
const CP866: &str = "fcⁿfd²";
const KOI8U: &str = "95•ae╝be╬";
const GB2312: &str = "a1a4・a1aa―";
const GB18030: &str = "a3a0\u{e5e5}a6d9\u{e78d}a6da\u{e78e}a6db\u{e78f}a6dc\u{e790}a6dd\u{e791}a6de\u{e792}a6df\u{e793}\
     a6ec\u{e794}a6ed\u{e795}a6f3\u{e796}fe59\u{e81e}fe61\u{e826}fe66\u{e82b}fe67\u{e82c}fe6d\u{e832}\
     fe7e\u{e843}fe90\u{e854}fea0\u{e864}";
const BIG5: &str = "a145•a14e､a1c2‾a1e3∼a1f2♁a1f3☉a241／a242＼a244¥a246¢a247£a2ce�c6a1ヾc6a2ゝc6a3ゞc6a4々c6a5ぁc6a6あc6a7ぃc6a8い\
     c6a9ぅc6aaうc6abぇc6acえc6adぉc6aeおc6afかc6b0がc6b1きc6b2ぎc6b3くc6b4ぐc6b5けc6b6げc6b7こc6b8ごc6b9さc6baざc6bbしc6bcじ\
     c6bdすc6beずc6bfせc6c0ぜc6c1そc6c2ぞc6c3たc6c4だc6c5ちc6c6ぢc6c7っc6c8つc6c9づc6caてc6cbでc6ccとc6cdどc6ceなc6cfにc6d0ぬ\
     c6d1ねc6d2のc6d3はc6d4ばc6d5ぱc6d6ひc6d7びc6d8ぴc6d9ふc6daぶc6dbぷc6dcへc6ddべc6deぺc6dfほc6e0ぼc6e1ぽc6e2まc6e3みc6e4む\
     c6e5めc6e6もc6e7ゃc6e8やc6e9ゅc6eaゆc6ebょc6ecよc6edらc6eeりc6efるc6f0れc6f1ろc6f2ゎc6f3わc6f4ゐc6f5ゑc6f6をc6f7んc6f8ァ\
     c6f9アc6faィc6fbイc6fcゥc6fdウc6feェc740エc741ォc742オc743カc744ガc745キc746ギc747クc748グc749ケc74aゲc74bコc74cゴc74dサ\
     c74eザc74fシc750ジc751スc752ズc753セc754ゼc755ソc756ゾc757タc758ダc759チc75aヂc75bッc75cツc75dヅc75eテc75fデc760トc761ド\
     c762ナc763ニc764ヌc765ネc766ノc767ハc768バc769パc76aヒc76bビc76cピc76dフc76eブc76fプc770ヘc771ベc772ペc773ホc774ボc775ポ\
     c776マc777ミc778ムc779メc77aモc77bャc77cヤc77dュc77eユc7a1ョc7a2ヨc7a3ラc7a4リc7a5ルc7a6レc7a7ロc7a8ヮc7a9ワc7aaヰc7abヱ\
     c7acヲc7adンc7aeヴc7afヵc7b0ヶc7b1Дc7b2Еc7b3Ёc7b4Жc7b5Зc7b6Иc7b7Йc7b8Кc7b9Лc7baМc7bbУc7bcФc7bdХc7beЦc7bfЧ\
     c7c0Шc7c1Щc7c2Ъc7c3Ыc7c4Ьc7c5Эc7c6Юc7c7Яc7c8аc7c9бc7caвc7cbгc7ccдc7cdеc7ceёc7cfжc7d0зc7d1иc7d2йc7d3к\
     c7d4лc7d5мc7d6нc7d7оc7d8пc7d9рc7daсc7dbтc7dcуc7ddфc7deхc7dfцc7e0чc7e1шc7e2щc7e3ъc7e4ыc7e5ьc7e6эc7e7ю\
     c7e8яc7e9①c7ea②c7eb③c7ec④c7ed⑤c7ee⑥c7ef⑦c7f0⑧c7f1⑨c7f2⑩c7f3⑴c7f4⑵c7f5⑶c7f6⑷c7f7⑸c7f8⑹c7f9⑺c7fa⑻c7fb⑼\
     c7fc⑽";
const SJIS: &str = "815f\\8160〜8161‖817c−8191¢8192£81ca¬";
const UJIS: &str = "a1c1〜a1c2‖a1dd−a1f1¢a1f2£a2cc¬";
const EUCJPMS: &str = "8fa2c3￤8ff3f3ⅰ8ff3f4ⅱ8ff3f5ⅲ8ff3f6ⅳ8ff3f7ⅴ8ff3f8ⅵ8ff3f9ⅶ8ff3faⅷ8ff3fbⅸ8ff3fcⅹ8ff4a9＇8ff4aa＂8ff4ae炻\
     8ff4af仼8ff4b0僴8ff4b1凬8ff4b2匇8ff4b3匤8ff4b4﨎8ff4b5咊8ff4b6坙8ff4b7﨏8ff4b8塚8ff4b9增8ff4ba寬8ff4bb峵8ff4bc嵓\
     8ff4bd﨑8ff4be德8ff4bf悅8ff4c0愠8ff4c1敎8ff4c2昻8ff4c3晥8ff4c4晴8ff4c5朗8ff4c6栁8ff4c7﨓8ff4c8﨔8ff4c9橫8ff4ca櫢\
     8ff4cb淸8ff4cc淲8ff4cd瀨8ff4ce凞8ff4cf猪8ff4d0甁8ff4d1皂8ff4d2皞8ff4d3益8ff4d4礰8ff4d5礼8ff4d6神8ff4d7祥8ff4d8福\
     8ff4d9竧8ff4da靖8ff4db精8ff4dc綠8ff4dd緖8ff4de羽8ff4df荢8ff4e0﨟8ff4e1薰8ff4e2蘒8ff4e3﨡8ff4e4蠇8ff4e5諸8ff4e6譿\
     8ff4e7賴8ff4e8赶8ff4e9﨣8ff4ea﨤8ff4eb逸8ff4ec郞8ff4ed都8ff4ee鄕8ff4ef﨧8ff4f0﨨8ff4f1閒8ff4f2隆8ff4f3﨩8ff4f4霻\
     8ff4f5靍8ff4f6靑8ff4f7飯8ff4f8飼8ff4f9館8ff4fa馞8ff4fb髙8ff4fc魲8ff4fd鶴8ff4fe黑";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_whole_and_in_order() {
        for (set, n) in [
            (Mended::Greek, 2),
            (Mended::Hebrew, 1),
            (Mended::Cp866, 2),
            (Mended::Koi8u, 3),
            (Mended::Gb2312, 2),
            (Mended::Gb18030, 19),
            (Mended::Big5, 261),
            (Mended::Sjis, 7),
            (Mended::Ujis, 6),
            (Mended::Eucjpms, 94),
        ] {
            let listed = set.parts().1;
            assert_eq!(listed.len(), n, "{set:?}");
            assert!(listed.is_sorted_by(|a, b| a.0 < b.0), "{set:?}");
        }
    }

    #[test]
    fn what_differs_is_mended_amid_what_does_not() {
        let sjis = |bytes: &[u8]| Mended::Sjis.decode(bytes).0.into_owned();
        assert_eq!(sjis(b"10\x81\x6020"), "10〜20");
        assert_eq!(sjis(&[0xb1, 0x81, 0x60]), "ｱ〜", "half a width is one byte");
        assert_eq!(sjis(&[0x93, 0xfa, 0x96, 0x7b]), "日本");
        assert_eq!(Mended::Sjis.decode(&[0x81, 0x60, 0x81]), ("〜\u{fffd}".into(), true), "cut short");
        assert_eq!(Mended::Ujis.decode(&[0x8f, 0xf5, 0xa1]).0, "\u{e3ac}");
        assert_eq!(Mended::Latin5.decode(&[0x80, 0xfd]).0, "\u{80}ı");
        assert_eq!(Mended::Big5.decode(&[0xc7, 0x40, b'a']).0, "エa");
        assert_eq!(Mended::Gb18030.decode(&[0x81, 0x30, 0x84, 0x36]).0, "¥");
    }
}
