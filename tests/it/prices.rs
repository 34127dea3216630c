//! Prices: the provider's list is asked for country by country, kept, and wins over the shipped table; the operator's file wins
//! over both.

use std::time::Duration;

use smsotp::clock::Timestamp;
use smsotp::engine::{SendAnswer, SendOtp};
use smsotp::error::Code;
use smsotp::limits::{Limits, Window};
use smsotp::money::{Channel, Money, Price, Prices, Source};
use smsotp::otp::User;
use smsotp::phone;
use smsotp::risk::Risks;
use smsotp::sandbox::{Fault, On, Options};

use crate::desk::Desk;
use crate::stores::{Database, on_every_store};
use crate::world::{ask, caller, unlimited};

const DAY: Duration = Duration::from_secs(86_400);

on_every_store![
    fetched_prices_are_kept_and_win_over_the_shipped_ones,
    a_country_that_cannot_be_asked_for_keeps_its_price_and_stops_no_other,
    trouble_that_would_hit_every_country_ends_the_asking,
    no_attack_costs_more_than_the_risk_that_is_shown,
];

fn some(countries: &[&str]) -> Option<Vec<String>> {
    Some(countries.iter().map(|country| (*country).to_owned()).collect())
}

async fn fetched_prices_are_kept_and_win_over_the_shipped_ones(database: &mut Database) {
    database.policy.guard.prices = Prices::shipped().with_file("FR,0.0123").unwrap();
    let engine = database.engine().await;
    let shipped = engine.prices().await.unwrap();
    assert_eq!(shipped.of(Some("GB"), Channel::Sms), Money(50_000));

    let done = engine.refresh_prices(&caller(), some(&["GB", "fr", "GB", "CH"]), |_| true).await.unwrap();

    let countries: Vec<&str> = done.fetched.iter().map(|price| price.country.as_str()).collect();
    assert_eq!((countries, done.failed.len(), done.left_out), (vec!["CH", "FR", "GB"], 0, 0));
    let prices = engine.prices().await.unwrap();
    // Of the two carriers the dearer one counts, whichever comes last.
    let at = Source::Refreshed(database.now());
    assert_eq!(prices.price(Some("GB"), Channel::Sms), Price { money: Money(52_400), source: at });
    assert_eq!(prices.of(Some("CH"), Channel::Sms), Money(75_100), "no price was shipped for it");
    assert_eq!(prices.of(Some("FR"), Channel::Sms), Money(12_300), "the operator's own");
    assert_eq!(prices.of(Some("TV"), Channel::Sms), Money(450_000), "the dearest known");
    assert_eq!(database.audit(), ["prices done"]);

    // Fetched again it is written over; another process has it at once, and one that runs within a minute.
    let other = database.engine().await;
    database.clock.advance(Duration::from_secs(10));
    database.change("UPDATE prices SET price = 1 WHERE country = 'GB'");
    assert_eq!(engine.prices().await.unwrap().of(Some("GB"), Channel::Sms), Money(52_400));
    assert_eq!(other.prices().await.unwrap().of(Some("GB"), Channel::Sms), Money(1));
    database.clock.advance(Duration::from_secs(66));
    assert_eq!(engine.prices().await.unwrap().of(Some("GB"), Channel::Sms), Money(1));
    engine.refresh_prices(&caller(), some(&["GB"]), |_| true).await.unwrap();
    assert_eq!(database.number("SELECT price FROM prices WHERE country = 'GB'"), 52_400);
    assert_eq!(database.number("SELECT count(*) FROM prices"), 3);
}

async fn a_country_that_cannot_be_asked_for_keeps_its_price_and_stops_no_other(database: &mut Database) {
    let engine = database.engine().await;
    engine.refresh_prices(&caller(), some(&["DE"]), |_| true).await.unwrap();
    database.change("UPDATE prices SET price = 7");
    database.sandbox.fault_on(On::Other, Fault::MalformedJson, 1);
    database.sandbox.fault_on(On::Other, Fault::Code(20_404), 1);

    let done = engine.refresh_prices(&caller(), some(&["DE", "ES", "US"]), |_| true).await.unwrap();

    let failed: Vec<_> = done.failed.iter().map(|(country, error)| (country.as_str(), error.code())).collect();
    assert_eq!(failed, [("DE", Code::PROVIDER_UNREACHABLE)]);
    assert_eq!((done.unlisted.as_slice(), done.fetched.len(), done.left_out), (&["ES".to_owned()][..], 1, 0));
    let prices = engine.prices().await.unwrap();
    assert_eq!(prices.of(Some("DE"), Channel::Sms), Money(7));
    assert_eq!(prices.price(Some("ES"), Channel::Sms).source, Source::Shipped);
    // Nothing that was fetched leaves no row.
    database.sandbox.fault_on(On::Other, Fault::Error500, 1);
    let done = engine.refresh_prices(&caller(), some(&["DE"]), |_| true).await.unwrap();
    assert_eq!((done.fetched.len(), done.failed.len()), (0, 1));
    assert_eq!(database.audit(), ["prices done", "prices done"]);
    engine.refresh_prices(&caller(), some(&["DE"]), |_| true).await.unwrap();
    assert_eq!(engine.prices().await.unwrap().of(Some("DE"), Channel::Sms), Money(111_000));
}

