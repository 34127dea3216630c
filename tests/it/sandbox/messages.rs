//! Messages, the account and what belongs to it, over raw HTTP.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use smsotp::clock::{ManualClock, Timestamp};
use smsotp::sandbox::{Options, Pace};

use super::scene::{Client, PHONE, assert_includes, start};

#[tokio::test]
async fn a_message_is_created_fetched_and_reaches_the_phone() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&shown);
    let sandbox = start(Options {
        on_message: Some(Box::new(move |message| seen.lock().unwrap().push(message.to_string()))),
        ..Options::default()
    });
    let client = Client::new(&sandbox);

    let (status, created) = client.send(PHONE, "123456 is your code.").await;
    assert_eq!(status, 201);
    let sid = created["sid"].as_str().unwrap();
    assert!(sid.len() == 34 && sid.starts_with("SM"));
    let expected = json!({
        "account_sid": sandbox.account_sid(), "api_version": "2010-04-01", "body": "123456 is your code.",
        "direction": "outbound-api", "error_code": null, "error_message": null, "from": sandbox.phone_number(),
        "messaging_service_sid": null, "num_media": "0", "num_segments": "1", "price": null, "price_unit": "USD",
        "status": "queued", "to": PHONE, "date_sent": null,
        "uri": format!("/2010-04-01/Accounts/{}/Messages/{sid}.json", sandbox.account_sid()),
    });
    assert_includes(&created, &expected);

    let delivered = client.until(sid, "delivered").await;
    assert_eq!(delivered["price"], "-0.00830");
    assert!(delivered["date_sent"].as_str().unwrap().ends_with(" +0000"));
    assert_eq!(shown.lock().unwrap().len(), 1);
    assert!(shown.lock().unwrap()[0].contains("│ 123456 is your code."));
    let received = sandbox.messages();
    assert_eq!((received.len(), sandbox.requests()), (1, 1));
    assert_eq!((received[0].to.as_str(), received[0].status.as_str()), (PHONE, "delivered"));
    let (_, balance) = client.get("/Balance.json").await;
    assert_eq!(balance, json!({"account_sid": sandbox.account_sid(), "balance": "19.99", "currency": "USD"}));
}

