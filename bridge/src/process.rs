//! Decides how a child starts and how it ends: stdin is closed, then it is asked, then it is killed, and
//! everything it started with it.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::group::Group;

/// How often it is looked whether what a child left behind has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A child that runs. Dropped, it is killed without a word.
pub(crate) struct Process {
    child: Child,
    group: Group,
    ended: bool,
}

pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Process {
    pub(crate) fn start(command: &[OsString]) -> io::Result<(Self, Pipes)> {
        let [program, arguments @ ..] = command else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C in a terminal goes to the bridge alone, which ends its children in order.
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

    /// Waits for the end of the child itself; what it started may go on.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends the child, whose stdin is closed already, and whatever it started.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, with the process, everything is killed.
    pub(crate) async fn end(mut self, grace: Duration) {
        if timeout(grace, self.child.wait()).await.is_err() {
            tracing::debug!(pid = self.child.id(), "a process did not end by itself");
            self.group.terminate();
            if timeout(grace, self.child.wait()).await.is_err() {
                tracing::warn!(pid = self.child.id(), "a process did not end when asked, and is killed");
                self.group.kill();
                // It is dead or will be: the only thing that can fail is that somebody else reaped it.
                let _ = self.child.kill().await;
            }
        }
        self.end_what_is_left(grace).await;
        self.ended = true;
    }

    async fn end_what_is_left(&self, grace: Duration) {
        if self.group.is_empty() {
            return;
        }
        self.group.terminate();
        let gone = async {
            while !self.group.is_empty() {
                sleep(POLL_INTERVAL).await;
            }
        };
        if timeout(grace, gone).await.is_err() {
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
