//! Phases of the soak, which run while the callers call: read and unread streams, slow bodies,
//! sessions that send more than is kept, answers of several megabytes, and a storm of clients that
//! resume at once. Each client ends its session, so that the next phase begins with none.

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

/// The number of clients that connect at once, small enough to leave capacity for the callers in
/// the accept queue.
const GROUP: usize = 100;

/// The pause between the steps of a stream that is read, and of one that is not.
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

/// Opens `count` streams at once for the given time, and reads half of them. Of the other half only
/// the first step is read until its tool has ended, then the bytes that wait on the connection, and
/// the rest by resuming. On both halves each event must arrive exactly once.
pub(super) async fn streams(address: SocketAddr, count: usize, within: Duration) -> Result<Account> {
    let readers = clients(address, count / 2, false).await?;
    let others = clients(address, count - readers.len(), true).await?;
    let steps_in = |time: Duration, every: u64| u32::try_from(time.as_millis() / u128::from(every));
    let steps = steps_in(within, READ_EVERY)?;
    // The tools of unread streams end earlier.
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

/// Makes a call of which only the first step is read until the given time. Returns the tally of its
/// events, and their number.
async fn unread(mut client: Client, steps: u32, until: Instant) -> Result<(Tally, u64)> {
    /// The time for reading what waits on the connection.
    const DRAINED_WITHIN: Duration = Duration::from_secs(1);
    /// The rest counts as lost when nothing of it arrives for this long. A busy machine is slow.
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

/// Makes calls whose bodies take this long to arrive.
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

/// Returns the numbers of messages and answers, in which a missing, duplicate or moved part is
/// noticed.
fn numbers(bytes: usize) -> Rc<str> {
    let mut text: String = (0..bytes.div_ceil(8)).map(|n| format!("{n:07} ")).collect();
    text.truncate(bytes);
    text.into()
}

/// Runs sessions whose calls stream more than a session keeps, and reads all of it. Short calls
/// that stream follow.
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

/// The size of each message of a chatty call, and the number of messages. One call exceeds the
/// replay buffer of a stream, and six calls exceed that of a session.
pub(super) const CHATTY: (usize, u32) = (1 << 10, 1_100);

/// Makes calls with requests and answers of nearly the maximum size of a request. The answer comes
/// in one piece, or after a notification if the server has the tool `chat`.
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

/// Makes the calls one after another, then ends the session. The messages of a call must arrive in
/// order, each once.
async fn answered(mut client: Client, calls: &[Tool<'_>]) -> Account {
    let mut account = Account { asked: calls.len() as u64, ..Account::default() };
    for (at, call) in calls.iter().enumerate() {
        let steps = if let Tool::Chat { steps, .. } = call { *steps } else { 0 };
        match client.call(*call).await {
            Ok(received) if received.steps.iter().copied().eq(1..=steps) => account.right += 1,
            Ok(received) => account.wrong(&format!("call {at}: {} of {steps} steps in order", received.steps.len())),
            Err(why) => {
                // The state of this connection is unknown, so the other calls are not made.
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

/// The result of a storm.
pub(super) struct Storm {
    pub(super) account: Account,
    /// How long after the cut the responses to the resumed clients began.
    pub(super) back: Histogram<u64>,
}

/// Cuts off all calls at the same moment. All clients then resume at once.
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
