//! The exchange of a running task with its client: requests, answers and status messages.
//!
//! Updates of the handler wait until the previous ones are stored, and are then stored in one
//! change. A handler that sends many requests at once therefore competes with its client, but never
//! with itself.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::document::Document;
use super::keep::Patience;
use super::run::TaskRun;
use crate::error::StoreErrorKind;
use crate::hall::LogLine;
use crate::message::RawJson;
use crate::panics::OnAbort;
use crate::server::ClientError;

/// Waiting handlers, and updates to store. Plain data behind the lock of a run.
#[derive(Debug, Default)]
pub(super) struct Talk {
    waiting: Vec<(String, oneshot::Sender<RawJson>)>,
    news: News,
    /// A background job stores the updates.
    storing: bool,
    /// A re-check of the task is scheduled.
    looking: bool,
    /// The task ends and accepts no more requests.
    closed: bool,
}

/// Updates that are not stored yet.
#[derive(Debug, Default)]
struct News {
    /// The status message. Only the newest counts.
    said: Option<String>,
    asked: Vec<Asked>,
    withdrawn: Vec<String>,
}

#[derive(Debug)]
struct Asked {
    key: String,
    method: &'static str,
    params: RawJson,
}

impl Talk {
    /// Closes the exchange, and fails the waiting requests. Returns `false` if it was closed
    /// before.
    pub(super) fn close(&mut self) -> bool {
        self.waiting.clear();
        self.news = News::default();
        !std::mem::replace(&mut self.closed, true)
    }

    fn ask(&mut self, asked: Asked) -> oneshot::Receiver<RawJson> {
        let (sender, answer) = oneshot::channel();
        // Once closed, the sender is dropped, which fails the request.
        if !self.closed {
            self.waiting.push((asked.key.clone(), sender));
            self.news.asked.push(asked);
        }
        answer
    }

    fn waits_for(&self, key: &str) -> bool {
        self.waiting.iter().any(|(waiting, _)| waiting == key)
    }

    /// Removes and returns the senders whose answer has arrived.
    fn answered(&mut self, document: &Document) -> Vec<(oneshot::Sender<RawJson>, RawJson)> {
        let answered = self.waiting.extract_if(.., |(key, _)| document.answer_to(key).is_some());
        answered.filter_map(|(key, waiting)| Some((waiting, document.answer_to(&key)?.clone()))).collect()
    }

    /// Removes a waiting request. Returns `true` if its withdrawal must be stored.
    fn withdraw(&mut self, key: &str) -> bool {
        if !self.waits_for(key) {
            return false;
        }
        self.waiting.retain(|(waiting, _)| waiting != key);
        let unsaid = self.news.asked.iter().position(|asked| asked.key == key);
        match unsaid {
            Some(at) => drop(self.news.asked.remove(at)),
            None => self.news.withdrawn.push(key.to_owned()),
        }
        unsaid.is_none()
    }

    /// Takes back updates that could not be stored, to be stored with the newer ones. Requests that
    /// were withdrawn are left out.
    fn unsaid(&mut self, news: News) {
        let News { said, mut asked, withdrawn } = news;
        asked.retain(|asked| self.waits_for(&asked.key));
        asked.append(&mut self.news.asked);
        self.news.asked = asked;
        self.news.said = self.news.said.take().or(said);
        self.news.withdrawn.extend(withdrawn);
    }

    /// Fails the requests among updates that could not be stored. They may have been stored despite
    /// the error, so they are also withdrawn.
    fn unheard(&mut self, news: News) {
        for Asked { key, .. } in news.asked {
            self.waiting.retain(|(waiting, _)| *waiting != key);
            self.news.withdrawn.push(key);
        }
    }

    /// Returns `true` if the caller must schedule a re-check of the task.
    pub(super) fn look_again(&mut self) -> bool {
        !self.closed && !std::mem::replace(&mut self.looking, true)
    }

    /// Marks the scheduled re-check as started.
    pub(super) fn looks(&mut self) {
        self.looking = false;
    }

    /// Returns the updates to store next. Without any, the background job ends.
    fn next(&mut self) -> Option<News> {
        let news = std::mem::take(&mut self.news);
        self.storing = !news.is_empty();
        self.storing.then_some(news)
    }
}

impl News {
    fn is_empty(&self) -> bool {
        self.said.is_none() && self.asked.is_empty() && self.withdrawn.is_empty()
    }

    fn write(&self, document: &mut Document) {
        if let Some(said) = &self.said {
            document.say(said.clone());
        }
        for Asked { key, method, params } in &self.asked {
            document.ask(key, method, params);
        }
        for key in &self.withdrawn {
            document.withdraw(key);
        }
    }
}

impl TaskRun {
    /// Sends a request to the client, and waits for the answer.
    pub(in crate::modern) async fn ask(
        self: &Arc<Self>,
        key: String,
        method: &'static str,
        params: RawJson,
    ) -> Result<RawJson, ClientError> {
        let answer = self.talk().ask(Asked { key: key.clone(), method, params });
        let _withdrawal = Withdrawal { run: self, key };
        self.tell();
        answer.await.map_err(|_| ClientError::Ended)
    }

    /// Sets the status message of the task.
    pub(in crate::modern) fn say(self: &Arc<Self>, message: &str) {
        self.talk().news.said = Some(message.to_owned());
        self.tell();
    }

    /// Delivers the answers to the requests that wait for them.
    pub(super) fn hand_out(&self, document: &Document) {
        let answered = self.talk().answered(document);
        for (waiting, answer) in answered {
            let _ = waiting.send(answer);
        }
    }

    /// Stores the updates in the background, unless that runs already.
    fn tell(self: &Arc<Self>) {
        if std::mem::replace(&mut self.talk().storing, true) {
            return;
        }
        let (run, there) = (Arc::clone(self), Arc::clone(self));
        let aborted = OnAbort::new(move || there.talk().storing = false);
        self.node.hall.in_background(Box::pin(async move {
            let mut patience = Patience::default();
            loop {
                let next = run.talk().next();
                let Some(news) = next else { return aborted.disarm() };
                let told = run.node.change_task(&run.kept, |document| {
                    document.forget_answers(|key| run.talk().waits_for(key));
                    news.write(document);
                    !document.has_ended()
                });
                let error = match told.await {
                    Ok(document) => {
                        run.hear(&document);
                        patience = Patience::default();
                        continue;
                    }
                    Err(error) => error,
                };
                if let Some(left_out) = run.node.hall.log_line(LogLine::Task) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, task = ?run.kept.id, left_out, "a task is not heard");
                }
                let is_away = matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Conflict);
                if is_away && run.node.wait(&mut patience).await {
                    run.talk().unsaid(news);
                } else {
                    run.talk().unheard(news);
                }
            }
        }));
    }
}

/// Withdraws a request when its handler stops waiting.
struct Withdrawal<'a> {
    run: &'a Arc<TaskRun>,
    key: String,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        let told = self.run.talk().withdraw(&self.key);
        if told {
            self.run.tell();
        }
    }
}
