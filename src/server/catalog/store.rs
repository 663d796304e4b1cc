//! Store: holds, looks up and replaces the tools, resources and prompts while calls run.
//!
//! Lock order: `followers`, then `tables`, then the locks of a follower. A follower is made from a
//! store and never the other way round, so the order has no cycle. No lock is held across an await,
//! and the lock of `tables` is not held while a change is announced.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use super::entries::{Entries, Item};
use crate::error::ConfigError;
use crate::handle::McpHandle;
use crate::identity::Scopes;
use crate::message::canonical;
use crate::server::extension::{Method, Notice};
use crate::server::resource::{Pattern, decoded};
use crate::server::skill::{SkillEdit, SkillFile, Skills};
use crate::server::{Prompt, Resource, ResourceTemplate, Tool};

/// The tools, resources and prompts of a server, shared by its clones, its mounts and its
/// [`Catalog`](super::Catalog)s.
pub(crate) struct Store<S> {
    tables: RwLock<Arc<Tables<S>>>,
    /// The mounts to which changes are announced.
    mounts: Mutex<Vec<McpHandle>>,
    /// Servers that were made from this one by `with_state`.
    followers: Mutex<Vec<Box<dyn Follow<S>>>>,
    /// Set once a catalog exists. Then empty lists are declared too, because they may change later.
    open: AtomicBool,
}

/// The state of all lists at one moment.
pub(crate) struct Tables<S> {
    pub(crate) tools: Entries<Tool<S>>,
    pub(crate) resources: Entries<Resource<S>>,
    pub(crate) templates: Entries<ResourceTemplate<S>>,
    pub(crate) prompts: Entries<Prompt<S>>,
    /// Methods and notifications of the server's own.
    pub(crate) methods: Entries<Method<S>>,
    pub(crate) notices: Entries<Notice<S>>,
    pub(crate) skills: Skills,
    /// At least one item requires scopes.
    pub(crate) has_scopes: bool,
    /// From the URI of a template to its key.
    routes: matchit::Router<Arc<str>>,
}

/// A change of one of the lists.
pub(crate) enum Edit<S> {
    Tool(Op<Tool<S>>),
    Resource(Op<Resource<S>>),
    Template(Op<ResourceTemplate<S>>),
    Prompt(Op<Prompt<S>>),
    Method(Op<Method<S>>),
    Notice(Op<Notice<S>>),
    Skills(SkillEdit<S>),
    /// The URI of the `SKILL.md` of a skill that goes.
    RemoveSkill(String),
}

/// A change of one item.
pub(crate) enum Op<T> {
    /// The key must be new.
    Add(T),
    /// May replace an item.
    Put(T),
    Remove(String),
}

/// A resource that matches a URI.
pub(crate) enum Found<S> {
    Fixed(Arc<Resource<S>>),
    /// A template, with the values of its variables.
    Matched(Arc<ResourceTemplate<S>>, Vec<(String, String)>),
    /// A file of a skill, other than its `SKILL.md`.
    File(SkillFile),
}

impl<S> Found<S> {
    /// Returns the scopes that a request needs.
    pub(crate) fn scopes(&self) -> &Scopes {
        match self {
            Self::Fixed(resource) => &resource.scopes,
            Self::Matched(template, _) => &template.scopes,
            Self::File(file) => &file.scopes,
        }
    }
}

impl<S> Store<S> {
    pub(crate) fn new() -> Self {
        Self {
            tables: RwLock::new(Arc::new(Tables::empty())),
            mounts: Mutex::new(Vec::new()),
            followers: Mutex::new(Vec::new()),
            open: AtomicBool::new(false),
        }
    }

