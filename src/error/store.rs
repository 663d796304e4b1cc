//! Store errors: failures of a session engine, by what the caller can do about them.

use std::fmt;

/// Why a session engine could not complete an operation. The source is kept for the log.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What the caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The engine cannot be reached now. A retry may succeed.
    Unavailable,
    /// The session, stream, request or task does not exist, or belongs to another principal.
    NotFound,
    /// A conflicting entry exists: the same id, a newer version, another holder.
    Conflict,
    /// The stream is closed, this node no longer owns it, or the task has finished.
    Fenced,
    /// The cursor is beyond the end of the stream, and names no event.
    BeyondEnd,
    /// The stored data cannot be read.
    Corrupt,
    /// A limit is reached: of sessions; of calls, readers or subscriptions within one session; of
    /// tasks or of their bytes.
    Full,
    /// A limit of the principal is reached: of sessions, calls or tasks.
    FullForPrincipal,
    /// A limit of the peer is reached: of sessions or tasks.
    FullForPeer,
}

impl StoreErrorKind {
    /// Returns `true` if a limit is reached: of the engine, of a principal or of a peer.
    pub(crate) fn is_full(self) -> bool {
        matches!(self, Self::Full | Self::FullForPrincipal | Self::FullForPeer)
    }
}

impl StoreError {
    /// Makes an error of this kind, without a source.
    #[must_use]
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Makes an error of this kind, with its cause.
    pub fn because(kind: StoreErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// Makes an error of an append or a publish that failed after it had removed answers to make
    /// room. `answers` counts those that no client had fetched.
    #[must_use]
    pub fn after_losing(kind: StoreErrorKind, answers: usize) -> Self {
        if answers == 0 { Self::new(kind) } else { Self::because(kind, AnswersLost(answers)) }
    }

    /// Returns how many unfetched answers an operation removed before it failed, see
    /// [`StoreError::after_losing`].
    #[must_use]
    pub fn answers_lost(&self) -> usize {
        let lost = self.source.as_deref().and_then(|source| source.downcast_ref());
        lost.map_or(0, |AnswersLost(answers)| *answers)
    }

    pub(crate) fn corrupt(source: serde_json::Error) -> Self {
        Self::because(StoreErrorKind::Corrupt, source)
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

/// The answers that an operation removed before it failed.
#[derive(Debug)]
struct AnswersLost(usize);

impl fmt::Display for AnswersLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers that no client had fetched were removed", self.0)
    }
}

impl std::error::Error for AnswersLost {}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the session engine cannot be reached",
            StoreErrorKind::NotFound => "not found",
            StoreErrorKind::Conflict => "it exists already, or changed in the meantime",
            StoreErrorKind::Fenced => "closed, done, or owned by another node",
            StoreErrorKind::BeyondEnd => "beyond the end of the stream",
            StoreErrorKind::Corrupt => "the stored data cannot be read",
            StoreErrorKind::Full => "a limit is reached",
            StoreErrorKind::FullForPrincipal => "a limit of one principal is reached",
            StoreErrorKind::FullForPeer => "a limit of one peer is reached",
        })
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Returns `None` if the subject of the operation does not exist.
pub(crate) fn if_found<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
