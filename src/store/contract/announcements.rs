//! Rules on announcements: they are numbered, kept for nodes and sessions that missed them, and
//! delivered to a session once.

use super::bench::{Node, Trial, note, stored};
use super::{Backend, Nodes};
use crate::error::StoreErrorKind;
use crate::identity::SessionId;
use crate::message::RawJson;
use crate::store::{Announced, Deliver, Policy, STANDALONE};

fn named(announced: &Announced) -> Vec<(u64, &str)> {
    announced.topics.iter().map(|(number, topic)| (*number, &**topic)).collect()
}

/// A node that passes the last number it knows receives each later topic with its newest number.
pub async fn announcements_are_found_by_number(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 82, Policy::default()).await;
    let announce = async |node: &Node, topic: &str, id: u64| t.ok(node.engine.announce(topic, id).await, "announce");
    let nothing = t.ok(t.b.engine.announced(0, &[]).await, "announced");
    t.same((named(&nothing), nothing.complete), (vec![], true), "what was announced before anything was");
    let first = announce(&t.a, "tools", 1).await;
    t.holds(first > nothing.newest, "a number that does not grow");
    let second = announce(&t.b, "file:///é {x}", 2).await;
    t.same(second, first + 1, "the next number");
    t.same(announce(&t.b, "file:///é {x}", 2).await, second, "the number of an announcement that was repeated");
    let third = announce(&t.a, "tools", 3).await;
    t.same(third, second + 1, "the number of a topic announced again");
    let all = t.ok(t.b.engine.announced(first - 1, &[]).await, "announced");
    t.same(
        (named(&all), all.newest, all.complete),
        (vec![(second, "file:///é {x}"), (third, "tools")], third, true),
        "all",
    );
    let later = t.ok(t.a.engine.announced(second, &[]).await, "announced");
    t.same(named(&later), vec![(third, "tools")], "what came after a number");
    let some = t.ok(t.b.engine.announced(0, &["file:///é {x}", "prompts"]).await, "announced");
    t.same((named(&some), some.newest), (vec![(second, "file:///é {x}")], third), "some topics");
    for number in 0..1_030_u64 {
        announce(&t.a, &format!("file:///{number}"), number + 10).await;
    }
    let lost = t.ok(t.b.engine.announced(third, &[]).await, "announced");
    t.same((lost.topics.len() <= 1_024, lost.complete), (true, false), "whether some are missing is said");
    let recent = t.ok(t.b.engine.announced(lost.newest - 1_000, &[]).await, "announced");
    t.same((recent.topics.len(), recent.complete), (1_000, true), "the newest thousand");
}

pub(super) fn deliver(
    node: &Node,
    session: SessionId,
    (after, up_to): (u64, u64),
    revision: u64,
    texts: &[&str],
) -> Deliver {
    let events = texts.iter().map(|text| note(text)).collect();
    Deliver { session, node: node.id, after, up_to, revision, events }
}

/// Of all callers that deliver an announcement to a session, one succeeds.
pub async fn announcements_are_delivered_once(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 83, Policy::default()).await;
    let session = t.session().await;
    let before = t.ok(t.a.engine.announce("before", 1).await, "announce");
    let deaf = t.a.engine.deliver(deliver(&t.a, session, (0, before), 0, &["x"])).await;
    t.same(t.ok(deaf, "deliver").up_to, before, "what a session is due that never listened");
    let reader = t.ok(t.b.attach(session, STANDALONE, None).await, "attach");
    t.same((reader.delivered, reader.newest, reader.revision), (before, before, 0), "where a new reader begins");
    let number = t.ok(t.a.engine.announce("tools", 2).await, "announce");
    for (node, text) in [(&t.b, "tools"), (&t.a, "again"), (&t.b, "once more")] {
        let told = node.engine.deliver(deliver(node, session, (before, number), 0, &[text, "b"])).await;
        t.same(t.ok(told, "deliver").up_to, number, "the position of the session");
    }
    let page = t.ok(t.b.read(session, STANDALONE, reader, 0, usize::MAX).await, "read");
    t.same(page.events, stored(1, &["tools", "b"]), "what its reader got");
    let next = t.ok(t.b.engine.announce("tools", 3).await, "announce");
    let nothing = t.a.engine.deliver(deliver(&t.a, session, (number, next), 0, &[])).await;
    t.same(t.ok(nothing, "deliver").up_to, next, "the position after changes that it does not want");
    let gone = t.a.engine.deliver(deliver(&t.a, SessionId::random(), (0, next), 0, &["x"])).await;
    t.rejected(gone, StoreErrorKind::NotFound, "deliver to an unknown session");
    t.ok(t.b.engine.detach(session, STANDALONE, reader.generation).await, "detach");
    let last = t.ok(t.b.engine.announce("tools", 4).await, "announce");
    let told = t.a.engine.deliver(deliver(&t.a, session, (next, last), 0, &["tools"])).await;
    t.same(t.ok(told, "deliver while no reader is attached").up_to, last, "the position of the session");
    let reader = t.ok(t.a.attach(session, STANDALONE, None).await, "attach");
    t.same((reader.delivered, reader.newest), (last, last), "where a returning reader begins");
    let page = t.ok(t.a.read(session, STANDALONE, reader, reader.after, usize::MAX).await, "read");
    t.same(page.events, stored(3, &["tools"]), "what it missed");
}

/// A delivery that was based on earlier subscriptions of the session is rejected.
pub async fn a_delivery_knows_what_the_session_wants(backend: &dyn Backend, nodes: Nodes) {
    let t = Trial::new(backend, nodes, 84, Policy::default()).await;
    let session = t.session().await;
    let reader = t.ok(t.b.attach(session, STANDALONE, None).await, "attach");
    let number = t.ok(t.a.engine.announce("x", 1).await, "announce");
    let store = async |key, version| {
        let stored = t.a.engine.store_state(session, key, RawJson::empty_object(), version).await;
        t.holds(t.ok(stored, "store_state"), "the newest version did not count");
    };
    store("of the application", 0).await;
    t.same(t.ok(t.b.engine.load(session, None).await, "load").revision, 0, "the revision");
    store("mcp.x", 0).await;
    store("mcp.x", 1).await;
    let late = t.b.engine.deliver(deliver(&t.b, session, (reader.delivered, number), 1, &["old"])).await;
    t.rejected(late, StoreErrorKind::Conflict, "deliver by an older revision");
    t.same(t.ok(t.b.engine.load(session, None).await, "load").revision, 2, "the revision");
    let begun = t.a.engine.begin(crate::store::Begin {
        session,
        principal: None,
        node: t.a.id,
        ids: &[1.into()],
        unique: true,
    });
    t.same(t.ok(begun.await, "begin").revision, 2, "the revision that a call begins with");
    let told = t.b.engine.deliver(deliver(&t.b, session, (reader.delivered, number), 2, &["new"])).await;
    t.same(t.ok(told, "deliver").up_to, number, "the position of the session");
    let page = t.ok(t.b.read(session, STANDALONE, reader, 0, usize::MAX).await, "read");
    t.same(page.events, stored(1, &["new"]), "what its reader got");
}
