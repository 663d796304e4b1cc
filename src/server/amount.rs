//! Amounts: the numbers that a progress notification may carry.

use serde::Serialize;

/// A number for progress: any of Rust's number types.
pub trait Amount: Send + private::Sealed {
    /// Returns the number as the protocol has it. It is rounded beyond 2^53, which no progress bar
    /// shows.
    fn amount(self) -> f64;
}

/// The total [`Amount`] of work, if it is known.
pub trait Total: Send + private::Sealed {
    /// Returns the number as the protocol has it.
    fn total(self) -> Option<f64>;
}

mod private {
    pub trait Sealed {}
}

macro_rules! amounts {
    ($($number:ty),*) => {$(
        impl private::Sealed for $number {}

        impl Amount for $number {
            #[allow(clippy::cast_lossless, clippy::cast_precision_loss)]
            fn amount(self) -> f64 {
                self as f64
            }
        }

        impl Total for $number {
            fn total(self) -> Option<f64> {
                Some(self.amount())
            }
        }
    )*};
}

amounts!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64);

impl private::Sealed for Option<f64> {}

impl Total for Option<f64> {
    fn total(self) -> Self {
        self
    }
}

/// A number that is written without `.0` if it is whole, as in a count of steps.
pub(super) struct Number(pub(super) f64);

impl Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            #[allow(clippy::cast_possible_truncation)]
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}
