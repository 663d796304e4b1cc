//! The table of rules.

use std::fmt;

use futures_util::future::BoxFuture;

use super::{
    Backend, Nodes, announcements, calls, client_requests, eviction, leases, lifecycle, limits, log, readers,
    retention, signals, task_limits, tasks,
};

type Check = for<'a> fn(&'a dyn Backend, Nodes) -> BoxFuture<'a, ()>;

/// One rule of the contract.
#[derive(Clone, Copy)]
pub struct Rule {
    number: u8,
    name: &'static str,
    check: Check,
}

impl Rule {
    /// Returns the number, which never changes.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// Returns a short name for what the rule requires.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the rule with a number, and panics if the table has none.
    pub(super) fn find(number: u8) -> Self {
        match RULES.iter().find(|rule| rule.number == number) {
            Some(rule) => *rule,
            None => panic!("there is no rule {number}"),
        }
    }

    /// Runs the rule on a new engine.
    ///
    /// # Panics
    ///
    /// If the engine breaks the rule.
    pub async fn check(&self, backend: &dyn Backend, nodes: Nodes) {
        (self.check)(backend, nodes).await;
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}, {}", self.number, self.name)
    }
}

const fn rule(number: u8, name: &'static str, check: Check) -> Rule {
    Rule { number, name, check }
}

