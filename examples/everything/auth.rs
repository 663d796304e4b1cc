//! Authentication: checks bearer tokens from the command line, each the secret of one principal.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mcp_http::Principal;

/// A principal's name and the secret that proves it.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) secret: String,
}

impl std::str::FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, secret)) if !name.is_empty() && !secret.is_empty() => {
                Ok(Self { name: name.to_owned(), secret: secret.to_owned() })
            }
            _ => Err("expected NAME=SECRET"),
        }
    }
}

/// Reads `NAME=SCOPE`.
#[cfg(feature = "auth-http")]
pub(crate) fn tool_scope(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((tool, scope)) if !tool.is_empty() && !scope.is_empty() => Ok((tool.to_owned(), scope.to_owned())),
        _ => Err("expected NAME=SCOPE"),
    }
}

/// Returns a function that makes an application an OAuth 2.1 resource server, if the command line
/// asks for that.
#[cfg(feature = "auth-http")]
pub(crate) fn resource_server(
    cli: &crate::cli::Cli,
) -> Result<Option<impl FnOnce(axum::Router) -> axum::Router>, mcp_http::error::ConfigError> {
    use mcp_http::AccessToken;
    use mcp_http::auth::{FixedTokens, JwtVerifier, ResourceServer};

    let (Some(resource), Some(issuer)) = (&cli.resource, &cli.authorization_server) else { return Ok(None) };
    let fixed = cli.token.iter().fold(FixedTokens::new(), |tokens, Token { name, secret }| {
        tokens.token(secret, AccessToken::new("everything", name).with_scopes(&cli.scope))
    });
    let auth = ResourceServer::builder(resource)
        .authorization_server(issuer)
        .required_scopes(&cli.scope)
        .scopes_supported(&cli.scope)
        .verifier(fixed)
        .verifier(JwtVerifier::builder(issuer).leeway(std::time::Duration::from_secs(cli.token_leeway)).build()?)
        .root_metadata(true)
        .build()?;
    Ok(Some(move |app: axum::Router| app.layer(auth.layer()).merge(auth.metadata_router())))
}

/// Passes a request with a known token on as its principal, and answers others with 401.
pub(crate) async fn check(State(tokens): State<Arc<[Token]>>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let Some(token) = tokens.iter().find(|token| same(&token.secret, given)) else {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
    };
    request.extensions_mut().insert(Principal::new(&token.name));
    next.run(request).await
}

/// Compares in constant time, so that the time does not reveal how much of a guess is right.
fn same(secret: &str, guess: &str) -> bool {
    let differences = secret.bytes().zip(guess.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    secret.len() == guess.len() && differences == 0
}
