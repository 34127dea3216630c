//! Tokens: what each scope opens, for whom a bearer speaks, and when a token is refused.

use std::time::Duration;

use serde_json::json;
use smsotp::engine::{NewToken, Whose};
use smsotp::error::Code;
use smsotp::otp::User;
use smsotp::token::Scopes;

use crate::served::Place;
use crate::stores::{Database, on_every_store};
use crate::window::{SEND, TEST, VERIFY, Window, service_token, settings, token_of};
use crate::world::{OTHER, PHONE, World, block_on, caller, files, holds};

on_every_store![a_token_ends_at_its_time_and_when_it_is_revoked];

#[test]
fn each_scope_opens_its_own_place_and_admin_all_of_them() {
    let world = World::unlimited();
    let engine = world.engine();
    let window = Window::open(&world);
    let places = [("send", SEND), ("verify", VERIFY), ("test", TEST), ("read", "/metrics")];
    for scope in ["send", "verify", "test", "read", "admin"] {
        let bearer = format!("Bearer {}", service_token(&engine, scope));
        for (needed, path) in places {
            // Whoever comes from elsewhere needs a token for the metrics too.
            let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
            if path == "/metrics" {
                headers.push(("X-Forwarded-For", "203.0.113.9"));
            }
            let (method, body) = match needed {
                "send" => ("POST", json!({"phone_number": PHONE, "user": "ada"})),
                "verify" => ("POST", json!({"phone_number": PHONE, "user": "ada", "otp_code": "000000"})),
                _ => ("GET", json!(null)),
            };
            let body = if method == "POST" { body.to_string() } else { String::new() };
            let status = window.ask(method, path, &headers, &body).status;
            let open = scope == needed || scope == "admin";
            assert_eq!(status == 403, !open, "{scope} at {path}: {status}");
            assert_ne!(status, 401, "{scope} at {path}");
        }
    }
}

#[test]
fn what_is_no_token_opens_nothing_and_learns_nothing() {
    let world = World::new();
    let engine = world.engine();
    let good = token_of(&engine, "ada", "send");
    let window = Window::open(&world);
    let body = json!({"phone_number": PHONE}).to_string();
    let other = if good.ends_with('A') { 'E' } else { 'A' };
    let almost = format!("{}{other}", &good[..good.len() - 1]);
    let long = format!("Bearer smsotp_{}", "a".repeat(5000));
    let (basic, twice, almost) = (format!("Basic {good}"), format!("Bearer {good} {good}"), format!("Bearer {almost}"));
    let cut = format!("Bearer {}", &good[..20]);
    let mut bodies = Vec::new();
    for shown in
        ["", "Bearer", "Bearer ", "Bearer null", "Bearer ' or 1=1 --", "Bearer %", &basic, &twice, &almost, &cut, &long]
    {
        let answer = window.ask("POST", SEND, &[("Authorization", shown), ("Content-Type", "application/json")], &body);
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{shown:.40}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        bodies.push(answer.body);
    }
    let good = format!("Bearer {good}");
    let two = window.ask("POST", SEND, &[("Authorization", &good), ("Authorization", &good)], &body);
    bodies.push(two.body);
    bodies.push(window.ask("POST", SEND, &[], &body).body);
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "one answer for all of them");
    assert_eq!(world.messages_out(), 0);
    // A token in the address is none.
    assert_eq!(window.ask("POST", &format!("{SEND}?token=x"), &[], &body).status, 401);
}

#[test]
fn a_token_of_a_user_speaks_for_that_user_alone() {
    let world = World::unlimited();
    let engine = world.engine();
    let (ada, eve) = (token_of(&engine, "ada", "send,verify"), token_of(&engine, "eve", "send,verify"));
    let window = Window::open(&world);
    assert_eq!(window.post(SEND, &ada, &json!({"phone_number": PHONE, "purpose": "login"}).to_string()).status, 200);
    let code = world.code_on(PHONE);
    let right = json!({"phone_number": PHONE, "purpose": "login", "otp_code": code.expose()}).to_string();

    let foreign =
        json!({"phone_number": PHONE, "purpose": "login", "otp_code": code.expose(), "user": "ada"}).to_string();
    assert_eq!(window.post(VERIFY, &eve, &foreign).status, 403);
    assert_eq!(window.post(VERIFY, &eve, &right).code(), "invalid_code", "ada's code is nobody else's");
    assert_eq!(window.post(VERIFY, &ada, &foreign).status, 200, "her own name may be said");
}

