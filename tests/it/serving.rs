//! serve: the seed's API to the letter, problems with stable codes, and one answer to every "no".

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use smsotp::code::Code;
use smsotp::engine::{AddTestNumber, Caller, Engine, Revoke, SendOtp, Verdict, VerifyOtp};
use smsotp::http::{Backend, Server, ServerSettings, TrustedProxies};
use smsotp::limits::Window as Span;
use smsotp::otp::User;
use smsotp::phone::Phone;
use smsotp::store::sqlite::{Sqlite, SqliteOptions};

use crate::processes::phone;
use crate::served::Place;
use crate::window::{Answer, SEND, TEST, VERIFY, Window, service_token, settings, token_of};
use crate::world::{OTHER, PHONE, World, ask, block_on, caller, client, guess, send, send_as, verify};

/// Declares the seed's number with the seed's code.
fn declare_the_seeds_number(world: &World) {
    let engine = world.engine();
    let until = block_on(engine.reads().now()).unwrap() + Duration::from_secs(3600);
    let phone = Phone::from_e164("+1234567890").unwrap();
    let add = AddTestNumber { phone, code: Code::parse("123456").unwrap(), until };
    block_on(engine.add_test_number(&caller(), add)).unwrap();
}

#[test]
fn the_seeds_curl_lines_work_word_for_word() {
    let world = World::new();
    declare_the_seeds_number(&world);
    let token = token_of(&world.engine(), "ada", "send,verify,test");
    let window = Window::open(&world);
    // As the seed has them; the address and the token are what a reader puts in.
    let send = r#"curl -X POST http://localhost:8000/api/v1/messaging/send-otp/ \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer <token>" \
  -d '{
    "phone_number": "+1234567890",
    "purpose": "registration"
  }'"#;
    let verify = r#"curl -X POST http://localhost:8000/api/v1/messaging/verify-otp/ \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer <token>" \
  -d '{
    "phone_number": "+1234567890",
    "otp_code": "123456",
    "purpose": "registration"
  }'"#;
    let test = r#"curl -X GET http://localhost:8000/api/v1/messaging/test-twilio/ \
  -H "Authorization: Bearer <token>""#;
    if Command::new("curl").arg("--version").output().is_err() {
        return crate::pg::skipped("the seed's own curl lines did not run: there is no curl on this machine");
    }
    let curl = |line: &str| {
        let line =
            line.replace("http://localhost:8000", &format!("http://{}", window.address)).replace("<token>", &token);
        let ran = Command::new("sh").args(["-c", &line.replacen("curl ", "curl -s ", 1)]).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        serde_json::from_slice::<serde_json::Value>(&ran.stdout).unwrap()
    };

    let sent = curl(send);
    assert_eq!(sent["message"], "OTP sent successfully");
    assert!(sent["otp_id"].as_i64().unwrap() > 0);
    assert_eq!(sent["test"], true);

    let verified = curl(verify);
    assert_eq!(verified["message"], "OTP verified successfully");
    assert_eq!(verified["verified"], true);

    let tested = curl(test);
    assert_eq!(tested["ok"], true, "{tested}");
    assert_eq!(world.sandbox.requests(), 0, "nothing goes out to a test number");
}

#[test]
fn a_code_is_sent_and_verified_with_and_without_the_last_slash() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send,verify");
    let window = Window::open(&world);

    for (path_send, path_verify, phone) in
        [(SEND, VERIFY, PHONE), (SEND.trim_end_matches('/'), VERIFY.trim_end_matches('/'), "+14155550101")]
    {
        let sent = window.post(path_send, &token, &json!({"phone_number": phone, "purpose": "login"}).to_string());
        assert_eq!(sent.status, 200, "{sent:?}");
        assert!(sent.body.starts_with(r#"{"message":"OTP sent successfully","otp_id":"#), "{}", sent.body);
        let code = world.code_on(phone);
        let body = json!({"phone_number": phone, "otp_code": code.expose(), "purpose": "login"}).to_string();
        let verified = window.post(path_verify, &token, &body);
        assert_eq!(verified.status, 200, "{verified:?}");
        assert!(
            verified.body.starts_with(r#"{"message":"OTP verified successfully","verified":true"#),
            "{}",
            verified.body
        );
        assert!(!sent.body.contains(code.expose()) && !verified.body.contains(code.expose()), "no answer holds a code");
        assert_eq!(window.post(path_verify, &token, &body).code(), "invalid_code", "once, and never again");
    }
}

#[test]
fn test_numbers_open_nothing_where_they_are_not_allowed() {
    let world = World::new();
    declare_the_seeds_number(&world);
    let engine = world.engine();
    let token = token_of(&engine, "ada", "send,verify");
    let body = r#"{"phone_number":"+1234567890","otp_code":"123456","purpose":"registration"}"#;
    let ask = r#"{"phone_number":"+1234567890","purpose":"registration"}"#;
    // A challenge that was made where they are allowed.
    assert_eq!(Window::open(&world).post(SEND, &token, ask).status, 200);

    let window = Window::with(&world, engine.without_test_numbers(), settings());

    let refused = window.post(SEND, &token, ask);
    assert_eq!((refused.status, refused.code().as_str()), (422, "phone_invalid"));
    let said = refused.body.to_string();
    assert!(said.contains("smsotp test-number add") && said.contains("--allow-test-numbers"), "{said}");
    assert_eq!(window.post(VERIFY, &token, body).code(), "invalid_code");
}

#[test]
fn limits_answer_429_with_the_time_to_come_back() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let window = Window::open(&world);
    let body = json!({"phone_number": PHONE, "purpose": "login"}).to_string();
    assert_eq!(window.post(SEND, &token, &body).status, 200);

    let refused = window.post(SEND, &token, &body);

    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("retry-after"), Some("30"));
    assert_eq!(refused.json()["retry_after_seconds"], 30);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(world.sandbox.messages().len(), 1);
}

