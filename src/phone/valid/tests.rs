//! How the table is made, and that the library says the same.
#![expect(deprecated, reason = "the plans as they are stored; the crate warns of its own copies, which it empties")]

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use regex_automata::dfa::{Automaton, dense};
use regex_automata::util::{primitives::StateID, syntax};
use regex_automata::{Anchored, Input};
use rlibphonenumber::{PhoneMetadata, PhoneMetadataCollection, PhoneNumberDesc, PhoneNumberType};

use super::*;
use crate::phone::tests::theirs;
use crate::phone::{is_twilio_test, kind_of, parse_by_the_plans};

type Machine = dense::DFA<Vec<u32>>;

/// One pattern of a plan, and the lengths that it is asked at (none given: any).
struct Pattern {
    machine: Option<Machine>,
    lengths: Vec<usize>,
}

impl Pattern {
    fn new(pattern: Option<&str>, lengths: &[i32]) -> Pattern {
        let machine = pattern.filter(|pattern| !pattern.is_empty()).map(|pattern| {
            dense::Builder::new()
                .syntax(syntax::Config::new().unicode(false).utf8(false))
                .configure(dense::Config::new().minimize(true))
                .build(&format!("^(?:{pattern})$"))
                .unwrap()
        });
        // -1 stands for a kind of line that the country does not have.
        Pattern { machine, lengths: lengths.iter().map(|length| usize::try_from(*length).unwrap_or(0)).collect() }
    }

    fn of(described: Option<&PhoneNumberDesc>) -> Pattern {
        let none = PhoneNumberDesc::default();
        let described = described.unwrap_or(&none);
        Pattern::new(described.national_number_pattern.as_deref(), &described.possible_length)
    }

    fn start(&self) -> Option<StateID> {
        let machine = self.machine.as_ref()?;
        Some(machine.start_state_forward(&Input::new("").anchored(Anchored::Yes)).unwrap())
    }

    fn next(&self, state: Option<StateID>, digit: u8) -> Option<StateID> {
        let machine = self.machine.as_ref()?;
        let next = machine.next_state(state?, b'0' + digit);
        (!machine.is_dead_state(next)).then_some(next)
    }

    fn matches(&self, state: Option<StateID>, length: usize) -> bool {
        let (Some(machine), Some(state)) = (&self.machine, state) else { return false };
        (self.lengths.is_empty() || self.lengths.contains(&length))
            && machine.is_match_state(machine.next_eoi_state(state))
    }
}

/// The patterns of one region's plan, in the order in which libphonenumber asks them (`get_number_type_helper`).
struct Plan {
    id: String,
    same: bool,
    patterns: Vec<Pattern>,
}

const GENERAL: usize = 0;
const SPECIAL: [PhoneNumberType; 8] = [
    PhoneNumberType::PremiumRate,
    PhoneNumberType::TollFree,
    PhoneNumberType::SharedCost,
    PhoneNumberType::VoIP,
    PhoneNumberType::PersonalNumber,
    PhoneNumberType::Pager,
    PhoneNumberType::UAN,
    PhoneNumberType::VoiceMail,
];
const FIXED: usize = 9;
const MOBILE: usize = 10;
const LEADING: usize = 11;
const STRIPPED: usize = 12;

/// The crate stores each pattern as one for the whole text.
fn bare(pattern: &str) -> &str {
    pattern.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap()
}

impl Plan {
    fn of(plan: &PhoneMetadata) -> Plan {
        let general = plan.general_desc.as_ref();
        let described = [
            general,
            plan.premium_rate.as_ref(),
            plan.toll_free.as_ref(),
            plan.shared_cost.as_ref(),
            plan.voip.as_ref(),
            plan.personal_number.as_ref(),
            plan.pager.as_ref(),
            plan.uan.as_ref(),
            plan.voicemail.as_ref(),
            plan.fixed_line.as_ref(),
            plan.mobile.as_ref(),
        ];
        let mut patterns: Vec<Pattern> = described.into_iter().map(Pattern::of).collect();
        let leading = plan.leading_digits.as_deref().map(|leading| format!("(?:{})[0-9]*", bare(leading)));
        patterns.push(Pattern::new(leading.as_deref(), &[]));
        // What a national prefix could be taken from, so that something that is viable as well is left: the crate decides
        // there. Argentina's may be empty, so all of its numbers are the crate's.
        let rest = match plan.national_prefix_transform_rule.as_deref() {
            None | Some("") => general.and_then(|general| general.national_number_pattern.as_deref()).unwrap_or(""),
            Some(_) => "[0-9]*",
        };
        let prefix = plan.national_prefix_for_parsing.as_deref();
        let stripped = prefix.map(|prefix| format!("(?:{})(?:{rest})", bare(prefix)));
        patterns.push(Pattern::new(stripped.as_deref(), &[]));
        Plan { id: plan.id.clone(), same: plan.same_mobile_and_fixed_line_pattern.unwrap_or(false), patterns }
    }

