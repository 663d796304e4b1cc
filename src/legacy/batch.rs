//! Batches: sorts the elements into requests to run, messages to accept and elements to reject.
//! Only 2025-03-26 has batches.
//!
//! A batch that is not allowed is rejected as a whole, before any of its elements takes effect.

use bytes::Bytes;

use super::request::{Message, OneWay, Request};
use crate::error::Rejection;
use crate::message::{Envelope, Malformed, ProtocolVersion, write};

/// The sorted elements of a batch.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) requests: Vec<Request>,
    /// Notifications and answers.
    pub(super) one_way: Vec<OneWay>,
    /// The answers to elements that are not valid messages.
    pub(super) rejected: Vec<Bytes>,
}

impl Batch {
    pub(super) fn sort(
        elements: Vec<Result<Envelope, Malformed>>,
        version: ProtocolVersion,
    ) -> Result<Self, Rejection> {
        if !version.has_batches() {
            return Err(Rejection::BatchNotServed);
        }
        let mut batch = Self::default();
        for element in elements {
            match element.map(Message::from) {
                Ok(Message::Request(Request { method, .. })) if method == "initialize" => {
                    return Err(Rejection::InitializeInBatch);
                }
                Ok(Message::Request(request)) => match request.check() {
                    Ok(()) => batch.requests.push(request),
                    Err(rejection) => batch.rejected.push(write::failure(Some(&request.id), &rejection.to_error())),
                },
                Ok(Message::OneWay(one_way)) => batch.one_way.push(one_way),
                Err(malformed) => {
                    let (rejection, id) = Rejection::of(malformed);
                    batch.rejected.push(write::failure(id.as_ref(), &rejection.to_error()));
                }
            }
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Body, parse};

    fn sort(text: &'static str, version: ProtocolVersion) -> Result<(usize, usize, usize), Rejection> {
        let Ok(Body::Batch(elements)) = parse(&Bytes::from(text)) else { panic!("{text}") };
        Batch::sort(elements, version).map(|batch| (batch.requests.len(), batch.one_way.len(), batch.rejected.len()))
    }

    #[test]
    fn batch_elements_are_sorted_by_kind() {
        let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}, 7, {"jsonrpc":"2.0","method":"notifications/a"},
            {"jsonrpc":"2.0","id":"s1-0","result":{}}]"#;
        assert_eq!(sort(batch, ProtocolVersion::V2025_03_26), Ok((1, 2, 1)));
        assert_eq!(sort(batch, ProtocolVersion::V2025_06_18), Err(Rejection::BatchNotServed));
    }

    #[test]
    fn initialize_in_a_batch_rejects_the_whole_batch() {
        let batch = r#"[{"jsonrpc":"2.0","method":"notifications/a"}, {"jsonrpc":"2.0","id":1,"method":"initialize"}]"#;
        assert_eq!(sort(batch, ProtocolVersion::V2025_03_26), Err(Rejection::InitializeInBatch));
    }
}
