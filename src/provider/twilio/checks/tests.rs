//! The checks against a stand-in that answers by path.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use url::Url;

use super::super::{Account, Settings};
use super::*;

const AC: &str = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

type Answers = fn(&str, &str) -> (u16, String);

/// Answers every request with what `answers` makes of its request line and body.
fn stand_in(answers: Answers) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            reader.read_line(&mut line).unwrap();
            let mut header = String::new();
            while reader.read_line(&mut header).is_ok_and(|n| n > 2) {
                length = header
                    .to_lowercase()
                    .trim()
                    .strip_prefix("content-length: ")
                    .map_or(length, |n| n.parse().unwrap());
                header.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let (status, json) = answers(&line, &String::from_utf8(body).unwrap());
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", json.len());
            let _ = reader.get_mut().write_all(format!("{head}{json}").as_bytes());
        }
    });
    base
}

fn given(base: Url) -> Account {
    Account {
        account_sid: Some(AC.to_owned()),
        auth_token: Some("0123456789abcdef0123456789abcdef".into()),
        phone_number: Some("+15005550006".to_owned()),
        base_url: Some(base),
        ..Account::default()
    }
}

async fn run(given: Account, to: Option<&str>) -> Vec<Check> {
    let options = CheckOptions { to: to.and_then(Phone::from_e164), ..CheckOptions::default() };
    Twilio::new(Settings::check(&given).unwrap()).unwrap().checks(&options).await
}

fn marks(checks: &[Check]) -> Vec<(&'static str, Mark)> {
    checks.iter().map(|check| (check.name, check.mark)).collect()
}

