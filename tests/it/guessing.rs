//! Somebody with accounts, purposes, addresses and time guesses as often as the limits let them: never more often than
//! `limits show --risk` says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smsotp::clock::Timestamp;
use smsotp::code::Code;
use smsotp::engine::{Caller, Engine, SendAnswer, SendOtp, Step, Verdict, VerifyOtp};
use smsotp::limits::{Limits, PurposeLimits, Window};
use smsotp::otp::User;
use smsotp::policy::Policy;
use smsotp::purpose::{BUILT_IN, Purpose};
use smsotp::risk::Risks;
use smsotp::sandbox::Fault;

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{PHONE, World, ask, block_on, caller, client, dispatch, guess, revoke, send, unlimited, verdict};

on_every_store![
    no_attack_on_one_phone_is_better_than_the_risk_that_is_shown,
    budgets_bound_an_attack_where_messages_hardly_do,
    while_the_provider_is_down_no_more_guesses_can_be_made,
    no_attack_from_one_address_is_better_than_the_risk_that_is_shown,
    no_attack_on_all_phones_is_better_than_the_risk_that_is_shown,
];

const DAY: Duration = Duration::from_secs(86_400);
/// Less than the life of a code.
const ALMOST: Duration = Duration::from_secs(599);

/// Somebody who is after one phone.
struct Attacker<'a> {
    database: &'a Database,
    engine: Engine,
    /// Accounts. The last one has verified the phone: it goes on where the others are stopped.
    users: Vec<&'static str>,
    /// The moments at which a wrong code was compared with a live one.
    guesses: Vec<Timestamp>,
}

impl Attacker<'_> {
    async fn of(database: &Database) -> Attacker<'_> {
        let engine = database.engine().await;
        Attacker { database, engine, users: vec!["eve", "mallory", "", "ada"], guesses: Vec::new() }
    }

    fn callers() -> [Caller; 2] {
        [caller(), Caller { known: true, ..caller() }]
    }

    /// Has a new code sent for any account and purpose that still may have one; else says how long to wait.
    async fn another_code(&self) -> Result<(User, Purpose), Duration> {
        let mut wait = DAY;
        for caller in Attacker::callers() {
            for user in &self.users {
                for purpose in BUILT_IN {
                    let user = User::parse(user).unwrap();
                    let purpose = Purpose::parse(purpose).unwrap();
                    let ask = SendOtp { user: user.clone(), purpose: purpose.clone(), new_code: true, ..ask(PHONE) };
                    match self.engine.send(&caller, ask).await.unwrap() {
                        SendAnswer::Sent(_) => return Ok((user, purpose)),
                        SendAnswer::Refused(no) => {
                            wait = wait.min(Duration::from_secs(no.retry_after_seconds.unwrap_or(86_400)));
                        }
                    }
                }
            }
        }
        Err(wait)
    }

    /// Guesses at the live code of this account and purpose until it is locked, now as one caller and now as the other.
    async fn guess_all(&mut self, (user, purpose): (User, Purpose)) {
        for nth in 0.. {
            let code = Code::parse(&format!("{nth:06}")).unwrap();
            let ask = VerifyOtp { user: user.clone(), purpose: purpose.clone(), ..guess(PHONE, &code) };
            match self.engine.verify(&Attacker::callers()[nth % 2], ask).await.unwrap().verdict {
                Verdict::WrongCode { .. } => self.guesses.push(self.database.now()),
                _ => return,
            }
        }
    }

    /// Holds as many live codes as can be had, and guesses at them at the end of their lives. Then asks whenever it is allowed
    /// to, and guesses at once.
    async fn attack(&mut self, days: u32) {
        let mut held = Vec::new();
        while let Ok(code) = self.another_code().await {
            held.push(code);
        }
        self.database.clock.advance(ALMOST);
        for code in held {
            self.guess_all(code).await;
        }
        let end = self.database.now() + DAY * days;
        while self.database.now() < end {
            match self.another_code().await {
                Ok(code) => self.guess_all(code).await,
                Err(wait) => self.database.clock.advance(wait),
            }
        }
    }

    /// The most guesses in any day.
    fn most(&self) -> u64 {
        let in_day = |from: &Timestamp| self.guesses.iter().filter(|at| *at >= from && **at < *from + DAY).count();
        self.guesses.iter().map(in_day).max().unwrap_or(0) as u64
    }
}

