//! Twilio in every kind of trouble: the exit code, what the database says afterwards, and what the next `send` and `dispatch` do.
#![cfg(unix)]

use std::time::Duration;

use smsotp::sandbox::{Fault, On, Options, Pace, Sandbox};

use super::desk::{Desk, signal, wait};

const PHONE: &str = "+14155552671";

fn scene() -> (Desk, Sandbox) {
    Desk::with_sandbox(Options::default())
}

/// The state of the newest code's newest message.
#[track_caller]
fn message_state(desk: &Desk) -> String {
    let timeline = desk.run(&format!("show {PHONE} --no-refresh --json")).expect(0).json("timeline");
    let messages = timeline["messages"].as_array().unwrap();
    format!("{} {}", timeline["otp"]["state"].as_str().unwrap(), messages.last().unwrap()["state"].as_str().unwrap())
}

/// Makes what is due later due now: processes have no clock that can be moved.
fn make_due(desk: &Desk) {
    let database = rusqlite::Connection::open(desk.db()).unwrap();
    database.execute("UPDATE messages SET due_at = 1 WHERE due_at IS NOT NULL", []).unwrap();
}

#[test]
fn each_fault_has_its_exit_code_and_its_place_in_the_database() {
    use Fault::*;
    let surely_not = ["failed failed"];
    let maybe = ["active unknown"];
    let waits = ["active queued"];
    let ended = |status: &str, error_code| Ended { status: status.into(), error_code };
    let cases: [(Fault, i32, &str, [&str; 1]); 24] = [
        (Unauthorized, 78, "provider_config", surely_not),
        (Redirect("http://127.0.0.1:1/".into()), 78, "provider_config", surely_not),
        (Code(21211), 69, "provider_refused", surely_not),
        (Code(30001), 69, "provider_refused", surely_not),
        (Problem(21211), 69, "provider_refused", surely_not),
        (Denied { status: 403, code: Some(60410) }, 77, "provider_forbids", surely_not),
        (Denied { status: 403, code: Some(60205) }, 77, "provider_forbids", surely_not),
        (Denied { status: 403, code: Some(20403) }, 78, "provider_config", surely_not),
        (Code(21610), 77, "opted_out", surely_not),
        (ended("failed", Some(30008)), 69, "provider_refused", ["failed failed"]),
        (ended("undelivered", Some(30003)), 69, "provider_refused", ["failed undelivered"]),
        (Status429 { retry_after: Some(120) }, 75, "provider_busy", waits),
        (Status429 { retry_after: None }, 75, "provider_busy", waits),
        (Status503 { retry_after: Some(120) }, 75, "provider_busy", waits),
        (Error500, 76, "maybe_sent", maybe),
        (Error503, 76, "maybe_sent", maybe),
        (HtmlPage(502), 76, "maybe_sent", maybe),
        (HugeBody, 76, "maybe_sent", maybe),
        (MalformedJson, 76, "maybe_sent", maybe),
        (NoSid, 76, "maybe_sent", maybe),
        (HalfAnswer, 76, "maybe_sent", maybe),
        (Reset, 76, "maybe_sent", maybe),
        (Hang, 76, "maybe_sent", maybe),
        (Trickle(Duration::from_secs(60)), 76, "maybe_sent", maybe),
    ];
    std::thread::scope(|scope| {
        for (fault, exit, code, [state]) in cases {
            scope.spawn(move || {
                let (desk, sandbox) = scene();
                sandbox.fault(fault.clone(), 100);

                let ran = desk.run(&format!("send {PHONE} --timeout 2s --json"));

                assert_eq!(ran.code(), exit, "{fault:?}: {ran:?}");
                let error = ran.error(code);
                assert!(ran.out.is_empty() && error["hint"].is_string(), "{fault:?}: {ran:?}");
                assert_eq!(error["details"]["otp_id"], "1", "{fault:?}");
                if let Status429 { retry_after } | Status503 { retry_after } = &fault {
                    let wait = error["retry_after_seconds"].as_u64().unwrap();
                    assert!(retry_after.map_or(wait <= 4, |told| wait == told), "{fault:?}: {error}");
                    assert!(error["details"]["provider_code"].is_u64(), "{error}");
                }
                assert!(!error["message"].as_str().unwrap().contains("<html>"), "{error}");
                assert_eq!(message_state(&desk), state, "{fault:?}");
                desk.run("db check").expect(0);
            });
        }
    });
}

