//! Challenges: the exact `WWW-Authenticate` headers of a resource server (RFC 6750, 3; RFC 9728,
//! 5.1).

use http::HeaderValue;

use super::rejection::AuthRejection;
use crate::identity::Scopes;

/// Writes the challenges of one resource.
#[derive(Debug)]
pub(super) struct Challenges {
    /// The URL of the metadata document. It has no character that a quoted string must escape.
    metadata_url: String,
    /// The scopes that a client without a token should request.
    scopes: Scopes,
}

impl Challenges {
    pub(super) fn new(metadata_url: String, scopes: Scopes) -> Self {
        Self { metadata_url, scopes }
    }

    /// Returns the challenge of a rejection; `None` if the client cannot help by another token.
    pub(super) fn of(&self, rejection: &AuthRejection) -> Option<HeaderValue> {
        let mut parameters = Vec::new();
        if let Some(code) = rejection.code() {
            parameters.push(("error", code.to_owned()));
            parameters.push(("error_description", rejection.text().into_owned()));
        }
        match rejection {
            AuthRejection::Unavailable => return None,
            AuthRejection::Malformed(_) | AuthRejection::TooLong { .. } => {}
            AuthRejection::Missing | AuthRejection::Expired | AuthRejection::Invalid => {
                self.add_scope(&mut parameters, &self.scopes);
            }
        }
        self.written(parameters)
    }

    /// Returns the challenge of an operation that needs more scopes. It names all of them, so that
    /// one further authorization is enough.
    pub(super) fn insufficient_scope(&self, scopes: &Scopes) -> Option<HeaderValue> {
        let mut parameters = vec![("error", "insufficient_scope".to_owned())];
        self.add_scope(&mut parameters, scopes);
        parameters.push(("error_description", "The operation needs more scopes".to_owned()));
        self.written(parameters)
    }

    fn add_scope(&self, parameters: &mut Vec<(&'static str, String)>, scopes: &Scopes) {
        if !scopes.is_empty() {
            parameters.push(("scope", scopes.to_string()));
        }
    }

    fn written(&self, parameters: Vec<(&'static str, String)>) -> Option<HeaderValue> {
        let mut text = format!("Bearer resource_metadata=\"{}\"", self.metadata_url);
        for (name, value) in parameters {
            // No text of ours has one of the two; a client's text is never repeated here.
            let value = value.replace(['"', '\\'], "'");
            text.push_str(&format!(", {name}=\"{value}\""));
        }
        HeaderValue::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rejection_has_its_challenge() {
        let url = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
        let challenges = Challenges::new(url.to_owned(), Scopes::new(["files:read"]));
        let metadata = format!("Bearer resource_metadata=\"{url}\"");
        let rows = [
            (AuthRejection::Missing, ", scope=\"files:read\""),
            (
                AuthRejection::Expired,
                ", error=\"invalid_token\", error_description=\"Unauthorized: the access token has expired\", \
                 scope=\"files:read\"",
            ),
            (
                AuthRejection::TooLong { limit: 9 },
                ", error=\"invalid_request\", error_description=\"Bad request: the access token is longer than \
                 max_token_bytes (9)\"",
            ),
        ];
        for (rejection, rest) in rows {
            assert_eq!(challenges.of(&rejection).unwrap(), format!("{metadata}{rest}"), "{rejection:?}");
        }
        assert_eq!(challenges.of(&AuthRejection::Unavailable), None);
        let more = challenges.insufficient_scope(&Scopes::new(["a", "b"])).unwrap();
        let rest =
            ", error=\"insufficient_scope\", scope=\"a b\", error_description=\"The operation needs more scopes\"";
        assert_eq!(more, format!("{metadata}{rest}"));
    }
}
