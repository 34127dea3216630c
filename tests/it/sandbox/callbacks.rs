//! Status callbacks and replies.

use serde_json::json;
use smsotp::sandbox::{CallbackPlan, Options, Pace};

use super::scene::{Client, PHONE, Receiver, eventually, signature_of, start};

#[tokio::test]
async fn callbacks_are_signed_and_in_order() {
    let mut receiver = Receiver::start().await;
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    let url = format!("{}/status?user=7#rc=2", receiver.url);
    let (_, created) = client.send_with(PHONE, "hi", &[("StatusCallback", &url)]).await;

    let mut reported = Vec::new();
    for _ in 0..3 {
        let (signature, params) = receiver.next().await;
        let signed = format!("{}/status?user=7", receiver.url);
        assert_eq!(signature, signature_of(sandbox.auth_token(), &signed, &params), "the fragment is not signed");
        let value = |name: &str| params.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default();
        assert_eq!(value("MessageSid"), created["sid"].as_str().unwrap());
        assert_eq!((value("To"), value("From")), (PHONE.to_owned(), sandbox.phone_number()));
        assert_eq!((value("AccountSid"), value("ApiVersion")), (sandbox.account_sid().to_owned(), "2010-04-01".into()));
        assert_eq!(value("MessageStatus"), value("SmsStatus"));
        assert_eq!(!value("RawDlrDoneDate").is_empty(), value("MessageStatus") == "delivered");
        reported.push(value("MessageStatus"));
    }
    assert_eq!(reported, ["sending", "sent", "delivered"], "only the answer reports the first status");
}

#[tokio::test]
async fn callbacks_are_lost_late_doubled_and_out_of_order_on_request() {
    let mut receiver = Receiver::start().await;
    let sandbox = start(Options { pace: Pace::Manual, ..Options::default() });
    let client = Client::new(&sandbox);
    let url = format!("{}/status", receiver.url);
    let deliver = async |plan: CallbackPlan| {
        sandbox.plan_callbacks(plan);
        client.send_with(PHONE, "hi", &[("StatusCallback", &url)]).await;
        for _ in 0..3 {
            sandbox.step();
        }
    };

    deliver(CallbackPlan { reversed: true, ..CallbackPlan::default() }).await;
    assert_eq!(receiver.statuses(3).await, ["delivered", "sent", "sending"]);

    deliver(CallbackPlan { doubled: true, late_millis: 5, ..CallbackPlan::default() }).await;
    assert_eq!(receiver.statuses(6).await, ["sending", "sending", "sent", "sent", "delivered", "delivered"]);

    deliver(CallbackPlan { lost: vec!["sending".into(), "delivered".into()], ..CallbackPlan::default() }).await;
    assert_eq!(receiver.statuses(1).await, ["sent"]);

    // On request: a final status that is followed by an older one.
    sandbox.plan_callbacks(CallbackPlan::default());
    let (_, created) = client.send_with(PHONE, "hi", &[("StatusCallback", &url)]).await;
    let sid = created["sid"].as_str().unwrap();
    sandbox.set_status(sid, "undelivered", Some(30003));
    sandbox.set_status(sid, "sent", None);
    let (_, params) = receiver.next().await;
    assert!(params.contains(&("ErrorCode".into(), "30003".into())));
    assert_eq!(receiver.statuses(1).await, ["sent"]);
}

#[tokio::test]
async fn callbacks_are_tried_again_and_never_leave_the_machine() {
    let mut receiver = Receiver::start().await;
    let sandbox = start(Options { pace: Pace::Manual, ..Options::default() });
    let client = Client::new(&sandbox);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let targets = [
        format!("{}/fails#rp=5xx&rc=2", receiver.url),
        format!("{}/fails", receiver.url),
        format!("http://{closed}/gone"),
        "https://example.com/status".to_owned(),
        "http://192.0.2.1/status".to_owned(),
    ];
    for url in &targets {
        let (status, _) = client.send_with(PHONE, "hi", &[("StatusCallback", url)]).await;
        assert_eq!(status, 201);
    }
    sandbox.step();
    assert_eq!(receiver.statuses(4).await, ["sending"; 4], "three tries for the first, one for the second");

    let log = eventually(|| Some(sandbox.callbacks()).filter(|log| log.len() == targets.len())).await;
    let answer = |url: &str| log.iter().find(|c| c.url == url).map(|c| (c.answered, c.failure.clone())).unwrap();
    assert_eq!(answer(&targets[0]).0, Some(500));
    assert_eq!(answer(&targets[2]).1.as_deref(), Some("no connection"));
    for far in &targets[3..] {
        assert!(answer(far).1.unwrap().starts_with("not called"), "{far}");
    }
}

#[tokio::test]
async fn a_phone_that_replies_stop_gets_nothing_until_it_replies_start() {
    let mut receiver = Receiver::start().await;
    let inbound = format!("{}/inbound", receiver.url);
    let sandbox = start(Options { inbound_url: Some(inbound.clone()), ..Options::default() });
    let client = Client::new(&sandbox);
    let service = [("To", PHONE), ("MessagingServiceSid", sandbox.messaging_service()), ("Body", "hi")];

    sandbox.reply(PHONE, " stop ", None);
    let (signature, params) = receiver.next().await;
    assert_eq!(signature, signature_of(sandbox.auth_token(), &inbound, &params));
    for (name, value) in [("From", PHONE), ("Body", " stop "), ("OptOutType", "STOP"), ("SmsStatus", "received")] {
        assert!(params.contains(&(name.into(), value.into())), "{name}");
    }
    assert_eq!(client.send(PHONE, "hi").await.1["code"], 21610);
    assert_eq!(client.post("/Messages.json", &service).await.1["code"], 21610);
    assert_eq!(client.send("+12025550177", "hi").await.0, 201, "other phones still get messages");

    let reply = json!({"from": PHONE, "body": "START"});
    let url = format!("{}/sandbox/reply", sandbox.url());
    assert_eq!(client.http.post(url).json(&reply).send().await.unwrap().status(), 200);
    assert_eq!(client.send(PHONE, "hi").await.0, 201);
    let (_, list) = client.get(&format!("/Messages.json?From={}", PHONE.replace('+', "%2B"))).await;
    let directions: Vec<_> = list["messages"].as_array().unwrap().iter().map(|m| m["direction"].clone()).collect();
    assert_eq!(directions, ["inbound", "inbound"]);
}
