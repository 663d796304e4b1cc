//! A redis-server for one test, with its own port and a temporary folder. `REDIS_SERVER` can name
//! another program, such as a valkey-server.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

pub(crate) struct RedisServer {
    port: u16,
    scheme: &'static str,
    settings: Vec<String>,
    /// The arguments with which redis-cli reaches the server.
    cli: Vec<String>,
    folder: TempDir,
    process: Child,
}

impl RedisServer {
    /// Starts a server that keeps everything it has answered.
    pub(crate) fn start() -> Self {
        let (port, folder) = (free_port(), folder());
        let settings = vec!["--port".to_owned(), port.to_string()];
        Self::start_with(port, "redis", settings, Vec::new(), folder)
    }

    /// Like [`start`](Self::start), for clients with a certificate of the given authority. All
    /// arguments are in PEM.
    #[cfg(feature = "redis-tls")]
    #[allow(dead_code, reason = "not every binary talks TLS")]
    pub(crate) fn start_over_tls(authority: &str, certificate: &str, key: &str) -> Self {
        let (port, folder) = (free_port(), folder());
        let mut settings = ["--port", "0", "--tls-port", &port.to_string()].map(str::to_owned).to_vec();
        let papers = Papers::lay_out(&folder, [authority, certificate, key]);
        settings.extend(papers.as_settings());
        Self::start_with(port, "rediss", settings, papers.for_cli(), folder)
    }

    fn start_with(port: u16, scheme: &'static str, settings: Vec<String>, cli: Vec<String>, folder: TempDir) -> Self {
        let process = spawn(&settings, &folder, &[]);
        let mut server = Self { port, scheme, settings, cli, folder, process };
        server.serves();
        server
    }

