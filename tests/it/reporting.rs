//! What `report` says is what happened: each ask is counted once, as far as it got, on every store, and stays counted when what it was
//! about is deleted.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use smsotp::abuse::GuardPolicy;
use smsotp::engine::Verdict;
use smsotp::money::Money;
use smsotp::provider::console::Console;
use smsotp::purpose::Purpose;
use smsotp::report::{By, Funnel, Only, Report};
use smsotp::sandbox::{Fault, Options};

use crate::desk::Desk;
use crate::stores::{Database, on_every_store};
use crate::world::{ask, caller, dispatch_all, login, purge, refusal, revoke, send, send_as, verdict};

on_every_store![
    an_ask_is_counted_once_as_far_as_it_got,
    a_message_that_moves_on_is_counted_where_it_is,
    what_is_purged_stays_counted_for_two_years,
    a_code_that_nobody_reports_is_no_part_of_the_conversion_until_somebody_does,
    what_another_provider_takes_on_is_counted_with_that_one,
    what_many_do_at_once_is_all_counted,
    a_report_is_about_the_hours_and_the_kind_that_were_asked_for,
];

const NUMBERS: [&str; 3] = ["+14155550101", "+14155550202", "+4915112345678"];

async fn reported(database: &Database, only: &Only) -> Report {
    let now = database.now();
    database.engine().await.funnel(now - Duration::from_secs(30 * 86_400), now, only).await.unwrap()
}

async fn whole(database: &Database) -> Funnel {
    reported(database, &Only::default()).await.whole
}

async fn an_ask_is_counted_once_as_far_as_it_got(database: &mut Database) {
    let engine = database.engine().await;
    for phone in NUMBERS {
        send(&engine, phone).await;
    }
    refusal(&engine, NUMBERS[0]).await;
    refusal(&engine, NUMBERS[0]).await;
    database.clock.advance(Duration::from_secs(40));
    let code = database.code_on(NUMBERS[0]);
    assert_eq!(verdict(&engine, NUMBERS[0], &code).await, Verdict::Verified);
    assert_eq!(verdict(&engine, NUMBERS[0], &code).await, Verdict::AlreadyUsed);
    // The same code once more is another message and no other code.
    send(&engine, NUMBERS[1]).await;

    let report = reported(database, &Only::default()).await;

    let all = &report.whole;
    assert_eq!((all.asked, all.refused, all.messages, all.codes), (6, 2, 4, 3));
    assert_eq!((all.accepted, all.unknown, all.failed, all.verified), (4, 0, 0, 1));
    assert_eq!(all.cost, Money(3 * 8_300 + 110_000));
    assert_eq!(all.conversion().map(f64::round), Some(33.0));
    // Between 30 and 60 seconds is all that is kept of it.
    assert_eq!(all.time_to_verify(), Some(45.0));
    assert_eq!(
        report.refusals.iter().map(|(why, count)| (why.as_str(), *count)).collect::<Vec<_>>(),
        [("cooldown", 2)]
    );
    let countries: Vec<_> =
        report.by(By::Country).iter().map(|(name, part)| (*name, part.messages, part.verified)).collect();
    assert_eq!(countries, [("US", 3, 1), ("DE", 1, 0)]);
    for by in By::ALL {
        let parts = report.by(*by);
        assert_eq!(parts.iter().map(|(_, part)| part.asked).sum::<u64>(), 6, "{by:?}");
    }
}