async fn trouble_that_would_hit_every_country_ends_the_asking(database: &mut Database) {
    let engine = database.engine().await;
    let four = || some(&["CA", "DE", "GB", "US"]);
    for (fault, times, asked, code) in [
        (Fault::Unauthorized, 1, 1, Code::PROVIDER_CONFIG),
        (Fault::Status429 { retry_after: Some(3) }, 1, 1, Code::PROVIDER_BUSY),
        (Fault::Error500, 3, 3, Code::PROVIDER_UNREACHABLE),
        (Fault::Reset, 3, 3, Code::PROVIDER_UNREACHABLE),
    ] {
        database.sandbox.fault_on(On::Other, fault.clone(), times);
        let done = engine.refresh_prices(&caller(), four(), |_| true).await.unwrap();
        assert_eq!((done.failed.len(), done.left_out, done.fetched.len()), (asked, 4 - asked, 0), "{fault:?}");
        assert!(done.failed.iter().all(|(_, error)| error.code() == code), "{fault:?}: {:?}", done.failed);
    }
    // Not even the countries of the list can be asked for.
    database.sandbox.fault_on(On::Other, Fault::Error500, 1);
    let error = engine.refresh_prices(&caller(), None, |_| true).await.unwrap_err();
    assert_eq!(error.code(), Code::PROVIDER_UNREACHABLE);
    // Whoever interrupts it keeps what was fetched.
    let done = engine.refresh_prices(&caller(), four(), |asked| asked < 2).await.unwrap();
    assert_eq!((done.fetched.len(), done.left_out), (2, 2));
    assert_eq!(database.number("SELECT count(*) FROM prices"), 2);
}

/// Somebody who never enters a code asks for phones in dear countries for two days, as often as anything lets them.
async fn no_attack_costs_more_than_the_risk_that_is_shown(database: &mut Database) {
    database.policy.limits = Limits { everything: vec![Window::new(40, 86_400)], ..unlimited() };
    let engine = database.engine().await;
    engine.refresh_prices(&caller(), some(&["DE", "ZA"]), |_| true).await.unwrap();
    let mut policy = database.policy.clone();
    let prices = engine.prices().await.unwrap();
    policy.guard.prices = (*prices).clone();
    let shown = Risks::of(&policy).money.day_total.unwrap();
    let (end, mut spent, mut nth) = (database.now() + 2 * DAY, Vec::new(), 0);
    while database.now() < end {
        let [to, country] = if nth % 2 == 0 {
            [format!("+2782{nth:07}"), "ZA".into()]
        } else {
            [format!("+49151{nth:08}"), "DE".into()]
        };
        nth += 1;
        let user = User::parse(&format!("u{nth}")).unwrap();
        match engine.send(&caller(), SendOtp { user, ..ask(&to) }).await.unwrap() {
            SendAnswer::Sent(_) => spent.push((database.now(), prices.of(Some(&country), Channel::Sms))),
            SendAnswer::Refused(_) => database.advance(1800),
        }
    }
    let day = |from: &Timestamp| -> Money {
        spent.iter().filter(|(at, _)| at >= from && *at < *from + DAY).map(|(_, price)| *price).sum()
    };
    let most = spent.iter().map(|(at, _)| day(at)).max().unwrap();
    assert!(most <= shown, "a day cost {most}, shown are {shown}");
}

