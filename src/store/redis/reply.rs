//! Replies: reads what a script returned, either the values of an operation or a rejection.

use std::vec;

use redis::Value;

use crate::error::{StoreError, StoreErrorKind};

type Result<T> = std::result::Result<T, StoreError>;

/// The values that an operation returned, one by one.
#[derive(Debug)]
pub(super) struct Reply(vec::IntoIter<Value>);

impl Reply {
    /// Reads a reply; `signal` receives the signals in it for nodes of this process.
    pub(super) fn read(answer: Value, mut signal: impl FnMut(&[u8])) -> Result<Self> {
        let mut reply = Self::of(answer)?;
        let kind = reply.bytes()?;
        for handler in reply.list()? {
            signal(&bytes_of(handler)?);
        }
        let rejected = match &*kind {
            b"ok" => return Ok(reply),
            b"not found" => StoreErrorKind::NotFound,
            b"conflict" => StoreErrorKind::Conflict,
            b"fenced" => StoreErrorKind::Fenced,
            b"beyond end" => StoreErrorKind::BeyondEnd,
            b"full" => StoreErrorKind::Full,
            b"full for principal" => StoreErrorKind::FullForPrincipal,
            b"full for peer" => StoreErrorKind::FullForPeer,
            _ => StoreErrorKind::Corrupt,
        };
        // An operation that evicted something may still have been rejected.
        let lost = reply.number().unwrap_or_default();
        Err(StoreError::after_losing(rejected, lost))
    }

    /// Reads a list within a reply.
    pub(super) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => corrupt(),
        }
    }

    pub(super) fn next(&mut self) -> Option<Value> {
        self.0.next()
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>> {
        self.next().map_or_else(corrupt, bytes_of)
    }

    /// Reads a value that may be nil, or missing at the end of the reply.
    pub(super) fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        match self.next() {
            None | Some(Value::Nil) => Ok(None),
            Some(value) => bytes_of(value).map(Some),
        }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?).or_else(|_| corrupt())
    }

    pub(super) fn number<T: TryFrom<i64>>(&mut self) -> Result<T> {
        match self.next() {
            Some(Value::Int(number)) => number.try_into().or_else(|_| corrupt()),
            // Values of hashes and sets are text.
            Some(value) => {
                let text = String::from_utf8(bytes_of(value)?).or_else(|_| corrupt())?;
                text.parse::<i64>().ok().and_then(|number| number.try_into().ok()).map_or_else(corrupt, Ok)
            }
            None => corrupt(),
        }
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        self.number::<i64>().map(|number| number != 0)
    }

    pub(super) fn list(&mut self) -> Result<vec::IntoIter<Value>> {
        match self.next() {
            Some(Value::Array(values)) => Ok(values.into_iter()),
            _ => corrupt(),
        }
    }
}

fn bytes_of(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => corrupt(),
    }
}

fn corrupt<T>() -> Result<T> {
    Err(StoreError::new(StoreErrorKind::Corrupt))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn replies_hold_a_result_or_an_error() {
        let mut received = Vec::new();
        let values = vec![text("ok"), Value::Array(vec![text("signal")]), Value::Int(7), text("12"), Value::Nil];
        let mut reply = Reply::read(Value::Array(values), |handler| received.push(handler.to_vec())).unwrap();
        assert_eq!((reply.number::<u32>().unwrap(), reply.number::<u64>().unwrap()), (7, 12));
        assert_eq!(
            (reply.maybe_bytes().unwrap(), reply.maybe_bytes().unwrap(), received),
            (None, None, vec![b"signal".into()])
        );
        let rejected = |kind: &str| {
            let values = Value::Array(vec![text(kind), Value::Array(vec![])]);
            Reply::read(values, |_| ()).unwrap_err().kind()
        };
        assert_eq!(rejected("fenced"), StoreErrorKind::Fenced);
        assert_eq!(rejected("something else"), StoreErrorKind::Corrupt);
    }

    #[test]
    fn unexpected_replies_are_rejected() {
        for value in [Value::Nil, Value::Int(1), Value::Array(vec![]), Value::Array(vec![text("ok")])] {
            assert_eq!(Reply::read(value, |_| ()).unwrap_err().kind(), StoreErrorKind::Corrupt);
        }
        let mut reply = Reply::of(Value::Array(vec![Value::Int(-1), text("x")])).unwrap();
        assert!(reply.number::<u32>().is_err() && reply.number::<u32>().is_err() && reply.bytes().is_err());
    }
}
