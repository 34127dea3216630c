//! What the scenarios are made of, as a file says it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Code, Error, Result};
use crate::money::{Channel, Listed, Money, Prices, Source};
use crate::phone;

/// The parameters that smsotp comes with.
const OURS: &str = include_str!("scenarios.toml");

/// All parameters. Their meaning stands in `scenarios.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    pub(super) size: Vec<Size>,
    pub(super) people: People,
    pub(super) countries: BTreeMap<String, Country>,
    scenario: BTreeMap<String, Scenario>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Size {
    pub asks_per_day: u32,
    pub history_days: u32,
    pub judged_days: u32,
    pub attack_messages: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct People {
    pub known_per_ask: f64,
    pub r#return: f64,
    pub shared_address: f64,
    pub shared_addresses: u8,
    pub other_way: f64,
    pub other_way_after: [f64; 2],
    pub conversion_alpha: u32,
    pub conversion_beta: u32,
    pub conversion_within: [f64; 2],
    pub proof_ln_median: [f64; 2],
    pub proof_sigma: f64,
    pub undelivered: f64,
    pub undelivered_after: [f64; 2],
    pub again: f64,
    pub again_after: [f64; 2],
    pub again_proves: f64,
    pub again_helps: f64,
    pub again_when_lost: f64,
    pub lost_reported_after: [f64; 2],
    pub home_blocks: u32,
    pub other_blocks: u32,
    pub block_skew: f64,
    pub rare_share: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Country {
    pub prefix: String,
    pub price: f64,
    #[serde(default)]
    pub share: f64,
    #[serde(default)]
    pub rare: bool,
    #[serde(default)]
    pub far: bool,
}

/// One scenario: what happens to people who mean well, and which attacks there are.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Scenario {
    pub place: Vec<String>,
    pub begins: [f64; 2],
    pub lasts: f64,
    pub lost: f64,
    pub lost_reported: f64,
    pub slow: f64,
    pub crowd: f64,
    pub opens: f64,
    pub firms: u32,
    pub conversion: Option<[f64; 2]>,
    pub other_way: OtherWay,
    pub unknown: bool,
    pub history: bool,
    pub attacks: Vec<Attack>,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            place: Vec::new(),
            begins: [0.8, 1.6],
            lasts: 0.0,
            lost: 0.0,
            lost_reported: 0.0,
            slow: 1.0,
            crowd: 0.0,
            opens: 0.0,
            firms: 0,
            conversion: None,
            other_way: OtherWay::Unused,
            unknown: false,
            history: true,
            attacks: Vec::new(),
        }
    }
}

/// What becomes of people who prove themselves without the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OtherWay {
    /// Nobody does.
    #[default]
    Unused,
    /// The caller reports it.
    Reported,
    /// The caller keeps it to itself.
    Hidden,
}

/// One attack.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Attack {
    pub kind: Kind,
    pub to: To,
    pub blocks: u32,
    pub old: f64,
    pub part: f64,
    pub lasts: [f64; 2],
    pub at_most: f64,
    pub delay: f64,
    pub proven: f64,
    pub one_address: bool,
}

impl Default for Attack {
    fn default() -> Attack {
        Attack {
            kind: Kind::Random,
            to: To::Far,
            blocks: 80,
            old: 0.0,
            part: 1.0,
            // Twenty minutes to thirty hours.
            lasts: [1_200.0, 108_000.0],
            at_most: f64::INFINITY,
            delay: 0.0,
            proven: 0.0,
            one_address: false,
        }
    }
}

/// How an attack goes through its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Any number of any of its blocks.
    Random,
    /// One number after the other.
    Row,
    /// Five numbers of a block, then the next block.
    Hop,
    /// Slowly, then faster and faster.
    Ramp,
    /// A hundred that are proven, over two days, then the rest.
    Sleeper,
    /// Any number of nine countries, all the time.
    Spread,
}

/// Where an attack goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// One of the countries without customers.
    Far,
    /// One of these.
    One(Vec<String>),
}

impl<'de> Deserialize<'de> for To {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<To, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            List(Vec<String>),
        }
        match Written::deserialize(from)? {
            Written::Word(word) if word == "far" => Ok(To::Far),
            Written::List(countries) if !countries.is_empty() => Ok(To::One(countries)),
            _ => Err(serde::de::Error::custom("`to` is neither \"far\" nor a list of countries")),
        }
    }
}

impl Parameters {
    /// The parameters that smsotp comes with.
    ///
    /// # Errors
    /// None that is not our bug.
    pub fn ours() -> Result<Parameters> {
        Parameters::parse(OURS)
    }

