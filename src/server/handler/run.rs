//! Handler trait: the functions that are handlers, and handlers with their type erased.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use schemars::Schema;

use super::{ArgumentRejection, CallParts, FromCall};
use crate::message::ErrorObject;
use crate::server::tool::ResultForm;

/// An async function whose arguments can be extracted from a call: up to twelve extractors, in any
/// order. Closures that return a future are handlers too. One that captures a value clones it for
/// each call: `move |..| { let db = db.clone(); async move { .. } }`.
///
/// The trait is sealed: only functions and closures implement it. `M` names the kinds of the
/// arguments and is always inferred.
///
/// ```
/// use axum::extract::State;
/// use http::HeaderMap;
/// use mcp_http::{Args, Context, McpServer};
///
/// # #[derive(Clone)] struct Db;
/// # #[derive(serde::Deserialize, schemars::JsonSchema)] struct Query { text: String }
/// async fn find(
///     State(db): State<Db>,
///     headers: HeaderMap,
///     cx: Context,
///     Args(query): Args<Query>,
/// ) -> String {
///     # let _ = (db, headers);
///     cx.progress(1, 2.0).await;
///     query.text
/// }
///
/// let server: McpServer<Db> =
///     McpServer::new("search", "1.0.0").tool("find", "Finds things.", find);
/// ```
///
/// The body of the request is the JSON-RPC message, so an extractor of the body cannot be an
/// argument:
///
/// ```compile_fail,E0277
/// async fn find(body: axum::Json<serde_json::Value>) -> String {
///     body.to_string()
/// }
/// let server: mcp_http::McpServer =
///     mcp_http::McpServer::new("search", "1.0.0").tool("find", "Finds.", find);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an MCP handler for state `{S}`",
    label = "not a handler",
    note = "a handler is an async function with at most twelve arguments, each `Args<T>`, `Context`, `Session` or an axum \
            extractor of the request's parts (`State`, `Extension`, `HeaderMap`, ..)",
    note = "its future must be `Send`: nothing that is not `Send`, such as an `Rc` or a std mutex guard, may live across \
            an `.await`",
    note = "`T` in `Args<T>` needs `serde::Deserialize` and `schemars::JsonSchema`",
    note = "a server whose handlers take `State<T>` is an `McpServer<T>`; `.with_state(..)` then makes it fit any router"
)]
pub trait Handler<S, M>: Send + Sync + 'static {
    /// The output of the function's future.
    type Output: 'static;

    /// Extracts the arguments and calls the function.
    ///
    /// # Errors
    ///
    /// If an argument cannot be extracted; the function was then not called.
    #[doc(hidden)]
    fn handle(
        &self,
        call: CallParts,
        state: &S,
    ) -> impl Future<Output = Result<Self::Output, ArgumentRejection>> + Send;

    /// Returns the schema of the typed arguments, if there are any.
    ///
    /// # Errors
    ///
    /// If the function has several [`Args`](super::Args), or an argument that can never be
    /// extracted ([`FromCall::check`]).
    #[doc(hidden)]
    fn arguments() -> Result<Option<Schema>, String>;
}

/// Returns the only schema. The arguments of a call are one object, so only one
/// [`Args`](super::Args) can read it.
fn only<const N: usize>(schemas: [Option<Schema>; N]) -> Result<Option<Schema>, String> {
    let mut schemas = schemas.into_iter().flatten();
    let first = schemas.next();
    match schemas.next() {
        None => Ok(first),
        Some(_) => Err("its handler takes two `Args`: put the fields of both into one struct".into()),
    }
}

