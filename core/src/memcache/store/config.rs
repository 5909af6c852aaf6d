//! The limits of a store, checked once.

use core::fmt;

use super::Hasher;

/// The longest key, in bytes.
pub const KEY_MAX: usize = 250;
/// The item size limit of a server that was told nothing else (1 MiB).
pub const ITEM_MAX_DEFAULT: u32 = 1024 * 1024;
/// The least item size limit (1 KiB).
pub const ITEM_MAX_LEAST: u32 = 1024;
/// The greatest item size limit (1 GiB).
pub const ITEM_MAX_GREATEST: u32 = 1024 * 1024 * 1024;
/// The least byte limit of one store (256 KiB).
pub const LIMIT_LEAST: u64 = 256 * 1024;
/// The greatest byte limit of one store (32 GiB). Several shards hold more.
pub const LIMIT_GREATEST: u64 = 32 * 1024 * 1024 * 1024;

/// The longest value that a key of `key_len` bytes may have under an item size limit of
/// `item_max`, in bytes.
///
/// memcached charges its own header to the item: 48 bytes, 8 of cas, one after the key, the CRLF,
/// and 4 more when the flags are not 0. The same arithmetic here keeps the border where clients
/// know it: 1,048,516 bytes for a one-byte key, flags 0 and the default limit.
pub const fn item_limit(item_max: u32, key_len: usize, flags: u32) -> u32 {
    let header = if flags == 0 { 59 } else { 63 };
    item_max.saturating_sub(header + key_len as u32)
}

/// What a store may take and how it behaves when full.
#[derive(Clone, Debug)]
pub struct Config {
    /// Cap on all memory of the store, in bytes: items, table, free space, metadata, values still
    /// arriving, and values that replies still hold. [`LIMIT_LEAST`] to [`LIMIT_GREATEST`].
    pub limit: u64,
    /// Item size limit, in bytes, counted as [`item_limit`] says. [`ITEM_MAX_LEAST`] to
    /// [`ITEM_MAX_GREATEST`], and at most half of `limit`.
    pub item_max: u32,
    /// Whether a full store removes cold items (memcached's default) or refuses (its `-M`).
    pub evict: bool,
    /// The first cas unique that the store gives, not 0.
    pub cas_first: u64,
    /// The distance to the next, not 0. Shard `i` of `n` takes `cas_first = i + 1` and
    /// `cas_step = n`, so that all uniques differ.
    pub cas_step: u64,
    /// The hasher that also makes the hashes passed to the store.
    pub hasher: Hasher,
}

impl Config {
    /// A single store of `limit` bytes with memcached's defaults.
    pub const fn new(limit: u64, hasher: Hasher) -> Self {
        Self { limit, item_max: ITEM_MAX_DEFAULT, evict: true, cas_first: 1, cas_step: 1, hasher }
    }

    /// Checks every field; [`Store::new`](super::Store::new) calls it.
    pub const fn check(&self) -> Result<(), ConfigError> {
        if self.limit < LIMIT_LEAST || self.limit > LIMIT_GREATEST {
            return Err(ConfigError::Limit(self.limit));
        }
        if self.item_max < ITEM_MAX_LEAST || self.item_max > ITEM_MAX_GREATEST {
            return Err(ConfigError::ItemMax(self.item_max));
        }
        if self.item_max as u64 > self.limit / 2 {
            return Err(ConfigError::ItemMaxOverHalf {
                item_max: self.item_max,
                limit: self.limit,
            });
        }
        if self.cas_first == 0 || self.cas_step == 0 {
            return Err(ConfigError::Cas);
        }
        Ok(())
    }
}

/// Why a [`Config`] was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The byte limit of one store is out of range.
    Limit(u64),
    /// The item size limit is out of range.
    ItemMax(u32),
    /// One item could take more than half of the store.
    ItemMaxOverHalf {
        /// The item size limit asked for.
        item_max: u32,
        /// The byte limit of this store.
        limit: u64,
    },
    /// `cas_first` and `cas_step` must not be 0.
    Cas,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Limit(got) => write!(
                f,
                "store limit of {got} bytes: allowed are {LIMIT_LEAST} to {LIMIT_GREATEST} per shard"
            ),
            Self::ItemMax(got) => write!(
                f,
                "item size limit of {got} bytes: allowed are {ITEM_MAX_LEAST} to {ITEM_MAX_GREATEST}"
            ),
            Self::ItemMaxOverHalf { item_max, limit } => write!(
                f,
                "item size limit of {item_max} bytes: at most half of the store's {limit} bytes per shard"
            ),
            Self::Cas => write!(f, "cas_first and cas_step must not be 0"),
        }
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn config() -> Config {
        Config::new(64 << 20, Hasher::new(0))
    }

    #[test]
    fn value_limit_is_memcacheds() {
        assert_eq!(item_limit(ITEM_MAX_DEFAULT, 1, 0), 1_048_516);
        assert_eq!(item_limit(ITEM_MAX_DEFAULT, 1, 9), 1_048_512);
        assert_eq!(item_limit(ITEM_MAX_LEAST, 250, 1), 1024 - 63 - 250);
    }

    #[test]
    fn every_limit_is_checked() {
        assert_eq!(config().check(), Ok(()));
        let small = Config { limit: 1000, ..config() };
        assert_eq!(small.check(), Err(ConfigError::Limit(1000)));
        assert!(small.check().unwrap_err().to_string().contains("1000 bytes"));
        let huge = Config { limit: LIMIT_GREATEST + 1, ..config() };
        assert_eq!(huge.check(), Err(ConfigError::Limit(LIMIT_GREATEST + 1)));
        let item = Config { item_max: 1023, ..config() };
        assert_eq!(item.check(), Err(ConfigError::ItemMax(1023)));
        let half = Config { limit: 1 << 20, ..config() };
        assert!(matches!(half.check(), Err(ConfigError::ItemMaxOverHalf { .. })));
        let cas = Config { cas_step: 0, ..config() };
        assert_eq!(cas.check(), Err(ConfigError::Cas));
    }
}
