//! The little HTTP that the readers need.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::tweet::TweetId;

type BoxError = Box<dyn Error + Send + Sync>;

/// One request on a connection of its own, which ends when the response is dropped.
pub(crate) async fn get(
    server: SocketAddr,
    path: &str,
    last_event: Option<TweetId>,
) -> Result<Response<Incoming>, BoxError> {
    let stream = TcpStream::connect(server).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // If it breaks, the response's body says so.
    tokio::spawn(connection);
    let mut request = Request::get(path).header("host", server.to_string());
    if let Some(id) = last_event {
        request = request.header("last-event-id", id.to_string());
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    match response.status().is_success() {
        true => Ok(response),
        false => Err(format!("{path}: {}", response.status()).into()),
    }
}

/// What words are worth to a sentiment.
pub(crate) async fn emotion_values(server: SocketAddr) -> Result<HashMap<String, i64>, BoxError> {
    let body = get(server, "/emotion_values", None).await?.into_body().collect().await?;
    Ok(serde_json::from_slice(&body.to_bytes())?)
}
