//! The guard policies as plain calls on small structs of the caller's: no handle, no allocation.
//!
//! A state is a struct of numbers in the caller's memory. Each call turns it into the policy of
//! `drywire::guard`, asks that, and turns it back; any numbers are a state, so nothing that a caller
//! does to one can panic.

pub mod admission;
pub mod drain;
pub mod gates;
pub mod heartbeat;
pub mod pause;
pub mod peers;
pub mod pick;
pub mod sending;

use crate::guard::guarded;
use crate::sized::{self, Growing};
use crate::status::{Result, drywire_status};
use crate::types::{DRYWIRE_NO_DEADLINE, Out};
use core::time::Duration;
use drywire::Tick;
use drywire_status::{DRYWIRE_ERR_ABI, DRYWIRE_ERR_NULL, DRYWIRE_OK};

/// What a policy decided. What the fields mean is said by the function that fills it; those it does not
/// name are 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub struct drywire_decision {
    /// What to do: one of the function's constants, or 0 for nothing.
    pub what: u32,
    /// Why, or a small number.
    pub why: u32,
    /// A number.
    pub num: u64,
    /// A moment or a span.
    pub time_ns: u64,
    /// When to ask again at the latest, if nothing happens before: the value of the policy's
    /// `_next_deadline`. `DRYWIRE_NO_DEADLINE` if never, and for policies that wait for nothing.
    pub next_ns: u64,
}

impl drywire_decision {
    pub(crate) const NOTHING: Self =
        Self { what: 0, why: 0, num: 0, time_ns: 0, next_ns: DRYWIRE_NO_DEADLINE };

    pub(crate) const fn of(what: u32) -> Self {
        Self { what, ..Self::NOTHING }
    }

    pub(crate) const fn next(self, deadline: Option<Tick>) -> Self {
        Self { next_ns: or_never(deadline), ..self }
    }
}

/// A policy's state in the caller's memory.
///
/// # Safety
/// As [`Growing`]; the words are the last field.
pub(crate) unsafe trait Held: Growing {
    /// What the words are the state of.
    type Policy;
    /// The policy in this state.
    fn policy(&self) -> Self::Policy;
    /// The state with the policy's words.
    fn with(self, policy: Self::Policy) -> Self;
}

macro_rules! held {
    ($($name:ident: $policy:ident, $words:literal;)*) => {$(
        // SAFETY: numbers only, in C order.
        unsafe impl crate::sized::Growing for $name {
            const DEFAULT: Self =
                Self { struct_size: size_of::<Self>() as u32, reserved: 0, state: [0; $words] };
        }
        // SAFETY: as above; `state` comes last.
        unsafe impl crate::policy::Held for $name {
            type Policy = $policy;
            #[inline]
            fn policy(&self) -> $policy {
                self.state.into()
            }
            #[inline]
            fn with(self, policy: $policy) -> Self {
                Self { state: policy.into(), ..self }
            }
        }
    )*};
}
pub(crate) use held;

/// Fills a caller's struct of `size` bytes with a policy's first state.
///
/// # Safety
/// `to` is NULL or valid for writing `size` bytes.
pub(crate) unsafe fn begin<T: Held>(
    to: *mut T,
    size: usize,
    policy: T::Policy,
) -> Result<drywire_status> {
    if !to.is_null() && size < size_of::<T>() {
        return Err(DRYWIRE_ERR_ABI);
    }
    // SAFETY: promised by the caller, and long enough for a `T`.
    unsafe {
        sized::init(to, size)?;
        let size = to.cast::<u32>().read();
        to.write(T::DEFAULT.with(policy));
        to.cast::<u32>().write(size);
    }
    Ok(DRYWIRE_OK)
}

/// Lets `f` look at a policy in the caller's memory.
///
/// # Safety
/// `state` is NULL or valid for reading the size it begins with.
#[inline]
pub(crate) unsafe fn look<T: Held, R>(
    state: *const T,
    f: impl FnOnce(T::Policy) -> Result<R>,
) -> Result<R> {
    // SAFETY: promised by the caller.
    guarded(|| f(unsafe { held_by(state) }?.policy()))
}

/// Lets `f` change a policy in the caller's memory. If it fails, nothing has changed.
///
/// # Safety
/// `state` is NULL or valid for reading and writing the size it begins with.
#[inline]
pub(crate) unsafe fn act<T: Held, R>(
    state: *mut T,
    f: impl FnOnce(&mut T::Policy) -> Result<R>,
) -> Result<R> {
    guarded(|| {
        // SAFETY: promised by the caller.
        let held = unsafe { held_by(state) }?;
        let mut policy = held.policy();
        let result = f(&mut policy)?;
        // SAFETY: `held_by` saw that it is long enough; what lies behind a `T` is not touched.
        unsafe {
            let size = state.cast::<u32>().read();
            state.write(held.with(policy));
            state.cast::<u32>().write(size);
        }
        Ok(result)
    })
}

/// As [`act`], with a decision for `to`, which is set to nothing first.
///
/// # Safety
/// As [`act`]; `to` is NULL or valid for writing.
#[inline]
pub(crate) unsafe fn decide<T: Held>(
    state: *mut T,
    to: *mut drywire_decision,
    f: impl FnOnce(&mut T::Policy) -> Result<drywire_decision>,
) -> drywire_status {
    // SAFETY: promised by the caller.
    let result = unsafe { Out::new(to) }.and_then(|to| {
        to.set(drywire_decision::NOTHING);
        // SAFETY: promised by the caller.
        to.set(unsafe { act(state, f) }?);
        Ok(DRYWIRE_OK)
    });
    crate::guard::status(result)
}

/// # Safety
/// `state` is NULL or valid for reading the size it begins with.
#[inline]
unsafe fn held_by<T: Held>(state: *const T) -> Result<T> {
    if state.is_null() {
        return Err(DRYWIRE_ERR_NULL);
    }
    // SAFETY: promised by the caller.
    unsafe {
        if (state.cast::<u32>().read() as usize) < size_of::<T>() {
            return Err(DRYWIRE_ERR_ABI);
        }
        sized::read(state)
    }
}

/// A span of the caller's.
#[inline]
pub(crate) const fn span(ns: u64) -> Duration {
    Duration::from_nanos(ns)
}

/// A span for the caller.
#[inline]
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A moment of the caller's that may be missing.
#[inline]
pub(crate) const fn moment(ns: u64) -> Option<Tick> {
    match ns {
        DRYWIRE_NO_DEADLINE => None,
        ns => Some(Tick(ns)),
    }
}

/// A moment for the caller that may be missing.
#[inline]
pub(crate) const fn or_never(at: Option<Tick>) -> u64 {
    match at {
        Some(Tick(ns)) => ns,
        None => DRYWIRE_NO_DEADLINE,
    }
}

/// A number of bytes or things; more than fit in memory is as much as fits.
#[inline]
pub(crate) fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A number that the policy keeps in a byte; more than fits is as much as fits.
#[inline]
pub(crate) fn byte(n: u32) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

/// For calls that decide nothing.
///
/// # Safety
/// As [`act`].
#[inline]
pub(crate) unsafe fn tell<T: Held>(
    state: *mut T,
    f: impl FnOnce(&mut T::Policy),
) -> drywire_status {
    // SAFETY: promised by the caller.
    done(unsafe {
        act(state, |policy| {
            f(policy);
            Ok(())
        })
    })
}

/// The status of a call that returns nothing else.
#[inline]
pub(crate) fn done(result: Result<()>) -> drywire_status {
    crate::guard::status(result.map(|()| DRYWIRE_OK))
}