async fn a_message_that_moves_on_is_counted_where_it_is(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await.polling(Duration::from_secs(5));
    // One is lost on its way back, and found; one is refused; one is delivered; one comes to nothing.
    database.sandbox.fault(Fault::Error500AfterAccepting, 1);
    send(&engine, NUMBERS[0]).await;
    let all = whole(database).await;
    assert_eq!((all.messages, all.unknown, all.accepted), (1, 1, 0));
    database.clock.advance(Duration::from_secs(31));
    dispatch_all(&engine).await;
    let all = whole(database).await;
    assert_eq!((all.messages, all.unknown, all.accepted), (1, 0, 1), "it was found: {all:?}");

    database.sandbox.fault(Fault::Code(21211), 1);
    let refused = send(&engine, NUMBERS[1]).await;
    assert!(refused.failure().is_some());
    let report = reported(database, &Only::default()).await;
    assert_eq!((report.whole.messages, report.whole.failed), (2, 1));
    assert_eq!(report.failures.keys().copied().collect::<Vec<_>>(), [Some(21211)]);
    assert_eq!(report.whole.cost, Money(8_300), "what was not sent costs nothing");

    let found = database.word("SELECT provider_id FROM messages WHERE provider_id IS NOT NULL");
    database.sandbox.set_status(&found, "delivered", None);
    let lost = send(&engine, NUMBERS[2]).await;
    database.sandbox.set_status(lost.provider_id.as_ref().unwrap(), "undelivered", Some(30_003));
    database.clock.advance(Duration::from_secs(4));
    dispatch_all(&engine).await;
    let report = reported(database, &Only::default()).await;
    let all = &report.whole;
    assert_eq!((all.accepted, all.delivered, all.failed), (2, 1, 2), "what came to nothing was taken all the same");
    // 35 seconds, of which is kept that it was more than 30 and at most 60.
    assert_eq!(all.time_to_deliver(), Some(45.0));
    assert_eq!(report.failures.keys().copied().collect::<Vec<_>>(), [Some(21211), Some(30003)]);
    let cost = database.number("SELECT sum(coalesce(settled, price)) FROM messages");
    assert_eq!(all.cost, Money(cost), "as the provider says it");
}

async fn what_is_purged_stays_counted_for_two_years(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, NUMBERS[0]).await;
    assert_eq!(verdict(&engine, NUMBERS[0], &database.code_on(NUMBERS[0])).await, Verdict::Verified);
    let before = whole(database).await;

    database.clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(purge(&engine, Duration::from_secs(3600)).await.purged.messages, 1);

    assert_eq!(database.number("SELECT count(*) FROM messages"), 0);
    assert_eq!(whole(database).await, before);
    database.clock.advance(Duration::from_secs(757 * 86_400));
    assert_eq!(purge(&engine, Duration::from_secs(3600)).await.purged.sums, 0);
    database.clock.advance(Duration::from_secs(3 * 86_400));
    assert_eq!(purge(&engine, Duration::from_secs(3600)).await.purged.sums, 1);
    assert_eq!(database.number("SELECT count(*) FROM sums"), 0);
}

async fn a_code_that_nobody_reports_is_no_part_of_the_conversion_until_somebody_does(database: &mut Database) {
    database.policy.guard = GuardPolicy { conversion_unknown: [login()].into(), ..database.policy.guard.clone() };
    let engine = database.engine().await;
    let first = send(&engine, NUMBERS[0]).await;
    send(&engine, NUMBERS[1]).await;
    let all = whole(database).await;
    assert_eq!((all.codes, all.unreported, all.conversion()), (2, 2, None));

    engine.proven(&caller(), first.otp_id).await.unwrap();
    engine.proven(&caller(), first.otp_id).await.unwrap();

    let all = whole(database).await;
    assert_eq!((all.codes, all.unreported, all.verified, all.conversion()), (2, 1, 1, Some(100.0)));
    assert_eq!(all.time_to_verify(), None, "nobody entered it");
    assert_eq!(revoke(&engine, NUMBERS[1]).await, 1);
    assert_eq!(whole(database).await.verified, 1, "what is revoked is not verified");
}

async fn what_another_provider_takes_on_is_counted_with_that_one(database: &mut Database) {
    database.policy.guard = GuardPolicy { conversion_unknown: [login()].into(), ..database.policy.guard.clone() };
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 1);
    let waiting = send(&engine, NUMBERS[0]).await;
    database.clock.advance(Duration::from_secs(61));

    let engine = engine.with_provider(Arc::new(Console::new("x", |_: &str| {})));
    let sent = send(&engine, NUMBERS[0]).await;
    engine.proven(&caller(), sent.otp_id).await.unwrap();

    assert_eq!(sent.message_id, waiting.message_id);
    let report = reported(database, &Only::default()).await;
    let of = |part: &Funnel| (part.messages, part.codes, part.unreported, part.accepted, part.verified);
    let parts: Vec<_> = report.by(By::Provider).iter().map(|(name, part)| (*name, of(part))).collect();
    assert_eq!(parts, [("console", (1, 1, 0, 1, 1))]);
}

