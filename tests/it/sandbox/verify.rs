//! Verify v2: a whole verification, its limits, and what Twilio forgets.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use smsotp::clock::{Clock, ManualClock, SystemClock};
use smsotp::sandbox::{Options, Sandbox, inbox};

use super::scene::{Client, PHONE, start};

pub(super) struct Verify {
    pub sandbox: Sandbox,
    pub client: Client,
    pub clock: Arc<ManualClock>,
    pub service: String,
}

impl Verify {
    pub(super) async fn with(settings: &[(&str, &str)]) -> Verify {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let sandbox = start(Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() });
        let client = Client::new(&sandbox);
        let form = [&[("FriendlyName", "ACME")], settings].concat();
        let (status, made) = client.post_at("/v2/Services", &form).await;
        assert_eq!(status, 201, "{made}");
        Verify { sandbox, client, clock, service: made["sid"].as_str().unwrap().to_owned() }
    }

    pub(super) async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        self.client.post_at(&format!("/v2/Services/{}/{path}", self.service), form).await
    }

    pub(super) async fn start(&self, to: &str) -> (u16, Value) {
        self.post("Verifications", &[("To", to), ("Channel", "sms")]).await
    }

    pub(super) async fn check(&self, to: &str, code: &str) -> (u16, Value) {
        self.post("VerificationCheck", &[("To", to), ("Code", code)]).await
    }

    pub(super) fn code(&self) -> String {
        inbox::extract_code(&self.sandbox.messages().last().unwrap().body).unwrap()
    }
}

pub(super) fn code_of((status, body): (u16, Value)) -> (u16, u64) {
    (status, body["code"].as_u64().unwrap_or_default())
}

const WRONG: &str = "0000";

#[tokio::test]
async fn a_number_is_verified_once() {
    let verify = Verify::with(&[]).await;
    let (status, begun) = verify.start(PHONE).await;
    assert_eq!((status, begun["status"].as_str(), begun["valid"].as_bool()), (201, Some("pending"), Some(false)));
    assert_eq!(begun["send_code_attempts"].as_array().unwrap().len(), 1);
    let code = verify.code();
    assert_eq!(verify.sandbox.messages()[0].body, format!("Your ACME verification code is: {code}"));

    let (status, wrong) = verify.check(PHONE, WRONG).await;
    assert_eq!((status, wrong["status"].as_str(), wrong["valid"].as_bool()), (200, Some("pending"), Some(false)));
    let (status, right) = verify.check(PHONE, &code).await;
    assert_eq!((status, right["status"].as_str(), right["valid"].as_bool()), (200, Some("approved"), Some(true)));
    assert_eq!((&right["sid"], &right["channel"], &right["to"]), (&begun["sid"], &begun["channel"], &begun["to"]));
    assert_eq!(code_of(verify.check(PHONE, &code).await), (404, 20404), "what is approved is forgotten");
    let sid = begun["sid"].as_str().unwrap();
    assert_eq!(verify.client.get_at(&format!("/v2/Services/{}/Verifications/{sid}", verify.service)).await.0, 404);
    // Verify sends through numbers of Twilio's own.
    assert_eq!(verify.client.get("/Messages.json").await.1["messages"].as_array().unwrap().len(), 0);
    assert_ne!(verify.start(PHONE).await.1["sid"], begun["sid"]);
}

#[tokio::test]
async fn the_same_code_is_sent_five_times_and_checked_five_times() {
    let verify = Verify::with(&[("CodeLength", "8")]).await;
    let first = verify.start(PHONE).await.1;
    let code = verify.code();
    assert_eq!(code.len(), 8);
    for channel in ["whatsapp", "call", "sms", "sms"] {
        let (status, again) = verify.post("Verifications", &[("To", PHONE), ("Channel", channel)]).await;
        assert_eq!((status, &again["sid"], again["channel"].as_str()), (201, &first["sid"], Some(channel)));
        assert_eq!(verify.code(), code, "the same code");
    }
    assert_eq!(verify.sandbox.messages()[1].to, format!("whatsapp:{PHONE}"));
    assert!(verify.sandbox.messages()[2].body.starts_with("[call] "));
    assert_eq!(code_of(verify.start(PHONE).await), (429, 60203));
    for _ in 0..5 {
        assert_eq!(verify.check(PHONE, WRONG).await.1["status"], "pending");
    }
    assert_eq!(code_of(verify.check(PHONE, &code).await), (429, 60202), "the right one too");
    verify.clock.advance(Duration::from_secs(601));
    assert_eq!(code_of(verify.check(PHONE, &code).await), (404, 20404), "it has expired");
    assert_eq!(verify.start(PHONE).await.0, 201);
    assert_ne!(verify.code(), code);
}

