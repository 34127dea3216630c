//! Every operation of the part of Twilio's API that programs like this one use: it is carried out, or answered 501 with its name.

use std::collections::BTreeSet;

use serde::Deserialize;
use smsotp::sandbox::{self, Options};

use super::scene::{Client, PHONE, start};

#[derive(Deserialize)]
struct Operation {
    method: String,
    path: String,
}

#[tokio::test]
async fn every_operation_is_carried_out_or_named_as_missing() {
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    let number = client.get("/IncomingPhoneNumbers.json").await.1["incoming_phone_numbers"][0]["sid"].clone();
    let service = client.get_at("/v1/Services").await.1["services"][0]["sid"].clone();
    let operations: Vec<Operation> = serde_json::from_str(include_str!("../../data/twilio-operations.json")).unwrap();
    let (mut there, mut missing) = (Vec::new(), BTreeSet::new());
    for Operation { method, path } in &operations {
        let message = client.send(PHONE, "a message of its own").await.1["sid"].clone();
        let of = |sid: &serde_json::Value| sid.as_str().unwrap_or("none").to_owned();
        let mut service = service.clone();
        let mut verification = serde_json::Value::Null;
        let (mut limit, mut bucket) = (verification.clone(), verification.clone());
        if path.starts_with("/v2/Services") || path.starts_with("/v2/Attempts") {
            service = client.post_at("/v2/Services", &[("FriendlyName", "of its own")]).await.1["sid"].clone();
            let begin = format!("/v2/Services/{}/Verifications", of(&service));
            verification = client.post_at(&begin, &[("To", PHONE), ("Channel", "sms")]).await.1["sid"].clone();
            let limits = format!("/v2/Services/{}/RateLimits", of(&service));
            limit = client.post_at(&limits, &[("UniqueName", "ip")]).await.1["sid"].clone();
            let buckets = format!("{limits}/{}/Buckets", of(&limit));
            bucket = client.post_at(&buckets, &[("Max", "5"), ("Interval", "60")]).await.1["sid"].clone();
        }
        let last = match () {
            _ if path.contains("/Messages") => of(&message),
            _ if path.contains("IncomingPhoneNumbers") => of(&number),
            _ if path.contains("/Buckets") => of(&bucket),
            _ if path.contains("/RateLimits") => of(&limit),
            _ if path.starts_with("/v2/Attempts") => of(&client.get_at("/v2/Attempts").await.1["attempts"][0]["sid"]),
            _ if path.contains("/Verifications") => of(&verification),
            _ if path.starts_with("/v1/Services") || path.starts_with("/v2/Services") => of(&service),
            _ => client.sid.clone(),
        };
        let mut filled = path.replace("{AccountSid}", &client.sid).replace("{MessageSid}", &of(&message));
        for (name, value) in
            [("{ServiceSid}", of(&service)), ("{MessagingServiceSid}", of(&service)), ("{IsoCountry}", "US".to_owned())]
        {
            filled = filled.replace(name, &value);
        }
        filled = filled.replace("{PhoneNumber}", PHONE).replace("{RateLimitSid}", &of(&limit)).replace("{Sid}", &last);
        if path.contains("/SafeList") {
            // It stays on the list, or is on it again after it was taken off.
            client.post_at("/v2/SafeList/Numbers", &[("PhoneNumber", PHONE)]).await;
        }
        if path == "/v1/SafeList/Numbers" {
            filled += "?PhoneNumber=%2B12025550123";
        }
        let request = client.http.request(method.parse().unwrap(), format!("{}{filled}", client.url));
        let answer = request.basic_auth(&client.user, Some(&client.secret)).send().await.unwrap();
        let status = answer.status().as_u16();
        match status {
            501 => {
                let body: serde_json::Value = answer.json().await.unwrap();
                let said = body["message"].as_str().unwrap().to_owned();
                let name =
                    said.split("does not have ").nth(1).and_then(|rest| rest.split(':').next()).unwrap().to_owned();
                missing.insert(name);
            }
            404 | 405 => panic!("{method} {filled}: {status}"),
            _ => there.push(format!("{method} {path}")),
        }
    }
    assert!(there.len() >= 50, "{} are there: {there:#?}", there.len());
    let named: BTreeSet<String> = sandbox::missing().into_iter().map(str::to_owned).collect();
    assert!(missing.is_subset(&named), "{missing:?}");
    let page = std::fs::read_to_string(format!("{}/docs/sandbox.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for name in named {
        assert!(page.contains(&name), "docs/sandbox.md does not say that {name} are missing");
    }
    // What Twilio does not have either is not found.
    assert_eq!(client.get_at("/v1/Nothing").await.0, 404);
    assert_eq!(client.get_at("/v2/Services//").await.0, 404);
}
