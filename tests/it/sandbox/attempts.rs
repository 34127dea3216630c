//! Verify's attempts and their summary: what was sent, and what was entered.

use std::time::Duration;

use serde_json::{Value, json};

use super::scene::PHONE;
use super::verify::Verify;

const GERMAN: &str = "+4915112345678";

async fn summary(verify: &Verify, query: &str) -> [Value; 4] {
    let (status, sum) = verify.client.get_at(&format!("/v2/Attempts/Summary{query}")).await;
    assert_eq!(status, 200, "{sum}");
    ["total_attempts", "total_converted", "total_unconverted", "conversion_rate_percentage"]
        .map(|name| sum[name].clone())
}

#[tokio::test]
async fn what_was_sent_and_what_was_entered() {
    let verify = Verify::with(&[]).await;
    assert_eq!(json!(summary(&verify, "").await), json!([0, 0, 0, "0"]));
    let begun = verify.start(PHONE).await.1;
    verify.clock.advance(Duration::from_secs(30));
    verify.start(PHONE).await;
    let code = verify.code();
    verify.clock.advance(Duration::from_secs(30));
    assert_eq!(verify.check(PHONE, &code).await.1["valid"], true);
    let form = [("To", GERMAN), ("Channel", "whatsapp"), ("Locale", "de")];
    assert_eq!(verify.post("Verifications", &form).await.0, 201);

    let listed = verify.client.get_at("/v2/Attempts").await.1;
    let attempts = listed["attempts"].as_array().unwrap();
    let told: Vec<[&str; 3]> = attempts
        .iter()
        .map(|one| ["channel", "conversion_status"].map(|name| one[name].as_str().unwrap()))
        .zip(attempts.iter().map(|one| one["channel_data"]["country"].as_str().unwrap()))
        .map(|([channel, status], country)| [channel, status, country])
        .collect();
    let expected = [["whatsapp", "unconverted", "DE"], ["sms", "converted", "US"], ["sms", "unconverted", "US"]];
    assert_eq!(told, expected, "the newest first, and the last sending converts");
    assert_eq!(attempts[0]["channel_data"]["locale"], "de");
    assert_eq!(attempts[1]["sid"], begun_again(&verify, &begun).await, "the SID that the start had named");
    assert_eq!(attempts[1]["channel_data"]["status"], "confirmed");
    let one = attempts[1]["sid"].as_str().unwrap();
    assert_eq!(verify.client.get_at(&format!("/v2/Attempts/{one}")).await.1["sid"], one);
    assert_eq!(verify.client.get_at("/v2/Attempts/VL0").await.0, 404);

    assert_eq!(json!(summary(&verify, "").await), json!([3, 1, 2, "33.333333333"]));
    for (query, total, converted) in [
        ("?Country=US", 2, 1),
        ("?Channel=whatsapp", 1, 0),
        ("?DestinationPrefix=49", 1, 0),
        ("?DestinationPrefix=%2B1202", 2, 1),
        ("?DateCreatedBefore=2000-01-01", 0, 0),
        ("?DateCreatedAfter=2000-01-01T00:00:00Z", 3, 1),
        ("?VerifyServiceSid=VA0", 0, 0),
        ("?VerifyServiceSid={service}", 3, 1),
    ] {
        let [all, entered, ..] = summary(&verify, &query.replace("{service}", &verify.service)).await;
        assert_eq!((all, entered), (json!(total), json!(converted)), "{query}");
    }
    for query in ["Channel=pigeon", "Status=perhaps", "DateCreatedAfter=soon", "PageSize=0"] {
        assert_eq!(verify.client.get_at(&format!("/v2/Attempts?{query}")).await.0, 400, "{query}");
    }
    verify.clock.advance(Duration::from_secs(30 * 86_400));
    assert_eq!(summary(&verify, "").await[0], 0, "after thirty days");
}

/// The SID of the second sending: the last that a start of a verification of this phone named.
async fn begun_again(verify: &Verify, begun: &Value) -> Value {
    let sid = begun["sid"].as_str().unwrap();
    let found = verify.client.get_at(&format!("/v2/Attempts?VerificationSid={sid}")).await.1;
    let found = found["attempts"].as_array().unwrap().clone();
    assert_eq!((found.len(), &found[1]["sid"]), (2, &begun["send_code_attempts"][0]["attempt_sid"]));
    found[0]["sid"].clone()
}

#[tokio::test]
async fn a_failed_delivery_is_told_and_pages_go_on() {
    let verify = Verify::with(&[]).await;
    verify.sandbox.set_outcome(PHONE, "undelivered", Some(30008));
    verify.start(PHONE).await;
    while verify.sandbox.messages()[0].status != "undelivered" {
        verify.sandbox.step();
    }
    for last in 200..204 {
        verify.clock.advance(Duration::from_secs(1));
        verify.start(&format!("+1202555{last:04}")).await;
    }
    let failed = verify.client.get_at("/v2/Attempts?ChannelData.To=%2B12025550123&Status=unconverted").await.1;
    let data = &failed["attempts"][0]["channel_data"];
    assert_eq!((data["message_status"].as_str(), data["error_code"].as_str()), (Some("undelivered"), Some("30008")));
    assert_eq!((data["to"].as_str(), data["code_length"].as_u64()), (Some(PHONE), Some(6)));

    let mut seen = Vec::new();
    let mut next = Some("/v2/Attempts?PageSize=2&Channel=sms".to_owned());
    while let Some(path) = next {
        assert!(path.contains("Channel=sms"), "links keep the filters: {path}");
        let page = verify.client.get_at(&path).await.1;
        seen.extend(page["attempts"].as_array().unwrap().iter().map(|one| one["sid"].as_str().unwrap().to_owned()));
        let url = page["meta"]["next_page_url"].as_str();
        next = url.map(|url| url.split_once("/v2").map(|(_, rest)| format!("/v2{rest}")).unwrap());
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((all, seen.len()), (5, 5));
}