#[tokio::test]
async fn a_caller_ends_one_and_others_stay() {
    let verify = Verify::with(&[("CustomCodeEnabled", "true")]).await;
    let other = "+12025550124";
    for (to, code) in [(PHONE, "4711"), (other, "abcd")] {
        let form = [("To", to), ("Channel", "sms"), ("CustomCode", code)];
        assert_eq!(verify.post("Verifications", &form).await.0, 201);
    }
    let (status, canceled) = verify.post(&format!("Verifications/{PHONE}"), &[("Status", "canceled")]).await;
    assert_eq!((status, canceled["status"].as_str()), (200, Some("canceled")));
    assert_eq!(code_of(verify.check(PHONE, "4711").await), (404, 20404));
    let fetched = verify.client.get_at(&format!("/v2/Services/{}/Verifications/{other}", verify.service)).await;
    assert_eq!((fetched.0, fetched.1["status"].as_str()), (200, Some("pending")));
    let sid = fetched.1["sid"].as_str().unwrap();
    assert_eq!(code_of(verify.post(&format!("Verifications/{sid}"), &[("Status", "done")]).await), (400, 60200));
    let approved = verify.post(&format!("Verifications/{sid}"), &[("Status", "approved")]).await;
    assert_eq!((approved.0, approved.1["valid"].as_bool()), (200, Some(true)));
    assert_eq!(code_of(verify.post(&format!("Verifications/{sid}"), &[("Status", "approved")]).await), (404, 20404));
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_twilios_codes() {
    let verify = Verify::with(&[]).await;
    let refused = async |path: &str, form: &[(&str, &str)]| code_of(verify.post(path, form).await);
    for (form, expected) in [
        (&[("Channel", "sms")][..], (400, 60200)),
        (&[("To", PHONE)], (400, 60200)),
        (&[("To", "12025550123"), ("Channel", "sms")], (400, 60200)),
        (&[("To", PHONE), ("Channel", "pigeon")], (400, 60200)),
        (&[("To", PHONE), ("Channel", "email")], (400, 60217)),
        (&[("To", PHONE), ("Channel", "sms"), ("CustomCode", "4711")], (403, 60204)),
        (&[("To", PHONE), ("Channel", "sms"), ("Locale", "tlh")], (404, 20404)),
    ] {
        assert_eq!(refused("Verifications", form).await, expected, "{form:?}");
    }
    assert_eq!(verify.sandbox.messages().len(), 0);
    assert_eq!(verify.post("Verifications", &[("To", PHONE), ("Channel", "sms"), ("Locale", "de-AT")]).await.0, 201);
    assert_eq!(refused("VerificationCheck", &[("Code", "1234")]).await, (400, 60221));
    assert_eq!(refused("VerificationCheck", &[("To", PHONE)]).await, (400, 60200));
    assert_eq!(refused("VerificationCheck", &[("To", PHONE), ("Code", "123")]).await, (400, 60200));
    let elsewhere = verify.client.post_at("/v2/Services/VA0/Verifications", &[("To", PHONE), ("Channel", "sms")]).await;
    assert_eq!(code_of(elsewhere), (404, 20404));
    for (form, expected) in [
        (&[("CodeLength", "6")][..], (400, 60200)),
        (&[("FriendlyName", "ACME 12345")], (400, 60200)),
        (&[("FriendlyName", "ACME"), ("CodeLength", "3")], (400, 60200)),
        (&[("FriendlyName", "ACME"), ("LookupEnabled", "yes")], (400, 60200)),
    ] {
        assert_eq!(code_of(verify.client.post_at("/v2/Services", form).await), expected, "{form:?}");
    }
}

#[tokio::test]
async fn payments_landlines_and_closed_countries() {
    let verify = Verify::with(&[("Psd2Enabled", "true")]).await;
    assert_eq!(code_of(verify.start(PHONE).await), (400, 60206));
    let paid = [("To", PHONE), ("Channel", "sms"), ("Amount", "39.99"), ("Payee", "ACME")];
    assert_eq!(verify.post("Verifications", &paid).await.1["amount"], "39.99");
    let code = verify.code();
    assert_eq!(code_of(verify.check(PHONE, &code).await), (400, 60206));
    let bound = [("To", PHONE), ("Code", code.as_str()), ("Amount", "39.99"), ("Payee", "ACME")];
    assert_eq!(verify.post("VerificationCheck", &bound).await.1["valid"], true);

    let landlines = Verify::with(&[("LookupEnabled", "true"), ("SkipSmsToLandlines", "true")]).await;
    assert_eq!(code_of(landlines.start("+493012345678").await), (403, 60205));
    assert_eq!(landlines.post("Verifications", &[("To", "+493012345678"), ("Channel", "call")]).await.0, 201);
    let closed = start(Options { countries_off: ["US".to_owned()].into(), ..Options::default() });
    let client = Client::new(&closed);
    let service = client.get_at("/v2/Services").await.1["services"][0]["sid"].as_str().unwrap().to_owned();
    let form = [("To", PHONE), ("Channel", "sms")];
    assert_eq!(code_of(client.post_at(&format!("/v2/Services/{service}/Verifications"), &form).await), (403, 60605));
}

#[tokio::test]
async fn services_are_listed_changed_and_deleted() {
    let verify = Verify::with(&[("DoNotShareWarningEnabled", "true")]).await;
    let path = format!("/v2/Services/{}", verify.service);
    let listed = verify.client.get_at("/v2/Services").await.1;
    assert_eq!(listed["services"].as_array().unwrap().len(), 2, "the sandbox has one of its own");
    assert_eq!(listed["services"][0]["sid"], verify.service.as_str());
    let second = verify.client.get_at("/v2/Services?PageSize=1&Page=1").await.1;
    assert_eq!(second["services"], serde_json::json!([listed["services"][1]]));
    assert_eq!((&second["meta"]["next_page_url"], second["meta"]["page"].as_u64()), (&Value::Null, Some(1)));
    let (status, changed) = verify.client.post_at(&path, &[("FriendlyName", "Other"), ("CodeLength", "4")]).await;
    assert_eq!(
        (status, changed["friendly_name"].as_str(), changed["code_length"].as_u64()),
        (200, Some("Other"), Some(4))
    );
    verify.start(PHONE).await;
    assert!(verify.sandbox.messages()[0].body.ends_with("Don't share this code with anyone."));
    assert_eq!(verify.code().len(), 4);
    assert_eq!(verify.client.delete_at(&path).await, 204);
    assert_eq!(verify.client.get_at(&path).await.0, 404);
    assert_eq!(code_of(verify.check(PHONE, "1234").await), (404, 20404));
}

#[tokio::test]
async fn a_template_says_it_in_its_words() {
    let verify = Verify::with(&[]).await;
    let listed = verify.client.get_at("/v2/Templates").await.1;
    let templates = listed["templates"].as_array().unwrap();
    assert_eq!(templates.len(), 3);
    let warning = templates.iter().find(|one| one["channels"] == serde_json::json!(["sms"])).unwrap();
    let sid = warning["sid"].as_str().unwrap();
    let named = verify.client.get_at("/v2/Templates?FriendlyName=Base%20Verification%20Template%203").await.1;
    assert_eq!(named["templates"].as_array().unwrap().len(), 1);

    let with = |channel: &'static str, sid: &str| {
        [("To", PHONE), ("Channel", channel), ("TemplateSid", sid)].map(|(n, v)| (n, v.to_owned()))
    };
    for (channel, sid, expected) in
        [("sms", "HJ0", (404, 60228)), ("call", sid, (400, 60408)), ("whatsapp", sid, (400, 60408))]
    {
        let form = with(channel, sid);
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(code_of(verify.post("Verifications", &form).await), expected, "{channel}");
    }
    assert_eq!(verify.sandbox.messages().len(), 0);
    let form = [("To", PHONE), ("Channel", "sms"), ("TemplateSid", sid)];
    assert_eq!(verify.post("Verifications", &form).await.0, 201);
    let body = verify.sandbox.messages()[0].body.clone();
    assert_eq!(body, format!("Your ACME verification code is: {}. Do not share this code with anyone.", verify.code()));

    // The service's own choice, where nothing else is said and where the channel takes it.
    let path = format!("/v2/Services/{}", verify.service);
    assert_eq!(code_of(verify.client.post_at(&path, &[("DefaultTemplateSid", "HJ0")]).await), (404, 60228));
    assert_eq!(verify.client.post_at(&path, &[("DefaultTemplateSid", sid)]).await.1["default_template_sid"], sid);
    verify.start("+12025550124").await;
    assert!(verify.sandbox.messages()[1].body.ends_with("Do not share this code with anyone."));
    assert_eq!(verify.post("Verifications", &[("To", "+12025550124"), ("Channel", "whatsapp")]).await.0, 201);
    assert!(!verify.sandbox.messages()[2].body.contains("share"));
    let cleared = verify.client.post_at(&path, &[("DefaultTemplateSid", "")]).await.1;
    assert!(cleared["default_template_sid"].is_null());
}

