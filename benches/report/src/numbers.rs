//! Numbers and names as people read them.

use std::time::{Duration, UNIX_EPOCH};

/// Three digits that matter, and thousands apart.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".to_owned()
    } else if value == 0.0 {
        "0".to_owned()
    } else if size >= 99.95 {
        grouped(value)
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else if size >= 0.0995 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// A part of a case; plain numbers get their thousands apart.
pub(crate) fn part(text: &str) -> String {
    match text.parse::<u64>() {
        Ok(number) => grouped(number as f64),
        Err(_) => text.to_owned(),
    }
}

pub(crate) fn case_name(case: &[String]) -> String {
    case.iter().map(|text| part(text)).collect::<Vec<_>>().join(", ")
}

pub(crate) fn date(unix_time: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(unix_time);
    humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned()
}
