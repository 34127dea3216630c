//! What a limit counts: a phone, a user, a client address and so on. A subject is kept as a keyed tag and a random id, never
//! in plain text, so that whatever outlives an otp names nobody.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::otp::User;
use crate::phone::Phone;

/// A 16-byte stand-in for a person or an address. Whatever outlives an otp holds this alone.
///
/// It begins with the moment when it was made, as version 7 of RFC 9562 does, so that those who are asked for at the same time
/// are neighbours in every index; the other 80 bits are random, and nothing leads from them back to the person.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SubjectId(pub [u8; 16]);

impl SubjectId {
    /// One made of a moment and ten random bytes.
    pub fn new(now: Timestamp, random: [u8; 10]) -> SubjectId {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&now.millis().to_be_bytes()[2..]);
        id[6..].copy_from_slice(&random);
        SubjectId(id)
    }

    /// Lower-case hex.
    pub fn hex(&self) -> String {
        base16ct::lower::encode_string(&self.0)
    }
    /// Reads [`SubjectId::hex`].
    pub fn from_hex(text: &str) -> Option<SubjectId> {
        base16ct::lower::decode_vec(text).ok()?.try_into().ok().map(SubjectId)
    }
    /// The last eight bytes in hex, which are random: enough to tell phones apart inside one small usage.
    pub fn short(&self) -> String {
        base16ct::lower::encode_string(&self.0[8..])
    }
}

/// What a limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A phone number.
    Phone(Phone),
    /// A user of the host system.
    User(User),
    /// A user and a phone together: guesses in a row.
    Pair(User, Phone),
    /// A client address: IPv4 whole, IPv6 by its /64.
    Ip(IpAddr),
    /// A client network: IPv4 /24, IPv6 /48.
    Network(IpAddr),
    /// An access token of a user, by its id.
    Token(i64),
    /// A country, two letters; empty: the networks that belong to none.
    Country(String),
    /// A block of numbers: what all of them begin with.
    Block(String),
    /// Everyone, as a whole.
    Everything,
}

impl Subject {
    /// Its kind.
    pub fn kind(&self) -> SubjectKind {
        match self {
            Subject::Phone(_) => SubjectKind::Phone,
            Subject::User(_) => SubjectKind::User,
            Subject::Pair(..) => SubjectKind::Pair,
            Subject::Ip(_) => SubjectKind::Ip,
            Subject::Network(_) => SubjectKind::Network,
            Subject::Token(_) => SubjectKind::Token,
            Subject::Country(_) => SubjectKind::Country,
            Subject::Block(_) => SubjectKind::Block,
            Subject::Everything => SubjectKind::Everything,
        }
    }

    /// The client address as a subject, and the network around it (reference: RFC 4291 §2.5.4 for the /64).
    pub fn of_client(ip: IpAddr) -> [Subject; 2] {
        [Subject::Ip(cut(ip, 32, 64)), Subject::Network(cut(ip, 24, 48))]
    }

    /// The block of numbers that a phone is in: all that share everything but their last four digits.
    pub fn block_of(phone: &Phone) -> Subject {
        let number = phone.as_str();
        Subject::Block(number[..number.len().saturating_sub(BLOCK_DIGITS)].to_owned())
    }

    /// The bytes that its tag is made from.
    pub fn value(&self) -> Vec<u8> {
        match self {
            Subject::Phone(phone) => phone.as_str().as_bytes().to_vec(),
            Subject::User(user) => user.as_str().as_bytes().to_vec(),
            // A phone holds no NUL, so the two parts cannot run into each other.
            Subject::Pair(user, phone) => [phone.as_str().as_bytes(), b"\0", user.as_str().as_bytes()].concat(),
            Subject::Ip(ip) | Subject::Network(ip) => ip.to_string().into_bytes(),
            Subject::Token(id) => id.to_be_bytes().to_vec(),
            Subject::Country(text) | Subject::Block(text) => text.as_bytes().to_vec(),
            Subject::Everything => Vec::new(),
        }
    }

    /// How tables, logs and the audit show it.
    pub fn masked(&self) -> String {
        match self {
            Subject::Phone(phone) | Subject::Pair(_, phone) => phone.masked(),
            Subject::User(user) => user.as_str().to_owned(),
            Subject::Ip(ip) => ip.to_string(),
            Subject::Network(IpAddr::V4(ip)) => format!("{ip}/24"),
            Subject::Network(IpAddr::V6(ip)) => format!("{ip}/48"),
            Subject::Token(id) => format!("token {id}"),
            Subject::Country(country) if country.is_empty() => "no country".to_owned(),
            Subject::Country(country) => country.clone(),
            Subject::Block(block) => format!("{block}••••"),
            Subject::Everything => "everything".to_owned(),
        }
    }
}

/// So many digits tell the numbers of a block apart: 10,000 of them are given out together.
const BLOCK_DIGITS: usize = 4;

/// The kinds of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SubjectKind {
    /// A phone number.
    Phone,
    /// A user of the host system.
    User,
    /// A user and a phone together.
    Pair,
    /// A client address.
    Ip,
    /// A client network.
    Network,
    /// An access token of a user.
    Token,
    /// A country.
    Country,
    /// A block of numbers.
    Block,
    /// Everyone.
    Everything,
}

impl SubjectKind {
    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// How a sentence names the one who is meant.
    pub fn in_words(self) -> &'static str {
        match self {
            SubjectKind::Phone => "this phone",
            SubjectKind::User => "this user",
            SubjectKind::Pair => "this user and phone",
            SubjectKind::Ip => "this address",
            SubjectKind::Network => "this network",
            SubjectKind::Token => "this token",
            SubjectKind::Country => "this country",
            SubjectKind::Block => "this block of numbers",
            SubjectKind::Everything => "all phones together",
        }
    }

    /// True for those whose time is kept by the guard: it never runs back there, and nobody resets it.
    pub fn is_of_guard(self) -> bool {
        matches!(self, SubjectKind::Country | SubjectKind::Block)
    }

    /// How `limits reset` names it.
    pub fn to_reset(self) -> &'static str {
        match self {
            SubjectKind::Phone => "PHONE",
            SubjectKind::User => "--user ID",
            SubjectKind::Pair => "PHONE --user ID",
            SubjectKind::Ip | SubjectKind::Network => "--ip ADDRESS",
            SubjectKind::Token => "--token-id ID",
            SubjectKind::Country | SubjectKind::Block | SubjectKind::Everything => "--everything",
        }
    }
}

/// An address without the bits after these, by its family.
pub(crate) fn cut(ip: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) & (u32::MAX << (32 - v4_bits))).into()),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => cut(IpAddr::V4(ip), v4_bits, v6_bits),
            None => IpAddr::V6((u128::from(ip) & (u128::MAX << (128 - v6_bits))).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn ids_sort_by_the_time_they_were_made_and_differ_by_chance_alone() {
        let now = SystemClock.now();
        let [one, other] = [SubjectId::new(now, [1; 10]), SubjectId::new(now, [2; 10])];
        assert_eq!(one.0[..6], other.0[..6]);
        assert_ne!(one.short(), other.short());
        assert!(!one.hex().starts_with(&one.short()), "what tells phones apart may not be the time");
        assert!(SubjectId::new(now + std::time::Duration::from_millis(1), [0; 10]) > one.max(other));
    }
}
