//! How long a text is as SMS, and how it is cut.
//!
//! Characters of the GSM 7-bit alphabet take a septet, those of its extension table two: 160 in one message, 153 in each
//! of several. One character outside makes the whole text UCS-2: 70 units of 16 bits, or 67 in each of several
//! (3GPP TS 23.038, § 6.2.1; TS 23.040, § 9.2.3.24.1). No character is torn between two messages.

/// The longest text that Twilio takes, in characters (error 21617).
pub const BODY_MAX: usize = 1_600;

/// The alphabet's table, and the characters that its extension adds.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const EXTENSION: &str = "^{}\\[~]|€\u{c}";
/// What shows that a text was cut, in either alphabet.
const MARK: &str = "...";
/// A link that leaves less room for words, in characters, is left out.
const WORDS_MIN: usize = 40;
/// How far back a cut may move to the end of a word, in characters.
const WORD_MAX: usize = 16;

/// How a text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Seven bits a character.
    Gsm,
    /// Sixteen.
    Ucs2,
}

impl Alphabet {
    /// The one that this text needs.
    pub fn of(text: &str) -> Self {
        if text.chars().all(|c| septets(c).is_some()) { Self::Gsm } else { Self::Ucs2 }
    }

    /// Its common name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gsm => "GSM-7",
            Self::Ucs2 => "UCS-2",
        }
    }

    fn units(self, c: char) -> usize {
        match self {
            Self::Gsm => septets(c).unwrap_or(1),
            Self::Ucs2 => c.len_utf16(),
        }
    }
}

fn septets(c: char) -> Option<usize> {
    if BASIC.contains(c) {
        Some(1)
    } else if EXTENSION.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// How many messages a text takes.
pub fn segments(text: &str) -> usize {
    let alphabet = Alphabet::of(text);
    let (alone, each) = if alphabet == Alphabet::Gsm { (160, 153) } else { (70, 67) };
    if text.chars().map(|c| alphabet.units(c)).sum::<usize>() <= alone {
        return 1;
    }
    let (mut segments, mut used) = (1, 0);
    for units in text.chars().map(|c| alphabet.units(c)) {
        if used + units > each {
            segments += 1;
            used = 0;
        }
        used += units;
    }
    segments
}

/// The text in at most `max` messages, with the link after it. What is too long is cut at the end of a word; the link
/// stays whole, or goes.
pub fn fit(text: &str, link: Option<&str>, max: usize) -> String {
    let text: String = text.trim().chars().take(BODY_MAX + 1).collect();
    let text = plainer(&text);
    let tail = link.map(|link| format!("\n{link}")).unwrap_or_default();
    let fits = |text: &str| text.chars().count() <= BODY_MAX && segments(text) <= max;
    let whole = format!("{text}{tail}");
    if fits(&whole) {
        return whole;
    }
    // Longer never takes fewer messages, so the longest beginning that fits can be searched for by halves.
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let begin = |n: usize| ends.get(n).and_then(|end| text.get(..*end)).unwrap_or(&text);
    let with = |n: usize| format!("{}{MARK}{tail}", begin(n));
    let (mut low, mut high) = (0, ends.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(&with(middle)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    if link.is_some() && low < WORDS_MIN {
        return fit(&text, None, max);
    }
    let words = begin(low);
    let rest = text.get(words.len()..).unwrap_or_default();
    format!("{}{MARK}{tail}", gently(words, rest))
}

/// With the typographer's signs written plainly, if that is all that keeps it from the smaller alphabet.
fn plainer(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '‘' | '’' | '‚' | '‛' | '`' | '´' | '′' => plain.push('\''),
            '“' | '”' | '„' | '″' | '«' | '»' => plain.push('"'),
            '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' => plain.push('-'),
            '…' => plain.push_str("..."),
            '•' | '·' => plain.push('*'),
            '\t' | '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' => plain.push(' '),
            '\u{200b}' | '\u{feff}' => {}
            c => plain.push(c),
        }
    }
    if Alphabet::of(&plain) == Alphabet::Gsm { plain } else { text.to_owned() }
}

/// `words` without the torn word or sign at their end; `rest` is what followed.
fn gently<'a>(words: &'a str, rest: &str) -> &'a str {
    let torn = !rest.starts_with(char::is_whitespace);
    if torn
        && let Some((at, _)) = words.char_indices().rev().take(WORD_MAX).find(|(_, c)| c.is_whitespace())
        && let Some(before) = words.get(..at)
    {
        return before.trim_end();
    }
    let mut words = words;
    let mut next = rest.chars().next();
    // A sign that is put together of several characters goes as a whole.
    while let Some(last) = words.chars().next_back().filter(|last| next.is_some_and(joins) || *last == JOINER) {
        words = words.get(..words.len() - last.len_utf8()).unwrap_or_default();
        next = Some(last);
    }
    words.trim_end()
}

