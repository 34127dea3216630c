//! Twilio's settings, checked: the account, the sender, and where the API is.

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::account::Account;
use crate::error::{Code, Error, Result};
use crate::phone;

/// Settings that can work: everything is present and well-formed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account: `AC` and 32 hex digits.
    pub account_sid: String,
    /// What requests are authorised with.
    pub credentials: Credentials,
    /// Who the messages come from.
    pub sender: Sender,
    /// Where delivery callbacks go; our message id is added as the query parameter `m`.
    pub status_callback: Option<Url>,
    host: ApiHost,
    region: Option<String>,
    edge: Option<String>,
}

/// What requests are authorised with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The account's Auth Token. It also signs callbacks.
    AuthToken(SecretString),
    /// An API key: `SK` and 32 hex digits, with its secret.
    ApiKey {
        /// The key's SID.
        sid: String,
        /// Its secret.
        secret: SecretString,
    },
}

/// Who the messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A phone number (E.164), a short code (3 to 8 digits) or a sender name (up to 11 characters with a letter).
    Number(String),
    /// A Messaging Service: `MG` and 32 hex digits.
    Service(String),
}

/// Where the API is.
#[derive(Clone, Debug)]
enum ApiHost {
    /// Every product at one address: a stand-in for Twilio.
    Base(Url),
    /// Twilio's own hosts, by region and edge.
    Hosts,
}

/// The edge that serves a region when none is named: since April 2026 a regional host name needs one.
const EDGES: [(&str, &str); 7] = [
    ("ie1", "dublin"),
    ("au1", "sydney"),
    ("jp1", "tokyo"),
    ("de1", "frankfurt"),
    ("sg1", "singapore"),
    ("br1", "sao-paulo"),
    ("us2", "umatilla"),
];

/// Twilio's edges; a private one is called as the public one with `-ix` behind it.
const EDGE_NAMES: [&str; 11] = [
    "ashburn",
    "dublin",
    "frankfurt",
    "sao-paulo",
    "singapore",
    "sydney",
    "tokyo",
    "umatilla",
    "london",
    "san-jose",
    "roaming",
];

impl Settings {
    /// Checks what was configured, without any request.
    ///
    /// # Errors
    /// `CONFIG_INVALID`. One error names every variable that is missing or malformed; values of secrets are never shown.
    pub fn check(given: &Account) -> Result<Settings> {
        let mut problems = Problems::default();
        if let Some(swapped) = swapped(given) {
            problems.malformed.push(swapped.to_owned());
            return Err(problems.into_error());
        }
        let account_sid = problems.require("TWILIO_ACCOUNT_SID", given.account_sid.as_deref(), |sid| sid_of("AC", sid));
        let credentials = credentials(given, &mut problems);
        let sender = sender(given, &mut problems);
        let host = api_host(given, &mut problems);
        if let Some(url) = &given.status_callback {
            problems.add("SMSOTP_STATUS_CALLBACK", callback_problem(url));
        }
        match (account_sid, credentials, sender, host) {
            (Some(account_sid), Some(credentials), Some(sender), Some(host)) if problems.is_empty() => {
                let status_callback = given.status_callback.clone();
                let (region, edge) = (filled(given.region.as_deref()), filled(given.edge.as_deref()));
                let (region, edge) = (region.map(str::to_owned), edge.map(str::to_owned));
                Ok(Settings { account_sid, credentials, sender, status_callback, host, region, edge })
            }
            _ => Err(problems.into_error()),
        }
    }

    /// The address of `path` (with its leading `/`) of a product: `api`, `messaging`, `lookups`, `accounts`, `pricing`.
    pub(super) fn url(&self, product: &str, path: &str) -> Result<Url> {
        let text = match &self.host {
            ApiHost::Base(base) => format!("{}{path}", base.as_str().trim_end_matches('/')),
            ApiHost::Hosts => {
                let (region, edge) = (self.region.as_deref(), self.edge.as_deref());
                let host = hostname(&format!("{product}.twilio.com"), region, edge);
                format!("https://{host}{path}")
            }
        };
        Url::parse(&text).map_err(|error| Error::new(Code::BUG, "an address could not be built").because(error))
    }

