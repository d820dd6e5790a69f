//! What a client may send: `{"key": "k", "value": 3}`.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest key, in bytes.
const MAX_KEY: usize = 512;

pub(crate) struct Increment {
    pub(crate) key: String,
    pub(crate) value: i64,
}

/// Values as they were written: parsing to a number would round what is too large.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl Increment {
    /// # Errors
    ///
    /// 400 for what is not JSON, 422 for JSON that means nothing here, and why.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, (StatusCode, String)> {
        let json: &RawValue = serde_json::from_slice(body)
            .map_err(|error| (StatusCode::BAD_REQUEST, format!("malformed JSON: {error}")))?;
        read(json.get()).map_err(|problem| (StatusCode::UNPROCESSABLE_ENTITY, problem))
    }
}

fn read(json: &str) -> Result<Increment, String> {
    if !json.starts_with('{') {
        return Err("the body must be a JSON object with `key` and `value`".to_owned());
    }
    let fields: Fields<'_> =
        serde_json::from_str(json).map_err(|error| format!("the body makes no sense: {error}"))?;
    let key = fields.key.ok_or("`key` is missing")?.get();
    let value = fields.value.ok_or("`value` is missing")?.get();
    Ok(Increment { key: parse_key(key)?, value: parse_value(value)? })
}

fn parse_key(json: &str) -> Result<String, String> {
    if !json.starts_with('"') {
        return Err("`key` must be a string".to_owned());
    }
    let key: String =
        serde_json::from_str(json).map_err(|error| format!("`key` is no Unicode text: {error}"))?;
    match key.len() {
        0 => Err("`key` is empty".to_owned()),
        1..=MAX_KEY if !key.contains('\0') => Ok(key),
        1..=MAX_KEY => Err("`key` contains U+0000, which Postgres cannot store in a text".to_owned()),
        bytes => Err(format!("`key` has {bytes} bytes; at most {MAX_KEY} are allowed")),
    }
}

fn parse_value(json: &str) -> Result<i64, String> {
    // An integer that is too large is one, and is told so.
    if !json.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("`value` must be an integer, written without fraction or exponent".to_owned());
    }
    json.parse().map_err(|_| format!("`value` must be between {} and {}", i64::MIN, i64::MAX))
}
