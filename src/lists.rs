//! The operator's lists: who gets no messages (`block`), and whom the caps against abuse do not hold back (`allow`). An entry is about
//! a phone, the first digits of numbers, a country, a user, a client address or a network.
//!
//! Three things are asked one by one: the number that a message goes to, the user, and the client's address. Of the entries about
//! one of them the most specific decides: a phone before a prefix, a longer prefix before a shorter one, a prefix of at least four
//! digits before a country, an address before a network. Where both lists name the same, the block decides. One "no" of the three
//! is enough; without any, one `allow` is.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::otp::User;
use crate::phone::Phone;
use crate::subject::{Subject, cut};

/// The most digits of a prefix. A number has at most 15, and a prefix is kept as it is: it must name many people and not one.
const PREFIX_MAX: usize = 12;

/// From so many digits on a prefix is more specific than a country: calling codes have at most three.
const IN_A_COUNTRY: usize = 4;

/// The lengths of a network in bits, IPv4 and IPv6. A longer one is a single client: see [`Subject::of_client`].
const NETWORK_BITS: [(u8, u8); 2] = [(8, 31), (16, 63)];

/// Which list an entry is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr, strum::Display, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Side {
    /// Gets no messages.
    Block,
    /// Passes the caps against abuse.
    Allow,
}

/// What an entry is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listed {
    /// A phone.
    Phone(Phone),
    /// Every number that begins so.
    Prefix(Prefix),
    /// A country, by its two letters.
    Country(&'static str),
    /// A user of the host system.
    User(User),
    /// A client address; of IPv6 its /64.
    Ip(IpAddr),
    /// A client network.
    Network(Network),
}

/// The kinds of [`Listed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr, strum::Display, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ListedKind {
    /// A phone.
    Phone,
    /// The first digits of numbers.
    Prefix,
    /// A country.
    Country,
    /// A user.
    User,
    /// A client address.
    Ip,
    /// A client network.
    Network,
}

/// The first digits of numbers, with a `+`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prefix(String);