    /// Whether requests stay on this machine.
    pub fn is_loopback(&self) -> bool {
        matches!(&self.host, ApiHost::Base(base) if loopback(base))
    }

    /// Whether requests are encrypted.
    pub(super) fn is_tls(&self) -> bool {
        match &self.host {
            ApiHost::Base(base) => base.scheme() == "https",
            ApiHost::Hosts => true,
        }
    }

    /// Whether requests go to Twilio itself, and not to a stand-in or a gateway.
    pub(super) fn is_twilios_own(&self) -> bool {
        match &self.host {
            ApiHost::Base(base) => base.host_str().is_some_and(|host| host.ends_with(".twilio.com")),
            ApiHost::Hosts => true,
        }
    }

    /// What is wrong with a region or an edge that Twilio does not have, as far as is known here, and the names that it has.
    pub(super) fn unknown_place(&self) -> Option<(String, String)> {
        let regions: Vec<&str> = std::iter::once("us1").chain(EDGES.map(|(region, _)| region)).collect();
        let edge = self.edge.as_deref().map(|edge| (edge, edge.strip_suffix("-ix").unwrap_or(edge)));
        match (self.region.as_deref(), edge) {
            (Some(region), _) if !regions.contains(&region) => Some((
                format!("TWILIO_REGION: Twilio has no region {region}"),
                format!("Regions are {}", regions.join(", ")),
            )),
            (_, Some((edge, name))) if !EDGE_NAMES.contains(&name) => Some((
                format!("TWILIO_EDGE: Twilio has no edge {edge}"),
                format!("Edges are {}", EDGE_NAMES.join(", ")),
            )),
            _ => None,
        }
    }
}

impl Credentials {
    /// User name and password of a request.
    pub(super) fn pair<'a>(&'a self, account_sid: &'a str) -> (&'a str, &'a str) {
        match self {
            Credentials::AuthToken(token) => (account_sid, token.expose_secret()),
            Credentials::ApiKey { sid, secret } => (sid, secret.expose_secret()),
        }
    }
}

/// Where a Twilio product is served, for a region and an edge: `product.edge.region.twilio.com`. A region other than us1
/// without an edge gets the edge that serves it, because the name without an edge no longer resolves.
pub fn hostname(host: &str, region: Option<&str>, edge: Option<&str>) -> String {
    let Some(labels) = host.strip_suffix(".twilio.com") else { return host.to_owned() };
    let (product, old_edge, old_region) = match labels.split('.').collect::<Vec<_>>()[..] {
        [product, region] => (product, None, Some(region)),
        [product, edge, region] => (product, Some(edge), Some(region)),
        _ => (labels, None, None),
    };
    let edge = edge.or(old_edge);
    let region = region.or(old_region).or(edge.map(|_| "us1"));
    let edge = edge.or_else(|| region.and_then(edge_of));
    [Some(product), edge, region].into_iter().flatten().chain(["twilio.com"]).collect::<Vec<_>>().join(".")
}

fn edge_of(region: &str) -> Option<&'static str> {
    EDGES.iter().find(|(known, _)| *known == region).map(|(_, edge)| *edge)
}

/// What is missing and what is malformed, collected so that one error names all of it.
#[derive(Default)]
struct Problems {
    missing: Vec<&'static str>,
    malformed: Vec<String>,
}