#[test]
fn what_the_provider_refuses_or_leaves_open_is_a_problem_with_the_challenge_in_it() {
    use smsotp::sandbox::Fault;
    let world = World::new();
    let token = service_token(&world.engine(), "send");
    let window = Window::open(&world);
    let ask = |phone: &str| window.post(SEND, &token, &json!({"phone_number": phone, "user": "ada"}).to_string());

    world.sandbox.fault(Fault::Error500AfterAccepting, 1);
    let maybe = ask(PHONE);
    assert_eq!((maybe.status, maybe.code().as_str()), (502, "maybe_sent"));
    assert!(maybe.json()["otp_id"].as_i64().unwrap() > 0);
}

#[test]
fn each_answer_of_the_provider_has_its_status_and_its_code() {
    use smsotp::sandbox::Fault;
    let world = World::new();
    let token = service_token(&world.engine(), "send");
    let window = Window::open(&world);
    let denied = |status, code| Fault::Denied { status, code };
    let ended = |status: &str, error_code| Fault::Ended { status: status.to_owned(), error_code };
    for (nth, (fault, status, code, provider_code, after)) in [
        (Fault::Status429 { retry_after: Some(120) }, 503, "provider_busy", Some(20429), Some("120")),
        (Fault::Status503 { retry_after: Some(60) }, 503, "provider_busy", Some(20503), Some("60")),
        (denied(403, Some(60410)), 403, "provider_forbids", Some(60410), None),
        (denied(403, Some(60205)), 403, "provider_forbids", Some(60205), None),
        (Fault::Code(21610), 403, "opted_out", Some(21610), None),
        (denied(403, Some(20403)), 502, "provider_config", Some(20403), None),
        (Fault::Unauthorized, 502, "provider_config", Some(20003), None),
        (Fault::Code(21211), 502, "provider_refused", Some(21211), None),
        (ended("failed", Some(30008)), 502, "provider_refused", Some(30008), None),
        (ended("undelivered", None), 502, "provider_refused", None, None),
        (Fault::Error503, 502, "maybe_sent", None, None),
    ]
    .into_iter()
    .enumerate()
    {
        world.sandbox.fault(fault.clone(), 1);
        let body = json!({"phone_number": phone(nth), "user": format!("user {nth}")}).to_string();

        let answer = window.post(SEND, &token, &body);

        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{fault:?}: {}", answer.body);
        assert_eq!(answer.json()["provider_code"].as_u64(), provider_code, "{fault:?}");
        assert_eq!(answer.header("retry-after"), after, "{fault:?}");
        assert!(!answer.body.contains("no reason was given"), "{}", answer.body);
        assert!(code == "opted_out" || !answer.body.contains("smsotp "), "hints for a caller: {}", answer.body);
    }
}

#[test]
fn monitors_are_answered_without_a_token_on_this_machine() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let window = Window::open(&world);
    window.post(SEND, &token, &json!({"phone_number": PHONE}).to_string());

    assert_eq!(window.get("/healthz", "").json()["status"], "ok");
    assert_eq!(window.get("/readyz", "").json()["status"], "ready");
    assert_eq!(window.get("/openapi.json", "").json()["openapi"], "3.1.0");
    let metrics = window.get("/metrics", "").body;
    for expected in [
        "smsotp_sends_total{outcome=\"accepted\"} 1",
        "smsotp_provider_seconds_count{outcome=\"accepted\"} 1",
        "smsotp_store_seconds_count",
        "smsotp_queue_due 0",
        "smsotp_http_requests_total{route=\"/api/v1/messaging/send-otp\",method=\"POST\",status=\"200\"} 1",
        "# EOF",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }
    let forwarded = window.ask("GET", "/metrics", &[("X-Forwarded-For", "203.0.113.9")], "");
    assert_eq!(forwarded.status, 401, "what a proxy brings in comes from elsewhere");
}

