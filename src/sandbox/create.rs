//! Creates a message: Twilio's rules in Twilio's order, with Twilio's codes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use chrono::DateTime;
use url::Url;

use super::answer::{ApiResult, TwilioError, created};
use super::countries::{country_of, is_reachable, segments};
use super::identity::Identity;
use super::message::{Media, StoredMessage};
use super::request::{ApiRequest, Params};
use super::sid::{is_sid, random_sid};
use super::state::SandboxState;
use crate::clock::Timestamp;
use crate::phone::Phone;
use crate::segments::smart_encoded;

/// The longest text, in characters.
const MAX_TEXT: usize = 1600;
/// The longest and the usual `ValidityPeriod`, in seconds.
const MAX_VALIDITY: u32 = 36_000;
/// How far ahead `SendAt` may lie.
const SCHEDULE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(35 * 86_400));

/// POST Messages.json
pub(super) async fn create(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let order = CreateRequest::read(&request.form, state.now())?;
    if request.identity == Identity::Test {
        order.check_not_to_itself()?;
        check_magic_numbers(&order)?;
        let message = order.message(state.now(), "queued");
        return Ok(created(message.to_json(state.account.sid_of(Identity::Test))));
    }
    order.check_recipient(&state)?;
    order.check_sender(&state)?;
    let sender = order.service.or(order.from).unwrap_or_default();
    let status = match (order.send_at, order.service) {
        (Some(_), _) => "scheduled",
        (None, Some(_)) => "accepted",
        (None, None) => "queued",
    };
    let message = {
        let mut message_log = state.message_log();
        if message_log.is_opted_out(sender, order.to) {
            return Err(TwilioError::new(21610, "The recipient replied STOP to this sender"));
        }
        message_log.add(order.message(state.now(), status))
    };
    if let Some(on_message) = &state.options.on_message {
        on_message(&message.received());
    }
    state.arrivals.send_modify(|n| *n += 1);
    state.moving.notify_one();
    Ok(created(message.to_json(&state.account.account_sid)))
}

/// The parameters, each checked by itself.
struct CreateRequest<'a> {
    to: &'a str,
    from: Option<&'a str>,
    service: Option<&'a str>,
    text: String,
    segments: u32,
    media: Vec<&'a str>,
    callback: Option<&'a str>,
    validity: Option<u32>,
    send_at: Option<Timestamp>,
}

