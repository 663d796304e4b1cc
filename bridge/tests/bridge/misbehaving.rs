//! Processes that misbehave: the bridge stays up, and callers get an error.

use std::fs;
use std::io::Read;
use std::thread;
use std::time::Duration;

use crate::support::{
    Bridge, TIMEOUT, exists, final_message, is_running, last_started_pid, next_event, read_response, response_started,
    signal, text, tools_call, wait_for, wait_until_gone,
};

const ENDED: &str =
    r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"The server behind the bridge has ended"}}"#;

#[test]
fn invalid_lines_are_logged_once_and_skipped() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("invalid_lines", "{}"), "after the invalid lines");
    assert_eq!(session.text("invalid_lines", "{}"), "after the invalid lines");
    assert_eq!(bridge.log().matches("WARN").count(), 1, "{}", bridge.log());
}

#[test]
fn lines_written_in_two_parts_are_joined() {
    let bridge = Bridge::start(&[], &[]);
    assert_eq!(
        bridge.open().call("split_line", "{}"),
        (200, r#"{"jsonrpc":"2.0","id":1,"result":{"content": []}}"#.to_owned())
    );
}

#[test]
fn a_line_too_long_ends_the_process() {
    let bridge = Bridge::start(&["--longest-line", "1000000"], &[]);
    let (session, other) = (bridge.open(), bridge.open());
    let pid = session.pid();
    let (_, answer) = session.call("long_line", r#"{"mebibytes":100}"#);
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"The server behind the bridge was ended: it wrote a message longer than the bridge allows"}}"#
    );
    wait_until_gone(pid);
    assert_eq!(other.text("echo", r#"{"text":"another session"}"#), "another session");
    if let Some(peak) = peak_kilobytes(&bridge) {
        assert!(peak < 60_000, "{peak} kB");
    }
}

#[test]
fn a_line_of_the_maximum_length_passes() {
    let bridge = Bridge::start(&["--longest-line", "1000000"], &[]);
    let text = "z".repeat(900_000);
    assert_eq!(bridge.open().text("echo", &format!(r#"{{"text":"{text}"}}"#)), text);
}

#[test]
fn unknown_and_second_answers_are_dropped() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("answer_twice", "{}"), "first");
    assert_eq!(session.text("echo", r#"{"text":"next"}"#), "next");
}

#[test]
fn a_process_without_reads_delays_its_callers() {
    let bridge = Bridge::start(&["--max-calls", "16"], &[]);
    let (session, other) = (bridge.open(), bridge.open());
    let pid = session.pid();
    assert_eq!(session.text("stop_reading", "{}"), "reading stops");
    let before = peak_kilobytes(&bridge);
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20));
    let calls: Vec<_> = (0..16).map(|id| session.send_call(&id.to_string(), "echo", &large)).collect();
    let calls: Vec<_> = calls.into_iter().map(response_started).collect();
    // All of them wait; one more exceeds the limit.
    assert_eq!(session.call("echo", "{}").0, 429);
    let waiting = peak_kilobytes(&bridge);
    let message = "m".repeat(100_000);
    for _ in 0..250 {
        session.notify(&format!(r#""method":"notifications/x","params":{{"message":"{message}"}}"#));
    }
    assert!(bridge.log().contains("dropped a notification: the process does not read"));
    assert_eq!(other.text("echo", r#"{"text":"another session"}"#), "another session");
    if let (Some(before), Some(waiting), Some(after)) = (before, waiting, peak_kilobytes(&bridge)) {
        // The bodies of the calls, in each form the bridge holds them, and little of the
        // notifications.
        assert!(waiting < before + 5 * 16 * 1024, "{before} kB, then {waiting} kB");
        assert!(after < waiting + 12_000, "{waiting} kB, then {after} kB");
    }
    assert_eq!(session.delete(), 200);
    wait_until_gone(pid);
    for mut call in calls {
        let mut rest = String::new();
        call.read_to_string(&mut rest).unwrap();
        assert!(!rest.contains("result"), "{rest}");
    }
}

#[test]
fn a_client_without_reads_delays_its_process() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let before = peak_kilobytes(&bridge);
    let flood = tools_call("1", "flood", r#"{"lines":50000}"#, r#"{"progressToken":1}"#);
    let _unread = response_started(session.send(&flood));
    // The process reads this only after it has written everything: 50 MB.
    assert_eq!(session.text("echo", r#"{"text":"my turn"}"#), "my turn");
    if let (Some(before), Some(after)) = (before, peak_kilobytes(&bridge)) {
        assert!(after < before + 20_000, "{before} kB, then {after} kB");
    }
}

#[test]
fn a_reading_client_receives_a_whole_burst() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let flood = tools_call("1", "flood", r#"{"lines":3000}"#, r#"{"progressToken":1}"#);
    let slow = || bridge.log().matches("a client reads slowly").count();
    // On a busy machine this test itself may read too slowly; then it tries again.
    let body = wait_for("the client reads in time", || {
        let before = slow();
        let (_, _, body) = read_response(session.send(&flood));
        (slow() == before).then_some(body)
    });
    let figures = (0..3000).map(|figure| format!(r#""progress": {figure},"#));
    let mut rest = &*body;
    for figure in figures {
        let at = rest.find(&figure).unwrap_or_else(|| panic!("{figure} is missing, or not in order"));
        rest = &rest[at..];
    }
    assert_eq!(text(&final_message(&body)), "done");
}

#[test]
fn a_crash_while_answering_fails_all_calls() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let held = session.hold_call("1", "held", "{}");
    let pid = session.pid();
    let dying = session.send_call("1", "crash", "{}");
    assert_eq!(final_message(&read_response(dying).2), ENDED);
    assert_eq!(final_message(&read_response(held).2), ENDED);
    wait_until_gone(pid);
    assert!(bridge.log().contains("exit status: 3"), "{}", bridge.log());
}

#[test]
fn a_killed_process_fails_its_calls() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let pid = session.pid();
    let held = session.hold_call("1", "held", "{}");
    signal(pid, "KILL");
    assert_eq!(final_message(&read_response(held).2), ENDED);
    wait_until_gone(pid);
}

#[test]
fn a_descendant_that_holds_the_pipes_is_ended() {
    let bridge = Bridge::start(&["--grace", "0.3"], &[]);
    let session = bridge.open();
    let pid = session.pid();
    let left: u32 = session.text("exit_with_descendant", "{}").parse().unwrap();
    wait_until_gone(pid);
    wait_for("the descendant is ended", || (!is_running(left)).then_some(()));
}

#[test]
fn a_descendant_that_ignores_sigterm_is_killed() {
    let bridge = Bridge::start(&["--grace", "0.3"], &[]);
    let session = bridge.open();
    let (pid, descendant): (u32, u32) = (session.pid(), session.text("spawn_descendant", "{}").parse().unwrap());
    assert!(exists(pid) && is_running(descendant));
    assert_eq!(session.delete(), 200);
    wait_until_gone(pid);
    wait_for("the descendant is killed", || (!is_running(descendant)).then_some(()));
}

#[test]
fn a_process_that_ignores_sigterm_is_killed() {
    let bridge = Bridge::start(&["--grace", "0.3"], &["ignore_sigterm"]);
    let session = bridge.open();
    let pid = session.pid();
    assert_eq!(session.delete(), 200);
    wait_until_gone(pid);
    assert!(bridge.log().contains("did not exit after SIGTERM"), "{}", bridge.log());
}

#[test]
fn an_unanswered_call_times_out_and_is_cancelled() {
    let bridge = Bridge::start(&["--call-timeout", "2"], &[]);
    let session = bridge.open();
    let hung = session.send_call("1", "hold", r#"{"as":"hung"}"#);
    assert_eq!(
        final_message(&read_response(hung).2),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"The server behind the bridge did not answer in time"}}"#
    );
    wait_for("the process receives the cancellation", || {
        session.call("received", "{}").1.contains("notifications/cancelled").then_some(())
    });
    wait_for("the process continues", || session.call("echo", r#"{"text":"next"}"#).1.contains("next").then_some(()));
}

#[test]
fn starts_that_keep_failing_are_delayed() {
    let bridge = Bridge::start(&[], &["exit_at_start"]);
    let initialize = || {
        let (status, head, body) = bridge.initialize();
        assert_eq!(status, 200);
        assert!(!head.contains("mcp-session-id"), "{head}");
        body
    };
    let ended =
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"The server behind the bridge has ended"}}"#;
    assert_eq!((initialize(), initialize()), (ended.to_owned(), ended.to_owned()));
    wait_for("the start is delayed", || {
        initialize().contains("The server behind the bridge keeps exiting; it can start again in").then_some(())
    });
    // On a slow machine the first delays may have passed already; each is twice as long as the
    // last.
    let started = bridge.log().matches("process started").count();
    assert!((2..8).contains(&started), "{started} starts");
    wait_for("the start is tried again", || (initialize() == ended).then_some(()));
}

#[test]
fn an_unanswered_initialize_ends_the_process() {
    let bridge = Bridge::start(&["--start-timeout", "0.5"], &["no_answers"]);
    let (_, head, body) = bridge.initialize();
    assert!(!head.contains("mcp-session-id"), "{head}");
    assert!(body.contains("The server behind the bridge did not answer initialize in time"), "{body}");
    wait_until_gone(last_started_pid(&bridge));
}

#[test]
fn a_disconnect_during_initialize_ends_the_process() {
    let bridge = Bridge::start(&[], &["no_answers"]);
    let waiting = bridge.send("POST /mcp HTTP/1.1\r\nX-Test: 1", crate::support::INITIALIZE);
    let pid =
        wait_for("a process starts", || bridge.log().contains("process started").then(|| last_started_pid(&bridge)));
    assert!(exists(pid));
    drop(waiting);
    wait_until_gone(pid);
}

#[test]
fn missing_programs_are_named_only_in_the_log() {
    let bridge = Bridge::start_with(&[], &["/no/such/program"]);
    let (status, _, body) = bridge.initialize();
    assert_eq!(status, 200);
    assert!(body.contains("The server behind the bridge does not start"), "{body}");
    assert!(!body.contains("/no/such"), "{body}");
    assert!(bridge.log().contains("/no/such/program"), "{}", bridge.log());
}

#[test]
fn stderr_is_logged_escaped_and_truncated() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("write_stderr", "{}"), "done");
    let log = wait_for("stderr is logged", || Some(bridge.log()).filter(|log| log.contains("red")));
    let short = &session.id[..8];
    let line = log.lines().find(|line| line.contains("a warning")).unwrap();
    assert!(line.contains(short), "{line} is not of {short}");
    assert!(log.contains("(truncated)"), "{log}");
    assert!(log.lines().all(|line| line.len() < 5_000), "a log line is too long");
    assert!(!log.contains("\x1b[31mred"), "{log}");
}

#[test]
fn the_last_stderr_line_before_exit_is_logged() {
    let bridge = Bridge::start(&[], &[]);
    for _ in 0..6 {
        let _session = bridge.open();
        let pid = last_started_pid(&bridge);
        // When the bridge continues, it finds the output, its end and the exit all at once.
        signal(bridge.pid(), "STOP");
        signal(pid, "USR1");
        wait_for("the process exits", || (!is_running(pid)).then_some(()));
        signal(bridge.pid(), "CONT");
        wait_for("the last line is logged", || bridge.log().contains(&format!("last line of {pid}")).then_some(()));
    }
}

#[test]
fn a_stderr_flood_is_limited_and_counted() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("flood_stderr", r#"{"lines":20000}"#), "done");
    assert_eq!(session.delete(), 200);
    wait_for("dropped lines are counted", || bridge.log().contains("more than 10 a second").then_some(()));
    wait_until_gone(last_started_pid(&bridge));
    let log = bridge.log();
    let logged = log.lines().filter(|line| line.contains("stderr: \"flood ")).count();
    // The burst of 1,000, and some lines that were refilled meanwhile.
    assert!((1_000..10_000).contains(&logged), "{logged} lines");
    assert!(log.contains("stderr: \"flood 0\"") && log.contains("stderr: \"flood 19999\""), "{logged} lines");
}

#[test]
fn queued_notifications_do_not_keep_other_output() {
    let bridge = Bridge::start(&["--longest-line", "2000000"], &[]);
    let session = bridge.open();
    let flood = |times: u32| format!(r#"{{"flood":150,"times":{times},"garbage":1500000}}"#);
    let _unread = response_started(session.send_call("9", "log_among_garbage", &flood(1)));
    wait_for("everything was read", || bridge.log().contains("garbage written").then_some(()));
    let before = peak_kilobytes(&bridge);

    let other = bridge.open();
    let _unread = response_started(other.send_call("9", "log_among_garbage", &flood(40)));
    wait_for("everything was read", || (bridge.log().matches("garbage written").count() == 2).then_some(()));
    if let (Some(before), Some(after)) = (before, peak_kilobytes(&bridge)) {
        assert!(after < before + 20_000, "{before} kB, then {after} kB");
    }
}

#[test]
fn an_unanswered_client_request_times_out() {
    let bridge = Bridge::start(&["--client-request-timeout", "0.3"], &[]);
    let session = bridge.open();
    let answer = session.text("request_client", r#"{"id":"q","method":"roots/list"}"#);
    assert!(answer.contains("did not answer within"), "{answer}");
}

#[test]
fn client_requests_beyond_the_limit_are_rejected() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let mut stream = session.open_stream();
    session.notify(r#""method":"notifications/send_requests","params":{"times":200}"#);
    let rejected = || bridge.log().lines().filter(|line| line.contains("stderr: \"answered")).count();
    wait_for("requests beyond the limit are rejected", || (rejected() >= 136).then_some(()));
    for _ in 0..64 {
        assert!(next_event(&mut stream).contains("roots/list"));
    }
    assert_eq!(rejected(), 136);
    assert_eq!(session.text("echo", r#"{"text":"still here"}"#), "still here");
}

/// Returns the peak memory of the bridge in kilobytes, or `None` where the system does not report
/// it.
fn peak_kilobytes(bridge: &Bridge) -> Option<u64> {
    // The kernel may count memory that was just freed for a moment longer.
    thread::sleep(Duration::from_millis(50).min(TIMEOUT));
    let status = fs::read_to_string(format!("/proc/{}/status", bridge.pid())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
