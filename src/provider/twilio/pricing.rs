//! Twilio's price list as its API shows it: what an SMS to a country costs, by carrier and kind of sender
//! (<https://www.twilio.com/docs/messaging/api/pricing>).

use serde_json::Value;

use super::outcome::unreadable;
use crate::error::{Code, Error, Result};
use crate::money::{Money, SEGMENT_MAX};

const PATH: &str = "/v1/Messaging/Countries";

/// At most so many pages are read: one holds every country, unless a gateway cuts it smaller.
pub(super) const PAGES_MAX: usize = 20;

/// Where the list of countries begins.
pub(super) fn first_page() -> String {
    format!("{PATH}?PageSize=1000")
}

/// Where it goes on, if it does. Only what is asked for is taken over, and not the host: the credentials go nowhere else.
pub(super) fn next_page(page: &Value) -> Option<String> {
    let (_, query) = page.pointer("/meta/next_page_url")?.as_str()?.split_once(PATH)?;
    query.starts_with('?').then(|| format!("{PATH}{query}"))
}

/// The countries of a page. `None`: it is none.
pub(super) fn countries(page: &Value) -> Option<Vec<String>> {
    let countries = page.get("countries")?.as_array()?.iter();
    Some(countries.filter_map(|country| country.get("iso_country")?.as_str()).map(str::to_owned).collect())
}

/// Where the prices of a country are.
pub(super) fn of_country(country: &str) -> String {
    format!("{PATH}/{country}")
}

/// The dearest outbound price of a country: which carrier a number belongs to is not known before it is sent to.
pub(super) fn dearest(country: &str, list: &Value) -> Result<Option<Money>> {
    let unit = list.get("price_unit").and_then(Value::as_str).unwrap_or_default();
    if !unit.eq_ignore_ascii_case("USD") {
        let unit: String = unit.chars().filter(char::is_ascii_alphanumeric).take(10).collect();
        let what = format!("Twilio's prices for {country} are in {unit:?}, and prices are kept in US dollars");
        return Err(Error::new(Code::PROVIDER_REFUSED, what)
            .hint("set the price in a file of your own: prices_file in smsotp.toml"));
    }
    let carriers = list.get("outbound_sms_prices").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let prices = carriers.iter().filter_map(|carrier| carrier.get("prices")?.as_array()).flatten();
    let prices: Option<Vec<Money>> = prices.map(current).collect();
    Ok(prices.ok_or_else(unreadable)?.into_iter().max())
}

/// What is billed: the current price, which a discount may have made smaller than the base price. Numbers are strings here and
/// numbers there.
fn current(price: &Value) -> Option<Money> {
    let number = |key: &str| {
        let value = price.get(key)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    };
    let usd = number("current_price").or_else(|| number("base_price"))?;
    (0.0..=SEGMENT_MAX.usd()).contains(&usd).then(|| Money::from_usd(usd))
}

/// The error where there is no list.
pub(super) fn no_list() -> Error {
    Error::new(Code::PROVIDER_CONFIG, "there is no price list at this address")
        .hint("check TWILIO_API_BASE_URL: Twilio's own address has one, and so has `smsotp sandbox`")
}

/// The error where the list has no end.
pub(super) fn too_long() -> Error {
    let what = format!("Twilio's list of countries has more than {PAGES_MAX} pages");
    Error::new(Code::PROVIDER_UNREACHABLE, what).hint("look for a proxy or gateway between here and Twilio")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(prices: &Value) -> Value {
        json!({"price_unit": "usd", "outbound_sms_prices": [{"carrier": "a", "prices": prices}, {"carrier": "b"}]})
    }

    #[test]
    fn of_all_carriers_the_dearest_current_price_counts() {
        let twilios_own = json!({"price_unit": "USD", "outbound_sms_prices": [
            {"carrier": "att", "mcc": "foo", "mnc": "bar", "prices": [{"base_price": "0.05", "current_price": "0.05", "number_type": "mobile"}]},
        ]});
        assert_eq!(dearest("US", &twilios_own).unwrap(), Some(Money(50_000)));
        let prices = json!([
            {"base_price": "0.9", "current_price": 0.0075}, {"current_price": "0.00830"}, {"base_price": "0.0079", "current_price": null},
        ]);
        assert_eq!(dearest("US", &list(&prices)).unwrap(), Some(Money(8_300)));
        assert_eq!(dearest("US", &list(&json!([]))).unwrap(), None);
        assert_eq!(dearest("US", &json!({"price_unit": "USD", "outbound_sms_prices": null})).unwrap(), None);
    }

    #[test]
    fn what_is_no_price_in_us_dollars_is_not_taken_for_one() {
        for bad in [json!("cheap"), json!("-0.01"), json!("NaN"), json!("inf"), json!(100.5), json!(null), json!({})] {
            let error = dearest("US", &list(&json!([{"current_price": "0.05"}, {"current_price": bad}]))).unwrap_err();
            assert_eq!(error.code(), Code::PROVIDER_UNREACHABLE, "{bad}");
        }
        let error = dearest("DE", &json!({"price_unit": "EUR", "outbound_sms_prices": []})).unwrap_err();
        assert!(error.message().contains("\"EUR\"") && error.hint_text().unwrap().contains("prices_file"), "{error}");
        assert_eq!(dearest("DE", &json!({})).unwrap_err().code(), Code::PROVIDER_REFUSED);
    }

    #[test]
    fn the_next_page_is_asked_for_at_our_own_address() {
        let page = |next: Value| json!({"countries": [{"iso_country": "US"}, {}], "meta": {"next_page_url": next}});
        let next = page(json!("https://elsewhere.example/v1/Messaging/Countries?PageSize=50&Page=1"));
        assert_eq!(next_page(&next).as_deref(), Some("/v1/Messaging/Countries?PageSize=50&Page=1"));
        assert_eq!(countries(&next).unwrap(), ["US"]);
        for none in [json!(null), json!("/other"), json!("/v1/Messaging/Countries/../../x"), json!(5)] {
            assert_eq!(next_page(&page(none.clone())), None, "{none}");
        }
        assert_eq!(countries(&json!([])), None);
    }
}
