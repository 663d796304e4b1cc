//! Decides what happens while the callers call: streams that are read and streams that are not,
//! bodies that trickle in, sessions that say more than is kept, answers of several megabytes, and a storm of clients
//! that come back at once. Who is done ends its session, so that the next phase begins with none.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::account::Account;
use super::histogram;
use crate::client::{Client, Era, Tool};
use crate::cut_off::{CutOff, Tally};
use crate::wire::Connection;

/// Clients are made in groups of so many, so that the accept queue has room for the callers.
const GROUP: usize = 100;

/// The pause between steps of a stream that is read, and of one that is not.
const READ_EVERY: u64 = 200;
const UNREAD_EVERY: u64 = 20;

async fn clients(address: SocketAddr, count: usize, narrow: bool) -> Result<Vec<Client>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let mut group = JoinSet::new();
        for _ in all.len()..count.min(all.len() + GROUP) {
            group.spawn_local(async move {
                let connection =
                    if narrow { Connection::narrow(address).await? } else { Connection::open(address).await? };
                let mut client = Client::on(connection, address, Era::Legacy);
                client.open().await?;
                anyhow::Ok(client)
            });
        }
        while let Some(client) = group.join_next().await {
            all.push(client??);
        }
    }
    Ok(all)
}

/// So many streams at once for so long: one half is read, of the other half nothing but the first step,
/// until its tool has ended; then what waits on the connection, and the rest by coming back. Of both
/// each event must come, once.
pub(super) async fn streams(address: SocketAddr, count: usize, within: Duration) -> Result<Account> {
    let readers = clients(address, count / 2, false).await?;
    let others = clients(address, count - readers.len(), true).await?;
    let steps_in = |time: Duration, every: u64| u32::try_from(time.as_millis() / u128::from(every));
    let steps = steps_in(within, READ_EVERY)?;
    // The tools of those that are not read end before.
    let unread_steps = steps_in(within * 2 / 3, UNREAD_EVERY)?;

    let mut streams = JoinSet::new();
    for mut client in readers {
        streams.spawn_local(async move {
            let received = client.call(Tool::Slow { steps, millis: READ_EVERY }).await?;
            ensure!(received.steps.iter().copied().eq(1..=steps), "{} of {steps} steps in order", received.steps.len());
            client.delete().await?;
            anyhow::Ok((Tally::default(), u64::from(steps) + 1))
        });
    }
    let until = Instant::now() + within;
    for client in others {
        streams.spawn_local(unread(client, unread_steps, until));
    }
    let mut account = Account::default();
    while let Some(done) = streams.join_next().await {
        match done? {
            Ok((tally, of)) => account.tally(tally, of),
            Err(why) => account.wrong(&format!("a stream: {why:#}")),
        }
    }
    Ok(account)
}

/// A call of which nothing is read but the first step until then; what came of its events, and how
/// many there are.
async fn unread(mut client: Client, steps: u32, until: Instant) -> Result<(Tally, u64)> {
    /// What waits on the connection has come by then.
    const DRAINED_WITHIN: Duration = Duration::from_secs(1);
    /// A busy machine is late: the rest is lost when nothing of it comes for so long.
    const MORE_WITHIN: Duration = Duration::from_secs(60);
    let mut call = CutOff::begin(&mut client, steps, UNREAD_EVERY, 1).await?;
    sleep_until(until).await;
    call.read_on(&mut client, Instant::now() + DRAINED_WITHIN).await?;
    let mut client = client.reconnected().await?;
    while !call.is_over() {
        let before = call.steps_received();
        call.come_back(&mut client, Instant::now() + MORE_WITHIN).await?;
        if call.steps_received() == before {
            break;
        }
        client = client.reconnected().await?;
    }
    client.reconnected().await?.delete().await?;
    Ok((call.tally(), u64::from(steps) + 1))
}

/// Calls whose bodies take that long to come.
pub(super) async fn slow_bodies(address: SocketAddr, count: usize, within: Duration) -> Result<Account> {
    const BITS: u32 = 20;
    let mut calling = JoinSet::new();
    for (n, mut client) in clients(address, count, false).await?.into_iter().enumerate() {
        client.trickle = Some((BITS as usize, within / BITS));
        calling.spawn_local(async move {
            client.call(Tool::Echo(&format!("slow {n}"))).await?;
            client.delete().await
        });
    }
    let mut account = Account { asked: count as u64, ..Account::default() };
    while let Some(done) = calling.join_next().await {
        match done? {
            Ok(()) => account.right += 1,
            Err(why) => account.wrong(&format!("a slow body: {why:#}")),
        }
    }
    Ok(account)
}

/// Messages and answers: numbers, so that a part that is missing, doubled or moved shows.
fn numbers(bytes: usize) -> Rc<str> {
    let mut text: String = (0..bytes.div_ceil(8)).map(|n| format!("{n:07} ")).collect();
    text.truncate(bytes);
    text.into()
}