#[test]
fn safe_headers_stand_on_every_answer_and_no_version_does() {
    let world = World::new();
    let window = Window::open(&world);

    for (method, path) in
        [("GET", "/healthz"), ("POST", SEND), ("GET", "/nothing"), ("DELETE", TEST), ("TRACE", "/healthz")]
    {
        let answer = window.ask(method, path, &[], "");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        assert!(answer.header("x-request-id").is_some(), "{method} {path}");
        assert!(answer.header("server").is_none() && !answer.head.contains(env!("CARGO_PKG_VERSION")), "{answer:?}");
    }
    let refused = window.ask("DELETE", SEND, &[], "");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")));
}

#[test]
fn the_id_of_a_request_is_that_of_a_trusted_proxy_or_a_new_one() {
    let world = World::new();
    let id = |window: &Window, given: &str| {
        let answer = window.ask("GET", "/healthz", &[("X-Request-Id", given)], "");
        answer.header("x-request-id").unwrap().to_owned()
    };
    let trusting = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]).unwrap();
    let trusting = Window::with(&world, world.engine(), ServerSettings { proxies: trusting, ..settings() });
    let other = Window::open(&world);

    assert_eq!(id(&trusting, "of-the-proxy-1"), "of-the-proxy-1");
    for (window, given) in [(&other, "of-anybody"), (&trusting, "no id"), (&trusting, ""), (&trusting, &"1".repeat(65))]
    {
        let (first, second) = (id(window, given), id(window, given));
        assert_ne!(first, given);
        assert_ne!(first, second);
        assert!(first.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{first}");
    }
}

