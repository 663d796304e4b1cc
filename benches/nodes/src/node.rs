//! A node: a separate process with a service on the shared server, whose tools send the measured
//! events.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use mcp_http::message::RawJson;
use mcp_http::server::ToolError;
use mcp_http::store::RedisEngine;
use mcp_http::{Args, Context, McpListener, McpServer, McpService, Sessions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// The size of a whole event: about that of a log line, or of a paragraph of an answer.
pub(crate) const EVENT: usize = 1024;
/// The part of it that is not text.
const AROUND: usize = 122;

/// The ticks in a second in which Linux reports the time of a process.
const TICKS: f64 = 100.0;

#[derive(Deserialize, JsonSchema)]
struct Emit {
    events: u32,
    pause_us: u64,
    /// Send to the session's own stream instead of the call's.
    to_session: bool,
}

/// Sends events that carry their send time.
async fn emit(cx: Context, Args(emit): Args<Emit>) -> Result<String, ToolError> {
    let session = cx.session().ok_or_else(|| ToolError::new("there is no session"))?;
    let text = "x".repeat(EVENT - AROUND);
    let pause = Duration::from_micros(emit.pause_us);
    let mut ticks = (!pause.is_zero()).then(|| tokio::time::interval(pause));
    for _ in 0..emit.events {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let params = RawJson::from_value(&json!({"level": "info", "data": {"at": now(), "text": text}}))
            .map_err(|error| ToolError::new(error.to_string()))?;
        if emit.to_session {
            session.notify("notifications/message", &params);
        } else {
            cx.notify("notifications/message", &params).await;
        }
    }
    Ok("sent".into())
}

async fn echo() -> &'static str {
    "echo"
}

async fn ask(cx: Context) -> Result<String, ToolError> {
    let request = json!({"message": "Go on?", "requestedSchema": {"type": "object", "properties": {}}});
    let request = RawJson::from_value(&request).map_err(|error| ToolError::new(error.to_string()))?;
    let answer = cx.request("elicitation/create", request, Duration::from_secs(10)).await;
    Ok(answer.map_err(|error| ToolError::new(error.to_string()))?.as_str().to_owned())
}

/// Returns the nanoseconds of the machine's clock, which all processes share here.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Serves until it is killed.
pub(crate) async fn serve(url: &str) -> Result<()> {
    let server = McpServer::new("node", "1.0.0")
        .tool("emit", "Sends events.", emit)
        .tool("echo", "Answers.", echo)
        .tool("ask", "Asks.", ask);
    let engine = RedisEngine::connect(url).await?;
    let sessions = Sessions::new().max_sessions(1_000_000);
    let service: McpService = McpService::builder(server).engine(engine).sessions(sessions).build()?;
    let listener = McpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, service.into_router_at("/mcp")).await?)
}

pub(crate) struct Node {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Node {
    pub(crate) fn start(url: &str) -> Result<Self> {
        let mut process =
            Command::new(std::env::current_exe()?).args(["--node", url]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("it says nothing")?).read_line(&mut line)?;
        Ok(Self { process, address: line.trim().parse().context("a node did not start")? })
    }

    /// Returns the processor time in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? / TICKS)
    }

    /// Returns the resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