/// The contract, by number.
pub const RULES: &[Rule] = &[
    rule(1, "create and load", |b, n| Box::pin(lifecycle::a_created_session_is_loaded_as_it_was(b, n))),
    rule(2, "id collision", |b, n| Box::pin(lifecycle::existing_ids_are_rejected(b, n))),
    rule(3, "unknown session", |b, n| Box::pin(lifecycle::an_unknown_session_is_not_found(b, n))),
    rule(4, "wrong principal", |b, n| Box::pin(lifecycle::a_wrong_principal_is_not_found(b, n))),
    rule(5, "use extends life", |b, n| Box::pin(lifecycle::use_extends_life(b, n))),
    rule(6, "idle expiry", |b, n| Box::pin(lifecycle::an_idle_session_expires_once(b, n))),
    rule(7, "a call prevents expiry", |b, n| Box::pin(lifecycle::a_call_prevents_expiry(b, n))),
    rule(8, "a reader prevents expiry", |b, n| Box::pin(lifecycle::a_reader_prevents_expiry(b, n))),
    rule(9, "end", |b, n| Box::pin(lifecycle::an_ended_session_is_not_found(b, n))),
    rule(10, "state compare and swap", |b, n| Box::pin(calls::no_update_of_the_state_is_lost(b, n))),
    rule(11, "duplicate ids", |b, n| Box::pin(calls::duplicate_ids_are_rejected_on_demand(b, n))),
    rule(12, "numbers from 1", |b, n| Box::pin(log::events_are_numbered_from_one(b, n))),
    rule(13, "repeated append", |b, n| Box::pin(log::a_repeated_append_is_one_event(b, n))),
    rule(14, "append at a wrong position", |b, n| Box::pin(log::a_wrong_place_is_a_conflict(b, n))),
    rule(15, "append by another node", |b, n| Box::pin(log::only_the_owner_appends(b, n))),
    rule(16, "append after close", |b, n| Box::pin(log::a_closed_stream_takes_nothing(b, n))),
    rule(17, "read after a position", |b, n| Box::pin(log::reading_gives_the_exact_rest(b, n))),
    rule(18, "read at the tail", |b, n| Box::pin(log::nothing_follows_the_tail(b, n))),
    rule(19, "streams apart", |b, n| Box::pin(log::streams_do_not_mix(b, n))),
    rule(20, "sessions apart", |b, n| Box::pin(log::sessions_do_not_mix(b, n))),
    rule(21, "paging", |b, n| Box::pin(log::paging_loses_nothing(b, n))),
    rule(22, "attach racing append", |b, n| Box::pin(readers::attach_races_append(b, n))),
    rule(23, "second attach", |b, n| Box::pin(readers::a_second_reader_fences_the_first(b, n))),
    rule(24, "stale detach", |b, n| Box::pin(readers::a_stale_detach_changes_nothing(b, n))),
    rule(25, "attach at one cursor", |b, n| Box::pin(readers::of_two_at_one_cursor_one_reads(b, n))),
    rule(26, "holes", |b, n| Box::pin(log::dropped_events_leave_gaps(b, n))),
    rule(27, "overflow", |b, n| Box::pin(log::client_requests_and_responses_survive_overflow(b, n))),
    rule(28, "answer before take", |b, n| Box::pin(client_requests::answers_wait_until_they_are_taken(b, n))),
    rule(29, "answer twice", |b, n| Box::pin(client_requests::the_first_answer_wins(b, n))),
    rule(30, "answer of another session", |b, n| Box::pin(client_requests::another_session_cannot_answer(b, n))),
    rule(31, "answer to nothing", |b, n| Box::pin(client_requests::unknown_client_requests_are_not_found(b, n))),
    rule(32, "cancel", |b, n| Box::pin(calls::a_call_in_flight_can_be_cancelled(b, n))),
    rule(33, "cancel without a signal", |b, n| Box::pin(calls::missed_cancellations_are_found(b, n))),
    rule(34, "a silent node", |b, n| Box::pin(leases::a_silent_node_is_given_up_once(b, n))),
    rule(35, "a silent node comes back", |b, n| Box::pin(leases::a_node_that_comes_back_starts_anew(b, n))),
    rule(36, "generations", |b, n| Box::pin(readers::generations_only_grow(b, n))),
    rule(37, "no signals", |b, n| Box::pin(signals::everything_arrives_without_signals(b, n))),
    rule(38, "signals repeated and shuffled", |b, n| Box::pin(signals::signals_may_repeat_and_change_order(b, n))),
    rule(39, "large and odd events", |b, n| Box::pin(log::events_come_out_byte_for_byte(b, n))),
    rule(41, "cursor beyond the end", |b, n| Box::pin(readers::unknown_cursors_are_rejected(b, n))),
    rule(42, "limit of sessions", |b, n| Box::pin(limits::the_longest_idle_session_is_evicted(b, n))),
    rule(43, "limit of a principal's sessions", |b, n| Box::pin(limits::a_principal_has_so_many_sessions(b, n))),
    rule(44, "limit of a session's calls", |b, n| Box::pin(limits::a_session_has_so_many_calls(b, n))),
    rule(45, "limit of a principal's calls", |b, n| Box::pin(limits::a_principal_has_so_many_calls(b, n))),
    rule(46, "limit of readers", |b, n| Box::pin(limits::a_session_has_so_many_readers(b, n))),
    rule(47, "finished streams by time", |b, n| Box::pin(retention::a_finished_stream_is_kept_for_a_while(b, n))),
    rule(48, "finished streams by number", |b, n| Box::pin(retention::so_many_finished_streams_are_kept(b, n))),
    rule(49, "bytes of a session", |b, n| Box::pin(retention::a_session_keeps_so_many_bytes(b, n))),
    rule(50, "publish without a reader", |b, n| Box::pin(signals::nothing_is_kept_before_the_first_reader(b, n))),
    rule(51, "publish the same again", |b, n| Box::pin(signals::equal_unread_events_are_merged(b, n))),
    rule(52, "request to detach", |b, n| Box::pin(readers::requested_detaches_signal_the_reader(b, n))),
    rule(53, "announce", |b, n| Box::pin(signals::an_announcement_reaches_every_node(b, n))),
    rule(54, "lifetime", |b, n| Box::pin(lifecycle::a_session_ends_at_its_greatest_age(b, n))),
    rule(55, "list and count", |b, n| Box::pin(lifecycle::sessions_are_listed_and_counted(b, n))),
    rule(56, "ambiguous cancel", |b, n| Box::pin(calls::an_ambiguous_id_cancels_nothing(b, n))),
    rule(57, "attach without taking over", |b, n| Box::pin(readers::a_reader_can_keep_its_place(b, n))),
    rule(58, "finish", |b, n| Box::pin(calls::finishing_twice_is_no_error(b, n))),
    rule(59, "rejected create", |b, n| Box::pin(limits::rejected_creates_change_nothing(b, n))),
    rule(60, "racing creates", |b, n| Box::pin(limits::racing_creates_keep_the_limits(b, n))),
    rule(61, "attach where the last one was", |b, n| Box::pin(readers::readers_continue_after_the_last_one(b, n))),
    rule(62, "leave", |b, n| Box::pin(signals::left_nodes_receive_no_signals(b, n))),
    rule(63, "repeated client request", |b, n| Box::pin(client_requests::repeated_appends_open_one_request(b, n))),
    rule(64, "rejected attach", |b, n| Box::pin(readers::rejected_readers_do_not_open_the_stream(b, n))),
    rule(65, "one idle session", |b, n| Box::pin(limits::idle_sessions_are_found_among_busy_ones(b, n))),
    rule(66, "leave with calls and readers", |b, n| Box::pin(signals::left_nodes_hold_nothing(b, n))),
    rule(67, "create and load a task", |b, n| Box::pin(tasks::a_created_task_is_loaded_as_it_was(b, n))),
    rule(68, "id collision of tasks", |b, n| Box::pin(tasks::existing_task_ids_are_rejected(b, n))),
    rule(69, "wrong principal of a task", |b, n| Box::pin(tasks::a_task_of_another_is_not_found(b, n))),
    rule(70, "task compare and swap", |b, n| Box::pin(tasks::no_update_of_a_task_is_lost(b, n))),
    rule(71, "done", |b, n| Box::pin(tasks::tasks_are_done_once(b, n))),
    rule(72, "signals of tasks", |b, n| Box::pin(tasks::stores_signal_every_node(b, n))),
    rule(73, "end of tasks", |b, n| Box::pin(tasks::a_task_ends_when_its_ttl_is_over(b, n))),
    rule(74, "orphans", |b, n| Box::pin(tasks::a_node_that_left_leaves_orphans(b, n))),
    rule(75, "limit of tasks", |b, n| Box::pin(task_limits::done_tasks_are_evicted(b, n))),
    rule(76, "limit of a principal's tasks", |b, n| Box::pin(task_limits::a_principal_has_so_many_tasks(b, n))),
    rule(77, "bytes of tasks", |b, n| Box::pin(task_limits::tasks_keep_so_many_bytes(b, n))),
    rule(78, "rejected tasks", |b, n| Box::pin(task_limits::rejected_tasks_change_nothing(b, n))),
    rule(79, "racing tasks", |b, n| Box::pin(task_limits::racing_tasks_keep_the_limits(b, n))),
    rule(80, "eviction of orphans", |b, n| Box::pin(task_limits::orphans_are_evicted_first(b, n))),
    rule(81, "tell", |b, n| Box::pin(signals::updates_reach_every_other_node(b, n))),
    rule(82, "announced", |b, n| Box::pin(announcements::announcements_are_found_by_number(b, n))),
    rule(83, "deliver", |b, n| Box::pin(announcements::announcements_are_delivered_once(b, n))),
    rule(84, "deliver by revision", |b, n| Box::pin(announcements::a_delivery_knows_what_the_session_wants(b, n))),
    rule(85, "values of a prefix", |b, n| Box::pin(calls::values_of_a_prefix_are_read_together(b, n))),
    rule(90, "unused sessions", |b, n| Box::pin(limits::unused_sessions_are_evicted_first(b, n))),
    rule(91, "bytes of a principal's tasks", |b, n| Box::pin(task_limits::a_principal_has_so_many_bytes(b, n))),
    rule(92, "limit of a peer's sessions", |b, n| Box::pin(limits::a_peer_has_so_many_sessions(b, n))),
    rule(93, "limit of a peer's tasks", |b, n| Box::pin(task_limits::a_peer_has_so_many_tasks(b, n))),
    rule(94, "the largest account", |b, n| Box::pin(limits::the_account_with_most_sessions_loses_one(b, n))),
    rule(100, "order of eviction", |b, n| Box::pin(eviction::delivered_events_are_dropped_first(b, n))),
    rule(101, "an answer just written", |b, n| Box::pin(eviction::operations_never_evict_their_own_answer(b, n))),
    rule(102, "answers beyond the bytes", |b, n| Box::pin(eviction::an_answer_may_go_beyond_the_bytes(b, n))),
    rule(103, "bytes of all sessions", |b, n| Box::pin(eviction::all_sessions_keep_so_many_bytes(b, n))),
    rule(104, "bytes of an account", |b, n| Box::pin(eviction::the_account_that_keeps_most_loses_events(b, n))),
    rule(105, "answers lost in vain", |b, n| Box::pin(eviction::answers_lost_in_vain_are_reported(b, n))),
    rule(106, "freed capacity", |b, n| Box::pin(eviction::freed_capacity_is_used_at_once(b, n))),
    rule(107, "bytes of ended sessions", |b, n| Box::pin(eviction::ended_sessions_no_longer_count(b, n))),
    rule(108, "discard", |b, n| Box::pin(lifecycle::a_discarded_session_is_gone(b, n))),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_one_number_and_one_name() {
        assert!(RULES.windows(2).all(|pair| pair[0].number < pair[1].number));
        let mut names: Vec<_> = RULES.iter().map(Rule::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }
}