#[test]
fn every_no_is_the_same_no_and_takes_the_same_steps() {
    let mut world = World::unlimited();
    world.policy.limits.guesses_per_otp = 2;
    let engine = world.engine();
    let token = service_token(&engine, "send,verify");
    let window = Window::open(&world);
    let store =
        Arc::new(Sqlite::open(&world.db(), &world.keyring(), world.shared_clock(), SqliteOptions::default()).unwrap());
    let steps: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&steps);
    store.on_statement(move |sql| noted.lock().unwrap().push(sql.to_owned())).unwrap();
    let traced = Engine::new(store, world.keyring(), Arc::new(world.policy.clone()));
    let trace = |phone: &str, code: &Code| {
        steps.lock().unwrap().clear();
        let answer = block_on(verify(&traced, phone, code));
        (answer.verdict, steps.lock().unwrap().clone())
    };
    let ask = |phone: &str, code: &Code| {
        let body = json!({"phone_number": phone, "otp_code": code.expose(), "purpose": "login", "user": "ada"});
        window.post(VERIFY, &token, &body.to_string())
    };
    let number = |n: u32| format!("+1415555{:04}", 100 + n);
    let sent = |n: u32| {
        block_on(send(&engine, &number(n)));
        world.code_on(&number(n))
    };

    let mut seen: Vec<(Verdict, Vec<String>)> = Vec::new();
    let mut answers = Vec::new();
    let some = Code::parse("000000").unwrap();
    // Nothing was ever asked for.
    seen.push(trace(&number(1), &some));
    answers.push(ask(&number(1), &some));
    // Wrong.
    let code = sent(2);
    seen.push(trace(&number(2), &World::wrong(&code)));
    answers.push(ask(&number(2), &World::wrong(&code)));
    // Locked by now.
    seen.push(trace(&number(2), &code));
    answers.push(ask(&number(2), &code));
    // Used.
    let code = sent(3);
    assert_eq!(ask(&number(3), &code).status, 200);
    seen.push(trace(&number(3), &code));
    answers.push(ask(&number(3), &code));
    // Superseded, with the older code and with a wrong one.
    let older = sent(4);
    block_on(send_as(&engine, &caller(), SendOtp { new_code: true, ..crate::world::ask(&number(4)) }));
    seen.push(trace(&number(4), &older));
    answers.push(ask(&number(4), &older));
    // Another user's.
    let code = sent(5);
    let body = json!({"phone_number": number(5), "otp_code": code.expose(), "purpose": "login", "user": "eve"});
    answers.push(window.post(VERIFY, &token, &body.to_string()));
    // Another purpose.
    let body = json!({"phone_number": number(5), "otp_code": code.expose(), "purpose": "registration", "user": "ada"});
    answers.push(window.post(VERIFY, &token, &body.to_string()));
    // Taken back.
    let code = sent(6);
    block_on(engine.revoke(&caller(), &Revoke::Phone(Phone::from_e164(&number(6)).unwrap(), None, None), "test"))
        .unwrap();
    seen.push(trace(&number(6), &code));
    answers.push(ask(&number(6), &code));
    // Expired.
    let code = sent(7);
    world.advance(601);
    seen.push(trace(&number(7), &code));
    answers.push(ask(&number(7), &code));

    let verdicts: Vec<String> = seen.iter().map(|(verdict, _)| format!("{verdict:?}")).collect();
    let kinds = ["NotFound", "WrongCode", "Locked", "AlreadyUsed", "Superseded", "Revoked", "Expired"];
    for (verdict, kind) in verdicts.iter().zip(kinds) {
        assert!(verdict.starts_with(kind), "{verdicts:?}");
    }
    for (verdict, steps) in &seen {
        assert_eq!(*steps, seen[0].1, "{verdict:?} takes other steps than {:?}", seen[0].0);
    }
    assert!(seen[0].1.len() > 8, "{:?}", seen[0].1);
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (400, &answers[0].body), "{answer:?}");
        let plain = |answer: &Answer| {
            let lines =
                answer.head.lines().filter(|line| !line.starts_with("date") && !line.starts_with("x-request-id"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(plain(answer), plain(&answers[0]));
    }
    assert_eq!(answers[0].code(), "invalid_code");
    assert_eq!(answers[0].json()["verified"], false);
}

#[test]
fn whatever_is_closed_and_whatever_key_is_given_every_no_takes_the_same_steps() {
    let mut world = World::unlimited();
    world.policy.limits.guesses_per_user = vec![Span::new(5, 86_400)];
    world.policy.limits.guesses_per_phone = vec![Span::new(5, 86_400)];
    world.policy.limits.guesses_in_a_row = 5;
    let engine = world.engine();
    let number = |n: u32| format!("+1415555{:04}", 100 + n);
    // Nothing was ever asked for at 1. A live code at 2. At 3 the user's row of wrong codes is spent, at 4 another user's, and
    // the phone's budget with it.
    block_on(send(&engine, &number(2)));
    for (n, user) in [(3, "ada"), (4, "bob")] {
        let user = User::parse(user).unwrap();
        block_on(send_as(&engine, &caller(), SendOtp { user: user.clone(), ..ask(&number(n)) }));
        let code = World::wrong(&world.code_on(&number(n)));
        for _ in 0..5 {
            let wrong = VerifyOtp { user: user.clone(), ..guess(&number(n), &code) };
            block_on(engine.verify(&caller(), wrong)).unwrap();
        }
    }
    // A used code at 5.
    block_on(send(&engine, &number(5)));
    let used = world.code_on(&number(5));
    let keyed = |n: u32, code: &Code, key: Option<&str>| VerifyOtp {
        idempotency_key: key.map(str::to_owned),
        ..guess(&number(n), code)
    };
    block_on(engine.verify(&caller(), keyed(5, &used, Some("used")))).unwrap();

    let store =
        Arc::new(Sqlite::open(&world.db(), &world.keyring(), world.shared_clock(), SqliteOptions::default()).unwrap());
    let steps: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&steps);
    store.on_statement(move |sql| noted.lock().unwrap().push(sql.to_owned())).unwrap();
    let traced = Engine::new(store, world.keyring(), Arc::new(world.policy.clone()));
    for asker in [caller(), client("192.0.2.1"), Caller { user_token: Some(1), ..client("192.0.2.1") }] {
        for key in [None, Some("used"), Some("new")] {
            let mut seen: Vec<(String, Vec<String>)> = Vec::new();
            for n in 1..=5 {
                let code = if n == 5 { World::wrong(&used) } else { Code::parse("000000").unwrap() };
                steps.lock().unwrap().clear();
                let answer = block_on(traced.verify(&asker, keyed(n, &code, key))).unwrap();
                assert_ne!(answer.verdict, Verdict::Verified);
                seen.push((format!("{:?}", answer.verdict), steps.lock().unwrap().clone()));
            }
            assert!(seen[2].0.starts_with("TooManyGuesses"), "{seen:?}");
            for (verdict, steps) in &seen {
                assert_eq!(*steps, seen[0].1, "{asker:?} {key:?}: {verdict} takes other steps than {}", seen[0].0);
            }
        }
    }
}

