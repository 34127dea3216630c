//! What messages cost: amounts of money, the price of an SMS segment by country and channel, and the ceilings of spending.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::phone;

/// An amount in millionths of a US dollar. Sums stop at the largest amount instead of running over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(pub i64);

const MICROS: i64 = 1_000_000;

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);
    /// The largest amount.
    pub const MAX: Money = Money(i64::MAX);

    /// An amount in US dollars, rounded to a millionth.
    pub fn from_usd(usd: f64) -> Money {
        Money((usd * MICROS as f64).round() as i64)
    }
    /// In US dollars.
    pub fn usd(self) -> f64 {
        self.0 as f64 / MICROS as f64
    }
    /// Both together.
    pub fn plus(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
    /// This without the other; may be below zero.
    pub fn minus(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }
    /// So many of it.
    pub fn times(self, count: u32) -> Money {
        Money(self.0.saturating_mul(i64::from(count)))
    }
    /// So many hundredths of it, rounded down.
    pub fn percent(self, hundredths: u32) -> Money {
        let part = i128::from(self.0) * i128::from(hundredths) / 100;
        Money(i64::try_from(part).unwrap_or(i64::MAX))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Money {
        amounts.fold(Money::ZERO, Money::plus)
    }
}

/// `5.60 US$`: two decimals, and up to four where the price of one message needs them.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = (self.0.unsigned_abs() + 50) / 100;
        let (whole, decimals) = (parts / 10_000, format!("{:04}", parts % 10_000));
        let kept = decimals.trim_end_matches('0').len().max(2);
        let sign = if self.0 < 0 && parts > 0 { "-" } else { "" };
        write!(f, "{sign}{whole}.{} US$", &decimals[..kept])
    }
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMoney;

impl fmt::Display for NotMoney {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not an amount in US dollars, like 0.0083 or 25, with at most 6 decimals")
    }
}

/// Reads `25` and `0.0083`: digits and a point, nothing below zero, at most a billion.
impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Money, NotMoney> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 9) || !digits(decimals, 6) {
            return Err(NotMoney);
        }
        let (whole, decimals): (i64, i64) =
            (whole.parse().map_err(|_| NotMoney)?, format!("{decimals:0<6}").parse().map_err(|_| NotMoney)?);
        Ok(Money(whole * MICROS + decimals))
    }
}

/// How a message reaches a phone.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Channel {
    /// An SMS: the price is per segment.
    #[default]
    Sms,
    /// A WhatsApp message: one segment, whatever its length.
    Whatsapp,
}

impl Channel {
    /// All of them.
    pub const ALL: &[Channel] = <Channel as strum::VariantArray>::VARIANTS;
    /// The word in settings, files and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The years of the list prices in the shipped table.
pub const SHIPPED_DATE: &str = "2024-2026";

/// What an SMS segment costs, in millionths of a US dollar: rounded public list prices of [`SHIPPED_DATE`]. There is none of
/// WhatsApp, and none of the countries that are missing here: for those, the dearest known price stands.
const SHIPPED: [(&str, i64); 40] = [
    ("AU", 50_000),
    ("AZ", 350_000),
    ("BD", 330_000),
    ("BR", 60_000),
    ("CA", 8_300),
    ("CO", 50_000),
    ("DE", 110_000),
    ("DZ", 220_000),
    ("EG", 250_000),
    ("ES", 80_000),
    ("FR", 80_000),
    ("GB", 50_000),
    ("ID", 450_000),
    ("IN", 80_000),
    ("IQ", 280_000),
    ("IT", 90_000),
    ("JP", 80_000),
    ("KG", 250_000),
    ("LK", 330_000),
    ("MA", 130_000),
    ("MM", 300_000),
    ("MX", 60_000),
    ("NG", 300_000),
    ("NL", 110_000),
    ("PH", 200_000),
    ("PK", 350_000),
    ("PL", 45_000),
    ("RO", 90_000),
    ("SA", 200_000),
    ("SE", 60_000),
    ("TH", 50_000),
    ("TJ", 400_000),
    ("TN", 250_000),
    ("TR", 60_000),
    ("UA", 140_000),
    ("US", 8_300),
    ("UZ", 350_000),
    ("VN", 150_000),
    ("YE", 200_000),
    ("ZA", 110_000),
];

/// Where a price comes from. A later one wins over an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// No price is known: the dearest known one stands in.
    Dearest,
    /// The table that is compiled in.
    Shipped,
    /// The provider's price list, asked for at this time.
    Refreshed(Timestamp),
    /// The operator's own file.
    File,
}