    fn kind(&self, states: &[Option<StateID>], length: usize) -> PhoneNumberType {
        let matches = |which: usize| self.patterns[which].matches(states[which], length);
        if !matches(GENERAL) {
            return PhoneNumberType::Unknown;
        }
        if let Some(special) = (0..SPECIAL.len()).find(|special| matches(special + 1)) {
            return SPECIAL[special];
        }
        match (matches(FIXED), !self.same && matches(MOBILE)) {
            (true, mobile) if self.same || mobile => PhoneNumberType::FixedLineOrMobile,
            (true, _) => PhoneNumberType::FixedLine,
            (false, true) => PhoneNumberType::Mobile,
            (false, false) => PhoneNumberType::Unknown,
        }
    }
}

type Class = (String, usize);

#[derive(Default)]
struct Maker {
    /// Class and ways of each state, the nowhere first.
    states: Vec<([u16; 10], u16)>,
    known: HashMap<([u16; 10], u16), u16>,
    classes: Vec<Class>,
}

impl Maker {
    fn state(&mut self, ways: [u16; 10], class: u16) -> u16 {
        if ways == [0; 10] && class == 0 {
            return 0;
        }
        *self.known.entry((ways, class)).or_insert_with(|| {
            self.states.push((ways, class));
            // 1 is kept for the beginning.
            u16::try_from(self.states.len() + 1).unwrap()
        })
    }

    fn class(&mut self, class: Class) -> u16 {
        let place = self.classes.iter().position(|known| *known == class).unwrap_or_else(|| {
            self.classes.push(class);
            self.classes.len() - 1
        });
        u16::try_from(place + 1).unwrap()
    }
}

/// The plans of one calling code, the region first whose code it mainly is.
struct Country {
    code: i32,
    plans: Vec<Plan>,
}

type Memory = HashMap<(Vec<Option<StateID>>, usize), u16>;

impl Country {
    fn class(&self, states: &[Option<StateID>], length: usize) -> Option<Class> {
        let all = length + self.code.to_string().len();
        let main = &self.plans[0];
        let each = || self.plans.iter().zip(states.chunks(STRIPPED + 1));
        let (_, first) = each().next().unwrap();
        let general = &main.patterns[GENERAL];
        let possible = general.lengths.is_empty() || general.lengths.contains(&length);
        if !(7..=15).contains(&all) || !possible || main.patterns[STRIPPED].matches(first[STRIPPED], length) {
            return None;
        }
        let known = |plan: &Plan, states: &[Option<StateID>]| plan.kind(states, length) != PhoneNumberType::Unknown;
        let (plan, states) = if self.plans.len() == 1 {
            each().next()
        } else {
            each().find(|(plan, states)| plan.patterns[LEADING].matches(states[LEADING], length) || known(plan, states))
        }?;
        // A plan that does not know the number as a whole.
        known(plan, states).then_some(())?;
        let kind = kind_of(self.code, plan.kind(states, length));
        let country = if plan.id == "001" { "--".to_owned() } else { plan.id.clone() };
        Some((country, KINDS.iter().position(|one| *one == kind).unwrap()))
    }

    fn make(&self, maker: &mut Maker, memory: &mut Memory, states: Vec<Option<StateID>>, length: usize) -> u16 {
        if states.iter().step_by(STRIPPED + 1).all(Option::is_none) || length > 15 {
            return 0;
        }
        let place = (states, length);
        if let Some(made) = memory.get(&place) {
            return *made;
        }
        let mut ways = [0; 10];
        for (digit, way) in (0..).zip(&mut ways) {
            let patterns = self.plans.iter().flat_map(|plan| &plan.patterns);
            let next = patterns.zip(&place.0).map(|(pattern, state)| pattern.next(*state, digit)).collect();
            *way = self.make(maker, memory, next, length + 1);
        }
        let class = self.class(&place.0, length).map_or(0, |class| maker.class(class));
        let made = maker.state(ways, class);
        memory.insert(place, made);
        made
    }
}

/// The states before a calling code is complete.
fn beginnings(maker: &mut Maker, roots: &BTreeMap<String, u16>, so_far: &str) -> [u16; 10] {
    let mut ways = [0; 10];
    for (digit, way) in (0..).zip(&mut ways) {
        let code = format!("{so_far}{digit}");
        *way = match roots.get(&code) {
            Some(root) => *root,
            None if code.len() == 3 => 0,
            None => {
                let ways = beginnings(maker, roots, &code);
                maker.state(ways, 0)
            }
        };
    }
    ways
}

