//! Alarms reach a person: one row while one stands, listed until it is acknowledged, and delivered to a real HTTP listener at least
//! once, whatever that does.

use std::collections::VecDeque;
use std::io::{Cursor, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use smsotp::alarm::webhook::{Template, Webhook};
use smsotp::alarm::{Alarm, AlarmKind, Raised};
use smsotp::audit::{Actor, Details, Event};
use smsotp::clock::{SystemClock, Timestamp};
use smsotp::engine::{Announced, Engine};
use smsotp::money::Money;
use smsotp::notify::webhook::WebhookClient;
use smsotp::sandbox::Options;
use smsotp::store::export::Transfer;
use smsotp::store::sqlite::{Sqlite, SqliteOptions};
use smsotp::store::{Change, Decision, Needs, Store, operate};

use crate::desk::Desk;
use crate::processes::{Crew, Job, Operation, phone};
use crate::stores::{Database, on_every_store};
use crate::window::Window;
use crate::world::{World, block_on, caller, keyring, new_key, phone_subject, purge, unlimited};

on_every_store![
    while_an_alarm_stands_there_is_one_that_counts,
    sixty_four_processes_that_raise_an_alarm_at_once_raise_one,
    many_that_raise_several_alarms_at_once_wait_for_nobody_in_a_circle,
    an_alarm_is_acknowledged_once_and_what_goes_on_raises_no_other,
    an_alarm_that_nobody_acknowledged_is_listed_for_a_day_after_its_end,
    old_alarms_are_purged_and_others_stay,
    alarms_move_with_the_database_and_a_copy_delivers_none,
    an_alarm_is_posted_once_and_signed,
    a_webhook_that_fails_gets_the_alarm_again_under_the_same_id,
    whoever_dies_while_he_delivers_leaves_the_alarm_to_the_next,
    of_many_workers_at_once_one_posts_an_alarm,
    an_alarm_is_given_up_after_a_day,
    an_acknowledged_alarm_is_not_posted_any_more,
    the_last_refusals_of_a_country_are_found_with_the_rule_that_refused,
    a_balance_below_a_day_of_codes_raises_an_alarm_and_is_asked_for_once_an_hour,
];

const SECRET: &str = "a secret of the webhook";

pub fn raised(kind: AlarmKind, about: &str) -> Raised {
    let words = format!("{about}: 14 codes in 9 minutes, none entered; usual is 78 %.");
    Raised { kind, about: about.to_owned(), until: None, words, cost: Money(5_600_000) }
}

/// What an operation does that raises alarms.
pub async fn raise(store: &Store, all: Vec<Raised>) {
    operate(store.operations.as_ref(), Needs::default(), move |facts| {
        let changes = all.iter().map(|raised| Change::RaiseAlarm(Alarm::new(raised, facts.now))).collect();
        Ok(Decision::Write { changes, event: Event::new(facts.now, Actor::System, "test", "raised"), answer: () })
    })
    .await
    .unwrap();
}

async fn raise_tj(engine: &Engine, lasts: u64) {
    let until = Some(engine.reads().now().await.unwrap() + Duration::from_secs(lasts));
    raise(engine.store(), vec![Raised { until, ..raised(AlarmKind::Detector, "TJ") }]).await;
}

async fn while_an_alarm_stands_there_is_one_that_counts(database: &mut Database) {
    let engine = database.engine().await;
    raise_tj(&engine, 1500).await;
    database.advance(600);
    let dearer = Raised { cost: Money(9_000_000), words: "worse".into(), ..raised(AlarmKind::Detector, "TJ") };
    raise(engine.store(), vec![dearer]).await;
    // Another country and another kind are alarms of their own.
    raise(engine.store(), vec![raised(AlarmKind::CountryCapped, "TJ"), raised(AlarmKind::Detector, "UZ")]).await;

    let alarms = engine.alarms(false).await.unwrap();
    assert_eq!(alarms.len(), 3);
    let tj = alarms.iter().find(|alarm| (alarm.kind, alarm.about.as_str()) == (AlarmKind::Detector, "TJ")).unwrap();
    assert_eq!((tj.count, tj.words.as_str(), tj.cost), (2, "worse", Money(9_000_000)));
    assert_eq!((tj.last_at.since(tj.since).as_secs(), tj.until.since(tj.since).as_secs()), (600, 600 + 86_400));

    // What comes after its end is another one.
    database.advance(86_401);
    raise_tj(&engine, 1500).await;
    let after: Vec<Alarm> = engine.alarms(true).await.unwrap();
    let both: Vec<&Alarm> = after.iter().filter(|a| a.kind == AlarmKind::Detector && a.about == "TJ").collect();
    assert_eq!(both.iter().map(|alarm| alarm.count).collect::<Vec<_>>(), [1, 2]);
    assert!(both[0].id > both[1].id);
    assert_eq!(database.number("SELECT count(*) FROM alarms WHERE newest AND kind = 'detector' AND about = 'TJ'"), 1);
}

async fn sixty_four_processes_that_raise_an_alarm_at_once_raise_one(database: &mut Database) {
    drop(database.engine().await);
    for round in 1..=2 {
        let jobs: Vec<Job> =
            (0..64).map(|_| Job::on(database, vec![Operation::Raise { about: "TJ".into() }])).collect();

        let left = Crew::at_the_barrier(&jobs).go();

        assert!(left.iter().all(|left| left.well), "{left:?}");
        assert_eq!(
            database.words("SELECT count FROM alarms ORDER BY id"),
            vec!["64"; round],
            "a row that is over is not joined"
        );
        database.advance(2 * 86_400);
    }
}

async fn many_that_raise_several_alarms_at_once_wait_for_nobody_in_a_circle(database: &mut Database) {
    let engine = database.engine().await;
    raise(engine.store(), vec![raised(AlarmKind::Detector, "TJ")]).await;
    let id = engine.alarms(false).await.unwrap()[0].id;
    let all = || ["AZ", "TJ", "UZ"].map(|about| raised(AlarmKind::Detector, about)).to_vec();

    let raises = (0..20).map(|_| raise(engine.store(), all()));
    let somebody = caller();
    let acks = (0..5).map(|_| engine.ack_alarm(&somebody, id, "known"));
    let (_, acked) = tokio::join!(join_all(raises), join_all(acks));

    assert_eq!(acked.iter().filter(|acked| acked.as_ref().unwrap().as_ref().unwrap().now).count(), 1);
    assert_eq!(database.words("SELECT count FROM alarms ORDER BY about"), ["20", "21", "20"]);
    assert_eq!(engine.alarms(false).await.unwrap().len(), 2, "what somebody knows stays known");
}

async fn an_alarm_is_acknowledged_once_and_what_goes_on_raises_no_other(database: &mut Database) {
    let engine = database.engine().await;
    raise_tj(&engine, 1500).await;
    let id = engine.alarms(false).await.unwrap()[0].id;

    let acked = engine.ack_alarm(&caller(), id, "campaign 123456789").await.unwrap().unwrap();
    assert!(acked.now && acked.alarm.acked_by.as_deref() == Some("system"));
    assert!(!engine.ack_alarm(&caller(), id, "again").await.unwrap().unwrap().now);
    assert_eq!(engine.ack_alarm(&caller(), id + 1, "nothing").await.unwrap(), None);
    assert_eq!(engine.alarms(false).await.unwrap(), []);

    raise_tj(&engine, 3000).await;
    assert_eq!(engine.alarms(false).await.unwrap(), [], "it stands, and somebody knows");
    let standing = engine.standing_alarms().await.unwrap();
    assert_eq!((standing.len(), standing[0].count), (1, 2));
    database.advance(3001);
    raise_tj(&engine, 1500).await;
    assert_eq!(engine.alarms(false).await.unwrap().len(), 1, "after its end it is news again");
    let audit = database.audit();
    assert_eq!(audit.iter().filter(|row| *row == "alarm_ack done").count(), 1, "{audit:?}");
}

async fn an_alarm_that_nobody_acknowledged_is_listed_for_a_day_after_its_end(database: &mut Database) {
    let engine = database.engine().await;
    raise_tj(&engine, 1500).await;

    database.advance_almost(1500 + 86_400);
    assert_eq!(engine.alarms(false).await.unwrap().len(), 1);
    assert_eq!(engine.standing_alarms().await.unwrap(), []);
    database.until_then();
    database.advance(10);
    assert_eq!(engine.alarms(false).await.unwrap(), []);
    assert_eq!(engine.alarms(true).await.unwrap().len(), 1);
}

async fn old_alarms_are_purged_and_others_stay(database: &mut Database) {
    const DAY: u64 = 86_400;
    let engine = database.engine().await;
    raise(engine.store(), vec![raised(AlarmKind::Detector, "AZ"), raised(AlarmKind::Detector, "TJ")]).await;
    let az = engine.alarms(false).await.unwrap().into_iter().find(|alarm| alarm.about == "AZ").unwrap();
    engine.ack_alarm(&caller(), az.id, "known").await.unwrap();

    database.advance(30 * DAY);
    assert_eq!(purge(&engine, Duration::ZERO).await.purged.alarms, 0, "a day of it it stood");
    database.advance(DAY + 60);
    assert_eq!(purge(&engine, Duration::ZERO).await.purged.alarms, 1);
    assert_eq!(database.words("SELECT about FROM alarms"), ["TJ"], "nobody knows of that one yet");
    database.advance(336 * DAY);
    assert_eq!(purge(&engine, Duration::ZERO).await.purged.alarms, 1);
}

async fn alarms_move_with_the_database_and_a_copy_delivers_none(database: &mut Database) {
    let engine = database.engine().await;
    raise(engine.store(), vec![raised(AlarmKind::Detector, "AZ"), raised(AlarmKind::Detector, "TJ")]).await;
    let id = engine.alarms(false).await.unwrap().iter().map(|alarm| alarm.id).max().unwrap();
    for transfer in [Transfer::Copy, Transfer::Move] {
        let found = if database.url.is_some() { None } else { Database::postgres_for(&database.keyring()) };
        let mut target = found.unwrap_or_else(Database::sqlite);
        target.world.keys.clone_from(&database.keys);
        let mut lines = Vec::new();
        let maintenance = database.store_of_a_command().await.maintenance;
        maintenance.export(&mut lines, transfer, &Actor::System).await.unwrap();
        let ring = target.keyring();
        target.store_of_a_command().await.maintenance.import(&mut Cursor::new(lines), &ring).await.unwrap();

        let there = target.engine().await;
        assert_eq!(there.alarms(false).await.unwrap().len(), 2);
        let due = if transfer == Transfer::Copy { 0 } else { 2 };
        assert_eq!(there.announce(&caller()).await.unwrap().logged, due, "{transfer:?}");
        raise(there.store(), vec![raised(AlarmKind::Detector, "TJ"), raised(AlarmKind::Detector, "UZ")]).await;
        let alarms = there.alarms(false).await.unwrap();
        assert!(alarms.iter().any(|alarm| alarm.about == "UZ" && alarm.id > id), "{alarms:?}");
        assert!(alarms.iter().any(|alarm| alarm.about == "TJ" && alarm.count == 2), "{alarms:?}");
        target.verify().await;
    }
}

/// What the listener does with a request.
#[derive(Clone, Debug)]
enum Act {
    Answer(&'static str),
    /// Takes the request and says nothing.
    Silence,
    /// Closes the connection without a word.
    HangUp,
    /// Begins an answer of a gigabyte.
    Endless,
}

/// A real HTTP listener, as somebody who receives alarms runs one.
struct Listener {
    address: SocketAddr,
    acts: Arc<Mutex<VecDeque<Act>>>,
    /// Head and body of each request.
    got: Arc<Mutex<Vec<(String, String)>>>,
}

impl Listener {
    fn new(acts: impl Into<VecDeque<Act>>) -> Listener {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Listener {
            address: socket.local_addr().unwrap(),
            acts: Arc::new(Mutex::new(acts.into())),
            got: Arc::default(),
        };
        let (acts, got) = (Arc::clone(&listener.acts), Arc::clone(&listener.got));
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in socket.incoming() {
                let Ok(mut stream) = stream else { break };
                let Some(request) = read_request(&mut stream) else { continue };
                got.lock().unwrap().push(request);
                match acts.lock().unwrap().pop_front().unwrap_or(Act::Answer("204 No Content")) {
                    Act::Answer(status) => {
                        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    }
                    Act::Silence => kept.push(stream),
                    Act::HangUp => {}
                    Act::Endless => {
                        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nx");
                        kept.push(stream);
                    }
                }
            }
        });
        listener
    }

    fn webhook(&self, template: Template) -> Webhook {
        let url = format!("http://{}/hook/T0KEN", self.address).parse().unwrap();
        Webhook { url, secret: Some(SECRET.into()), template, app_name: "ACME".into() }
    }

    /// An engine that delivers here. Whoever says nothing is waited for a short while: the shorter, the quicker the story.
    fn behind(&self, engine: &Engine) -> Engine {
        let client = WebhookClient::within(self.webhook(Template::Json), Duration::from_millis(1500));
        engine.clone().notifying(Arc::new(client))
    }

    fn got(&self) -> Vec<(String, String)> {
        self.got.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = stream.read(&mut part).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

fn id_of(body: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()["alarm"]["id"].as_str().unwrap().to_owned()
}

async fn an_alarm_is_posted_once_and_signed(database: &mut Database) {
    let listener = Listener::new([]);
    let engine = listener.behind(&database.engine().await);
    raise_tj(&engine, 1500).await;

    let done = engine.announce(&caller()).await.unwrap();
    assert_eq!(done, Announced { logged: 1, sent: 1, ..Announced::default() });
    raise_tj(&engine, 1500).await;
    database.advance(86_000);
    assert_eq!(engine.announce(&caller()).await.unwrap(), Announced::default(), "one that stands is no news");

    let got = listener.got();
    assert_eq!(got.len(), 1);
    let (head, body) = &got[0];
    assert!(head.starts_with("POST /hook/T0KEN HTTP/1.1"), "{head}");
    assert_eq!(header(head, "content-type"), Some("application/json"));
    let facts: Value = serde_json::from_str(body).unwrap();
    let alarm = &facts["alarm"];
    assert_eq!((&facts["app"], &alarm["country"], &alarm["cost_usd"]), (&json!("ACME"), &json!("TJ"), &json!(5.6)));
    assert_eq!(alarm["undo"], "smsotp block allow TJ --for 2h --reason TEXT");
    let signature = header(head, "smsotp-signature").unwrap();
    let seconds: i64 = signature.strip_prefix("t=").unwrap().split(',').next().unwrap().parse().unwrap();
    assert_eq!(Some(signature.to_owned()), listener.webhook(Template::Json).signature(body, Timestamp(seconds * 1000)));
    assert!(!format!("{head}{body}").contains(SECRET));
    assert_eq!(
        database.number("SELECT count(*) FROM alarms WHERE sent_at IS NOT NULL AND due_at IS NULL AND attempts = 1"),
        1
    );
}

async fn a_webhook_that_fails_gets_the_alarm_again_under_the_same_id(database: &mut Database) {
    let elsewhere = Listener::new([]);
    let redirect = format!("307 Temporary Redirect\r\nLocation: http://{}/", elsewhere.address);
    let acts = [
        Act::Answer("500 Internal Server Error"),
        Act::HangUp,
        Act::Answer(redirect.leak()),
        Act::Silence,
        Act::Answer("404 Not Found"),
        Act::Endless,
    ];
    let attempts = acts.len();
    let listener = Listener::new(acts);
    let engine = listener.behind(&database.engine().await);
    raise_tj(&engine, 90_000).await;

    let pauses = [0, 30, 60, 120, 300, 600];
    for (nth, pause) in pauses.into_iter().enumerate() {
        if pause > 0 {
            database.advance_almost(pause);
            assert_eq!(engine.announce(&caller()).await.unwrap(), Announced::default(), "too early for attempt {nth}");
            database.until_then();
            database.advance(1);
        }
        let done = engine.announce(&caller()).await.unwrap();
        let expected = match nth {
            0 => Announced { logged: 1, failed: 1, ..Announced::default() },
            // The status line is there: what follows it is not read.
            5 => Announced { sent: 1, ..Announced::default() },
            _ => Announced { failed: 1, ..Announced::default() },
        };
        assert_eq!(done, expected, "attempt {nth}");
    }

    let got = listener.got();
    assert_eq!(got.len(), attempts);
    assert!(got.iter().all(|(_, body)| id_of(body) == id_of(&got[0].1)));
    let signatures: std::collections::BTreeSet<_> =
        got.iter().map(|(head, _)| header(head, "smsotp-signature")).collect();
    assert_eq!(signatures.len(), attempts, "each attempt is signed with its own time");
    assert_eq!(elsewhere.got(), [], "redirects are not followed");
    assert_eq!(database.number("SELECT attempts FROM alarms WHERE sent_at IS NOT NULL"), 6);
}

async fn whoever_dies_while_he_delivers_leaves_the_alarm_to_the_next(database: &mut Database) {
    let listener = Listener::new([Act::Silence]);
    let engine = listener.behind(&database.engine().await);
    raise_tj(&engine, 1500).await;
    let dies = engine.clone();
    let under_way = tokio::spawn(async move { dies.announce(&caller()).await });
    while listener.got().is_empty() {
        tokio::task::yield_now().await;
    }
    under_way.abort();
    assert!(under_way.await.unwrap_err().is_cancelled());

    assert_eq!(engine.announce(&caller()).await.unwrap(), Announced::default());
    database.advance(31);
    database.until_then();
    assert_eq!(engine.announce(&caller()).await.unwrap(), Announced { sent: 1, ..Announced::default() });
    assert_eq!(listener.got().len(), 2);
}

async fn of_many_workers_at_once_one_posts_an_alarm(database: &mut Database) {
    let listener = Listener::new([]);
    let engine = listener.behind(&database.engine().await);
    raise_tj(&engine, 1500).await;

    let (one, other) = (caller(), caller());
    let runs = (0..8).map(|nth| engine.announce(if nth % 2 == 0 { &one } else { &other }));
    let done = join_all(runs).await;

    assert_eq!(done.iter().map(|done| done.as_ref().unwrap().sent).sum::<u32>(), 1, "{done:?}");
    assert_eq!(listener.got().len(), 1);
}

async fn an_alarm_is_given_up_after_a_day(database: &mut Database) {
    let listener = Listener::new(vec![Act::Answer("503 Service Unavailable"); 100]);
    let engine = listener.behind(&database.engine().await);
    raise_tj(&engine, 1500).await;
    let mut given_up = 0;
    for _ in 0..40 {
        given_up += engine.announce(&caller()).await.unwrap().given_up;
        database.advance(3601);
        database.until_then();
    }
    assert_eq!(given_up, 1);
    let attempts = listener.got().len();
    assert!((20..30).contains(&attempts), "{attempts}");
    assert_eq!(database.number("SELECT count(*) FROM alarms WHERE due_at IS NULL AND sent_at IS NULL"), 1);
    assert_eq!(database.audit().last().unwrap(), "alarm_deliver given_up");
}

async fn an_acknowledged_alarm_is_not_posted_any_more(database: &mut Database) {
    let listener = Listener::new([Act::HangUp]);
    let engine = listener.behind(&database.engine().await);
    raise_tj(&engine, 1500).await;
    assert_eq!(engine.announce(&caller()).await.unwrap().failed, 1);
    engine.ack_alarm(&caller(), engine.alarms(false).await.unwrap()[0].id, "known").await.unwrap();
    database.advance(3600);

    assert_eq!(engine.announce(&caller()).await.unwrap(), Announced::default());
    assert_eq!(listener.got().len(), 1);
}

async fn a_balance_below_a_day_of_codes_raises_an_alarm_and_is_asked_for_once_an_hour(database: &mut Database) {
    let engine = database.engine().await;
    assert_eq!(engine.check_balance(&caller()).await.unwrap(), None, "nobody said what a day costs");

    // The sandbox has 20 US$.
    database.policy.guard.ceilings.day = Some(Money(19_000_000));
    let engine = database.engine().await;
    assert_eq!(engine.check_balance(&caller()).await.unwrap(), Some(Money(20_000_000)));
    assert_eq!(engine.alarms(false).await.unwrap(), []);

    database.policy.guard.ceilings.day = Some(Money(25_000_000));
    let engine = database.engine().await;
    database.advance_almost(3600);
    engine.check_balance(&caller()).await.unwrap();
    assert_eq!(engine.alarms(false).await.unwrap(), [], "once an hour");
    database.until_then();
    database.advance(10);
    engine.check_balance(&caller()).await.unwrap();
    let alarms = engine.alarms(false).await.unwrap();
    assert_eq!((alarms.len(), alarms[0].kind), (1, AlarmKind::Balance));
    assert_eq!(alarms[0].words, "The balance at the provider is 20.00 US$; a day of codes costs up to 25.00 US$.");
    let audit = database.audit();
    assert_eq!(audit, ["balance enough", "balance low"]);
}

/// What the guard writes about a refusal.
async fn refuse(store: &Store, phone: &str, country: &'static str, used: i64) {
    let needs = Needs { subjects: vec![phone_subject(phone)], ..Needs::default() };
    operate(store.operations.as_ref(), needs, move |facts| {
        let details =
            Details::new().word("country", country).word("rule", "country_open").word("purpose", "phone_verification");
        let details = details.number("used", used).number("allowed", 10).flag("in_money", false);
        let details = details.number("room_at", (facts.now + Duration::from_secs(3600)).millis());
        let event = Event::new(facts.now, Actor::System, "send", "country_cap").details(details);
        let event = event.subject(&facts.subjects[0].id.0);
        let changes = vec![facts.subjects[0].updated(facts.now, &unlimited(), |_| {})];
        Ok(Decision::Write { changes, event, answer: () })
    })
    .await
    .unwrap();
}

async fn the_last_refusals_of_a_country_are_found_with_the_rule_that_refused(database: &mut Database) {
    let engine = database.engine().await;
    raise(engine.store(), vec![raised(AlarmKind::CountryCapped, "TJ"), raised(AlarmKind::Detector, "UZ")]).await;
    for nth in 0..12 {
        refuse(engine.store(), &phone(nth), if nth == 11 { "UZ" } else { "TJ" }, 10 + nth as i64).await;
        database.advance(1);
    }

    let state = engine.country("TJ").await.unwrap();

    assert_eq!(state.alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::CountryCapped]);
    assert_eq!(
        state.refusals.iter().map(|refusal| refusal.used).collect::<Vec<_>>(),
        (11..=20).rev().collect::<Vec<_>>()
    );
    let newest = &state.refusals[0];
    assert_eq!((newest.rule.as_str(), newest.outcome.as_str(), newest.allowed), ("country_open", "country_cap", 10));
    assert_eq!(newest.room_at.unwrap().since(newest.at).as_secs(), 3600);
    assert!(engine.country("AZ").await.unwrap().refusals.is_empty());
}

#[test]
fn show_explains_what_the_guard_did_about_a_country_and_a_phone() {
    let (desk, store) = desk();
    desk.write("smsotp.toml", "[countries.TJ]\ncap = 40\n");
    block_on(raise(&store, vec![raised(AlarmKind::CountryCapped, "TJ")]));
    block_on(refuse(&store, "+14155552671", "TJ", 14));

    let page = desk.run("show tj -o table --config smsotp.toml").expect(0);
    for words in [
        "Country TJ",
        "may be sent",
        "0.40 US$ a segment (shipped)",
        "40",
        "Alarm 1: a country reached its cap",
        "country_open",
    ] {
        assert!(page.out.contains(words), "no {words:?} in {}", page.out);
    }
    let json: Value = serde_json::from_str(&desk.run("show TJ --json").expect(0).out).unwrap();
    assert_eq!((&json["kind"], &json["refusals"][0]["used"]), (&json!("country"), &json!("14")));
    desk.write("smsotp.toml", "[countries.TJ]\nclosed = true\n");
    desk.run("show TJ -o table --config smsotp.toml").expect(0).shows("the settings close it");
    desk.run("show +14155552671 --no-refresh -o table")
        .expect(0)
        .shows("rule country_open, 14 of 10 used, room again at");
    block_on(refuse(&store, "+14155552672", "TJ", 14));
    desk.run("show +14155552672")
        .expect(1)
        .says("the guard refused this phone at")
        .says("rule country_open, 14 of 10 used");
    desk.run("show XX").expect(65);
}

/// A desk with keys that the story knows, and a database.
pub fn desk() -> (Desk, Store) {
    let (mut desk, sandbox) = Desk::with_sandbox(Options::default());
    let key = new_key();
    desk.set("SMSOTP_SECRET_KEY", &key).set("SMSOTP_DATABASE", "alarms.db");
    desk.run("send +14155552671").expect(0);
    drop(sandbox);
    let ring = keyring(&[key]);
    let path = desk.cwd().join("alarms.db");
    let store = Sqlite::open(&path, &ring, Arc::new(SystemClock), SqliteOptions::default()).unwrap();
    (desk, Arc::new(store).into())
}

#[test]
fn cron_hears_of_an_alarm_by_exit_code_1_and_of_none_by_silence() {
    let (desk, store) = desk();
    let cron = "alarms list -q -o table";
    let silent = desk.run(cron).expect(0);
    assert!(silent.bytes.is_empty(), "{silent:?}");
    block_on(raise(&store, vec![raised(AlarmKind::Detector, "TJ"), raised(AlarmKind::Ceiling80, "")]));

    let ran = desk.run(cron).expect(1);
    assert!(ran.err.is_empty(), "{ran:?}");
    for words in [
        "possible SMS pumping, TJ",
        "14 codes in 9 minutes, none entered",
        "5.60 US$",
        "smsotp block allow TJ --for 2h --reason TEXT",
        "Nothing is refused yet.",
        "[ceilings] in smsotp.toml",
        "smsotp alarms ack 1 --reason TEXT",
    ] {
        assert!(ran.out.contains(words), "no {words:?} in {}", ran.out);
    }
    assert_eq!(desk.run("alarms list").expect(1).out.lines().count(), 2, "a line each in a pipe");
    let json: Value = serde_json::from_str(&desk.run("alarms list --json").expect(1).out).unwrap();
    assert_eq!((&json["kind"], json["items"].as_array().unwrap().len()), (&json!("alarm_list"), 2));

    desk.run_args(["alarms", "ack", "1", "--reason", "campaign"]).expect(0).shows("1");
    desk.run(cron).expect(1);
    desk.run_args(["alarms", "ack", "--all", "--reason", "ticket OPS-12"]).expect(0);
    assert!(desk.run(cron).expect(0).bytes.is_empty());
    assert_eq!(desk.run("alarms list --all").expect(0).out.lines().count(), 2);
    assert_eq!(desk.run("audit list --action alarm_ack").expect(0).out.lines().count(), 2);
}

#[test]
fn whoever_acknowledges_says_which_alarm_and_why() {
    let (desk, _) = desk();
    desk.run("alarms ack 1").expect(2).says("--reason");
    desk.run("alarms ack --reason x").expect(2);
    desk.run("alarms ack 1 --all --reason x").expect(2);
    desk.run_args(["alarms", "ack", "1", "--reason", " "]).expect(65).says("--reason is empty");
    desk.run("alarms ack 0 --reason x").expect(2);
    desk.run("alarms ack 7 --reason x").expect(1).says("there is no alarm 7");
    desk.run("alarms ack --all --reason x").expect(0);
    desk.run("alarms ack 7 --reason x --db none.db").expect(74);
}

#[test]
fn dispatch_delivers_alarms_to_the_webhook_of_the_settings_and_shows_no_secret() {
    let (mut desk, store) = desk();
    let listener = Listener::new([Act::Answer("500 Internal Server Error")]);
    desk.set("SMSOTP_ALARM_WEBHOOK", format!("http://{}/hook/T0KEN", listener.address));
    desk.run("dispatch").expect(78).says("SMSOTP_ALARM_SECRET");
    desk.set("SMSOTP_ALARM_SECRET", "short").run("dispatch").expect(78).says("shorter than 16");
    desk.set("SMSOTP_ALARM_SECRET", SECRET);
    block_on(raise(&store, vec![raised(AlarmKind::Detector, "TJ")]));

    let ran = desk.run("dispatch -vv").expect(0).says("alarm: possible SMS pumping, TJ").says("answered 500");
    let shown = desk.run("config show").expect(0);
    for text in [&ran.err, &ran.out, &shown.out] {
        assert!(!text.contains("T0KEN") && !text.contains(SECRET), "{text}");
    }
    let (head, body) = &listener.got()[0];
    assert!(header(head, "smsotp-signature").is_some() && id_of(body) == "1");

    for (template, field) in [("slack", "text"), ("discord", "content"), ("teams", "attachments")] {
        desk.set("SMSOTP_ALARM_TEMPLATE", template);
        let about = template[..2].to_uppercase();
        block_on(raise(&store, vec![raised(AlarmKind::Detector, &about)]));
        desk.run("dispatch -q").expect(0);
        let body: Value = serde_json::from_str(&listener.got().last().unwrap().1).unwrap();
        assert!(body[field].to_string().contains(&format!("possible SMS pumping, {about}")), "{body}");
    }
    desk.set("SMSOTP_ALARM_TEMPLATE", "carrier-pigeon").run("dispatch").expect(78).says("json, slack, discord, teams");
    desk.set("SMSOTP_ALARM_TEMPLATE", "json");
    for bad in ["http://example.com/x", "ftp://127.0.0.1/x", "nonsense"] {
        let ran = desk.set("SMSOTP_ALARM_WEBHOOK", bad).run("dispatch").expect(78).says("SMSOTP_ALARM_WEBHOOK");
        assert!(!ran.err.contains(bad), "{ran:?}");
    }
}

/// The block of the page, run over what really arrives.
#[test]
fn the_snippet_of_the_page_verifies_what_the_webhook_gets() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return crate::pg::skipped("the snippet of docs/alarms.md did not run: there is no python3 on this machine");
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alarms.md")).unwrap();
    let snippet = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let listener = Listener::new([]);
    let webhook = listener.webhook(Template::Json);
    let (mut desk, store) = desk();
    desk.set("SMSOTP_ALARM_WEBHOOK", webhook.url.as_str()).set("SMSOTP_ALARM_SECRET", SECRET);
    block_on(raise(&store, vec![raised(AlarmKind::Detector, "TJ")]));
    desk.run("dispatch -q").expect(0);
    let (head, body) = listener.got().remove(0);
    let signature = header(&head, "smsotp-signature").unwrap();

    let verified = |secret: &str, signature: &str, body: &str| {
        let script = format!(
            "{snippet}\nimport sys\nsecret, header = sys.argv[1:]\nprint(is_ours(secret, header, sys.stdin.buffer.read()))"
        );
        let mut child = Command::new("python3")
            .args(["-c", &script, secret, signature])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    };
    assert_eq!(verified(SECRET, signature, &body), "True");
    assert_eq!(verified("another secret!!", signature, &body), "False");
    assert_eq!(verified(SECRET, signature, &body.replace("TJ", "US")), "False");
    let old = webhook.signature(&body, Timestamp(1_700_000_000_000)).unwrap();
    assert_eq!(verified(SECRET, &old, &body), "False", "an old one");
}

