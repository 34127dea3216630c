//! Twilio's magic numbers: with test credentials each brings about one outcome, and nothing is sent.

use super::{Check, Mark};
use crate::provider::twilio::Twilio;
use crate::provider::twilio::outcome;
use crate::provider::twilio::wire::Request;
use crate::provider::{Delivery, Refused};

/// One create with magic numbers and what must come of it.
struct Trick {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    /// The error code, or `None` for success.
    code: Option<u32>,
}

/// A valid destination; with test credentials nothing reaches it.
const ANYONE: &str = "+14155552671";
const GOOD_SENDER: &str = "+15005550006";

const fn trick(name: &'static str, from: &'static str, to: &'static str, code: Option<u32>) -> Trick {
    Trick { name, from, to, code }
}

const TRICKS: [Trick; 9] = [
    trick("magic_accepted", GOOD_SENDER, ANYONE, None),
    trick("magic_from_invalid", "+15005550001", ANYONE, Some(21212)),
    trick("magic_from_not_owned", "+15005550007", ANYONE, Some(21606)),
    trick("magic_from_queue_full", "+15005550008", ANYONE, Some(21611)),
    trick("magic_to_invalid", GOOD_SENDER, "+15005550001", Some(21211)),
    trick("magic_to_unroutable", GOOD_SENDER, "+15005550002", Some(21612)),
    trick("magic_to_country_off", GOOD_SENDER, "+15005550003", Some(21408)),
    trick("magic_to_opted_out", GOOD_SENDER, "+15005550004", Some(21610)),
    trick("magic_to_landline", GOOD_SENDER, "+15005550009", Some(21614)),
];

/// Whether a create from the magic sender succeeds: only test credentials can do that. To live ones the sender is foreign, so
/// that nothing goes out either way.
pub(super) async fn accepts(twilio: &Twilio) -> bool {
    matches!(create(twilio, &TRICKS[0]).await, Delivery::Accepted { .. })
}

/// Tries every magic number.
pub(super) async fn walk(twilio: &Twilio) -> Vec<Check> {
    let mut checks = Vec::with_capacity(TRICKS.len());
    for trick in &TRICKS {
        checks.push(judge(trick, create(twilio, trick).await));
    }
    checks
}

fn judge(trick: &Trick, delivery: Delivery) -> Check {
    let got = match &delivery {
        Delivery::Accepted { .. } => "accepted".to_owned(),
        Delivery::Refused(Refused { code: Some(code), .. }) => format!("refused with {code}"),
        Delivery::Refused(refused) => format!("refused with HTTP {}", refused.http_status),
        Delivery::Busy { why, .. } | Delivery::Unreachable { why } | Delivery::Maybe { why } => why.clone(),
    };
    let as_told = match (&delivery, trick.code) {
        (Delivery::Accepted { .. }, None) => true,
        (Delivery::Refused(refused), Some(code)) => refused.code == Some(code),
        _ => false,
    };
    let finding = format!("from {} to {}: {got}", trick.from, trick.to);
    if as_told {
        return Check::new(trick.name, Mark::Ok, finding, "As Twilio documents it, and read rightly");
    }
    let wanted = trick.code.map_or_else(|| "success".to_owned(), |code| format!("error {code}"));
    Check::new(trick.name, Mark::Fail, finding, format!("Twilio documents {wanted} for this pair"))
        .next("Try again; if it stays, look for a proxy or gateway between here and Twilio")
}

async fn create(twilio: &Twilio, trick: &Trick) -> Delivery {
    let url = match twilio.settings().url("api", &twilio.messages_path()) {
        Ok(url) => url,
        Err(error) => return Delivery::Unreachable { why: error.message().to_owned() },
    };
    let form = vec![
        ("To", trick.to.to_owned()),
        ("From", trick.from.to_owned()),
        ("Body", "smsotp checks Twilio's test credentials".to_owned()),
    ];
    match twilio.wire.call(Request::Create(url, form)).await {
        Ok(answer) => outcome::of_create(&answer, &twilio.settings().account_sid),
        Err(trouble) => Delivery::Unreachable { why: trouble.why() },
    }
}
