//! A Verify service's own rate limits and their buckets, over HTTP.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::answer::{ApiResult, TwilioError, created, iso8601, no_content, ok};
use super::buckets::{Bucket, RateLimit, RateLimits, Refused};
use super::page::page_of;
use super::request::{ApiRequest, Params};
use super::state::SandboxState;
use super::verifications::Verifications;

/// GET /v2/Services/{sid}/RateLimits
pub(super) async fn list(
    State(state): State<Arc<SandboxState>>,
    Path(service): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let mut verifications = state.verifications();
    let limits = limits_of(&mut verifications, &service, &request)?;
    let all = limits.of(&service).map(|limit| limit_json(&state, &request, limit));
    Ok(ok(page_of("rate_limits", &request, all)?))
}

/// POST /v2/Services/{sid}/RateLimits
pub(super) async fn create(
    State(state): State<Arc<SandboxState>>,
    Path(service): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let (now, mut verifications) = (state.now(), state.verifications());
    let limits = limits_of(&mut verifications, &service, &request)?;
    let name = request.form.filled("UniqueName").ok_or_else(|| TwilioError::missing("UniqueName"))?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(TwilioError::new(60209, "UniqueName takes letters, digits, '-', '_' and '.'"));
    }
    let description = request.form.get("Description").unwrap_or_default();
    let made = limits.add(&service, name, description, now).map_err(|why| refused(&why, &request))?;
    Ok(created(limit_json(&state, &request, made)))
}

