//! Tools whose calls may become tasks. A client of 2026-07-28 that supports tasks polls for their
//! results, and other clients wait.

use std::future::Future;
use std::time::Duration;

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult};
use rmcp::schemars::{self, JsonSchema};
use rmcp::task_manager::{TaskContext, TaskExit};
use rmcp::{ErrorData, tool, tool_router};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use crate::handler::Everything;
use crate::round::{Round, accepted, form};
use crate::rounds::{Answer, Name, name_of, text};

/// How long a short job takes: long enough for clients to see it working.
const JOB: Duration = Duration::from_millis(500);

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Greet {
    /// What people call you.
    name: String,
}

#[derive(Deserialize, JsonSchema)]
struct Confirm {
    /// Whether to go on.
    confirm: bool,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Compute {
    /// How long to compute.
    seconds: f64,
    /// What to call the result.
    #[serde(default)]
    label: String,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct File {
    /// The file not to delete.
    filename: String,
}

#[tool_router(router = jobs, vis = "pub(crate)")]
impl Everything {
    /// Greets, at once.
    #[tool]
    fn greet(&self, Parameters(Greet { name }): Parameters<Greet>) -> String {
        format!("Hello, {name}!")
    }

    /// Computes for some seconds.
    #[tool]
    async fn slow_compute(&self, Parameters(compute): Parameters<Compute>, round: Round) -> Answer {
        let Compute { seconds, label } = compute;
        let time = match Duration::try_from_secs_f64(seconds) {
            Ok(time) => time,
            Err(error) => return Ok(failed(format!("`seconds`: {error}"))),
        };
        let result = format!("{label}: computed for {seconds} s");
        if !round.supports_tasks() {
            sleep(time).await;
            return Ok(text(result));
        }
        Ok(self.task(&round, move |task| async move {
            tokio::select! {
                () = sleep(time) => Ok(done(result)),
                () = task.cancelled() => Err(TaskExit::Cancelled),
            }
        }))
    }

    /// Works for a moment and fails.
    #[tool]
    async fn failing_job(&self, round: Round) -> Answer {
        require_tasks(&round)?;
        Ok(self.task(&round, async |_| {
            sleep(JOB).await;
            Ok(CallToolResult::error(vec![ContentBlock::text("This job always fails.")]))
        }))
    }

    /// Ends with an error of the protocol.
    #[tool]
    async fn protocol_error_job(&self, round: Round) -> Answer {
        let broken = || ErrorData::internal_error("This job always breaks.", None);
        if !round.supports_tasks() {
            sleep(JOB).await;
            return Err(broken());
        }
        Ok(self.task(&round, async move |_| {
            sleep(JOB).await;
            Err(broken().into())
        }))
    }

    /// Asks before it deletes nothing.
    #[tool]
    async fn confirm_delete(&self, Parameters(File { filename }): Parameters<File>, mut round: Round) -> Answer {
        let request = form::<Confirm>(format!("Delete {filename}?"))?;
        if round.supports_tasks() {
            return Ok(self.task(&round, async move |task: TaskContext| {
                let sure = task.request_input("confirm", request).await?;
                Ok(done(deleted(&filename, &sure)))
            }));
        }
        if let Some(again) = round.request([("confirm", request)]).await? {
            return Ok(again.into());
        }
        Ok(text(deleted(&filename, round.answer("confirm"))))
    }

    /// Asks two things at once while it works.
    #[tool]
    async fn multi_input(&self, mut round: Round) -> Answer {
        let (name, sure) = (form::<Name>("What is your name?")?, form::<Confirm>("Shall it go on?")?);
        if round.supports_tasks() {
            return Ok(self.task(&round, async move |task: TaskContext| {
                let both = tokio::join!(task.request_input("user_name", name), task.request_input("confirm", sure));
                Ok(done(named(&both.0?, &both.1?)))
            }));
        }
        if let Some(again) = round.request([("user_name", name), ("confirm", sure)]).await? {
            return Ok(again.into());
        }
        Ok(text(named(round.answer("user_name"), round.answer("confirm"))))
    }

    /// Asks first, then works.
    #[tool]
    async fn test_tool_with_task(&self, mut round: Round) -> Answer {
        require_tasks(&round)?;
        if let Some(again) = round.request([("user_name", form::<Name>("What is your name?")?)]).await? {
            return Ok(again.into());
        }
        let name = name_of(round.answer("user_name"));
        Ok(self.task(&round, async move |_| {
            sleep(JOB).await;
            Ok(done(format!("The work for {name} is done.")))
        }))
    }
}

impl Everything {
    /// Starts a task for the principal of the call, and returns it as the answer.
    fn task<F: Future<Output = Result<CallToolResult, TaskExit>> + Send + 'static>(
        &self,
        round: &Round,
        job: impl FnOnce(TaskContext) -> F,
    ) -> CallToolResponse {
        let task = self.shared.tasks.spawn(self.shared.task_options.clone(), |context| Box::pin(job(context)));
        self.shared.owners.add(&self.shared.tasks, &task.task_id, round.principal());
        CreateTaskResult::new(task).into()
    }
}

fn require_tasks(round: &Round) -> Result<(), ErrorData> {
    if round.supports_tasks() {
        return Ok(());
    }
    Err(ErrorData::missing_required_client_capability(ClientCapabilities::builder().enable_tasks().build()))
}

fn deleted(filename: &str, sure: &Value) -> String {
    if is_sure(sure) { format!("{filename} would be gone.") } else { format!("{filename} stays.") }
}

fn named(name: &Value, sure: &Value) -> String {
    format!("{}, {}", name_of(name), if is_sure(sure) { "confirmed" } else { "not confirmed" })
}

fn is_sure(answer: &Value) -> bool {
    accepted(answer).is_some_and(|Confirm { confirm }| confirm)
}

fn done(text: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn failed(why: String) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(why)]).into()
}