/// The body on the page has the fields of a real one.
#[test]
fn the_body_on_the_page_is_what_the_webhook_gets() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alarms.md")).unwrap();
    let shown: Value =
        serde_json::from_str(page.split("```json\n").nth(1).unwrap().split("```").next().unwrap()).unwrap();
    let now = Timestamp(1_769_860_800_000);
    let until = Some(now + Duration::from_secs(1500));
    let words = shown["alarm"]["words"].as_str().unwrap().to_owned();
    let alarm = Alarm { id: 17, ..Alarm::new(&Raised { until, words, ..raised(AlarmKind::Detector, "TJ") }, now) };
    let webhook = Listener::new([]).webhook(Template::Json);
    let body: Value = serde_json::from_str(&webhook.body(&alarm, now)).unwrap();

    assert_eq!(shown, body);
}

#[test]
fn the_line_for_cron_on_the_page_works() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alarms.md")).unwrap();
    let line = page.split("```crontab\n").nth(1).unwrap().lines().next().unwrap();
    let (_, arguments) = line.split_once("/usr/local/bin/smsotp ").unwrap();
    let (desk, store) = desk();
    let arguments = arguments.replace("/etc/smsotp/env", ".env");
    assert!(desk.run(&arguments).expect(0).bytes.is_empty());
    block_on(raise(&store, vec![raised(AlarmKind::CountryCapped, "TJ")]));
    desk.run(&arguments).expect(1).shows("a country reached its cap, TJ");
}

