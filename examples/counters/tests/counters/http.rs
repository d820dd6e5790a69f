//! A small HTTP client for the service.

use std::time::Duration;

use serde_json::{Value, json};

/// An answer of the service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error in {self:?}")).to_owned()
    }
}

/// Keeps its connections; one per thread.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(600)))
            .build();
        Client { agent: config.new_agent(), url: url.to_owned() }
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer, ureq::Error> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let mut response = self.agent.run(request.body(body).unwrap())?;
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|seconds| seconds.to_str().unwrap().parse().unwrap());
        let status = response.status().as_u16();
        Ok(Answer { status, retry_after, body: response.body_mut().read_to_string()? })
    }

    pub(crate) fn try_increment(&self, key: &str, value: i64) -> Result<Answer, ureq::Error> {
        self.send("POST", "/increment", json!({ "key": key, "value": value }).to_string().as_bytes())
    }

    pub(crate) fn increment(&self, key: &str, value: i64) {
        let answer = self.try_increment(key, value).unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.agent.get(format!("{}{path}", self.url)).call().map(read).unwrap()
    }

    pub(crate) fn counter(&self, key: &str) -> Answer {
        self.get(&format!("/counters/{}", percent_encoded(key)))
    }

    /// The total that the service gives, or nothing where it has never seen the key.
    pub(crate) fn total(&self, key: &str) -> Option<i64> {
        let answer = self.counter(key);
        match answer.status {
            200 => Some(answer.json()["total"].as_i64().unwrap()),
            404 => None,
            _ => panic!("{answer:?}"),
        }
    }

    pub(crate) fn stat(&self, name: &str) -> u64 {
        let answer = self.get("/stats");
        answer.json()[name].as_u64().unwrap_or_else(|| panic!("no {name} in {answer:?}"))
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let status = response.status().as_u16();
    Answer { status, retry_after: None, body: response.body_mut().read_to_string().unwrap() }
}

fn percent_encoded(key: &str) -> String {
    key.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
