//! A host in miniature: drives connections through the exports.

use crate::conn::*;
use crate::guard;
use crate::options::*;
use crate::server::*;
use crate::status::drywire_status::{self, *};
use crate::types::*;
use core::ffi::c_void;
use core::ptr;

/// A server handle that frees itself.
pub(super) struct Server(pub(super) *mut drywire_server);

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: ours.
        unsafe { drywire_server_free(self.0) };
    }
}

/// A connection handle that frees itself.
pub(super) struct Conn(pub(super) *mut drywire_conn);

impl Drop for Conn {
    fn drop(&mut self) {
        // SAFETY: ours.
        unsafe { drywire_conn_free(self.0) };
    }
}

pub(super) fn memcached(options: &drywire_server_options) -> Server {
    let mut server = ptr::null_mut();
    // SAFETY: valid pointers; NULL is all defaults.
    let status = unsafe { drywire_memcached_server_new(options, ptr::null(), &mut server) };
    assert_eq!(status, DRYWIRE_OK);
    Server(server)
}

impl Server {
    pub(super) fn open(&self, user: usize) -> Conn {
        let mut conn = ptr::null_mut();
        let user = ptr::without_provenance_mut::<c_void>(user);
        // SAFETY: a live server.
        assert_eq!(unsafe { drywire_conn_open(self.0, 0, user, &mut conn) }, DRYWIRE_OK);
        Conn(conn)
    }

    /// Who has something to do, by user.
    pub(super) fn ready(&self) -> Vec<usize> {
        let mut seen = Vec::new();
        loop {
            let mut ready = [const { core::mem::MaybeUninit::<drywire_ready>::uninit() }; 3];
            let mut n = 0;
            // SAFETY: a live server and room for three.
            unsafe {
                let status = drywire_server_ready(self.0, 0, ready.as_mut_ptr().cast(), 3, &mut n);
                seen.extend(ready[..n].iter().map(|r| r.assume_init_ref().user.addr()));
                if status == DRYWIRE_OK {
                    return seen;
                }
                assert_eq!(status, DRYWIRE_MORE);
            }
        }
    }
}

impl Conn {
    pub(super) fn wants(&self) -> u32 {
        // SAFETY: a live connection.
        unsafe { drywire_conn_wants(self.0) }
    }

    pub(super) fn feed(&self, data: &[u8]) -> (drywire_status, usize) {
        let mut consumed = usize::MAX;
        // SAFETY: a live connection and valid memory.
        let status =
            unsafe { drywire_conn_feed(self.0, 0, data.as_ptr(), data.len(), &mut consumed) };
        (status, consumed)
    }

    /// Reads into place; returns how much of `data` fitted.
    pub(super) fn read(&self, data: &[u8]) -> usize {
        let (mut room, mut cap) = (ptr::null_mut(), 0);
        // SAFETY: a live connection; the room has `cap` bytes.
        unsafe {
            let status = drywire_conn_input_reserve(self.0, &mut room, &mut cap);
            if cap == 0 {
                assert_ne!(status, DRYWIRE_OK);
                return 0;
            }
            assert_eq!(status, DRYWIRE_OK);
            let n = cap.min(data.len());
            ptr::copy_nonoverlapping(data.as_ptr(), room, n);
            let _ = drywire_conn_input_commit(self.0, 0, n);
            n
        }
    }

    /// What is shown, up to `cap` segments.
    pub(super) fn output(&self, cap: usize) -> Vec<u8> {
        let mut iov = vec![drywire_iov { base: ptr::null_mut(), len: 0 }; cap];
        let (mut n, mut bytes) = (0, 0);
        // SAFETY: a live connection and room for `cap`.
        let status =
            unsafe { drywire_conn_output(self.0, iov.as_mut_ptr(), cap, &mut n, &mut bytes) };
        assert!(matches!(status, DRYWIRE_OK | DRYWIRE_MORE));
        let mut out = Vec::new();
        for segment in &iov[..n] {
            assert!(segment.len > 0);
            // SAFETY: good until consumed.
            out.extend(unsafe { core::slice::from_raw_parts(segment.base.cast(), segment.len) });
        }
        assert_eq!(out.len(), bytes);
        out
    }

    pub(super) fn consume(&self, n: usize) -> drywire_status {
        // SAFETY: a live connection.
        unsafe { drywire_conn_output_consume(self.0, 0, n) }
    }

    pub(super) fn call(
        &self,
        f: unsafe extern "C" fn(*mut drywire_conn, u64) -> drywire_status,
    ) -> drywire_status {
        // SAFETY: a live connection.
        unsafe { f(self.0, 0) }
    }

    pub(super) fn error(&self) -> drywire_error_info {
        let mut info = drywire_error_info::none();
        info.struct_size = size_of::<drywire_error_info>() as u32;
        // SAFETY: a live connection and a sized struct.
        assert_eq!(unsafe { drywire_conn_last_error(self.0, &mut info) }, DRYWIRE_OK);
        info
    }

    /// Feeds `script` cut as `pieces` say, takes output as `sends` say (both repeated), ends the
    /// input and goes on until the connection is over. Returns all output.
    pub(super) fn drive(&self, script: &[u8], pieces: &[usize], sends: &[usize]) -> Vec<u8> {
        let mut pieces = pieces.iter().cycle().enumerate();
        let mut sends = sends.iter().cycle();
        let (mut out, mut at, mut ended) = (Vec::new(), 0, false);
        for _ in 0..10_000_000 {
            let wants = self.wants();
            if wants & DRYWIRE_WANT_CLOSE != 0 {
                return out;
            }
            if wants & DRYWIRE_WANT_SHUTDOWN != 0 {
                assert_eq!(self.call(drywire_conn_was_shut_down), DRYWIRE_OK);
            }
            if wants & DRYWIRE_WANT_AGAIN != 0 {
                assert_eq!(self.call(drywire_conn_resume), DRYWIRE_OK);
            }
            if wants & DRYWIRE_WANT_READ != 0 && at < script.len() {
                let (turn, piece) = pieces.next().expect("endless");
                let end = at.saturating_add((*piece).max(1)).min(script.len());
                let piece = &script[at..end];
                at += if turn % 2 == 0 { self.feed(piece).1 } else { self.read(piece) };
            } else if wants & DRYWIRE_WANT_WRITE != 0 {
                let shown = self.output(2);
                let n = shown.len().min((*sends.next().expect("endless")).max(1));
                out.extend(&shown[..n]);
                assert_eq!(self.consume(n), DRYWIRE_OK);
            } else if at == script.len() && !ended {
                ended = true;
                assert_eq!(self.call(drywire_conn_eof), DRYWIRE_OK);
            } else if at < script.len() && wants & !DRYWIRE_WANT_AGAIN == 0 && wants == 0 {
                panic!("stuck: wants nothing, {} bytes left", script.len() - at);
            }
        }
        panic!("never over")
    }
}

/// All defaults.
pub(super) fn defaults() -> drywire_server_options {
    crate::sized::Growing::DEFAULT
}

/// Static text as a string.
pub(super) fn text(bytes: drywire_bytes) -> String {
    assert!(!bytes.data.is_null());
    // SAFETY: static text.
    let bytes = unsafe { core::slice::from_raw_parts(bytes.data, bytes.len) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// A guarded nothing, to count what the gate itself costs in tests of it.
pub(super) fn gate() -> guard::Guarded<u32> {
    guard::Guarded::new(0)
}