#[test]
fn what_closes_for_others_is_the_same_no_and_only_the_callers_own_budget_is_told() {
    let mut world = World::unlimited();
    world.policy.limits.guesses_in_a_row = 3;
    let engine = world.engine();
    let (blind, reader) = (service_token(&engine, "send,verify"), service_token(&engine, "verify,read"));
    let own = token_of(&engine, "ada", "send,verify");
    let window = Window::open(&world);
    block_on(send(&engine, PHONE));
    let wrong = World::wrong(&world.code_on(PHONE));
    for _ in 0..3 {
        block_on(verify(&engine, PHONE, &wrong));
    }
    let as_service =
        json!({"phone_number": PHONE, "otp_code": wrong.expose(), "purpose": "login", "user": "ada"}).to_string();
    let nowhere =
        json!({"phone_number": OTHER, "otp_code": wrong.expose(), "purpose": "login", "user": "ada"}).to_string();
    let as_ada = json!({"phone_number": PHONE, "otp_code": wrong.expose(), "purpose": "login"}).to_string();

    let (closed, unknown) = (window.post(VERIFY, &blind, &as_service), window.post(VERIFY, &blind, &nowhere));
    assert_eq!((closed.status, closed.code().as_str()), (400, "invalid_code"));
    assert_eq!((closed.status, &closed.body, closed.header("retry-after")), (unknown.status, &unknown.body, None));
    let told = window.post(VERIFY, &reader, &as_service);
    assert_eq!((told.status, told.json()["reason"].as_str()), (400, Some("too_many_guesses")));
    // The user whom a token speaks for may know that their own guesses are spent.
    let told = window.post(VERIFY, &own, &as_ada);
    assert_eq!((told.status, told.code().as_str(), &told.json()["verified"]), (429, "too_many_guesses", &json!(false)));
}

#[test]
fn a_stranger_with_a_token_that_only_verifies_keeps_nobody_from_codes() {
    let world = World::new();
    let engine = world.engine();
    let (eve, ada) = (token_of(&engine, "eve", "verify"), token_of(&engine, "ada", "send,verify"));
    let window = Window::open(&world);
    let guess = json!({"phone_number": PHONE, "otp_code": "000000", "purpose": "login"}).to_string();
    let mut answers = Vec::new();
    for _ in 0..120 {
        answers.push(window.post(VERIFY, &eve, &guess).status);
    }
    // Thirty are answered as any other no, then her own token is closed.
    assert_eq!((&answers[..30], &answers[30..]), (&[400; 30][..], &[429; 90][..]));

    let ask = json!({"phone_number": PHONE, "purpose": "login"}).to_string();
    assert_eq!(window.post(SEND, &ada, &ask).status, 200);
    let right =
        json!({"phone_number": PHONE, "otp_code": world.code_on(PHONE).expose(), "purpose": "login"}).to_string();
    assert_eq!(window.post(VERIFY, &ada, &right).status, 200);
}

#[test]
fn one_name_typed_in_two_ways_is_one_user_of_the_api() {
    let world = World::new();
    let engine = world.engine();
    let (service, own) = (service_token(&engine, "send,verify"), token_of(&engine, "Jos\u{e9}", "send,verify"));
    let window = Window::open(&world);
    let body = |user: &str, code: Option<&Code>| {
        let mut body = json!({"phone_number": PHONE, "purpose": "login", "user": user});
        if let Some(code) = code {
            body["otp_code"] = json!(code.expose());
        }
        body.to_string()
    };
    assert_eq!(window.post(SEND, &service, &body("Jose\u{301}", None)).status, 200);
    let code = world.code_on(PHONE);
    assert_eq!(window.post(VERIFY, &service, &body("JOS\u{c9}", Some(&code))).status, 400, "capitals are another user");
    assert_eq!(window.post(VERIFY, &own, &body("Jose\u{301} ", Some(&code))).status, 200);
    assert_eq!(window.post(SEND, &service, &body(" ", None)).code(), "value_invalid", "nobody");
}

#[test]
fn a_reader_is_told_why_and_a_budget_says_when_to_come_back() {
    let mut world = World::unlimited();
    world.policy.limits.guesses_per_ip = vec![Span::new(3, 3600)];
    let engine = world.engine();
    let (reader, blind) = (service_token(&engine, "verify,read"), service_token(&engine, "verify"));
    block_on(send(&engine, PHONE));
    let wrong = World::wrong(&world.code_on(PHONE));
    let window = Window::open(&world);
    let ask = |token: &str, phone: &str, ip: &str| {
        let body = json!({"phone_number": phone, "otp_code": wrong.expose(), "purpose": "login", "user": "ada", "client_ip": ip});
        window.post(VERIFY, token, &body.to_string())
    };

    let told = ask(&reader, PHONE, "203.0.113.1").json();
    assert_eq!((told["reason"].as_str(), told["tries_left"].as_u64()), (Some("wrong_code"), Some(4)));
    assert_eq!(ask(&reader, "+14155550199", "203.0.113.1").json()["reason"], "not_found");
    assert_eq!(ask(&blind, PHONE, "203.0.113.1").json().get("reason"), None);

    // The address has had its three guesses: closed, whether or not there is a code.
    let closed: Vec<Answer> = [PHONE, "+14155550199"].iter().map(|phone| ask(&blind, phone, "203.0.113.1")).collect();
    for answer in &closed {
        assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_guesses"));
        assert_eq!(answer.header("retry-after"), Some("3600"));
        assert_eq!(answer.body, closed[0].body);
    }
    assert_eq!(ask(&blind, PHONE, "203.0.113.2").status, 400, "another address guesses on");
}