    pub(crate) fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// Returns the URL of the server behind another port.
    fn url_at(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}/", self.scheme)
    }

    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a command, as an operator would.
    pub(crate) fn command(&self, command: &[&str]) -> String {
        output_of(&self.cli, &[&["-p", &self.port.to_string()], command].concat())
    }

    /// Returns the bytes of all files of the server.
    #[allow(dead_code, reason = "not every binary looks")]
    pub(crate) fn everything_on_disk(&self) -> Vec<u8> {
        fn collect(folder: &Path, bytes: &mut Vec<u8>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { collect(&path, bytes) } else { bytes.extend(std::fs::read(path).unwrap()) }
            }
        }
        let mut bytes = Vec::new();
        collect(self.folder.path(), &mut bytes);
        assert!(bytes.len() > 1_000, "it kept nothing");
        bytes
    }

    /// Records everything the server publishes from now on.
    #[allow(dead_code, reason = "not every binary listens")]
    pub(crate) fn everything_published(&self) -> Published {
        let file = tempfile::NamedTempFile::new().unwrap();
        let output = file.reopen().unwrap();
        let cli =
            Command::new("redis-cli").args(["-p", &self.port.to_string(), "psubscribe", "*"]).stdout(output).spawn();
        let published = Published { cli: cli.expect("redis-cli comes with redis-server"), file };
        let start = Instant::now();
        while published.so_far().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "redis-cli does not subscribe");
            std::thread::sleep(Duration::from_millis(5));
        }
        published
    }

    /// Copies the files of the running server.
    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn copy(&self) -> TempDir {
        let copy = folder();
        copy_all(self.folder.path(), copy.path());
        copy
    }

    /// Starts the server again with the files of a copy.
    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn start_again_from(&mut self, copy: &TempDir) {
        std::fs::remove_dir_all(self.folder.path()).unwrap();
        std::fs::create_dir(self.folder.path()).unwrap();
        copy_all(copy.path(), self.folder.path());
        self.start_again();
    }

    /// Kills the server (`kill -9`).
    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the server again at the same address, and waits until it has loaded its data.
    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&self.settings, &self.folder, &[]);
        self.serves();
    }

    /// Like [`start_again`](Self::start_again) with more settings, but does not wait for the data.
    #[allow(dead_code, reason = "not every binary is cruel")]
    pub(crate) fn start_again_with(&mut self, settings: &[&str]) {
        self.process = spawn(&self.settings, &self.folder, settings);
        let port = self.port;
        self.until("it listens", |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    /// Waits until this process serves, and not another one that found the port free, too.
    fn serves(&mut self) {
        let own = format!("process_id:{}\r", self.process.id());
        self.until("it says who it is", |server| server.command(&["info", "server"]).contains(&own));
        self.until("it has read what it kept", |server| server.command(&["ping"]).starts_with("PONG"));
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "redis-server ended ({ended:?}) before {what}");
            assert!(start.elapsed() < Duration::from_secs(60), "redis-server: never {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Returns the output of redis-cli.
fn output_of(cli: &[String], arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(cli).args(arguments).output();
    String::from_utf8_lossy(&output.expect("redis-cli comes with redis-server").stdout).into_owned()
}

/// Returns a folder in memory if there is enough of it, so that a busy disk delays no answer. The
/// files survive the death of the process there, too.
fn folder() -> TempDir {
    const IN_MEMORY: &str = "/dev/shm";
    static HAS_ROOM: OnceLock<bool> = OnceLock::new();
    let has_room = || {
        let output = Command::new("df").args(["-Pk", IN_MEMORY]).output().ok()?;
        let facts = String::from_utf8_lossy(&output.stdout).into_owned();
        let free: u64 = facts.lines().last()?.split_whitespace().nth(3)?.parse().ok()?;
        // Containers often have 64 MB.
        Some(free > 2 << 20)
    };
    let has_room = *HAS_ROOM.get_or_init(|| Path::new(IN_MEMORY).is_dir() && has_room().unwrap_or_default());
    if has_room { TempDir::new_in(IN_MEMORY) } else { TempDir::new() }.unwrap()
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The messages that a server has published.
#[allow(dead_code, reason = "not every binary listens")]
pub(crate) struct Published {
    cli: Child,
    file: tempfile::NamedTempFile,
}

#[allow(dead_code, reason = "not every binary listens")]
impl Published {
    pub(crate) fn so_far(&self) -> Vec<u8> {
        std::fs::read(self.file.path()).unwrap()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let _ = self.cli.kill();
        let _ = self.cli.wait();
    }
}

/// A connection to a server that can be blocked. A blocked wire delivers nothing and loses nothing.
#[allow(dead_code, reason = "not every binary is cruel")]
pub(crate) struct Wire {
    url: String,
    blocked: watch::Sender<bool>,
    cuts: watch::Sender<u32>,
    frozen: watch::Sender<u32>,
}

#[allow(dead_code, reason = "not every binary is cruel")]
impl Wire {
    pub(crate) async fn to(server: &RedisServer) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, there) = (listener.local_addr().unwrap().port(), server.port);
        let blocked = watch::Sender::new(false);
        let (cuts, frozen) = (watch::Sender::new(0), watch::Sender::new(0));
        let (gate, cut, frost) = (blocked.subscribe(), cuts.subscribe(), frozen.subscribe());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, there)).await else { continue };
                let (near, far) = (near.into_split(), far.into_split());
                for (from, to) in [(near.0, far.1), (far.0, near.1)] {
                    let (gate, mut cut, mut frost) = (gate.clone(), cut.clone(), frost.clone());
                    cut.mark_unchanged();
                    frost.mark_unchanged();
                    tokio::spawn(async move {
                        let mut ends = (from, to);
                        tokio::select! {
                            () = carry(&mut ends, gate) => {}
                            _ = cut.changed() => {}
                            Ok(()) = frost.changed() => cut.changed().await.unwrap_or_default(),
                        }
                    });
                }
            }
        });
        Self { url: server.url_at(port), blocked, cuts, frozen }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Existing connections lead nowhere from now on, without an error at either end.
    pub(crate) fn freeze(&self) {
        self.frozen.send_modify(|times| *times += 1);
    }

    /// Ends the existing connections.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn block(&self, blocked: bool) {
        self.blocked.send_replace(blocked);
    }
}

