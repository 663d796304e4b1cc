//! Alternatives to the file engine: databases with a key for each event, stream and session,
//! changed in one transaction. A bare file is the lower bound.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::{Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::Error;
use crate::group::{Backend, KEPT, Op, SessionKey};

fn event_key(session: &SessionKey, seq: u64) -> [u8; 28] {
    let mut key = [0; 28];
    key[..16].copy_from_slice(session);
    // The number of the stream. Each session has one stream here.
    key[19] = 1;
    key[20..].copy_from_slice(&seq.to_be_bytes());
    key
}

fn stream_key(session: &SessionKey) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(session);
    key[19] = 1;
    key
}

/// Returns the events of an ended session that are still stored.
fn left(events: u64) -> impl Iterator<Item = u64> {
    events.saturating_sub(KEPT) + 1..=events
}

pub(crate) struct Bare {
    file: File,
    sync: bool,
    buffer: Vec<u8>,
}

impl Bare {
    pub(crate) fn open(folder: &Path, sync: bool) -> Result<Self, Error> {
        Ok(Self { file: File::create(folder.join("file"))?, sync, buffer: Vec::new() })
    }
}

impl Backend for Bare {
    fn commit(&mut self, ops: &[Op]) -> Result<(), Error> {
        self.buffer.clear();
        for op in ops {
            let (Op::Open { info: text, .. } | Op::Event { payload: text, .. }) = op else { continue };
            self.buffer.extend_from_slice(text);
        }
        self.file.write_all(&self.buffer)?;
        if self.sync {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

#[derive(Clone)]
pub(crate) struct Fjall {
    database: Database,
    sessions: Keyspace,
    streams: Keyspace,
    events: Keyspace,
    mode: PersistMode,
}

impl Fjall {
    pub(crate) fn open(folder: &Path, sync: bool) -> Result<Self, Error> {
        let database = Database::builder(folder).open()?;
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let (sessions, streams, events) = (keyspace("sessions")?, keyspace("streams")?, keyspace("events")?);
        let mode = if sync { PersistMode::SyncData } else { PersistMode::Buffer };
        Ok(Self { database, sessions, streams, events, mode })
    }

    pub(crate) fn read_all(&self) -> Result<(usize, usize), Error> {
        let mut sessions = 0;
        for session in self.sessions.iter() {
            session.value()?;
            sessions += 1;
        }
        for stream in self.streams.iter() {
            stream.value()?;
        }
        let mut bytes = 0;
        for event in self.events.iter() {
            bytes += event.value()?.len();
        }
        Ok((sessions, bytes))
    }
}

impl Backend for Fjall {
    fn commit(&mut self, ops: &[Op]) -> Result<(), Error> {
        let mut batch = self.database.batch().durability(Some(self.mode));
        for op in ops {
            match op {
                Op::Open { session, info } => batch.insert(&self.sessions, *session, info.as_ref()),
                Op::Event { session, seq, payload } => {
                    batch.insert(&self.events, event_key(session, *seq), payload.as_ref());
                    batch.insert(&self.streams, stream_key(session), seq.to_be_bytes());
                    if *seq > KEPT {
                        batch.remove(&self.events, event_key(session, seq - KEPT));
                    }
                }
                Op::End { session, events } => {
                    batch.remove(&self.sessions, *session);
                    batch.remove(&self.streams, stream_key(session));
                    left(*events).for_each(|seq| batch.remove(&self.events, event_key(session, seq)));
                }
            }
        }
        Ok(batch.commit()?)
    }
}

const SESSIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sessions");
const STREAMS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("streams");
const EVENTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("events");

#[derive(Clone)]
pub(crate) struct Redb {
    database: std::sync::Arc<redb::Database>,
}

impl Redb {
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self { database: redb::Database::create(folder.join("redb"))?.into() })
    }

    pub(crate) fn read_all(&self) -> Result<(usize, usize), Error> {
        let reading = self.database.begin_read()?;
        let mut sessions = 0;
        for session in reading.open_table(SESSIONS)?.iter()? {
            session?;
            sessions += 1;
        }
        for stream in reading.open_table(STREAMS)?.iter()? {
            stream?;
        }
        let mut bytes = 0;
        for event in reading.open_table(EVENTS)?.iter()? {
            bytes += event?.1.value().len();
        }
        Ok((sessions, bytes))
    }
}

impl Backend for Redb {
    fn commit(&mut self, ops: &[Op]) -> Result<(), Error> {
        let mut writing = self.database.begin_write()?;
        // Without immediate durability, redb promises nothing, not even that data survives the end
        // of the process.
        writing.set_durability(Durability::Immediate)?;
        {
            let mut sessions = writing.open_table(SESSIONS)?;
            let mut streams = writing.open_table(STREAMS)?;
            let mut events_of = writing.open_table(EVENTS)?;
            for op in ops {
                match op {
                    Op::Open { session, info } => drop(sessions.insert(session.as_slice(), info.as_ref())?),
                    Op::Event { session, seq, payload } => {
                        events_of.insert(event_key(session, *seq).as_slice(), payload.as_ref())?;
                        streams.insert(stream_key(session).as_slice(), seq)?;
                        if *seq > KEPT {
                            events_of.remove(event_key(session, seq - KEPT).as_slice())?;
                        }
                    }
                    Op::End { session, events } => {
                        sessions.remove(session.as_slice())?;
                        streams.remove(stream_key(session).as_slice())?;
                        for seq in left(*events) {
                            events_of.remove(event_key(session, seq).as_slice())?;
                        }
                    }
                }
            }
        }
        Ok(writing.commit()?)
    }
}
