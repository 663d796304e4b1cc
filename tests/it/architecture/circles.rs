//! The circles that the imports of the sources have, and why each is one. A file that leaves its circle
//! must leave its row, so the table only shrinks.

/// The files of each circle, and its reason.
pub(super) const CIRCLES: &[(&[&str], &str)] = &[
    (
        &["error.rs", "error/table.rs"],
        "One table: the file of the type asks it, and its rows are written for the type.",
    ),
    (&["rmcp/held.rs", "rmcp/owned.rs", "rmcp/pending.rs"], "Not untied yet: the adapter and its parts."),
    (
        &[
            "settings/inputs.rs",
            "settings/limits.rs",
            "settings/mod.rs",
            "settings/sessions.rs",
            "settings/streams.rs",
            "settings/tasks.rs",
        ],
        "Not untied yet: the parts of the settings and the check of all of them.",
    ),
    (
        &[
            "store/contract/announcements.rs",
            "store/contract/bench.rs",
            "store/contract/calls.rs",
            "store/contract/client_requests.rs",
            "store/contract/eviction.rs",
            "store/contract/leases.rs",
            "store/contract/lifecycle.rs",
            "store/contract/limits.rs",
            "store/contract/log.rs",
            "store/contract/mod.rs",
            "store/contract/readers.rs",
            "store/contract/retention.rs",
            "store/contract/rules.rs",
            "store/contract/signals.rs",
            "store/contract/task_limits.rs",
            "store/contract/tasks.rs",
        ],
        "A registry: each rule is a trial on the bench, and the bench names the rules.",
    ),
    (
        &[
            "store/memory/budget.rs",
            "store/memory/locked.rs",
            "store/memory/mod.rs",
            "store/memory/record.rs",
            "store/memory/record/calls.rs",
            "store/memory/record/fit.rs",
            "store/memory/record/kept.rs",
            "store/memory/record/readers.rs",
            "store/memory/restore.rs",
            "store/memory/tasks/mod.rs",
        ],
        "Not untied yet: the records of the memory engine.",
    ),
];
