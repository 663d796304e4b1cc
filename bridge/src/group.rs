//! Process groups: sends signals to a process and everything it started.

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// The process group of one server process. A descendant that leaves the group, as a daemon does,
/// is out of reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    #[cfg(unix)]
    leader: Option<Pid>,
}

#[cfg(unix)]
impl Group {
    /// Returns the group of a process that was started as the leader of its own group.
    pub(crate) fn led_by(id: Option<u32>) -> Self {
        Self { leader: id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) }
    }

    pub(crate) fn terminate(self) {
        self.send(Signal::TERM);
    }

    pub(crate) fn kill(self) {
        self.send(Signal::KILL);
    }

    /// Returns `true` if no process is left. The system does not reuse the id of a group before
    /// that.
    pub(crate) fn is_empty(self) -> bool {
        self.leader.is_none_or(|leader| test_kill_process_group(leader) == Err(rustix::io::Errno::SRCH))
    }

    fn send(self, signal: Signal) {
        let sent = self.leader.map_or(Ok(()), |leader| kill_process_group(leader, signal));
        // ESRCH is the usual case: the group is already empty.
        if let Err(error) = sent.or_else(|error| if error == rustix::io::Errno::SRCH { Ok(()) } else { Err(error) }) {
            tracing::warn!(%error, ?signal, "cannot signal a process group");
        }
    }
}

/// On other systems a process is killed by its handle, and its descendants are not ended.
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
