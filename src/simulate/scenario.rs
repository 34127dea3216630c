//! Makes up traffic: weeks of people who mean well, and attacks among them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::parameters::{Attack, Country, Kind, OtherWay, Parameters, People, Scenario, To};
use super::random::{Random, sums};
use super::traffic::{Ask, Known, Traffic};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::otp::User;
use crate::phone::Phone;

/// A Monday, 2026-01-05T00:00:00Z: when every scenario begins.
const BEGIN: Timestamp = Timestamp(1_767_571_200_000);

const DAY: f64 = 86_400.0;

/// How many blocks of ten thousand numbers lie behind a country's prefix.
const BLOCKS: usize = 100_000;

/// Numbers in a block.
const NUMBERS: usize = 10_000;

/// More people ask than the rate says, because the hour of the day holds some back: the curve's mean is 1 / 1.75.
const ABOVE_CURVE: f64 = 1.75;

/// An attack ends so many seconds before the traffic does, so that what comes after it is seen.
const BEFORE_END: f64 = 6.0 * 3600.0;

/// Makes the traffic of a scenario: the same for the same parameters, name, seed and number of asks a day.
///
/// # Errors
/// `VALUE_INVALID` where no scenario has that name, or there are no or too many asks.
pub fn make(parameters: &Parameters, name: &str, seed: u64, asks_per_day: u32) -> Result<Traffic> {
    /// Some hundred bytes each have to fit into memory.
    const ASKS_MAX: u32 = 1_000_000;
    if !(1..=ASKS_MAX).contains(&asks_per_day) {
        return Err(Error::new(Code::VALUE_INVALID, format!("{asks_per_day} asks a day cannot be simulated"))
            .hint(format!("From 1 to {ASKS_MAX} are possible.")));
    }
    let scenario = parameters.scenario(name)?;
    let size = parameters.size(asks_per_day).ok_or_else(|| Error::new(Code::BUG, "there are parameters of no size"))?;
    let mut random = Random::of(&format!("{name}/{seed}/{asks_per_day}"));
    let history = if scenario.history { f64::from(size.history_days) * DAY } else { 0.0 };
    let people = &parameters.people;
    let lands =
        parameters.countries.iter().map(|(name, country)| Land::new(name, country, people, scenario, &mut random));
    let lands: Vec<Land> = lands.collect();
    let rare = lands.iter().filter(|land| land.country.rare).count().max(1);
    let rest = if lands.iter().any(|land| land.country.rare) { people.rare_share } else { 0.0 };
    let weight = |land: &Land| match land.country.rare {
        true => rest / rare as f64,
        false => land.country.share * (1.0 - rest),
    };
    let mut making = Making {
        weights: sums(lands.iter().map(weight)),
        ln_median: random.within(people.proof_ln_median),
        lands,
        people,
        scenario,
        random,
        per_day: f64::from(asks_per_day),
        history,
        end: history + f64::from(size.judged_days) * DAY,
        asks: Vec::new(),
        persons: 0,
    };
    let known = making.well_meant();
    let attack_begins = making.begins();
    let lasts = scenario.attacks.first().map_or(0.0, |attack| making.random.within_ln(attack.lasts));
    for attack in &scenario.attacks {
        let lasts = lasts.min(attack.at_most);
        making.attack(attack, size.attack_messages, attack_begins + attack.delay, lasts);
    }
    Ok(making.traffic(known))
}

/// A country with its customers.
struct Land<'p> {
    name: Arc<str>,
    country: &'p Country,
    /// Of its codes, the part that is entered.
    conversion: f64,
    /// The blocks in which its customers live, and their weights summed up.
    blocks: Vec<usize>,
    sums: Vec<f64>,
}

impl<'p> Land<'p> {
    fn new(name: &str, country: &'p Country, people: &People, scenario: &Scenario, random: &mut Random) -> Land<'p> {
        let [least, most] = people.conversion_within;
        let usual = random.beta(people.conversion_alpha, people.conversion_beta).clamp(least, most);
        let conversion = scenario.conversion.map_or(usual, |[factor, most]| (usual * factor).min(most));
        let wanted = if country.share > 0.0 { people.home_blocks } else { people.other_blocks } as usize;
        let mut blocks = Vec::new();
        let mut taken = vec![false; BLOCKS];
        while blocks.len() < wanted.min(BLOCKS / 2) {
            let block = random.below(BLOCKS);
            if !std::mem::replace(&mut taken[block], true) {
                blocks.push(block);
            }
        }
        let sums = sums((1..=blocks.len()).map(|nth| (nth as f64).powf(-people.block_skew)));
        Land { name: name.into(), country, conversion, blocks, sums }
    }
}

/// Somebody who asks. Cheap to copy.
#[derive(Clone, Copy)]
struct Person {
    land: usize,
    block: usize,
    number: usize,
    user: u32,
    ip: u32,
    other_way: bool,
}

/// What happens to one ask.
#[derive(Clone, Copy)]
struct Fate {
    /// The message gets lost, and in this part of all cases the carrier says so.
    lost: Option<f64>,
    /// Entering the code takes so many times as long.
    slow: f64,
    /// The part of codes that is entered, if not the country's.
    conversion: Option<f64>,
}

const USUAL: Fate = Fate { lost: None, slow: 1.0, conversion: None };

/// Traffic that is being made. Times are seconds since [`BEGIN`].
struct Making<'p> {
    people: &'p People,
    scenario: &'p Scenario,
    lands: Vec<Land<'p>>,
    weights: Vec<f64>,
    ln_median: f64,
    random: Random,
    per_day: f64,
    history: f64,
    end: f64,
    asks: Vec<Ask>,
    persons: u32,
}

