//! Scopes: checks that the access token of a request allows what the request asks for, before
//! anything of it is done. A rejection opens no session and leaves no state.

use http::Extensions;

use crate::error::Rejection;
use crate::identity::check_scopes;
use crate::message::{Body, Envelope, Kind, Malformed, Params};
use crate::server::server_trait::ErasedServer;

/// Checks a message. Each request of a batch stands for itself: one that is not allowed is answered
/// with an error, and the others are handled.
pub(crate) fn check<S>(
    server: &dyn ErasedServer<S>,
    extensions: &mut Extensions,
    body: &mut Body,
) -> Result<(), Rejection> {
    let required = |method: &str, params: Option<&Params>| server.required_scopes(method, params.map(Params::text));
    match body {
        Body::One(Envelope { kind: Kind::Request { method, .. }, params }) => {
            check_operation(extensions, required(method, params.as_ref()))
        }
        Body::One(_) => check_operation(extensions, Vec::new()),
        Body::Batch(elements) => {
            let is_request =
                |element: &Result<Envelope, _>| matches!(element, Ok(Envelope { kind: Kind::Request { .. }, .. }));
            // Notifications and answers have no response of their own.
            if !elements.iter().all(is_request) {
                check_operation(extensions, Vec::new())?;
            }
            for element in elements {
                let Ok(Envelope { kind: Kind::Request { id, method }, params }) = element else { continue };
                let mut own = extensions.clone();
                if let Err(error) = check_scopes(&mut own, required(method, params.as_ref())) {
                    *element = Err(Malformed::Forbidden { id: id.clone(), scopes: error.names() });
                }
            }
            Ok(())
        }
    }
}

/// Checks a request that has these scopes of its own, besides those of the whole resource.
pub(crate) fn check_operation(extensions: &mut Extensions, own: Vec<String>) -> Result<(), Rejection> {
    check_scopes(extensions, own).map_err(|error| Rejection::InsufficientScope { scopes: error.names() })
}