#[tokio::test]
async fn bad_requests_get_the_codes_that_twilio_gives_them() {
    let sandbox = start(Options {
        countries_off: HashSet::from(["PK".to_owned()]),
        clock: Arc::new(ManualClock::at(Timestamp(1_767_225_600_000))), // 2026-01-01T00:00:00Z
        ..Options::default()
    });
    let client = Client::new(&sandbox);
    let own = sandbox.phone_number();
    let service = sandbox.messaging_service().to_owned();
    let long = "x".repeat(1601);
    let ok = [("To", PHONE), ("From", own.as_str()), ("Body", "hi")];
    let cases: &[(u64, &[(&str, &str)])] = &[
        (21604, &[("To", ""), ("To", "")]),
        (21603, &[("From", "")]),
        (21602, &[("Body", "")]),
        (21211, &[("To", "2025550123")]),
        (21211, &[("To", "+1 202 555 0123")]),
        (21211, &[("To", "+1234567890")]),
        (21265, &[("To", "55555")]),
        (21266, &[("To", own.as_str())]),
        (21408, &[("To", "+923001234567")]),
        (21659, &[("From", "+12025550199")]),
        (21659, &[("From", "12345")]),
        (21212, &[("From", "+1abc")]),
        (21612, &[("From", "Acme")]),
        (63007, &[("From", "whatsapp:+12025550199"), ("To", "whatsapp:+12025550123")]),
        (21612, &[("To", "whatsapp:+12025550123")]),
        (21617, &[("Body", long.as_str())]),
        (21609, &[("StatusCallback", "not a url")]),
        (21609, &[("StatusCallback", "https://under_score.example/")]),
        (21624, &[("ValidityPeriod", "0")]),
        (21624, &[("ValidityPeriod", "36001")]),
        (21620, &[("MediaUrl", "ftp://example.com/a.png")]),
        (20001, &[("RiskCheck", "maybe")]),
        (20001, &[("Attempt", "second")]),
        (20001, &[("MaxPrice", "NaN")]),
        (20001, &[("SmartEncoded", "yes")]),
        (20001, &[("ContentRetention", "keep")]),
        (21655, &[("ContentSid", "HX1")]),
        (21656, &[("ContentSid", "HXaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), ("ContentVariables", "[1]")]),
        (21654, &[("ContentVariables", "{}")]),
        (21705, &[("MessagingServiceSid", "MG1")]),
        (21701, &[("MessagingServiceSid", "MGaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]),
        (35126, &[("ScheduleType", "soon")]),
        (35111, &[("ScheduleType", "fixed")]),
        (35118, &[("ScheduleType", "fixed"), ("SendAt", "2026-01-01T01:00:00Z")]),
        (
            35114,
            &[("ScheduleType", "fixed"), ("SendAt", "2026-01-01T00:04:59Z"), ("MessagingServiceSid", service.as_str())],
        ),
        (
            35114,
            &[("ScheduleType", "fixed"), ("SendAt", "2026-02-06T00:00:00Z"), ("MessagingServiceSid", service.as_str())],
        ),
    ];
    for (code, changes) in cases {
        let mut form = ok.to_vec();
        form.extend(*changes);
        let (status, body) = client.post("/Messages.json", &form).await;
        let expected = json!({
            "code": code, "status": status, "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        });
        assert_includes(&body, &expected);
        assert_eq!(status, if *code == 21701 { 404 } else { 400 }, "{code}");
        assert!(body["message"].as_str().is_some_and(|m| !m.is_empty()));
    }
    assert!(sandbox.messages().is_empty());
    assert_eq!(sandbox.requests(), cases.len());

    let name = [("To", "+447400123456"), ("From", "Acme"), ("Body", "hi")];
    assert_eq!(client.post("/Messages.json", &name).await.0, 201, "a sender name may write to Britain");
}

#[tokio::test]
async fn credentials_are_checked_and_valid_for_their_account_only() {
    let sandbox = start(Options { standard_key: true, ..Options::default() });
    let own = Client::new(&sandbox);
    let (key, secret) = sandbox.api_key();
    let by_key = own.with_credentials(key, secret);

    assert_eq!(by_key.get("/Messages.json?PageSize=1").await.0, 200);
    assert_eq!(by_key.get(".json").await.1["code"], 20003, "a Standard key cannot read the account");
    assert_eq!(own.get(".json").await.1["status"], "active");
    assert_eq!(own.get_at("/2010-04-01/Accounts.json").await.1["accounts"][0]["sid"], sandbox.account_sid());

    for (user, secret) in [(sandbox.account_sid(), "wrong"), ("ACx", sandbox.auth_token()), ("", "")] {
        let (status, body) = own.with_credentials(user, secret).get("/Messages.json").await;
        assert_eq!((status, &body["code"]), (401, &json!(20003)));
    }
    let other = "/2010-04-01/Accounts/ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Messages.json";
    let (status, body) = own.get_at(other).await;
    assert_eq!((status, &body["code"]), (404, &json!(20404)));
    for path in ["/2010-04-01/Nothing.json", "/v9/Services", "/2010-04-01/Accounts/%00.json"] {
        assert_eq!(own.get_at(path).await.0, 404, "{path}");
    }
    assert_eq!(own.post("/Balance.json", &[]).await.1["code"], 20004);
}

#[tokio::test]
async fn test_credentials_work_with_magic_numbers_only() {
    let sandbox = start(Options::default());
    let (sid, token) = sandbox.test_credentials();
    let client = Client { sid: sid.to_owned(), ..Client::new(&sandbox).with_credentials(sid, token) };
    let from = |from: &'static str| [("To", PHONE), ("From", from), ("Body", "hi")];
    let to = |to: &'static str| [("To", to), ("From", "+15005550006"), ("Body", "hi")];
    let cases = [
        (to("+15005550001"), 21211),
        (to("+15005550002"), 21612),
        (to("+15005550003"), 21408),
        (to("+15005550004"), 21610),
        (to("+15005550009"), 21614),
        (from("+15005550001"), 21212),
        (from("+15005550007"), 21606),
        (from("+15005550008"), 21611),
        (from("+12025550100"), 21606),
        (to("+15005550006"), 21266),
    ];
    for (form, code) in cases {
        let (status, body) = client.post("/Messages.json", &form).await;
        assert_eq!((status, &body["code"]), (if code == 21611 { 429 } else { 400 }, &json!(code)));
    }
    let (status, body) = client.post("/Messages.json", &to(PHONE)).await;
    assert_eq!((status, &body["status"]), (201, &json!("queued")));
    assert!(sandbox.messages().is_empty(), "test credentials leave nothing behind");

    let call = [("To", "+15005550003"), ("From", "+15005550006"), ("Twiml", "<Response/>")];
    assert_eq!(client.post("/Calls.json", &call).await.1["code"], 21215);
    let number = |phone| [("PhoneNumber", phone)];
    assert_eq!(client.post("/IncomingPhoneNumbers.json", &number("+15005550000")).await.1["code"], 21422);
    assert_eq!(client.post("/IncomingPhoneNumbers.json", &number("+15005550006")).await.0, 201);
    for path in [".json", "/Balance.json", "/Messages.json", "/IncomingPhoneNumbers.json"] {
        let (status, body) = client.get(path).await;
        assert_eq!((status, &body["code"]), (403, &json!(20008)), "{path}");
    }
}

#[tokio::test]
async fn lists_filter_and_their_pages_do_not_shift_while_messages_arrive() {
    let clock = Arc::new(ManualClock::at(Timestamp(1_767_225_600_000))); // 2026-01-01T00:00:00Z
    let sandbox = start(Options { clock: clock.clone(), pace: Pace::Manual, ..Options::default() });
    let client = Client::new(&sandbox);
    for n in 0..7 {
        let to = if n % 2 == 0 { PHONE } else { "+12025550124" };
        client.send(to, &format!("message {n}")).await;
        clock.advance(Duration::from_secs(86_400));
        sandbox.step();
        sandbox.step();
    }

    let bodies = |page: &Value| -> Vec<String> {
        page["messages"].as_array().unwrap().iter().map(|m| m["body"].as_str().unwrap().to_owned()).collect()
    };
    let (_, first) = client.get("/Messages.json?PageSize=3").await;
    assert_eq!(bodies(&first), ["message 6", "message 5", "message 4"]);
    assert_includes(&first, &json!({"page": 0, "page_size": 3, "start": 0, "end": 2, "previous_page_uri": null}));
    client.send(PHONE, "a newcomer").await;
    let (_, second) = client.get_at(first["next_page_uri"].as_str().unwrap()).await;
    assert_eq!(bodies(&second), ["message 3", "message 2", "message 1"]);
    assert_includes(&second, &json!({"page": 1, "start": 3, "end": 5}));
    let (_, third) = client.get_at(second["next_page_uri"].as_str().unwrap()).await;
    assert_eq!(bodies(&third), ["message 0"]);
    assert_eq!(third["next_page_uri"], Value::Null);
    let (_, back) = client.get_at(third["previous_page_uri"].as_str().unwrap()).await;
    assert_eq!(bodies(&back), bodies(&second));

    let to = client.get("/Messages.json?To=%2B12025550124&PageSize=2").await.1;
    assert_eq!(bodies(&to), ["message 5", "message 3"]);
    let rest = client.get_at(to["next_page_uri"].as_str().unwrap()).await.1;
    assert_eq!(bodies(&rest), ["message 1"], "the filter stays on the next page");
    // Message n was sent on January n+2; the newest was not sent and has no date to filter by.
    assert_eq!(bodies(&client.get("/Messages.json?DateSent=2026-01-04").await.1), ["message 2"]);
    assert_eq!(bodies(&client.get("/Messages.json?DateSent%3E=2026-01-07").await.1), ["message 6", "message 5"]);
    assert_eq!(bodies(&client.get("/Messages.json?DateSent%3C=2026-01-03").await.1), ["message 1", "message 0"]);
    let day = client.get("/Messages.json?DateSent=2026-01-04T17:30:00Z").await.1;
    assert_eq!(bodies(&day), ["message 2"], "a day, whatever time of it is told");
    let both = "/Messages.json?DateSent%3E=2026-01-03T00:00:00Z&DateSent%3C=2026-01-04T00:00:00%2B00:00";
    assert_eq!(bodies(&client.get(both).await.1), ["message 2", "message 1"]);
    assert!(bodies(&client.get("/Messages.json?From=%2B12025550199").await.1).is_empty());
    for bad in ["PageSize=0", "PageSize=x", "Page=x", "PageToken=PA", "PageToken=%F0%9F%91%8D", "DateSent=yesterday"] {
        assert_eq!(client.get(&format!("/Messages.json?{bad}")).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn messages_are_redacted_canceled_deleted_and_confirmed() {
    let sandbox = start(Options { pace: Pace::Manual, ..Options::default() });
    let client = Client::new(&sandbox);
    let sid = client.send(PHONE, "123456 is your code.").await.1["sid"].as_str().unwrap().to_owned();
    let path = format!("/Messages/{sid}.json");

    assert_eq!(client.post(&format!("/Messages/{sid}/Feedback.json"), &[("Outcome", "confirmed")]).await.0, 201);
    let (status, redacted) = client.post(&path, &[("Body", "")]).await;
    assert_eq!((status, &redacted["body"]), (200, &json!("")));
    assert_eq!(client.post(&path, &[("Body", "new words")]).await.0, 400);
    let (status, canceled) = client.post(&path, &[("Status", "canceled")]).await;
    assert_eq!((status, &canceled["status"]), (200, &json!("canceled")));
    let (status, late) = client.post(&path, &[("Status", "canceled")]).await;
    assert_eq!((status, &late["code"]), (400, &json!(30409)));
    sandbox.step();
    assert_eq!(client.get(&path).await.1["status"], "canceled", "a canceled message stays where it is");

    let request = client.http.delete(client.api(&path)).basic_auth(&client.sid, Some(&client.secret));
    assert_eq!(request.send().await.unwrap().status(), 204);
    assert_eq!(client.get(&path).await.1["code"], 20404);
    assert!(client.get("/Messages.json").await.1["messages"].as_array().unwrap().is_empty());
    let kept = &sandbox.messages()[0];
    assert!(kept.deleted && kept.body.is_empty() && kept.feedback.as_deref() == Some("confirmed"));
}

#[tokio::test]
async fn a_messaging_service_chooses_the_sender_and_schedules() {
    let clock = Arc::new(ManualClock::at(Timestamp(1_767_225_600_000)));
    let sandbox = start(Options { clock: clock.clone(), pace: Pace::Manual, ..Options::default() });
    let client = Client::new(&sandbox);
    let service = sandbox.messaging_service().to_owned();
    let form = [("To", PHONE), ("MessagingServiceSid", service.as_str()), ("Body", "now"), ("ValidityPeriod", "600")];
    let (_, now) = client.post("/Messages.json", &form).await;
    assert_includes(&now, &json!({"status": "accepted", "from": null, "num_segments": "0"}));
    let form =
        [&form[..2], &[("Body", "later"), ("ScheduleType", "fixed"), ("SendAt", "2026-01-01T00:10:00Z")]].concat();
    let (_, later) = client.post("/Messages.json", &form).await;
    assert_eq!(later["status"], "scheduled");

    let status = async |created: &Value| {
        let path = format!("/Messages/{}.json", created["sid"].as_str().unwrap());
        client.get(&path).await.1["status"].as_str().unwrap().to_owned()
    };
    sandbox.step();
    assert_eq!((status(&now).await, status(&later).await), ("queued".into(), "scheduled".into()));
    assert_eq!(client.get("/Messages.json").await.1["messages"][1]["from"], sandbox.phone_number());

    // The first stays in the queue longer than its validity; the second becomes due.
    clock.advance(Duration::from_secs(600));
    sandbox.step();
    assert_eq!((status(&now).await, status(&later).await), ("failed".into(), "queued".into()));
    assert_eq!(sandbox.messages()[0].error_code, Some(30036));
    for _ in 0..3 {
        sandbox.step();
    }
    assert_eq!(status(&later).await, "delivered");

    let (_, fetched) = client.get_at(&format!("/v1/Services/{service}")).await;
    assert_includes(&fetched, &json!({"sid": service, "usecase": "verification"}));
    let (_, numbers) = client.get_at(&format!("/v1/Services/{service}/PhoneNumbers")).await;
    assert_eq!(numbers["phone_numbers"][0]["phone_number"], sandbox.phone_number());
    assert_eq!(numbers["meta"]["key"], "phone_numbers");
    assert_eq!(client.get_at("/v1/Services/MGaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await.0, 404);
}

#[tokio::test]
async fn what_a_preflight_check_reads_is_answered() {
    let sandbox = start(Options {
        more_numbers: vec!["+442071838750".into()],
        countries_off: HashSet::from(["IN".to_owned()]),
        trial: true,
        verified: HashSet::from([PHONE.to_owned()]),
        ..Options::default()
    });
    let client = Client::new(&sandbox);

    assert_eq!(client.get(".json").await.1["type"], "Trial");
    assert_eq!(client.send("+12025550177", "hi").await.1["code"], 21608);
    assert_eq!(client.send(PHONE, "hi").await.0, 201);
    let (_, numbers) = client.get("/IncomingPhoneNumbers.json?PhoneNumber=%2B442071838750").await;
    let numbers = numbers["incoming_phone_numbers"].as_array().unwrap();
    assert_eq!((numbers.len(), &numbers[0]["capabilities"]["sms"]), (1, &json!(true)));
    let pn = format!("/IncomingPhoneNumbers/{}.json", numbers[0]["sid"].as_str().unwrap());
    assert_eq!(client.get(&pn).await.1["phone_number"], "+442071838750");
    let (_, geo) = client.get_at("/v1/Messaging/GeoPermissions?CountryCode=IN,US").await;
    let enabled: Vec<_> = geo["permissions"].as_array().unwrap().iter().map(|p| p["enabled"].as_bool()).collect();
    assert_eq!(enabled, [Some(true), Some(false)]);
    let (_, price) = client.get_at("/v1/Messaging/Countries/US").await;
    assert_eq!(price["outbound_sms_prices"][0]["prices"][0]["current_price"], "0.0083");
    assert_eq!(client.get_at("/v1/Messaging/Countries/ZZ").await.0, 404);
    let (_, priced) = client.get_at("/v1/Messaging/Countries?PageSize=2&Page=1").await;
    assert_eq!((&priced["countries"][0]["iso_country"], &priced["meta"]["page"]), (&json!("AE"), &json!(1)));
    assert!(priced["meta"]["next_page_url"].as_str().unwrap().contains("PageSize=2&Page=2"));
    assert_eq!(client.get_at("/v1/Messaging/Countries?PageSize=1000").await.1["meta"]["next_page_url"], json!(null));
    let lookup = async |number: &str| client.get_at(&format!("/v2/PhoneNumbers/{number}")).await.1;
    let known = lookup("+12025550123?Fields=line_type_intelligence").await;
    assert_includes(&known, &json!({"valid": true, "country_code": "US", "sms_pumping_risk": null}));
    assert_eq!(known["line_type_intelligence"]["type"], "mobile");
    let landline = lookup("+442071838750?Fields=line_type_intelligence").await;
    assert_includes(&landline, &json!({"country_code": "GB", "calling_country_code": "44"}));
    assert_eq!(landline["line_type_intelligence"]["type"], "landline");
    assert_includes(&lookup("+12").await, &json!({"valid": false, "validation_errors": ["TOO_SHORT"]}));
    let national = lookup("02071838750?CountryCode=GB").await;
    assert_includes(&national, &json!({"phone_number": "+442071838750", "valid": true}));
    assert_includes(&lookup("02071838750").await, &json!({"valid": false}));
    let older = async |number: &str| client.get_at(&format!("/v1/PhoneNumbers/{number}")).await;
    let known = older("+12025550123?Type=carrier").await.1;
    assert_includes(&known, &json!({"phone_number": PHONE, "country_code": "US", "national_format": "(202) 555-0123"}));
    assert_eq!((known["carrier"]["type"].as_str(), &known["caller_name"]), (Some("mobile"), &json!(null)));
    let landline = older("02071838750?CountryCode=GB&Type=carrier&Type=caller-name").await.1;
    assert_eq!(
        (landline["carrier"]["type"].as_str(), &landline["caller_name"]["error_code"]),
        (Some("landline"), &json!(null))
    );
    assert_eq!(older("2025550123").await.1["carrier"], json!(null), "a US number, and nothing paid for");
    assert_eq!(older("+12").await.0, 404);
    let (_, usage) = client.get("/Usage/Records/Today.json?Category=sms").await;
    assert_includes(&usage["usage_records"][0], &json!({"category": "sms", "count": "1", "usage": "1"}));
}

#[tokio::test]
async fn deliveries_end_with_the_outcome_set_for_their_phone() {
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    sandbox.set_outcome(PHONE, "undelivered", Some(30005));
    sandbox.set_outcome("+12025550124", "failed", Some(30007));

    let one = client.send(PHONE, "hi").await.1["sid"].as_str().unwrap().to_owned();
    let two = client.send("+12025550124", "hi").await.1["sid"].as_str().unwrap().to_owned();

    let undelivered = client.until(&one, "undelivered").await;
    assert_includes(&undelivered, &json!({"error_code": 30005, "price": "-0.00830"}));
    let failed = client.until(&two, "failed").await;
    assert_includes(&failed, &json!({"error_code": 30007, "price": null, "date_sent": null}));
}

#[tokio::test]
async fn segments_are_counted_as_twilio_counts_them() {
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    let cases = [
        ("a".repeat(160), "1"),
        ("a".repeat(161), "2"),
        ("€".repeat(80), "1"),
        ("€".repeat(81), "2"),
        ("я".repeat(70), "1"),
        ("я".repeat(71), "2"),
        ("🙂".repeat(36), "2"),
        ("código".to_owned(), "1"),
    ];
    for (text, segments) in cases {
        let (_, body) = client.send(PHONE, &text).await;
        assert_eq!(body["num_segments"], segments, "{text}");
    }
}

#[tokio::test]
async fn what_twilio_replaces_counts_as_what_it_becomes() {
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    let own = sandbox.phone_number();
    let text = "“Your code – 123456” ".repeat(5);
    let form = [("To", PHONE), ("From", own.as_str()), ("Body", text.as_str())];
    let plain = client.post("/Messages.json", &form).await.1;
    let smart =
        [&form[..], &[("SmartEncoded", "true"), ("RiskCheck", "enable"), ("Attempt", "2"), ("MaxPrice", "0.05")]];
    let smart = client.post("/Messages.json", &smart.concat()).await.1;
    assert_eq!((&plain["num_segments"], &smart["num_segments"]), (&json!("2"), &json!("1")));
    assert_eq!(smart["body"], text.as_str(), "what was asked for is what is shown");
}

#[tokio::test]
async fn media_are_listed_by_their_kinds_and_can_be_deleted() {
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    let own = sandbox.phone_number();
    let form = [
        ("To", PHONE),
        ("From", own.as_str()),
        ("MediaUrl", "https://example.com/a.JPG?size=2"),
        ("MediaUrl", "https://example.com/card.vcf"),
        ("MediaUrl", "https://example.com/what"),
    ];
    let message = client.post("/Messages.json", &form).await.1;
    assert_eq!(message["num_media"], "3");
    let list = format!("/Messages/{}/Media.json", message["sid"].as_str().unwrap());
    let media = client.get(&list).await.1["media_list"].clone();
    let kinds: Vec<_> = media.as_array().unwrap().iter().map(|one| one["content_type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["image/jpeg", "text/vcard", "application/octet-stream"]);
    let first = media[0]["uri"].as_str().unwrap();
    assert_eq!(client.get_at(first).await.1, media[0]);
    assert!(media[0]["sid"].as_str().unwrap().starts_with("ME") && media[0]["parent_sid"] == message["sid"]);
    assert_eq!(client.delete_at(first).await, 204);
    assert_eq!(client.get_at(first).await.0, 404);
    assert_eq!(client.delete_at(first).await, 404);
    assert_eq!(client.get(&list).await.1["media_list"].as_array().unwrap().len(), 2);
    assert_eq!(client.get("/Messages/SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Media.json").await.0, 404);
}
