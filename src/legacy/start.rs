//! Starting calls: makes a handler for each request of an exchange.

use std::sync::Arc;

use http::request::Parts;

use super::driver::{Handler, Handlers};
use super::exchange::Exchange;
use super::in_flight::InFlight;
use super::request::Request;
use crate::edge::BodyShare;
use crate::message::Params;
use crate::server::server_trait::ErasedServer;
use crate::server::{Call, Context};

/// Creates an entry and a handler for each request.
pub(super) fn start<S: Clone + Send + Sync + 'static>(
    exchange: &Arc<Exchange>,
    server: &Arc<dyn ErasedServer<S>>,
    state: &S,
    (parts, share): (Box<Parts>, Option<Arc<BodyShare>>),
    asked: Vec<Request>,
) -> (Vec<Arc<InFlight>>, Handlers) {
    let handle = |asked: Request, parts: Box<Parts>| {
        let Request { id, method, params } = asked;
        let in_flight = InFlight::new(exchange, id.clone());
        let outline = params.as_ref().and_then(Params::outline);
        let params = params.map(Params::into_text);
        let context = Context::new(Arc::clone(&in_flight) as _, params.clone());
        let call = Call { method: method.clone(), id, params, parts, context, outline };
        Handler::new(in_flight, &method, Arc::clone(server).call(call, state.clone()))
    };
    match <[Request; 1]>::try_from(asked) {
        Ok([only]) => {
            // A single request takes the head; several requests need copies of it.
            let handler = handle(only, parts);
            (vec![Arc::clone(&handler.in_flight)], Handlers::one(handler, share))
        }
        Err(several) => {
            let handlers: Vec<Handler> = several.into_iter().map(|asked| handle(asked, parts.clone())).collect();
            (handlers.iter().map(|handler| Arc::clone(&handler.in_flight)).collect(), Handlers::many(handlers, share))
        }
    }
}