/// Sessions whose calls stream more than a session keeps, all of it read; then short calls that stream, too.
pub(super) async fn chatty(address: SocketAddr, count: usize) -> Result<Account> {
    const LONG: usize = 6;
    const SHORT: usize = 10;
    let (message, text) = (numbers(CHATTY.0), numbers(1 << 10));
    let mut calling = JoinSet::new();
    for client in clients(address, count, false).await? {
        let (message, text) = (Rc::clone(&message), Rc::clone(&text));
        calling.spawn_local(async move {
            let chat = |steps| Tool::Chat { steps, message: &message, text: &text };
            let calls = [[chat(CHATTY.1); LONG].as_slice(), &[chat(3); SHORT]].concat();
            answered(client, &calls).await
        });
    }
    all_of(calling).await
}

/// Bytes of each message of a chatty call, and how many it sends: more than a stream keeps, and six of them more than a
/// session keeps.
pub(super) const CHATTY: (usize, u32) = (1 << 10, 1_100);

/// Calls whose requests or answers are nearly as large as a request may be: in one piece, and where the server can
/// chat, after a notification.
pub(super) async fn large_answers(address: SocketAddr, count: usize, chats: bool) -> Result<Account> {
    let text = numbers(LARGE);
    let mut calling = JoinSet::new();
    for client in clients(address, count, false).await? {
        let text = Rc::clone(&text);
        calling.spawn_local(async move {
            let echo = Tool::Echo(&text);
            let chat = Tool::Chat { steps: 1, message: "", text: &text };
            answered(client, &if chats { [echo, chat, echo, chat] } else { [echo; 4] }).await
        });
    }
    all_of(calling).await
}

/// A little less than the four mebibytes that a request may have.
pub(super) const LARGE: usize = 4_190_000;

/// Makes calls one after another, then ends the session. What a call sends must come in order, once.
async fn answered(mut client: Client, calls: &[Tool<'_>]) -> Account {
    let mut account = Account { asked: calls.len() as u64, ..Account::default() };
    for (at, call) in calls.iter().enumerate() {
        let steps = if let Tool::Chat { steps, .. } = call { *steps } else { 0 };
        match client.call(*call).await {
            Ok(received) if received.steps.iter().copied().eq(1..=steps) => account.right += 1,
            Ok(received) => account.wrong(&format!("call {at}: {} of {steps} steps in order", received.steps.len())),
            Err(why) => {
                // What comes next on this connection is unknown: the rest is not asked for.
                account.wrong(&format!("call {at}: {why:#}"));
                return account;
            }
        }
    }
    if let Err(why) = client.delete().await {
        account.wrong(&format!("the end of a session: {why:#}"));
    }
    account
}

async fn all_of(mut calling: JoinSet<Account>) -> Result<Account> {
    let mut account = Account::default();
    while let Some(done) = calling.join_next().await {
        account.add(done?);
    }
    Ok(account)
}

/// What a storm was like.
pub(super) struct Storm {
    pub(super) account: Account,
    /// How long after the cut the answers to those who came back began.
    pub(super) back: Histogram<u64>,
}

/// Calls that are all cut off in the same moment, whose clients all come back in the next one.
pub(super) async fn storm(address: SocketAddr, count: usize, within: Duration) -> Result<Storm> {
    const MILLIS: u64 = 200;
    const CUT_AFTER: usize = 3;
    let steps = u32::try_from(within.as_millis() / u128::from(MILLIS))?;
    let cut = Rc::new(Barrier::new(count));
    let mut resuming = JoinSet::new();
    for client in clients(address, count, false).await? {
        let cut = Rc::clone(&cut);
        resuming.spawn_local(async move {
            let mut client = client;
            let begun = CutOff::begin(&mut client, steps, MILLIS, CUT_AFTER).await;
            cut.wait().await;
            let mut begun = begun?;
            let begin = Instant::now();
            let mut client = client.reconnected().await?;
            let back = begun.come_back(&mut client, begin + within * 4).await;
            if back.is_ok() {
                client.reconnected().await?.delete().await?;
            }
            anyhow::Ok((begun.tally(), back.map(|began| began - begin)))
        });
    }
    let mut storm = Storm { account: Account::default(), back: histogram() };
    while let Some(done) = resuming.join_next().await {
        match done? {
            Ok((tally, back)) => {
                storm.account.tally(tally, u64::from(steps) + 1);
                match back {
                    Ok(took) => storm.back.saturating_record(u64::try_from(took.as_nanos())?),
                    Err(why) => storm.account.wrong(&format!("a client that came back: {why:#}")),
                }
            }
            Err(why) => storm.account.wrong(&format!("a call before the storm: {why:#}")),
        }
    }
    Ok(storm)
}
