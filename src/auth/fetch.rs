//! Fetching: requests to an authorization server, bounded in time and size, without redirects.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};

/// The most bytes of a document. The largest published key sets have about 20 KiB.
const MAX_DOCUMENT: usize = 256 << 10;

/// Why a document could not be fetched.
#[derive(Debug)]
pub(super) enum FetchError {
    /// The server responded that there is no such document.
    Missing,
    /// Anything else: no response in time, an error, a redirect, too many bytes.
    Failed(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such document"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// An HTTP client with bounds.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    client: Client,
}

impl Fetcher {
    /// Makes a client for servers at such URLs. `timeout` is the limit of a whole exchange.
    pub(super) fn new(timeout: Duration, is_loopback: bool) -> Result<Self, String> {
        let mut client = Client::builder()
            .redirect(Policy::none())
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("mcp-http/", env!("CARGO_PKG_VERSION")));
        if is_loopback {
            // A proxy could not reach it.
            client = client.no_proxy();
        }
        client.build().map(|client| Self { client }).map_err(|error| format!("no HTTP client: {error}"))
    }

    /// Fetches a document.
    pub(super) async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        read(self.client.get(url).header("accept", "application/json")).await
    }

    /// Sends a form. `authorization` proves who asks.
    pub(super) async fn post_form(&self, url: &str, authorization: &str, form: String) -> Result<Bytes, FetchError> {
        let request = self.client.post(url).header("accept", "application/json").header("authorization", authorization);
        read(request.header("content-type", "application/x-www-form-urlencoded").body(form)).await
    }
}

async fn read(request: RequestBuilder) -> Result<Bytes, FetchError> {
    // The URL is left out: it is known from the settings, and may hold more than a log should.
    let failed = |error: reqwest::Error| FetchError::Failed(error.without_url().to_string());
    let mut response = request.send().await.map_err(failed)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            return Err(FetchError::Failed(format!("the server responded {}", response.status())));
        }
        // Some servers answer unknown paths with 400 or 403.
        status if status.is_client_error() => return Err(FetchError::Missing),
        status if status.is_redirection() => {
            return Err(FetchError::Failed(format!("{status}: redirects are not followed")));
        }
        status => return Err(FetchError::Failed(format!("the server responded {status}"))),
    }
    let too_large = || FetchError::Failed(format!("the document is larger than {MAX_DOCUMENT} bytes"));
    if response.content_length().is_some_and(|length| length > MAX_DOCUMENT as u64) {
        return Err(too_large());
    }
    let mut document = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if document.len() + chunk.len() > MAX_DOCUMENT {
            return Err(too_large());
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document.freeze())
}
