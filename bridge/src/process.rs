//! A server process: starts it in a process group of its own, and ends it with everything it
//! started. Its stdin is closed first, then it gets SIGTERM, then SIGKILL.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::group::Group;

/// How often the bridge checks whether the descendants of a process have exited.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running process. Dropping it kills the whole group without a grace period.
pub(crate) struct Process {
    child: Child,
    group: Group,
    ended: bool,
}

/// The bridge's ends of the standard streams of a process.
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Process {
    /// Starts the program `command[0]` with the rest as its arguments.
    ///
    /// # Errors
    ///
    /// The command is empty or cannot be started.
    pub(crate) fn start(command: &[OsString]) -> io::Result<(Self, Pipes)> {
        let [program, arguments @ ..] = command else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C in a terminal then reaches only the bridge, which ends its processes in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let group = Group::led_by(child.id());
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok((Self { child, group, ended: false }, Pipes { stdin, stdout, stderr }))
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the process itself has exited. Its descendants may still run.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends the process and its group. The caller has already closed its stdin.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the whole group is killed.
    pub(crate) async fn end(mut self, grace: Duration) {
        if timeout(grace, self.child.wait()).await.is_err() {
            tracing::debug!(
                pid = self.child.id(),
                "a process did not exit after its stdin was closed: sending SIGTERM"
            );
            self.group.terminate();
            if timeout(grace, self.child.wait()).await.is_err() {
                tracing::warn!(pid = self.child.id(), "a process did not exit after SIGTERM: sending SIGKILL");
                self.group.kill();
                // This fails only if something else has reaped the process.
                let _ = self.child.kill().await;
            }
        }
        self.end_group(grace).await;
        self.ended = true;
    }

    async fn end_group(&self, grace: Duration) {
        if self.group.is_empty() {
            return;
        }
        self.group.terminate();
        let empty = async {
            while !self.group.is_empty() {
                sleep(POLL_INTERVAL).await;
            }
        };
        if timeout(grace, empty).await.is_err() {
            self.group.kill();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            self.group.kill();
        }
    }
}
