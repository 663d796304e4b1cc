//! Children that do what no server should: the bridge stays what it was, and callers hear of it.

use std::fs;
use std::io::Read;
use std::thread;
use std::time::Duration;

use crate::support::{
    Bridge, PATIENCE, all, event, exists, gone, last, runs, signal, soon, started, text, tools_call, under_way,
};

const ENDED: &str =
    r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"The server behind the bridge has ended"}}"#;

#[test]
fn lines_that_are_no_messages_are_logged_once_and_skipped() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("garbage", "{}"), "after the garbage");
    assert_eq!(session.text("garbage", "{}"), "after the garbage");
    assert_eq!(bridge.log().matches("WARN").count(), 1, "{}", bridge.log());
}

#[test]
fn a_line_that_comes_in_halves_is_one_line() {
    let bridge = Bridge::start(&[], &[]);
    assert_eq!(
        bridge.open().call("half", "{}"),
        (200, r#"{"jsonrpc":"2.0","id":1,"result":{"content": []}}"#.to_owned())
    );
}

#[test]
fn a_line_of_a_hundred_mebibytes_ends_the_child_and_is_never_held() {
    let bridge = Bridge::start(&["--longest-line", "1000000"], &[]);
    let (session, other) = (bridge.open(), bridge.open());
    let pid = session.pid();
    let (_, answer) = session.call("endless", r#"{"mebibytes":100}"#);
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"The server behind the bridge was ended: it wrote a message longer than the bridge allows"}}"#
    );
    gone(pid);
    assert_eq!(other.text("echo", r#"{"text":"not my line"}"#), "not my line");
    if let Some(peak) = peak_kilobytes(&bridge) {
        assert!(peak < 60_000, "{peak} kB");
    }
}

#[test]
fn a_line_as_long_as_allowed_passes() {
    let bridge = Bridge::start(&["--longest-line", "1000000"], &[]);
    let text = "z".repeat(900_000);
    assert_eq!(bridge.open().text("echo", &format!(r#"{{"text":"{text}"}}"#)), text);
}

#[test]
fn answers_to_nobody_and_second_answers_are_dropped() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("twice", "{}"), "first");
    assert_eq!(session.text("echo", r#"{"text":"next"}"#), "next");
}

#[test]
fn a_child_that_does_not_read_holds_up_its_callers_and_costs_no_memory() {
    let bridge = Bridge::start(&["--calls", "16"], &[]);
    let (session, other) = (bridge.open(), bridge.open());
    let pid = session.pid();
    assert_eq!(session.text("deaf", "{}"), "from now on");
    let before = peak_kilobytes(&bridge);
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20));
    let calls: Vec<_> = (0..16).map(|id| session.begin(&id.to_string(), "echo", &large)).collect();
    let calls: Vec<_> = calls.into_iter().map(under_way).collect();
    // They wait; one more is too many.
    assert_eq!(session.call("echo", "{}").0, 429);
    let waiting = peak_kilobytes(&bridge);
    let message = "m".repeat(100_000);
    for _ in 0..250 {
        session.notify(&format!(r#""method":"notifications/x","params":{{"message":"{message}"}}"#));
    }
    assert!(bridge.log().contains("a notification was dropped: the process does not read"));
    assert_eq!(other.text("echo", r#"{"text":"not my ears"}"#), "not my ears");
    if let (Some(before), Some(waiting), Some(after)) = (before, waiting, peak_kilobytes(&bridge)) {
        // What the callers sent, in the forms it passes through, and little of what was said besides.
        assert!(waiting < before + 5 * 16 * 1024, "{before} kB, then {waiting} kB");
        assert!(after < waiting + 12_000, "{waiting} kB, then {after} kB");
    }
    assert_eq!(session.delete(), 200);
    gone(pid);
    for mut call in calls {
        let mut rest = String::new();
        call.read_to_string(&mut rest).unwrap();
        assert!(!rest.contains("result"), "{rest}");
    }
}

#[test]
fn a_client_that_does_not_read_holds_its_child_up_for_a_moment_only_and_costs_no_memory() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let before = peak_kilobytes(&bridge);
    let flood = tools_call("1", "flood", r#"{"lines":50000}"#, r#"{"progressToken":1}"#);
    let _unread = under_way(session.send(&flood));
    // The child reads this after it has written all of that: 50 MB.
    assert_eq!(session.text("echo", r#"{"text":"my turn"}"#), "my turn");
    if let (Some(before), Some(after)) = (before, peak_kilobytes(&bridge)) {
        assert!(after < before + 20_000, "{before} kB, then {after} kB");
    }
}

#[test]
fn a_client_that_reads_misses_nothing_of_a_burst() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let flood = tools_call("1", "flood", r#"{"lines":3000}"#, r#"{"progressToken":1}"#);
    let slow = || bridge.log().matches("a client reads slowly").count();
    // When this test itself is held up by the machine, it is a client that does not read.
    let body = soon("a client reads", || {
        let before = slow();
        let (_, _, body) = all(session.send(&flood));
        (slow() == before).then_some(body)
    });
    let figures = (0..3000).map(|figure| format!(r#""progress": {figure},"#));
    let mut rest = &*body;
    for figure in figures {
        let at = rest.find(&figure).unwrap_or_else(|| panic!("{figure} is missing, or not in order"));
        rest = &rest[at..];
    }
    assert_eq!(text(&last(&body)), "done");
}

#[test]
fn a_child_that_dies_in_its_answer_ends_its_calls_with_an_error() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let held = session.hold("1", "held", "{}");
    let pid = session.pid();
    let dying = session.begin("1", "die", "{}");
    assert_eq!(last(&all(dying).2), ENDED);
    assert_eq!(last(&all(held).2), ENDED);
    gone(pid);
    assert!(bridge.log().contains("exit status: 3"), "{}", bridge.log());
}

#[test]
fn a_child_that_is_killed_ends_its_calls_with_an_error() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let pid = session.pid();
    let held = session.hold("1", "held", "{}");
    signal(pid, "KILL");
    assert_eq!(last(&all(held).2), ENDED);
    gone(pid);
}

#[test]
fn a_grandchild_that_outlives_its_parent_and_holds_the_pipes_is_ended_too() {
    let bridge = Bridge::start(&["--grace", "0.3"], &[]);
    let session = bridge.open();
    let pid = session.pid();
    let left: u32 = session.text("leave", "{}").parse().unwrap();
    gone(pid);
    soon("the grandchild is ended", || (!runs(left)).then_some(()));
}

#[test]
fn a_grandchild_that_ignores_sigterm_is_killed_with_the_session() {
    let bridge = Bridge::start(&["--grace", "0.3"], &[]);
    let session = bridge.open();
    let (pid, offspring): (u32, u32) = (session.pid(), session.text("offspring", "{}").parse().unwrap());
    assert!(exists(pid) && runs(offspring));
    assert_eq!(session.delete(), 200);
    gone(pid);
    soon("the grandchild is killed", || (!runs(offspring)).then_some(()));
}

#[test]
fn a_child_that_ignores_sigterm_is_killed() {
    let bridge = Bridge::start(&["--grace", "0.3"], &["stubborn"]);
    let session = bridge.open();
    let pid = session.pid();
    assert_eq!(session.delete(), 200);
    gone(pid);
    assert!(bridge.log().contains("did not end when asked"), "{}", bridge.log());
}

#[test]
fn a_call_that_is_never_answered_ends_in_time_and_is_cancelled_for_the_child() {
    let bridge = Bridge::start(&["--call-within", "2"], &[]);
    let session = bridge.open();
    let hung = session.begin("1", "hold", r#"{"as":"hung"}"#);
    assert_eq!(
        last(&all(hung).2),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"The server behind the bridge did not answer in time"}}"#
    );
    soon("the child hears of it", || session.call("heard", "{}").1.contains("notifications/cancelled").then_some(()));
    soon("it goes on", || session.call("echo", r#"{"text":"next"}"#).1.contains("next").then_some(()));
}

#[test]
fn a_child_that_ends_at_once_refuses_its_session_and_is_not_started_at_every_knock() {
    let bridge = Bridge::start(&[], &["stillborn"]);
    let knock = || {
        let (status, head, body) = bridge.initialize();
        assert_eq!(status, 200);
        assert!(!head.contains("mcp-session-id"), "{head}");
        body
    };
    let ended =
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"The server behind the bridge has ended"}}"#;
    assert_eq!((knock(), knock()), (ended.to_owned(), ended.to_owned()));
    soon("it is left alone", || knock().contains("The server keeps ending; it is not started again for").then_some(()));
    // On a machine that is slow the first pauses may be over already; each is twice as long as the last.
    let started = bridge.log().matches("a process was started").count();
    assert!((2..8).contains(&started), "{started} starts");
    soon("it is tried again", || (knock() == ended).then_some(()));
}

#[test]
fn a_child_that_does_not_answer_initialize_is_ended_in_time() {
    let bridge = Bridge::start(&["--start-within", "0.5"], &["mute"]);
    let (_, head, body) = bridge.initialize();
    assert!(!head.contains("mcp-session-id"), "{head}");
    assert!(body.contains("The server behind the bridge did not answer initialize in time"), "{body}");
    gone(started(&bridge));
}

#[test]
fn a_client_that_leaves_during_initialize_leaves_no_child() {
    let bridge = Bridge::start(&[], &["mute"]);
    let waiting = bridge.send("POST /mcp HTTP/1.1\r\nX-Test: 1", crate::support::INITIALIZE);
    let pid = soon("a process is started", || bridge.log().contains("a process was started").then(|| started(&bridge)));
    assert!(exists(pid));
    drop(waiting);
    gone(pid);
}

#[test]
fn a_program_that_is_not_there_is_the_operators_to_know() {
    let bridge = Bridge::before(&[], &["/no/such/program"]);
    let (status, _, body) = bridge.initialize();
    assert_eq!(status, 200);
    assert!(body.contains("The server behind the bridge does not start"), "{body}");
    assert!(!body.contains("/no/such"), "{body}");
    assert!(bridge.log().contains("/no/such/program"), "{}", bridge.log());
}

#[test]
fn what_a_child_writes_to_stderr_is_logged_for_its_session_bounded_and_harmless() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("complain", "{}"), "complained");
    let log = soon("stderr is logged", || Some(bridge.log()).filter(|log| log.contains("red")));
    let short = &session.id[..8];
    let line = log.lines().find(|line| line.contains("a word")).unwrap();
    assert!(line.contains(short), "{line} is not of {short}");
    assert!(log.contains("(and more)"), "{log}");
    assert!(log.lines().all(|line| line.len() < 5_000), "a line is too long");
    assert!(!log.contains("\x1b[31mred"), "{log}");
}

#[test]
fn the_last_words_of_a_child_are_logged_although_everything_ends_at_once() {
    let bridge = Bridge::start(&[], &[]);
    for _ in 0..6 {
        let _session = bridge.open();
        let pid = started(&bridge);
        // What it says, the end of its output and its exit are all there when the bridge looks again.
        signal(bridge.pid(), "STOP");
        signal(pid, "USR1");
        soon("the child ends", || (!runs(pid)).then_some(()));
        signal(bridge.pid(), "CONT");
        soon("its last words are logged", || bridge.log().contains(&format!("last words of {pid}")).then_some(()));
    }
}

#[test]
fn of_a_child_that_complains_without_end_so_much_is_logged_and_the_rest_is_counted() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("rant", r#"{"lines":20000}"#), "ranted");
    assert_eq!(session.delete(), 200);
    soon("the rest is counted", || bridge.log().contains("lines were left out").then_some(()));
    gone(started(&bridge));
    let log = bridge.log();
    let logged = log.lines().filter(|line| line.contains("stderr: \"rant ")).count();
    // A thousand at once, and some that became free meanwhile.
    assert!((1_000..10_000).contains(&logged), "{logged} lines");
    assert!(log.contains("stderr: \"rant 0\"") && log.contains("stderr: \"rant 19999\""), "{logged} lines");
}

#[test]
fn what_a_client_has_not_read_holds_on_to_nothing_the_child_wrote_besides() {
    let bridge = Bridge::start(&["--longest-line", "2000000"], &[]);
    let session = bridge.open();
    let flood = |times: u32| format!(r#"{{"flood":150,"times":{times},"garbage":1500000}}"#);
    let _unread = under_way(session.begin("9", "mutter", &flood(1)));
    soon("it has all been read", || bridge.log().contains("muttered").then_some(()));
    let before = peak_kilobytes(&bridge);

    let other = bridge.open();
    let _unread = under_way(other.begin("9", "mutter", &flood(40)));
    soon("it has all been read", || (bridge.log().matches("muttered").count() == 2).then_some(()));
    if let (Some(before), Some(after)) = (before, peak_kilobytes(&bridge)) {
        assert!(after < before + 20_000, "{before} kB, then {after} kB");
    }
}

#[test]
fn a_question_that_is_never_answered_ends_with_an_error_for_the_child() {
    let bridge = Bridge::start(&["--answer-within", "0.3"], &[]);
    let session = bridge.open();
    let answer = session.text("ask", r#"{"id":"q","method":"roots/list"}"#);
    assert!(answer.contains("did not answer within"), "{answer}");
}

#[test]
fn a_child_that_asks_without_end_is_refused_beyond_what_may_wait() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let mut listening = session.listen();
    session.notify(r#""method":"notifications/nag","params":{"times":200}"#);
    let refused = || bridge.log().lines().filter(|line| line.contains("stderr: \"answered")).count();
    soon("what is too much is refused", || (refused() >= 136).then_some(()));
    for _ in 0..64 {
        assert!(event(&mut listening).contains("roots/list"));
    }
    assert_eq!(refused(), 136);
    assert_eq!(session.text("echo", r#"{"text":"still here"}"#), "still here");
}

/// The most memory the bridge ever held, where the system says so.
fn peak_kilobytes(bridge: &Bridge) -> Option<u64> {
    // What was just freed may be counted a moment longer.
    thread::sleep(Duration::from_millis(50).min(PATIENCE));
    let status = fs::read_to_string(format!("/proc/{}/status", bridge.pid())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
