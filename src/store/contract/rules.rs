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
    rule(2, "id collision", |b, n| Box::pin(lifecycle::an_id_that_exists_is_refused(b, n))),
    rule(3, "unknown session", |b, n| Box::pin(lifecycle::an_unknown_session_is_not_found(b, n))),
    rule(4, "wrong principal", |b, n| Box::pin(lifecycle::a_wrong_principal_is_not_found(b, n))),
    rule(5, "use extends life", |b, n| Box::pin(lifecycle::use_extends_life(b, n))),
    rule(6, "idle expiry", |b, n| Box::pin(lifecycle::an_idle_session_expires_once(b, n))),
    rule(7, "a call prevents expiry", |b, n| Box::pin(lifecycle::a_call_prevents_expiry(b, n))),
    rule(8, "a reader prevents expiry", |b, n| Box::pin(lifecycle::a_reader_prevents_expiry(b, n))),
    rule(9, "end", |b, n| Box::pin(lifecycle::an_ended_session_is_not_found(b, n))),
    rule(10, "state compare and swap", |b, n| Box::pin(calls::no_update_of_the_state_is_lost(b, n))),
    rule(11, "duplicate ids", |b, n| Box::pin(calls::a_duplicate_id_is_refused_where_asked(b, n))),
    rule(12, "numbers from 1", |b, n| Box::pin(log::events_are_numbered_from_one(b, n))),
    rule(13, "repeated append", |b, n| Box::pin(log::a_repeated_append_is_one_event(b, n))),
    rule(14, "append at a wrong place", |b, n| Box::pin(log::a_wrong_place_is_a_conflict(b, n))),
    rule(15, "append by a stranger", |b, n| Box::pin(log::only_the_owner_appends(b, n))),
    rule(16, "append after close", |b, n| Box::pin(log::a_closed_stream_takes_nothing(b, n))),
    rule(17, "read after a place", |b, n| Box::pin(log::reading_gives_the_exact_rest(b, n))),
    rule(18, "read at the tail", |b, n| Box::pin(log::at_the_tail_there_is_nothing(b, n))),
    rule(19, "streams apart", |b, n| Box::pin(log::streams_do_not_mix(b, n))),
    rule(20, "sessions apart", |b, n| Box::pin(log::sessions_do_not_mix(b, n))),
    rule(21, "paging", |b, n| Box::pin(log::paging_loses_nothing(b, n))),
    rule(22, "attach racing append", |b, n| Box::pin(readers::attach_races_append(b, n))),
    rule(23, "second attach", |b, n| Box::pin(readers::a_second_reader_fences_the_first(b, n))),
    rule(24, "stale detach", |b, n| Box::pin(readers::a_stale_detach_changes_nothing(b, n))),
    rule(25, "attach at one cursor", |b, n| Box::pin(readers::of_two_at_one_cursor_one_reads(b, n))),
    rule(26, "holes", |b, n| Box::pin(log::what_was_dropped_is_a_jump_in_the_numbers(b, n))),
    rule(27, "overflow", |b, n| Box::pin(log::questions_and_responses_survive_overflow(b, n))),
    rule(28, "answer before take", |b, n| Box::pin(client_requests::an_answer_waits_for_whoever_asked(b, n))),
    rule(29, "answer twice", |b, n| Box::pin(client_requests::the_first_answer_wins(b, n))),
    rule(30, "answer of another session", |b, n| Box::pin(client_requests::another_session_cannot_answer(b, n))),
    rule(31, "answer to nothing", |b, n| Box::pin(client_requests::a_question_nobody_asks_is_not_found(b, n))),
    rule(32, "cancel", |b, n| Box::pin(calls::a_call_in_flight_can_be_cancelled(b, n))),
    rule(33, "cancel without a bell", |b, n| Box::pin(calls::a_cancellation_nobody_heard_is_found(b, n))),
    rule(34, "a silent node", |b, n| Box::pin(leases::a_silent_node_is_given_up_once(b, n))),
    rule(35, "a silent node comes back", |b, n| Box::pin(leases::a_node_that_comes_back_starts_anew(b, n))),
    rule(36, "generations", |b, n| Box::pin(readers::generations_only_grow(b, n))),
    rule(37, "no bell at all", |b, n| Box::pin(signals::everything_arrives_without_bells(b, n))),
    rule(38, "bells repeated and shuffled", |b, n| Box::pin(signals::bells_may_repeat_and_change_places(b, n))),
    rule(39, "large and odd events", |b, n| Box::pin(log::events_come_out_byte_for_byte(b, n))),
    rule(41, "cursor beyond the end", |b, n| Box::pin(readers::a_cursor_never_given_out_is_refused(b, n))),
    rule(42, "limit of sessions", |b, n| Box::pin(limits::the_longest_idle_session_makes_room(b, n))),
    rule(43, "limit of a principal's sessions", |b, n| Box::pin(limits::a_principal_has_so_many_sessions(b, n))),
    rule(44, "limit of a session's calls", |b, n| Box::pin(limits::a_session_has_so_many_calls(b, n))),
    rule(45, "limit of a principal's calls", |b, n| Box::pin(limits::a_principal_has_so_many_calls(b, n))),
    rule(46, "limit of readers", |b, n| Box::pin(limits::a_session_has_so_many_readers(b, n))),
    rule(47, "finished streams by time", |b, n| Box::pin(retention::a_finished_stream_is_kept_for_a_while(b, n))),
    rule(48, "finished streams by number", |b, n| Box::pin(retention::so_many_finished_streams_are_kept(b, n))),
    rule(49, "bytes of a session", |b, n| Box::pin(retention::a_session_keeps_so_many_bytes(b, n))),
    rule(50, "publish to nobody", |b, n| Box::pin(signals::nothing_is_kept_before_the_first_listener(b, n))),
    rule(51, "publish the same again", |b, n| Box::pin(signals::equal_announcements_nobody_read_are_one(b, n))),
    rule(52, "hang up", |b, n| Box::pin(readers::hanging_up_rings_the_reader(b, n))),
    rule(53, "announce", |b, n| Box::pin(signals::an_announcement_reaches_every_node(b, n))),
    rule(54, "lifetime", |b, n| Box::pin(lifecycle::a_session_ends_at_its_greatest_age(b, n))),
    rule(55, "list and count", |b, n| Box::pin(lifecycle::sessions_are_listed_and_counted(b, n))),
    rule(56, "ambiguous cancel", |b, n| Box::pin(calls::an_ambiguous_id_cancels_nothing(b, n))),
    rule(57, "attach without taking over", |b, n| Box::pin(readers::a_reader_can_keep_its_place(b, n))),
    rule(58, "finish", |b, n| Box::pin(calls::finishing_twice_is_no_error(b, n))),
    rule(59, "refused create", |b, n| Box::pin(limits::a_refused_create_costs_nothing(b, n))),
    rule(60, "racing creates", |b, n| Box::pin(limits::racing_creates_keep_the_limits(b, n))),
    rule(61, "attach where the last one was", |b, n| Box::pin(readers::a_reader_goes_on_where_the_last_one_was(b, n))),
    rule(62, "leave", |b, n| Box::pin(signals::a_node_that_left_is_not_rung(b, n))),
    rule(63, "repeated question", |b, n| Box::pin(client_requests::a_repeated_append_asks_once(b, n))),
    rule(64, "refused attach", |b, n| Box::pin(readers::a_refused_attach_is_no_listener(b, n))),
    rule(65, "one at rest", |b, n| Box::pin(limits::a_session_at_rest_is_found_among_busy_ones(b, n))),
    rule(66, "what a node leaves behind", |b, n| Box::pin(signals::a_node_that_left_holds_nothing(b, n))),
    rule(67, "create and load a task", |b, n| Box::pin(tasks::a_created_task_is_loaded_as_it_was(b, n))),
    rule(68, "id collision of tasks", |b, n| Box::pin(tasks::an_id_of_a_task_that_exists_is_refused(b, n))),
    rule(69, "wrong principal of a task", |b, n| Box::pin(tasks::a_task_of_another_is_not_found(b, n))),
    rule(70, "task compare and swap", |b, n| Box::pin(tasks::no_update_of_a_task_is_lost(b, n))),
    rule(71, "done", |b, n| Box::pin(tasks::a_task_is_done_once_and_for_ever(b, n))),
    rule(72, "bells of tasks", |b, n| Box::pin(tasks::a_store_rings_every_node(b, n))),
    rule(73, "end of tasks", |b, n| Box::pin(tasks::a_task_ends_when_its_ttl_is_over(b, n))),
    rule(74, "orphans", |b, n| Box::pin(tasks::a_node_that_left_leaves_orphans(b, n))),
    rule(75, "limit of tasks", |b, n| Box::pin(task_limits::done_tasks_make_room(b, n))),
    rule(76, "limit of a principal's tasks", |b, n| Box::pin(task_limits::a_principal_has_so_many_tasks(b, n))),
    rule(77, "bytes of tasks", |b, n| Box::pin(task_limits::tasks_keep_so_many_bytes(b, n))),
    rule(78, "refused tasks", |b, n| Box::pin(task_limits::a_refused_task_costs_nothing(b, n))),
    rule(79, "racing tasks", |b, n| Box::pin(task_limits::racing_tasks_keep_the_limits(b, n))),
    rule(80, "room of orphans", |b, n| Box::pin(task_limits::orphans_make_room(b, n))),
    rule(81, "tell", |b, n| Box::pin(signals::what_a_node_tells_reaches_every_other_node(b, n))),
    rule(82, "announced", |b, n| Box::pin(announcements::what_was_announced_is_found_by_its_number(b, n))),
    rule(83, "deliver", |b, n| Box::pin(announcements::a_session_is_told_of_an_announcement_once(b, n))),
    rule(84, "deliver by revision", |b, n| Box::pin(announcements::a_delivery_knows_what_the_session_wants(b, n))),
    rule(85, "values of a prefix", |b, n| Box::pin(calls::values_of_a_prefix_are_read_together(b, n))),
    rule(90, "unused sessions", |b, n| Box::pin(limits::unused_sessions_make_room_first(b, n))),
    rule(91, "bytes of a principal's tasks", |b, n| Box::pin(task_limits::a_principal_has_so_many_bytes(b, n))),
    rule(92, "limit of a peer's sessions", |b, n| Box::pin(limits::a_peer_has_so_many_sessions(b, n))),
    rule(93, "limit of a peer's tasks", |b, n| Box::pin(task_limits::a_peer_has_so_many_tasks(b, n))),
    rule(94, "the largest account", |b, n| Box::pin(limits::the_account_with_most_sessions_makes_room(b, n))),
    rule(100, "what goes first", |b, n| Box::pin(eviction::what_was_given_goes_first(b, n))),
    rule(101, "an answer just written", |b, n| Box::pin(eviction::an_answer_outlives_the_step_that_wrote_it(b, n))),
    rule(102, "answers beyond the bytes", |b, n| Box::pin(eviction::an_answer_may_go_beyond_the_bytes(b, n))),
    rule(103, "bytes of all sessions", |b, n| Box::pin(eviction::all_sessions_keep_so_many_bytes(b, n))),
    rule(104, "bytes of an account", |b, n| Box::pin(eviction::the_account_that_keeps_most_makes_room(b, n))),
    rule(105, "answers lost in vain", |b, n| Box::pin(eviction::answers_that_are_lost_in_vain_are_told(b, n))),
    rule(106, "room that comes", |b, n| Box::pin(eviction::room_that_comes_is_found_at_once(b, n))),
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
