//! The code itself: computed from a key and what it is bound to, never stored, compared in constant time.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::{Code as ErrorCode, Error, Result};
use crate::typed;

/// The fewest digits that a code may have.
pub const DIGITS_MIN: u8 = 4;
/// The most digits that a code may have.
pub const DIGITS_MAX: u8 = 10;

/// The label that starts every computation; a new way to compute codes needs a new one.
const LABEL: &[u8] = b"smsotp/code/v1";

/// Longer input, in bytes, is refused unread: ten digits with separators of any script around each fit easily.
const INPUT_MAX: usize = 128;

/// The digits of a code, on their way from the computation to a message or from a person to the comparison.
///
/// Wiped when dropped. It has no `Display` and no `Serialize`, and `Debug` shows no digit.
#[derive(Clone)]
pub struct Code(Zeroizing<String>);

/// What a code is bound to. A code of one binding is wrong for any other.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The otp's 16 random bytes.
    pub nonce: &'a [u8; 16],
    /// The phone in E.164, with its `+`.
    pub phone: &'a str,
    /// The name of the purpose.
    pub purpose: &'a str,
    /// The user's bytes as given; empty when there is none.
    pub user: &'a str,
}

/// The key that codes are computed with; derived from a secret key, see `keys`.
pub struct CodeKey(Zeroizing<[u8; 32]>);

/// The public name of a secret key: 8 hex digits, kept in the database with what the key made. It reveals nothing about the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 4]);

