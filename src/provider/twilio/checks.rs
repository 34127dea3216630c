//! What `test-twilio` checks before users find out: credentials, account, money, sender, destination.

mod magic;

use secrecy::ExposeSecret;
use serde_json::Value;

use super::client::{ApiAnswer, ExchangeError, Request};
use super::outcome::{api_error, read_error};
use super::settings::{Credentials, Sender, is_hex};
use super::{Twilio, catalogue};
use crate::check::{Check, Mark};
use crate::error::{Code, Error, Result};
use crate::money::Money;
use crate::outgoing::plain;
use crate::phone::Phone;

/// What to check beyond the account.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// A destination: its number is looked up (free of charge), and its country's permission.
    pub to: Option<Phone>,
    /// The destination's country (ISO 3166 two letters), where it is known; else the number is looked up for it.
    pub country: Option<String>,
    /// What a day of codes costs, where that is known: less of a balance is worth a warning.
    pub day: Option<Money>,
}

/// The checks after the credentials, in order: what a failure before them skips.
const AFTER_CREDENTIALS: [&str; 7] = ["connection", "accepted", "account", "balance", "sender", "country", "number"];

/// The checks where the settings themselves are wrong: one failed, the others skipped.
pub fn for_wrong_settings(error: &Error) -> Vec<Check> {
    let credentials = Check::new("credentials", Mark::Fail, error.message(), "Nothing can be sent")
        .next_step(error.hint_text().unwrap_or("Correct the settings"));
    std::iter::once(credentials).chain(skipped(&AFTER_CREDENTIALS, "the credentials come first")).collect()
}

impl Twilio {
    /// Checks everything that can be checked without sending a message. Never fails: what goes wrong is a failed check, and what
    /// depends on it is skipped. With test credentials the magic numbers are tried instead; those send nothing.
    ///
    /// The names are `credentials`, `connection`, `accepted`, `account`, `balance`, `sender`, `country` and `number`, and
    /// `magic_…` with test credentials.
    pub async fn checks(&self, options: &CheckOptions) -> Vec<Check> {
        let mut checks = vec![self.credentials()];
        if let Some((problem, known)) = self.settings().unknown_place() {
            let check = Check::new("connection", Mark::Fail, problem, "No server of Twilio's has such a name");
            checks.push(check.next_step(known));
            checks.extend(skipped(&AFTER_CREDENTIALS[1..], "there is no such address"));
            return checks;
        }
        let probe = match self.probe().await {
            Ok(answer) => answer,
            Err(error) => {
                checks.push(no_connection(error));
                checks.extend(skipped(&AFTER_CREDENTIALS[1..], "there is no connection"));
                return checks;
            }
        };
        checks.push(self.connection());
        if may_be_test_credentials(&probe) && magic::are_test_credentials(self).await {
            checks.push(
                Check::new(
                    "accepted",
                    Mark::Ok,
                    "test credentials",
                    format!("{} accepts them; they send nothing and cost nothing", self.whom_we_ask()),
                )
                .next_step("Set live credentials to send"),
            );
            checks.extend(skipped(&AFTER_CREDENTIALS[2..], "test credentials cannot read it"));
            checks.extend(magic::try_all(self).await);
            return checks;
        }
        let accepted = self.accepted(&probe);
        let passed = accepted.mark == Mark::Ok;
        checks.push(accepted);
        if !passed {
            checks.extend(skipped(&AFTER_CREDENTIALS[2..], "the credentials are not accepted"));
            return checks;
        }
        checks.push(self.account().await);
        checks.push(self.balance_check(options.day).await);
        let (number, found) = self.number(options).await;
        let country = options.country.clone().or(found);
        checks.push(self.sender(country.as_deref()).await);
        checks.push(self.country(options, country).await);
        checks.push(number);
        checks
    }

    fn credentials(&self) -> Check {
        let account = &self.settings().account_sid;
        let (finding, meaning) = match &self.settings().credentials {
            Credentials::AuthToken(token) if !is_hex(token.expose_secret()) => {
                let length = token.expose_secret().chars().count();
                let finding = format!("account {account} with an Auth Token of {length} characters");
                return Check::new(
                    "credentials",
                    Mark::Warn,
                    finding,
                    "Twilio's Auth Tokens are 32 hexadecimal digits",
                )
                .next_step(
                    "Copy it from the first page of the Twilio Console; the secret of an API key is TWILIO_API_SECRET",
                );
            }
            Credentials::AuthToken(_) => (format!("account {account} with its Auth Token"), "Present and well-formed"),
            Credentials::ApiKey { sid, .. } => (
                format!("account {account} with API key {sid}"),
                "Present and well-formed; callbacks are signed with the Auth Token, which a key does not replace",
            ),
        };
        Check::new("credentials", Mark::Ok, finding, meaning)
    }

