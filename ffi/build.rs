//! Gives the shared library its SONAME, which cargo does not, and keeps it loaded: a Rust library
//! that is unloaded while thread-local destructors are pending would crash at thread exit. For
//! cargo-c it also fills in the CMake files, as `make install` does.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let capi = env::var_os("CARGO_FEATURE_CAPI").is_some();
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // cargo-c gives it a SONAME itself.
        if !capi {
            let so = so_version();
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libdrywire.so.{so}");
        }
    }
    if capi {
        cmake_files();
    }
}

fn so_version() -> String {
    format!("{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"))
}

/// For a prefix with `lib` and `include` in it.
fn cmake_files() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("cmake");
    fs::create_dir_all(&out).expect("a place to write to");
    let makefile = Path::new("../Makefile");
    println!("cargo::rerun-if-changed={}", makefile.display());
    let makefile = fs::read_to_string(makefile).expect("the Makefile");
    let libs = makefile.lines().find_map(|line| line.strip_prefix("PRIVATE_LIBS := "));
    for name in ["drywireConfig.cmake", "drywireConfigVersion.cmake"] {
        let from = format!("install/{name}.in");
        println!("cargo::rerun-if-changed={from}");
        let filled = fs::read_to_string(from)
            .expect("a file of this repository")
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
            .replace("@SOVERSION@", &so_version())
            .replace("@FROM_CMAKE@", "../../..")
            .replace("@LIB@", "lib")
            .replace("@INCLUDE@", "include")
            .replace("@PRIVATE_LIBS@", libs.expect("PRIVATE_LIBS in the Makefile"));
        fs::write(out.join(name), filled).expect("a file in OUT_DIR");
    }
}
