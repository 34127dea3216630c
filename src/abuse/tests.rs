use std::time::Duration;

use super::*;
use crate::alarm::{AlarmKind, Raised};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A Monday, 10:00 UTC.
const START: Timestamp = Timestamp(1_767_607_200_000);

/// What a test has sent: enough to say later what became of it.
type Out = (Event, Ask<'static>);

/// One country, one block, one installation.
struct Guard {
    states: States,
    policy: GuardPolicy,
    now: Timestamp,
    alarms: Vec<Raised>,
}

impl Guard {
    fn new(mode: Mode) -> Guard {
        let policy = GuardPolicy { mode: Some(mode), ..GuardPolicy::default() };
        Guard { states: States::default(), policy, now: START, alarms: Vec::new() }
    }

    fn ask(&self, country: &'static str, usd: f64, counted: Counted) -> Ask<'static> {
        let price = Money::from_usd(usd);
        Ask { now: self.now, country, price, counted, challenged: false, allowed: false }
    }

    fn judge(&mut self, ask: &Ask<'static>) -> Judged {
        let judged = self.states.judge(&self.policy, ask);
        self.alarms.extend(judged.alarms.iter().cloned());
        judged
    }

    /// Judges, and counts what passes.
    fn send(&mut self, ask: Ask<'static>) -> std::result::Result<Out, Rule> {
        match self.judge(&ask).verdict {
            Verdict::Pass => {
                let sent = self.states.sent(&self.policy, &ask);
                self.alarms.extend(sent.alarms);
                let Ask { now, price, counted, .. } = ask;
                let (kind, pooled) = (EventKind::Proven, sent.pooled);
                Ok((Event { at: now, kind, reserved_at: now, price, counted, pooled }, ask))
            }
            Verdict::Challenge(full) | Verdict::Refuse(full) => Err(full.rule),
        }
    }

    fn settle(&mut self, out: &Out, kind: EventKind) {
        let event = Event { at: self.now, kind, ..out.0 };
        self.states.country.apply(&event);
        self.states.block.apply(&event);
        self.states.everything.apply(&event);
    }

    /// Sends to ever new blocks until something refuses: how many passed, and what refused.
    fn until_refused(&mut self, ask: impl Fn(&Guard) -> Ask<'static>) -> (u32, Rule) {
        for sent in 0..10_000 {
            self.states.block = Block::default();
            if let Err(rule) = self.send(ask(self)) {
                return (sent, rule);
            }
        }
        panic!("nothing refuses");
    }

    /// So many strangers a day enter their codes half a minute after they were sent, each in a block that is proven then.
    fn days(&mut self, days: u32, a_day: u32, country: &'static str, usd: f64) {
        for _ in 0..days * a_day {
            self.now = self.now + DAY / a_day;
            self.states.block = Block::default();
            let out = self.send(self.ask(country, usd, Counted::Stranger)).expect("ordinary traffic");
            let at = self.now;
            self.now = self.now + MINUTE / 2;
            self.settle(&out, EventKind::Proven);
            self.now = at;
        }
    }
}

#[test]
fn a_phone_is_known_for_ninety_days_and_while_fewer_than_three_messages_went_unproven() {
    let proven = Some(START);
    assert_eq!(counted(proven, 2, true, START + 89 * DAY), Counted::Known);
    assert_eq!(counted(proven, 3, true, START + DAY), Counted::Stranger);
    assert_eq!(counted(proven, 0, true, START + 90 * DAY), Counted::Stranger);
    assert_eq!(counted(None, 0, true, START), Counted::Stranger);
    assert_eq!(counted(None, 0, false, START), Counted::Unknown);
    assert_eq!(counted(proven, 0, false, START), Counted::Known);
}

#[test]
fn a_country_without_a_past_gets_its_floor_from_the_first_send_on_and_known_phones_pass() {
    for mode in [Mode::Watch, Mode::Enforce] {
        let mut guard = Guard::new(mode);
        let stranger = |guard: &Guard| guard.ask("TJ", 0.4, Counted::Stranger);
        assert_eq!(guard.until_refused(stranger), (10, Rule::CountryOpen));
        let Verdict::Refuse(full) = guard.judge(&stranger(&guard)).verdict else { panic!("passes") };
        assert_eq!((full.used, full.allowed, full.room_at), (10, 10, Some(START + DAY)));
        assert!(guard.send(guard.ask("TJ", 0.4, Counted::Known)).is_ok());
        let allowed = Ask { allowed: true, ..stranger(&guard) };
        assert!(guard.send(allowed).is_ok());
        let capped: Vec<_> = guard.alarms.iter().map(|alarm| (alarm.kind, &*alarm.about)).collect();
        assert_eq!(capped, [(AlarmKind::CountryCapped, "TJ")], "once, not with every refusal");
        assert_eq!(guard.alarms[0].words, "TJ: it has reached its cap: 10 of 10 messages.");
        guard.now = START + DAY;
        // The hour of the first ten has fallen out; what the detector made of them is another matter.
        assert_ne!(guard.send(stranger(&guard)).err(), Some(Rule::CountryOpen));
    }
}

#[test]
fn without_the_guard_only_configured_ceilings_hold() {
    let mut guard = Guard::new(Mode::Off);
    for _ in 0..200 {
        guard.send(guard.ask("TJ", 0.4, Counted::Stranger)).unwrap();
    }
    guard.policy.ceilings.day = Some(Money::from_usd(80.3));
    assert_eq!(guard.send(guard.ask("TJ", 0.4, Counted::Known)).err(), Some(Rule::DayCeiling));
}

#[test]
fn an_operator_sets_floor_and_cap_and_closes_a_country_to_all() {
    let mut guard = Guard::new(Mode::Watch);
    let stranger = |guard: &Guard| guard.ask("TJ", 0.4, Counted::Stranger);
    guard.policy.countries.insert("TJ".to_owned(), CountryPolicy { floor: Some(3), ..CountryPolicy::default() });
    assert_eq!(guard.until_refused(stranger), (3, Rule::CountryOpen));
    guard.policy.countries.insert("TJ".to_owned(), CountryPolicy { cap: Some(60), ..CountryPolicy::default() });
    // 8.75 US$ an hour is what a young installation may spend, and 60 of these cost more.
    guard.policy.ceilings.hour = Some(Money::from_usd(1000.0));
    assert_eq!(guard.until_refused(stranger), (57, Rule::CountryTotal));
    guard.policy.countries.insert("TJ".to_owned(), CountryPolicy { closed: true, ..CountryPolicy::default() });
    for counted in [Counted::Known, Counted::Stranger, Counted::Unknown] {
        let ask = Ask { allowed: true, ..guard.ask("TJ", 0.4, counted) };
        assert_eq!(guard.send(ask).err(), Some(Rule::Closed));
    }
    assert!(guard.send(guard.ask("TJ", 0.4, Counted::Free)).is_ok(), "a test number costs nothing");
}

#[test]
fn a_block_gets_six_and_one_more_for_each_that_was_proven_and_room_comes_back() {
    let mut guard = Guard::new(Mode::Watch);
    let ask = |guard: &Guard| guard.ask("US", 0.0083, Counted::Stranger);
    let mut outs: Vec<Out> = (0..6).map(|_| guard.send(ask(&guard)).unwrap()).collect();
    assert_eq!(guard.send(ask(&guard)).err(), Some(Rule::Block));
    guard.settle(&outs.remove(0), EventKind::Proven);
    assert!(guard.send(ask(&guard)).is_ok() && guard.send(ask(&guard)).is_ok());
    assert_eq!(guard.send(ask(&guard)).err(), Some(Rule::Block));
    guard.settle(&outs.remove(0), EventKind::Failed);
    assert!(guard.send(ask(&guard)).is_ok());
    let Verdict::Refuse(full) = guard.judge(&ask(&guard)).verdict else { panic!("passes") };
    guard.now = full.room_at.unwrap();
    assert!(guard.send(ask(&guard)).is_ok());
}

#[test]
fn all_countries_without_a_past_share_a_pool_of_open_money_beside_which_each_keeps_two_messages() {
    let mut guard = Guard::new(Mode::Watch);
    guard.policy.ceilings.hour = Some(Money::from_usd(100.0));
    let mut sent = Vec::new();
    for country in ["TJ", "UZ", "KG"] {
        guard.states.country = Country::default();
        let before = sent.len();
        loop {
            guard.states.block = Block::default();
            match guard.send(guard.ask(country, 0.4, Counted::Stranger)) {
                Ok(out) => sent.push(out),
                Err(rule) => {
                    let found = (sent.len() - before, rule);
                    let expected = [(10, Rule::CountryOpen), (10, Rule::CountryOpen), (5, Rule::Pool)];
                    assert!(expected.contains(&found), "{country}: {found:?}");
                    break;
                }
            }
        }
    }
    assert_eq!(guard.states.everything.pooled(), Money::from_usd(10.0));
    guard.states.country = Country::default();
    assert_eq!(guard.until_refused(|guard| guard.ask("AZ", 0.35, Counted::Stranger)), (2, Rule::Pool));
    // A proof makes room for one more; a failure does not.
    let becomes = |(event, _): &Out, kind| Event { kind, ..*event };
    guard.states.everything.apply(&becomes(&sent[0], EventKind::Failed));
    assert!(guard.send(guard.ask("AZ", 0.35, Counted::Stranger)).is_err());
    for out in &sent[1..4] {
        guard.states.everything.apply(&becomes(out, EventKind::Proven));
    }
    assert!(guard.send(guard.ask("AZ", 0.35, Counted::Stranger)).is_ok());
}

#[test]
fn what_was_proven_opens_a_country_and_what_surely_was_not_sent_is_given_back() {
    let mut guard = Guard::new(Mode::Watch);
    guard.days(4, 40, "DE", 0.11);
    guard.now = guard.now + HOUR;
    let ask = |guard: &Guard| guard.ask("DE", 0.11, Counted::Stranger);
    let (sent, rule) = guard.until_refused(ask);
    // 36 by the price and 40 on the best day; more in a block that is proven.
    assert_eq!((sent, rule), (76, Rule::CountryOpen));
    let before = guard.states.clone();
    guard.states.block.apply(&Event { at: guard.now, kind: EventKind::Proven, reserved_at: guard.now, ..free_event() });
    let out = guard.send(ask(&guard)).expect("a proven block may go half as far again");
    let spent = guard.states.everything.spent_in_a_day();
    guard.settle(&out, EventKind::NotSent);
    assert_eq!(guard.states.country.counts(), before.country.counts());
    assert_eq!(guard.states.everything.spent_in_a_day(), spent.minus(Money::from_usd(0.11)));
}

fn free_event() -> Event {
    Event {
        at: START,
        kind: EventKind::Proven,
        reserved_at: START,
        price: Money::ZERO,
        counted: Counted::Stranger,
        pooled: false,
    }
}

#[test]
fn a_configured_ceiling_holds_for_all_and_an_automatic_one_leaves_known_phones_a_quarter_more() {
    let usd = Money::from_usd;
    for (ceilings, rule) in [
        (Ceilings { message: Some(usd(0.9)), ..Ceilings::default() }, Rule::MessageCeiling),
        (Ceilings { hour: Some(usd(0.9)), ..Ceilings::default() }, Rule::HourCeiling),
        (Ceilings { day: Some(usd(0.9)), hour: Some(usd(9.0)), ..Ceilings::default() }, Rule::DayCeiling),
        (Ceilings { month: Some(usd(0.9)), ..Ceilings::default() }, Rule::MonthCeiling),
    ] {
        let mut guard = Guard::new(Mode::Off);
        guard.policy.ceilings = ceilings;
        let ask = Ask { allowed: true, ..guard.ask("TJ", 1.0, Counted::Known) };
        assert_eq!(guard.send(ask).err(), Some(rule));
        assert!(guard.send(Ask { price: usd(0.9), ..ask }).is_ok(), "a ceiling may be reached");
    }
    let mut guard = Guard::new(Mode::Watch);
    // A young installation: 25 US$ a day, 8.75 US$ an hour.
    let mut spend = |counted| {
        let mut sent = 0;
        while guard.send(Ask { price: usd(0.05), ..guard.ask("US", 0.05, counted) }).is_ok() {
            sent += 1;
        }
        sent
    };
    assert_eq!(spend(Counted::Unknown), 100, "twice the floor of a country");
    assert_eq!(spend(Counted::Known), 118, "10.93 US$ in all");
}

#[test]
fn the_money_of_any_hour_and_of_any_day_never_exceeds_its_ceiling() {
    let mut guard = Guard::new(Mode::Off);
    let (hour, day) = (Money::from_usd(2.0), Money::from_usd(9.0));
    guard.policy.ceilings = Ceilings { hour: Some(hour), day: Some(day), ..Ceilings::default() };
    let mut spent: Vec<(Timestamp, Money)> = Vec::new();
    // Steps that meet every boundary: 97 seconds, and now and then hours.
    for step in 0..4_000_u64 {
        let pause = if step % 400 == 399 { 5 * HOUR } else { Duration::from_secs(97) };
        guard.now = guard.now + pause;
        if let Ok((event, _)) = guard.send(guard.ask("DE", 0.11, Counted::Known)) {
            spent.push((guard.now, event.price));
        }
        for (span, ceiling) in [(HOUR, hour), (DAY, day)] {
            let recent = spent.iter().rev().take_while(|(at, _)| guard.now.since(*at) < span);
            assert!(recent.map(|(_, price)| *price).sum::<Money>() <= ceiling);
        }
    }
    assert!(spent.len() > 300, "{}", spent.len());
}

#[test]
fn a_month_is_the_calendars_and_its_room_comes_with_the_next() {
    let mut guard = Guard::new(Mode::Off);
    guard.policy.ceilings.month = Some(Money::from_usd(1.0));
    guard.send(guard.ask("TJ", 1.0, Counted::Known)).unwrap();
    let Verdict::Refuse(full) = guard.judge(&guard.ask("TJ", 0.1, Counted::Known)).verdict else { panic!("passes") };
    assert_eq!(full.room_at.unwrap().to_rfc3339(), "2026-02-01T00:00:00.000Z");
    guard.now = full.room_at.unwrap();
    assert!(guard.send(guard.ask("TJ", 1.0, Counted::Known)).is_ok());
}

#[test]
fn a_ceiling_warns_at_half_at_four_fifths_and_when_it_is_reached_once_each() {
    let mut guard = Guard::new(Mode::Watch);
    guard.policy.ceilings.day = Some(Money::from_usd(1.0));
    guard.policy.ceilings.hour = Some(Money::from_usd(100.0));
    for _ in 0..20 {
        let _ = guard.send(guard.ask("DE", 0.1, Counted::Known));
    }
    let kinds: Vec<AlarmKind> = guard.alarms.iter().map(|alarm| alarm.kind).collect();
    assert_eq!(kinds, [AlarmKind::Ceiling50, AlarmKind::Ceiling80, AlarmKind::Ceiling100]);
    assert_eq!(guard.alarms[1].words, "0.80 US$ of 1.00 US$ are used of the ceiling of the day.");
    assert_eq!(guard.alarms[2].cost, Money::from_usd(1.0));
    guard.now = guard.now + 2 * DAY;
    let before = guard.alarms.len();
    let _ = guard.send(guard.ask("DE", 0.6, Counted::Known));
    assert_eq!(guard.alarms.len(), before + 1, "on another day it is news again");
}

#[test]
fn each_ceiling_warns_for_itself() {
    let mut guard = Guard::new(Mode::Off);
    let usd = Money::from_usd;
    guard.policy.ceilings = Ceilings { hour: Some(usd(1.0)), day: Some(usd(1.5)), ..Ceilings::default() };
    for count in [8, 8] {
        for _ in 0..count {
            let _ = guard.send(guard.ask("DE", 0.1, Counted::Known));
        }
        guard.now = guard.now + 2 * HOUR;
    }
    let words = |alarm: &Raised| format!("{} {}", alarm.kind, alarm.words.rsplit(' ').next().unwrap_or_default());
    assert_eq!(
        guard.alarms.iter().map(words).collect::<Vec<_>>(),
        [
            "ceiling_50 hour.",
            "ceiling_50 day.",
            "ceiling_80 hour.",
            "ceiling_80 day.",
            "ceiling_50 hour.",
            "ceiling_100 day."
        ]
    );
}

/// Strangers in new blocks ask, and nobody enters anything: until the detector speaks.
fn attacked(mode: Mode) -> Guard {
    let mut guard = Guard::new(mode);
    guard.days(4, 80, "DE", 0.11);
    for _ in 0..60 {
        guard.now = guard.now + Duration::from_secs(20);
        guard.states.block = Block::default();
        let judged = guard.judge(&guard.ask("DE", 0.11, Counted::Stranger));
        if judged.alarms.iter().any(|alarm| alarm.kind == AlarmKind::Detector) {
            return guard;
        }
        assert_eq!(judged.verdict, Verdict::Pass);
        guard.states.sent(&guard.policy, &guard.ask("DE", 0.11, Counted::Stranger));
    }
    panic!("no alarm in {} messages", 60);
}

#[test]
fn the_detector_says_what_it_found_in_words_and_numbers() {
    let guard = attacked(Mode::Enforce);
    let alarm = guard.alarms.last().unwrap();
    let words = &alarm.words;
    assert!(words.starts_with("DE: 10 codes in 4 minutes, none entered; usual is 100 %"), "{words}");
    assert!(words.contains("Odds 1 : ") && words.contains(" that this is chance. New number blocks are"), "{words}");
    assert_eq!(alarm.until, Some(guard.now + 25 * MINUTE));
    assert!(attacked(Mode::Watch).alarms.last().unwrap().words.ends_with("(guard = watch)."));
}

#[test]
fn under_an_alarm_new_blocks_are_challenged_where_the_country_is_proven_and_a_challenge_opens_no_cap() {
    let mut guard = attacked(Mode::Enforce);
    guard.states.block = Block::default();
    let ask = guard.ask("DE", 0.11, Counted::Stranger);
    let Verdict::Challenge(full) = guard.judge(&ask).verdict else { panic!("no challenge") };
    assert_eq!((full.rule, full.room_at), (Rule::Alarm, Some(guard.now + 25 * MINUTE)));
    assert!(guard.send(guard.ask("DE", 0.11, Counted::Known)).is_ok());
    let passed = Ask { challenged: true, ..ask };
    let sent = (0..10).take_while(|_| guard.send(passed).is_ok()).count();
    assert_eq!((sent, guard.send(passed).err()), (6, Some(Rule::Block)), "the cap of the block stays");
    guard.states.block = Block::default();
    guard.states.block.apply(&Event { at: guard.now, ..free_event() });
    assert!(guard.send(ask).is_ok(), "a block that is proven gets a few");
    let mut guard = attacked(Mode::Enforce);
    guard.now = guard.now + 26 * MINUTE;
    guard.states.block = Block::default();
    assert_eq!(guard.judge(&guard.ask("DE", 0.11, Counted::Stranger)).verdict, Verdict::Pass, "it is over");
}

#[test]
fn watching_the_detector_refuses_nothing_and_says_what_it_would_have() {
    let mut guard = attacked(Mode::Watch);
    guard.states.block = Block::default();
    let judged = guard.judge(&guard.ask("DE", 0.11, Counted::Stranger));
    assert_eq!(judged.verdict, Verdict::Pass);
    assert_eq!(judged.would.map(|full| full.rule), Some(Rule::Alarm));
}

#[test]
fn an_alarm_lasts_while_asks_go_on() {
    let mut guard = attacked(Mode::Enforce);
    let first = guard.states.country.alarm(guard.now).unwrap();
    guard.states.block = Block::default();
    for _ in 0..40 {
        guard.now = guard.now + MINUTE / 2;
        let judged = guard.judge(&guard.ask("DE", 0.11, Counted::Stranger));
        assert!(matches!(judged.verdict, Verdict::Challenge(_)) && judged.changed);
    }
    assert!(guard.states.country.alarm(guard.now).unwrap() > first + 10 * MINUTE);
    let prolonged = guard.alarms.iter().filter(|alarm| alarm.words.contains("prolonged")).count();
    assert!((1..=4).contains(&prolonged), "a word now and then: {prolonged}");
    let words = &guard.alarms.last().unwrap().words;
    assert!(words.starts_with("DE: 10 codes in 4 minutes") && words.ends_with("so it was prolonged."), "{words}");
    guard.now = guard.now + 30 * MINUTE;
    assert_eq!(guard.states.country.alarm(guard.now), None);
}

#[test]
fn ordinary_traffic_raises_no_alarm_and_failures_are_no_evidence() {
    let mut guard = Guard::new(Mode::Enforce);
    guard.days(5, 200, "DE", 0.11);
    for nth in 0..30 {
        guard.now = guard.now + MINUTE;
        guard.states.block = Block::default();
        let out = guard.send(guard.ask("DE", 0.11, Counted::Stranger)).unwrap();
        guard.settle(&out, if nth % 2 == 0 { EventKind::Failed } else { EventKind::Proven });
    }
    assert!(guard.alarms.iter().all(|alarm| alarm.kind != AlarmKind::Detector), "{:?}", guard.alarms);
}

#[test]
fn who_stops_reporting_conversion_is_reported_once() {
    let mut guard = Guard::new(Mode::Watch);
    guard.days(2, 40, "DE", 0.11);
    for _ in 0..5 {
        guard.send(guard.ask("DE", 0.11, Counted::Unknown)).unwrap();
    }
    let kinds: Vec<AlarmKind> = guard.alarms.iter().map(|alarm| alarm.kind).collect();
    assert_eq!(kinds, [AlarmKind::ConversionUnknown]);
}

#[test]
fn an_unset_mode_watches_until_two_hundred_strangers_were_proven() {
    let mut guard = Guard::new(Mode::Watch);
    guard.days(4, 50, "DE", 0.11);
    assert_eq!(Mode::unset(&guard.states.everything), Mode::Enforce);
    guard.states.everything = Installation::default();
    assert_eq!(Mode::unset(&guard.states.everything), Mode::Watch);
}

#[test]
fn a_final_price_takes_the_place_of_the_reserved_one() {
    let mut guard = Guard::new(Mode::Watch);
    let out = guard.send(guard.ask("DE", 0.11, Counted::Stranger)).unwrap();
    let priced = |guard: &mut Guard, micros: i64| {
        let event = Event { at: guard.now, kind: EventKind::Priced, price: Money(micros), ..out.0 };
        guard.states.everything.apply(&event);
        guard.states.country.apply(&event);
        guard.states.block.apply(&event);
    };
    let counts = guard.states.country.counts();
    priced(&mut guard, 40_000);
    assert_eq!(guard.states.everything.spent_in_a_day(), Money::from_usd(0.15));
    priced(&mut guard, -100_000);
    assert_eq!(guard.states.everything.spent_in_a_day(), Money::from_usd(0.05));
    assert_eq!(guard.states.country.counts(), counts);
}

#[test]
fn what_is_kept_stays_small_and_is_read_as_it_was_written() {
    let guard = attacked(Mode::Enforce);
    let States { country, block, everything } = &guard.states;
    let texts = [
        serde_json::to_string(country).unwrap(),
        serde_json::to_string(block).unwrap(),
        serde_json::to_string(everything).unwrap(),
    ];
    assert!(texts.iter().all(|text| text.len() < 1500), "{:?}", texts.map(|text| text.len()));
    assert_eq!(&serde_json::from_str::<Country>(&texts[0]).unwrap(), country);
    assert_eq!(&serde_json::from_str::<Block>(&texts[1]).unwrap(), block);
    assert_eq!(&serde_json::from_str::<Installation>(&texts[2]).unwrap(), everything);
    assert_eq!(serde_json::from_str::<Country>("{}").unwrap(), Country::default());
}

#[test]
fn late_news_and_news_of_what_fell_out_change_nothing_they_should_not() {
    let mut guard = Guard::new(Mode::Watch);
    let out = guard.send(guard.ask("DE", 0.11, Counted::Stranger)).unwrap();
    guard.now = guard.now + 3 * DAY;
    let _ = guard.judge(&guard.ask("DE", 0.11, Counted::Stranger));
    guard.settle(&out, EventKind::Proven);
    assert_eq!(guard.states.country.counts(), (0, 0));
    assert_eq!(guard.states.country.past().proven, 1);
    guard.settle(&out, EventKind::NotSent);
    assert_eq!(guard.states.everything.spent_in_a_day(), Money::ZERO);
    // A clock that stands back a little: nothing is lost.
    guard.now = guard.now - HOUR;
    assert!(guard.send(guard.ask("DE", 0.11, Counted::Stranger)).is_ok());
    assert_eq!(guard.states.country.counts(), (1, 1));
}

#[test]
fn a_proof_that_comes_late_takes_back_what_its_message_was_evidence_of() {
    let mut guard = Guard::new(Mode::Enforce);
    let mut outs = Vec::new();
    // Six in a row that nobody proves, and ten minutes later they have gone into the sum.
    for n in 0..6 {
        guard.states.block = Block::default();
        guard.now = START + n * MINUTE;
        outs.push(guard.send(guard.ask("US", 0.0083, Counted::Stranger)).unwrap());
    }
    guard.now = START + 20 * MINUTE;
    guard.states.roll(guard.now);
    let score = |guard: &Guard| guard.states.country.detector.score_now();
    let before = score(&guard);
    assert!(before > 4.0, "{before}");
    guard.settle(&outs[0], EventKind::Proven);
    let after_one = score(&guard);
    assert!(after_one < before - 1.0, "{before}, then {after_one}: one less, and one that was entered");
    guard.settle(&outs[1], EventKind::Failed);
    let after_two = score(&guard);
    assert!(
        after_two < after_one && after_two > after_one - 1.0,
        "{after_one}, then {after_two}: one less, and no proof"
    );
    outs[2..].iter().for_each(|out| guard.settle(out, EventKind::Proven));
    assert_eq!(score(&guard), 0.0);
}

#[test]
fn an_alarm_counts_from_where_the_evidence_began_and_not_from_what_came_to_nothing() {
    let mut guard = Guard::new(Mode::Enforce);
    // One is not entered, and evidence for ordinary traffic takes the score back to nothing.
    guard.send(guard.ask("US", 0.0083, Counted::Stranger)).unwrap();
    guard.days(2, 200, "US", 0.0083);
    let found = (0..60).find_map(|_| {
        guard.now = guard.now + MINUTE / 4;
        guard.states.block = Block::default();
        let _ = guard.send(guard.ask("US", 0.0083, Counted::Stranger));
        guard.alarms.iter().find(|alarm| alarm.kind == AlarmKind::Detector).cloned()
    });
    let found = found.expect("an alarm");
    assert!(found.words.starts_with("US: 11 codes in 3 minutes, none entered; usual is 100 %."), "{}", found.words);
}

#[test]
fn what_was_not_sent_yesterday_takes_nothing_from_today() {
    let mut guard = Guard::new(Mode::Watch);
    guard.policy.ceilings.hour = Some(Money::from_usd(1000.0));
    guard.policy.ceilings.day = Some(Money::from_usd(1000.0));
    let out = guard.send(guard.ask("TJ", 0.4, Counted::Unknown)).unwrap();
    guard.now = START + DAY;
    for _ in 0..5 {
        guard.send(guard.ask("TJ", 0.4, Counted::Unknown)).unwrap();
    }
    guard.settle(&out, EventKind::NotSent);
    let spent = guard.states.everything.spent_in_a_day();
    guard.now = START + 2 * DAY;
    guard.states.roll(guard.now);
    let past = guard.states.everything.past(guard.now);
    assert_eq!(past.best_money, Money::from_usd(2.0), "five of the second day, {spent} of both");
    assert_eq!(guard.states.country.past().best_sent, 5.0);
}

#[test]
fn the_best_day_is_a_whole_day_and_is_counted_anew_each_day() {
    let mut guard = Guard::new(Mode::Watch);
    guard.days(1, 12, "US", 0.0083);
    guard.now = START + 3 * DAY;
    guard.states.roll(guard.now);
    let first = guard.states.country.past().best;
    assert!((5.0..=12.0).contains(&first), "{first}");
    guard.now = START + 10 * DAY;
    guard.states.roll(guard.now);
    let later = guard.states.country.past().best;
    assert!((later - first * 0.97_f64.powi(7)).abs() < 1e-9, "{later}: no day without a proof makes it more");
    let whole = guard.states.everything.past(guard.now).best;
    assert!((whole - later).abs() < 1e-9, "{whole}: there is no other country");
}

#[test]
fn a_block_is_proven_for_thirty_days() {
    let mut guard = Guard::new(Mode::Watch);
    let out = guard.send(guard.ask("US", 0.0083, Counted::Stranger)).unwrap();
    guard.settle(&out, EventKind::Proven);
    assert!(guard.states.block.is_proven(START + 30 * DAY - Duration::from_millis(1)));
    assert!(!guard.states.block.is_proven(START + 30 * DAY));
}

#[test]
fn a_ceiling_lets_through_exactly_what_it_says_and_there_is_room_when_it_says_so() {
    let mut guard = Guard::new(Mode::Off);
    guard.policy.ceilings.hour = Some(Money(3_000));
    let ask = |guard: &Guard| guard.ask("US", 0.001, Counted::Stranger);
    for _ in 0..3 {
        guard.send(ask(&guard)).unwrap();
        guard.now = guard.now + 6 * MINUTE;
    }
    let Verdict::Refuse(full) = guard.judge(&ask(&guard)).verdict else { panic!("passes") };
    assert_eq!((full.used, full.allowed), (3_000, 3_000));
    let room = full.room_at.unwrap();
    guard.now = room - Duration::from_millis(1);
    assert!(guard.send(ask(&guard)).is_err());
    guard.now = room;
    assert!(guard.send(ask(&guard)).is_ok());
    guard.policy.countries.insert("US".to_owned(), CountryPolicy { closed: true, ..CountryPolicy::default() });
    let Verdict::Refuse(full) = guard.judge(&ask(&guard)).verdict else { panic!("passes") };
    assert_eq!((full.used, full.allowed, full.room_at), (0, 0, None));
}

#[test]
fn the_part_of_proofs_that_have_come_is_the_distribution_that_it_says() {
    // Log-normal, median 45 s, σ 0.9, by Simpson's rule over the density of the normal distribution.
    let normal = |x: f64| {
        let (steps, width) = (2_000, x / 2_000.0);
        let density = |z: f64| (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let weight = |n: i32| if n == 0 || n == steps { 1.0 } else { f64::from(2 + 2 * (n % 2)) };
        0.5 + (0..=steps).map(|n| weight(n) * density(f64::from(n) * width)).sum::<f64>() * width / 3.0
    };
    for (nth, come) in detector::COME.into_iter().enumerate() {
        let seconds = 15.0 + 30.0 * nth as f64;
        let expected = normal((seconds / 45.0).ln() / 0.9);
        assert!((come - expected).abs() < 1e-4, "after {seconds} s {come}, not {expected:.4}");
    }
}

#[test]
fn that_a_country_is_capped_is_said_again_after_a_week() {
    let mut guard = Guard::new(Mode::Watch);
    let stranger = |guard: &Guard| guard.ask("TJ", 0.4, Counted::Stranger);
    let capped = |guard: &Guard| guard.alarms.iter().filter(|alarm| alarm.kind == AlarmKind::CountryCapped).count();
    for (after, said) in [(Duration::ZERO, 1), (6 * DAY, 1), (DAY - Duration::from_millis(1), 1), (DAY, 2)] {
        guard.now = guard.now + after;
        guard.until_refused(stranger);
        assert_eq!(capped(&guard), said, "{}", guard.now);
    }
}