    /// A list of messages: Standard API keys may read it, while account data is closed to them.
    async fn probe(&self) -> Result<ApiAnswer, ExchangeError> {
        let path = format!("{}?PageSize=1", self.messages_path());
        let url = self
            .settings()
            .url("api", &path)
            .map_err(|error| ExchangeError::Unreachable(error.message().to_owned()))?;
        self.client.call(Request::Read(url)).await
    }

    fn connection(&self) -> Check {
        let host = self.settings().url("api", "/").ok().and_then(|url| url.host_str().map(str::to_owned));
        let how = if self.settings().is_tls() { "over TLS" } else { "without TLS, on this machine" };
        let meaning = match (self.settings().is_twilios_own(), self.settings().is_tls()) {
            (true, _) => "Network, name and certificate are fine",
            (false, true) => {
                "This is TWILIO_API_BASE_URL and not Twilio: its certificate is fine, and the way to Twilio was not tried"
            }
            (false, false) => {
                "This is a stand-in and not Twilio: no certificate was checked, and the way to Twilio was not tried"
            }
        };
        Check::new("connection", Mark::Ok, format!("{} answers {how}", host.unwrap_or_default()), meaning)
    }

    /// Who says what the checks find.
    fn whom_we_ask(&self) -> &'static str {
        if self.settings().is_twilios_own() { "Twilio" } else { "the server at TWILIO_API_BASE_URL" }
    }

    fn accepted(&self, probe: &ApiAnswer) -> Check {
        let is_list = |bytes: &Vec<u8>| {
            serde_json::from_slice::<Value>(bytes).is_ok_and(|list| list.get("messages").is_some_and(Value::is_array))
        };
        match (probe.status, &probe.body) {
            (200, Ok(bytes)) if is_list(bytes) => {
                let meaning = format!("So says {}, which lets this account in", self.whom_we_ask());
                Check::new("accepted", Mark::Ok, "the credentials are accepted", meaning)
            }
            (200, Ok(_)) => {
                Check::new("accepted", Mark::Fail, "the answer is not Twilio's", "Something else is at this address")
                    .next_step("Check TWILIO_API_BASE_URL, and proxies on the way")
            }
            (200, Err(why)) => {
                Check::new("accepted", Mark::Fail, why, "The answer cannot be read").next_step("Try again")
            }
            (408 | 429 | 500.., _) => {
                let meaning = "It takes no requests at the moment: whether the credentials are accepted is not known";
                let when = match probe.retry_after {
                    Some(after) => format!("Try again in {} s", after.as_secs().max(1)),
                    None => "Try again in a minute; https://status.twilio.com tells of troubles at Twilio".to_owned(),
                };
                Check::new("accepted", Mark::Fail, read_error(probe).message(), meaning).next_step(when)
            }
            _ => failed("accepted", &read_error(probe), "Nothing can be sent with these settings"),
        }
    }

    async fn account(&self) -> Check {
        let meaning = "The account's state is not known";
        let path = format!("/2010-04-01/Accounts/{}.json", self.settings().account_sid);
        let account = match self.read_for_check("account", "api", &path, meaning).await {
            Ok(account) => account,
            Err(check) => return *check,
        };
        let status = text(&account, "status");
        let kind = text(&account, "type");
        let finding = format!("{status}, {kind}");
        match (status.as_str(), kind.as_str()) {
            ("active", "Trial") => Check::new(
                "account",
                Mark::Warn,
                finding,
                "A trial account sends to verified numbers only and adds a line to each message",
            )
            .next_step("Verify your own number in the Console for tests; upgrade before you have users"),
            ("active", _) => Check::new("account", Mark::Ok, finding, "The account may send"),
            _ => Check::new("account", Mark::Fail, finding, "An account that is not active sends nothing")
                .next_step("Check suspension mails and bills in the Twilio Console"),
        }
    }

    async fn balance_check(&self, day: Option<Money>) -> Check {
        let path = format!("/2010-04-01/Accounts/{}/Balance.json", self.settings().account_sid);
        let balance = match self.read_for_check("balance", "api", &path, "How much money is left is not known").await {
            Ok(balance) => balance,
            Err(check) => return *check,
        };
        let finding = format!("{} {}", text(&balance, "balance"), text(&balance, "currency"));
        let top_up = "Top up in the Twilio Console, or set automatic recharge";
        match text(&balance, "balance").parse::<f64>() {
            Ok(amount) if amount <= 0.0 => {
                Check::new("balance", Mark::Fail, finding, "Nothing is sent without money").next_step(top_up)
            }
            Ok(amount) if amount < 1.0 => {
                Check::new("balance", Mark::Warn, finding, "Enough for a few messages at most").next_step(top_up)
            }
            Ok(amount) => match day.filter(|day| Money::from_usd(amount) < *day) {
                Some(day) => {
                    let meaning = format!("Less than a day of codes costs ({day})");
                    Check::new("balance", Mark::Warn, finding, meaning).next_step(top_up)
                }
                None => Check::new("balance", Mark::Ok, finding, "There is money to send"),
            },
            Err(_) => Check::new("balance", Mark::Warn, finding, "The balance cannot be read"),
        }
    }

    async fn sender(&self, country: Option<&str>) -> Check {
        match &self.settings().sender {
            Sender::Service(sid) => self.service(sid, country).await,
            Sender::Number(number) => match Phone::from_e164(number) {
                Some(phone) => self.owned_number(&phone).await,
                None if number.bytes().all(|b| b.is_ascii_digit()) => Check::new(
                    "sender",
                    Mark::Warn,
                    format!("short code {number}"),
                    "A short code reaches phones of its own country only",
                ),
                None => Check::new(
                    "sender",
                    Mark::Warn,
                    format!("sender name {number}"),
                    "Names cannot send to the US and Canada nor from trial accounts, and some countries require registration",
                ),
            },
        }
    }

    async fn owned_number(&self, phone: &Phone) -> Check {
        // One expression: a serializer that lived across an await would keep these checks from being spawned.
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("PhoneNumber", phone.as_str()).finish();
        let account = &self.settings().account_sid;
        let path = format!("/2010-04-01/Accounts/{account}/IncomingPhoneNumbers.json?{query}");
        let list = match self.read_for_check("sender", "api", &path, "Whether the sender is yours is not known").await {
            Ok(list) => list,
            Err(check) => return *check,
        };
        let numbers = list.get("incoming_phone_numbers").and_then(Value::as_array);
        let own = numbers.into_iter().flatten().find(|own| text(own, "phone_number") == phone.as_str());
        let shown = phone.masked();
        match own.map(|own| own.pointer("/capabilities/sms").and_then(Value::as_bool)) {
            Some(Some(true)) => Check::new("sender", Mark::Ok, format!("{shown} can send SMS"), "The sender is yours"),
            Some(_) => {
                Check::new("sender", Mark::Fail, format!("{shown} cannot send SMS"), "Twilio would answer 21661")
                    .next_step(catalogue::explain(21661).entry.fix)
            }
            None => Check::new(
                "sender",
                Mark::Fail,
                format!("{shown} does not belong to the account"),
                "Twilio would answer 21659 or 21660",
            )
            .next_step("Set TWILIO_PHONE_NUMBER to a number of this account (Console: Phone Numbers > Active numbers)"),
        }
    }

    async fn service(&self, sid: &str, country: Option<&str>) -> Check {
        let unknown = "Whether the Messaging Service can send is not known";
        let path = format!("/v1/Services/{sid}");
        let service = match self.read_for_check("sender", "messaging", &path, unknown).await {
            Ok(service) => service,
            Err(check) => return *check,
        };
        let mut senders = 0;
        for (pool, key) in
            [("PhoneNumbers", "phone_numbers"), ("AlphaSenders", "alpha_senders"), ("ShortCodes", "short_codes")]
        {
            match self.read_for_check("sender", "messaging", &format!("{path}/{pool}?PageSize=50"), unknown).await {
                Ok(list) => senders += list.get(key).and_then(Value::as_array).map_or(0, Vec::len),
                Err(check) if pool == "PhoneNumbers" => return *check,
                // The other pools are closed to some accounts; the numbers decide then.
                Err(_) => {}
            }
        }
        let finding = format!("Messaging Service {} with {senders} sender(s)", text(&service, "friendly_name"));
        let registered = service.get("us_app_to_person_registered").and_then(Value::as_bool);
        match (senders, country, registered) {
            (0, _, _) => Check::new("sender", Mark::Fail, finding, "Twilio would answer 21704")
                .next_step(catalogue::explain(21704).entry.fix),
            (_, Some("US"), Some(false)) => Check::new(
                "sender",
                Mark::Warn,
                finding,
                "No A2P 10DLC campaign: carriers drop messages of its US long codes (30034)",
            )
            .next_step(catalogue::explain(30034).entry.fix),
            _ => Check::new("sender", Mark::Ok, finding, "The service has numbers to send from"),
        }
    }

    async fn number(&self, options: &CheckOptions) -> (Check, Option<String>) {
        let Some(phone) = &options.to else {
            return (skip("number", "no destination is given").next_step("Give one with --to"), None);
        };
        let path = format!("/v2/PhoneNumbers/%2B{}", &phone.as_str()[1..]);
        let found =
            match self.read_for_check("number", "lookups", &path, "Whether Twilio takes the number is not known").await
            {
                Ok(found) => found,
                Err(check) => return (*check, None),
            };
        let country = found.get("country_code").and_then(Value::as_str).map(plain);
        let shown = phone.masked();
        let check = if found.get("valid").and_then(Value::as_bool) == Some(true) {
            let place = country.as_deref().unwrap_or("no country");
            Check::new("number", Mark::Ok, format!("{shown} is valid ({place})"), "Twilio takes it as a destination")
        } else {
            let errors = found.get("validation_errors").and_then(Value::as_array).into_iter().flatten();
            let errors: Vec<String> = errors.filter_map(Value::as_str).map(plain).take(5).collect();
            let finding = format!("{shown} is not valid: {}", errors.join(", "));
            Check::new("number", Mark::Fail, finding, "Twilio would answer 21211")
                .next_step(catalogue::explain(21211).entry.fix)
        };
        (check, country)
    }

    async fn country(&self, options: &CheckOptions, country: Option<String>) -> Check {
        let is_code = |code: &String| code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic());
        let Some(country) = country.filter(is_code) else {
            let why = if options.to.is_some() { "the number belongs to no country" } else { "no destination is given" };
            return skip("country", why).next_step("Give one with --to");
        };
        let country = country.to_ascii_uppercase();
        let path = format!("/v1/Messaging/GeoPermissions?CountryCode={country}");
        let unknown = "Whether the country is enabled is not known";
        let list = match self.read_for_check("country", "accounts", &path, unknown).await {
            Ok(list) => list,
            Err(check) => return *check,
        };
        let permissions = list.get("permissions").and_then(Value::as_array).into_iter().flatten();
        let mut entries = permissions.filter(|entry| text(entry, "country_code").eq_ignore_ascii_case(&country));
        match entries.next().and_then(|entry| entry.get("enabled")).and_then(Value::as_bool) {
            Some(true) => Check::new("country", Mark::Ok, format!("{country} is enabled"), "Messages may go there"),
            Some(false) => Check::new(
                "country",
                Mark::Fail,
                format!("{country} is not enabled for SMS"),
                "Twilio would answer 21408",
            )
            .next_step(catalogue::explain(21408).entry.fix),
            None => Check::new("country", Mark::Warn, format!("Twilio does not list {country}"), unknown),
        }
    }

    /// Reads one resource for a check. What an API key may not read is skipped, everything else that fails is a failed check.
    async fn read_for_check(
        &self,
        name: &'static str,
        product: &str,
        path: &str,
        unknown: &str,
    ) -> Result<Value, Box<Check>> {
        let read = match self.settings().url(product, path) {
            Ok(url) => self.read_resource(url).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(Some(value)) => Ok(value),
            Ok(None) => {
                let check = Check::new(name, Mark::Fail, "Twilio has no such resource (404)", unknown);
                Err(Box::new(check.next_step("Check the SID, and that it belongs to this account and region")))
            }
            Err(error) if error.code() == Code::PROVIDER_CONFIG && self.has_key() => {
                let check = skip(name, "this API key may not read it");
                Err(Box::new(
                    check.next_step("Use the Auth Token or a Main key to check it; sending does not need that"),
                ))
            }
            Err(error) => Err(Box::new(failed(name, &error, unknown))),
        }
    }

    fn has_key(&self) -> bool {
        matches!(self.settings().credentials, Credentials::ApiKey { .. })
    }
}