#[test]
fn what_surely_was_not_sent_costs_nothing_and_the_next_ask_sends() {
    let (desk, sandbox) = scene();
    sandbox.fault(Fault::Code(21211), 1);

    desk.run(&format!("send {PHONE}")).expect(69).says("smsotp explain 21211");
    assert!(
        !desk
            .run(&format!("limits show {PHONE}"))
            .expect(0)
            .rows()
            .iter()
            .any(|row| row[1] == "phone" && row[3] != "0")
    );
    desk.run(&format!("send {PHONE}")).expect(0);

    assert_eq!(sandbox.messages().len(), 1);
    let code = desk.run("sandbox inbox --code").expect(0).out;
    desk.pipe(&format!("verify {PHONE} -"), code).expect(0);
}

#[test]
fn a_busy_twilio_is_asked_again_within_the_time_that_is_given() {
    let (desk, sandbox) = scene();
    sandbox.fault(Fault::Status429 { retry_after: None }, 1);

    desk.run(&format!("send {PHONE} --timeout 20s")).expect(0);

    assert_eq!(sandbox.messages().len(), 1);
    assert_eq!(desk.run("show 1 --json").expect(0).json("timeline")["messages"][0]["attempts"], 2);
}

#[test]
fn a_message_that_may_be_out_is_found_and_never_sent_twice() {
    let (desk, sandbox) = scene();
    sandbox.fault(Fault::Error500AfterAccepting, 1);

    desk.run(&format!("send {PHONE}")).expect(76).says("smsotp dispatch");
    make_due(&desk);
    let dispatched = desk.run("dispatch --json").expect(0).json("dispatched");

    assert_eq!((dispatched["looked_at"].as_u64(), dispatched["found"].as_u64()), (Some(1), Some(1)), "{dispatched}");
    assert_eq!(sandbox.messages().len(), 1);
    assert!(["active accepted", "active sent", "active delivered"].contains(&message_state(&desk).as_str()));
    let code = desk.run("sandbox inbox --code").expect(0).out;
    desk.pipe(&format!("verify {PHONE} -"), code).expect(0);
}

#[test]
fn the_next_ask_finds_the_message_itself_and_waits_out_the_pause() {
    let (desk, sandbox) = scene();
    sandbox.fault(Fault::Error500AfterAccepting, 1);
    desk.run(&format!("send {PHONE}")).expect(76);

    desk.run(&format!("send {PHONE}")).expect(75).says("cooldown");

    assert_eq!(sandbox.messages().len(), 1);
    desk.run("db check").expect(0);
}

#[test]
fn a_code_whose_answer_was_lost_verifies_all_the_same() {
    let (desk, sandbox) = scene();
    sandbox.fault(Fault::ResetAfterAccepting, 1);

    desk.run(&format!("send {PHONE}")).expect(76);

    let code = desk.run("sandbox inbox --code").expect(0).out;
    desk.pipe(&format!("verify {PHONE} -"), code).expect(0);
}

#[test]
fn an_address_where_nobody_listens_or_that_has_no_name_is_unreachable() {
    let mut desk = Desk::bare();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    desk.set("TWILIO_ACCOUNT_SID", format!("AC{}", "0".repeat(32)))
        .set("TWILIO_AUTH_TOKEN", "1".repeat(32))
        .set("TWILIO_PHONE_NUMBER", "+15005550006");

    desk.set("TWILIO_API_BASE_URL", format!("http://{closed}"));
    let ran = desk.run(&format!("send {PHONE} --timeout 1s --json")).expect(69);
    assert!(ran.error("provider_unreachable")["message"].as_str().unwrap().contains("refused"), "{ran:?}");
    assert_eq!(message_state(&desk), "failed failed");
    desk.run("test-twilio").expect(1).shows("fail\tconnection");

    desk.set("TWILIO_API_BASE_URL", "https://twilio.invalid");
    desk.run(&format!("send {PHONE} --timeout 1s --json")).expect(69).error("provider_unreachable");
    desk.run("test-twilio").expect(1).shows("fail\tconnection");
    desk.run("dispatch").expect(0);
}

#[test]
fn who_opted_out_gets_nothing_more_until_staff_takes_it_back() {
    let (desk, sandbox) = scene();
    sandbox.fault(Fault::Code(21610), 1);

    let first = desk.run(&format!("send {PHONE} --json")).expect(77);
    let second = desk.run(&format!("send {PHONE} --json")).expect(77);
    assert_eq!(first.error("opted_out")["hint"], second.error("opted_out")["hint"]);
    assert_eq!(first.error("opted_out")["details"]["provider_code"], 21610);
    desk.run(&format!("limits reset {PHONE} --opt-out --reason asked")).expect(0);
    desk.run(&format!("send {PHONE}")).expect(0);

    assert_eq!(sandbox.messages().len(), 1);
}