#[test]
fn a_service_names_the_user_and_may_vouch_for_what_it_knows() {
    let mut world = World::unlimited();
    world.policy.limits.guesses_per_user = vec![smsotp::limits::Window::new(2, 86_400)];
    world.policy.limits.ip = vec![smsotp::limits::Window::new(1, 3600)];
    let token = service_token(&world.engine(), "send,verify");
    let window = Window::open(&world);
    let send = |body: serde_json::Value| window.post(SEND, &token, &body.to_string());

    for body in [json!({"phone_number": PHONE}), json!({"phone_number": PHONE, "user": ""})] {
        let missing = send(body);
        assert_eq!((missing.status, missing.code().as_str()), (422, "value_invalid"));
    }
    for ip in ["1.2.3", "localhost"] {
        assert_eq!(send(json!({"phone_number": PHONE, "user": "ada", "client_ip": ip})).status, 422, "{ip}");
    }
    // The client's address is what its limits count.
    let from = |phone: &str, ip: &str| send(json!({"phone_number": phone, "user": "ada", "client_ip": ip}));
    assert_eq!(from(PHONE, "203.0.113.1").status, 200);
    assert_eq!(from(OTHER, "203.0.113.1").status, 429);
    assert_eq!(from(OTHER, "203.0.113.2").status, 200);

    // The code of the live otp ends, so that the next one is new.
    world.policy.limits.guesses_per_otp = 2;
    let window = Window::open(&world);
    let send = |body: serde_json::Value| window.post(SEND, &token, &body.to_string());
    // Guesses by callers that nobody vouches for close asking for these, and not for whom the service knows.
    let code = World::wrong(&world.code_on(PHONE));
    let guess = json!({"phone_number": PHONE, "user": "ada", "otp_code": code.expose()}).to_string();
    for _ in 0..2 {
        assert_eq!(window.post(VERIFY, &token, &guess).status, 400);
    }
    assert_eq!(send(json!({"phone_number": PHONE, "user": "ada"})).code(), "too_many_guesses");
    assert_eq!(send(json!({"phone_number": PHONE, "user": "ada", "known": true})).status, 200);
}

async fn a_token_ends_at_its_time_and_when_it_is_revoked(database: &mut Database) {
    let engine = database.engine().await;
    let window = Window::with(database, engine.clone(), settings());
    let new = |name: &str, expires_at| NewToken {
        name: name.into(),
        scopes: Scopes::parse("verify").unwrap(),
        whose: Whose::User(User::parse("ada").unwrap()),
        expires_at,
        rate: None,
        conversion_unknown: false,
    };
    let end = database.now() + Duration::from_secs(60);
    let error = engine.create_token(&caller(), new("over", Some(database.now()))).await.err().unwrap();
    assert_eq!(error.code(), Code::VALUE_INVALID, "it would have expired already");
    for (name, good) in [("n".repeat(100), true), ("n".repeat(101), false), ("a\tb".to_owned(), false)] {
        assert_eq!(engine.create_token(&caller(), new(&name, Some(end))).await.is_ok(), good, "{name}");
    }
    let (_, short) = engine.create_token(&caller(), new("short", Some(end))).await.unwrap();
    let (lasting, secret) = engine.create_token(&caller(), new("lasting", None)).await.unwrap();
    let body = json!({"phone_number": PHONE, "otp_code": "000000"}).to_string();
    assert_eq!(window.post(VERIFY, short.expose(), &body).status, 400);

    database.advance_almost(60);
    assert_eq!(window.post(VERIFY, short.expose(), &body).status, 400);
    database.until_then();
    assert_eq!(window.post(VERIFY, short.expose(), &body).status, 401);

    assert_eq!(window.post(VERIFY, secret.expose(), &body).status, 400);
    for _ in 0..2 {
        assert!(engine.revoke_token(&caller(), lasting.id).await.unwrap().is_some());
        assert_eq!(window.post(VERIFY, secret.expose(), &body).status, 401);
    }
    assert!(engine.revoke_token(&caller(), 999).await.unwrap().is_none());
    let states: Vec<_> = engine.tokens().await.unwrap().iter().map(|token| token.state(database.now())).collect();
    assert_eq!(states, ["revoked", "expired", "expired"]);
    let rows: Vec<String> = database.audit().into_iter().filter(|row| row.starts_with("token.")).collect();
    assert_eq!(rows, ["token.create done", "token.create done", "token.create done", "token.revoke done"]);
}

