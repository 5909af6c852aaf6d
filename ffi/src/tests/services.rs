//! The services that answer by themselves, and work on other threads.

use super::support::*;
use crate::conn::*;
use crate::options::drywire_server_options;
use crate::server::*;
use crate::services::*;
use crate::status::drywire_status::{self, *};
use core::ptr;

fn service(
    new: impl FnOnce(*const drywire_server_options, *mut *mut drywire_server) -> drywire_status,
) -> Server {
    let mut server = ptr::null_mut();
    assert_eq!(new(&defaults(), &mut server), DRYWIRE_OK);
    Server(server)
}

/// Drives what other connections touched, as a host does.
fn settle(server: &Server, conns: &[Conn]) {
    for user in server.ready() {
        assert_eq!(conns[user].call(drywire_conn_resume), DRYWIRE_OK);
    }
}

#[test]
fn chat_reaches_everyone_in_the_room() {
    // SAFETY: valid pointers; NULL is all defaults.
    let server = service(|o, s| unsafe { drywire_chat_server_new(o, ptr::null(), s) });
    let conns: Vec<Conn> = (0..3).map(|user| server.open(user)).collect();
    assert_eq!(conns[0].feed(b"\0\0\0\x02hi").0, DRYWIRE_OK);
    settle(&server, &conns);
    for conn in &conns {
        assert_eq!(conn.output(4), b"\0\0\0\x02hi");
    }
    // SAFETY: a live server.
    let status = unsafe { drywire_server_get_memcached_stats(server.0, ptr::null_mut()) };
    assert_eq!(status, DRYWIRE_ERR_UNSUPPORTED);
}

#[test]
fn the_hub_tells_subscribers() {
    // SAFETY: as above.
    let server = service(|o, s| unsafe { drywire_hub_server_new(o, ptr::null(), s) });
    let conns: Vec<Conn> = (0..2).map(|user| server.open(user)).collect();
    assert_eq!(conns[1].feed(b"sub weather\r\n").0, DRYWIRE_OK);
    assert_eq!(conns[0].feed(b"pub weather\r\nsunny\r\n").0, DRYWIRE_OK);
    settle(&server, &conns);
    assert_eq!(conns[1].output(4), b"pub weather\r\nsunny\r\n");
}

/// A pointer that a test may move to a thread.
struct Moved(*mut drywire_work);
// SAFETY: work is made to run on other threads.
unsafe impl Send for Moved {}

fn next_work(server: &Server) -> *mut drywire_work {
    let mut work = ptr::null_mut();
    // SAFETY: a live server.
    match unsafe { drywire_server_next_work(server.0, 0, &mut work) } {
        DRYWIRE_OK => work,
        status => {
            assert_eq!((status, work.is_null()), (DRYWIRE_NOT_NOW, true));
            work
        }
    }
}

#[test]
fn sudoku_is_solved_on_another_thread() {
    // SAFETY: as above.
    let server = service(|o, s| unsafe { drywire_sudoku_server_new(o, ptr::null(), s) });
    // SAFETY: as above.
    let other = service(|o, s| unsafe { drywire_sudoku_server_new(o, ptr::null(), s) });
    let conn = server.open(0);
    let board = "530070000600195000098000060800060003400803001700020006060000280000419005000080079";
    assert_eq!(conn.feed(format!("a:{board}\r\nb:{board}\r\n").as_bytes()).0, DRYWIRE_OK);
    let (first, second) = (next_work(&server), next_work(&server));
    assert!(next_work(&server).is_null());
    // SAFETY: live handles throughout.
    unsafe {
        assert_eq!(drywire_server_complete(server.0, 0, first), DRYWIRE_ERR_STATE, "not run");
        let moved = Moved(first);
        std::thread::spawn(move || {
            let moved = moved;
            assert_eq!(drywire_work_run(moved.0), DRYWIRE_OK);
            assert_eq!(drywire_work_run(moved.0), DRYWIRE_ERR_STATE);
        })
        .join()
        .unwrap();
        assert_eq!(drywire_server_complete(other.0, 0, first), DRYWIRE_ERR_RANGE, "not its own");
        assert_eq!(drywire_server_complete(server.0, 0, first), DRYWIRE_OK);
        assert_eq!(drywire_server_complete(server.0, 0, first), DRYWIRE_ERR_STATE, "twice");
        drywire_work_free(first);
        assert_eq!(server.ready(), [0]);
        assert!(conn.output(4).starts_with(b"a:534678912672195348198342567"));
        // The connection goes, then the server; the work outlives both.
        assert_eq!(drywire_work_run(second), DRYWIRE_OK);
        drop(conn);
        assert_eq!(drywire_server_complete(server.0, 0, second), DRYWIRE_OK, "dropped");
        drop(server);
        drywire_work_free(second);
    }
}