impl Code {
    /// Reads what a person typed or pasted: spaces and dashes of every kind, and what cannot be seen, are dropped once; then 4
    /// to 10 ASCII digits must remain.
    ///
    /// Errors: `CODE_INVALID`, which names what is wrong with the shape and never repeats the input.
    pub fn parse(text: &str) -> Result<Code> {
        if text.len() > INPUT_MAX {
            return Err(malformed("is too long"));
        }
        let mut digits = Zeroizing::new(String::with_capacity(text.len()));
        let means_nothing = |c: char| (typed::is_blank(c) && !c.is_control()) || typed::is_dash(c);
        digits.extend(typed::trimmed(text).chars().filter(|c| !means_nothing(*c)));
        if digits.is_empty() {
            return Err(malformed("is empty"));
        }
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed("holds something other than the digits 0 to 9"));
        }
        if !(usize::from(DIGITS_MIN)..=usize::from(DIGITS_MAX)).contains(&digits.len()) {
            return Err(malformed(&format!("has {} digits", digits.len())));
        }
        Ok(Code(digits))
    }

    /// The digits. The message text and the keyed tag of a test number are the only places that need them.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same digits, in a time that does not depend on how many of them agree.
    pub fn matches(&self, other: &Code) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl CodeKey {
    /// A key of these 32 bytes.
    pub fn new(bytes: [u8; 32]) -> CodeKey {
        CodeKey(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeKey(…)")
    }
}

/// Computes the code of a binding: HMAC-SHA-256 over the label and each part with its length before it, the first 16 bytes
/// as a big-endian number, modulo 10^digits, leading zeros kept. `digits` outside 4 to 10 counts as the nearer of the two.
///
/// Taking 128 bits before the modulo makes every code equally likely to within 2^-94 even at ten digits.
/// Test vectors: `tests/data/code-vectors.json`.
pub fn derive(key: &CodeKey, binding: &Binding<'_>, digits: u8) -> Code {
    let digits = digits.clamp(DIGITS_MIN, DIGITS_MAX);
    let mut mac = keyed(&key.0);
    mac.update(LABEL);
    length_prefixed(&mut mac, binding.nonce);
    length_prefixed(&mut mac, binding.phone.as_bytes());
    length_prefixed(&mut mac, binding.purpose.as_bytes());
    length_prefixed(&mut mac, binding.user.as_bytes());
    let tag = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
    let number = tag[..16].iter().fold(0_u128, |n, byte| (n << 8) | u128::from(*byte));
    // Digit by digit into memory that is wiped: the standard formatting leaves a copy on the stack.
    let digit = |nth: u8| char::from(b'0' + u8::try_from(number / 10_u128.pow(u32::from(nth)) % 10).unwrap_or(0));
    let mut code = Zeroizing::new(String::with_capacity(usize::from(digits)));
    code.extend((0..digits).rev().map(digit));
    Code(code)
}

impl KeyId {
    /// The name made of these four bytes.
    pub fn new(bytes: [u8; 4]) -> KeyId {
        KeyId(bytes)
    }
    /// Reads 8 hex digits.
    pub fn parse(text: &str) -> Option<KeyId> {
        let mut id = [0; 4];
        (base16ct::mixed::decode(text, &mut id).ok()?.len() == 4).then_some(KeyId(id))
    }
    /// The four bytes.
    pub fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// HMAC-SHA-256 under a 32-byte key.
pub(crate) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// Adds a part with its length (4 bytes, big-endian) before it, so that no two lists of parts read the same.
pub(crate) fn length_prefixed(mac: &mut Hmac<Sha256>, part: &[u8]) {
    // No part has 4 GiB: every input is bounded where it is read.
    mac.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    mac.update(part);
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorCode::CODE_INVALID, format!("the code {what}"))
        .hint(format!("Give the {DIGITS_MIN} to {DIGITS_MAX} digits of the message; spaces and dashes do not matter."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        key_hex: String,
        nonce_hex: String,
        phone: String,
        purpose: String,
        user: String,
        digits: u8,
        code: String,
    }

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let mut out = [0; N];
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
        }
        out
    }

    fn binding<'a>(nonce: &'a [u8; 16], user: &'a str) -> Binding<'a> {
        Binding { nonce, phone: "+14155552671", purpose: "login", user }
    }

    #[test]
    fn the_published_vectors_are_what_we_compute() {
        let file = include_str!("../tests/data/code-vectors.json");
        let vectors: Vec<Vector> = serde_json::from_str::<serde_json::Value>(file)
            .and_then(|v| serde_json::from_value(v["vectors"].clone()))
            .unwrap();

        assert!(vectors.len() >= 12);
        for v in vectors {
            let nonce = bytes(&v.nonce_hex);
            let binding = Binding { nonce: &nonce, phone: &v.phone, purpose: &v.purpose, user: &v.user };
            let code = derive(&CodeKey::new(bytes(&v.key_hex)), &binding, v.digits);
            assert_eq!(code.expose(), v.code, "{} {} {}", v.phone, v.purpose, v.digits);
        }
    }

    #[test]
    fn a_code_moved_to_another_phone_purpose_user_nonce_or_key_is_another_code() {
        let key = CodeKey::new([7; 32]);
        let nonce = [1; 16];
        let code = |key: &CodeKey, b: Binding<'_>| derive(key, &b, 10).expose().to_owned();
        let base = code(&key, binding(&nonce, "ann"));

        assert_ne!(base, code(&key, Binding { phone: "+14155552672", ..binding(&nonce, "ann") }));
        assert_ne!(base, code(&key, Binding { purpose: "registration", ..binding(&nonce, "ann") }));
        assert_ne!(base, code(&key, binding(&nonce, "")));
        assert_ne!(base, code(&key, binding(&[2; 16], "ann")));
        assert_ne!(base, code(&CodeKey::new([8; 32]), binding(&nonce, "ann")));
        // The lengths keep neighbours apart: "login" + "ann" is not "logina" + "nn".
        assert_ne!(base, code(&key, Binding { purpose: "logina", user: "nn", ..binding(&nonce, "") }));
    }

    #[test]
    fn people_may_type_and_paste_spaces_and_dashes_and_nothing_else() {
        for text in [
            "123456",
            "123 456",
            " 123-456\n",
            "1-2-3-4-5-6",
            "1 2 3 4 5 6",
            "123\u{a0}456",
            "123\u{2009}456",
            "123\u{202f}456\u{a0}",
            "123\u{2013}456",
            "123\u{2014}456",
            "\u{2011}123\u{2212}456",
            "123\u{200b}456",
            "\u{feff}123456\r\n",
            "\u{202d}123456\u{202c}",
            "123\u{3000}456\u{ad}",
        ] {
            assert_eq!(Code::parse(text).unwrap().expose(), "123456", "{text:?}");
        }
        assert_eq!(Code::parse("000042").unwrap().expose(), "000042");
        for text in [
            "",
            " ",
            "--",
            "123",
            "12345678901",
            "12345a",
            "１２３４５６",
            "123\n456",
            "123·456",
            "+123456",
            "1234.5",
            "123456\0",
        ] {
            let error = Code::parse(text).unwrap_err();
            assert_eq!(error.class().exit(), 65, "{text:?}");
            assert!(text.trim().len() < 4 || !error.to_string().contains(text.trim()), "{text:?} is repeated");
        }
        assert!(Code::parse(&"1".repeat(1 << 20)).is_err());
    }

    #[test]
    fn only_the_same_digits_match() {
        let code = |text| Code::parse(text).unwrap();

        assert!(code("0123").matches(&code("0123")));
        assert!(!code("0123").matches(&code("123456")));
        assert!(!code("0123").matches(&code("01230")));
        assert!(!code("0123").matches(&code("0124")));
    }

    #[test]
    fn debug_shows_no_digit() {
        assert_eq!(format!("{:?}", Code::parse("271828").unwrap()), "Code(…)");
        assert_eq!(format!("{:?}", CodeKey::new([1; 32])), "CodeKey(…)");
    }

    proptest! {
        #[test]
        fn every_computed_code_has_its_digits_and_reads_back(
            key in any::<[u8; 32]>(), nonce in any::<[u8; 16]>(), user in ".{0,40}", digits in 0_u8..=255,
        ) {
            let code = derive(&CodeKey::new(key), &binding(&nonce, &user), digits);
            prop_assert_eq!(code.expose().len(), usize::from(digits.clamp(DIGITS_MIN, DIGITS_MAX)));
            prop_assert!(Code::parse(code.expose()).unwrap().matches(&code));
        }

        #[test]
        fn no_input_makes_it_panic(text in any::<String>()) {
            let _ = Code::parse(&text);
        }
    }

    #[test]
    fn codes_are_spread_evenly() {
        // 40 000 codes in 100 bins by their first two digits. Chi-square with 99 degrees of freedom stays under 180 but for
        // one key in a million; the key is fixed, so this either always holds or never does.
        let key = CodeKey::new([42; 32]);
        let mut bins = [0_f64; 100];
        for n in 0..40_000_u128 {
            let nonce = n.to_be_bytes();
            let code = derive(&key, &binding(&nonce, ""), 6);
            bins[code.expose()[..2].parse::<usize>().unwrap()] += 1.0;
        }

        let chi_square: f64 = bins.iter().map(|n| (n - 400.0).powi(2) / 400.0).sum();

        assert!(chi_square < 180.0, "{chi_square}");
    }
}
