//! The scripts: one for each operation, preceded by the parts that it shares with others.

use std::sync::LazyLock;

use redis::Script;

/// Concatenates the shared parts and the script itself.
macro_rules! script {
    ($($file:literal),+) => {
        LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $file, ".lua")), "\n"),+)))
    };
}

type Lazy = LazyLock<Script>;

pub(super) static CREATE: Lazy = script!("common", "create");
pub(super) static LOAD: Lazy = script!("common", "load");
pub(super) static BEGIN: Lazy = script!("common", "begin");
pub(super) static FINISH: Lazy = script!("common", "log", "finish");
pub(super) static APPEND: Lazy = script!("common", "log", "eviction", "append");
pub(super) static PUBLISH: Lazy = script!("common", "log", "eviction", "repeated", "publish");
pub(super) static DELIVER: Lazy = script!("common", "log", "eviction", "repeated", "deliver");
pub(super) static ATTACH: Lazy = script!("common", "log", "attach");
pub(super) static READ: Lazy = script!("common", "log", "read");
pub(super) static DETACH: Lazy = script!("common", "log", "detach");
pub(super) static REQUEST_DETACH: Lazy = script!("common", "log", "request_detach");
pub(super) static ANSWER_REQUEST: Lazy = script!("common", "answer_request");
pub(super) static TAKE_ANSWER: Lazy = script!("common", "log", "take_answer");
pub(super) static CANCEL: Lazy = script!("common", "cancel");
pub(super) static CANCELLED: Lazy = script!("common", "cancelled");
pub(super) static ANNOUNCE: Lazy = script!("common", "announce");
pub(super) static BROADCAST: Lazy = script!("common", "broadcast");
pub(super) static ANNOUNCED: Lazy = script!("common", "announced");
pub(super) static STATE: Lazy = script!("common", "state");
pub(super) static STATES: Lazy = script!("common", "states");
pub(super) static END: Lazy = script!("common", "end_session");
pub(super) static EXPIRE: Lazy = script!("common", "outages", "log", "tasks", "expire");
pub(super) static LIST: Lazy = script!("common", "list");
pub(super) static CREATE_TASK: Lazy = script!("common", "tasks", "create_task");
pub(super) static LOAD_TASK: Lazy = script!("common", "tasks", "load_task");
pub(super) static STORE_TASK: Lazy = script!("common", "tasks", "store_task");
pub(super) static LEFT: Lazy = script!("common", "log", "tasks", "cleanup", "left");
pub(super) static BEAT: Lazy = script!("common", "outages", "log", "tasks", "cleanup", "heartbeat");