impl Source {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Dearest => "dearest",
            Source::Shipped => "shipped",
            Source::Refreshed(_) => "refreshed",
            Source::File => "file",
        }
    }
}

/// One price: what a segment costs, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Per segment.
    pub money: Money,
    /// Where it comes from.
    pub source: Source,
}

/// One line of a price list: country (ISO 3166 two letters), channel, price per segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The country.
    pub country: &'static str,
    /// The channel.
    pub channel: Channel,
    /// Per segment.
    pub money: Money,
}

/// What a segment costs, by country and channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    known: BTreeMap<(&'static str, Channel), Price>,
}

/// A price as the provider's list had it, which the database keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPrice {
    /// ISO 3166 two letters.
    pub country: String,
    /// The channel.
    pub channel: Channel,
    /// Per segment, at the dearest carrier.
    pub price: Money,
    /// When the list was asked for.
    pub fetched_at: Timestamp,
}

/// The most that one segment may cost in a price list: more is a slip of the point.
pub const SEGMENT_MAX: Money = Money(100 * MICROS);

/// The most lines of a price list.
const LINES_MAX: usize = 2_000;

impl Default for Prices {
    fn default() -> Prices {
        Prices::shipped()
    }
}

impl Prices {
    /// The table that is compiled in.
    pub fn shipped() -> Prices {
        let row = |(country, micros): &(&'static str, i64)| {
            ((*country, Channel::Sms), Price { money: Money(*micros), source: Source::Shipped })
        };
        Prices { known: SHIPPED.iter().map(row).collect() }
    }

    /// What a segment to this country costs. A country without a known price, or none: the dearest known of the channel, and of
    /// all channels where the channel has none.
    pub fn of(&self, country: Option<&str>, channel: Channel) -> Money {
        self.price(country, channel).money
    }

    /// The same, with where it comes from.
    pub fn price(&self, country: Option<&str>, channel: Channel) -> Price {
        let known = country.and_then(phone::country).and_then(|country| self.known.get(&(country, channel)));
        known.copied().unwrap_or_else(|| Price { money: self.dearest(channel), source: Source::Dearest })
    }

    /// The dearest known price of a channel; of all channels where it has none.
    pub fn dearest(&self, channel: Channel) -> Money {
        let of_channel = self.known.iter().filter(|((_, known), _)| *known == channel).map(|(_, price)| price.money);
        of_channel.max().or_else(|| self.known.values().map(|price| price.money).max()).unwrap_or(Money::ZERO)
    }

    /// Every known price, by country.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Channel, Price)> {
        self.known.iter().map(|((country, channel), price)| (*country, *channel, *price))
    }

    /// Takes a price over, unless one that wins over its source is known: the operator's file over the provider's list over the
    /// shipped table.
    pub fn put(&mut self, listed: &Listed, source: Source) {
        let price = Price { money: listed.money, source };
        let known = self.known.entry((listed.country, listed.channel)).or_insert(price);
        if known.source <= source {
            *known = price;
        }
    }

    /// With the prices that the provider's list had.
    #[must_use]
    pub fn with_fetched(mut self, fetched: &[FetchedPrice]) -> Prices {
        for price in fetched {
            // A country of another version of the numbering plans has no use here.
            let Some(country) = phone::country(&price.country) else { continue };
            let listed = Listed { country, channel: price.channel, money: price.price };
            self.put(&listed, Source::Refreshed(price.fetched_at));
        }
        self
    }

    /// Takes over a price list of the operator's own, which wins over every other (see [`read_csv`]).
    ///
    /// # Errors
    /// What is wrong with it, in words that begin with the line.
    pub fn with_file(mut self, csv: &str) -> Result<Prices, String> {
        for listed in read_csv(csv)? {
            self.put(&listed, Source::File);
        }
        Ok(self)
    }
}

