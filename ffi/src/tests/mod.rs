//! The interface as its callers see it: every test calls the exports, nothing behind them.

mod client;
mod clients;
mod framer;
mod layout;
mod policies;
mod server;
mod services;
mod support;

use crate::conn::*;
use crate::status::{ALL, drywire_status, drywire_status_is_fatal, drywire_status_name};
use crate::version::*;
use core::ffi::CStr;
use drywire::conn::Wants;

#[test]
fn versions_agree_with_the_manifest() {
    // SAFETY: static text.
    let text = unsafe { CStr::from_ptr(drywire_version_string()) };
    assert_eq!(text.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    let parts = [DRYWIRE_VERSION_MAJOR, DRYWIRE_VERSION_MINOR, DRYWIRE_VERSION_PATCH];
    assert_eq!(text.to_string_lossy(), parts.map(|n| n.to_string()).join("."));
    assert_eq!(parts[0] * 1_000_000 + parts[1] * 1_000 + parts[2], DRYWIRE_VERSION_NUM);
    assert_eq!((drywire_version_num(), drywire_abi_version()), (DRYWIRE_VERSION_NUM, DRYWIRE_ABI));
}

#[test]
fn every_status_has_its_name_and_nothing_else_has() {
    for (status, name) in ALL {
        // SAFETY: static text.
        assert_eq!(unsafe { CStr::from_ptr(drywire_status_name(*status as i32)) }, *name);
    }
    for unknown in [5, -10, i32::MIN, i32::MAX] {
        // SAFETY: static text.
        let name = unsafe { CStr::from_ptr(drywire_status_name(unknown)) };
        assert_eq!(name, c"DRYWIRE_UNKNOWN");
        assert_eq!(drywire_status_is_fatal(unknown), 0);
    }
    assert_eq!(drywire_status_is_fatal(drywire_status::DRYWIRE_ERR_PANIC as i32), 1);
    assert_eq!(
        (drywire_has_feature(0), drywire_has_feature(1), drywire_has_feature(99)),
        (0, 1, 0)
    );
}

#[test]
fn wants_are_the_bits_of_the_core() {
    let bits = [
        (Wants::READ, DRYWIRE_WANT_READ),
        (Wants::WRITE, DRYWIRE_WANT_WRITE),
        (Wants::AGAIN, DRYWIRE_WANT_AGAIN),
        (Wants::SHUTDOWN, DRYWIRE_WANT_SHUTDOWN),
        (Wants::CLOSE, DRYWIRE_WANT_CLOSE),
    ];
    for (core, here) in bits {
        assert_eq!(u32::from(core.bits()), here);
    }
}