impl Problems {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.malformed.is_empty()
    }

    fn add(&mut self, name: &str, problem: Option<String>) {
        self.malformed.extend(problem.map(|problem| format!("{name} {problem}")));
    }

    /// A value that must be there and pass its check.
    fn require(
        &mut self,
        name: &'static str,
        value: Option<&str>,
        check: fn(&str) -> Option<String>,
    ) -> Option<String> {
        let Some(value) = filled(value) else {
            self.missing.push(name);
            return None;
        };
        let problem = white_space(value).or_else(|| quotation_marks(value)).or_else(|| check(value));
        let fine = problem.is_none();
        self.add(name, problem);
        fine.then(|| value.to_owned())
    }

    /// An optional part of a host name.
    fn label(&mut self, name: &'static str, value: Option<&str>) -> Option<String> {
        let value = filled(value)?;
        let fits = value.len() <= 63
            && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !value.starts_with('-')
            && !value.ends_with('-');
        let problem = "is not a name of lower-case letters, digits and hyphens, such as ie1 or dublin";
        self.add(name, (!fits).then(|| problem.to_owned()));
        fits.then(|| value.to_owned())
    }

    fn into_error(self) -> Error {
        let mut parts = self.malformed;
        if !self.missing.is_empty() {
            let verb = if self.missing.len() == 1 { "is" } else { "are" };
            parts.push(format!("{} {verb} missing", self.missing.join(", ")));
        }
        Error::new(Code::CONFIG_INVALID, format!("Twilio is not set up: {}", parts.join("; "))).hint(
            "set them in the environment or in .env (https://console.twilio.com shows them); \
             `smsotp sandbox` stands in for Twilio without an account, `--provider console` sends nothing",
        )
    }
}

fn filled(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.trim().is_empty())
}

fn white_space(value: &str) -> Option<String> {
    if value.trim() != value {
        return Some("begins or ends with white space: remove it".to_owned());
    }
    value.chars().any(char::is_control).then(|| "holds control characters".to_owned())
}

/// Quotation marks that a shell or a file did not take away: no value of Twilio's has any.
fn quotation_marks(value: &str) -> Option<String> {
    let is_mark = |c: char| matches!(c, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}');
    value.contains(is_mark).then(|| "holds quotation marks: they are a part of the value here, remove them".to_owned())
}

/// Whether a value is a SID with this prefix.
fn is_sid(prefix: &str, value: &str) -> bool {
    value.strip_prefix(prefix).is_some_and(is_hex)
}

/// 32 hexadecimal digits: what is behind the letters of a SID, and what an Auth Token is.
pub(super) fn is_hex(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Two values that stand in each other's place.
fn swapped(given: &Account) -> Option<&'static str> {
    let secret = |value: &Option<SecretString>, prefix: &str| {
        value.as_ref().is_some_and(|secret| is_sid(prefix, secret.expose_secret().trim()))
    };
    let text =
        |value: &Option<String>, prefix: &str| value.as_deref().is_some_and(|value| is_sid(prefix, value.trim()));
    if secret(&given.auth_token, "AC") && !text(&given.account_sid, "AC") {
        return Some("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN stand in each other's place");
    }
    if secret(&given.api_secret, "SK") && !text(&given.api_key, "SK") {
        return Some("TWILIO_API_KEY and TWILIO_API_SECRET stand in each other's place");
    }
    (text(&given.account_sid, "SK") && text(&given.api_key, "AC"))
        .then_some("TWILIO_ACCOUNT_SID and TWILIO_API_KEY stand in each other's place")
}

fn sid_of(prefix: &str, value: &str) -> Option<String> {
    if is_sid(prefix, value) {
        return None;
    }
    let kind = match value.get(..2) {
        _ if value.contains(['"', '\'']) => " (the quotes are a part of the value here: remove them)",
        Some("AC") if prefix != "AC" => " (this is an account SID)",
        Some("SK") if prefix == "AC" => {
            " (this is an API key: it belongs in TWILIO_API_KEY, its secret in TWILIO_API_SECRET)"
        }
        Some("SK") if prefix != "SK" => " (this is an API key)",
        _ if is_hex(value) => " (this looks like an Auth Token)",
        Some("MG") if prefix != "MG" => " (this is a Messaging Service)",
        Some("PN") => " (this is a phone number's SID)",
        Some("VA") => " (this is a Verify service)",
        _ => "",
    };
    Some(format!("is not {prefix} and 32 hexadecimal digits{kind}"))
}

