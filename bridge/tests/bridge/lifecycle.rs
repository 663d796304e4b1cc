//! Lifecycle: a process runs exactly as long as its session.

use crate::support::{
    Bridge, exists, is_running, last_started_pid, next_event, read_response, response_started, signal, wait_for,
    wait_until_gone,
};

#[test]
fn each_session_has_its_own_process() {
    let bridge = Bridge::start(&[], &[]);
    let (one, other) = (bridge.open(), bridge.open());
    assert_ne!(one.pid(), other.pid());
    assert_eq!(one.pid(), one.pid());
}

#[test]
fn deleting_a_session_ends_its_process() {
    let bridge = Bridge::start(&["--grace", "60"], &[]);
    let (session, other) = (bridge.open(), bridge.open());
    let pid = session.pid();
    assert_eq!(session.delete(), 200);
    wait_until_gone(pid);
    assert!(exists(other.pid()));
    // Closing its stdin was enough.
    assert!(!bridge.log().contains("did not exit"), "{}", bridge.log());
}

#[test]
fn an_expired_session_ends_its_process() {
    let bridge = Bridge::start(&["--idle-timeout", "10"], &[]);
    let session = bridge.open();
    wait_until_gone(last_started_pid(&bridge));
    assert_eq!(session.call("pid", "{}").0, 404);
}

#[test]
fn stopping_the_bridge_ends_all_processes() {
    let bridge = Bridge::start(&["--grace", "0.3", "--stateless", "shared"], &["ignore_sigterm"]);
    let (one, other) = (bridge.open(), bridge.open());
    let pids = [one.pid(), other.pid()];
    let _held = one.hold_call("9", "held", "{}");
    let _listening = one.open_stream();
    let shared = crate::shared::pid(&bridge);
    assert!(bridge.stop());
    for pid in [pids[0], pids[1], shared] {
        assert!(!exists(pid));
    }
}

#[test]
fn killing_the_bridge_closes_stdin_of_its_processes() {
    let bridge = Bridge::start(&[], &[]);
    let pid = bridge.open().pid();
    signal(bridge.pid(), "KILL");
    wait_for("the process ends", || (!is_running(pid)).then_some(()));
}

#[test]
fn max_processes_is_enforced_and_permits_are_released() {
    let bridge = Bridge::start(&["--max-processes", "1", "--grace", "1"], &[]);
    let session = bridge.open();
    let pid = session.pid();
    let (status, head, body) = bridge.initialize();
    assert_eq!(status, 200);
    assert!(!head.contains("mcp-session-id") && body.contains("(--max-processes)"), "{head}{body}");
    assert_eq!(session.delete(), 200);
    // The new session waits for the permit and is not rejected.
    let next = bridge.open();
    assert_ne!(next.pid(), pid);
    assert!(!exists(pid));
}

#[test]
fn an_idle_session_is_evicted_before_used_ones() {
    let bridge = Bridge::start(&["--max-processes", "2", "--evict-after", "0.1"], &[]);
    let (in_use, resting) = (bridge.open(), bridge.open());
    let (kept, ended) = (in_use.pid(), resting.pid());
    let _listening = in_use.open_stream();
    wait_for("a new session opens", || bridge.initialize().1.contains("mcp-session-id").then_some(()));
    wait_until_gone(ended);
    assert_eq!(resting.call("pid", "{}").0, 404);
    assert_eq!(in_use.pid(), kept);
}

