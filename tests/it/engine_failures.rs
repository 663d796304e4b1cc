//! Engine failures at the handle and the session: each method reports one as an error.

use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use mcp_http::error::{StoreError, StoreErrorKind};
use mcp_http::message::RawJson;
use mcp_http::server::Session;
use mcp_http::{Principal, SessionId};
use serde_json::json;

use crate::faulty::Faulty;
use crate::support::*;

fn kind<T>(result: Result<T, StoreError>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind())
}

/// A failure is not "no such session", and not "not heard": after the failure, the session is there.
#[tokio::test(start_paused = true)]
async fn every_method_reports_engine_failures() {
    let engine = Faulty::default();
    let app = App::with(|service| service.engine(engine.clone()));
    let client = app.open_principal("ann").await;
    let id = SessionId::parse(&client.session).unwrap();
    let session = app.handle.session(id).await.unwrap().unwrap();
    let elsewhere = SessionId::random();
    engine.break_down(StoreErrorKind::Unavailable);
    let notify = session.try_notify("notifications/custom", &RawJson::empty_object()).await;
    let failures = [
        ("session", kind(app.handle.session(elsewhere).await)),
        ("sessions", kind(app.handle.sessions().await)),
        ("end_session", kind(app.handle.end_session(id).await)),
        ("end_sessions_of", kind(app.handle.end_sessions_of(&Principal::new("ann")).await)),
        ("expire_sessions", kind(app.handle.expire_sessions().await)),
        ("end", kind(session.end().await)),
        ("try_notify", kind(notify)),
        ("subscribe", kind(session.subscribe("a:b").await)),
        ("get", kind(session.get::<u32>("n").await)),
    ];
    for (method, failed) in failures {
        assert_eq!(failed, Some(StoreErrorKind::Unavailable), "{method}");
    }
    assert_eq!(app.handle.statistics().await.sessions, None);

    engine.repair();
    assert_eq!(app.handle.statistics().await.sessions, Some(1));
    assert_eq!(client.text_of("echo", json!({"message": "x"})).await, "x");
    assert!(app.handle.session(elsewhere).await.unwrap().is_none());
    assert!(!app.handle.end_session(elsewhere).await.unwrap());
    assert!(session.end().await.unwrap() && !session.end().await.unwrap());
}

/// On a route of the application, the client may try again (503): its session is not unknown (404).
#[tokio::test(start_paused = true)]
async fn a_route_without_its_engine_answers_503() {
    let engine = Faulty::default();
    let app = App::with(|service| service.engine(engine.clone()));
    let client = app.open().await;
    engine.break_down(StoreErrorKind::Unavailable);
    let request = http::Request::builder().header("mcp-session-id", &client.session).extension(app.handle.clone());
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let rejection = Session::from_request_parts(&mut parts, &()).await.unwrap_err();
    assert_eq!(rejection.to_string(), rejection.rejection().to_string());
    assert_eq!(rejection.into_response().status(), 503);
}

/// A drain says how many sessions the engine could not end.
#[tokio::test(start_paused = true)]
async fn drains_count_sessions_they_could_not_end() {
    let engine = Faulty::default();
    let app = App::with(|service| service.engine(engine.clone()));
    let (_one, _two) = (app.open().await, app.open().await);
    engine.break_down(StoreErrorKind::Unavailable);
    let report = app.handle.drain(std::time::Duration::ZERO).await;
    assert_eq!((report.ended_sessions, report.failed_sessions), (0, 2));
}
