//! The answers to a client that polls: the state of its task, and the acknowledgement of its
//! updates.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::document::End;
use super::update::Kept;
use crate::core::LogLine;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, TaskId};
use crate::message::{ClientCapabilities, ErrorObject, RawJson, bounded};
use crate::modern::member::Member;

/// Answers `tasks/get`, `tasks/update` and `tasks/cancel`. The client's capability is checked
/// before the existence of the task.
pub(in crate::modern) async fn serve(
    member: Arc<Member>,
    method: Cow<'static, str>,
    params: Option<RawJson>,
    principal: Option<Principal>,
    capabilities: ClientCapabilities,
) -> Result<RawJson, ErrorObject> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        task_id: String,
        #[serde(default)]
        input_responses: Option<RawJson>,
    }
    if !capabilities.takes_tasks() {
        return Err(ErrorObject::tasks_not_declared());
    }
    let params: Option<Params> = params.as_ref().and_then(|params| params.read().ok());
    let Params { task_id, input_responses } =
        params.ok_or_else(|| ErrorObject::invalid_params("Invalid params: `taskId` is not a string"))?;
    let kept = Kept { id: TaskId::parse(&task_id).ok_or_else(not_found)?, principal };
    let document = match &*method {
        "tasks/update" => {
            let responses = read_responses(input_responses)?;
            let mut misfit = None;
            let taken = member.change_task(&kept, |document| {
                misfit = responses.iter().find_map(|(key, answer)| Some((key, document.misfit(key, answer)?)));
                // Every answer is tried, also after one that matches no open request.
                misfit.is_none()
                    && responses.iter().fold(false, |any, (key, answer)| document.answer(key, answer) || any)
            });
            let taken = taken.await;
            // No answer is stored then, and the task waits for all of them.
            if let Some((key, why)) = misfit {
                let key = bounded(key);
                return Err(ErrorObject::invalid_params(format!(
                    "Invalid params: in `inputResponses`, `{key}`: {why}"
                )));
            }
            taken
        }
        "tasks/cancel" => member.change_task(&kept, |document| document.end(End::Cancelled)).await,
        _ => member.change_task(&kept, |_| false).await,
    };
    let document = document.map_err(|error| rejection(&member, &error))?;
    if method == "tasks/get" {
        return document.detailed(kept.id).map_err(|_| ErrorObject::internal());
    }
    Ok(RawJson::empty_object())
}

fn read_responses(responses: Option<RawJson>) -> Result<BTreeMap<String, RawJson>, ErrorObject> {
    let invalid = || ErrorObject::invalid_params("Invalid params: `inputResponses` is not an object");
    let responses = responses.filter(|responses| responses.as_str().starts_with('{')).ok_or_else(invalid)?;
    responses.read().map_err(|_| invalid())
}

fn rejection(member: &Member, error: &StoreError) -> ErrorObject {
    if error.kind() == StoreErrorKind::NotFound {
        return not_found();
    }
    if let Some(left_out) = member.core.log_line(LogLine::Task) {
        tracing::error!(error = error as &dyn std::error::Error, left_out, "the engine failed to store a task");
    }
    ErrorObject::internal()
}

fn not_found() -> ErrorObject {
    ErrorObject::invalid_params("Task not found")
}
