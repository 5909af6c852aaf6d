//! Tier A: framings over the caller's own buffers.

use crate::codec::{self, Codec, drywire_framer_options, error_info, frame_status};
use crate::guard::{Guarded, free, guarded, into_handle, status};
use crate::sized;
use crate::status::{Result, drywire_status};
use crate::types::{Out, OutArray, drywire_error_info, drywire_event, input};
use drywire::frame::{Eof, FrameError, Meta};
use drywire_status::*;

/// Cuts one stream into frames. It keeps no bytes: frames point into what the caller passes.
/// One call at a time; may move between threads.
#[allow(non_camel_case_types)]
pub struct drywire_framer(Guarded<Framer>);

struct Framer {
    codec: Box<dyn Codec>,
    need: usize,
    error: Option<FrameError>,
}

/// Fills `options` (`size` bytes of it) with defaults. `kind` and `max_payload` must be set.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_options_init(
    options: *mut drywire_framer_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes a framer. Free it with `drywire_framer_free`. `options` are copied.
///
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_ABI`; `DRYWIRE_ERR_RANGE` for a setting that makes no
/// sense. On failure `*framer` is NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_new(
    options: *const drywire_framer_options,
    framer: *mut *mut drywire_framer,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        let out = unsafe { Out::new(framer) }?;
        out.set(core::ptr::null_mut());
        if options.is_null() {
            return Err(DRYWIRE_ERR_NULL);
        }
        // SAFETY: as above.
        let codec = codec::build(&unsafe { sized::read(options) }?)?;
        let value = drywire_framer(Guarded::new(Framer { codec, need: 1, error: None }));
        // SAFETY: checked by `Out::new`.
        unsafe { into_handle(framer, value) }
    }))
}

/// Frees a framer. NULL is fine. Frames it found stay good: they are in the caller's memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_free(framer: *mut drywire_framer) {
    // SAFETY: as above.
    unsafe { free(framer) };
}

/// Finds the frames at the front of `data`, at most `cap` of them, and writes them to `events`
/// (`DRYWIRE_EVENT_FRAME`, `DRYWIRE_EVENT_FRAME_ERROR`), their number to `n` and the bytes that are
/// done with to `consumed`. `data` must begin with the first byte not yet consumed; pass what is
/// left again with more behind it. Work is linear in the bytes, however they are cut up.
///
/// Events point into `data` and are good until the caller changes that memory. Nothing is copied.
///
/// Returns `DRYWIRE_NEED_INPUT` when all frames were found and more bytes are needed,
/// `DRYWIRE_MORE` when `events` is full.
/// Errors: `DRYWIRE_ERR_PROTOCOL`, `DRYWIRE_ERR_TOO_LONG`: the stream is broken beyond repair;
/// frames before the break were delivered and `n` and `consumed` are set. The error stays until
/// `drywire_framer_reset`. `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_RANGE`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_decode(
    framer: *mut drywire_framer,
    data: *const u8,
    len: usize,
    events: *mut drywire_event,
    cap: usize,
    n: *mut usize,
    consumed: *mut usize,
) -> drywire_status {
    // SAFETY: as above.
    let result = unsafe { Out::new(n).and_then(|n| Ok((n, Out::new(consumed)?))) };
    let (n, consumed) = match result {
        Ok(outs) => outs,
        Err(error) => return error,
    };
    n.set(0);
    consumed.set(0);
    status(unsafe {
        // SAFETY: as above.
        enter(framer, |f| {
            let mut events = OutArray::new(events, cap)?;
            let data = input(data, len)?;
            if let Some(error) = &f.error {
                return Err(frame_status(error));
            }
            let decoded = f.codec.decode(data, &mut events);
            n.set(events.len());
            consumed.set(decoded.consumed);
            f.need = decoded.need;
            f.error = decoded.error;
            match &f.error {
                Some(error) => Err(frame_status(error)),
                None if decoded.need > 0 => Ok(DRYWIRE_NEED_INPUT),
                None => Ok(DRYWIRE_MORE),
            }
        })
    })
}

/// At least how many more bytes are needed behind those the last `drywire_framer_decode` left
/// before anything can come out; 0 when its `events` were full. A hint: the peer may never send
/// them. 0 for a NULL or unusable framer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_need(framer: *const drywire_framer) -> usize {
    // SAFETY: as above.
    unsafe { enter(framer, |f| Ok(f.need)) }.unwrap_or(0)
}

/// The offset in the stream of the first byte not yet consumed. 0 for a NULL or unusable framer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_position(framer: *const drywire_framer) -> u64 {
    // SAFETY: as above.
    unsafe { enter(framer, |f| Ok(f.codec.position())) }.unwrap_or(0)
}

/// The most bytes that can be waiting without a decision: a buffer of this size is always enough.
/// 0 for a NULL or unusable framer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_max_pending(framer: *const drywire_framer) -> usize {
    // SAFETY: as above.
    unsafe { enter(framer, |f| Ok(f.codec.max_pending())) }.unwrap_or(0)
}

/// Judges the end of input; `rest` is what the last `drywire_framer_decode` left. Changes nothing.
///
/// Returns `DRYWIRE_OK` between two frames.
/// Errors: `DRYWIRE_ERR_TRUNCATED` inside a frame or an unterminated line; the stream's own error if
/// it has one; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_RANGE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_finish(
    framer: *const drywire_framer,
    rest: *const u8,
    len: usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(framer, |f| match f.codec.finish(input(rest, len)?) {
            Eof::Clean => Ok(DRYWIRE_OK),
            Eof::Failed(error) => Err(frame_status(&error)),
            _ => Err(DRYWIRE_ERR_TRUNCATED),
        })
    })
}

/// Goes back to the start of a stream: position 0, no error.
///
/// Errors: `DRYWIRE_ERR_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_reset(framer: *mut drywire_framer) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(framer, |f| {
            *f = Framer { codec: f.codec.fresh()?, need: 1, error: None };
            Ok(DRYWIRE_OK)
        })
    })
}

