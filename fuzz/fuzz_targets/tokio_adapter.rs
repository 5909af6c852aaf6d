#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drywire_fuzz::tokio_adapter::tokio_adapter(data));
