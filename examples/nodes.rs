//! Two nodes that share sessions through a Redis server: open a session at one and use it at the
//! other.
//!
//! `cargo run --features redis --example nodes` starts a redis-server of its own, in a temporary
//! folder that stays; `cargo run --features redis --example nodes -- redis://host:6379/` uses
//! another. In production each node is a process of its own. Here two services share one process.

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener as Probe};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use mcp_http::server::ToolError;
use mcp_http::store::RedisEngine;
use mcp_http::{Args, Context, McpListener, McpServer, McpService};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Steps {
    steps: u32,
}

/// Takes a second for each step and reports progress, so that there is time to resume the stream at
/// the other node.
async fn walk(cx: Context, Args(Steps { steps }): Args<Steps>) -> String {
    for step in 1..=steps {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cx.progress(step, steps).await;
    }
    format!("walked {steps} steps")
}

/// Counts in the session, at whichever node the request arrives.
async fn count(cx: Context) -> Result<String, ToolError> {
    let session = cx.session().ok_or_else(|| ToolError::new("there is no session"))?;
    Ok(session.update("count", |count: &mut u32| *count += 1).await?.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nodes: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (url, _server) = match std::env::args().nth(1) {
        Some(option) if option.starts_with('-') => return Err("usage: nodes [redis://HOST:PORT/]".into()),
        Some(url) => (url, None),
        None => own_server()?,
    };
    let mut nodes = Vec::new();
    for port in [3001, 3002] {
        let engine = connect(&url).await?;
        let server = McpServer::new("nodes", "1.0.0").tool("walk", "Takes a second for each step.", walk).tool(
            "count",
            "Counts in this session.",
            count,
        );
        let service: McpService = McpService::builder(server).engine(engine).build()?;
        let listener = McpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        println!("node at http://{}/mcp", listener.local_addr()?);
        nodes.push(tokio::spawn(async move { axum::serve(listener, service.into_router_at("/mcp")).await }));
    }
    stop_signal().await?;
    Ok(())
}

/// Completes on Ctrl-C or SIGTERM, so that the example also stops its Redis server.
async fn stop_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Connects, and waits up to 5 seconds for a server that was just started.
async fn connect(url: &str) -> Result<RedisEngine, Box<dyn Error>> {
    for _ in 0..50 {
        if let Ok(engine) = RedisEngine::connect(url).await {
            return Ok(engine);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(RedisEngine::connect(url).await?)
}

/// A redis-server that is stopped with the example.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn own_server() -> Result<(String, Option<Server>), Box<dyn Error>> {
    let port = Probe::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let folder = std::env::temp_dir().join(format!("mcp-nodes-{port}"));
    std::fs::create_dir_all(&folder)?;
    let server = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes", "--dir"])
        .arg(&folder)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| {
            format!(
                "cannot start redis-server: {error}; install it, or pass the URL of another one: redis://host:6379/"
            )
        })?;
    Ok((format!("redis://127.0.0.1:{port}/"), Some(Server(server))))
}
