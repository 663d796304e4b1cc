//! Decides what a task and its client say to each other while it runs: questions, answers, how far
//! it has come.
//!
//! What the handler has to say waits until what was said before is stored, and is then stored in one
//! change: however much it asks at once, it competes with its client and never with itself.

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

/// Who waits for what, and what is still to be said. Plain data behind the lock of a run.
#[derive(Debug, Default)]
pub(super) struct Talk {
    waiting: Vec<(String, oneshot::Sender<RawJson>)>,
    news: News,
    /// Somebody stores what there is to say.
    storing: bool,
    /// Somebody will look at the task.
    looking: bool,
    /// The task ends: nobody is asked any more.
    closed: bool,
}

/// What nobody has stored yet.
#[derive(Debug, Default)]
struct News {
    /// How far it has come. Only the newest counts.
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
    /// Ends it: those who wait are told so. Whether this was the end.
    pub(super) fn close(&mut self) -> bool {
        self.waiting.clear();
        self.news = News::default();
        !std::mem::replace(&mut self.closed, true)
    }

    fn ask(&mut self, asked: Asked) -> oneshot::Receiver<RawJson> {
        let (sender, answer) = oneshot::channel();
        // Not kept where it is closed, which is what whoever waits is told.
        if !self.closed {
            self.waiting.push((asked.key.clone(), sender));
            self.news.asked.push(asked);
        }
        answer
    }

    fn waits_for(&self, key: &str) -> bool {
        self.waiting.iter().any(|(waiting, _)| waiting == key)
    }

    /// Those whose answer is there.
    fn answered(&mut self, document: &Document) -> Vec<(oneshot::Sender<RawJson>, RawJson)> {
        let answered = self.waiting.extract_if(.., |(key, _)| document.answer_to(key).is_some());
        answered.filter_map(|(key, waiting)| Some((waiting, document.answer_to(&key)?.clone()))).collect()
    }

    /// Nobody waits any more; whether the client has to be told so.
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

    /// What could not be said now is to be said with what has come since, where it still counts.
    fn unsaid(&mut self, news: News) {
        let News { said, mut asked, withdrawn } = news;
        asked.retain(|asked| self.waits_for(&asked.key));
        asked.append(&mut self.news.asked);
        self.news.asked = asked;
        self.news.said = self.news.said.take().or(said);
        self.news.withdrawn.extend(withdrawn);
    }

    /// What was to be said could not be; whoever asked is told so. The client may have heard it.
    fn unheard(&mut self, news: News) {
        for Asked { key, .. } in news.asked {
            self.waiting.retain(|(waiting, _)| *waiting != key);
            self.news.withdrawn.push(key);
        }
    }

    /// Whether whoever asks is the one to look at the task again.
    pub(super) fn look_again(&mut self) -> bool {
        !self.closed && !std::mem::replace(&mut self.looking, true)
    }

    /// Whoever was to look does.
    pub(super) fn looks(&mut self) {
        self.looking = false;
    }

    /// What to store next; when there is nothing, nobody stores any more.
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
    /// Asks the client, and waits until it has answered.
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

    /// Tells the client how far the task has come.
    pub(in crate::modern) fn say(self: &Arc<Self>, message: &str) {
        self.talk().news.said = Some(message.to_owned());
        self.tell();
    }

    /// Gives the answers to those who wait for them.
    pub(super) fn hand_out(&self, document: &Document) {
        let answered = self.talk().answered(document);
        for (waiting, answer) in answered {
            let _ = waiting.send(answer);
        }
    }

    /// Stores what there is to say, unless somebody does.
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

/// A handler that does not wait for its answer any more takes the question back.
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