#[test]
fn a_provider_that_stays_busy_is_not_hammered() {
    let (desk, sandbox) = scene();
    sandbox.fault(Fault::Status429 { retry_after: None }, 100);

    desk.run(&format!("send {PHONE} --timeout 8s --json")).expect(75).error("provider_busy");
    assert!((3..=4).contains(&sandbox.requests()), "{} requests in 8 s", sandbox.requests());

    sandbox.clear_faults();
    make_due(&desk);
    assert_eq!(desk.run("dispatch --json").expect(0).json("dispatched")["sent"], 1);
    let code = desk.run("sandbox inbox --code").expect(0).out;
    desk.pipe(&format!("verify {PHONE} -"), code).expect(0);
}

#[test]
fn without_a_server_support_still_learns_what_became_of_a_message() {
    let (desk, sandbox) = Desk::with_sandbox(Options { pace: Pace::Manual, ..Options::default() });
    let lost = |to: &str| {
        desk.run(&format!("send {to}")).expect(0);
        let message = sandbox.messages().pop().unwrap();
        sandbox.set_status(&message.sid, "undelivered", Some(30003));
    };

    // `show` asks about the one at hand, unless it is not to.
    lost(PHONE);
    let timeline = |line: &str| desk.run(line).expect(0).json("timeline")["messages"][0].clone();
    assert_eq!(timeline("show 1 --no-refresh --json")["state"], "accepted");
    let asked = timeline("show 1 --json");
    assert_eq!((&asked["state"], &asked["error_code"]), (&"undelivered".into(), &30003.into()));
    assert!(asked["error"].as_str().is_some_and(|error| error.len() > 10), "{asked}");
    assert_eq!(timeline("show 1 --no-refresh --json"), asked, "it was recorded");

    // `dispatch` asks about every one, at once and not only when a server would.
    lost("+442079460000");
    lost("+442079460001");
    let dispatched = desk.run("dispatch --json").expect(0).json("dispatched");
    assert_eq!((&dispatched["looked_at"], &dispatched["found"]), (&2.into(), &2.into()), "{dispatched}");
    assert_eq!(desk.run("dispatch --json").expect(0).json("dispatched")["looked_at"], 0);

    let listed = desk.run("list --state undelivered --json").expect(0).json("otp_list");
    let deliveries: Vec<_> = listed["items"].as_array().unwrap().iter().map(|row| row["delivery"].clone()).collect();
    assert_eq!(deliveries, ["undelivered", "undelivered", "undelivered"]);
    assert!(desk.run("list --state failed").expect(0).out.is_empty());

    // Where Twilio cannot be asked, what is known is shown all the same.
    desk.run("send +442079460002").expect(0);
    sandbox.fault_on(On::Other, Fault::Error503, 1);
    desk.run("show 4").expect(0).shows("accepted").says("could not be found out");
    std::fs::write(desk.cwd().join(".env"), "TWILIO_ACCOUNT_SID=AC1\n").unwrap();
    desk.run("show 4").expect(0).shows("accepted");
}

#[test]
fn waiting_follows_a_message_to_its_end() {
    let (desk, sandbox) = scene();

    assert_eq!(desk.run(&format!("send {PHONE} --wait=30s --json")).expect(0).json("sent")["state"], "delivered");
    sandbox.set_outcome("+442079460000", "undelivered", Some(30003));
    let lost = desk.run("send +442079460000 --wait --json").expect(1);
    assert_eq!((&lost.json("sent")["state"], &lost.json("sent")["error_code"]), (&"undelivered".into(), &30003.into()));
    lost.says("smsotp explain 30003");
    desk.run(&format!("send {PHONE} --wait=soon")).expect(65).says("--wait");
}

#[test]
fn a_wait_that_is_over_before_the_end_tells_the_last_status() {
    let (desk, _sandbox) = Desk::with_sandbox(Options { pace: Pace::Manual, ..Options::default() });

    assert_eq!(desk.run(&format!("send {PHONE} --wait=1s --json")).expect(0).json("sent")["state"], "accepted");
}

#[test]
fn ctrl_c_while_twilio_hangs_leaves_a_code_that_can_still_be_settled() {
    let (desk, sandbox) = scene();
    sandbox.fault(Fault::HangAfterAccepting, 1);
    let send = desk.start(&format!("send {PHONE}"));
    until(|| sandbox.messages().len() == 1);

    signal(send.id(), "INT");
    signal(send.id(), "INT");
    let ran = wait(send);

    assert_eq!(ran.code(), 130, "{ran:?}");
    desk.run("db check").expect(0);
    let code = desk.run("sandbox inbox --code").expect(0).out;
    assert_eq!(message_state(&desk), "active sending");
    desk.run("dispatch").expect(0);
    desk.pipe(&format!("verify {PHONE} -"), code).expect(0);
    assert_eq!(sandbox.messages().len(), 1);
}