async fn no_attack_on_one_phone_is_better_than_the_risk_that_is_shown(database: &mut Database) {
    // The defaults; a longer life; a purpose that takes more guesses.
    let mut longer = Policy::default();
    longer.purposes.get_mut(&Purpose::parse("login").unwrap()).unwrap().ttl = Duration::from_secs(3600);
    let mut more = Policy::default();
    let own = PurposeLimits { guesses_per_otp: Some(8), ..PurposeLimits::default() };
    more.limits.purposes.insert("registration".to_owned(), own);
    for (nth, policy) in [Policy::default(), longer, more].into_iter().enumerate() {
        // What the attack before left behind counts no more.
        database.advance(100 * 86_400);
        database.policy = policy;
        let shown = Risks::of(&database.policy).phone_a_day.unwrap();
        let mut attacker = Attacker::of(database).await;
        send(&attacker.engine, PHONE).await;
        assert_eq!(verdict(&attacker.engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
        database.advance(86_400);
        attacker.attack(2).await;
        let made = attacker.most();
        assert!(made <= shown, "{nth}: {made} guesses in a day, shown are {shown}");
        // And what is shown is no fright: this attack comes near to it.
        assert!(made * 2 >= shown, "{nth}: {made} guesses in a day, shown are {shown}");
    }
}

async fn budgets_bound_an_attack_where_messages_hardly_do(database: &mut Database) {
    let phone = vec![Window::new(3, 600)];
    database.policy.limits = Limits { cooldown: Vec::new(), user: Vec::new(), phone, ..Limits::default() };
    let shown = Risks::of(&database.policy).phone_a_day.unwrap();
    assert_eq!(shown, 4 * 29);
    let mut attacker = Attacker::of(database).await;
    send(&attacker.engine, PHONE).await;
    assert_eq!(verdict(&attacker.engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
    database.advance(86_400);
    attacker.attack(1).await;
    let made = attacker.most();
    assert!(made <= shown && made * 2 >= shown, "{made} guesses in a day, shown are {shown}");
}

async fn while_the_provider_is_down_no_more_guesses_can_be_made(database: &mut Database) {
    // A message that is surely unsent is given back, but not one whose code was guessed at: while it is being sent, or later,
    // while nobody knows what became of it.
    database.policy.limits = Limits { phone: vec![Window::new(2, 86_400)], ..unlimited() };
    for (nth, fault) in [Fault::Code(30_001), Fault::Error500].into_iter().enumerate() {
        database.sandbox.fault(fault.clone(), 1000);
        let to = phone(nth);
        let (other, made) = (database.engine().await, Arc::new(AtomicU64::new(0)));
        let (target, counted) = (to.clone(), Arc::clone(&made));
        let engine = database.engine().await.on_step(move |step| {
            if step != Step::Handing {
                return;
            }
            let (other, target) = (other.clone(), target.clone());
            let guesses = std::thread::spawn(move || {
                block_on(async {
                    let mut wrong = 0;
                    for nth in 0..4 {
                        let code = Code::parse(&format!("{nth:06}")).unwrap();
                        wrong += u64::from(matches!(verdict(&other, &target, &code).await, Verdict::WrongCode { .. }));
                    }
                    wrong
                })
            });
            counted.fetch_add(guesses.join().unwrap(), Ordering::SeqCst);
        });
        for _ in 0..6 {
            let asked = engine.send(&caller(), SendOtp { new_code: true, ..ask(&to) }).await.unwrap();
            if matches!(asked, SendAnswer::Refused(_)) {
                break;
            }
            // Two looks ten minutes apart find no message at the provider: it was never accepted.
            for _ in 0..3 {
                database.advance(700);
                dispatch(&engine).await;
            }
        }
        let made = made.load(Ordering::SeqCst);
        assert!((4..=8).contains(&made), "{fault:?}: {made}");
    }
}

async fn no_attack_from_one_address_is_better_than_the_risk_that_is_shown(database: &mut Database) {
    database.policy.limits =
        Limits { guesses_per_ip: vec![Window::new(4, 3600), Window::new(30, 86_400)], ..unlimited() };
    let shown = Risks::of(&database.policy).address_a_day.unwrap();
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let (end, code) = (database.now() + DAY, Code::parse("000000").unwrap());
    let mut made = 0;
    while database.now() < end {
        // At phones with a code and without, all from the same 64 bits of an address.
        let to = if made % 3 == 0 { PHONE.to_owned() } else { phone(made as usize) };
        let from = client(&format!("2001:db8::{made:x}"));
        match engine.verify(&from, guess(&to, &code)).await.unwrap().verdict {
            Verdict::TooManyGuesses(hit) => database.advance(hit.retry_after_seconds.unwrap()),
            _ => made += 1,
        }
    }
    assert_eq!((made, shown), (30, 30));
}

async fn no_attack_on_all_phones_is_better_than_the_risk_that_is_shown(database: &mut Database) {
    database.policy.limits = Limits { everything: vec![Window::new(8, 86_400)], ..unlimited() };
    let shown = Risks::of(&database.policy).fleet_a_day.unwrap();
    assert_eq!(shown, 5 * 16);
    let engine = database.engine().await;
    let (end, mut guesses) = (database.now() + DAY * 2, Vec::new());
    let mut nth = 0;
    while database.now() < end {
        let to = phone(nth);
        nth += 1;
        match engine.send(&caller(), ask(&to)).await.unwrap() {
            SendAnswer::Refused(no) => database.advance(no.retry_after_seconds.unwrap()),
            SendAnswer::Sent(_) => {
                // The first ones are held until just before they end.
                let held = if nth == 8 {
                    (0..8).collect()
                } else if nth < 8 {
                    vec![]
                } else {
                    vec![nth - 1]
                };
                if nth == 8 {
                    database.clock.advance(ALMOST);
                }
                for of in held {
                    for code in ["000000", "000001", "000002", "000003", "000004"] {
                        let code = Code::parse(code).unwrap();
                        if matches!(verdict(&engine, &phone(of), &code).await, Verdict::WrongCode { .. }) {
                            guesses.push(database.now());
                        }
                    }
                }
            }
        }
    }
    let in_day = |from: &Timestamp| guesses.iter().filter(|at| *at >= from && **at < *from + DAY).count();
    let most = guesses.iter().map(in_day).max().unwrap() as u64;
    assert!(most <= shown && most >= shown / 2, "{most} guesses in a day, shown are {shown}");
}

/// Time is what a caller can measure, and what takes time is the pages that a commit writes.
#[test]
fn a_wrong_code_writes_as_many_pages_with_a_code_as_without_one() {
    let mut world = World::unlimited();
    // The live code stays live.
    world.policy.limits.guesses_per_otp = 0;
    let engine = world.engine();
    let wal = world.dir.path().join("smsotp.db-wal");
    let pages = || std::fs::metadata(&wal).unwrap().len() / 4096;
    let (never, live, used, revoked) = (phone(1), phone(2), phone(3), phone(4));
    block_on(async {
        for to in [&live, &used, &revoked] {
            send(&engine, to).await;
        }
        assert_eq!(verdict(&engine, &used, &world.code_on(&used)).await, Verdict::Verified);
        revoke(&engine, &revoked).await;
        let wrong = World::wrong(&world.code_on(&live));
        let kinds = [(&never, "NotFound"), (&live, "WrongCode"), (&used, "AlreadyUsed"), (&revoked, "Revoked")];
        let mut written = [const { Vec::new() }; 4];
        for round in 0..12 {
            for (nth, (to, kind)) in kinds.iter().enumerate() {
                let before = pages();
                let verdict = format!("{:?}", verdict(&engine, to, &wrong).await);
                assert!(verdict.starts_with(kind), "{verdict}, not {kind}");
                // At first there are rows to be made.
                if round > 0 {
                    written[nth].push(pages() - before);
                }
            }
        }
        // Now and then a row of the audit log begins a new page.
        let median = written.clone().map(|mut pages| {
            pages.sort_unstable();
            pages[pages.len() / 2]
        });
        // Of a phone that nobody asked for no row is kept: that is one page less, a fiftieth of the time at most.
        let [never, others @ ..] = median;
        assert!(never > 3 && others == [others[0]; 3] && others[0] - never <= 1, "{written:?}");
    });
}