#[test]
fn the_command_line_shows_where_each_price_comes_from() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    desk.write("prices.csv", "country,price\nFR,0.0123\n");
    desk.write("smsotp.toml", "prices_file = \"prices.csv\"\n");
    let run = |line: &str| desk.run(&format!("{line} --config smsotp.toml"));

    // Before there is a database.
    assert_eq!(
        run("prices list DE").expect(0).rows(),
        [["DE", "sms", "0.11", "shipped", "2024-2026"], ["DE", "whatsapp", "0.45", "dearest", ""],]
    );
    let all = run("prices list --json").expect(0).json("price_list");
    let items = all["items"].as_array().unwrap();
    assert_eq!(items.iter().find(|row| row["country"] == "FR").unwrap()["source"], "file");
    assert_eq!(items.iter().filter(|row| row["country"] == "*").count(), 2);
    run("prices list UK").expect(65).says("The United Kingdom is GB");

    let done = run("prices refresh --json").expect(0).json("prices_refreshed");
    assert_eq!(done["fetched"], phone::countries().count());
    let german = run("prices list DE --json").expect(0).json("price_list");
    assert_eq!((&german["items"][0]["price"], &german["items"][0]["source"]), (&0.111.into(), &"refreshed".into()));
    assert_eq!(run("prices list FR").expect(0).rows()[0][3], "file");
    assert!(run("audit list").expect(0).out.contains("prices"));

    sandbox.fault_on(On::Other, Fault::Unauthorized, 1);
    run("prices refresh --countries DE,US").expect(78).says("DE: ").says("1 more countries were not asked for");
    run("prices refresh --countries UK").expect(65).says("The United Kingdom is GB");
    run("prices refresh --provider console").expect(2);
    // Only what may get messages is asked for.
    desk.write("smsotp.toml", "countries = [\"US\", \"CA\"]\n");
    assert_eq!(run("prices refresh --json").expect(0).json("prices_refreshed")["fetched"], 2);
}

#[test]
fn who_has_no_price_list_is_sent_to_a_file() {
    let desk = Desk::new();
    desk.run("prices refresh").expect(65).says("prices_file in smsotp.toml");
    Desk::bare().run("prices refresh").expect(78).says("TWILIO_ACCOUNT_SID");
}

#[test]
fn a_token_whose_conversion_is_unknown_needs_a_ceiling_when_it_is_made_and_ever_after() {
    let desk = Desk::new();
    let create = "token create --service --scope send --conversion unknown --json";
    desk.run(create).expect(78).says("[ceilings]").error("config_invalid");
    let ceiling = desk.write("smsotp.toml", "[ceilings]\nday = 50\n");
    let with = |line: &str| desk.run(&format!("{line} --config {}", ceiling.display()));

    let made = with(create).expect(0).json("token_created");

    assert_eq!(made["conversion"], "unknown");
    assert_eq!(with("token list --json").expect(0).json("token_list")["items"][0]["conversion"], "unknown");
    with("config check").expect(0);
    desk.run("config check").expect(78).shows("token 1, whose conversion is unknown, needs a ceiling");
    desk.run("token revoke 1").expect(0);
    desk.run("config check").expect(0);
    let usual = desk.run("token create --service --scope send --json").expect(0).json("token_created");
    assert_eq!(usual["conversion"], "reported");
}

#[test]
fn the_risk_is_shown_at_the_prices_in_force_by_country_and_in_all() {
    let (desk, _sandbox) = Desk::with_sandbox(Options::default());
    let shown = || desk.run("limits show --risk --json").expect(0).json("risks");
    let before = shown();
    assert_eq!(
        (&before["day_ceiling"], &before["day_total"], &before["day_unguarded"]),
        (&25.0.into(), &31.25.into(), &4500.0.into())
    );
    let only = before["countries"].as_array().unwrap();
    assert_eq!((only.len(), &only[0]["country"], &only[0]["day"]), (1, &"*".into(), &9.0.into()));

    // The sandbox's dearest price is another one, and the file decides over what the database has.
    desk.run("prices refresh -q").expect(0);
    let after = shown();
    assert_eq!(after["day_unguarded"], 1130.0, "South Africa's: every country has a price of the sandbox's now");
    assert_eq!(after["countries"][0]["day"], 7.992, "Germany's: its floor is worth the most");
    desk.write("smsotp.toml", "countries = [\"US\", \"CA\"]\n[ceilings]\nday = 40\n");
    let own = desk.run("limits show --risk --json --config smsotp.toml").expect(0).json("risks");
    assert_eq!(
        (&own["day_unguarded"], &own["day_ceiling"], &own["day_total"]),
        (&83.0.into(), &40.0.into(), &50.0.into())
    );
    assert_eq!(own["countries"].as_array().unwrap().len(), 2);
    let page = desk.run("limits show --risk -o table").expect(0);
    page.shows("of 245 others").shows("WORST DAY");
}
