//! Which library this is.

use core::ffi::{CStr, c_char};

/// Major version of the header; 0 while the interface may change with the minor version.
pub const DRYWIRE_VERSION_MAJOR: u32 = 0;
/// Minor version of the header.
pub const DRYWIRE_VERSION_MINOR: u32 = 1;
/// Patch version of the header.
pub const DRYWIRE_VERSION_PATCH: u32 = 0;
/// The version of the header as one number: major * 1000000 + minor * 1000 + patch.
pub const DRYWIRE_VERSION_NUM: u32 = 1000;
/// The revision of the binary interface; the SONAME carries the version it belongs to.
pub const DRYWIRE_ABI: u32 = 1;

/// For `drywire_has_feature`: the framings (`drywire_framer_*`).
pub const DRYWIRE_FEATURE_FRAMING: u32 = 1;
/// For `drywire_has_feature`: the memcached server.
pub const DRYWIRE_FEATURE_MEMCACHED_SERVER: u32 = 2;
/// For `drywire_has_feature`: the memcached client.
pub const DRYWIRE_FEATURE_MEMCACHED_CLIENT: u32 = 3;
/// For `drywire_has_feature`: protocols made by the caller on top of a framing.
pub const DRYWIRE_FEATURE_CUSTOM_SERVER: u32 = 4;
/// For `drywire_has_feature`: chat servers.
pub const DRYWIRE_FEATURE_CHAT_SERVER: u32 = 5;
/// For `drywire_has_feature`: hub servers.
pub const DRYWIRE_FEATURE_HUB_SERVER: u32 = 6;
/// For `drywire_has_feature`: sudoku servers and work for other threads.
pub const DRYWIRE_FEATURE_SUDOKU_SERVER: u32 = 7;
/// For `drywire_has_feature`: the guard policies (`drywire_admission_*` to `drywire_pick`).
pub const DRYWIRE_FEATURE_POLICIES: u32 = 8;

const STRING: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version holds no NUL"),
    };

/// The version of the library that runs, in the form of `DRYWIRE_VERSION_NUM`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn drywire_version_num() -> u32 {
    DRYWIRE_VERSION_NUM
}

/// The version of the library that runs, as text such as "0.1.0". Static text. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn drywire_version_string() -> *const c_char {
    STRING.as_ptr()
}

/// The revision of the binary interface of the library that runs; compare with `DRYWIRE_ABI`.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn drywire_abi_version() -> u32 {
    DRYWIRE_ABI
}

/// 1 if this build has `feature` (a `DRYWIRE_FEATURE_*`), 0 if not or if the number is unknown.
/// Functions of a feature that is off exist and return `DRYWIRE_ERR_UNSUPPORTED`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn drywire_has_feature(feature: u32) -> i32 {
    i32::from((DRYWIRE_FEATURE_FRAMING..=DRYWIRE_FEATURE_POLICIES).contains(&feature))
}