async fn what_many_do_at_once_is_all_counted(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let phones: Vec<String> = (0..48).map(|n| format!("+1415{:03}{:04}", 200 + n, 1000 + n)).collect();
    futures_util::future::join_all(phones.iter().map(|phone| send(&engine, phone))).await;
    let codes: Vec<_> = phones.iter().map(|phone| (phone, database.code_on(phone))).collect();
    let verdicts = codes.iter().map(|(phone, code)| verdict(&engine, phone, code));
    assert!(futures_util::future::join_all(verdicts).await.iter().all(|verdict| *verdict == Verdict::Verified));

    let all = whole(database).await;

    assert_eq!((all.asked, all.messages, all.codes, all.accepted, all.verified), (48, 48, 48, 48, 48));
    assert_eq!(all.cost, Money(48 * 8_300));
}

async fn a_report_is_about_the_hours_and_the_kind_that_were_asked_for(database: &mut Database) {
    let engine = database.engine().await;
    let begun = database.now();
    send(&engine, NUMBERS[0]).await;
    send_as(
        &engine,
        &caller(),
        smsotp::engine::SendOtp { purpose: Purpose::parse("registration").unwrap(), ..ask(NUMBERS[2]) },
    )
    .await;
    database.clock.advance(Duration::from_secs(2 * 3600));
    send(&engine, NUMBERS[1]).await;
    // It belongs to the hour of the ask.
    database.clock.advance(Duration::from_secs(300));
    assert_eq!(verdict(&engine, NUMBERS[1], &database.code_on(NUMBERS[1])).await, Verdict::Verified);
    let now = database.now();
    let of = async |since, until, only| engine.funnel(since, until, &only).await.unwrap().whole;
    let hour = Duration::from_secs(3600);

    assert_eq!(of(begun, begun + hour, Only::default()).await.messages, 2);
    assert_eq!(of(now - Duration::from_secs(600), now, Only::default()).await.verified, 1);
    assert_eq!(of(begun, now, Only { country: Some("DE".to_owned()), ..Only::default() }).await.messages, 1);
    assert_eq!(of(begun, now, Only { purpose: Some("login".to_owned()), ..Only::default() }).await.messages, 2);
    assert_eq!(of(begun, now, Only { provider: Some("console".to_owned()), ..Only::default() }).await.messages, 0);
    assert_eq!(of(begun - hour * 48, begun - hour, Only::default()).await.asked, 0);
}

#[test]
fn the_command_line_reports_and_fails_where_a_condition_holds() {
    let (desk, _sandbox) = Desk::with_sandbox(Options::default());
    // Nothing was asked for, and there is no database: that is an answer.
    desk.run("report -o table").expect(0).shows("Nobody asked for a code");
    desk.run("send +14155550101 --purpose login -q").expect(0);
    desk.run("send +14155550101 --purpose login -q").expect(75);
    desk.run("send +4915112345678 -q").expect(0);

    let page = desk
        .run("report -o table")
        .expect(0)
        .shows("asked      3       100.0 %")
        .shows("refused    1       33.3 %")
        .shows("0.0 % of 2 codes were entered")
        .shows("0.12 US$");
    page.shows("COUNTRY").shows("REFUSED BY  ASKS\ncooldown    1\n");
    let json: Value = serde_json::from_str(&desk.run("report --json").expect(0).out).unwrap();
    assert_eq!(
        (&json["kind"], &json["asked"], &json["conversion_percent"]),
        (&"report".into(), &3.into(), &0.0.into())
    );
    assert_eq!(json["parts"].as_array().unwrap().iter().filter(|part| part["by"] == "country").count(), 2);
    let csv = desk.run("report --by country -o csv").expect(0).out;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 4, "{csv}");
    assert!(lines[0].starts_with("by,name,asked,refused,") && lines[2].starts_with("country,US,2,1,1,1,"), "{csv}");

    let silent = desk.run_args(["report", "--fail-if", "cost>50", "--fail-if", "failed>5%", "-o", "table"]).expect(0);
    assert_eq!((silent.out.as_str(), silent.err.as_str()), ("", ""), "cron mails what is printed");
    let loud =
        desk.run_args(["report", "--fail-if", "conversion<60%", "--fail-if", "messages<3", "-o", "table"]).expect(1);
    assert!(loud.out.contains("COUNTRY"), "{}", loud.out);
    let why = "error: conversion is 0.0 % (0 of 2 codes): below 60.0 %; messages is 2: below 3";
    assert!(loud.err.starts_with(why), "{}", loud.err);
    let json = desk.run_args(["report", "--fail-if", "asked>=3", "--json"]).expect(1);
    assert!(json.out.contains("asked is 3: at least 3") && json.err.contains("\"condition_holds\""), "{json:?}");
    // Of a country of its own.
    desk.run_args(["report", "--country", "de", "--fail-if", "asked>1"]).expect(0);
    for wrong in [
        "conversion",
        "conversion<",
        "conversion<x",
        "conversion<101%",
        "cost>5%",
        "cost<-1",
        "no<1",
        "asked=1",
        "cost>inf",
    ] {
        let said = desk.run_args(["report", "--fail-if", wrong]).expect(65);
        assert!(said.err.contains("Write it like"), "{}", said.err);
    }
    desk.run("report --since 2h --until 3h").expect(65).says("--since is not before --until");
    desk.run("report --country XX").expect(65);
    desk.run("report --purpose logn").expect(65).says("Did you mean login?");
    desk.run("report --provider twilo").expect(2);
    desk.run("report --html /nowhere/report.html").expect(74);
}

