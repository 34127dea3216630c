//! serve: the seed's API to the letter, problems with stable codes, and one answer to every "no".

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use smsotp::code::Code;
use smsotp::engine::AddTestNumber;
use smsotp::phone::Phone;

use crate::window::{SEND, TEST, VERIFY, Window, service_token, settings, token_of};
use crate::world::{PHONE, World, block_on, caller};

/// Declares the seed's number with the seed's code.
fn declare_the_seeds_number(world: &World) {
    let engine = world.engine();
    let until = block_on(engine.store().now()).unwrap() + Duration::from_secs(3600);
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
        eprintln!("skipped: there is no curl on this machine");
        return;
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

    assert_eq!(window.post(SEND, &token, ask).code(), "phone_invalid");
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