/// A secret has no public shape; what can be checked is that it would survive a request header.
fn secret(value: &str) -> Option<String> {
    if is_sid("SK", value) {
        return Some("is an API key's SID and no secret: it belongs in TWILIO_API_KEY".to_owned());
    }
    if is_sid("AC", value) {
        return Some("is an account SID and no secret".to_owned());
    }
    (!value.bytes().all(|b| b.is_ascii_graphic())).then(|| "holds characters that no token has".to_owned())
}

fn credentials(given: &Account, problems: &mut Problems) -> Option<Credentials> {
    let text = |value: &Option<SecretString>| value.as_ref().map(|secret| secret.expose_secret().to_owned());
    let (token, api_secret) = (text(&given.auth_token), text(&given.api_secret));
    let (token, api_secret) = (filled(token.as_deref()), filled(api_secret.as_deref()));
    let key = filled(given.api_key.as_deref());
    if token.is_some() && (key.is_none() || api_secret.is_none()) {
        let token = problems.require("TWILIO_AUTH_TOKEN", token, secret)?;
        return Some(Credentials::AuthToken(token.into()));
    }
    if key.is_none() && api_secret.is_none() {
        problems.missing.push("TWILIO_AUTH_TOKEN (or TWILIO_API_KEY and TWILIO_API_SECRET)");
        return None;
    }
    let sid = problems.require("TWILIO_API_KEY", key, |sid| sid_of("SK", sid));
    let secret = problems.require("TWILIO_API_SECRET", api_secret, secret);
    Some(Credentials::ApiKey { sid: sid?, secret: secret?.into() })
}

fn sender(given: &Account, problems: &mut Problems) -> Option<Sender> {
    if let Some(service) = filled(given.messaging_service_sid.as_deref()) {
        return problems
            .require("TWILIO_MESSAGING_SERVICE_SID", Some(service), |sid| sid_of("MG", sid))
            .map(Sender::Service);
    }
    let Some(number) = filled(given.phone_number.as_deref()) else {
        problems.missing.push("TWILIO_PHONE_NUMBER (or TWILIO_MESSAGING_SERVICE_SID)");
        return None;
    };
    match white_space(number).map_or_else(|| sender_id(number), Err) {
        Ok(sender) => Some(Sender::Number(sender)),
        Err(problem) => {
            problems.add("TWILIO_PHONE_NUMBER", Some(problem));
            None
        }
    }
}

/// A phone number, a short code or a sender name, as Twilio takes them.
fn sender_id(text: &str) -> Result<String, String> {
    let letters = text.bytes().any(|b| b.is_ascii_alphabetic());
    if text.starts_with('+') && !letters {
        let taken = phone::read(text, None).map_err(|error| format!("is no phone number: {}", error.message()))?;
        return Ok(taken.as_str().to_owned());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.len() {
            3..=8 => Ok(text.to_owned()),
            _ => Err("is no phone number: write it with + and its country code".to_owned()),
        };
    }
    if text.starts_with("MG") && text.len() == 34 {
        return Err("is a Messaging Service: it belongs in TWILIO_MESSAGING_SERVICE_SID".to_owned());
    }
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b" -+_&".contains(&b));
    if letters && plain && text.len() <= 11 {
        return Ok(text.to_owned());
    }
    Err("is neither a phone number (+14155550100), a short code nor a sender name (at most 11 letters, digits, spaces)"
        .to_owned())
}