async fn carry((from, to): &mut (OwnedReadHalf, OwnedWriteHalf), mut gate: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer).await {
        // An error means that the wire was dropped. Then nothing blocks it.
        let _ = gate.wait_for(|blocked| !blocked).await;
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Returns a free port below 32768: the system assigns the ports from there on to connections.
fn free_port() -> u16 {
    next_ports(24_000, 8_000, 1).into_iter().next().expect("a free port")
}

/// Returns free ports from a range of `of` ports. This process never returns the same port again,
/// and other processes begin elsewhere in the range.
fn next_ports(first: u16, of: u16, count: u16) -> Vec<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() * 97 % u32::from(of)).unwrap_or_default();
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let next = || first + (begin + GIVEN.fetch_add(1, Ordering::Relaxed)) % of;
    let free = (0..of).map(|_| next()).filter(|port| is_free(*port));
    free.take(usize::from(count)).collect()
}

/// The files of a server with TLS.
#[cfg(feature = "redis-tls")]
struct Papers([String; 3]);

#[cfg(feature = "redis-tls")]
impl Papers {
    fn lay_out(folder: &TempDir, pem: [&str; 3]) -> Self {
        let mut names = ["authority.pem", "certificate.pem", "key.pem"].into_iter();
        Self(pem.map(|pem| {
            let file = folder.path().join(names.next().unwrap());
            std::fs::write(&file, pem).unwrap();
            file.to_str().unwrap().to_owned()
        }))
    }

    /// Returns each file after the name of its option.
    fn named(&self, names: [&str; 3]) -> Vec<String> {
        names.into_iter().zip(&self.0).flat_map(|(name, file)| [name.to_owned(), file.clone()]).collect()
    }

    fn as_settings(&self) -> Vec<String> {
        self.named(["--tls-ca-cert-file", "--tls-cert-file", "--tls-key-file"])
    }

    fn for_cli(&self) -> Vec<String> {
        let mut cli = vec!["--tls".to_owned()];
        cli.extend(self.named(["--cacert", "--cert", "--key"]));
        cli
    }
}

