//! Gives the shared library its SONAME, which cargo does not, and keeps it loaded: a Rust library
//! that is unloaded while thread-local destructors are pending would crash at thread exit.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        let major = env!("CARGO_PKG_VERSION_MAJOR");
        let minor = env!("CARGO_PKG_VERSION_MINOR");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libdrywire.so.{major}.{minor}");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