#[tokio::test]
async fn one_safe_list_has_two_addresses() {
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    let (status, added) = client.post_at("/v2/SafeList/Numbers", &[("PhoneNumber", PHONE)]).await;
    assert_eq!((status, added["phone_number"].as_str()), (201, Some(PHONE)));
    assert!(added["url"].as_str().unwrap().ends_with(&format!("/v2/SafeList/Numbers/{PHONE}")));
    let again = client.post_at("/v1/SafeList/Numbers", &[("PhoneNumber", PHONE)]).await;
    assert_eq!(code_of(again), (400, 60411), "both addresses are the same list");
    let asked = "/v1/SafeList/Numbers?PhoneNumber=%2B12025550123";
    assert_eq!(client.get_at(asked).await.1["sid"], added["sid"]);
    assert_eq!(client.get_at(&format!("/v2/SafeList/Numbers/{PHONE}")).await.1["sid"], added["sid"]);
    assert_eq!(code_of(client.post_at("/v2/SafeList/Numbers", &[("PhoneNumber", "12345")]).await), (400, 60200));
    assert_eq!(client.delete_at(asked).await, 204);
    assert_eq!(client.delete_at(&format!("/v2/SafeList/Numbers/{PHONE}")).await, 404);
    assert_eq!(client.get_at(asked).await.0, 404);
}
