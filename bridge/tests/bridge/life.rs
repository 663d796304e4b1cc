//! A child lives as long as its session, and no longer.

use crate::support::{Bridge, all, event, exists, gone, runs, signal, soon, started, under_way};

#[test]
fn each_session_has_a_child_of_its_own() {
    let bridge = Bridge::start(&[], &[]);
    let (one, other) = (bridge.open(), bridge.open());
    assert_ne!(one.pid(), other.pid());
    assert_eq!(one.pid(), one.pid());
}

#[test]
fn a_session_that_its_client_deletes_takes_its_child_along() {
    let bridge = Bridge::start(&["--grace", "60"], &[]);
    let (session, other) = (bridge.open(), bridge.open());
    let pid = session.pid();
    assert_eq!(session.delete(), 200);
    gone(pid);
    assert!(exists(other.pid()));
    // It was enough to close its stdin.
    assert!(!bridge.log().contains("did not end"), "{}", bridge.log());
}

#[test]
fn a_session_that_expires_takes_its_child_along() {
    let bridge = Bridge::start(&["--idle-timeout", "10"], &[]);
    let session = bridge.open();
    gone(started(&bridge));
    assert_eq!(session.call("pid", "{}").0, 404);
}

#[test]
fn a_bridge_that_is_stopped_ends_its_children_and_waits_for_them() {
    let bridge = Bridge::start(&["--grace", "0.3", "--stateless", "shared"], &["stubborn"]);
    let (one, other) = (bridge.open(), bridge.open());
    let pids = [one.pid(), other.pid()];
    let _held = one.hold("9", "held", "{}");
    let _listening = one.listen();
    let shared = crate::without_session::pid(&bridge);
    assert!(bridge.stop());
    for pid in [pids[0], pids[1], shared] {
        assert!(!exists(pid));
    }
}

#[test]
fn a_bridge_that_is_killed_leaves_its_children_without_input_and_they_end() {
    let bridge = Bridge::start(&[], &[]);
    let pid = bridge.open().pid();
    signal(bridge.pid(), "KILL");
    soon("the child ends", || (!runs(pid)).then_some(()));
}

#[test]
fn there_are_no_more_children_than_allowed_and_a_place_is_free_again_after_the_end() {
    let bridge = Bridge::start(&["--children", "1", "--grace", "1"], &[]);
    let session = bridge.open();
    let pid = session.pid();
    let (status, head, body) = bridge.initialize();
    assert_eq!(status, 200);
    assert!(!head.contains("mcp-session-id") && body.contains("(--children)"), "{head}{body}");
    assert_eq!(session.delete(), 200);
    // It waits for the place rather than being refused.
    let next = bridge.open();
    assert_ne!(next.pid(), pid);
    assert!(!exists(pid));
}

#[test]
fn a_session_that_rests_makes_room_for_a_new_one_and_one_in_use_does_not() {
    let bridge = Bridge::start(&["--children", "2", "--evict-after", "0.1"], &[]);
    let (in_use, resting) = (bridge.open(), bridge.open());
    let (kept, ended) = (in_use.pid(), resting.pid());
    let _listening = in_use.listen();
    soon("a new session opens", || bridge.initialize().1.contains("mcp-session-id").then_some(()));
    gone(ended);
    assert_eq!(resting.call("pid", "{}").0, 404);
    assert_eq!(in_use.pid(), kept);
}