#[test]
fn an_abandoned_session_with_a_call_is_evicted() {
    let bridge = Bridge::start(&["--max-processes", "1", "--evict-after", "0.1", "--grace", "0.3"], &[]);
    let session = bridge.open();
    let pid = last_started_pid(&bridge);
    let hung = response_started(session.send_call("1", "hold", r#"{"as":"hung"}"#));
    drop(hung);
    wait_for("a new session opens", || bridge.initialize().1.contains("mcp-session-id").then_some(()));
    wait_until_gone(pid);
    assert_eq!(session.call("pid", "{}").0, 404);
}

#[test]
fn sessions_with_a_waiting_client_are_not_evicted() {
    let bridge = Bridge::start(&["--max-processes", "1", "--evict-after", "0.1", "--grace", "1"], &[]);
    let session = bridge.open();
    let mut waiting = response_started(session.hold_call("9", "held", "{}"));
    let (status, head, body) = bridge.initialize();
    assert_eq!(status, 200);
    assert!(!head.contains("mcp-session-id") && body.contains("(--max-processes)"), "{head}{body}");
    assert_eq!(session.text("release", r#"{"these":["held"]}"#), "released");
    assert!(next_event(&mut waiting).contains(r#""was": "held""#));
}

#[test]
fn an_abandoned_session_with_a_call_expires() {
    let bridge = Bridge::start(&["--idle-timeout", "10"], &[]);
    let session = bridge.open();
    let pid = last_started_pid(&bridge);
    let hung = response_started(session.send_call("1", "hold", r#"{"as":"hung"}"#));
    drop(hung);
    wait_until_gone(pid);
    assert_eq!(session.call("pid", "{}").0, 404);
}

#[test]
fn a_session_without_a_process_is_not_evicted() {
    let bridge = Bridge::start(&["--max-processes", "1", "--evict-after", "0.1", "--restart", "fresh"], &[]);
    let without_process = bridge.open();
    let died = last_started_pid(&bridge);
    signal(died, "KILL");
    wait_for("the permit is released", || bridge.log().contains("process ended").then_some(()));
    let resting = bridge.open();
    let pid = last_started_pid(&bridge);
    wait_for("a new session opens", || bridge.initialize().1.contains("mcp-session-id").then_some(()));
    wait_until_gone(pid);
    assert_eq!(resting.call("pid", "{}").0, 404);
    without_process.notify(r#""method":"notifications/roots/list_changed""#);
}

#[test]
fn new_sessions_wait_while_a_process_is_killed() {
    let options = ["--max-processes", "1", "--evict-after", "0.1", "--grace", "6"];
    let bridge = Bridge::start(&options, &["ignore_sigterm"]);
    let session = bridge.open();
    let pid = last_started_pid(&bridge);
    assert_eq!(session.delete(), 200);
    let next = bridge.open();
    assert!(!exists(pid));
    assert_ne!(next.pid(), pid);
}

#[test]
fn a_session_ends_when_its_process_exits() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    signal(session.pid(), "KILL");
    wait_for("the session ends", || (session.call("pid", "{}").0 == 404).then_some(()));
    let next = bridge.open();
    assert!(exists(next.pid()));
}

#[test]
fn restart_fresh_repeats_initialize() {
    let bridge = Bridge::start(&["--restart", "fresh"], &[]);
    let session = bridge.open();
    let pid = session.pid();
    let before = session.received();
    let dying = session.send_call("1", "crash", "{}");
    assert!(read_response(dying).2.contains("The server behind the bridge has ended"));
    wait_until_gone(pid);
    // The bridge starts no process before the next call.
    assert_eq!(bridge.log().matches("process started").count(), 1);
    assert_ne!(session.pid(), pid);
    assert_eq!(session.received(), before);
}

#[test]
fn restart_fresh_delays_repeated_starts() {
    let bridge = Bridge::start(&["--restart", "fresh"], &[]);
    let session = bridge.open();
    let started = || bridge.log().matches("process started").count();
    assert!(session.call("crash", "{}").1.contains("has ended"));
    // The first failure causes no delay.
    assert!(session.call("crash", "{}").1.contains("has ended"));
    // On a slow machine the first delays may have passed already; each is twice as long as the
    // last.
    wait_for("the start is delayed", || session.call("crash", "{}").1.contains("it can start again in").then_some(()));
    let before = started();
    assert!((2..8).contains(&before), "{before} starts");
    wait_for("the process starts again", || session.call("pid", "{}").1.contains("content").then_some(()));
    assert_eq!(started(), before + 1);
}

#[test]
fn restart_fresh_reports_a_failed_start() {
    let folder = tempfile::tempdir().unwrap();
    let once = format!("start_once={}", folder.path().join("once").display());
    let bridge = Bridge::start(&["--restart", "fresh"], &[&once]);
    let session = bridge.open();
    session.call("crash", "{}");
    assert!(session.call("pid", "{}").1.contains("The server behind the bridge has ended"));
    assert!(session.call("pid", "{}").1.contains("error"));
}

#[test]
fn a_revision_that_is_not_served_is_rejected() {
    let bridge = Bridge::start(&[], &["version=2024-11-05"]);
    let (status, head, body) = bridge.initialize();
    assert_eq!(status, 200);
    assert!(!head.contains("mcp-session-id"), "{head}");
    assert_eq!(
        body,
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"The server behind the bridge speaks a protocol revision that is not served over Streamable HTTP","data":{"version":"2024-11-05"}}}"#
    );
}