impl<'a> CreateRequest<'a> {
    fn read(form: &'a Params, now: Timestamp) -> Result<CreateRequest<'a>, TwilioError> {
        let to = form.filled("To").ok_or_else(|| TwilioError::new(21604, "A 'To' is required"))?;
        let (from, service) = (form.filled("From"), form.filled("MessagingServiceSid"));
        if from.is_none() && service.is_none() {
            return Err(TwilioError::new(21603, "A 'From' or a 'MessagingServiceSid' is required"));
        }
        if service.is_some_and(|sid| !is_sid(sid, "MG")) {
            return Err(TwilioError::new(21705, "'MessagingServiceSid' is not MG and 32 hex digits"));
        }
        let (text, media) = content(form)?;
        check_types(form)?;
        // The text stays as it was given: what is replaced is replaced on its way, and counts so.
        let segments = match form.filled("SmartEncoded") {
            Some("true") => segments(&smart_encoded(&text)),
            _ => segments(&text),
        };
        Ok(CreateRequest {
            to,
            from,
            service,
            text,
            segments,
            media,
            callback: callback(form)?,
            validity: validity(form)?,
            send_at: send_at(form, now)?,
        })
    }

    fn check_not_to_itself(&self) -> Result<(), TwilioError> {
        match self.from == Some(self.to) {
            true => Err(TwilioError::new(21266, "'To' and 'From' are the same number")),
            false => Ok(()),
        }
    }

    fn check_recipient(&self, state: &SandboxState) -> Result<(), TwilioError> {
        let number = without_channel(self.to);
        if is_short_code(number) {
            return Err(TwilioError::new(21265, "'To' is a short code"));
        }
        if !is_reachable(number) {
            return Err(TwilioError::new(21211, format!("Invalid 'To' phone number: {}", self.to)));
        }
        self.check_not_to_itself()?;
        if country_of(number).is_some_and(|iso| state.options.countries_off.contains(&iso)) {
            return Err(TwilioError::new(21408, format!("SMS to the region of {} is not enabled", self.to)));
        }
        if state.options.trial && !state.options.verified.contains(number) {
            return Err(TwilioError::new(21608, format!("A trial account cannot send to the unverified {}", self.to)));
        }
        Ok(())
    }

    fn check_sender(&self, state: &SandboxState) -> Result<(), TwilioError> {
        let account = &state.account;
        if let Some(service) = self.service {
            if service != account.service_sid {
                return Err(TwilioError::new(21701, format!("The Messaging Service {service} was not found")));
            }
            if state.options.empty_service {
                return Err(TwilioError::new(21704, "The Messaging Service has no senders"));
            }
        }
        let Some(from) = self.from else { return Ok(()) };
        let (channel, number) = (channel(from), without_channel(from));
        if channel != self::channel(self.to) {
            return Err(TwilioError::new(21612, "'To' and 'From' are of different channels"));
        }
        if account.owns(number) {
            return Ok(());
        }
        if channel.is_some() {
            return Err(TwilioError::new(63007, format!("No channel for the sender {from}")));
        }
        if Phone::from_e164(number).is_some() || is_short_code(number) {
            return Err(TwilioError::new(21659, format!("'From' {from} is not a number of this account")));
        }
        if !is_sender_name(number) {
            return Err(TwilioError::new(21212, format!("Invalid 'From': {from}")));
        }
        if matches!(country_of(without_channel(self.to)).as_deref(), Some("US" | "CA")) {
            return Err(TwilioError::new(21612, format!("A sender name cannot reach {}", self.to)));
        }
        Ok(())
    }

    fn message(&self, now: Timestamp, status: &str) -> StoredMessage {
        StoredMessage {
            seq: 0,
            sid: random_sid(if !self.media.is_empty() || channel(self.to).is_some() { "MM" } else { "SM" }),
            inbound: false,
            to: self.to.to_owned(),
            from: if status == "queued" { self.from.map(str::to_owned) } else { None },
            service: self.service.map(str::to_owned),
            segments: self.segments,
            body: self.text.clone(),
            media: self.media.iter().map(|url| Media::of(url)).collect(),
            status: status.to_owned(),
            error_code: None,
            created: now,
            updated: now,
            sent: None,
            validity: self.validity,
            callback: self.callback.map(str::to_owned),
            send_at: self.send_at,
            price_micros: None,
            feedback: None,
            verification: false,
            deleted: false,
        }
    }
}

/// Parameters that the sandbox does nothing with have to be of their types all the same.
fn check_types(form: &Params) -> Result<(), TwilioError> {
    type Fits = fn(&str) -> bool;
    const FLAG: (&str, Fits) = ("true or false", |text| matches!(text, "true" | "false"));
    const RISK: (&str, Fits) = ("enable or disable", |text| matches!(text, "enable" | "disable"));
    const RETENTION: (&str, Fits) = ("retain or discard", |text| matches!(text, "retain" | "discard"));
    const COUNT: (&str, Fits) = ("a whole number", |text| text.parse::<u32>().is_ok());
    const AMOUNT: (&str, Fits) = ("an amount", |text| text.parse::<f64>().is_ok_and(|n| n.is_finite() && n >= 0.0));
    let kinds = [
        ("SmartEncoded", FLAG),
        ("ProvideFeedback", FLAG),
        ("ForceDelivery", FLAG),
        ("ShortenUrls", FLAG),
        ("SendAsMms", FLAG),
        ("RiskCheck", RISK),
        ("ContentRetention", RETENTION),
        ("Attempt", COUNT),
        ("MaxPrice", AMOUNT),
    ];
    for (name, (kind, fits)) in kinds {
        if form.filled(name).is_some_and(|text| !fits(text)) {
            return Err(TwilioError::new(20001, format!("'{name}' is not {kind}")));
        }
    }
    Ok(())
}

/// Text and media of a message.
fn content(form: &Params) -> Result<(String, Vec<&str>), TwilioError> {
    let media: Vec<&str> = form.all("MediaUrl").collect();
    let template = form.filled("ContentSid");
    let text = match (form.filled("Body"), template) {
        (_, Some(sid)) => template_text(sid, form)?,
        (Some(text), None) => text.to_owned(),
        (None, None) if !media.is_empty() => String::new(),
        (None, None) => return Err(TwilioError::new(21602, "A 'Body', 'MediaUrl' or 'ContentSid' is required")),
    };
    if template.is_none() && form.filled("ContentVariables").is_some() {
        return Err(TwilioError::new(21654, "'ContentVariables' without a 'ContentSid'"));
    }
    if text.chars().count() > MAX_TEXT {
        return Err(TwilioError::new(21617, "The text is longer than 1600 characters"));
    }
    if media.len() > 10 {
        return Err(TwilioError::new(21623, "More than 10 media"));
    }
    let is_web = |url: &&str| Url::parse(url).is_ok_and(|u| matches!(u.scheme(), "http" | "https"));
    if !media.iter().all(is_web) {
        return Err(TwilioError::new(21620, "A 'MediaUrl' is not an http or https URL"));
    }
    Ok((text, media))
}

/// What the sandbox shows of a template: it has the variables, not the wording.
fn template_text(sid: &str, form: &Params) -> Result<String, TwilioError> {
    if !is_sid(sid, "HX") {
        return Err(TwilioError::new(21655, "'ContentSid' is not HX and 32 hex digits"));
    }
    let variables = form.filled("ContentVariables").unwrap_or("{}");
    let Ok(serde_json::Value::Object(variables)) = serde_json::from_str(variables) else {
        return Err(TwilioError::new(21656, "'ContentVariables' is not a JSON object"));
    };
    let values: Vec<String> = variables
        .iter()
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => format!("{name}: {text}"),
            other => format!("{name}: {other}"),
        })
        .collect();
    Ok(format!("[template {sid}] {}", values.join(", ")))
}

