//! The account: its credentials, API key, test credentials and numbers, and as whom a request is made.

use base16ct::lower::encode_string;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::options::Options;
use super::sid::{is_sid, random_secret, random_sid};
use crate::error::{Code, Error, Result};
use crate::phone::Phone;

/// The account. Everything but SID, token and numbers is derived from them, so that it survives a restart.
pub(super) struct SandboxAccount {
    pub account_sid: String,
    pub auth_token: String,
    pub key_sid: String,
    pub key_secret: String,
    pub test_sid: String,
    pub test_token: String,
    pub service_sid: String,
    pub numbers: Vec<OwnedNumber>,
}

/// A number of the account.
pub(super) struct OwnedNumber {
    pub sid: String,
    pub phone: String,
}

/// As whom a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Account SID and token.
    Account,
    /// API key and secret.
    Key,
    /// Test SID and test token.
    Test,
}

impl SandboxAccount {
    pub fn new(options: &Options) -> Result<SandboxAccount> {
        let account_sid = options.account_sid.clone().unwrap_or_else(|| random_sid("AC"));
        if !is_sid(&account_sid, "AC") {
            return Err(Error::new(Code::CONFIG_INVALID, "the sandbox's account SID is not AC and 32 hex digits"));
        }
        let auth_token = options.auth_token.clone().map_or_else(random_secret, Ok)?;
        // It is written to a file for shells and `.env` readers, each with its own way of quoting.
        if auth_token.is_empty() || !auth_token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)) {
            return Err(Error::new(
                Code::CONFIG_INVALID,
                "the sandbox's token is empty or holds other characters than letters, digits and -._~",
            )
            .hint("Use letters, digits, hyphens, dots, underscores and tildes."));
        }
        let first = options.phone_number.clone().unwrap_or_else(|| "+12025550100".to_owned());
        let derive = |what: &str| derive(what, &account_sid, &auth_token);
        let mut numbers = Vec::new();
        for phone in std::iter::once(&first).chain(&options.more_numbers) {
            if Phone::from_e164(phone).is_none() {
                return Err(Error::new(Code::CONFIG_INVALID, "a number of the sandbox is not E.164")
                    .hint("Write it as + and country code, for example +12025550100."));
            }
            numbers.push(OwnedNumber { sid: format!("PN{}", derive(phone)), phone: phone.clone() });
        }
        Ok(SandboxAccount {
            key_sid: format!("SK{}", derive("key")),
            key_secret: derive("key secret"),
            test_sid: format!("AC{}", derive("test account")),
            test_token: derive("test token"),
            service_sid: format!("MG{}", derive("messaging service")),
            numbers,
            account_sid,
            auth_token,
        })
    }

    /// The account's first number.
    pub fn first_number(&self) -> String {
        self.numbers.first().map(|n| n.phone.clone()).unwrap_or_default()
    }

    /// Whether the account has this number (E.164).
    pub fn owns(&self, phone: &str) -> bool {
        self.numbers.iter().any(|n| n.phone == phone)
    }

    /// As whom an `Authorization` header is sent; `None` when it is missing, malformed or wrong.
    pub fn identify(&self, authorization: Option<&str>) -> Option<Identity> {
        let (scheme, rest) = authorization?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (user, secret) = pair.split_once(':')?;
        let known = [
            (&self.account_sid, &self.auth_token, Identity::Account),
            (&self.key_sid, &self.key_secret, Identity::Key),
            (&self.test_sid, &self.test_token, Identity::Test),
        ];
        let (_, expected, identity) = known.into_iter().find(|(sid, _, _)| sid.as_str() == user)?;
        bool::from(expected.as_bytes().ct_eq(secret.as_bytes())).then_some(identity)
    }

    /// The SID of the account that an identity belongs to.
    pub fn sid_of(&self, identity: Identity) -> &str {
        match identity {
            Identity::Account | Identity::Key => &self.account_sid,
            Identity::Test => &self.test_sid,
        }
    }
}

fn derive(what: &str, account_sid: &str, auth_token: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["smsotp sandbox", what, account_sid, auth_token] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    encode_string(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_an_account_stays_the_same_while_sid_and_token_do() {
        let options = || Options {
            account_sid: Some("ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".into()),
            auth_token: Some("token".into()),
            ..Options::default()
        };
        let (one, two) = (SandboxAccount::new(&options()).unwrap(), SandboxAccount::new(&options()).unwrap());
        assert_eq!((&one.key_sid, &one.service_sid, &one.test_sid), (&two.key_sid, &two.service_sid, &two.test_sid));

        let other = SandboxAccount::new(&Options { auth_token: Some("rotated".into()), ..options() }).unwrap();
        assert_ne!(one.key_secret, other.key_secret);
    }

    #[test]
    fn hostile_authorization_headers_are_nobody() {
        let account = SandboxAccount::new(&Options::default()).unwrap();
        for header in ["", "Basic", "Basic ", "Basic %%%", "Basic /w==", "Basic OjpA", "Bearer x", "basic\tx"] {
            assert_eq!(account.identify(Some(header)), None, "{header:?}");
        }
        assert_eq!(account.identify(None), None);
    }
}