#[test]
fn a_session_whose_call_hangs_makes_room_when_its_client_is_gone() {
    let bridge = Bridge::start(&["--children", "1", "--evict-after", "0.1", "--grace", "0.3"], &[]);
    let session = bridge.open();
    let pid = started(&bridge);
    let hung = under_way(session.begin("1", "hold", r#"{"as":"hung"}"#));
    drop(hung);
    soon("a new session opens", || bridge.initialize().1.contains("mcp-session-id").then_some(()));
    gone(pid);
    assert_eq!(session.call("pid", "{}").0, 404);
}

#[test]
fn a_session_in_a_call_that_somebody_waits_for_keeps_its_child() {
    let bridge = Bridge::start(&["--children", "1", "--evict-after", "0.1", "--grace", "1"], &[]);
    let session = bridge.open();
    let mut waiting = under_way(session.hold("9", "held", "{}"));
    let (status, head, body) = bridge.initialize();
    assert_eq!(status, 200);
    assert!(!head.contains("mcp-session-id") && body.contains("(--children)"), "{head}{body}");
    assert_eq!(session.text("release", r#"{"these":["held"]}"#), "released");
    assert!(event(&mut waiting).contains(r#""was": "held""#));
}

#[test]
fn a_session_whose_call_hangs_expires_when_its_client_is_gone() {
    let bridge = Bridge::start(&["--idle-timeout", "10"], &[]);
    let session = bridge.open();
    let pid = started(&bridge);
    let hung = under_way(session.begin("1", "hold", r#"{"as":"hung"}"#));
    drop(hung);
    gone(pid);
    assert_eq!(session.call("pid", "{}").0, 404);
}

#[test]
fn with_fresh_a_session_without_a_child_does_not_go_for_a_place_it_does_not_hold() {
    let bridge = Bridge::start(&["--children", "1", "--evict-after", "0.1", "--restart", "fresh"], &[]);
    let childless = bridge.open();
    let died = started(&bridge);
    signal(died, "KILL");
    soon("its place is free", || bridge.log().contains("a process ended").then_some(()));
    let resting = bridge.open();
    let pid = started(&bridge);
    soon("a new session opens", || bridge.initialize().1.contains("mcp-session-id").then_some(()));
    gone(pid);
    assert_eq!(resting.call("pid", "{}").0, 404);
    childless.notify(r#""method":"notifications/roots/list_changed""#);
}

#[test]
fn a_new_session_waits_for_the_place_of_a_child_that_has_to_be_killed() {
    let switches = ["--children", "1", "--evict-after", "0.1", "--grace", "6"];
    let bridge = Bridge::start(&switches, &["stubborn"]);
    let session = bridge.open();
    let pid = started(&bridge);
    assert_eq!(session.delete(), 200);
    let next = bridge.open();
    assert!(!exists(pid));
    assert_ne!(next.pid(), pid);
}

#[test]
fn a_session_whose_child_died_is_unknown_after() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    signal(session.pid(), "KILL");
    soon("the session ends", || (session.call("pid", "{}").0 == 404).then_some(()));
    let next = bridge.open();
    assert!(exists(next.pid()));
}

#[test]
fn with_fresh_a_session_goes_on_with_another_child_that_is_told_the_same() {
    let bridge = Bridge::start(&["--restart", "fresh"], &[]);
    let session = bridge.open();
    let pid = session.pid();
    let before = session.heard();
    let dying = session.begin("1", "die", "{}");
    assert!(all(dying).2.contains("The server behind the bridge has ended"));
    gone(pid);
    // Nothing is started before somebody calls.
    assert_eq!(bridge.log().matches("a process was started").count(), 1);
    assert_ne!(session.pid(), pid);
    assert_eq!(session.heard(), before);
}

#[test]
fn with_fresh_a_child_that_keeps_dying_is_given_time() {
    let bridge = Bridge::start(&["--restart", "fresh"], &[]);
    let session = bridge.open();
    let started = || bridge.log().matches("a process was started").count();
    assert!(session.call("die", "{}").1.contains("has ended"));
    // Anything may die once.
    assert!(session.call("die", "{}").1.contains("has ended"));
    // On a machine that is slow the first pauses may be over already; each is twice as long as the last.
    soon("it is given time", || session.call("die", "{}").1.contains("it is not started again for").then_some(()));
    let before = started();
    assert!((2..8).contains(&before), "{before} starts");
    soon("it is started again", || session.call("pid", "{}").1.contains("content").then_some(()));
    assert_eq!(started(), before + 1);
}

#[test]
fn with_fresh_a_child_that_does_not_come_back_is_an_error_and_no_hang() {
    let folder = tempfile::tempdir().unwrap();
    let once = format!("once={}", folder.path().join("once").display());
    let bridge = Bridge::start(&["--restart", "fresh"], &[&once]);
    let session = bridge.open();
    session.call("die", "{}");
    assert!(session.call("pid", "{}").1.contains("The server behind the bridge has ended"));
    assert!(session.call("pid", "{}").1.contains("error"));
}

#[test]
fn a_child_of_a_revision_that_is_not_served_is_refused_by_name() {
    let bridge = Bridge::start(&[], &["version=2024-11-05"]);
    let (status, head, body) = bridge.initialize();
    assert_eq!(status, 200);
    assert!(!head.contains("mcp-session-id"), "{head}");
    assert_eq!(
        body,
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"The server behind the bridge speaks a protocol revision that is not served over Streamable HTTP","data":{"version":"2024-11-05"}}}"#
    );
}
