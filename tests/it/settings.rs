//! Settings: a configuration is checked once, when the service is built.

use std::time::Duration;

use mcp_http::{Limits, McpServer, McpService, McpServiceBuilder, Security, Sessions, Streams};

fn builder() -> McpServiceBuilder {
    McpService::builder(McpServer::new("a", "1"))
}

#[test]
fn every_wrong_setting_is_named_at_once() {
    let security = Security::new().allowed_hosts(["good", "http://a", "http://b"]).trusted_proxies(["nowhere"]);
    let wrong = builder()
        .limits(Limits::new().max_body_bytes(0).max_calls_per_session(0))
        .security(security)
        .sessions(Sessions::new().max_sessions(0))
        .versions([])
        .build();
    let error = wrong.unwrap_err();
    let expected = [
        "Sessions::max_sessions",
        "Limits::max_body_bytes",
        "Limits::max_calls_per_session",
        "Security::allowed_hosts",
        "Security::allowed_hosts",
        "Security::trusted_proxies",
        "McpServiceBuilder::versions",
    ];
    assert_eq!(error.settings().collect::<Vec<_>>(), expected);
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    assert_eq!(lines[0], "setting `Sessions::max_sessions`: must be at least 1");
    assert!(lines[4].contains("http://b"), "{lines:?}");
}

#[test]
fn the_order_of_settings_does_not_matter() {
    let sessions = || Sessions::new().idle_timeout(Duration::from_secs(1));
    let streams = || Streams::new().retry_interval(Duration::from_millis(100));
    builder().sessions(sessions()).streams(streams()).build().unwrap();
    builder().streams(streams()).sessions(sessions()).build().unwrap();
    let error = builder().sessions(sessions()).build().unwrap_err();
    assert_eq!(error.setting(), "Sessions::idle_timeout");
    assert!(error.to_string().contains("`Streams::retry_interval`, 1s"), "{error}");
}

#[test]
fn a_list_set_again_is_checked_again() {
    let security = Security::new().allowed_hosts(["http://a"]).allowed_hosts(["a.example"]);
    builder().security(security).build().unwrap();
}
