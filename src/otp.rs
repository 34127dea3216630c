//! One challenge: a code for (user, phone, purpose) with its life. Terminal states are terminal.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};

use crate::clock::{CLOCK_SLACK, Timestamp};
use crate::code::KeyId;
use crate::error::{Code as ErrorCode, Error, Result};
use crate::phone::Phone;
use crate::purpose::Purpose;

/// One challenge as the database keeps it. The code itself is nowhere in it: it is computed from the nonce and the secret key.
#[derive(Clone, Debug, PartialEq)]
pub struct Otp {
    /// Plain integer id, never used twice.
    pub id: i64,
    /// Whose it is; empty where the host system has no users.
    pub user: User,
    /// Where the code goes.
    pub phone: Phone,
    /// Why it was asked for.
    pub purpose: Purpose,
    /// 16 bytes from the operating system's generator.
    pub nonce: [u8; 16],
    /// The public id of the key that computes the code.
    pub key_id: KeyId,
    /// How many digits the code has.
    pub digits: u8,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The code is valid while `now < expires_at`.
    pub expires_at: Timestamp,
    /// Where it is in its life.
    pub state: State,
    /// When the state became terminal.
    pub ended_at: Option<Timestamp>,
    /// Wrong guesses so far; re-sends do not reset it.
    pub wrong_guesses: u32,
    /// A declared test number: nothing is sent and the code is fixed.
    pub test: bool,
    /// A service vouched for whoever asked for it: wrong guesses at it count in the budgets of such callers.
    pub known: bool,
}

/// Where an otp is in its life. All but [`State::Active`] are terminal.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
    strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// It can be verified while its time lasts.
    Active,
    /// It was verified, once.
    Verified,
    /// A newer code took its place.
    Superseded,
    /// Its guesses are spent.
    Locked,
    /// Staff took it back.
    Revoked,
    /// It could not be sent.
    Failed,
    /// Its time ran out.
    Expired,
}

impl State {
    /// All states in the order of their declaration.
    pub const ALL: &[State] = <State as strum::VariantArray>::VARIANTS;
    /// The word in database, JSON and filters.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
    /// The state with that word.
    pub fn parse(word: &str) -> Option<State> {
        word.parse().ok()
    }
}

impl Otp {
    /// True while it can still be verified.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.shown_state(now) == State::Active
    }

    /// The state that a reader should be told: an active otp whose time is over is expired, written or not. So is one that was
    /// made by a clock that was ahead: it would live for longer than it was meant to.
    pub fn shown_state(&self, now: Timestamp) -> State {
        let over = now >= self.expires_at || self.created_at.since(now) > CLOCK_SLACK;
        if self.state == State::Active && over { State::Expired } else { self.state }
    }

    /// How long it can still be verified.
    pub fn left(&self, now: Timestamp) -> Duration {
        self.expires_at.since(now)
    }

    /// From when on the otp is over: what purge counts from.
    pub fn over_at(&self) -> Timestamp {
        self.ended_at.unwrap_or(self.expires_at)
    }

    /// Ends it. Terminal states are terminal: ending an ended otp changes nothing.
    pub fn end(&mut self, state: State, now: Timestamp) {
        if self.state == State::Active && state != State::Active {
            self.state = state;
            self.ended_at = Some(if state == State::Expired { self.expires_at } else { now });
        }
    }
}

/// The identifier of the host system's user: up to 128 visible characters; empty where there is none.
///
/// It is kept in Unicode's normal form C without white space at either end, so that one name typed in two ways is one user.
/// Everything else makes another user, capitals included: what is compared, bound and counted are the bytes of that form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct User(Arc<str>);

impl User {
    /// The longest user, in characters.
    pub const MAX: usize = 128;

    /// Takes a user as given, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<User> {
        let text = text.trim();
        // What nearly all are: every character is a byte, and visible. Each row of the database is looked at in this way.
        if text.len() <= User::MAX && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Ok(User(text.into()));
        }
        let text = ComposingNormalizerBorrowed::new_nfc().normalize(text);
        let length = text.chars().count();
        if length > User::MAX {
            return Err(Error::new(
                ErrorCode::VALUE_INVALID,
                format!("the user is {length} characters long; at most {} are allowed", User::MAX),
            ));
        }
        if let Some(bad) = text.chars().find(|c| !is_visible(*c)) {
            return Err(Error::new(
                ErrorCode::VALUE_INVALID,
                format!(
                    "the user contains U+{:04X}, which cannot be seen; only visible characters are allowed",
                    bad as u32
                ),
            ));
        }
        Ok(User(text.into()))
    }
    /// The bytes of the normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// True where the host system named no user.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Visible: no control, no space at all but the plain one, no direction marks or zero-width characters.