fn error(status: u16, code: u32) -> (u16, String) {
    (status, format!(r#"{{"code":{code},"message":"m","status":{status}}}"#))
}

fn healthy(line: &str, _body: &str) -> (u16, String) {
    let json = match line.split(' ').nth(1).unwrap() {
        path if path.contains("Messages.json") => r#"{"messages":[]}"#,
        path if path.contains("Balance.json") => r#"{"balance":"12.50","currency":"USD"}"#,
        path if path.contains("IncomingPhoneNumbers.json?PhoneNumber=%2B15005550006") => {
            r#"{"incoming_phone_numbers":[{"phone_number":"+15005550006","capabilities":{"sms":true}}]}"#
        }
        path if path.contains("GeoPermissions?CountryCode=GB") => {
            r#"{"permissions":[{"country_code":"GB","enabled":true}]}"#
        }
        path if path.contains("/v2/PhoneNumbers/%2B447400123456") => r#"{"valid":true,"country_code":"GB"}"#,
        path if path.ends_with("PhoneNumbers?PageSize=50") => r#"{"phone_numbers":[]}"#,
        path if path.contains("/v1/Services/") => r#"{"friendly_name":"OTP","alpha_senders":[],"short_codes":[]}"#,
        _ => r#"{"status":"active","type":"Full"}"#,
    };
    (200, json.to_owned())
}

#[tokio::test]
async fn a_healthy_account_passes_every_check() {
    let checks = run(given(stand_in(healthy)), Some("+447400123456")).await;
    let names = ["credentials", "connection", "accepted", "account", "balance", "sender", "country", "number"];
    assert_eq!(marks(&checks), names.map(|name| (name, Mark::Ok)));
    assert!(checks.iter().all(|check| check.next.is_none() && !check.finding.contains("447400123456")));

    let without = run(given(stand_in(healthy)), None).await;
    assert_eq!(marks(&without)[6..], [("country", Mark::Skip), ("number", Mark::Skip)]);
}

#[tokio::test]
async fn an_empty_service_and_a_foreign_sender_fail_with_a_next_step() {
    let service = Account { messaging_service_sid: Some(format!("MG{}", "b".repeat(32))), ..given(stand_in(healthy)) };
    let sender = &run(service, None).await[5];
    assert_eq!((sender.mark, sender.meaning.as_str()), (Mark::Fail, "Twilio would answer 21704"));
    let foreign = Account { phone_number: Some("+15005550007".to_owned()), ..given(stand_in(healthy)) };
    let sender = &run(foreign, None).await[5];
    assert_eq!(sender.mark, Mark::Fail);
    assert!(sender.next.is_some());
}

#[tokio::test]
async fn a_standard_key_passes_and_says_what_it_cannot_see() {
    let answers: Answers = |line, body| {
        let closed = line.contains(&format!("/Accounts/{AC}.json")) || line.contains("Balance");
        if closed { error(401, 20003) } else { healthy(line, body) }
    };
    let key = Account {
        auth_token: None,
        api_key: Some(format!("SK{}", "c".repeat(32))),
        api_secret: Some("secret".into()),
        ..given(stand_in(answers))
    };
    let checks = run(key, None).await;
    let skipped = [("account", Mark::Skip), ("balance", Mark::Skip), ("sender", Mark::Ok)];
    assert_eq!(marks(&checks)[2..6], [&[("accepted", Mark::Ok)][..], &skipped].concat());
}

#[tokio::test]
async fn trial_poverty_and_a_closed_country_are_told() {
    let answers: Answers = |line, body| match line {
        line if line.contains(&format!("/Accounts/{AC}.json")) => {
            (200, r#"{"status":"active","type":"Trial"}"#.to_owned())
        }
        line if line.contains("Balance") => (200, r#"{"balance":"-0.10","currency":"USD"}"#.to_owned()),
        line if line.contains("Geo") => (200, r#"{"permissions":[{"country_code":"GB","enabled":false}]}"#.to_owned()),
        line if line.contains("/v2/") => {
            (200, r#"{"valid":false,"country_code":"GB","validation_errors":["TOO_LONG"]}"#.to_owned())
        }
        line => healthy(line, body),
    };
    let checks = run(given(stand_in(answers)), Some("+447400123456")).await;
    let expected = [
        ("account", Mark::Warn),
        ("balance", Mark::Fail),
        ("sender", Mark::Ok),
        ("country", Mark::Fail),
        ("number", Mark::Fail),
    ];
    assert_eq!(marks(&checks)[3..], expected);
    assert!(checks[3..].iter().all(|check| check.mark == Mark::Ok || check.next.is_some()));
    assert!(checks[7].finding.contains("TOO_LONG"));
}

#[tokio::test]
async fn test_credentials_are_recognised_and_the_magic_numbers_walked() {
    let answers: Answers = |line, body| {
        if line.starts_with("GET") {
            return error(403, 20008);
        }
        let has = |field: &str, last: u32| body.contains(&format!("{field}=%2B1500555000{last}"));
        let codes = [
            ("From", 1, 21212),
            ("From", 7, 21606),
            ("From", 8, 21611),
            ("To", 1, 21211),
            ("To", 2, 21612),
            ("To", 3, 21408),
            ("To", 4, 21610),
            ("To", 9, 21614),
        ];
        match codes.into_iter().find(|(field, last, _)| has(field, *last)) {
            Some((_, _, code)) => error(if code == 21611 { 429 } else { 400 }, code),
            None => (201, format!(r#"{{"sid":"SM{}","account_sid":"{AC}","status":"queued"}}"#, "b".repeat(32))),
        }
    };
    let checks = run(given(stand_in(answers)), None).await;
    assert!(checks.iter().all(|check| check.mark != Mark::Fail), "{checks:#?}");
    let magic = checks.iter().filter(|check| check.name.starts_with("magic_") && check.mark == Mark::Ok);
    assert_eq!(magic.count(), 9);

    let suspended: Answers = |_, _| error(403, 20403);
    let checks = run(given(stand_in(suspended)), None).await;
    assert_eq!(marks(&checks)[2], ("accepted", Mark::Fail));
    assert!(checks[3..].iter().all(|check| check.mark == Mark::Skip));
}

#[tokio::test]
async fn a_stand_in_is_not_praised_as_twilio() {
    let checks = run(given(stand_in(healthy)), None).await;
    assert!(checks[1].meaning.contains("not Twilio") && checks[1].meaning.contains("no certificate was checked"));
    assert!(checks[2].meaning.contains("TWILIO_API_BASE_URL") && !checks[2].meaning.contains("Twilio lets"));
}

#[tokio::test]
async fn a_busy_or_broken_server_says_nothing_about_the_settings() {
    let busy: Answers = |_, _| error(429, 20429);
    let down: Answers = |_, _| error(503, 20503);
    let html: Answers = |_, _| (502, "<html>Bad gateway</html>".to_owned());
    for answers in [busy, down, html] {
        let checks = run(given(stand_in(answers)), None).await;
        assert_eq!(checks[2].mark, Mark::Fail);
        assert!(checks[2].meaning.contains("not known") && !checks[2].meaning.contains("settings"), "{:?}", checks[2]);
        assert!(checks[2].next.as_ref().unwrap().starts_with("Try again in"), "{:?}", checks[2]);
    }
    let refused: Answers = |_, _| error(401, 20003);
    assert_eq!(run(given(stand_in(refused)), None).await[2].meaning, "Nothing can be sent with these settings");
}

#[tokio::test]
async fn places_that_twilio_does_not_have_and_tokens_that_are_none_are_seen_without_twilio() {
    for (region, edge) in [(Some("ie9"), Some("dublin")), (None, Some("nowhere"))] {
        let (region, edge) = (region.map(str::to_owned), edge.map(str::to_owned));
        let checks = run(Account { region, edge, ..given(stand_in(healthy)) }, None).await;
        assert_eq!((checks.len(), checks[1].mark), (8, Mark::Fail), "{checks:?}");
        assert!(checks[1].next.is_some() && checks[2..].iter().all(|check| check.mark == Mark::Skip));
    }
    let checks = run(Account { auth_token: Some("too-short".into()), ..given(stand_in(healthy)) }, None).await;
    assert_eq!(checks[0].mark, Mark::Warn);
    assert!(checks[0].finding.contains("9 characters") && !checks[0].finding.contains("too-short"));
}

#[tokio::test]
async fn wrong_credentials_foreign_servers_and_closed_ports_never_throw() {
    let refused: Answers = |_, _| error(401, 20003);
    let html: Answers = |_, _| (200, "<html>\u{1b}[31mlog in</html>".to_owned());
    for answers in [refused, html] {
        let checks = run(given(stand_in(answers)), Some("+447400123456")).await;
        assert_eq!((checks.len(), checks[2].mark), (8, Mark::Fail));
        assert!(checks[2].next.is_some() && checks[3..].iter().all(|check| check.mark == Mark::Skip));
        assert!(!format!("{checks:?}").contains("1b}["));
    }
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
    };
    let checks = run(given(closed), None).await;
    assert_eq!((checks.len(), checks[1].mark), (8, Mark::Fail));
    let missing = Settings::check(&Account::default()).unwrap_err();
    let checks = for_wrong_settings(&missing);
    assert_eq!((checks.len(), checks[0].mark, checks[1].mark), (8, Mark::Fail, Mark::Skip));
}
