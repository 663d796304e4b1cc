//! Whether any session may be idle, so that a search that found none is not repeated in vain.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is known of idle sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Known {
    /// A session may be idle.
    Possible = 0,
    /// A session may be idle, and a scan is running.
    Scanning = 1,
    /// A scan of all sessions found none idle, and none has become idle since.
    Absent = 2,
}

/// What is known of idle sessions, shared by all operations.
#[derive(Debug, Default)]
pub(super) struct IdleSessions(AtomicU8);

impl IdleSessions {
    /// Returns `false` if no session is idle.
    pub(super) fn may_exist(&self) -> bool {
        self.0.load(Ordering::Acquire) != Known::Absent as u8
    }

    /// Notes that a session may have become idle. Call this after the lock of the session is
    /// released. A scan that saw the session busy took that lock before, so its mark is visible
    /// here.
    pub(super) fn mark(&self) {
        if self.0.load(Ordering::Acquire) != Known::Possible as u8 {
            self.0.store(Known::Possible as u8, Ordering::Release);
        }
    }

    pub(super) fn begin_scan(&self) {
        self.0.store(Known::Scanning as u8, Ordering::Release);
    }

    /// Notes that a scan found none, unless a session has become idle since: its operation has
    /// reset the mark.
    pub(super) fn end_scan_in_vain(&self) {
        let (scanning, absent) = (Known::Scanning as u8, Known::Absent as u8);
        let _ = self.0.compare_exchange(scanning, absent, Ordering::AcqRel, Ordering::Relaxed);
    }
}
