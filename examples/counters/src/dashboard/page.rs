//! The page. It needs nothing from elsewhere, and its headers see to it that it cannot.

use std::hash::{BuildHasher, RandomState};

use axum::http::header;
use axum::response::{Html, IntoResponse};

const PAGE: &str = include_str!("page.html");

pub(crate) async fn page() -> impl IntoResponse {
    // Only the script with this word in it is run, whatever a key is called. The standard library's hasher is
    // seeded by the system.
    let nonce = format!("{:016x}", RandomState::new().hash_one("page"));
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, Html(PAGE.replace("{nonce}", &nonce)))
}
