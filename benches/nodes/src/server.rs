//! The redis-server that is measured, and its own statistics.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use redis::Client;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

/// The settings that the guide tells operators to use, except that the file is never rewritten and
/// only grows.
const SETTINGS: [&str; 13] = [
    "--bind",
    "127.0.0.1",
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--auto-aof-rewrite-percentage",
    "0",
    "--maxmemory-policy",
    "noeviction",
    "--stream-node-max-bytes",
];

/// The size of a node of a Redis stream: the one the guide advises, and the server's default.
pub(crate) const ADVISED: &str = "1024";
pub(crate) const DEFAULT: &str = "4096";

pub(crate) struct Server {
    port: u16,
    piece: &'static str,
    folder: TempDir,
    process: Child,
}

/// What the server has counted so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) at: Instant,
    pub(crate) scripts: f64,
    pub(crate) commands: f64,
    /// Seconds of the one thread that does all work.
    pub(crate) cpu: f64,
    pub(crate) input: f64,
    pub(crate) output: f64,
    pub(crate) file: f64,
    pub(crate) memory: f64,
}

impl Server {
    pub(crate) async fn start(piece: &'static str) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let folder = TempDir::new()?;
        let process = spawn(port, piece, &folder)?;
        let server = Self { port, piece, folder, process };
        server.ready().await?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Kills the server (`kill -9`). Returns how long the new process takes until it answers.
    pub(crate) async fn come_back(&mut self) -> Result<Duration> {
        self.process.kill()?;
        self.process.wait()?;
        let start = Instant::now();
        self.process = spawn(self.port, self.piece, &self.folder)?;
        self.ready().await?;
        Ok(start.elapsed())
    }

    async fn ready(&self) -> Result<()> {
        for _ in 0..3_000 {
            if let Ok(mut connection) = self.connection().await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("redis-server does not answer")
    }

    async fn connection(&self) -> Result<MultiplexedConnection> {
        Ok(Client::open(self.url())?.get_multiplexed_async_connection().await?)
    }

    async fn info(&self) -> Result<String> {
        Ok(redis::cmd("INFO").arg("all").query_async(&mut self.connection().await?).await?)
    }

    /// Deletes the stored answers to operations that will not be repeated. They would expire within
    /// a minute.
    pub(crate) async fn forget_answers(&self) -> Result<()> {
        const FORGET: &str = "for _, key in ipairs(redis.call('KEYS', '*:r:*')) do redis.call('DEL', key) end";
        Ok(redis::cmd("EVAL").arg(FORGET).arg(0).query_async(&mut self.connection().await?).await?)
    }

    /// Returns the seconds of its core that the server uses in a second without any client.
    pub(crate) async fn alone(&self) -> Result<f64> {
        let before = self.facts().await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let after = self.facts().await?;
        Ok((after.cpu - before.cpu) / (after.at - before.at).as_secs_f64())
    }

    pub(crate) async fn version(&self) -> Result<String> {
        Ok(text(&self.info().await?, "redis_version")?.to_owned())
    }

    pub(crate) async fn facts(&self) -> Result<Facts> {
        let info = self.info().await?;
        let number = |name| -> Result<f64> { Ok(text(&info, name)?.parse()?) };
        let (mut scripts, mut commands) = (0.0, 0.0);
        for line in info.lines() {
            let Some((name, facts)) = line.strip_prefix("cmdstat_").and_then(|rest| rest.split_once(":calls=")) else {
                continue;
            };
            let calls: f64 = facts.split(',').next().unwrap_or_default().parse()?;
            match name {
                "evalsha" => scripts += calls,
                "info" | "ping" | "client|setinfo" | "hello" => {}
                _ => commands += calls,
            }
        }
        Ok(Facts {
            at: Instant::now(),
            scripts,
            commands,
            cpu: number("used_cpu_user_main_thread")? + number("used_cpu_sys_main_thread")?,
            input: number("total_net_input_bytes")?,
            output: number("total_net_output_bytes")?,
            file: number("aof_current_size")? + number("aof_buffer_length")?,
            memory: number("used_memory")? - number("mem_aof_buffer")?,
        })
    }
}

fn text<'a>(info: &'a str, name: &str) -> Result<&'a str> {
    let fact = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    fact.map(str::trim).with_context(|| format!("the server does not report its {name}"))
}

fn spawn(port: u16, piece: &str, folder: &TempDir) -> Result<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--dir"])
        .arg(folder.path())
        .args(SETTINGS)
        .arg(piece)
        .stdout(Stdio::null())
        .spawn()
        .context("redis-server is missing (tests/install redis)")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