macro_rules! handler {
    ($($argument:ident $kind:ident),*) => {
        #[allow(non_snake_case, unused_mut, unused_variables)]
        impl<S, F, Fut, R, $($argument, $kind,)*> Handler<S, ($(($kind, $argument),)*)> for F
        where
            S: Sync,
            F: Fn($($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send,
            R: 'static,
            $($argument: FromCall<S, $kind> + Send,)*
        {
            type Output = R;

            async fn handle(&self, mut call: CallParts, state: &S) -> Result<R, ArgumentRejection> {
                $(let $argument = $argument::from_call(&mut call, state).await?;)*
                drop(call);
                Ok(self($($argument),*).await)
            }

            fn arguments() -> Result<Option<Schema>, String> {
                $($argument::check()?;)*
                only([$($argument::arguments()),*])
            }
        }
    };
}

handler!();
handler!(A1 K1);
handler!(A1 K1, A2 K2);
handler!(A1 K1, A2 K2, A3 K3);
handler!(A1 K1, A2 K2, A3 K3, A4 K4);
handler!(A1 K1, A2 K2, A3 K3, A4 K4, A5 K5);
handler!(A1 K1, A2 K2, A3 K3, A4 K4, A5 K5, A6 K6);
handler!(A1 K1, A2 K2, A3 K3, A4 K4, A5 K5, A6 K6, A7 K7);
handler!(A1 K1, A2 K2, A3 K3, A4 K4, A5 K5, A6 K6, A7 K7, A8 K8);
handler!(A1 K1, A2 K2, A3 K3, A4 K4, A5 K5, A6 K6, A7 K7, A8 K8, A9 K9);
handler!(A1 K1, A2 K2, A3 K3, A4 K4, A5 K5, A6 K6, A7 K7, A8 K8, A9 K9, A10 K10);
handler!(A1 K1, A2 K2, A3 K3, A4 K4, A5 K5, A6 K6, A7 K7, A8 K8, A9 K9, A10 K10, A11 K11);
handler!(A1 K1, A2 K2, A3 K3, A4 K4, A5 K5, A6 K6, A7 K7, A8 K8, A9 K9, A10 K10, A11 K11, A12 K12);

/// A handler with its type erased, which produces `O`.
pub(crate) trait Run<S, O>: Send + Sync {
    fn run<'a>(&'a self, call: CallParts, state: &'a S) -> BoxFuture<'a, Result<O, ErrorObject>>;
}

/// A shared [`Run`].
pub(crate) struct Erased<S, O>(Arc<dyn Run<S, O>>);

impl<S, O> Erased<S, O> {
    pub(crate) fn new(run: impl Run<S, O> + 'static) -> Self {
        Self(Arc::new(run))
    }

    pub(crate) fn run<'a>(&'a self, call: CallParts, state: &'a S) -> BoxFuture<'a, Result<O, ErrorObject>> {
        self.0.run(call, state)
    }
}

impl<S: Send + Sync + 'static, O: 'static> Erased<S, O> {
    /// Erases the type of a handler. `convert` makes the result of the call from its output, or
    /// from the reason why it was not called.
    pub(crate) fn of<H: Handler<S, M>, M: 'static>(handler: H, convert: Convert<H::Output, O>) -> Self
    where
        H::Output: Send,
    {
        Self::new(Adapter { handler, convert, arguments: PhantomData })
    }
}

type Convert<V, O> = fn(Result<V, ArgumentRejection>, ResultForm) -> Result<O, ErrorObject>;

/// A handler with its type, and the conversion of its output.
struct Adapter<H, M, V, O> {
    handler: H,
    convert: Convert<V, O>,
    arguments: PhantomData<fn() -> M>,
}

impl<S, H, M, O> Run<S, O> for Adapter<H, M, H::Output, O>
where
    S: Send + Sync,
    H: Handler<S, M, Output: Send>,
{
    fn run<'a>(&'a self, call: CallParts, state: &'a S) -> BoxFuture<'a, Result<O, ErrorObject>> {
        let form = ResultForm::new(call.context().protocol_version(), call.output);
        Box::pin(async move { (self.convert)(self.handler.handle(call, state).await, form) })
    }
}

impl<S: Clone + Send + Sync + 'static, O: 'static> Erased<S, O> {
    /// Returns the same handler with its state bound, for any other state type.
    pub(crate) fn bind<S2: 'static>(&self, state: &S) -> Erased<S2, O> {
        Erased::new(Bound { run: self.clone(), state: state.clone() })
    }
}

impl<S, O> Clone for Erased<S, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, O> fmt::Debug for Erased<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

struct Bound<S, O> {
    run: Erased<S, O>,
    state: S,
}

impl<S: Send + Sync, S2, O> Run<S2, O> for Bound<S, O> {
    fn run<'a>(&'a self, call: CallParts, _: &'a S2) -> BoxFuture<'a, Result<O, ErrorObject>> {
        self.run.run(call, &self.state)
    }
}
