//! Decides how signals reach a child and everything it started: they are one process group.

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// The processes of one child. Whatever leaves the group by itself, as a daemon does, is out of reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    #[cfg(unix)]
    leader: Option<Pid>,
}

#[cfg(unix)]
impl Group {
    /// A child that was started as the leader of its own group.
    pub(crate) fn led_by(id: Option<u32>) -> Self {
        Self { leader: id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) }
    }

    pub(crate) fn terminate(self) {
        self.send(Signal::TERM);
    }

    pub(crate) fn kill(self) {
        self.send(Signal::KILL);
    }

    /// Whether nobody is left. The id of a group is not given to another as long as somebody is.
    pub(crate) fn is_empty(self) -> bool {
        self.leader.is_none_or(|leader| test_kill_process_group(leader) == Err(rustix::io::Errno::SRCH))
    }

    fn send(self, signal: Signal) {
        let sent = self.leader.map_or(Ok(()), |leader| kill_process_group(leader, signal));
        // Most often nobody is left.
        if let Err(error) = sent.or_else(|error| if error == rustix::io::Errno::SRCH { Ok(()) } else { Err(error) }) {
            tracing::warn!(%error, ?signal, "a group of processes could not be signalled");
        }
    }
}

/// Elsewhere a child is killed by its handle, and what it started is its own.
#[cfg(not(unix))]
impl Group {
    pub(crate) fn led_by(_: Option<u32>) -> Self {
        Self {}
    }

    pub(crate) fn terminate(self) {}

    pub(crate) fn kill(self) {}

    pub(crate) fn is_empty(self) -> bool {
        true
    }
}
