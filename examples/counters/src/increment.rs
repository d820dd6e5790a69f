//! What a client may send: `{"key": "k", "value": 3}`.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest key, in bytes.
pub(crate) const MAX_KEY: usize = 512;

#[derive(Debug, PartialEq)]
pub(crate) struct Increment {
    pub(crate) key: String,
    pub(crate) value: i64,
}

/// What is wrong with a body.
#[derive(Debug, PartialEq)]
pub(crate) enum BadIncrement {
    /// It is not JSON.
    Malformed(String),
    /// It is JSON, and means nothing here.
    Senseless(String),
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    /// As it was written: parsing to a number would round what is too large.
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl Increment {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, BadIncrement> {
        let malformed =
            |error: serde_json::Error| BadIncrement::Malformed(format!("malformed JSON: {error}"));
        let json: &RawValue = serde_json::from_slice(body).map_err(malformed)?;
        if !json.get().starts_with('{') {
            return senseless("the body must be a JSON object with `key` and `value`");
        }
        let fields: Result<Fields<'_>, _> = serde_json::from_str(json.get());
        let Fields { key, value } = match fields {
            Ok(fields) => fields,
            Err(error) => return senseless(format!("the body makes no sense: {error}")),
        };
        Ok(Increment { key: parse_key(key)?, value: parse_value(value)? })
    }
}

fn senseless<T>(problem: impl Into<String>) -> Result<T, BadIncrement> {
    Err(BadIncrement::Senseless(problem.into()))
}

fn parse_key(raw: Option<&RawValue>) -> Result<String, BadIncrement> {
    let Some(raw) = raw else { return senseless("`key` is missing") };
    if !raw.get().starts_with('"') {
        return senseless("`key` must be a string");
    }
    let key: String = match serde_json::from_str(raw.get()) {
        Ok(key) => key,
        Err(error) => return senseless(format!("`key` is no Unicode text: {error}")),
    };
    if key.is_empty() {
        return senseless("`key` is empty");
    }
    if key.len() > MAX_KEY {
        return senseless(format!("`key` has {} bytes; at most {MAX_KEY} are allowed", key.len()));
    }
    if key.contains('\0') {
        return senseless("`key` contains U+0000, which Postgres cannot store in a text");
    }
    Ok(key)
}

fn parse_value(raw: Option<&RawValue>) -> Result<i64, BadIncrement> {
    let Some(raw) = raw else { return senseless("`value` is missing") };
    let text = raw.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return senseless("`value` must be an integer, written without fraction or exponent");
    }
    let range = || format!("`value` must be between {} and {}", i64::MIN, i64::MAX);
    text.parse().or_else(|_| senseless(range()))
}
