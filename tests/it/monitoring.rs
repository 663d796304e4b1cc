//! Monitoring: statistics, sessions and reports that an application can pass on as JSON.

use std::time::Duration;

use mcp_http::store::EndReason;
use serde_json::{Value, json};

use crate::support::{App, ping};

fn written(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[tokio::test(start_paused = true)]
async fn statistics_serialize_under_the_names_of_their_fields() {
    let app = App::new();
    let client = app.open().await;
    client.delete().await;
    assert_eq!(client.post(ping(1)).await.status, 404);
    let expected = json!({
        "sessions": 0, "listens": 0, "opened": 1, "ended": {"deleted": 1}, "rejected": {"session_not_found": 1},
        "dropped": 0, "slow_readers": 0
    });
    let statistics = written(app.handle.statistics().await);
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(statistics[name], *value, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_are_listed_with_their_opening_time() {
    let app = App::new();
    let client = app.open_principal("ann").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let [summary] = &app.handle.sessions().await.unwrap()[..] else { panic!("one session") };
    let summary = written(summary);
    assert_eq!(summary["info"]["id"], client.session);
    assert_eq!((&summary["info"]["principal"], &summary["info"]["version"]), (&json!("ann"), &json!("2025-11-25")));
    let opened = summary["info"]["opened_at"].as_str().unwrap();
    assert!(humantime::parse_rfc3339(opened).is_ok() && opened.ends_with('Z'), "{opened}");
    assert_eq!(summary["idle"], 1.5, "seconds");
    assert_eq!((&summary["calls"], &summary["readers"], &summary["bytes"]), (&json!(0), &json!(0), &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_reported_as_json() {
    let app = App::new();
    let client = app.open().await;
    let _stream = client.listen().await;
    let report = written(app.handle.drain(Duration::from_secs(1)).await);
    assert_eq!(
        report,
        json!({"closed_streams": 1, "calls": 0, "cut_calls": 0, "ended_sessions": 1, "failed_sessions": 0})
    );
    assert_eq!(written(app.handle.statistics().await)["ended"], json!({"shutdown": 1}));
}

#[test]
fn a_reason_displays_and_serializes_as_its_name() {
    let reasons = [
        (EndReason::Deleted, "deleted"),
        (EndReason::Idle, "idle"),
        (EndReason::Lifetime, "lifetime"),
        (EndReason::Evicted, "evicted"),
        (EndReason::Closed, "closed"),
        (EndReason::Shutdown, "shutdown"),
    ];
    for (reason, name) in reasons {
        assert_eq!((reason.as_str(), &*reason.to_string(), written(reason)), (name, name, json!(name)));
    }
}
