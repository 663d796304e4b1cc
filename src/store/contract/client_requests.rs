//! Rules on requests to the client, and on who may answer them.

use super::bench::{Trial, answer, note, request_event, response};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::SessionId;
use crate::message::RawJson;
use crate::store::{Policy, STANDALONE, Signal, StreamNo};

const NOT_FOUND: StoreErrorKind = StoreErrorKind::NotFound;

/// Creates a session whose first call sends a request to the client.
async fn with_request(t: &Trial, id: &str) -> (SessionId, StreamNo) {
    let (session, stream) = t.called().await;
    t.ok(
        t.a.append(session, stream, 1, vec![note("before"), request_event(id)], false).await,
        "append of a client request",
    );
    (session, stream)
}

/// An answer is kept until it is taken, is taken once, and signals the node that sent the request.
pub async fn answers_wait_until_they_are_taken(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 28, Policy::default()).await;
    let (session, _) = with_request(&t, "q").await;
    t.same(t.ok(t.a.engine.take_answer(session, "q").await, "take"), None, "an answer that was not given");
    t.same(t.ok(t.b.engine.answer_request(session, "q", answer("yes")).await, "answer"), true, "the answer counts");
    let wanted = Signal::Answer { session, request: "q".into() };
    t.signaled(&t.a, |signal| *signal == wanted, "the node that sent the request received no signal").await;
    t.same(t.ok(t.a.engine.take_answer(session, "q").await, "take"), Some(answer("yes")), "the answer");
    t.rejected(t.a.engine.take_answer(session, "q").await, NOT_FOUND, "take of an answer that was fetched");

    let (session, _) = with_request(&t, "r").await;
    let error = Err(RawJson::empty_object());
    t.ok(t.b.engine.answer_request(session, "r", error.clone()).await, "answer with an error");
    t.same(t.ok(t.a.engine.take_answer(session, "r").await, "take"), Some(error), "the error");

    t.attach(session, STANDALONE, 0).await;
    t.ok(t.b.engine.publish(session, t.b.id, request_event("s")).await, "publish of a client request");
    t.same(t.ok(t.a.engine.answer_request(session, "s", answer("ok")).await, "answer"), true, "the answer counts");
    let wanted = Signal::Answer { session, request: "s".into() };
    t.signaled(&t.b, |signal| *signal == wanted, "the node that sent the request received no signal").await;
    t.same(t.ok(t.b.engine.take_answer(session, "s").await, "take"), Some(answer("ok")), "the answer");
}

/// Only the first of several answers counts, and only that one is taken.
pub async fn the_first_answer_wins(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 29, Policy::default()).await;
    let (session, _) = with_request(&t, "q").await;
    t.same(t.ok(t.a.engine.answer_request(session, "q", answer("1")).await, "answer"), true, "the first counts");
    t.same(t.ok(t.b.engine.answer_request(session, "q", answer("2")).await, "answer"), false, "the second counts");
    t.same(t.ok(t.b.engine.take_answer(session, "q").await, "take"), Some(answer("1")), "the answer");

    let (session, _) = with_request(&t, "q").await;
    let racers = (0..8).map(|number| {
        let t = t.clone();
        let node = if number % 2 == 0 { t.a.clone() } else { t.b.clone() };
        tokio::spawn(async move {
            t.ok(node.engine.answer_request(session, "q", answer(&number.to_string())).await, "answer")
        })
    });
    let mut winners = Vec::new();
    for (number, racer) in racers.collect::<Vec<_>>().into_iter().enumerate() {
        if racer.await.is_ok_and(|won| won) {
            winners.push(number);
        }
    }
    t.same(winners.len(), 1, "answers that count");
    t.same(
        t.ok(t.a.engine.take_answer(session, "q").await, "take"),
        Some(answer(&winners[0].to_string())),
        "the answer",
    );
}

/// The id of a request is not enough to answer it: the session must match.
pub async fn another_session_cannot_answer(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 30, Policy::default()).await;
    let (session, _) = with_request(&t, "q").await;
    let other = t.session().await;
    t.rejected(t.b.engine.answer_request(other, "q", answer("x")).await, NOT_FOUND, "answer");
    t.rejected(t.b.engine.take_answer(other, "q").await, NOT_FOUND, "take");
    t.ok(t.b.engine.withdraw_request(other, "q").await, "withdrawal of another session's request");
    t.same(
        t.ok(t.b.engine.answer_request(session, "q", answer("y")).await, "answer"),
        true,
        "the session's own answer",
    );
}

/// A request that was never sent, or that is no longer waited for, cannot be answered.
pub async fn unknown_client_requests_are_not_found(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 31, Policy::default()).await;
    let (session, stream) = with_request(&t, "q").await;
    for unknown in ["", "p", "q ", "Q", "qq"] {
        t.rejected(t.b.engine.answer_request(session, unknown, answer("x")).await, NOT_FOUND, "answer to nothing");
    }
    for _ in 0..2 {
        t.ok(t.a.engine.withdraw_request(session, "q").await, "withdraw");
    }
    t.rejected(t.b.engine.answer_request(session, "q", answer("x")).await, NOT_FOUND, "answer after withdraw");
    t.rejected(t.a.engine.take_answer(session, "q").await, NOT_FOUND, "take after withdraw");

    t.ok(t.a.append(session, stream, 3, vec![request_event("r")], false).await, "append");
    t.ok(t.a.append(session, stream, 4, vec![response("done")], true).await, "the closing append");
    t.rejected(t.b.engine.answer_request(session, "r", answer("x")).await, NOT_FOUND, "answer after the call");
    let stream = t.call(session, 2).await;
    t.ok(t.a.append(session, stream, 1, vec![request_event("s")], false).await, "append");
    t.ok(t.a.engine.finish(session, stream).await, "finish");
    t.rejected(
        t.b.engine.answer_request(session, "s", answer("x")).await,
        NOT_FOUND,
        "answer after the call was given up",
    );

    // A request that is dropped because the stream never had a reader was not sent.
    t.ok(t.a.engine.publish(session, t.a.id, request_event("u")).await, "publish");
    t.rejected(t.b.engine.answer_request(session, "u", answer("x")).await, NOT_FOUND, "answer to a dropped request");
}

/// A repeated append does not send its requests again.
pub async fn repeated_appends_open_one_request(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 63, Policy::default()).await;
    let (session, stream) = with_request(&t, "q").await;
    let again = || vec![note("before"), request_event("q")];
    t.ok(t.a.append(session, stream, 1, again(), false).await, "a repeated append");
    t.ok(t.b.engine.answer_request(session, "q", answer("1")).await, "answer");
    t.ok(t.a.append(session, stream, 1, again(), false).await, "a repeated append");
    t.same(
        t.ok(t.b.engine.answer_request(session, "q", answer("2")).await, "answer"),
        false,
        "the second answer counts",
    );
    t.same(t.ok(t.a.engine.take_answer(session, "q").await, "take"), Some(answer("1")), "the answer");
    t.ok(t.a.append(session, stream, 1, again(), false).await, "a repeated append");
    t.rejected(t.b.engine.answer_request(session, "q", answer("3")).await, NOT_FOUND, "answer after it was fetched");
    t.rejected(
        t.a.append(session, stream, 9, vec![request_event("r")], false).await,
        StoreErrorKind::Conflict,
        "append",
    );
    t.rejected(
        t.b.engine.answer_request(session, "r", answer("4")).await,
        NOT_FOUND,
        "answer to a request that never existed",
    );
}