    /// Returns a snapshot: later changes do not show in it.
    pub(crate) fn tables(&self) -> Arc<Tables<S>> {
        Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn tool(&self, name: &str) -> Option<Arc<Tool<S>>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).tools.get(name).cloned()
    }

    /// Makes a change here and in every follower, and announces it. Returns `false` if there was
    /// nothing to remove.
    pub(crate) fn edit(&self, edit: Edit<S>) -> Result<bool, ConfigError> {
        let announce = edit.announcement();
        let mut followers = lock(&self.followers);
        let forward: Vec<_> = followers.iter().map(|follower| follower.bind(&edit)).collect();
        let (changed, updated) = {
            let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            let before = tables.skills.clone();
            let changed = Arc::make_mut(&mut *tables).apply(edit)?;
            (changed, before.updated(&tables.skills))
        };
        let mut alive = forward.into_iter().map(|forward| forward());
        followers.retain(|_| alive.next().unwrap_or(false));
        drop(alive);
        drop(followers);
        if changed {
            // Cloned, so that an announcement never runs under the lock.
            let mounts = lock(&self.mounts).clone();
            mounts.iter().for_each(announce);
            let files = mounts.iter().flat_map(|mount| updated.iter().map(move |uri| (mount, uri)));
            files.for_each(|(mount, uri)| mount.resource_updated(uri));
        }
        Ok(changed)
    }

    pub(crate) fn mounted(&self, handle: &McpHandle) {
        lock(&self.mounts).push(handle.clone());
    }

    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

impl<S: Clone + Send + Sync + 'static> Store<S> {
    /// Returns a store with the same items and their state bound. Later changes here apply there
    /// too.
    pub(crate) fn with_state<S2: Send + Sync + 'static>(&self, state: S) -> Arc<Store<S2>> {
        let mut followers = lock(&self.followers);
        let store = Arc::new(Store {
            tables: RwLock::new(Arc::new(self.tables().with_state(&state))),
            mounts: Mutex::new(Vec::new()),
            followers: Mutex::new(Vec::new()),
            open: AtomicBool::new(self.is_open()),
        });
        followers.push(Box::new(Follower { state, store: Arc::downgrade(&store) }));
        store
    }
}

impl<S> Tables<S> {
    fn empty() -> Self {
        Self {
            tools: Entries::default(),
            resources: Entries::default(),
            templates: Entries::default(),
            prompts: Entries::default(),
            methods: Entries::default(),
            notices: Entries::default(),
            skills: Skills::default(),
            has_scopes: false,
            routes: matchit::Router::new(),
        }
    }

    /// Finds the resource for a URI: one registered for exactly this URI, else a matching template.
    pub(crate) fn find(&self, uri: &str) -> Option<Found<S>> {
        let uri = canonical(uri);
        if let Some(resource) = self.resources.get(&uri) {
            return Some(Found::Fixed(Arc::clone(resource)));
        }
        if let Some(file) = self.skills.file(&uri) {
            return Some(Found::File(file.clone()));
        }
        let matched = self.routes.at(&uri).ok()?;
        let template = self.templates.get(matched.value)?;
        let variables = matched.params.iter().map(|(name, value)| Some((name.to_owned(), decoded(value)?)));
        Some(Found::Matched(Arc::clone(template), variables.collect::<Option<_>>()?))
    }

    /// Returns a template, by any of its spellings.
    pub(crate) fn template(&self, written: &str) -> Option<&Arc<ResourceTemplate<S>>> {
        self.templates.get(written).or_else(|| {
            let route = Pattern::parse(written).ok()?.route;
            let same = self.templates.items().find(|template| template.route().is_ok_and(|known| known == route));
            self.templates.get(same?.key())
        })
    }

    /// Returns `true` if any tool may become a task.
    pub(crate) fn has_tasks(&self) -> bool {
        self.tools.items().any(|tool| tool.task.is_some())
    }

    /// Returns `true` if any argument has a completion handler.
    pub(crate) fn completes(&self) -> bool {
        self.prompts.items().any(|prompt| !prompt.completers.is_empty())
            || self.templates.items().any(|template| !template.completers.is_empty())
    }

