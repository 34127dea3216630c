//! Twilio's magic numbers: with test credentials each causes one outcome, and nothing is sent.

use crate::check::{Check, Mark};
use crate::provider::Delivery;
use crate::provider::twilio::Twilio;
use crate::provider::twilio::client::Request;
use crate::provider::twilio::outcome;

/// A message from and to magic numbers, and the outcome that Twilio documents for it.
struct MagicCase {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    /// The error code, or `None` for success.
    code: Option<u32>,
}

/// A valid destination; with test credentials nothing reaches it.
const ANYONE: &str = "+14155552671";
const GOOD_SENDER: &str = "+15005550006";

const fn case(name: &'static str, from: &'static str, to: &'static str, code: Option<u32>) -> MagicCase {
    MagicCase { name, from, to, code }
}

const CASES: [MagicCase; 9] = [
    case("magic_accepted", GOOD_SENDER, ANYONE, None),
    case("magic_from_invalid", "+15005550001", ANYONE, Some(21212)),
    case("magic_from_not_owned", "+15005550007", ANYONE, Some(21606)),
    case("magic_from_queue_full", "+15005550008", ANYONE, Some(21611)),
    case("magic_to_invalid", GOOD_SENDER, "+15005550001", Some(21211)),
    case("magic_to_unroutable", GOOD_SENDER, "+15005550002", Some(21612)),
    case("magic_to_country_off", GOOD_SENDER, "+15005550003", Some(21408)),
    case("magic_to_opted_out", GOOD_SENDER, "+15005550004", Some(21610)),
    case("magic_to_landline", GOOD_SENDER, "+15005550009", Some(21614)),
];

/// Whether a message from the magic sender is accepted: only test credentials can send one. With live credentials the sender is
/// not the account's, so nothing goes out either way.
pub(super) async fn are_test_credentials(twilio: &Twilio) -> bool {
    matches!(create(twilio, &CASES[0]).await, Delivery::Accepted { .. })
}

/// Tries every magic number.
pub(super) async fn try_all(twilio: &Twilio) -> Vec<Check> {
    let mut checks = Vec::with_capacity(CASES.len());
    for case in &CASES {
        checks.push(compare(case, create(twilio, case).await));
    }
    checks
}

fn compare(case: &MagicCase, delivery: Delivery) -> Check {
    let code = match &delivery {
        Delivery::Busy { code, .. } => *code,
        other => other.reason().and_then(|reason| reason.code),
    };
    let got = match (&delivery, code) {
        (Delivery::Accepted { .. }, _) => "accepted".to_owned(),
        (_, Some(code)) => format!("refused with {code}"),
        (Delivery::Refused(reason) | Delivery::Ended { reason, .. }, None) => format!("refused: {}", reason.meaning),
        (Delivery::Busy { why, .. } | Delivery::Unreachable { why } | Delivery::Maybe { why }, None) => why.clone(),
    };
    let as_documented = matches!(delivery, Delivery::Accepted { .. }) == case.code.is_none() && code == case.code;
    let finding = format!("from {} to {}: {got}", case.from, case.to);
    if as_documented {
        return Check::new(case.name, Mark::Ok, finding, "As Twilio documents it");
    }
    let expected = case.code.map_or_else(|| "success".to_owned(), |code| format!("error {code}"));
    Check::new(case.name, Mark::Fail, finding, format!("Twilio documents {expected} for this pair"))
        .next_step("Try again; if it persists, look for a proxy or gateway between here and Twilio")
}

async fn create(twilio: &Twilio, case: &MagicCase) -> Delivery {
    let url = match twilio.settings().url("api", &twilio.messages_path()) {
        Ok(url) => url,
        Err(error) => return Delivery::Unreachable { why: error.message().to_owned() },
    };
    let form = vec![
        ("To", case.to.to_owned()),
        ("From", case.from.to_owned()),
        ("Body", "smsotp checks Twilio's test credentials".to_owned()),
    ];
    match twilio.client.call(Request::Create(url, form)).await {
        Ok(answer) => outcome::delivery(&answer, &twilio.settings().account_sid),
        Err(error) => Delivery::Unreachable { why: error.why() },
    }
}