/// Reads a price list: lines of `country,price` or `country,price,channel`, in US dollars per segment. A first line of titles, empty
/// lines and lines that begin with `#` say nothing.
///
/// # Errors
/// What is wrong, in words that begin with the line: `line 3: ...`.
pub fn read_csv(text: &str) -> Result<Vec<Listed>, String> {
    let mut list: Vec<Listed> = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"').trim()).collect();
        let is_title = index == 0 && fields.first().is_some_and(|first| first.eq_ignore_ascii_case("country"));
        if line.trim().is_empty() || line.trim_start().starts_with('#') || is_title {
            continue;
        }
        let listed = read_line(&fields).map_err(|why| format!("line {}: {why}", index + 1))?;
        if list.iter().any(|known| (known.country, known.channel) == (listed.country, listed.channel)) {
            return Err(format!("line {}: {} has a price for {} already", index + 1, listed.country, listed.channel));
        }
        if list.len() == LINES_MAX {
            return Err(format!("line {}: a price list has at most {LINES_MAX} lines", index + 1));
        }
        list.push(listed);
    }
    Ok(list)
}

fn read_line(fields: &[&str]) -> Result<Listed, String> {
    let (country, price, channel) = match fields {
        [country, price] => (country, price, "sms"),
        [country, price, channel] => (country, price, *channel),
        _ => return Err("write country,price or country,price,channel".to_owned()),
    };
    let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(20).collect::<String>();
    let country = phone::country(country).ok_or_else(|| {
        let hint = phone::how_to_name_a_country(country);
        format!("{:?} is no country that has phone numbers. {hint}", shown(country))
    })?;
    let money: Money = price.parse().map_err(|why: NotMoney| format!("the price {:?} {why}", shown(price)))?;
    if money > SEGMENT_MAX {
        return Err(format!("a segment for {money} cannot be meant; {SEGMENT_MAX} is the most"));
    }
    let channel = channel
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| format!("{:?} is no channel; channels are sms and whatsapp", shown(channel)))?;
    Ok(Listed { country, channel, money })
}

/// The most that may be spent. What is `None` was not configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// On one message, all of its segments.
    pub message: Option<Money>,
    /// In an hour.
    pub hour: Option<Money>,
    /// In 24 hours.
    pub day: Option<Money>,
    /// In a calendar month (UTC).
    pub month: Option<Money>,
}