/// Joins two signs into one.
const JOINER: char = '\u{200d}';

/// Whether a character is one sign with the one before it: joiners, variations, tones of skin, combining marks.
fn joins(c: char) -> bool {
    matches!(c, JOINER | '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{20e3}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted() {
        let x = |n: usize| "x".repeat(n);
        for (text, want) in [
            (String::new(), 1),
            (x(160), 1),
            (x(161), 2),
            (x(306), 2),
            (x(307), 3),
            ("€".repeat(80), 1),
            (format!("{}€", x(159)), 2),
            // The second septet of `€` does not fit into the first message, nor into the second.
            (format!("{}€{}", x(152), x(151)), 2),
            (format!("{}€{}", x(152), x(152)), 3),
            ("ж".repeat(70), 1),
            ("ж".repeat(71), 2),
            ("ж".repeat(135), 3),
            ("😀".repeat(35), 1),
            ("😀".repeat(36), 2),
            // 33 pairs in each message: the 67th unit stays empty.
            ("😀".repeat(66), 2),
            ("😀".repeat(67), 3),
            ("`".to_owned() + &x(70), 2),
        ] {
            assert_eq!(segments(&text), want, "{text}");
        }
        assert_eq!((BASIC.chars().count(), EXTENSION.chars().count()), (127, 10), "3GPP TS 23.038, § 6.2.1");
    }

    #[test]
    fn a_text_is_cut_politely() {
        let link = "https://hub.example.com/events/01a1ff7a-cbfb-8000-8000-000000000000";
        assert_eq!(fit("USB on ada-mbp", Some(link), 1), format!("USB on ada-mbp\n{link}"));
        let long = "word ".repeat(100);
        let cut = fit(&long, Some(link), 1);
        assert!(cut.ends_with(&format!(" word...\n{link}")), "{cut}");
        assert!(segments(&cut) == 1 && cut.len() > 150, "{cut}");
        assert_eq!(segments(&fit(&long, Some(link), 3)), 3);
        let endless = format!("https://hub/{}", "y".repeat(300));
        assert!(!fit(&long, Some(&endless), 1).contains("https"), "half a link leads nowhere");
        assert_eq!(fit("“It’s” – here…", None, 1), "\"It's\" - here...");
        let huge = fit(&"x".repeat(1 << 20), None, 10);
        assert!(segments(&huge) == 10 && huge.chars().count() <= BODY_MAX);
    }

    #[test]
    fn signs_are_not_torn() {
        let family = "👩\u{200d}👩\u{200d}👧\u{1f3fd}";
        for n in 0..20 {
            let text = "я".repeat(50 + n) + &family.repeat(5);
            let cut = fit(&text, None, 1);
            assert!(segments(&cut) == 1, "{cut}");
            let signs = cut.strip_suffix(MARK).unwrap_or(&cut).trim_start_matches('я');
            assert!(signs.replace(family, "").is_empty(), "{n}: {cut:?}");
        }
        assert!(fit(&"e\u{301}".repeat(60), None, 1).ends_with("e\u{301}..."));
    }
}