fn callback(form: &Params) -> Result<Option<&str>, TwilioError> {
    let Some(text) = form.filled("StatusCallback") else { return Ok(None) };
    let fits = Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.contains('_'))
    });
    if fits { Ok(Some(text)) } else { Err(TwilioError::new(21609, "'StatusCallback' is not a usable URL")) }
}

fn validity(form: &Params) -> Result<Option<u32>, TwilioError> {
    let Some(text) = form.filled("ValidityPeriod") else { return Ok(None) };
    match text.parse() {
        Ok(seconds @ 1..=MAX_VALIDITY) => Ok(Some(seconds)),
        _ => Err(TwilioError::new(21624, "'ValidityPeriod' must be 1 to 36000 seconds")),
    }
}

fn send_at(form: &Params, now: Timestamp) -> Result<Option<Timestamp>, TwilioError> {
    let Some(kind) = form.filled("ScheduleType") else { return Ok(None) };
    if kind != "fixed" {
        return Err(TwilioError::new(35126, "'ScheduleType' must be fixed"));
    }
    let text =
        form.filled("SendAt").ok_or_else(|| TwilioError::new(35111, "'SendAt' is required with 'ScheduleType'"))?;
    if form.filled("MessagingServiceSid").is_none() {
        return Err(TwilioError::new(35118, "'MessagingServiceSid' is required to schedule"));
    }
    let at = DateTime::parse_from_rfc3339(text).map(|at| Timestamp(at.timestamp_millis())).ok();
    match at.filter(|at| *at >= now + SCHEDULE.0 && *at <= now + SCHEDULE.1) {
        Some(at) => Ok(Some(at)),
        None => Err(TwilioError::new(35114, "'SendAt' must be 300 seconds to 35 days ahead")),
    }
}

/// The errors of the magic numbers of test credentials.
fn check_magic_numbers(order: &CreateRequest) -> Result<(), TwilioError> {
    let from = match order.from {
        Some("+15005550006") => None,
        Some("+15005550001") => Some(21212),
        Some("+15005550008") => Some(21611),
        _ => Some(21606),
    };
    let to = match order.to {
        "+15005550001" => Some(21211),
        "+15005550002" => Some(21612),
        "+15005550003" => Some(21408),
        "+15005550004" => Some(21610),
        "+15005550009" => Some(21614),
        other if !is_reachable(without_channel(other)) => Some(21211),
        _ => None,
    };
    match to.or(from) {
        None => Ok(()),
        Some(code) => {
            let which = if to.is_some() { ("To", order.to) } else { ("From", order.from.unwrap_or_default()) };
            Err(TwilioError::new(code, format!("'{}' {} answers {code}", which.0, which.1)))
        }
    }
}

/// The address without its channel: `whatsapp:+1…` is `+1…`.
fn without_channel(address: &str) -> &str {
    channel(address).map_or(address, |channel| &address[channel.len() + 1..])
}

fn channel(address: &str) -> Option<&'static str> {
    ["whatsapp", "rcs", "messenger"]
        .into_iter()
        .find(|name| address.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
}

fn is_short_code(text: &str) -> bool {
    (3..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// An alphanumeric sender: up to 11 letters, digits, blanks and a few signs, with a letter in it.
fn is_sender_name(text: &str) -> bool {
    text.len() <= 11
        && !text.starts_with('+')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" -_+&".contains(&b))
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}