#[test]
fn a_terminated_wait_exits_with_143_and_the_message_stays_recorded() {
    let (desk, sandbox) = Desk::with_sandbox(Options { pace: Pace::Manual, ..Options::default() });
    let send = desk.start(&format!("send {PHONE} --wait=60s"));
    until(|| sandbox.messages().len() == 1);

    signal(send.id(), "TERM");
    let ran = wait(send);

    assert_eq!(ran.code(), 143, "{ran:?}");
    assert_eq!(message_state(&desk), "active accepted");
}

fn until(mut reached: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if reached() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it never happens");
}

#[test]
fn the_checks_pass_for_a_good_account_and_deliver_a_message_on_request() {
    let (desk, sandbox) = scene();

    let ran = desk.run("test-twilio").expect(0);
    let marks: Vec<(&str, &str)> = ran.rows().iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(
        marks,
        [
            ("ok", "credentials"),
            ("ok", "connection"),
            ("ok", "accepted"),
            ("ok", "account"),
            ("ok", "balance"),
            ("ok", "sender"),
            ("skip", "country"),
            ("skip", "number")
        ]
    );
    assert!(sandbox.messages().is_empty(), "nothing is sent unasked");

    desk.run("test-twilio --to +14155552671").expect(0).shows("ok\tmessage").shows("delivered");
    assert_eq!(sandbox.messages().len(), 1);
    assert_eq!(desk.run("test-twilio --json").expect(0).json("checks")["passed"], true);
    desk.run("test-twilio --to 12").expect(65);
    assert!(!desk.db().exists(), "no database are needed");
}

#[test]
fn a_test_message_that_does_not_arrive_is_explained_by_its_own_code() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    sandbox.set_outcome("+14155552671", "undelivered", Some(30003));

    let ran = desk.run("test-twilio --to +14155552671").expect(1);

    ran.shows("undelivered (30003)").shows("smsotp explain 30003");
}

#[test]
fn the_checks_name_what_is_wrong_with_an_account() {
    let marks = |desk: &Desk, line: &str, exit: i32, wanted: &[&str]| {
        let ran = desk.run(line).expect(exit);
        for words in wanted {
            assert!(ran.out.contains(words), "{line}: no {words:?} in {}", ran.out);
        }
    };

    let (mut desk, sandbox) = scene();
    let variables: Vec<(String, String)> = sandbox.env();
    std::fs::remove_file(desk.cwd().join(".env")).unwrap();
    for (name, value) in &variables {
        desk.set(name, value);
    }
    desk.set("TWILIO_AUTH_TOKEN", "0".repeat(32));
    marks(&desk, "test-twilio", 1, &["fail\taccepted", "20003"]);
    desk.set("TWILIO_AUTH_TOKEN", sandbox.auth_token()).set("TWILIO_PHONE_NUMBER", "+12025550199");
    marks(&desk, "test-twilio", 1, &["fail\tsender"]);
    marks(&desk, "test-twilio --to +14155552671", 1, &["skip\tmessage"]);
    desk.set("TWILIO_ACCOUNT_SID", "AC1");
    marks(&desk, "test-twilio", 1, &["fail\tcredentials"]);

    let (test_sid, test_token) = sandbox.test_credentials();
    desk.set("TWILIO_ACCOUNT_SID", test_sid)
        .set("TWILIO_AUTH_TOKEN", test_token)
        .set("TWILIO_PHONE_NUMBER", "+15005550006");
    marks(&desk, "test-twilio", 0, &["ok\tmagic"]);
    assert!(sandbox.messages().is_empty());

    let (mut desk, key) = Desk::with_sandbox(Options { standard_key: true, ..Options::default() });
    std::fs::remove_file(desk.cwd().join(".env")).unwrap();
    let (key_sid, key_secret) = key.api_key();
    for (name, value) in key.env() {
        desk.set(&name, value);
    }
    desk.set("TWILIO_AUTH_TOKEN", "").set("TWILIO_API_KEY", key_sid).set("TWILIO_API_SECRET", key_secret);
    marks(&desk, "test-twilio", 0, &["ok\taccepted", "skip\taccount"]);

    let (desk, _trial) = Desk::with_sandbox(Options { trial: true, ..Options::default() });
    marks(&desk, "test-twilio", 0, &["warn\taccount", "rial"]);
    marks(&desk, "test-twilio --to +14155552671", 1, &["21608"]);

    let (desk, _off) = Desk::with_sandbox(Options { countries_off: ["GB".to_owned()].into(), ..Options::default() });
    marks(&desk, "test-twilio --to +442079460000", 1, &["fail\tcountry"]);

    let (desk, _suspended) =
        Desk::with_sandbox(Options { account_status: "suspended".to_owned(), ..Options::default() });
    marks(&desk, "test-twilio", 1, &["fail\t"]);

    let (desk, broken) = scene();
    broken.fault_on(On::Any, Fault::HtmlPage(502), 100);
    marks(&desk, "test-twilio", 1, &["fail\t"]);
}