/// A client network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// What it is found by: its kind and value, and of a person or an address a keyed tag instead of the value.
    pub key: String,
    /// On which list.
    pub side: Side,
    /// What kind of thing it is about.
    pub kind: ListedKind,
    /// What it is about, as it may be shown: a phone masked, [`FORGOTTEN`] where the person was forgotten.
    pub shown: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None`: until it is removed.
    pub until: Option<Timestamp>,
    /// By whom.
    pub added_by: String,
    /// How many messages it has refused, as far as the audit log has recorded them.
    pub hits: u64,
    /// When the audit log last recorded one.
    pub hit_at: Option<Timestamp>,
}

/// What stands in place of a person who was forgotten.
pub const FORGOTTEN: &str = "(forgotten)";

/// What the lists say of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ruling<'a> {
    /// The entry that forbids it.
    pub blocked: Option<&'a ListEntry>,
    /// The caps against abuse do not hold it back.
    pub allowed: bool,
}

/// Who and what a message is about, for its entries to be found.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The number.
    pub phone: &'a Phone,
    /// Its country.
    pub country: Option<&'a str>,
    /// The user; the empty one is nobody.
    pub user: &'a User,
    /// The client's address.
    pub ip: Option<IpAddr>,
}

impl Side {
    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
    /// The one list twice, or both.
    pub fn one_or_both(side: Option<Side>) -> [Side; 2] {
        side.map_or([Side::Block, Side::Allow], |side| [side; 2])
    }
    /// Reads [`Side::as_str`].
    pub fn parse(word: &str) -> Option<Side> {
        word.parse().ok()
    }
}

impl ListedKind {
    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
    /// Reads [`ListedKind::as_str`].
    pub fn parse(word: &str) -> Option<ListedKind> {
        word.parse().ok()
    }
}

impl Prefix {
    /// Reads `+99290`, also with a `*` at its end.
    ///
    /// # Errors
    /// `VALUE_INVALID`.
    pub fn parse(text: &str) -> Result<Prefix> {
        let digits = text.strip_suffix('*').unwrap_or(text).strip_prefix('+').unwrap_or_default();
        let ok = (1..=PREFIX_MAX).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !ok {
            return Err(Error::new(Code::VALUE_INVALID, "this is no beginning of phone numbers")
                .hint(format!("Write 1 to {PREFIX_MAX} digits after a +, for example +99290 or +99290*")));
        }
        Ok(Prefix(format!("+{digits}")))
    }

    /// Whether these are more digits than a beginning has that nobody wrote as one: then it may be a mistyped phone number.
    pub fn is_long(&self) -> bool {
        self.0.len() > 10
    }

    /// With its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Network {
    /// Reads `203.0.113.0/24` or `2001:db8::/32`; the rest of the address does not matter.
    ///
    /// # Errors
    /// `VALUE_INVALID`.
    pub fn parse(text: &str) -> Result<Network> {
        let wrong = |hint: &str| Error::new(Code::VALUE_INVALID, "this is no network").hint(hint.to_owned());
        let parts = text.split_once('/').and_then(|(ip, bits)| Some((ip.parse().ok()?, bits.parse::<u8>().ok()?)));
        let Some((ip, bits)) = parts else { return Err(wrong("Write it like 203.0.113.0/24 or 2001:db8::/32")) };
        let ip: IpAddr = ip;
        let (least, most) = if ip.is_ipv4() { NETWORK_BITS[0] } else { NETWORK_BITS[1] };
        if !(least..=most).contains(&bits) {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(wrong(&format!(
                "A network of {family} has /{least} to /{most}; for one client name its address"
            )));
        }
        Ok(Network::around(ip, bits))
    }

    /// The network of this length that an address is in.
    fn around(ip: IpAddr, bits: u8) -> Network {
        Network { base: cut(ip, u32::from(bits).min(32), u32::from(bits)), bits }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl Listed {
    /// A client's address: of IPv6 its /64, as everywhere.
    pub fn client(ip: IpAddr) -> Listed {
        match &Subject::of_client(ip)[0] {
            Subject::Ip(ip) => Listed::Ip(*ip),
            _ => Listed::Ip(ip),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> ListedKind {
        match self {
            Listed::Phone(_) => ListedKind::Phone,
            Listed::Prefix(_) => ListedKind::Prefix,
            Listed::Country(_) => ListedKind::Country,
            Listed::User(_) => ListedKind::User,
            Listed::Ip(_) => ListedKind::Ip,
            Listed::Network(_) => ListedKind::Network,
        }
    }

    /// How lists, logs and the audit show it.
    pub fn shown(&self) -> String {
        match self {
            Listed::Phone(phone) => phone.masked(),
            Listed::Prefix(prefix) => prefix.0.clone(),
            Listed::Country(country) => (*country).to_owned(),
            Listed::User(user) => user.as_str().to_owned(),
            Listed::Ip(ip @ IpAddr::V4(_)) => ip.to_string(),
            Listed::Ip(ip @ IpAddr::V6(_)) => format!("{ip}/64"),
            Listed::Network(network) => network.to_string(),
        }
    }

    /// What an entry about it is found by. `tag` makes a keyed tag of a kind and a value.
    pub fn key(&self, tag: impl Fn(&str, &[u8]) -> [u8; 32]) -> String {
        let kind = self.kind().as_str();
        let tagged = |value: &[u8]| {
            let tag = tag(&format!("list-{kind}"), value);
            format!("{kind}:{}", base16ct::lower::encode_string(&tag))
        };
        match self {
            Listed::Phone(phone) => tagged(phone.as_str().as_bytes()),
            Listed::User(user) => tagged(user.as_str().as_bytes()),
            Listed::Ip(ip) => tagged(ip.to_string().as_bytes()),
            Listed::Prefix(_) | Listed::Country(_) | Listed::Network(_) => format!("{kind}:{}", self.shown()),
        }
    }
}

impl About<'_> {
    /// The keys of all entries that a message may meet: at most 66, whatever the lists hold.
    pub fn keys(&self, tag: impl Fn(&str, &[u8]) -> [u8; 32]) -> Vec<String> {
        let number = self.phone.as_str();
        let mut keys = vec![Listed::Phone(self.phone.clone()).key(&tag)];
        keys.extend((2..=number.len().min(PREFIX_MAX + 1)).map(|end| format!("prefix:{}", &number[..end])));
        keys.extend(self.country.map(|country| format!("country:{}", country.to_ascii_uppercase())));
        keys.extend((!self.user.is_empty()).then(|| Listed::User(self.user.clone()).key(&tag)));
        if let Some(ip) = self.ip.map(|ip| ip.to_canonical()) {
            keys.push(Listed::client(ip).key(&tag));
            let (least, most) = if ip.is_ipv4() { NETWORK_BITS[0] } else { NETWORK_BITS[1] };
            keys.extend((least..=most).map(|bits| format!("network:{}", Network::around(ip, bits))));
        }
        keys
    }
}

impl ListEntry {
    /// Whether it holds now.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Which of the three things it is about, and how specific it is among the entries about that.
    fn place(&self) -> (usize, usize) {
        match self.kind {
            ListedKind::Phone => (0, usize::MAX),
            // In half digits: a country lies between a prefix of three digits and one of four.
            ListedKind::Prefix => (0, 2 * (self.shown.len() - 1)),
            ListedKind::Country => (0, 2 * IN_A_COUNTRY - 1),
            ListedKind::User => (1, 0),
            ListedKind::Ip => (2, usize::MAX),
            ListedKind::Network => {
                let bits = self.shown.rsplit('/').next().and_then(|bits| bits.parse().ok());
                (2, bits.unwrap_or_default())
            }
        }
    }

    /// What takes it off its list again, as it is typed. Of a phone or a user only whoever added it knows the whole.
    pub fn undo(&self) -> String {
        let what = match self.kind {
            ListedKind::Phone => "PHONE",
            ListedKind::User => "--user ID",
            ListedKind::Ip => "ADDRESS",
            ListedKind::Prefix | ListedKind::Country | ListedKind::Network => &self.shown,
        };
        // Without the star a long beginning would be read as a phone number.
        let star = if self.kind == ListedKind::Prefix && what.len() > 10 { "*" } else { "" };
        let side = if self.side == Side::Allow { " --allow" } else { "" };
        format!("smsotp block remove {what}{star}{side}")
    }

    /// The same entry without whoever it is about: what is left of it when they are forgotten.
    #[must_use]
    pub fn forgotten(&self) -> ListEntry {
        ListEntry { shown: FORGOTTEN.to_owned(), reason: String::new(), ..self.clone() }
    }
}

/// What these entries, which were found for a message, say of it now.
pub fn rule(entries: &[ListEntry], now: Timestamp) -> Ruling<'_> {
    let live = || entries.iter().filter(|entry| entry.is_live(now));
    // The last of equals is taken: the block.
    let rank = |entry: &&ListEntry| (entry.place().1, entry.side == Side::Block);
    let decides = |what: usize| live().filter(|entry| entry.place().0 == what).max_by_key(rank);
    let deciding: Vec<&ListEntry> = (0..3).filter_map(decides).collect();
    let blocked = deciding.iter().copied().find(|entry| entry.side == Side::Block);
    Ruling { blocked, allowed: blocked.is_none() && !deciding.is_empty() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn tag(kind: &str, value: &[u8]) -> [u8; 32] {
        let mut tag = [0; 32];
        for (at, byte) in kind.bytes().chain(value.iter().copied()).enumerate() {
            tag[at % 32] ^= byte.rotate_left(u32::try_from(at / 32).unwrap());
        }
        tag
    }

    fn entry(side: Side, listed: &Listed) -> ListEntry {
        ListEntry {
            key: listed.key(tag),
            side,
            kind: listed.kind(),
            shown: listed.shown(),
            reason: "pumping".into(),
            since: NOW,
            until: None,
            added_by: "os:0:root".into(),
            hits: 0,
            hit_at: None,
        }
    }

    fn prefix(text: &str) -> Listed {
        Listed::Prefix(Prefix::parse(text).unwrap())
    }

    fn network(text: &str) -> Listed {
        Listed::Network(Network::parse(text).unwrap())
    }

    const PHONE: &str = "+992901234567";

    fn phone() -> Listed {
        Listed::Phone(Phone::from_e164(PHONE).unwrap())
    }

    fn user() -> Listed {
        Listed::User(User::parse("ada").unwrap())
    }

    fn ip(text: &str) -> Listed {
        Listed::client(text.parse().unwrap())
    }

    /// What the entries say of a message to the phone, for ada, by a client: those that are found by their keys.
    fn ruling(client: &str, entries: &[(Side, Listed)]) -> &'static str {
        let user = User::parse("ada").unwrap();
        let phone = Phone::from_e164(PHONE).unwrap();
        let about = About { phone: &phone, country: Some("TJ"), user: &user, ip: Some(client.parse().unwrap()) };
        let keys = about.keys(tag);
        assert!(keys.len() <= 66, "{}", keys.len());
        let entries = entries.iter().map(|(side, listed)| entry(*side, listed));
        let found: Vec<ListEntry> = entries.filter(|entry| keys.contains(&entry.key)).collect();
        match rule(&found, NOW) {
            Ruling { blocked: Some(_), allowed: false } => "blocked",
            Ruling { blocked: None, allowed: true } => "allowed",
            Ruling { blocked: None, allowed: false } => "nothing",
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_is_met_by_what_it_names_and_by_nothing_else() {
        for (listed, met) in [
            (phone(), true),
            (Listed::Phone(Phone::from_e164("+992901234568").unwrap()), false),
            (prefix("+9"), true),
            (prefix("+99290"), true),
            (prefix("+992901234567*"), true),
            (prefix("+99291"), false),
            (Listed::Country("TJ"), true),
            (Listed::Country("US"), false),
            (user(), true),
            (Listed::User(User::parse("adam").unwrap()), false),
            (ip("203.0.113.7"), true),
            (ip("::ffff:203.0.113.7"), true),
            (ip("203.0.113.8"), false),
            (network("203.0.113.200/24"), true),
            (network("203.0.0.0/8"), true),
            (network("203.0.113.6/31"), true),
            (network("203.0.113.4/31"), false),
            (network("203.0.112.0/24"), false),
        ] {
            for (side, word) in [(Side::Block, "blocked"), (Side::Allow, "allowed")] {
                let said = ruling("203.0.113.7", &[(side, listed.clone())]);
                assert_eq!(said, if met { word } else { "nothing" }, "{listed:?}");
            }
        }
        for (listed, met) in [
            (ip("2001:db8:1:2::9"), true),
            (ip("2001:db8:1:3::7"), false),
            (network("2001:db8::/32"), true),
            (network("2001:db8:1:2::/63"), true),
            (network("2001:db8:1::/48"), true),
            (network("2001:db8:2::/48"), false),
        ] {
            let said = ruling("2001:db8:1:2::7", &[(Side::Block, listed.clone())]);
            assert_eq!(said, if met { "blocked" } else { "nothing" }, "{listed:?}");
        }
    }

    #[test]
    fn the_more_specific_entry_decides_about_a_number_and_about_an_address() {
        use Side::{Allow, Block};
        // Each is more specific than those before it.
        let numbers = [prefix("+9"), prefix("+992"), Listed::Country("TJ"), prefix("+9929"), prefix("+99290"), phone()];
        let addresses = [network("203.0.0.0/8"), network("203.0.113.0/24"), ip("203.0.113.7")];
        for ladder in [&numbers[..], &addresses[..]] {
            for (nth, wide) in ladder.iter().enumerate() {
                for narrow in &ladder[nth + 1..] {
                    for (of_wide, of_narrow, word) in [(Block, Allow, "allowed"), (Allow, Block, "blocked")] {
                        let (wide, narrow) = ((of_wide, wide.clone()), (of_narrow, narrow.clone()));
                        assert_eq!(ruling("203.0.113.7", &[wide.clone(), narrow.clone()]), word, "{wide:?} {narrow:?}");
                        assert_eq!(ruling("203.0.113.7", &[narrow, wide]), word);
                    }
                }
            }
        }
    }

    #[test]
    fn a_block_wins_over_an_allow_of_the_same_and_of_something_else() {
        use Side::{Allow, Block};
        let all =
            [phone(), prefix("+99290"), Listed::Country("TJ"), user(), ip("203.0.113.7"), network("203.0.113.0/24")];
        for listed in &all {
            for pair in [[Allow, Block], [Block, Allow]] {
                let both: Vec<_> = pair.into_iter().map(|side| (side, listed.clone())).collect();
                assert_eq!(ruling("203.0.113.7", &both), "blocked", "{listed:?}");
            }
        }
        for (blocked, allowed) in
            [(phone(), user()), (user(), phone()), (ip("203.0.113.7"), phone()), (user(), ip("203.0.113.7"))]
        {
            assert_eq!(ruling("203.0.113.7", &[(Allow, allowed), (Block, blocked)]), "blocked");
        }
    }

    #[test]
    fn an_entry_holds_until_its_end() {
        let mut ended = entry(Side::Block, &phone());
        ended.until = Some(NOW + std::time::Duration::from_millis(1));
        assert!(rule(&[ended.clone()], NOW).blocked.is_some());
        ended.until = Some(NOW);
        assert!(rule(&[ended.clone()], NOW).blocked.is_none());
        // An end that is over leaves the wider entry in force.
        let country = entry(Side::Block, &Listed::Country("TJ"));
        let allowed = ListEntry { side: Side::Allow, ..ended };
        assert!(rule(&[allowed, country], NOW).blocked.is_some());
    }

    #[test]
    fn a_key_names_no_person() {
        for listed in [phone(), user(), ip("203.0.113.7")] {
            let key = listed.key(tag);
            let value = [PHONE, "ada", "203.0.113.7"];
            assert!(value.iter().all(|value| !key.contains(value)), "{key}");
        }
        assert_eq!(prefix("+99290*").key(tag), "prefix:+99290");
    }

    #[test]
    fn what_is_no_beginning_and_no_network_is_refused() {
        for bad in ["", "+", "*", "99290", "+0992", "+1234567890123", "+992 90", "+99x", "+٣٣"] {
            assert_eq!(Prefix::parse(bad).unwrap_err().code(), Code::VALUE_INVALID, "{bad}");
        }
        for bad in [
            "",
            "/",
            "203.0.113.0",
            "203.0.113.0/7",
            "203.0.113.0/32",
            "203.0.113.0/-1",
            "::/0",
            "2001:db8::/64",
            "x/8",
        ] {
            assert_eq!(Network::parse(bad).unwrap_err().code(), Code::VALUE_INVALID, "{bad}");
        }
        assert_eq!(Network::parse("203.0.113.77/24").unwrap().to_string(), "203.0.113.0/24");
    }

    #[test]
    fn an_undo_is_what_takes_the_entry_away() {
        let undo = |side, listed: &Listed| entry(side, listed).undo();
        assert_eq!(undo(Side::Block, &Listed::Country("TJ")), "smsotp block remove TJ");
        assert_eq!(undo(Side::Allow, &prefix("+99290")), "smsotp block remove +99290 --allow");
        assert_eq!(undo(Side::Block, &prefix("+9929012345*")), "smsotp block remove +9929012345*");
        assert_eq!(undo(Side::Block, &phone()), "smsotp block remove PHONE");
        assert_eq!(undo(Side::Block, &user()), "smsotp block remove --user ID");
    }
}