#[test]
fn the_database_holds_no_token() {
    let world = World::new();
    let engine = world.engine();
    let token = token_of(&engine, "ada", "verify");
    let window = Window::open(&world);
    window.post(VERIFY, &token, &json!({"phone_number": PHONE, "otp_code": "000000"}).to_string());

    for (path, bytes) in files(world.dir.path()) {
        assert!(!holds(&bytes, &token.as_bytes()[7..]), "{}", path.display());
    }
}

#[test]
fn a_token_may_ask_so_often_in_a_second_wherever_it_asks() {
    let world = World::unlimited();
    let engine = world.engine();
    let make = |rate, whose| {
        let scopes = Scopes::parse("send,verify,test,read").unwrap();
        let new = NewToken { name: "t".into(), scopes, whose, expires_at: None, rate, conversion_unknown: false };
        block_on(engine.create_token(&caller(), new)).map(|(token, secret)| (token.rate, secret.expose().to_owned()))
    };
    let ada = || Whose::User(User::parse("ada").unwrap());
    for rate in [0, 10_001] {
        assert_eq!(make(Some(rate), ada()).unwrap_err().code(), Code::VALUE_INVALID, "{rate}");
    }
    assert_eq!(make(None, ada()).unwrap().0, 10);
    assert_eq!(make(None, Whose::Service).unwrap().0, 200);
    let (_, slow) = make(Some(4), ada()).unwrap();
    let (_, other) = make(Some(4), ada()).unwrap();
    let window = Window::open(&world);
    let body = json!({"phone_number": PHONE, "otp_code": "000000"}).to_string();
    let ask = |token: &str, nth: usize| match nth % 4 {
        0 => window.post(SEND, token, &json!({"phone_number": PHONE}).to_string()),
        1 => window.post(VERIFY, token, &body),
        2 => window.get(TEST, token),
        _ => {
            let headers = [("Authorization", &*format!("Bearer {token}")), ("X-Forwarded-For", "203.0.113.9")];
            window.ask("GET", "/metrics", &headers, "")
        }
    };

    for round in 0..3 {
        for nth in 0..8 {
            let answer = ask(&slow, nth);
            assert_eq!(answer.status == 429, nth >= 4, "{round} {nth} {answer:?}");
            if nth >= 4 {
                assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("rate_limited", Some("1")));
            }
        }
        let sent = world.messages_out();
        assert_eq!(ask(&slow, 0).status, 429);
        assert_eq!(world.messages_out(), sent, "it was not carried out");
        world.advance(1);
    }
    for nth in 0..4 {
        assert_ne!(ask(&other, nth).status, 429, "every token has its own");
    }
    assert_eq!(ask(&other, 1).status, 429);
}

#[test]
fn many_requests_at_once_are_no_more_than_the_rate() {
    let world = World::unlimited();
    let new = NewToken {
        name: "t".into(),
        scopes: Scopes::parse("verify").unwrap(),
        whose: Whose::User(User::parse("ada").unwrap()),
        expires_at: None,
        rate: Some(25),
        conversion_unknown: false,
    };
    let secret = block_on(world.engine().create_token(&caller(), new)).unwrap().1;
    let window = Window::open(&world);
    let body = json!({"phone_number": PHONE, "otp_code": "000000"}).to_string();

    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || (0..10).map(|_| window.post(VERIFY, secret.expose(), &body).status).collect::<Vec<_>>();
        let all: Vec<_> = (0..10).map(|_| scope.spawn(ask)).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });

    let count = |status: u16| statuses.iter().filter(|it| **it == status).count();
    assert_eq!((count(400), count(429)), (25, 75), "{statuses:?}");
}

#[test]
fn the_command_line_sets_and_shows_the_rate() {
    let place = Place::new("");
    let made = place.json(&["token", "create", "--user", "ada", "--scope", "send", "--rate", "3"]);
    assert_eq!(made["rate"], 3);
    place.json(&["token", "create", "--service", "--scope", "send"]);
    let listed = place.json(&["token", "list"]);
    let rates: Vec<&serde_json::Value> =
        listed["items"].as_array().unwrap().iter().map(|token| &token["rate"]).collect();
    assert_eq!(rates, [200, 3]);
    for rate in ["0", "-1", "10001", "1.5", "many"] {
        let ended =
            place.smsotp(&["token", "create", "--service", "--scope", "send", "--rate", rate]).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{rate}");
    }
}
