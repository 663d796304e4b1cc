//! Setters that several kinds of item share: tools, resources, resource templates, prompts.

/// The setters of every kind of item. The type has the fields `facts.shown` and `scopes`.
macro_rules! item_setters {
    ($item:ident) => {
        impl<S> $item<S> {
            /// Sets the display name.
            #[must_use]
            pub fn title(mut self, title: impl Into<String>) -> Self {
                self.facts.shown.title = Some(title.into());
                self
            }

            /// Adds an icon.
            #[must_use]
            pub fn icon(mut self, icon: $crate::server::Icon) -> Self {
                self.facts.shown.icons.push(icon);
                self
            }

            /// Sets the `_meta` member.
            #[must_use]
            pub fn meta(mut self, meta: serde_json::Map<String, serde_json::Value>) -> Self {
                self.facts.shown.meta = Some(meta);
                self
            }

            /// Sets the scopes that the access token of a request must have: to call a tool, to get
            /// a prompt, to read a resource or subscribe to it. Without them the client gets a 403
            /// whose challenge names all of them (`insufficient_scope`), and the handler is not
            /// called. Default: none.
            ///
            /// The request needs an [`AccessToken`](crate::AccessToken): from the layer of a
            /// `ResourceServer` (feature `auth`), or from your own. Without one it is rejected, too.
            /// Registering fails if a name has a character that scopes cannot have.
            #[must_use]
            pub fn scopes<I: IntoIterator<Item: Into<String>>>(mut self, scopes: I) -> Self {
                self.scopes = $crate::identity::Scopes::new(scopes);
                self
            }
        }
    };
}

/// The setters of resources and resource templates. The type has the fields `facts` and `cache`.
macro_rules! resource_setters {
    ($item:ident) => {
        impl<S> $item<S> {
            /// Sets the description, for the model.
            #[must_use]
            pub fn description(mut self, description: impl Into<String>) -> Self {
                self.facts.description = Some(description.into());
                self
            }

            /// Sets the media type, for a template if all of its resources have the same. Contents
            /// without a media type have this one.
            #[must_use]
            pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
                self.facts.mime_type = Some(mime_type.into());
                self
            }

            /// Sets hints for the client.
            #[must_use]
            pub fn annotations(mut self, annotations: $crate::server::Annotations) -> Self {
                self.facts.annotations = Some(annotations);
                self
            }

            /// Sets how long clients of 2026-07-28 may cache the contents of a resource, and who may
            /// share them. Default: not cached. A handler overrides it with
            /// [`Cached`](crate::server::Cached).
            #[must_use]
            pub fn cache(mut self, hint: $crate::server::CacheHint) -> Self {
                self.cache = hint;
                self
            }
        }
    };
}

pub(super) use {item_setters, resource_setters};