    fn apply(&mut self, edit: Edit<S>) -> Result<bool, ConfigError> {
        let changed = self.apply_one(edit);
        self.has_scopes =
            scoped(&self.tools) || scoped(&self.resources) || scoped(&self.templates) || scoped(&self.prompts);
        changed
    }

    fn apply_one(&mut self, edit: Edit<S>) -> Result<bool, ConfigError> {
        match edit {
            Edit::Tool(op) => apply_to(&mut self.tools, "tool", op),
            Edit::Resource(Op::Remove(uri)) => Ok(self.resources.remove(&canonical(&uri)).is_some()),
            Edit::Resource(op) => apply_to(&mut self.resources, "resource", op),
            Edit::Prompt(op) => apply_to(&mut self.prompts, "prompt", op),
            Edit::Template(op) => self.apply_template(op),
            Edit::Method(op) => apply_to(&mut self.methods, "method", op),
            Edit::Notice(op) => apply_to(&mut self.notices, "notification", op),
            Edit::Skills(edit) => self.apply_skills(edit),
            Edit::RemoveSkill(uri) => Ok(self.remove_skill(&uri)),
        }
    }

    fn apply_template(&mut self, op: Op<ResourceTemplate<S>>) -> Result<bool, ConfigError> {
        match &op {
            Op::Add(template) | Op::Put(template) => {
                template.check()?;
                if self.templates.get(template.key()).is_none() {
                    let route = template.route()?.to_owned();
                    self.routes.insert(route, Arc::from(template.key())).map_err(|error| {
                        ConfigError::new("resource_template", format!("{:?}: {error}", template.key()))
                    })?;
                }
            }
            Op::Remove(written) => {
                let key = self.template(written).map(|template| template.key().to_owned());
                let Some(template) = key.and_then(|key| self.templates.remove(&key)) else { return Ok(false) };
                if let Ok(route) = template.route() {
                    self.routes.remove(route);
                }
                return Ok(true);
            }
        }
        apply_to(&mut self.templates, "resource_template", op)
    }
}

impl<S: Clone + Send + Sync + 'static> Tables<S> {
    fn with_state<S2: 'static>(&self, state: &S) -> Tables<S2> {
        let mut bound = Tables::empty();
        let tools = self.tools.ordered().into_iter().map(|item| Edit::Tool(Op::Put(item.with_state(state))));
        let resources =
            self.resources.ordered().into_iter().map(|item| Edit::Resource(Op::Put(item.with_state(state))));
        let templates =
            self.templates.ordered().into_iter().map(|item| Edit::Template(Op::Put(item.with_state(state))));
        let prompts = self.prompts.ordered().into_iter().map(|item| Edit::Prompt(Op::Put(item.with_state(state))));
        let methods = self.methods.ordered().into_iter().map(|item| Edit::Method(Op::Put(item.with_state(state))));
        let notices = self.notices.ordered().into_iter().map(|item| Edit::Notice(Op::Put(item.with_state(state))));
        for edit in tools.chain(resources).chain(templates).chain(prompts).chain(methods).chain(notices) {
            // Each was accepted before and differs only in its state.
            let accepted = bound.apply(edit);
            debug_assert!(accepted.is_ok(), "{accepted:?}");
        }
        // The resources of their files are among those above.
        bound.skills = self.skills.clone();
        bound
    }
}

fn scoped<T: Item>(entries: &Entries<T>) -> bool {
    entries.items().any(|item| !item.scopes().is_empty())
}

fn apply_to<T: Item>(entries: &mut Entries<T>, setting: &'static str, op: Op<T>) -> Result<bool, ConfigError> {
    match op {
        Op::Add(item) if entries.get(item.key()).is_some() => {
            Err(ConfigError::new(setting, format!("{:?} is registered twice", item.key())))
        }
        Op::Add(item) | Op::Put(item) => entries.put(item).map(|()| true),
        Op::Remove(key) => Ok(entries.remove(&key).is_some()),
    }
}

