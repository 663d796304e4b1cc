//! The agreement: what all nodes of a namespace must have in common, which is the layout of the keys
//! and the secret. The first node to join proposes it, and the server keeps it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::cmd;

use super::options::{ConnectError, Reason, RedisOptions};
use super::pseudonyms::Pseudonyms;
use super::server::Connection;
use crate::identity::SessionId;

/// The version of the key layout. Nodes with different layouts never share a namespace.
const LAYOUT: &str = "2";

/// Returns the prefix of all keys. Its braces keep them in one slot.
pub(super) fn prefix(options: &RedisOptions) -> String {
    format!("{}:{{0}}:", options.namespace)
}

/// Returns the key of what the nodes agree on.
pub(super) fn about(options: &RedisOptions) -> String {
    format!("{}about", prefix(options))
}

/// Agrees with the other nodes on the layout and the secret. If the options have no secret,
/// `made_up` or a random one is proposed, and the first proposal of any node is used.
pub(super) async fn agree(
    connection: &mut Connection,
    options: &RedisOptions,
    made_up: Option<&str>,
) -> Result<Pseudonyms, ConnectError> {
    let key = about(options);
    if settled(connection, &key, "layout", LAYOUT).await? != LAYOUT {
        return Err(ConnectError::new(Reason::OtherLayout));
    }
    let mut pseudonyms = match &options.secret {
        Some(secret) => Pseudonyms::new(secret, options.seal_messages),
        None => {
            let proposal = made_up.map_or_else(random, str::to_owned);
            let secret = settled(connection, &key, "secret", &proposal).await?;
            let mut pseudonyms = Pseudonyms::new(secret.as_bytes(), options.seal_messages);
            pseudonyms.made_up = Some(secret);
            pseudonyms
        }
    };
    if settled(connection, &key, "check", &pseudonyms.check()).await? != pseudonyms.check() {
        return Err(ConnectError::new(Reason::OtherSecret));
    }
    pseudonyms.born = settled(connection, &key, "born", &random()).await?;
    Ok(pseudonyms)
}

/// Returns a random text that cannot be guessed.
fn random() -> String {
    let random = [SessionId::random(), SessionId::random(), SessionId::random()];
    let random: Vec<u8> = random.iter().flat_map(|id| *id.as_bytes()).collect();
    URL_SAFE_NO_PAD.encode(random)
}

/// Proposes a value for a field, and returns the one that was proposed first.
async fn settled(connection: &mut Connection, key: &str, field: &str, proposal: &str) -> Result<String, ConnectError> {
    let first = cmd("HSETNX").arg(key).arg(field).arg(proposal).query_async::<()>(connection).await;
    first.map_err(ConnectError::server)?;
    cmd("HGET").arg(key).arg(field).query_async(connection).await.map_err(ConnectError::server)
}