fn is_visible(c: char) -> bool {
    let hidden = matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}');
    !c.is_control() && !hidden && (c == ' ' || !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otp() -> Otp {
        Otp {
            id: 1,
            user: User::default(),
            phone: Phone::from_e164("+14155550100").unwrap(),
            purpose: Purpose::parse("login").unwrap(),
            nonce: [0; 16],
            key_id: KeyId::parse("00000000").unwrap(),
            digits: 6,
            created_at: Timestamp(0),
            expires_at: Timestamp(600_000),
            state: State::Active,
            ended_at: None,
            wrong_guesses: 0,
            test: false,
            known: false,
        }
    }

    #[test]
    fn valid_while_now_is_before_the_end_and_not_a_millisecond_longer() {
        assert!(otp().is_live(Timestamp(599_999)));
        assert!(!otp().is_live(Timestamp(600_000)));
        assert_eq!(otp().shown_state(Timestamp(600_000)), State::Expired);
    }

    #[test]
    fn terminal_states_are_terminal() {
        for first in State::ALL.iter().copied().skip(1) {
            for &second in State::ALL {
                let mut otp = otp();
                otp.end(first, Timestamp(5));
                otp.end(second, Timestamp(9));
                assert_eq!(otp.state, first, "{first} then {second}");
            }
        }
    }

    #[test]
    fn a_user_is_visible_text_of_bounded_length() {
        assert!(User::parse("").is_ok());
        assert!(User::parse("Ada Løvelace #7 ñ 漢字").is_ok());
        assert!(User::parse(&"x".repeat(128)).is_ok());
        assert!(User::parse(&"x".repeat(129)).is_err());
        for bad in ["a\nb", "a\u{1b}[31m", "a\u{202e}b", "a\u{200b}b", "a\tb", "\u{0}", "a\u{a0}b"] {
            assert!(User::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_name_typed_in_two_ways_is_one_user() {
        let user = |text: &str| User::parse(text).unwrap();
        let jose = user("Jos\u{e9}");
        for same in ["Jose\u{301}", " Jos\u{e9}", "Jose\u{301}\u{a0}", "Jos\u{e9}\n", "\tJos\u{e9} \u{3000}"] {
            assert_eq!(user(same), jose, "{same:?}");
        }
        assert_eq!((user("  "), user("\u{212b}"), user("가")), (User::default(), user("\u{c5}"), user("가")));
        // Another user is what differs after that: capitals, accents, a space inside, a ligature.
        for other in ["JOS\u{c9}", "jos\u{e9}", "Jose", "Jo s\u{e9}", "ﬁ"] {
            assert_ne!(user(other), jose, "{other:?}");
        }
        assert_ne!(user("ﬁ"), user("fi"));
        // The length is that of what is kept.
        assert!(User::parse(&"e\u{301}".repeat(128)).is_ok());
        assert!(User::parse(&format!(" {} ", "x".repeat(128))).is_ok());
    }

    #[test]
    fn a_code_from_a_clock_that_was_ahead_is_over() {
        let made_at =
            |ahead: i64| Otp { created_at: Timestamp(ahead), expires_at: Timestamp(ahead + 600_000), ..otp() };
        let now = Timestamp(0);
        assert!(made_at(300_000).is_live(now));
        assert!(!made_at(300_001).is_live(now) && !made_at(86_400_000).is_live(now));
        assert_eq!(made_at(86_400_000).shown_state(now), State::Expired);
    }

    #[test]
    fn an_otp_is_over_when_it_ended_or_when_its_time_is_over() {
        let (end, soon) = (Timestamp(600_000), Timestamp(599_000));
        assert_eq!((otp().left(soon), otp().left(end)), (Duration::from_secs(1), Duration::ZERO));
        assert_eq!((otp().over_at(), otp().ended_at), (end, None));
        let mut revoked = otp();
        revoked.end(State::Active, soon);
        assert_eq!(revoked, otp(), "active is no end");
        revoked.end(State::Revoked, soon);
        assert_eq!((revoked.ended_at, revoked.over_at(), revoked.is_live(soon)), (Some(soon), soon, false));
        assert_eq!(revoked.shown_state(end), State::Revoked);
        let mut expired = otp();
        expired.end(State::Expired, Timestamp(700_000));
        assert_eq!(expired.ended_at, Some(end), "it ended with its time, whenever that is met");
        assert_eq!(otp().shown_state(soon), State::Active);
    }

    #[test]
    fn states_have_words() {
        for &state in State::ALL {
            assert_eq!((State::parse(state.as_str()), state.to_string()), (Some(state), state.as_str().to_owned()));
        }
        assert_eq!(State::parse("gone"), None);
    }

    #[test]
    fn a_user_is_shown_as_given_and_refused_with_what_is_wrong() {
        assert_eq!(format!("{:?} {:?}", User::parse("ada \"x\"").unwrap(), User::default()), r#""ada \"x\"" """#);
        assert!(User::parse("").unwrap().is_empty() && !User::parse("a").unwrap().is_empty());
        assert_eq!(User::parse("ada").unwrap().as_str(), "ada");
        assert!(User::parse(&"é".repeat(128)).is_ok(), "characters, not bytes");
        let error = |text: &str| User::parse(text).unwrap_err().message().to_owned();
        assert!(error(&"é".repeat(129)).contains("129 characters"));
        assert!(error(&"x".repeat(129)).contains("129 characters"));
        assert!(error("a\u{200b}").contains("U+200B"));
        for hidden in ['\u{2028}', '\u{2066}', '\u{feff}', '\u{fffa}', '\u{e0041}', '\u{3000}', '\u{85}'] {
            assert!(User::parse(&format!("é{hidden}a")).is_err(), "U+{:04X}", hidden as u32);
        }
    }
}