impl<S> Edit<S> {
    /// Returns the announcement of the change to a mount.
    fn announcement(&self) -> fn(&McpHandle) {
        match self {
            Self::Tool(_) => McpHandle::tools_changed,
            Self::Prompt(_) => McpHandle::prompts_changed,
            Self::Resource(_) | Self::Template(_) | Self::Skills(_) | Self::RemoveSkill(_) => {
                McpHandle::resources_changed
            }
            // Methods are not listed.
            Self::Method(_) | Self::Notice(_) => |_| (),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Edit<S> {
    fn with_state<S2: 'static>(&self, state: &S) -> Edit<S2> {
        match self {
            Self::Tool(op) => Edit::Tool(op.map(|item| item.with_state(state))),
            Self::Resource(op) => Edit::Resource(op.map(|item| item.with_state(state))),
            Self::Template(op) => Edit::Template(op.map(|item| item.with_state(state))),
            Self::Prompt(op) => Edit::Prompt(op.map(|item| item.with_state(state))),
            Self::Method(op) => Edit::Method(op.map(|item| item.with_state(state))),
            Self::Notice(op) => Edit::Notice(op.map(|item| item.with_state(state))),
            Self::Skills(edit) => Edit::Skills(edit.with_state(state)),
            Self::RemoveSkill(uri) => Edit::RemoveSkill(uri.clone()),
        }
    }
}

impl<T> Op<T> {
    fn map<T2>(&self, change: impl FnOnce(&T) -> T2) -> Op<T2> {
        match self {
            Self::Add(item) | Self::Put(item) => Op::Put(change(item)),
            Self::Remove(key) => Op::Remove(key.clone()),
        }
    }
}

/// A store with another state type, to which the changes of this one are applied.
trait Follow<S>: Send + Sync {
    /// Returns the change with its state bound, ready to be applied there. Applying it returns
    /// `false` if that store is no longer in use.
    fn bind(&self, edit: &Edit<S>) -> Box<dyn FnOnce() -> bool>;
}

struct Follower<S, S2> {
    state: S,
    store: Weak<Store<S2>>,
}

impl<S, S2> Follow<S> for Follower<S, S2>
where
    S: Clone + Send + Sync + 'static,
    S2: Send + Sync + 'static,
{
    fn bind(&self, edit: &Edit<S>) -> Box<dyn FnOnce() -> bool> {
        let (store, edit) = (self.store.clone(), edit.with_state(&self.state));
        Box::new(move || {
            let Some(store) = store.upgrade() else { return false };
            if let Err(error) = store.edit(edit) {
                // Possible only if a conflicting template was added to the follower.
                tracing::warn!(%error, "a change of a server conflicts with a server that was made from it");
            }
            true
        })
    }
}

impl<S> Clone for Tables<S> {
    fn clone(&self) -> Self {
        Self {
            tools: self.tools.clone(),
            resources: self.resources.clone(),
            templates: self.templates.clone(),
            prompts: self.prompts.clone(),
            methods: self.methods.clone(),
            notices: self.notices.clone(),
            skills: self.skills.clone(),
            has_scopes: self.has_scopes,
            routes: self.routes.clone(),
        }
    }
}

impl<S> fmt::Debug for Store<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.tables();
        let keys = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect::<Vec<_>>();
        f.debug_struct("Store")
            .field("tools", &keys(tables.tools.ordered().into_iter().map(Item::key).collect()))
            .field("resources", &keys(tables.resources.ordered().into_iter().map(Item::key).collect()))
            .field("resource_templates", &keys(tables.templates.ordered().into_iter().map(Item::key).collect()))
            .field("prompts", &keys(tables.prompts.ordered().into_iter().map(Item::key).collect()))
            .field("methods", &keys(tables.methods.ordered().into_iter().map(Item::key).collect()))
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