impl Making<'_> {
    /// When it begins, whatever the scenario is about.
    fn begins(&mut self) -> f64 {
        self.history + DAY * self.random.within(self.scenario.begins)
    }

    fn place(&self, name: &str) -> usize {
        self.lands.iter().position(|land| *land.name == *name).unwrap_or_default()
    }

    fn person(&mut self, land: usize) -> Person {
        self.persons += 1;
        let people = self.people;
        let block = self.lands[land].blocks[self.random.by_weight(&self.lands[land].sums)];
        let number = self.random.below(NUMBERS);
        let ip = match self.random.happens(people.shared_address) {
            true => address(3_000 + land, self.random.below(usize::from(people.shared_addresses))),
            false => address(self.random.below(3_000), self.random.below(256)),
        };
        let other_way = self.random.happens(people.other_way);
        Person { land, block, number, user: self.persons, ip, other_way }
    }

    fn new_customer(&mut self) -> Person {
        let land = self.random.by_weight(&self.weights);
        self.person(land)
    }

    fn add(
        &mut self,
        at: f64,
        person: Person,
        proven_after: Option<f64>,
        failed_after: Option<f64>,
        attack: Option<bool>,
    ) {
        if at > self.end {
            return;
        }
        let land = &self.lands[person.land];
        let digits = format!("{}{:05}{:04}", land.country.prefix, person.block, person.number);
        let (Some(phone), Ok(user)) = (Phone::from_e164(&digits), User::parse(&format!("u{}", person.user))) else {
            return;
        };
        let seconds = |after: f64| Duration::from_millis((after * 1000.0) as u64);
        self.asks.push(Ask {
            at: moment(at),
            phone,
            country: Arc::clone(&land.name),
            user,
            ip: Some(IpAddr::V4(Ipv4Addr::from(person.ip))),
            proven_after: proven_after.map(seconds),
            failed_after: failed_after.filter(|_| proven_after.is_none()).map(seconds),
            attack: attack.is_some(),
            reported: attack.unwrap_or(!self.scenario.unknown),
        });
    }

    /// One person asks, and some ask again while the first code is live. Answers whether the person is proven.
    fn ask(&mut self, at: f64, person: Person, fate: Fate) -> bool {
        let (people, unknown, other) = (self.people, self.scenario.unknown, self.scenario.other_way);
        let conversion = fate.conversion.unwrap_or(self.lands[person.land].conversion);
        let lost = fate.lost.is_some();
        let enters = self.random.happens(conversion) && !lost;
        let enter_after = |random: &mut Random| random.log_normal(self.ln_median, people.proof_sigma) * fate.slow;
        let random = &mut self.random;
        let mut proven = enters.then(|| enter_after(random));
        if person.other_way && other != OtherWay::Unused {
            proven = (other == OtherWay::Reported).then(|| random.within(people.other_way_after));
        }
        if unknown || lost {
            proven = None;
        }
        let failed = match fate.lost {
            Some(reported) => random.happens(reported).then(|| random.within(people.lost_reported_after)),
            None => (proven.is_none() && random.happens(people.undelivered))
                .then(|| random.within(people.undelivered_after)),
        };
        let again = random.happens(if lost { people.again_when_lost } else { people.again });
        let after = random.within(people.again_after);
        if !again || proven.is_some_and(|proven| proven <= after) {
            self.add(at, person, proven, failed, None);
            return proven.is_some();
        }
        let helps = if proven.is_some() { people.again_proves } else { people.again_helps };
        let hidden = person.other_way && other == OtherWay::Hidden;
        let helped = random.happens(helps) && !lost && !unknown;
        let second = helped.then(|| enter_after(random)).filter(|_| !hidden);
        self.add(at, person, second.map(|second| after + second), failed, None);
        self.add(at + after, person, second, None, None);
        second.is_some()
    }

    /// The people who mean well. Answers who was proven before the first day.
    fn well_meant(&mut self) -> Vec<Person> {
        let scenario = self.scenario;
        let count = if scenario.history { (self.people.known_per_ask * self.per_day) as usize } else { 0 };
        let before: Vec<Person> = (0..count).map(|_| self.new_customer()).collect();
        let mut known = before.clone();
        let place = self.random.one_of(&scenario.place).map(|name| self.place(name));
        let begins = self.begins();
        let (others, over) = (self.largest(), begins + scenario.lasts);
        let pause = DAY / (self.per_day * ABOVE_CURVE);
        let mut at = 0.0;
        loop {
            at += self.random.exponential(pause);
            if at > self.end {
                break;
            }
            if !self.random.happens(curve(at)) {
                continue;
            }
            let returns = self.random.happens(self.people.r#return);
            let (person, is_new) = match self.random.one_of(&known).filter(|_| returns) {
                Some(person) => (*person, false),
                None => (self.new_customer(), true),
            };
            let here = place == Some(person.land);
            let person =
                if here && is_new && scenario.opens > 0.0 && at < begins { self.person(others) } else { person };
            let during = here && (begins..over).contains(&at);
            let lost = during && self.random.happens(scenario.lost);
            let slow = if during { scenario.slow } else { 1.0 };
            let fate = Fate { lost: lost.then_some(scenario.lost_reported), slow, ..USUAL };
            if self.ask(at, person, fate) && is_new {
                known.push(person);
            }
        }
        if let Some(place) = place {
            self.crowd(place, (begins, over), &known);
            self.opening(place, begins);
        }
        self.firms();
        before
    }

    /// The country with the most customers.
    fn largest(&self) -> usize {
        let share = |land: &usize| self.lands[*land].country.share;
        (0..self.lands.len()).max_by(|a, b| share(a).total_cmp(&share(b))).unwrap_or_default()
    }

    /// Many ask in one country for a while, most of them new.
    fn crowd(&mut self, place: usize, (begins, over): (f64, f64), known: &[Person]) {
        let rate = self.per_day * self.lands[place].country.share * self.scenario.crowd / DAY;
        if rate <= 0.0 {
            return;
        }
        let known: Vec<Person> = known.iter().filter(|person| person.land == place).copied().collect();
        let mut at = begins;
        while at < over {
            at += self.random.exponential(1.0 / rate);
            let returns = self.random.happens(0.15);
            let known = self.random.one_of(&known).copied().filter(|_| returns);
            let person = known.unwrap_or_else(|| self.person(place));
            self.ask(at, person, USUAL);
        }
    }

    /// A country opens from one hour to the next.
    fn opening(&mut self, place: usize, begins: f64) {
        let rate = self.per_day * self.scenario.opens * ABOVE_CURVE / DAY;
        if rate <= 0.0 {
            return;
        }
        let (mut at, mut known) = (begins, Vec::new());
        loop {
            at += self.random.exponential(1.0 / rate);
            if at > self.end {
                return;
            }
            if !self.random.happens(curve(at)) {
                continue;
            }
            let returns = self.random.happens(0.2);
            let back = self.random.one_of(&known).copied().filter(|_| returns);
            let person = back.unwrap_or_else(|| self.person(place));
            if self.ask(at, person, USUAL) {
                known.push(person);
            }
        }
    }

    /// Staff of firms: sixty numbers in a row within 15 to 60 minutes, nearly all of whom enter the code.
    fn firms(&mut self) {
        const STAFF: usize = 60;
        let homes: Vec<usize> = (0..self.lands.len()).filter(|land| self.lands[*land].country.share > 0.0).collect();
        for _ in 0..self.scenario.firms {
            let Some(land) = self.random.one_of(&homes).copied() else { return };
            let (block, first) = (self.random.below(BLOCKS), self.random.below(NUMBERS - STAFF));
            let day = self.random.below(3) as f64;
            let begins = self.history + day * DAY + self.random.within([9.0, 16.0]) * 3600.0;
            let lasts = self.random.within([900.0, 3600.0]);
            for nth in 0..STAFF {
                self.persons += 1;
                let ip = address(7_000, self.random.below(8));
                let person = Person { land, block, number: first + nth, user: self.persons, ip, other_way: false };
                let at = begins + self.random.part() * lasts;
                self.ask(at, person, Fate { conversion: Some(0.9), ..USUAL });
            }
        }
    }

    /// So many blocks of a country, this part of them among those where customers live.
    fn blocks(&mut self, land: usize, count: u32, old: f64) -> Vec<usize> {
        let mut taken = vec![false; BLOCKS];
        self.lands[land].blocks.iter().for_each(|block| taken[*block] = true);
        let mut blocks = Vec::new();
        while blocks.len() < count.max(1) as usize {
            let among = self.random.happens(old);
            match self.random.one_of(&self.lands[land].blocks).copied().filter(|_| among) {
                Some(block) => blocks.push(block),
                None => blocks.extend(Some(self.random.below(BLOCKS)).filter(|block| !taken[*block])),
            }
        }
        blocks
    }

    fn attack(&mut self, attack: &Attack, messages: u32, begins: f64, lasts: f64) {
        /// How many countries an attack is spread over.
        const SPREAD: usize = 9;
        /// How many a sleeper has proven, and over how long.
        const ASLEEP: (u32, f64) = (100, 2.0 * DAY / 1.2);
        let far: Vec<usize> = (0..self.lands.len()).filter(|land| self.lands[*land].country.far).collect();
        let to = match &attack.to {
            To::Far => self.random.one_of(&far).copied(),
            To::One(countries) => self.random.one_of(countries).map(|name| self.place(name)),
        };
        let Some(to) = to else { return };
        let mut places = vec![to];
        if attack.kind == Kind::Spread {
            let mut far = far;
            places = (0..SPREAD.min(far.len())).map(|_| far.swap_remove(self.random.below(far.len()))).collect();
        }
        let blocks: Vec<Vec<usize>> = places.iter().map(|land| self.blocks(*land, attack.blocks, attack.old)).collect();
        let count = (f64::from(messages) * attack.part).round().max(1.0);
        let (pause, first) = (lasts / count, self.random.below(NUMBERS - 1_000));
        let until = if attack.kind == Kind::Spread { self.end } else { self.end - BEFORE_END };
        let mut at = begins;
        for nth in 0..count as u32 {
            let asleep = attack.kind == Kind::Sleeper && nth < ASLEEP.0;
            let mean = match attack.kind {
                Kind::Ramp => pause * 6.0 * 0.98f64.powi(nth.min(300) as i32) + pause * 0.2,
                Kind::Sleeper if asleep => ASLEEP.1 / f64::from(ASLEEP.0),
                _ => pause,
            };
            at += self.random.exponential(mean);
            if at > until {
                return;
            }
            let place = self.random.below(places.len());
            let of_place = &blocks[place];
            let (block, number) = match attack.kind {
                Kind::Row => (of_place[0], (first + nth as usize) % NUMBERS),
                Kind::Hop => (of_place[nth as usize / 5 % of_place.len()], self.random.below(NUMBERS)),
                _ => (of_place[self.random.below(of_place.len())], self.random.below(NUMBERS)),
            };
            let enters = self.random.happens(if asleep { 0.9 } else { attack.proven });
            let proven = enters.then(|| self.random.log_normal(3.2, 0.6));
            let ip = match attack.one_address {
                true => address(30_000, 0),
                false => address(20_000 + self.random.below(30_000), self.random.below(256)),
            };
            self.persons += 1;
            let person = Person { land: places[place], block, number, user: self.persons, ip, other_way: false };
            // An installation that never reports conversions does not for an attacker either.
            self.add(at, person, proven.filter(|_| !self.scenario.unknown), None, Some(!self.scenario.unknown));
        }
    }

    fn traffic(mut self, known: Vec<Person>) -> Traffic {
        self.asks.sort_by_key(|ask| ask.at);
        let phone = |person: &Person| {
            let prefix = &self.lands[person.land].country.prefix;
            Phone::from_e164(&format!("{prefix}{:05}{:04}", person.block, person.number))
        };
        let known = known.iter().filter_map(phone).map(|phone| Known { phone, at: None }).collect();
        Traffic { known, asks: self.asks, judge_from: moment(self.history) }
    }
}

fn moment(seconds: f64) -> Timestamp {
    BEGIN + Duration::from_millis((seconds * 1000.0) as u64)
}

/// An address in a network of 256: all from 10.0.0.0/8, which nobody on the internet has.
fn address(network: usize, host: usize) -> u32 {
    0x0a00_0000 | ((network as u32 & 0xffff) << 8) | (host as u32 & 0xff)
}

/// The part of the busiest hour's asks that comes at this time: by hour of the day, and less at the weekend.
fn curve(at: f64) -> f64 {
    let hour = at / 3600.0 % 24.0;
    let weekend = (at / DAY) as u64 % 7 >= 5;
    let by_hour = 0.2 + 0.8 * (1.0 + ((hour - 9.0) / 24.0 * std::f64::consts::TAU).sin()) / 2.0;
    by_hour * if weekend { 0.75 } else { 1.0 }
}