fn made() -> Vec<u8> {
    let world = PhoneMetadataCollection::decode(&*theirs()).unwrap();
    let mut countries: BTreeMap<i32, Vec<&PhoneMetadata>> = BTreeMap::new();
    for plan in &world.metadata {
        let plans = countries.entry(plan.country_code.unwrap()).or_default();
        let place = if plan.main_country_for_code() { 0 } else { plans.len() };
        plans.insert(place, plan);
    }
    let mut maker = Maker::default();
    let mut roots = BTreeMap::new();
    for (code, plans) in countries {
        let country = Country { code, plans: plans.into_iter().map(Plan::of).collect() };
        let start = country.plans.iter().flat_map(|plan| &plan.patterns).map(Pattern::start).collect();
        roots.insert(code.to_string(), country.make(&mut maker, &mut Memory::new(), start, 0));
    }
    let beginning = beginnings(&mut maker, &roots, "");
    let mut table = u16::try_from(maker.classes.len()).unwrap().to_le_bytes().to_vec();
    for (country, kind) in &maker.classes {
        table.extend([country.as_bytes(), &[u8::try_from(*kind).unwrap()]].concat());
    }
    for (ways, class) in [([0; 10], 0), (beginning, 0)].iter().chain(&maker.states) {
        table.extend([*class].iter().chain(ways).flat_map(|number| number.to_le_bytes()));
    }
    table
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a wish of the developer, not a setting of the product")]
fn the_table_is_what_the_patterns_of_the_plans_say() {
    let table = made();
    if std::env::var_os("UPDATE").is_some() {
        let ours = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/phone/valid.bin");
        return std::fs::write(ours, table).unwrap();
    }
    assert!(TABLE == table, "run `UPDATE=1 cargo test --lib valid` and commit the result");
}

/// A number that ends in each state which ends any, by a way of its own: the first digits found that lead there, so every
/// country, kind and length is among them.
fn one_of_each() -> Vec<String> {
    let mut reached = HashMap::from([(1, String::new())]);
    let mut last = vec![1];
    let mut found = Vec::new();
    while !last.is_empty() {
        let mut next = Vec::new();
        for state in last {
            let digits = reached[&state].clone();
            if number(start_of(state)).unwrap() != 0 {
                found.push(digits.clone());
            }
            // Not always the lowest digit first, so that numbers differ.
            for turn in 0..10 {
                let digit = (state + 3 * turn) % 10;
                let to = number(start_of(state) + 2 + 2 * digit).unwrap();
                if to != 0 && !reached.contains_key(&to) {
                    reached.insert(to, format!("{digits}{digit}"));
                    next.push(to);
                }
            }
        }
        last = next;
    }
    found
}

#[test]
fn the_library_says_the_same_of_a_number_of_each_state() {
    let numbers = one_of_each();
    assert!(numbers.len() > 300, "{}", numbers.len());
    for digits in numbers {
        let (country, kind) = look_up(&digits).unwrap();
        let text = format!("+{digits}");
        let there = parse_by_the_plans(&text, None).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((there.phone.as_str(), there.country.as_deref(), there.kind), (&*text, country, kind), "{text}");
    }
}

#[test]
fn what_the_table_does_not_name_is_mostly_wrong() {
    // Digits that mean nothing, behind the beginnings of real numbers.
    let (mut named, mut unnamed) = (0, 0);
    let mut seed = 7_u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for digits in one_of_each().iter().cycle().take(4_000) {
        let kept = 3 + usize::try_from(noise()).unwrap() % (digits.len() - 3);
        let more = usize::try_from(noise()).unwrap() % 3;
        let length = (digits.len() + more).saturating_sub(1).max(kept);
        let mut text = format!("+{}", &digits[..kept]);
        while text.len() <= length {
            text.push(char::from(b'0' + u8::try_from(noise() % 10).unwrap()));
        }
        let here = look_up(&text[1..]);
        let there = parse_by_the_plans(&text, None).ok().filter(|there| there.phone.as_str() == text);
        match (here, there) {
            (Some((country, kind)), there) => {
                let there = there.unwrap_or_else(|| panic!("{text} is nothing to the library"));
                assert_eq!((there.country.as_deref(), there.kind), (country, kind), "{text}");
                named += 1;
            }
            (None, Some(there)) if !is_twilio_test(there.phone.as_str()) => unnamed += 1,
            (None, _) => {}
        }
    }
    assert!(named > 1_000 && unnamed * 20 < named, "{named} named, {unnamed} valid and not named");
}

#[test]
fn digits_that_are_no_number_are_not_named() {
    for digits in ["", "1", "14155552671234567890", "1415555267x", "٤٤7400123456", "999", "0"] {
        assert_eq!(look_up(digits), None, "{digits}");
    }
    assert_eq!(look_up("447400123456"), Some((Some("GB"), Kind::Mobile)));
    assert_eq!(look_up("80012345678"), Some((None, Kind::TollFree)));
}