/// A check that failed with an error.
fn failed(name: &'static str, error: &Error, meaning: &str) -> Check {
    Check::new(name, Mark::Fail, error.message(), meaning).next_step(error.hint_text().unwrap_or("Try again"))
}

fn skip(name: &'static str, why: &str) -> Check {
    Check::new(name, Mark::Skip, format!("not checked: {why}"), "Nothing is known about it")
}

fn skipped(names: &[&'static str], why: &str) -> Vec<Check> {
    names.iter().map(|name| skip(name, why)).collect()
}

fn no_connection(error: ExchangeError) -> Check {
    let (meaning, next) = match &error {
        ExchangeError::Unreachable(_) => {
            ("Nothing can be sent from here", "Check network, DNS, proxy (HTTPS_PROXY) and firewall")
        }
        ExchangeError::Broken(_) => {
            ("Something answers, but not as Twilio does", "Check TWILIO_API_BASE_URL, and proxies on the way")
        }
    };
    Check::new("connection", Mark::Fail, error.why(), meaning).next_step(next)
}

/// Test credentials are refused wherever they are of no use: 20008 means that, 20403 and a bare 403 may mean it.
fn may_be_test_credentials(probe: &ApiAnswer) -> bool {
    probe.status == 403 && matches!(api_error(probe).code, None | Some(20008 | 20403))
}

fn text(value: &Value, key: &str) -> String {
    plain(value.get(key).and_then(Value::as_str).unwrap_or("unknown"))
}

#[cfg(test)]
mod tests;
