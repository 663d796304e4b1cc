//! A relay between client and server: it records what the client sends, and can cut every
//! connection at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

#[derive(Clone)]
pub(super) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    sent: Mutex<String>,
    connections: Mutex<Vec<AbortHandle>>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Relay {
    pub(super) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::downgrade(&relay.state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(state) = state.upgrade() else { return };
                let connection = tokio::spawn(pass(Arc::clone(&state), client, server));
                state.connections.lock().unwrap().push(connection.abort_handle());
            }
        });
        *relay.state.accepting.lock().unwrap() = Some(accepting);
        relay
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Cuts every connection. New connections are accepted.
    pub(super) fn cut(&self) {
        for connection in self.state.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    /// Returns what the client has sent, with headers in small letters.
    pub(super) fn sent(&self) -> String {
        self.state.sent.lock().unwrap().clone()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.get_mut().unwrap().take() {
            accepting.abort();
        }
    }
}

async fn pass(state: Arc<State>, client: TcpStream, server: SocketAddr) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
    let up = async {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = from_client.read(&mut chunk).await {
            state.sent.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..read]));
            if to_server.write_all(&chunk[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}
