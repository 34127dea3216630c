//! Pages of lists in the newer APIs.

use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::{TwilioError, page_size};
use super::request::ApiRequest;

/// One page of a list: `PageSize` entries, after those of `Page` pages. Links repeat the filters.
pub(super) fn page_of(
    key: &str,
    request: &ApiRequest,
    entries: impl Iterator<Item = Value>,
) -> Result<Value, TwilioError> {
    let size = page_size(request.query.filled("PageSize"))?;
    let page: usize = match request.query.filled("Page").map(str::parse) {
        None => 0,
        Some(Ok(page)) => page,
        Some(Err(_)) => return Err(TwilioError::new(20001, "Page must be a whole number")),
    };
    let mut filters = form_urlencoded::Serializer::new(String::new());
    filters.extend_pairs(request.query.0.iter().filter(|(name, _)| !name.starts_with("Page")));
    let filters = filters.finish();
    let and = if filters.is_empty() { "" } else { "&" };
    let link = |page: usize| {
        let token = if page == 0 { String::new() } else { format!("&PageToken=PB{page}") };
        format!("{}{}?{filters}{and}PageSize={size}&Page={page}{token}", request.origin, request.path)
    };
    let mut shown: Vec<Value> = entries.skip(page.saturating_mul(size)).take(size + 1).collect();
    let more = shown.len() > size;
    shown.truncate(size);
    Ok(json!({
        key: shown,
        "meta": {
            "first_page_url": link(0), "key": key, "next_page_url": more.then(|| link(page + 1)), "page": page,
            "page_size": size, "previous_page_url": (page > 0).then(|| link(page - 1)), "url": link(page),
        },
    }))
}
