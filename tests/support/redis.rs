//! A redis-server of a test's own: on a port nobody else has, in a folder that goes with it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

pub(crate) struct RedisServer {
    port: u16,
    folder: TempDir,
    process: Child,
}

impl RedisServer {
    /// Starts one that keeps what it is given as operators are told to let it.
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = TempDir::new().unwrap();
        let process = spawn(port, &folder);
        let server = Self { port, folder, process };
        server.wait();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// kill -9.
    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again where it was.
    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(self.port, &self.folder);
        self.wait();
    }

    fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A way to a server that can be blocked: nothing is lost, nothing arrives.
#[allow(dead_code, reason = "not every binary is cruel")]
pub(crate) struct Wire {
    port: u16,
    blocked: watch::Sender<bool>,
    cuts: watch::Sender<u32>,
}

#[allow(dead_code, reason = "not every binary is cruel")]
impl Wire {
    pub(crate) async fn to(server: &RedisServer) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, there) = (listener.local_addr().unwrap().port(), server.port);
        let blocked = watch::Sender::new(false);
        let cuts = watch::Sender::new(0);
        let (gate, cut) = (blocked.subscribe(), cuts.subscribe());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, there)).await else { continue };
                let (near, far) = (near.into_split(), far.into_split());
                for (from, to) in [(near.0, far.1), (far.0, near.1)] {
                    let (gate, mut cut) = (gate.clone(), cut.clone());
                    cut.mark_unchanged();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = carry(from, to, gate) => {}
                            _ = cut.changed() => {}
                        }
                    });
                }
            }
        });
        Self { port, blocked, cuts }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Ends the connections there are.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn block(&self, blocked: bool) {
        self.blocked.send_replace(blocked);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer).await {
        // A wire that is gone is not blocked.
        let _ = gate.wait_for(|blocked| !blocked).await;
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn spawn(port: u16, folder: &TempDir) -> Child {
    let settings = [
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--maxmemory-policy",
        "noeviction",
        "--stream-node-max-bytes",
        "1024",
    ];
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--dir"])
        .arg(folder.path())
        .args(settings)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed (tests/install redis)")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