fn api_host(given: &Account, problems: &mut Problems) -> Option<ApiHost> {
    let region = problems.label("TWILIO_REGION", given.region.as_deref());
    let edge = problems.label("TWILIO_EDGE", given.edge.as_deref());
    if let Some(base) = &given.base_url {
        let problem = base_problem(base);
        let fine = problem.is_none();
        problems.add("TWILIO_API_BASE_URL", problem);
        return fine.then(|| ApiHost::Base(base.clone()));
    }
    if let (Some(region), None) = (&region, &edge)
        && region != "us1"
        && edge_of(region).is_none()
    {
        problems.add("TWILIO_REGION", Some("is a region whose edge is not known here: set TWILIO_EDGE too".to_owned()));
    }
    Some(ApiHost::Hosts)
}

fn base_problem(base: &Url) -> Option<String> {
    let problem = if base.cannot_be_a_base() || base.host().is_none() || !matches!(base.scheme(), "http" | "https") {
        "is not an http(s) address"
    } else if base.scheme() == "http" && !loopback(base) {
        "is unencrypted http to another machine: use https (http is for 127.0.0.1, ::1 and localhost)"
    } else if !base.username().is_empty() || base.password().is_some() {
        "holds a user name: credentials have settings of their own"
    } else if base.query().is_some() || base.fragment().is_some() {
        "has a query or a fragment"
    } else {
        return None;
    };
    Some(problem.to_owned())
}

fn callback_problem(url: &Url) -> Option<String> {
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() || !matches!(url.scheme(), "http" | "https") {
        return Some("is not an http(s) address".to_owned());
    }
    host.contains('_').then(|| "has an underscore in its host, which Twilio refuses (21609)".to_owned())
}

fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    const AC: &str = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const SK: &str = "SKbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const MG: &str = "MGcccccccccccccccccccccccccccccccc";

    fn given() -> Account {
        Account {
            account_sid: Some(AC.to_owned()),
            auth_token: Some("0123456789abcdef0123456789abcdef".into()),
            phone_number: Some("+15005550006".to_owned()),
            ..Account::default()
        }
    }

    fn message(given: &Account) -> String {
        let error = Settings::check(given).expect_err("should be refused");
        assert_eq!(error.class(), Class::Config);
        assert!(error.hint_text().is_some());
        error.message().to_owned()
    }

    #[test]
    fn one_error_names_every_missing_variable() {
        let nothing = message(&Account::default());
        for name in
            ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_API_KEY", "TWILIO_API_SECRET", "TWILIO_PHONE_NUMBER"]
        {
            assert!(nothing.contains(name), "{name} in {nothing}");
        }
        let half = Account { auth_token: None, api_key: Some(SK.to_owned()), ..given() };
        assert_eq!(message(&half), "Twilio is not set up: TWILIO_API_SECRET is missing");
        let blank = Account { account_sid: Some("  ".to_owned()), ..given() };
        assert_eq!(message(&blank), "Twilio is not set up: TWILIO_ACCOUNT_SID is missing");
    }

    #[test]
    fn malformed_values_are_named_and_secrets_never_shown() {
        let bad = Account {
            account_sid: Some(SK.to_owned()),
            auth_token: Some("s3cret-canary ".into()),
            phone_number: Some("4155552671".to_owned()),
            status_callback: Some(Url::parse("https://my_host.example/cb").unwrap()),
            base_url: Some(Url::parse("http://example.com").unwrap()),
            ..Account::default()
        };
        let text = message(&bad);
        for part in [
            "TWILIO_ACCOUNT_SID is not AC and 32 hexadecimal digits (this is an API key: it belongs in TWILIO_API_KEY",
            "TWILIO_AUTH_TOKEN begins or ends with white space",
            "TWILIO_PHONE_NUMBER is no phone number: write it with + and its country code",
            "SMSOTP_STATUS_CALLBACK has an underscore",
            "TWILIO_API_BASE_URL is unencrypted http to another machine",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("canary") && !text.contains("4155552671"));
        let token = Account { auth_token: Some("tok\nen".into()), ..given() };
        assert_eq!(message(&token), "Twilio is not set up: TWILIO_AUTH_TOKEN holds control characters");
        let settings = Settings::check(&Account { auth_token: Some("canary1".into()), ..given() }).unwrap();
        assert!(!format!("{settings:?}").contains("canary1"));
    }

    #[test]
    fn values_in_each_others_place_and_in_quotation_marks_are_named() {
        let token = "0123456789abcdef0123456789abcdef";
        let swapped = Account { account_sid: Some(token.to_owned()), auth_token: Some(AC.into()), ..given() };
        assert!(message(&swapped).contains("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN stand in each other's place"));
        let key = Account { api_key: Some("s3cret".to_owned()), api_secret: Some(SK.into()), ..given() };
        assert!(message(&key).contains("TWILIO_API_KEY and TWILIO_API_SECRET stand in each other's place"));
        let sids = Account { account_sid: Some(SK.to_owned()), api_key: Some(AC.to_owned()), ..given() };
        assert!(message(&sids).contains("TWILIO_ACCOUNT_SID and TWILIO_API_KEY stand in each other's place"));

        let only_sid = Account { account_sid: Some(token.to_owned()), ..given() };
        assert!(message(&only_sid).contains("this looks like an Auth Token"));
        let only_token = Account { auth_token: Some(AC.into()), ..given() };
        assert!(message(&only_token).contains("TWILIO_AUTH_TOKEN is an account SID and no secret"));
        let key_as_token = Account { auth_token: Some(SK.into()), ..given() };
        assert!(message(&key_as_token).contains("TWILIO_AUTH_TOKEN is an API key's SID"));

        for quoted in [format!("\"{token}\""), format!("'{token}'"), format!("{token}\""), format!("“{token}”")] {
            let given = Account { auth_token: Some(quoted.clone().into()), ..given() };
            let text = message(&given);
            assert!(text.contains("TWILIO_AUTH_TOKEN holds quotation marks"), "{quoted}");
            assert!(!text.contains(token), "{text}");
        }
        let sid = Account { account_sid: Some(format!("'{AC}'")), ..given() };
        assert!(message(&sid).contains("TWILIO_ACCOUNT_SID holds quotation marks"));
    }

    #[test]
    fn a_region_or_an_edge_that_twilio_does_not_have_is_known_as_such() {
        let place = |region: Option<&str>, edge: Option<&str>| {
            let given = Account { region: region.map(str::to_owned), edge: edge.map(str::to_owned), ..given() };
            Settings::check(&given).unwrap().unknown_place().map(|(problem, _)| problem)
        };
        assert_eq!(place(None, None), None);
        assert_eq!(place(Some("ie1"), None), None);
        assert_eq!(place(Some("us1"), Some("ashburn-ix")), None);
        assert!(place(Some("ie9"), Some("dublin")).unwrap().contains("no region ie9"));
        assert!(place(Some("ie1"), Some("dubln")).unwrap().contains("no edge dubln"));
        assert!(place(None, Some("ie1")).unwrap().contains("no edge ie1"));
    }

    #[test]
    fn a_whole_key_wins_over_the_token_and_a_service_over_the_number() {
        let key = Account { api_key: Some(SK.to_owned()), api_secret: Some("x".into()), ..given() };
        assert!(matches!(Settings::check(&key).unwrap().credentials, Credentials::ApiKey { sid, .. } if sid == SK));
        let half = Account { api_key: Some(SK.to_owned()), ..given() };
        assert!(matches!(Settings::check(&half).unwrap().credentials, Credentials::AuthToken(_)));
        let service = Account { messaging_service_sid: Some(MG.to_owned()), ..given() };
        assert_eq!(Settings::check(&service).unwrap().sender, Sender::Service(MG.to_owned()));
    }

    #[test]
    fn senders_are_numbers_short_codes_or_names() {
        let sender =
            |text: &str| Settings::check(&Account { phone_number: Some(text.to_owned()), ..given() }).map(|s| s.sender);
        for (text, taken) in [
            ("+15005550006", "+15005550006"),
            ("+1 (500) 555-0006", "+15005550006"),
            ("12345", "12345"),
            ("ACME", "ACME"),
            ("My Shop 24", "My Shop 24"),
        ] {
            assert_eq!(sender(text).unwrap(), Sender::Number(taken.to_owned()));
        }
        for text in ["15005550006", "+1", "A name too long", "Ümlaut", "!!!", MG, "12", "\u{1b}[31m"] {
            assert!(sender(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn host_names_carry_region_and_edge() {
        let known = [
            ("api.twilio.com", None, None, "api.twilio.com"),
            ("api.twilio.com", None, Some("edge"), "api.edge.us1.twilio.com"),
            ("api.twilio.com", Some("au1"), None, "api.sydney.au1.twilio.com"),
            ("api.twilio.com", Some("au1"), Some("sydney"), "api.sydney.au1.twilio.com"),
            ("api.twilio.com", None, Some("ashburn"), "api.ashburn.us1.twilio.com"),
            ("api.twilio.com", Some("us1"), None, "api.us1.twilio.com"),
            ("api.region.twilio.com", None, Some("edge"), "api.edge.region.twilio.com"),
            ("api.region.twilio.com", Some("ie1"), None, "api.dublin.ie1.twilio.com"),
            ("api.edge.region.twilio.com", Some("ie1"), None, "api.edge.ie1.twilio.com"),
            ("api.edge.region.twilio.com", None, Some("dublin"), "api.dublin.region.twilio.com"),
            ("api.edge.region.twilio.com", Some("ie1"), Some("dublin"), "api.dublin.ie1.twilio.com"),
            ("verify.twilio.com", Some("ie1"), Some("dublin"), "verify.dublin.ie1.twilio.com"),
            ("lookups.twilio.com", Some("us1"), None, "lookups.us1.twilio.com"),
        ];
        for (host, region, edge, result) in known {
            assert_eq!(hostname(host, region, edge), result, "{host} {region:?} {edge:?}");
        }
        let odd = Account { region: Some("xx9".to_owned()), ..given() };
        assert!(message(&odd).contains("set TWILIO_EDGE too"));
        let evil = Account { region: Some("evil.example/".to_owned()), ..given() };
        assert!(message(&evil).contains("TWILIO_REGION is not a name"));
        let ireland = Account { region: Some("ie1".to_owned()), ..given() };
        let url = Settings::check(&ireland).unwrap().url("messaging", "/v1/Services").unwrap();
        assert_eq!(url.as_str(), "https://messaging.dublin.ie1.twilio.com/v1/Services");
    }

    #[test]
    fn the_base_url_is_https_or_loopback() {
        let base = |text: &str| {
            Settings::check(&Account { base_url: Some(Url::parse(text).unwrap()), ..given() })
                .and_then(|settings| settings.url("lookups", "/v2/PhoneNumbers/+1"))
                .map(|url| url.to_string())
        };
        assert_eq!(base("http://127.0.0.1:4010").unwrap(), "http://127.0.0.1:4010/v2/PhoneNumbers/+1");
        assert_eq!(base("http://[::1]:4010/").unwrap(), "http://[::1]:4010/v2/PhoneNumbers/+1");
        assert_eq!(base("http://localhost:1/twilio/").unwrap(), "http://localhost:1/twilio/v2/PhoneNumbers/+1");
        assert!(base("http://127.255.0.9:1").is_ok() && base("https://proxy.example").is_ok());
        for bad in [
            "http://example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example",
            "ftp://127.0.0.1",
            "http://user:pw@127.0.0.1",
            "http://127.0.0.1/?a=b",
            "http://0.0.0.0",
            "data:text/plain,x",
        ] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }
}
