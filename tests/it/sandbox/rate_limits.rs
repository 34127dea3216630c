//! A Verify service's own rate limits: keys, buckets, and whom they hold back.

use std::time::Duration;

use super::scene::PHONE;
use super::verify::{Verify, code_of};

/// A limit by the caller's address with these buckets: so many in so many seconds.
async fn limited(buckets: &[(&str, &str)]) -> (Verify, String) {
    let verify = Verify::with(&[]).await;
    let (status, limit) = verify.post("RateLimits", &[("UniqueName", "ip"), ("Description", "by address")]).await;
    assert_eq!((status, limit["description"].as_str()), (201, Some("by address")));
    let sid = limit["sid"].as_str().unwrap().to_owned();
    for (max, interval) in buckets {
        let made = verify.post(&format!("RateLimits/{sid}/Buckets"), &[("Max", max), ("Interval", interval)]).await;
        assert_eq!(made.0, 201, "{}", made.1);
    }
    (verify, sid)
}

async fn begin(verify: &Verify, last: u32, keys: &str) -> (u16, u64) {
    let to = format!("+1202555{last:04}");
    code_of(verify.post("Verifications", &[("To", &to), ("Channel", "sms"), ("RateLimits", keys)]).await)
}

const HERE: &str = r#"{"ip": "192.0.2.1"}"#;

#[tokio::test]
async fn every_bucket_holds_back_and_none_counts_what_is_refused() {
    let (verify, _) = limited(&[("2", "60"), ("3", "3600")]).await;
    for person in [110, 111] {
        assert_eq!(begin(&verify, person, HERE).await, (201, 0));
    }
    assert_eq!(begin(&verify, 112, HERE).await, (429, 20429));
    assert_eq!(verify.sandbox.messages().len(), 2, "nothing was sent");
    assert_eq!(begin(&verify, 112, r#"{"ip": "192.0.2.2"}"#).await, (201, 0), "another address");
    assert_eq!(verify.start(PHONE).await.0, 201, "no key");
    verify.clock.advance(Duration::from_secs(60));
    assert_eq!(begin(&verify, 113, HERE).await, (201, 0), "the first two are over, and the third had not counted");
    assert_eq!(begin(&verify, 114, HERE).await, (429, 20429), "the hour's bucket is full");
    verify.clock.advance(Duration::from_secs(3540));
    assert_eq!(begin(&verify, 115, HERE).await, (201, 0), "what was sent an hour ago is over");
}

#[tokio::test]
async fn a_limit_without_buckets_holds_nobody_back() {
    let (verify, sid) = limited(&[]).await;
    for person in 110..120 {
        assert_eq!(begin(&verify, person, HERE).await, (201, 0));
    }
    let buckets = format!("RateLimits/{sid}/Buckets");
    let made = verify.post(&buckets, &[("Max", "1"), ("Interval", "60")]).await.1;
    let bucket = format!("{buckets}/{}", made["sid"].as_str().unwrap());
    assert_eq!(begin(&verify, 120, HERE).await, (201, 0));
    assert_eq!(begin(&verify, 121, HERE).await, (429, 20429));
    let raised = verify.post(&bucket, &[("Max", "2")]).await.1;
    assert_eq!((raised["max"].as_u64(), raised["interval"].as_u64()), (Some(2), Some(60)));
    assert_eq!(begin(&verify, 121, HERE).await, (201, 0));
    assert_eq!(begin(&verify, 122, HERE).await, (429, 20429));
    let service = format!("/v2/Services/{}", verify.service);
    assert_eq!(verify.client.delete_at(&format!("{service}/{bucket}")).await, 204);
    assert_eq!(verify.client.get_at(&format!("{service}/{bucket}")).await.0, 404);
    assert_eq!(begin(&verify, 122, HERE).await, (201, 0));
}

#[tokio::test]
async fn limits_and_buckets_are_listed_changed_and_refused() {
    let (verify, sid) = limited(&[("2", "60"), ("3", "3600")]).await;
    let service = format!("/v2/Services/{}", verify.service);
    let listed = verify.client.get_at(&format!("{service}/RateLimits")).await.1;
    assert_eq!(
        (listed["rate_limits"].as_array().unwrap().len(), &listed["rate_limits"][0]["sid"]),
        (1, &sid.clone().into())
    );
    let buckets = verify.client.get_at(&format!("{service}/RateLimits/{sid}/Buckets")).await.1;
    assert_eq!(buckets["buckets"].as_array().unwrap().len(), 2);
    let one = buckets["buckets"][0]["sid"].as_str().unwrap();
    assert_eq!(
        verify.client.get_at(&format!("{service}/RateLimits/{sid}/Buckets/{one}")).await.1,
        buckets["buckets"][0]
    );
    let renamed = verify.post(&format!("RateLimits/{sid}"), &[("Description", "by where it comes from")]).await.1;
    assert_eq!(
        (renamed["unique_name"].as_str(), renamed["description"].as_str()),
        (Some("ip"), Some("by where it comes from"))
    );

    let at = |rest: &str| format!("RateLimits{rest}");
    for (path, form, expected) in [
        (at(""), &[("Description", "no name")][..], (400, 60200)),
        (at(""), &[("UniqueName", "ip")], (400, 60200)),
        (at(""), &[("UniqueName", "per country")], (400, 60209)),
        (at("/RK0"), &[("Description", "x")], (404, 20404)),
        (at(&format!("/{sid}/Buckets")), &[("Max", "5")], (400, 60200)),
        (at(&format!("/{sid}/Buckets")), &[("Max", "0"), ("Interval", "30")], (400, 60200)),
        (at(&format!("/{sid}/Buckets")), &[("Max", "5"), ("Interval", "60")], (400, 60211)),
        (at(&format!("/{sid}/Buckets/{one}")), &[("Interval", "60")], (400, 60211)),
        (at(&format!("/{sid}/Buckets/{one}")), &[("Interval", "soon")], (400, 60200)),
        (at(&format!("/{sid}/Buckets/BL0")), &[("Max", "5")], (404, 20404)),
    ] {
        assert_eq!(code_of(verify.post(&path, form).await), expected, "{path} {form:?}");
    }
    for keys in ["ip", "[]", r#"{"ip": 7}"#, r#"{"country": "US"}"#] {
        assert_eq!(begin(&verify, 110, keys).await, (400, 60200), "{keys}");
    }
    assert_eq!(verify.client.delete_at(&format!("{service}/RateLimits/{sid}")).await, 204);
    assert_eq!(verify.client.delete_at(&format!("{service}/RateLimits/{sid}")).await, 404);
    assert_eq!(begin(&verify, 110, HERE).await, (400, 60200), "the key is none any more");
}
