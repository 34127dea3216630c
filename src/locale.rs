//! In which language a message is written: a tag of BCP 47, and what to take where there is no text for it.

use std::fmt;

use serde::Serialize;

/// The tag of a language, with script and region where they are given: `de`, `de-AT`, `zh-Hant`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Locale(String);

impl Locale {
    /// Reads `de`, `de-AT`, `de_AT`, `zh-Hant-TW` or `de_AT.UTF-8`, in any case; `None` for what is no such tag.
    pub fn parse(text: &str) -> Option<Locale> {
        let text = text.trim().split(['.', '@']).next()?;
        let mut tag = String::new();
        for (nth, part) in text.split(['-', '_']).enumerate() {
            let letters = part.bytes().all(|b| b.is_ascii_alphabetic());
            let digits = part.bytes().all(|b| b.is_ascii_digit());
            let kind = (nth, part.len());
            let part = match kind {
                (0, 2..=3) if letters => modern(&part.to_ascii_lowercase()).to_owned(),
                (1, 4) if letters => part[..1].to_ascii_uppercase() + &part[1..].to_ascii_lowercase(),
                (1 | 2, 2) if letters => part.to_ascii_uppercase(),
                (1 | 2, 3) if digits => part.to_owned(),
                _ => return None,
            };
            if nth > 0 {
                tag.push('-');
            }
            tag.push_str(&part);
        }
        // A region comes last, and once.
        let parts: Vec<&str> = tag.split('-').collect();
        (parts.len() < 3 || parts[1].len() == 4).then_some(Locale(tag))
    }

    /// English: what texts are taken from where there are no others.
    pub fn fallback() -> Locale {
        Locale("en".to_owned())
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag itself, then what it is a kind of: `de-AT`, `de`. Chinese of Taiwan, Hong Kong and Macao is written in traditional
    /// characters.
    pub fn and_wider(&self) -> Vec<Locale> {
        let mut all = vec![self.clone()];
        if ["zh-TW", "zh-HK", "zh-MO"].contains(&self.as_str()) {
            all.push(Locale("zh-Hant".to_owned()));
        }
        let mut rest = self.as_str();
        while let Some((wider, _)) = rest.rsplit_once('-') {
            all.push(Locale(wider.to_owned()));
            rest = wider;
        }
        all
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Today's tag for a language that had another once.
fn modern(language: &str) -> &str {
    match language {
        "iw" => "he",
        "in" => "id",
        "no" => "nb",
        language => language,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_in_any_spelling() {
        for (typed, tag) in [
            ("de", "de"),
            ("de-at", "de-AT"),
            ("DE_AT.UTF-8", "de-AT"),
            ("ca_ES@valencia", "ca-ES"),
            ("zh-hant-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("no", "nb"),
            ("iw-IL", "he-IL"),
            (" fil ", "fil"),
        ] {
            assert_eq!(Locale::parse(typed).map(|locale| locale.0).as_deref(), Some(tag), "{typed}");
        }
        for typed in [
            "",
            "d",
            "german",
            "de-",
            "-de",
            "de-AT-AT",
            "de-AT-Latn",
            "de--AT",
            "d1",
            "de-A1",
            "de-1",
            "C.UTF-8",
            "dé",
        ] {
            assert_eq!(Locale::parse(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn what_is_wider_comes_after() {
        let wider = |tag: &str| -> Vec<String> {
            Locale::parse(tag).unwrap().and_wider().iter().map(ToString::to_string).collect()
        };

        assert_eq!(wider("de"), ["de"]);
        assert_eq!(wider("de-AT"), ["de-AT", "de"]);
        assert_eq!(wider("zh-TW"), ["zh-TW", "zh-Hant", "zh"]);
        assert_eq!(wider("zh-Hant-HK"), ["zh-Hant-HK", "zh-Hant", "zh"]);
    }
}