/// GET /v2/Services/{sid}/RateLimits/{RK…}
pub(super) async fn fetch(
    State(state): State<Arc<SandboxState>>,
    Path((service, sid)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let mut verifications = state.verifications();
    Ok(ok(limit_json(&state, &request, limit_of(&mut verifications, &service, &sid, &request)?)))
}

/// POST /v2/Services/{sid}/RateLimits/{RK…}
pub(super) async fn update(
    State(state): State<Arc<SandboxState>>,
    Path((service, sid)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let (now, mut verifications) = (state.now(), state.verifications());
    let limit = limit_of(&mut verifications, &service, &sid, &request)?;
    if let Some(description) = request.form.get("Description") {
        description.clone_into(&mut limit.description);
    }
    limit.updated = now;
    Ok(ok(limit_json(&state, &request, limit)))
}

/// DELETE /v2/Services/{sid}/RateLimits/{RK…}
pub(super) async fn delete(
    State(state): State<Arc<SandboxState>>,
    Path((service, sid)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    match limits_of(&mut state.verifications(), &service, &request)?.delete(&service, &sid) {
        true => Ok(no_content()),
        false => Err(TwilioError::not_found(&request.path)),
    }
}

/// GET /v2/Services/{sid}/RateLimits/{RK…}/Buckets
pub(super) async fn list_buckets(
    State(state): State<Arc<SandboxState>>,
    Path((service, sid)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let mut verifications = state.verifications();
    let limit = &*limit_of(&mut verifications, &service, &sid, &request)?;
    let all = limit.buckets().map(|bucket| bucket_json(&state, &request, limit, bucket));
    Ok(ok(page_of("buckets", &request, all)?))
}

/// POST /v2/Services/{sid}/RateLimits/{RK…}/Buckets
pub(super) async fn create_bucket(
    State(state): State<Arc<SandboxState>>,
    Path((service, sid)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let (now, mut verifications) = (state.now(), state.verifications());
    let limit = limit_of(&mut verifications, &service, &sid, &request)?;
    let max = number(&request.form, "Max")?.ok_or_else(|| TwilioError::missing("Max"))?;
    let interval = number(&request.form, "Interval")?.ok_or_else(|| TwilioError::missing("Interval"))?;
    let made = limit.add_bucket(max, interval, now).map_err(|why| refused(&why, &request))?.clone();
    Ok(created(bucket_json(&state, &request, limit, &made)))
}

/// GET /v2/Services/{sid}/RateLimits/{RK…}/Buckets/{BL…}
pub(super) async fn fetch_bucket(
    State(state): State<Arc<SandboxState>>,
    Path((service, sid, bucket)): Path<(String, String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let mut verifications = state.verifications();
    let limit = &*limit_of(&mut verifications, &service, &sid, &request)?;
    let bucket = limit.bucket(&bucket).ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(ok(bucket_json(&state, &request, limit, bucket)))
}

/// POST /v2/Services/{sid}/RateLimits/{RK…}/Buckets/{BL…}
pub(super) async fn update_bucket(
    State(state): State<Arc<SandboxState>>,
    Path((service, sid, bucket)): Path<(String, String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let (now, mut verifications) = (state.now(), state.verifications());
    let limit = limit_of(&mut verifications, &service, &sid, &request)?;
    let given = (number(&request.form, "Max")?, number(&request.form, "Interval")?);
    let changed = limit.change_bucket(&bucket, given, now).map_err(|why| refused(&why, &request))?.clone();
    Ok(ok(bucket_json(&state, &request, limit, &changed)))
}

/// DELETE /v2/Services/{sid}/RateLimits/{RK…}/Buckets/{BL…}
pub(super) async fn delete_bucket(
    State(state): State<Arc<SandboxState>>,
    Path((service, sid, bucket)): Path<(String, String, String)>,
    request: ApiRequest,
) -> ApiResult {
    match limit_of(&mut state.verifications(), &service, &sid, &request)?.delete_bucket(&bucket) {
        true => Ok(no_content()),
        false => Err(TwilioError::not_found(&request.path)),
    }
}

/// The names and values of `RateLimits` on a start: a JSON object of text.
pub(super) fn keys(limits: &RateLimits, service: &str, form: &Params) -> Result<Vec<(String, String)>, TwilioError> {
    let invalid = || TwilioError::invalid("RateLimits");
    let Some(text) = form.filled("RateLimits") else { return Ok(Vec::new()) };
    let Ok(Value::Object(given)) = serde_json::from_str(text) else { return Err(invalid()) };
    let pair = |(name, value): (String, Value)| match value {
        Value::String(value) if limits.has(service, &name) => Ok((name, value)),
        _ => Err(invalid()),
    };
    given.into_iter().map(pair).collect()
}

fn limits_of<'a>(
    verifications: &'a mut Verifications,
    service: &str,
    request: &ApiRequest,
) -> Result<&'a mut RateLimits, TwilioError> {
    verifications.service(service).ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(&mut verifications.rate_limits)
}

fn limit_of<'a>(
    verifications: &'a mut Verifications,
    service: &str,
    sid: &str,
    request: &ApiRequest,
) -> Result<&'a mut RateLimit, TwilioError> {
    verifications.rate_limits.get_mut(service, sid).ok_or_else(|| TwilioError::not_found(&request.path))
}

fn number(form: &Params, name: &str) -> Result<Option<u32>, TwilioError> {
    let parse = |text: &str| text.parse().ok().filter(|number| *number > 0);
    form.filled(name).map(|text| parse(text).ok_or_else(|| TwilioError::invalid(name))).transpose()
}

fn refused(why: &Refused, request: &ApiRequest) -> TwilioError {
    match why {
        Refused::NotFound => TwilioError::not_found(&request.path),
        Refused::NameTaken => TwilioError::new(60200, "Invalid parameter: UniqueName is taken"),
        Refused::IntervalTaken => TwilioError::new(60211, "A bucket with this interval exists"),
        Refused::TooMany => TwilioError::new(60207, "Max rate limits reached"),
    }
}

fn limit_json(state: &SandboxState, request: &ApiRequest, limit: &RateLimit) -> Value {
    let RateLimit { sid, service, unique_name, description, created, updated, .. } = limit;
    let url = format!("{}/v2/Services/{service}/RateLimits/{sid}", request.origin);
    json!({
        "sid": sid, "service_sid": service, "account_sid": state.account.account_sid, "unique_name": unique_name,
        "description": description, "date_created": iso8601(*created), "date_updated": iso8601(*updated),
        "links": {"buckets": format!("{url}/Buckets")}, "url": url,
    })
}

fn bucket_json(state: &SandboxState, request: &ApiRequest, limit: &RateLimit, bucket: &Bucket) -> Value {
    let RateLimit { sid: limit_sid, service, .. } = limit;
    let Bucket { sid, max, interval, created, updated, .. } = bucket;
    json!({
        "sid": sid, "rate_limit_sid": limit_sid, "service_sid": service, "account_sid": state.account.account_sid,
        "max": max, "interval": interval, "date_created": iso8601(*created), "date_updated": iso8601(*updated),
        "url": format!("{}/v2/Services/{service}/RateLimits/{limit_sid}/Buckets/{sid}", request.origin),
    })
}