    /// Reads the text of a file of parameters.
    ///
    /// # Errors
    /// `VALUE_INVALID`, saying where the text is wrong.
    pub fn parse(text: &str) -> Result<Parameters> {
        let wrong = |what: String| Error::new(Code::VALUE_INVALID, what);
        let parameters: Parameters = toml::from_str(text).map_err(|error| {
            wrong(format!("the parameters cannot be read: {}", error.message())).hint(match error.span() {
                Some(span) => format!("Look at line {}.", text[..span.start.min(text.len())].lines().count().max(1)),
                None => "Start from the file that is in the repository: src/simulate/scenarios.toml".to_owned(),
            })
        })?;
        for (name, country) in &parameters.countries {
            if phone::country(name) != Some(name.as_str()) {
                return Err(wrong(format!("the parameters name {name:.20}, which is no country"))
                    .hint(phone::how_to_name_a_country(name)));
            }
            let digits = country.prefix.strip_prefix('+').unwrap_or_default();
            let fits = (1..=6).contains(&digits.len()) && !digits.starts_with('0');
            if !fits || !digits.bytes().all(|b| b.is_ascii_digit()) || country.price < 0.0 {
                return Err(wrong(format!("the parameters give {name} a prefix or a price that cannot be"))
                    .hint("A prefix is + and one to six digits, a price is in US dollars."));
            }
        }
        let places = parameters.scenario.values().flat_map(|scenario| {
            let attacked = scenario.attacks.iter().filter_map(|attack| match &attack.to {
                To::One(countries) => Some(countries),
                To::Far => None,
            });
            attacked.flatten().chain(&scenario.place)
        });
        for place in places {
            if !parameters.countries.contains_key(place) {
                return Err(wrong(format!("a scenario names {place:.20}, which is not among the countries"))
                    .hint("Add it under [countries]."));
            }
        }
        let shares = parameters.countries.values().map(|country| country.share).sum::<f64>();
        if parameters.size.is_empty()
            || shares.is_nan()
            || shares <= 0.0
            || !parameters.countries.values().any(|one| one.far)
        {
            return Err(wrong("the parameters lack a size, a country with a share, or a far country".to_owned())
                .hint("Start from the file that is in the repository: src/simulate/scenarios.toml"));
        }
        Ok(parameters)
    }

    /// The names of the scenarios.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.scenario.keys().map(String::as_str)
    }

    /// What a message costs in each country of theirs.
    pub fn prices(&self) -> Prices {
        let mut prices = Prices::shipped();
        for (name, country) in &self.countries {
            if let Some(country_name) = phone::country(name) {
                let money = Money::from_usd(country.price);
                prices.put(&Listed { country: country_name, channel: Channel::Sms, money }, Source::File);
            }
        }
        prices
    }

    pub(super) fn scenario(&self, name: &str) -> Result<&Scenario> {
        self.scenario.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            Error::new(Code::VALUE_INVALID, format!("no scenario is called {name:.40}"))
                .hint(format!("There are {}.", names.join(", ")))
        })
    }

    /// The size that fits so many asks a day.
    pub(super) fn size(&self, asks_per_day: u32) -> Option<&Size> {
        self.size.iter().find(|size| asks_per_day <= size.asks_per_day).or(self.size.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_parameters_are_taken_and_name_every_scenario_of_the_specification() {
        let ours = Parameters::ours().unwrap();
        assert_eq!(ours.names().count(), 28);
        assert_eq!(ours.prices().of(Some("TJ"), Channel::Sms), Money::from_usd(0.40));
        assert_eq!(ours.size(2_000).unwrap().history_days, 8);
        assert_eq!(ours.size(5_001).unwrap().attack_messages, 20_000);
    }

    #[test]
    fn what_is_wrong_in_a_file_of_parameters_is_named() {
        let why = |change: &dyn Fn(String) -> String| {
            let error = Parameters::parse(&change(OURS.to_owned())).unwrap_err();
            format!("{} / {}", error.message(), error.hint_text().unwrap_or_default())
        };
        let swap = |from: &'static str, to: &'static str| move |text: String| text.replace(from, to);
        assert!(why(&swap("\"hop\" }", "\"jump\" }")).contains("unknown variant `jump`"));
        assert!(why(&swap("TJ = {", "XX = {")).contains("XX, which is no country"));
        assert!(why(&swap("to = [\"GB\"]", "to = [\"FJ\"]")).contains("FJ, which is not among"));
        assert!(why(&swap("prefix = \"+447\"", "prefix = \"447\"")).contains("GB a prefix"));
        assert!(why(&swap("firms = 3", "firm = 3")).contains("unknown field `firm`"));
        assert!(
            Parameters::ours().unwrap().scenario("fra").unwrap_err().hint_text().unwrap().contains("far, far_wide")
        );
    }
}