/// A page that loads the report in frames of two widths and writes down what it sees there.
const LOOKER: &str = r##"<!doctype html><body><script>
const seen = [];
function look(width) {
  return new Promise(done => {
    const frame = document.createElement('iframe');
    frame.style.cssText = `width: ${width}px; height: 4000px; border: 0`;
    frame.src = 'report.html';
    frame.onload = () => {
      const page = frame.contentDocument, style = frame.contentWindow.getComputedStyle(page.body);
      const bars = [...page.querySelectorAll('svg rect[fill="#2F6FB5"]')].filter(bar => bar.getBoundingClientRect().height > 5);
      const bar = bars.length ? frame.contentWindow.getComputedStyle(bars[0]).fill : '';
      seen.push([width, page.documentElement.scrollWidth, style.backgroundColor, bar, bars.length, page.scripts.length].join(' '));
      done();
    };
    document.body.append(frame);
  });
}
look(360).then(() => look(1280)).then(() => { document.title = 'looked'; document.body.textContent = seen.join('\n'); });
</script></body>"##;

#[test]
fn the_page_needs_no_script_fits_a_phone_and_is_dark_where_its_reader_is() {
    let (desk, _sandbox) = Desk::with_sandbox(Options::default());
    desk.run_args(["send", "+14155550101", "-q"]).expect(0);
    desk.run_args(["send", "+4915112345678", "--user", "<script>alert(1)</script>", "-q"]).expect(0);
    desk.run("report --html report.html -q").expect(0);
    let page = std::fs::read_to_string(desk.cwd().join("report.html")).unwrap();
    for needle in ["<script", "http://", "https://", "src=", "@import"] {
        let plain = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!plain.contains(needle), "the page contains {needle}");
    }
    let Some(browser) =
        ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| is_there(&desk, name))
    else {
        return crate::pg::skipped("no Chromium: the page of a report was not looked at");
    };
    let looker = desk.write("look.html", LOOKER);
    let look = |dark: bool| {
        let mut command = desk.program(browser);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom"]);
        command.arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)));
        command.arg(format!("--user-data-dir={}", desk.tmp().join("chromium").display()));
        let seen = command.arg(format!("file://{}", looker.display())).output().unwrap();
        String::from_utf8_lossy(&seen.stdout).into_owned()
    };
    let (light, dark) = (look(false), look(true));

    for (seen, paper, bar) in
        [(&light, "rgb(255, 255, 255)", "rgb(47, 111, 181)"), (&dark, "rgb(22, 24, 28)", "rgb(111, 168, 230)")]
    {
        for width in [360, 1280] {
            let line = format!("{width} {width} {paper} {bar} 2 0");
            assert!(seen.contains(&line), "no \"{line}\" in {seen}");
        }
    }
}

fn is_there(desk: &Desk, program: &str) -> bool {
    desk.program(program).arg("--version").output().is_ok_and(|ran| ran.status.success())
}
