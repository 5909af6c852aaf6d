//! What the CPU can do, without unsafe code: the `fearless_simd` crate finds it out and compiles
//! a loop for each kind.

use fearless_simd::Level;

/// What the CPU can do: looked up once, when a codec is configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu(pub(super) Level);

impl Cpu {
    /// Whether what the program is compiled for has any vectors.
    pub(super) const BASELINE: bool = cfg!(any(
        all(target_arch = "aarch64", target_feature = "neon"),
        all(target_arch = "wasm32", target_feature = "simd128"),
        target_feature = "sse2",
    ));

    /// What the program is compiled for: for code in line, where there is no choice at run time.
    #[inline(always)]
    pub(super) const fn baseline() -> Self {
        Self(Level::baseline())
    }

    /// With the feature `std`, what this CPU can do; else what the program is compiled for.
    #[inline]
    pub(super) fn detect() -> Self {
        #[cfg(feature = "std")]
        let level = Level::new();
        #[cfg(not(feature = "std"))]
        let level = Level::baseline();
        Self(level)
    }
}

/// Two codecs are not different for where they were made.
impl PartialEq for Cpu {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cpu {}