impl Ceilings {
    /// Whether anything bounds what is spent in a span of time.
    pub fn bounds_time(&self) -> bool {
        self.hour.is_some() || self.day.is_some() || self.month.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_exactly() {
        for (text, micros, shown) in [
            ("0.0083", 8_300, "0.0083 US$"),
            ("5.6", 5_600_000, "5.60 US$"),
            ("25", 25_000_000, "25.00 US$"),
            ("0.00005", 50, "0.0001 US$"),
            ("0", 0, "0.00 US$"),
            ("0.045", 45_000, "0.045 US$"),
            ("999999999.999999", 999_999_999_999_999, "1000000000.00 US$"),
        ] {
            let money: Money = text.parse().unwrap();
            assert_eq!((money, money.to_string().as_str()), (Money(micros), shown), "{text}");
        }
        for bad in
            ["", "-1", "1,5", ".5", "5.", "1e3", "0.0000001", "1000000000", "1.2.3", "+1", " 1", "1 US$", "NaN", "٣"]
        {
            assert_eq!(bad.parse::<Money>(), Err(NotMoney), "{bad:?}");
        }
        assert_eq!(Money(-5_600_000).to_string(), "-5.60 US$");
        assert_eq!(Money(-1).to_string(), "0.00 US$");
        assert_eq!((Money::from_usd(0.0083), Money(8_300).usd()), (Money(8_300), 0.0083));
        assert_eq!(serde_json::to_string(&Money(8_300)).unwrap(), "8300");
    }

    #[test]
    fn sums_stop_instead_of_running_over() {
        assert_eq!(Money::MAX.plus(Money(1)), Money::MAX);
        assert_eq!(Money(i64::MIN).minus(Money(1)), Money(i64::MIN));
        assert_eq!(Money::MAX.times(2), Money::MAX);
        assert_eq!((Money(250).percent(35), Money::MAX.percent(125)), (Money(87), Money::MAX));
        assert_eq!([Money(1), Money(2)].into_iter().sum::<Money>(), Money(3));
        assert_eq!(Money::MAX.to_string(), "9223372036854.7758 US$");
        assert_eq!(Money(i64::MIN).to_string(), "-9223372036854.7758 US$");
    }

    #[test]
    fn a_country_without_a_price_is_as_dear_as_the_dearest() {
        let prices = Prices::shipped();
        assert_eq!(prices.of(Some("us"), Channel::Sms), Money(8_300));
        for unknown in [None, Some("TV"), Some("??")] {
            assert_eq!(prices.of(unknown, Channel::Sms), Money(450_000), "{unknown:?}");
        }
        assert_eq!(prices.price(Some("US"), Channel::Whatsapp).source, Source::Dearest);
        assert_eq!(prices.of(Some("US"), Channel::Whatsapp), Money(450_000), "no price of that channel is known");
        let dearer = prices.with_file("TV,0.9\nUS,0.02,whatsapp").unwrap();
        assert_eq!(dearer.of(None, Channel::Sms), Money(900_000));
        assert_eq!(dearer.of(Some("DE"), Channel::Whatsapp), Money(20_000), "the dearest of its own channel");
        assert!(SHIPPED.iter().all(|(country, _)| phone::country(country) == Some(country)));
    }

    #[test]
    fn the_file_wins_over_the_refreshed_price_and_that_over_the_shipped_one() {
        let listed = |micros| Listed { country: "US", channel: Channel::Sms, money: Money(micros) };
        let (earlier, later) = (Source::Refreshed(Timestamp(1)), Source::Refreshed(Timestamp(2)));
        let mut prices = Prices::shipped();
        prices.put(&listed(7), later);
        prices.put(&listed(6), earlier);
        prices.put(&listed(5), Source::Shipped);
        assert_eq!(prices.price(Some("US"), Channel::Sms), Price { money: Money(7), source: later });
        let mut prices = prices.with_file("US,0.000009").unwrap();
        prices.put(&listed(8), Source::Refreshed(Timestamp(3)));
        assert_eq!(prices.price(Some("US"), Channel::Sms), Price { money: Money(9), source: Source::File });
    }

    #[test]
    fn a_price_list_is_read_line_by_line_and_its_faults_are_named() {
        let text = "\u{feff}Country,Price,Channel\r\n# ours\n\nus, 0.0079\r\n\"DE\",\"0.1\",WhatsApp\n";
        let read = read_csv(text).unwrap();
        assert_eq!(read[0], Listed { country: "US", channel: Channel::Sms, money: Money(7_900) });
        assert_eq!(read[1], Listed { country: "DE", channel: Channel::Whatsapp, money: Money(100_000) });
        for (text, fault) in [
            ("US,0.1\nUK,0.1", "line 2: \"UK\" is no country that has phone numbers. The United Kingdom is GB."),
            ("US", "line 1: write country,price or country,price,channel"),
            ("US;0.1", "line 1: write country,price"),
            ("US,-0.1", "line 1: the price \"-0.1\" is not an amount"),
            ("US,0.1,fax", "line 1: \"fax\" is no channel"),
            ("US,0.1\nus,0.2,sms", "line 2: US has a price for sms already"),
            ("US,101", "line 1: a segment for 101.00 US$ cannot be meant"),
        ] {
            let why = read_csv(text).unwrap_err();
            assert!(why.starts_with(fault), "{why}");
        }
        assert!(Prices::shipped().with_file("").unwrap() == Prices::shipped());
    }
}
