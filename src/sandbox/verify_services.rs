//! Verify's services with their settings, and the templates that they may name.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::answer::{ApiResult, TwilioError, created, iso8601, no_content, ok};
use super::page::page_of;
use super::request::{ApiRequest, Params};
use super::state::SandboxState;
use super::templates::{self, Template};
use super::verifications::Service;

/// GET /v2/Services
pub(super) async fn list(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let verifications = state.verifications();
    let all = verifications.services().map(|service| service_json(&state, &request, service));
    Ok(ok(page_of("services", &request, all)?))
}

/// POST /v2/Services
pub(super) async fn create(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    if request.form.filled("FriendlyName").is_none() {
        return Err(TwilioError::missing("FriendlyName"));
    }
    let mut service = Service::new(state.now());
    configure(&mut service, &request.form)?;
    let body = service_json(&state, &request, &service);
    state.verifications().add_service(service);
    Ok(created(body))
}

/// GET /v2/Services/{sid}
pub(super) async fn fetch(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let verifications = state.verifications();
    let service = verifications.service(&sid).ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(ok(service_json(&state, &request, service)))
}

/// POST /v2/Services/{sid}
pub(super) async fn update(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let (now, mut verifications) = (state.now(), state.verifications());
    let service = verifications.service_mut(&sid).ok_or_else(|| TwilioError::not_found(&request.path))?;
    let mut changed = service.clone();
    configure(&mut changed, &request.form)?;
    changed.updated = now;
    *service = changed;
    Ok(ok(service_json(&state, &request, service)))
}

/// DELETE /v2/Services/{sid}
pub(super) async fn delete(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    match state.verifications().delete_service(&sid) {
        true => Ok(no_content()),
        false => Err(TwilioError::not_found(&request.path)),
    }
}

/// GET /v2/Templates
pub(super) async fn templates(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let wanted = request.query.filled("FriendlyName");
    let found = templates::TEMPLATES.iter().filter(|template| wanted.is_none_or(|name| name == template.name));
    let to_json = |template: &Template| -> Value {
        let Template { sid, name, text, channels } = template;
        json!({
            "sid": sid, "account_sid": state.account.account_sid, "friendly_name": name, "channels": channels,
            "translations": {"en": {
                "is_default_translation": true, "status": "approved", "locale": "en", "text": text,
                "date_created": templates::DATE, "date_updated": templates::DATE,
            }},
        })
    };
    Ok(ok(page_of("templates", &request, found.map(to_json))?))
}

/// What is given of a service's settings.
fn configure(service: &mut Service, form: &Params) -> Result<(), TwilioError> {
    if let Some(name) = form.filled("FriendlyName") {
        let digits_in_a_row = name.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() >= 5);
        if name.chars().count() > 32 || digits_in_a_row {
            return Err(TwilioError::invalid("FriendlyName"));
        }
        name.clone_into(&mut service.friendly_name);
    }
    if let Some(length) = form.filled("CodeLength") {
        let length = length.parse().ok().filter(|length| (4..=10).contains(length));
        service.code_length = length.ok_or_else(|| TwilioError::invalid("CodeLength"))?;
    }
    if let Some(sid) = form.get("DefaultTemplateSid") {
        service.default_template = if sid.is_empty() { None } else { Some(templates::find(sid)?) };
    }
    for (name, flag) in [
        ("LookupEnabled", &mut service.lookup),
        ("SkipSmsToLandlines", &mut service.skip_landlines),
        ("DtmfInputRequired", &mut service.dtmf_input),
        ("Psd2Enabled", &mut service.psd2),
        ("DoNotShareWarningEnabled", &mut service.do_not_share),
        ("CustomCodeEnabled", &mut service.custom_code),
    ] {
        match form.filled(name) {
            None => {}
            Some("true") => *flag = true,
            Some("false") => *flag = false,
            Some(_) => return Err(TwilioError::invalid(name)),
        }
    }
    Ok(())
}

fn service_json(state: &SandboxState, request: &ApiRequest, service: &Service) -> Value {
    let url = format!("{}/v2/Services/{}", request.origin, service.sid);
    json!({
        "sid": service.sid, "account_sid": state.account.account_sid, "friendly_name": service.friendly_name,
        "code_length": service.code_length, "lookup_enabled": service.lookup, "psd2_enabled": service.psd2,
        "skip_sms_to_landlines": service.skip_landlines, "dtmf_input_required": service.dtmf_input, "tts_name": null,
        "do_not_share_warning_enabled": service.do_not_share, "custom_code_enabled": service.custom_code,
        "push": {"apn_credential_sid": null, "fcm_credential_sid": null, "include_date": false},
        "totp": {"issuer": service.friendly_name, "time_step": 30, "code_length": 6, "skew": 1},
        "default_template_sid": service.default_template.map(|template| template.sid), "whatsapp": {"msg_service_sid": null, "from": null}, "passkeys": null,
        "verify_event_subscription_enabled": false,
        "date_created": iso8601(service.created), "date_updated": iso8601(service.updated), "url": url,
        "links": {
            "verifications": format!("{url}/Verifications"), "verification_checks": format!("{url}/VerificationCheck"),
            "rate_limits": format!("{url}/RateLimits"), "messaging_configurations": format!("{url}/MessagingConfigurations"),
        },
    })
}
