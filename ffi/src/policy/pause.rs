//! The pause after a refusal, so that refusing gets cheap.

use crate::guard::{guarded, status};
use crate::policy::{
    act, begin, decide, drywire_decision, held, look, moment, or_never, span, tell,
};
use crate::status::drywire_status;
use crate::types::{DRYWIRE_NO_DEADLINE, Out};
use drywire::Tick;
use drywire::guard::{RefusalPause, RefusalWindow};

/// From `drywire_refusal_pause_poll`: leave what the peer sends unread until `next_ns`.
pub const DRYWIRE_REFUSAL_PAUSE_INPUT: u32 = 1;
/// From `drywire_refusal_pause_poll`: neither read nor write until `next_ns`.
pub const DRYWIRE_REFUSAL_PAUSE_BOTH: u32 = 2;

/// What is refused on all connections together, in spans as long as a pause: a refusal among few is
/// no burden and no pause follows. One for all connections of a server of your own;
/// `refusal_pause_ns` of `drywire_server_options` is that of the library's. Yours to copy; the numbers
/// in it are the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_refusal_window {
    /// Set by `drywire_refusal_window_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 2],
}

/// The state of one connection's pause: who was refused is read a moment later, many requests at once,
/// and what is answered meanwhile goes out in one write. Yours to copy; the numbers in it are the
/// library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_refusal_pause {
    /// Set by `drywire_refusal_pause_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 2],
}

held! {
    drywire_refusal_window: RefusalWindow, 2;
    drywire_refusal_pause: RefusalPause, 2;
}

/// Makes the state of a server that has refused nobody: `size` is `sizeof *window`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_refusal_window_init(
    window: *mut drywire_refusal_window,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { begin(window, size, RefusalWindow::new()) }))
}

/// So many requests were refused, which came in one read. When their connection is to be served again
/// goes to `until_ns`, at most `length_ns` from now: hand it to `drywire_refusal_pause_refused`. It is
/// `DRYWIRE_NO_DEADLINE`, and no pause follows, if less than `from` were refused in this span and in
/// the one before; a `length_ns` of 0 is off.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_refusal_window_refused(
    window: *mut drywire_refusal_window,
    length_ns: u64,
    from: u32,
    requests: u32,
    now_ns: u64,
    until_ns: *mut u64,
) -> drywire_status {
    // SAFETY: as above.
    let result = unsafe { Out::new(until_ns) }.and_then(|until| {
        until.set(DRYWIRE_NO_DEADLINE);
        // SAFETY: as above.
        let end = unsafe {
            act(window, |window| Ok(window.refused(span(length_ns), from, requests, Tick(now_ns))))
        }?;
        until.set(or_never(end));
        Ok(drywire_status::DRYWIRE_OK)
    });
    status(result)
}

/// When the pause of whoever would be refused now ends: what a refusal can say about when to ask
/// again. `DRYWIRE_NO_DEADLINE` if there would be none, and for what cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_refusal_window_pauses_until(
    window: *const drywire_refusal_window,
    from: u32,
    now_ns: u64,
) -> u64 {
    // SAFETY: as above.
    unsafe { look(window, |window| Ok(or_never(window.pauses_until(from, Tick(now_ns))))) }
        .unwrap_or(DRYWIRE_NO_DEADLINE)
}

/// Makes the state of a connection without a pause: `size` is `sizeof *pause`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_refusal_pause_init(
    pause: *mut drywire_refusal_pause,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { begin(pause, size, RefusalPause::new()) }))
}

/// A request was refused: a pause until `until_ns`, as `drywire_refusal_window_refused` gave it, begins,
/// unless there is one already or it is `DRYWIRE_NO_DEADLINE`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_refusal_pause_refused(
    pause: *mut drywire_refusal_pause,
    until_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(pause, |pause| pause.refused(moment(until_ns))) }
}

/// All output of the connection is sent: what comes from now on waits for the end of the pause.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_refusal_pause_drained(
    pause: *mut drywire_refusal_pause,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(pause, RefusalPause::drained) }
}

/// Ends the pause if its time has come; what is held back then, a `DRYWIRE_REFUSAL_PAUSE_*` or nothing,
/// goes to `decision`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_refusal_pause_poll(
    pause: *mut drywire_refusal_pause,
    now_ns: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        decide(pause, decision, |pause| {
            pause.poll(Tick(now_ns));
            let what = match (pause.holds_input(), pause.holds_output()) {
                (false, _) => 0,
                (true, false) => DRYWIRE_REFUSAL_PAUSE_INPUT,
                (true, true) => DRYWIRE_REFUSAL_PAUSE_BOTH,
            };
            Ok(drywire_decision::of(what).next(pause.deadline()))
        })
    }
}

/// When `drywire_refusal_pause_poll` is due; `DRYWIRE_NO_DEADLINE` if there is no pause, and for what
/// cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_refusal_pause_next_deadline(
    pause: *const drywire_refusal_pause,
) -> u64 {
    // SAFETY: as above.
    unsafe { look(pause, |pause| Ok(or_never(pause.deadline()))) }.unwrap_or(DRYWIRE_NO_DEADLINE)
}