#[test]
fn what_a_body_may_not_be_is_refused_and_never_repeated() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send,verify");
    let window = Window::open(&world);
    let long = "1".repeat(10_000);
    let sql = "' or 1=1 --";
    for (field, status, code) in [
        (r#""otp_code": true"#.to_owned(), 422, "value_invalid"),
        (r#""otp_code": 123456"#.to_owned(), 422, "value_invalid"),
        (r#""otp_code": null"#.to_owned(), 422, "value_invalid"),
        (r#""otp_code": ["123456"]"#.to_owned(), 422, "value_invalid"),
        (r#""otp_code": {"$ne": ""}"#.to_owned(), 422, "value_invalid"),
        (r#""otp_code": "123456", "otp_code": "123456""#.to_owned(), 422, "value_invalid"),
        (r#""otp_code": "123456", "phone_number": "+14155550100""#.to_owned(), 422, "value_invalid"),
        (r#""otp_code": "123456", "admin": true"#.to_owned(), 422, "value_invalid"),
        (r#""otp_code": "123456", "known": "yes""#.to_owned(), 422, "value_invalid"),
        (r#""otp_code": """#.to_owned(), 422, "code_invalid"),
        (r#""otp_code": "%%%%%%""#.to_owned(), 422, "code_invalid"),
        (r#""otp_code": "______""#.to_owned(), 422, "code_invalid"),
        (r#""otp_code": "١٢٣٤٥٦""#.to_owned(), 422, "code_invalid"),
        (format!(r#""otp_code": "{sql}""#), 422, "code_invalid"),
        (format!(r#""otp_code": "{long}""#), 422, "code_invalid"),
        (format!(r#""otp_code": "{long}{long}""#), 413, "body_too_large"),
        (r#""otp_code": "123456", "purpose": "nothing""#.to_owned(), 422, "purpose_unknown"),
        (r#""otp_code": "123456", "purpose": "LOGIN""#.to_owned(), 422, "purpose_unknown"),
        (r#""otp_code": "123456", "user": "eve""#.to_owned(), 403, "forbidden"),
        (r#""otp_code": "123456", "client_ip": "203.0.113.1""#.to_owned(), 403, "forbidden"),
        (r#""otp_code": "123456", "known": true"#.to_owned(), 403, "forbidden"),
        (r#""otp_code": "123456"}{"#.to_owned(), 400, "body_invalid"),
        (r#""otp_code": "123456",,"#.to_owned(), 400, "body_invalid"),
    ] {
        let answer = window.post(VERIFY, &token, &format!(r#"{{"phone_number": "+14155550100", {field}}}"#));
        let head: String = field.chars().take(60).collect();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{head}: {answer:?}");
        for secret in ["123456", "1111", sql, "203.0.113.1", "eve"] {
            assert!(!answer.body.contains(secret), "{head}: {answer:?}");
        }
    }
    for phone in ["4155550100", "+1", "+", "", "+1415555010x", "+14155550100;ext=1", &long] {
        let body = json!({"phone_number": phone, "otp_code": "123456"}).to_string();
        let answer = window.post(VERIFY, &token, &body);
        assert_eq!((answer.status, answer.code().as_str()), (422, "phone_invalid"), "{phone:.20}");
    }
    let bearer = format!("Bearer {token}");
    let plain = window.ask("POST", VERIFY, &[("Authorization", &bearer), ("Content-Type", "text/plain")], "{}");
    assert_eq!((plain.status, plain.code().as_str()), (415, "media_type_unsupported"));
    assert_eq!(world.number("SELECT count(*) FROM otps"), 0);
}

#[test]
fn the_same_key_gets_the_same_answer_and_sends_once() {
    let world = World::new();
    let engine = world.engine();
    let (token, other) = (token_of(&engine, "ada", "send,verify"), token_of(&engine, "ben", "send"));
    let window = Window::open(&world);
    let ask = |path: &str, token: &str, key: &str, body: &serde_json::Value| {
        let bearer = format!("Bearer {token}");
        let headers =
            [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", key)];
        window.ask("POST", path, &headers, &body.to_string())
    };
    let body = json!({"phone_number": PHONE, "purpose": "login"});

    let first = ask(SEND, &token, "k1", &body);
    let again = ask(SEND, &token, "k1", &body);
    assert_eq!((first.status, &first.body), (200, &again.body));
    assert_eq!(world.messages_out(), 1);

    let elsewhere = ask(SEND, &token, "k1", &json!({"phone_number": "+14155550101", "purpose": "login"}));
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (422, "idempotency_mismatch"));
    let bens = ask(SEND, &other, "k1", &json!({"phone_number": "+14155550102", "purpose": "login"}));
    assert_eq!(bens.status, 200, "another bearer's key is another key");

    let code = world.code_on(PHONE);
    let right = json!({"phone_number": PHONE, "otp_code": code.expose(), "purpose": "login"});
    let wrong = json!({"phone_number": PHONE, "otp_code": World::wrong(&code).expose(), "purpose": "login"});
    let verified = ask(VERIFY, &token, "v1", &right);
    assert_eq!((verified.status, &verified.body), (200, &ask(VERIFY, &token, "v1", &right).body));
    assert_eq!(ask(VERIFY, &token, "v1", &wrong).code(), "invalid_code", "the key alone opens nothing");
    assert_eq!(ask(VERIFY, &token, "v2", &right).code(), "invalid_code");
    for bad in ["", "k\u{e9}", &"k".repeat(201)] {
        assert_eq!(ask(SEND, &token, bad, &body).status, 422, "{bad:?}");
    }
}

#[test]
fn a_request_under_way_with_the_same_key_is_a_conflict() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let window = Window::open(&world);
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    let body = json!({"phone_number": PHONE}).to_string();
    world.sandbox.fault(smsotp::sandbox::Fault::Hang, 1);
    let hanging = std::thread::scope(|scope| {
        let first = scope.spawn(|| window.ask("POST", SEND, &headers, &body).status);
        while world.sandbox.requests() == 0 {
            std::thread::yield_now();
        }
        let second = window.ask("POST", SEND, &headers, &body);
        assert_eq!((second.status, second.code().as_str()), (409, "in_progress"));
        assert!(second.header("retry-after").is_some());
        world.sandbox.clear_faults();
        drop(world.sandbox);
        first.join().unwrap()
    });
    assert_eq!(hanging, 502, "it may have been sent");
}

#[test]
fn a_panic_is_answered_and_survived_and_a_stop_lets_finish_what_was_begun() {
    use smsotp::sandbox::Fault;
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let panics = world.engine().on_step({
        let armed = std::sync::atomic::AtomicBool::new(true);
        move |_| {
            if armed.swap(false, std::sync::atomic::Ordering::SeqCst) {
                std::panic::resume_unwind(Box::new("planned"));
            }
        }
    });
    let mut window = Window::with(&world, panics, settings());
    let ask = |phone: &str| json!({"phone_number": phone}).to_string();

    let broken = window.post(SEND, &token, &ask(PHONE));
    assert_eq!((broken.status, broken.code().as_str()), (500, "bug"));
    assert_eq!(window.get("/healthz", "").status, 200);

    // A send that is under way when the server is told to stop is answered; who comes later is not let in.
    world.sandbox.fault(Fault::Latency(Duration::from_millis(300)), 1);
    let mut stream = window.connect();
    let body = ask("+14155550101");
    let head = format!(
        "POST {SEND} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    while world.sandbox.requests() == 0 {
        std::thread::yield_now();
    }
    window.tell_to_stop();
    let answer = Answer::read(&mut stream).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    window.close();
    assert!(std::net::TcpStream::connect(window.address).is_err());
}

/// A client that resets its connection does not cut the call to the provider in two, and a stop waits for it.
#[cfg(unix)]
#[test]
fn a_send_is_settled_although_its_client_is_gone_and_the_server_is_to_stop() {
    use nix::sys::socket::{setsockopt, sockopt};
    use smsotp::sandbox::Fault;
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let mut window = Window::open(&world);
    world.sandbox.fault(Fault::Latency(Duration::from_millis(300)), 1);
    let mut stream = window.connect();
    let body = json!({"phone_number": PHONE}).to_string();
    let head = format!(
        "POST {SEND} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    while world.sandbox.requests() == 0 {
        std::thread::yield_now();
    }

    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    drop(stream);
    window.tell_to_stop();
    window.close();

    assert_eq!(world.word("SELECT state FROM messages"), "accepted");
}

#[test]
fn it_does_not_listen_in_the_clear_for_other_machines_nor_print_codes() {
    let world = World::new();
    let bind = |engine: Engine, settings: ServerSettings| {
        let backend = Backend { engine, metrics: Arc::default(), checks: None, callbacks: None, region: None };
        block_on(Server::bind(backend, settings)).map(|_| ()).map_err(|error| error.to_string())
    };
    let open = ServerSettings { listen: "0.0.0.0:0".parse().unwrap(), ..settings() };

    assert!(bind(world.engine(), open.clone()).unwrap_err().contains("in the clear"));
    bind(world.engine(), ServerSettings { behind_proxy: true, ..open }).unwrap();
    let console = Arc::new(smsotp::provider::console::Console::new("x", |_: &str| {}));
    let printing = world.engine().with_provider(console);
    assert!(bind(printing, settings()).unwrap_err().contains("console"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "UPDATE=1 rewrites the file")]
fn the_openapi_document_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let generated = smsotp::http::openapi_document();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, generated).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        checked_in == generated,
        "openapi.json is behind: run `UPDATE=1 cargo test --test it serving` and commit it"
    );
}

#[test]
fn kill_9_under_load_loses_nothing_that_was_acknowledged() {
    const CALLERS: usize = 16;
    const ENOUGH: usize = 250;
    let place = Place::new("[limits]\neverything = \"10000/1h\"\n");
    let token = place.token(&["--service", "--scope", "send,verify"]);
    let mut server = place.serve(&[]);
    let acknowledged: Mutex<Vec<(i64, String, Option<String>)>> = Mutex::default();

    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (server, token, acknowledged, place) = (&server, &token, &acknowledged, &place);
            scope.spawn(move || {
                for nth in 0.. {
                    let phone = format!("+1415{:07}", 2_000_000 + caller * 10_000 + nth);
                    let ask = json!({"phone_number": phone, "purpose": "login", "user": "ada"});
                    // Distinct users: the limits of one are not what is looked at.
                    let ask = with(ask, "user", &phone);
                    let Some(sent) = server.post(SEND, token, &ask).filter(|answer| answer.status == 200) else {
                        return;
                    };
                    let id = sent.json()["otp_id"].as_i64().unwrap();
                    let message =
                        place.sandbox.messages().into_iter().rev().find(|message| message.to == phone).unwrap();
                    let code = smsotp::sandbox::inbox::extract_code(&message.body).unwrap();
                    acknowledged.lock().unwrap().push((id, phone.clone(), None));
                    let proof = with(with(ask, "otp_code", &code), "user", &phone);
                    let Some(verified) = server.post(VERIFY, token, &proof) else { return };
                    if verified.status == 200 {
                        acknowledged.lock().unwrap().push((id, phone, Some(code)));
                    }
                }
            });
        }
        scope.spawn(|| {
            while acknowledged.lock().unwrap().len() < ENOUGH {
                std::thread::yield_now();
            }
            server.signal(nix::sys::signal::Signal::SIGKILL);
        });
    });
    server.child.wait().unwrap();

    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= ENOUGH);
    let database = rusqlite::Connection::open(place.path().join("smsotp.db")).unwrap();
    let again = place.serve(&[]);
    for (id, phone, code) in &acknowledged {
        let (state, of): (String, String) = database
            .query_row("SELECT state, phone_number FROM otps WHERE id = ?1", [id], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap_or_else(|error| panic!("otp {id} was acknowledged and is gone: {error}"));
        assert_eq!(of, *phone);
        if let Some(code) = code {
            assert_eq!(state, "verified", "otp {id} was verified");
            let body = json!({"phone_number": phone, "purpose": "login", "user": phone, "otp_code": code});
            assert_eq!(
                again.post(VERIFY, &token, &body).unwrap().code(),
                "invalid_code",
                "otp {id} opens nothing twice"
            );
        }
    }
    let sound = place.smsotp(&["audit", "verify"]).output().unwrap();
    assert!(sound.status.success(), "{}", String::from_utf8_lossy(&sound.stderr));
}

fn with(mut body: serde_json::Value, field: &str, value: &str) -> serde_json::Value {
    body[field] = value.into();
    body
}

#[test]
fn sigterm_ends_a_server_well_and_its_logs_hold_no_secret() {
    let place = Place::new("");
    let token = place.token(&["--user", "ada", "--scope", "send,verify"]);
    let mut server = place.serve(&["--log-json", "-vv"]);
    let phone = "+14155550177";
    assert_eq!(server.post(SEND, &token, &json!({"phone_number": phone})).unwrap().status, 200);
    let code = smsotp::sandbox::inbox::extract_code(&place.sandbox.messages()[0].body).unwrap();
    let guess = json!({"phone_number": phone, "otp_code": code});
    assert_eq!(server.post(VERIFY, &token, &guess).unwrap().status, 200);
    server.post(VERIFY, &format!("{token}x"), &guess);

    server.signal(nix::sys::signal::Signal::SIGTERM);

    assert!(server.child.wait().unwrap().success());
    let logs = place.log();
    let lines: Vec<serde_json::Value> =
        logs.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["route"] == "/api/v1/messaging/verify-otp" && line["status"] == 200),
        "{logs}"
    );
    assert!(lines.iter().any(|line| line["code"] == "unauthorized"), "{logs}");
    for secret in [token.as_str(), &token[7..], phone, &code, place.sandbox.auth_token()] {
        assert!(!logs.contains(secret), "{secret} stands in the log:\n{logs}");
    }
}
