//! The definition of a group of settings: each setting is written once.

/// Defines a group of settings: the struct, `new`, `Default`, a setter for each setting, and the
/// checks that concern one setting alone.
///
/// A setting has its documentation, its name, its type, its default and its check: a function of
/// [`settings`](super), or `anything`. A `value` is set as it is; an `option` is set by the value or
/// by `None`. After `other`, fields follow whose setters are written by hand.
macro_rules! settings {
    (
        $(#[$group_doc:meta])*
        pub struct $group:ident {
            $(
                $(#[$doc:meta])*
                $name:ident: $kind:ident $type:ty = $default:expr, $check:ident;
            )*
        }
        other { $($(#[$other_doc:meta])* $other:ident: $other_type:ty = $other_default:expr;)* }
    ) => {
        $(#[$group_doc])*
        pub struct $group {
            $(pub(crate) $name: settings!(@type $kind $type),)*
            $($(#[$other_doc])* pub(crate) $other: $other_type,)*
        }

        impl $group {
            /// Returns the defaults.
            #[must_use]
            pub fn new() -> Self {
                Self { $($name: $default,)* $($other: $other_default,)* }
            }

            $(settings! { @setter $kind ($(#[$doc])*) $name $type })*

            /// Reports each setting that has no meaning by itself.
            fn check_each(&self, error: &mut $crate::error::ConfigError) {
                $($check(error, concat!(stringify!($group), "::", stringify!($name)), self.$name);)*
            }
        }

        impl Default for $group {
            fn default() -> Self {
                Self::new()
            }
        }
    };
    (@type value $type:ty) => { $type };
    (@type option $type:ty) => { Option<$type> };
    (@setter value ($(#[$doc:meta])*) $name:ident $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        }
    };
    (@setter option ($(#[$doc:meta])*) $name:ident $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: impl Into<Option<$type>>) -> Self {
            self.$name = $name.into();
            self
        }
    };
}

pub(super) use settings;