#[test]
fn serve_delivers_alarms_while_it_sends_and_counts_those_that_stand() {
    let world = World::new();
    let engine = world.engine();
    let listener = Listener::new([Act::Silence]);
    block_on(raise(engine.store(), vec![raised(AlarmKind::Detector, "TJ"), raised(AlarmKind::Ceiling80, "")]));
    let az = block_on(engine.alarms(false)).unwrap().iter().find(|alarm| alarm.about.is_empty()).unwrap().id;
    let work = smsotp::engine::Work { every: Duration::from_millis(5), purge_every: None };
    let settings = smsotp::http::ServerSettings { work: Some(work), ..crate::window::settings() };
    let window = Window::with(&world, listener.behind(&engine), settings);
    // The one that gets no answer keeps the other waiting, and nobody else.
    while listener.got().len() < 2 {
        assert_eq!(window.get("/readyz", "").status, 200);
    }
    block_on(engine.ack_alarm(&caller(), az, "known")).unwrap();

    let metrics = window.get("/metrics", "").body;

    let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with("smsotp_alarms{")).collect();
    assert_eq!(lines.len(), 2, "{metrics}");
    for labels in
        [r#"kind="detector",country="TJ",acknowledged="false""#, r#"kind="ceiling_80",country="",acknowledged="true""#]
    {
        assert!(lines.iter().any(|line| *line == format!("smsotp_alarms{{{labels}}} 1")), "{lines:?}");
    }
}

#[test]
fn test_twilio_warns_of_a_balance_below_a_day_of_codes() {
    let world = World::new();
    let check = |day| {
        let options = smsotp::provider::twilio::checks::CheckOptions { day, ..Default::default() };
        let checks = block_on(world.twilio().checks(&options));
        checks.into_iter().find(|check| check.name == "balance").unwrap()
    };
    assert_eq!(check(Some(Money(19_000_000))).mark, smsotp::check::Mark::Ok);
    let low = check(Some(Money(25_000_000)));
    assert_eq!(
        (low.mark, low.meaning.as_str()),
        (smsotp::check::Mark::Warn, "Less than a day of codes costs (25.00 US$)")
    );
    assert_eq!(check(None).mark, smsotp::check::Mark::Ok);
}