fn program() -> Command {
    Command::new(std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
}

fn spawn(where_to_listen: &[String], folder: &TempDir, more: &[&str]) -> Child {
    // Operators would choose a sync every second. But a command that arrives during such a sync is
    // answered before it is written, and `kill -9` then loses it.
    let settings = [
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--maxmemory-policy",
        "noeviction",
        "--stream-node-max-bytes",
        "1024",
    ];
    program()
        .args(where_to_listen)
        .arg("--dir")
        .arg(folder.path())
        .args(settings)
        .args(more)
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

/// A cluster for one test: three masters with a replica each.
#[cfg(feature = "redis-cluster")]
#[allow(dead_code, reason = "not every binary is cruel")]
pub(crate) struct RedisCluster {
    nodes: Vec<(u16, Child)>,
    scheme: &'static str,
    /// The arguments with which redis-cli reaches a node.
    cli: Vec<String>,
    _folder: TempDir,
}

#[cfg(feature = "redis-cluster")]
#[allow(dead_code, reason = "not every binary is cruel")]
impl RedisCluster {
    pub(crate) fn start() -> Self {
        Self::start_with("redis", "--port", &[], Vec::new(), folder())
    }

    /// Starts a cluster whose nodes use TLS, also between each other. All arguments are in PEM.
    #[cfg(feature = "redis-tls")]
    pub(crate) fn start_over_tls(authority: &str, certificate: &str, key: &str) -> Self {
        let folder = folder();
        let papers = Papers::lay_out(&folder, [authority, certificate, key]);
        let mut settings =
            ["--port", "0", "--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned).to_vec();
        settings.extend(papers.as_settings());
        Self::start_with("rediss", "--tls-port", &settings, papers.for_cli(), folder)
    }

    fn start_with(
        scheme: &'static str,
        port_setting: &str,
        settings: &[String],
        cli: Vec<String>,
        folder: TempDir,
    ) -> Self {
        let start = |port: u16| (port, cluster_node(&[port_setting, &port.to_string()], port, settings, &folder));
        let nodes: Vec<_> = cluster_ports(6).into_iter().map(start).collect();
        let cluster = Self { nodes, scheme, cli, _folder: folder };
        for (port, process) in &cluster.nodes {
            let own = format!("process_id:{}\r", process.id());
            wait_until("a node says who it is", || cluster.about(*port, &["info", "server"]).contains(&own));
        }
        cluster.join();
        cluster
    }

    /// Joins the nodes to a cluster and waits until the replicas have the data of their masters.
    fn join(&self) {
        let all = self.nodes.iter().map(|(port, _)| format!("127.0.0.1:{port}"));
        let create = Command::new("redis-cli")
            .args(&self.cli)
            .args(["--cluster", "create"])
            .args(all)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .expect("redis-cli comes with redis-server");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(create.status.success(), "{}{}", said(&create.stdout), said(&create.stderr));
        for (port, _) in &self.nodes {
            wait_until("the cluster is whole", || {
                self.about(*port, &["cluster", "info"]).contains("cluster_state:ok")
                    && is_whole(&self.about(*port, &["cluster", "nodes"]))
            });
        }
        // Only a replica that has completed a synchronization can take over.
        for (port, _) in &self.nodes {
            wait_until("the replicas follow", || {
                let facts = self.about(*port, &["info", "replication"]);
                facts.contains("role:master") || facts.contains("master_link_status:up")
            });
        }
    }

    fn about(&self, port: u16, request: &[&str]) -> String {
        output_of(&self.cli, &[&["-p", &port.to_string()], request].concat())
    }

    /// Returns the URLs of some nodes.
    pub(crate) fn urls(&self) -> Vec<String> {
        let url = |port| format!("{}://127.0.0.1:{port}/", self.scheme);
        self.nodes.iter().take(2).map(|(port, _)| url(port)).collect()
    }

    /// Kills the master of a key (`kill -9`) after its replica has received everything. Data that a
    /// replica lacks is lost with its master.
    pub(crate) fn kill_master_of(&mut self, key: &str) {
        let any = self.nodes[0].0;
        let slot: u16 = self.about(any, &["cluster", "keyslot", key]).trim().parse().unwrap();
        let nodes = self.about(any, &["cluster", "nodes"]);
        let owns = |line: &&str| {
            let mut ranges = line.split(' ').skip(8).filter_map(|range| range.split_once('-'));
            ranges.any(|(from, to)| (from.parse().unwrap()..=to.parse().unwrap()).contains(&slot))
        };
        let master = nodes.lines().filter(|line| line.contains("master")).find(owns).expect("a master has the slot");
        let address = master.split(' ').nth(1).and_then(|address| address.split('@').next()).unwrap();
        let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();

        // The replication offset of the master, and that of its replica.
        let place = |before: &str| -> Option<u64> {
            let facts = self.about(port, &["info", "replication"]);
            let (_, rest) = facts.split_once(before)?;
            rest.split(|end: char| !end.is_ascii_digit()).next()?.parse().ok()
        };
        let said = place("master_repl_offset:").expect("a master says how far it is");
        wait_until("the replica has received everything", || place(",offset=").is_some_and(|place| place >= said));
        let (_, process) = self.nodes.iter_mut().find(|(of, _)| *of == port).unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

/// Returns `true` if every replica is known and connected.
#[cfg(feature = "redis-cluster")]
fn is_whole(nodes: &str) -> bool {
    nodes.lines().filter(|line| line.contains("slave")).count() == 3 && !nodes.contains("disconnected")
}

#[cfg(feature = "redis-cluster")]
fn cluster_node(where_to_listen: &[&str], port: u16, settings: &[String], folder: &TempDir) -> Child {
    let own = folder.path().join(port.to_string());
    std::fs::create_dir(&own).unwrap();
    program()
        .args(where_to_listen)
        .args(settings)
        // A killed node is not restarted, because its replica has its data.
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"])
        // After half of this timeout without an answer, a node opens a new connection to its peer.
        // Messages published over the old connection are lost. On a busy machine a node may not run
        // for a second.
        .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--dir"])
        .arg(own)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed (tests/install redis)")
}

/// Returns free ports for a cluster. The ports ten thousand above, used between its nodes, are
/// free, too.
#[cfg(feature = "redis-cluster")]
fn cluster_ports(count: usize) -> Vec<u16> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    next_ports(10_000, 3_900, 200).into_iter().filter(|port| is_free(port + 10_000)).take(count).collect()
}

#[cfg(feature = "redis-cluster")]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(180), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(feature = "redis-cluster")]
impl Drop for RedisCluster {
    fn drop(&mut self) {
        for (_, process) in &mut self.nodes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