/// What broke the stream, in detail; `status` 0 if nothing did. Set `info->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_last_error(
    framer: *const drywire_framer,
    info: *mut drywire_error_info,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(framer, |f| {
            let found = f.error.as_ref().map_or(drywire_error_info::none(), error_info);
            sized::write(info, &found).map(|()| DRYWIRE_OK)
        })
    })
}

/// Writes the frame around `payload` to `out` and its size to `n`. `kind` and `extra` are what
/// decoding gives as `flags` and `id`; 0 and 0 where the framing has nothing to say there, for
/// lines the normal end.
///
/// Errors: `DRYWIRE_ERR_BUFFER` if `cap` is too small, with the size needed in `n` (`out` may be
/// NULL if `cap` is 0: ask, then fill); `DRYWIRE_ERR_RANGE` for what the decoder would refuse;
/// `DRYWIRE_ERR_UNSUPPORTED` for framings that are only read; `DRYWIRE_ERR_NULL`. Nothing is written
/// then.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_encode(
    framer: *const drywire_framer,
    kind: u32,
    extra: u32,
    payload: *const u8,
    len: usize,
    out: *mut u8,
    cap: usize,
    n: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(framer, |f| {
            let n = Out::new(n)?;
            n.set(0);
            let payload = input(payload, len)?;
            let meta = Meta { kind, extra };
            let needed = f.codec.encoded_len(meta, payload)?;
            n.set(needed);
            if needed > cap {
                return Err(DRYWIRE_ERR_BUFFER);
            }
            f.codec.encode(meta, payload, output(out, needed)?)?;
            Ok(DRYWIRE_OK)
        })
    })
}

/// Writes only the header of a frame with `payload_len` bytes of payload, for a gathered write that
/// leaves the payload where it is. At most 64 bytes; otherwise as `drywire_framer_encode`.
///
/// Errors: also `DRYWIRE_ERR_UNSUPPORTED` for any other framing than the length prefix.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_framer_encode_header(
    framer: *const drywire_framer,
    kind: u32,
    extra: u32,
    payload_len: usize,
    out: *mut u8,
    cap: usize,
    n: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(framer, |f| {
            let n = Out::new(n)?;
            n.set(0);
            let header = f.codec.header(Meta { kind, extra }, payload_len)?;
            n.set(header.len());
            if header.len() > cap {
                return Err(DRYWIRE_ERR_BUFFER);
            }
            output(out, header.len())?.copy_from_slice(&header);
            Ok(DRYWIRE_OK)
        })
    })
}

/// # Safety
/// `out` is NULL or valid for writing `len` bytes while the slice is used.
unsafe fn output<'a>(out: *mut u8, len: usize) -> Result<&'a mut [u8]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if out.is_null() {
        return Err(DRYWIRE_ERR_NULL);
    }
    // Zeroed first, because a slice of Rust must not be uninitialised.
    // SAFETY: promised by the caller.
    unsafe {
        out.write_bytes(0, len);
        Ok(core::slice::from_raw_parts_mut(out, len))
    }
}

/// # Safety
/// `framer` is NULL or a framer that was not freed.
#[inline]
unsafe fn enter<R>(
    framer: *const drywire_framer,
    f: impl FnOnce(&mut Framer) -> Result<R>,
) -> Result<R> {
    // SAFETY: promised by the caller.
    unsafe { framer.as_ref() }.ok_or(DRYWIRE_ERR_NULL)?.0.run(f)
}
