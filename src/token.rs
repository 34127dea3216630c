//! An access token of the REST API: what its bearer may do, for whom, and until when. The token itself is never kept.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::otp::User;

/// The most requests in a second that a token can be given: far more than a server answers.
pub const RATE_MAX: u32 = 10_000;

/// What a user's token is given by default: more than a person's app needs, and too little to keep a server busy.
pub const RATE_OF_USER: u32 = 10;

/// What a service's token is given by default: for an application with a hundred sign-ins in a second.
pub const RATE_OF_SERVICE: u32 = 200;

/// A token as the database keeps it: by its tag only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Plain integer id, never used twice; the audit log names the bearer by it.
    pub id: i64,
    /// What its maker calls it.
    pub name: String,
    /// The keyed tag of the token: what it is found by.
    pub tag: [u8; 32],
    /// What its bearer may do.
    pub scopes: Scopes,
    /// How many requests its bearer may make in a second, of each server: 1 to [`RATE_MAX`].
    pub rate: u32,
    /// The only user that it acts for; `None` for a service.
    pub user: Option<User>,
    /// A service acts for any user, names the user in each request, and may state what it knows about the client.
    pub service: bool,
    /// Its bearer never says whether a code was entered: that none was is then no evidence of anything.
    pub conversion_unknown: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// It is refused from then on; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Who made it.
    pub created_by: String,
    /// The keyed tag of [`Token::sealed_value`]: a row without the right one, inserted or changed by hand, opens
    /// nothing.
    pub seal: [u8; 32],
}

/// One thing that a bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Send codes.
    Send,
    /// Verify codes.
    Verify,
    /// Send messages without a code, and read what became of any message.
    Message,
    /// Run the provider's checks.
    Test,
    /// Say that a person was proven in another way than by entering the code.
    Proven,
    /// Read why a code was not valid, and the metrics.
    Read,
    /// Everything.
    Admin,
}

/// What a bearer may do, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Token {
    /// All that decides what the token opens, for whom and until when: what its seal is made from.
    pub fn sealed_value(&self) -> Vec<u8> {
        let Token {
            id,
            name: _,
            tag,
            scopes,
            user,
            service,
            rate,
            conversion_unknown,
            created_at: _,
            expires_at,
            revoked_at,
            created_by: _,
            seal: _,
        } = self;
        // Written as JSON, so that no two tokens have the same value.
        let times = [expires_at, revoked_at].map(|at| at.map(Timestamp::millis));
        let user = user.as_ref().map(User::as_str);
        let value =
            serde_json::json!([id, tag.as_slice(), scopes.to_string(), user, service, rate, conversion_unknown, times]);
        value.to_string().into_bytes()
    }

    /// True while it is accepted.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// The state: `live`, `expired` or `revoked`.
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
    pub const ALL: &[Scope] = <Scope as strum::VariantArray>::VARIANTS;
    /// The name on command lines and in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

impl Scopes {
    /// Reads names with commas or spaces between them.
    ///
    /// # Errors
    /// `VALUE_INVALID` for an unknown name or none at all.
    pub fn parse(text: &str) -> Result<Scopes> {
        let known = || Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ");
        let mut scopes = Scopes::default();
        for name in text.split([',', ' ']).filter(|name| !name.is_empty()) {
            let scope = name.parse::<Scope>().ok().ok_or_else(|| {
                Error::new(Code::VALUE_INVALID, format!("there is no scope {name:.40}"))
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

    /// Whether the bearer has this scope; `admin` includes every other.
    pub fn allows(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// The names, in the order of their declaration.
    pub fn names(self) -> Vec<&'static str> {
        Scope::ALL.iter().copied().filter(|scope| self.0 & scope.bit() != 0).map(Scope::as_str).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(s)
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
    fn a_scope_allows_only_itself_and_admin_everything() {
        for &given in Scope::ALL {
            for &needed in Scope::ALL {
                let allowed = Scopes::parse(given.as_str()).unwrap().allows(needed);
                assert_eq!(allowed, given == needed || given == Scope::Admin, "{given:?} {needed:?}");
            }
        }
    }
}
