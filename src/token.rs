//! An access token of the REST API: what its bearer may do, for whom, and until when. The token itself is never kept.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::otp::User;

/// A token as the database keeps it: by its hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Plain integer id, never used twice; the audit log names the bearer by it.
    pub id: i64,
    /// What its maker calls it.
    pub name: String,
    /// SHA-256 of the token. It has 256 random bits, so nothing slower is needed.
    pub hash: [u8; 32],
    /// What its bearer may do.
    pub scopes: Scopes,
    /// The one user that it speaks for; `None` for a service.
    pub user: Option<User>,
    /// A service speaks for any user, names the user in each request, and may vouch for what it knows.
    pub service: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is refused; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// By whom it was made.
    pub created_by: String,
}

/// One thing that a bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Ask for codes.
    Send,
    /// Check codes.
    Verify,
    /// Run the provider's checks.
    Test,
    /// Be told the reason of a "no", and read the metrics.
    Read,
    /// Everything.
    Admin,
}

/// What a bearer may do, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Token {
    /// True while it is accepted.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// The state as a word: `live`, `expired`, `revoked`.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match (self.revoked_at, self.is_live(now)) {
            (Some(_), _) => "revoked",
            (None, true) => "live",
            (None, false) => "expired",
        }
    }
}

impl Scope {
    /// All scopes in the order of their declaration.
    pub const ALL: [Scope; 5] = [Scope::Send, Scope::Verify, Scope::Test, Scope::Read, Scope::Admin];

    /// The word on command lines and in database.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Send => "send",
            Scope::Verify => "verify",
            Scope::Test => "test",
            Scope::Read => "read",
            Scope::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

impl Scopes {
    /// Reads words with commas or spaces between them.
    ///
    /// # Errors
    /// `VALUE_INVALID` for an unknown word or none at all.
    pub fn parse(text: &str) -> Result<Scopes> {
        let known = || Scope::ALL.map(Scope::as_str).join(", ");
        let mut scopes = Scopes::default();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or_else(|| {
                Error::new(Code::VALUE_INVALID, format!("no scope is called {word:.40}"))
                    .hint(format!("Scopes are {}.", known()))
            })?;
            scopes.0 |= scope.bit();
        }
        if scopes.0 == 0 {
            return Err(
                Error::new(Code::VALUE_INVALID, "a token needs a scope").hint(format!("Name some of {}.", known()))
            );
        }
        Ok(scopes)
    }

    /// Whether the bearer may; `admin` may everything.
    pub fn allows(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// The words, in the order of their declaration.
    pub fn words(self) -> Vec<&'static str> {
        Scope::ALL.into_iter().filter(|scope| self.0 & scope.bit() != 0).map(Scope::as_str).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(","))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.words().serialize(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_written_alike() {
        let scopes = Scopes::parse("verify, send").unwrap();
        assert_eq!(scopes.to_string(), "send,verify");
        assert_eq!(Scopes::parse(&scopes.to_string()).unwrap(), scopes);
        for bad in ["", ",", "sned", "Send", "send;verify"] {
            assert_eq!(Scopes::parse(bad).unwrap_err().code(), Code::VALUE_INVALID, "{bad:?}");
        }
    }

    #[test]
    fn a_scope_allows_itself_alone_and_admin_everything() {
        for given in Scope::ALL {
            for asked in Scope::ALL {
                let allowed = Scopes::parse(given.as_str()).unwrap().allows(asked);
                assert_eq!(allowed, given == asked || given == Scope::Admin, "{given:?} {asked:?}");
            }
        }
    }
}
