//! Errors of a session engine: what a caller can do about them, and what caused them.

use std::fmt;

/// Why a session engine could not do what was asked. The source is kept for the log.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What a caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The engine cannot be reached now; trying again may help.
    Unavailable,
    /// No such session, stream, question or task, or not for this principal.
    NotFound,
    /// Something is already there: an id, a newer version, another holder.
    Conflict,
    /// The stream is closed, or this node no longer owns it; the task is done.
    Fenced,
    /// The cursor names no event: it lies beyond the end of the stream.
    BeyondEnd,
    /// What is stored cannot be read.
    Corrupt,
    /// A limit is reached: of sessions, of calls, readers or subscriptions in one; of tasks or
    /// their bytes.
    Full,
    /// A limit of one principal is reached: of sessions, calls or tasks.
    FullForPrincipal,
    /// The same for a peer, of sessions or tasks.
    FullForPeer,
}

impl StoreErrorKind {
    /// Whether a limit is reached, for all or for one.
    pub(crate) fn is_full(self) -> bool {
        matches!(self, Self::Full | Self::FullForPrincipal | Self::FullForPeer)
    }
}

impl StoreError {
    /// An error of a kind, with nothing to add.
    #[must_use]
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of a kind, with what caused it.
    pub fn because(kind: StoreErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// An error of a kind, of an append or a publish that made answers go which no client had fetched: so many of them
    /// were forgotten to make room, though it failed.
    #[must_use]
    pub fn after_losing(kind: StoreErrorKind, answers: usize) -> Self {
        if answers == 0 { Self::new(kind) } else { Self::because(kind, AnswersLost(answers)) }
    }

    /// How many answers were forgotten for a step that failed, see [`StoreError::after_losing`].
    #[must_use]
    pub fn answers_lost(&self) -> usize {
        let lost = self.source.as_deref().and_then(|source| source.downcast_ref());
        lost.map_or(0, |AnswersLost(answers)| *answers)
    }

    pub(crate) fn corrupt(source: serde_json::Error) -> Self {
        Self::because(StoreErrorKind::Corrupt, source)
    }

    /// What can be done about it.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

/// What a step did before it failed.
#[derive(Debug)]
struct AnswersLost(usize);

impl fmt::Display for AnswersLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers that no client had fetched were forgotten", self.0)
    }
}

impl std::error::Error for AnswersLost {}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the session engine cannot be reached",
            StoreErrorKind::NotFound => "not found",
            StoreErrorKind::Conflict => "already there, or changed in the meantime",
            StoreErrorKind::Fenced => "closed, done, or owned by another node",
            StoreErrorKind::BeyondEnd => "beyond the end of the stream",
            StoreErrorKind::Corrupt => "what is stored cannot be read",
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
