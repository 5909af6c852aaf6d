//! The memcached service: its options, its stores.

use crate::{Failure, units};
use core::fmt;
use drywire::conn::{HostSettings, Limits};
use drywire::engine::{Engine, Local};
use drywire::memcache::store::{
    Config as StoreConfig, Hasher, ITEM_MAX_GREATEST, ITEM_MAX_LEAST, LIMIT_GREATEST, LIMIT_LEAST,
    Store,
};
use drywire::memcache::{Config, Part, Server, Shared};
use drywire_mio::{Host, Listen, Locked};
use std::hash::{BuildHasher, RandomState};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Memory for items, all overhead included: megabytes, or a size such as 512k, 64M, 2G
    #[arg(short = 'm', long, value_name = "SIZE", default_value = "64M", value_parser = megabytes)]
    memory_limit: u64,
    /// The largest item: bytes, or a size such as 512k, 4M
    #[arg(short = 'I', long, value_name = "SIZE", default_value = "1M", value_parser = item_size)]
    max_item_size: u32,
    /// Refuse to store when memory is full, instead of removing cold items
    #[arg(short = 'M', long)]
    disable_evictions: bool,
    /// Refuse the flush_all command
    #[arg(short = 'F', long)]
    disable_flush_all: bool,
}

impl Options {
    /// Adds the service to a host that was `told` so.
    pub(super) fn serve(
        &self,
        host: Host,
        listen: &[Listen],
        told: HostSettings,
        limits: Limits,
    ) -> Result<Host, Failure> {
        let (threads, conns) = (told.threads as usize, told.max_connections);
        let hasher = Hasher::new(RandomState::new().hash_one(0));
        let parts = self.parts(threads, &hasher)?;
        let unix_start = i64::try_from(host.clock().unix_start().as_secs()).unwrap_or(i64::MAX);
        let config = Config {
            flush: !self.disable_flush_all,
            pid: std::process::id(),
            host: told,
            limits,
            ..Config::new(hasher, unix_start)
        };
        let listen = listen.iter().cloned();
        Ok(if threads == 1 {
            // One loop asks for one machine, which owns the parts: no locks.
            let parts = std::sync::Mutex::new(Some(Local::new(parts)));
            host.serve(listen, move || {
                let parts = parts.lock().ok().and_then(|mut parts| parts.take());
                let shared = Shared::new(config.clone(), parts.expect("one loop, one machine"));
                Engine::<Server<_>>::new(shared, limits, conns as usize)
            })
        } else {
            let parts = Locked::new(parts);
            host.serve(listen, move || {
                let shared = Shared::new(config.clone(), parts.clone());
                Engine::<Server<_>>::new(shared, limits, conns as usize)
            })
        })
    }

    /// The stores that share the memory: enough that threads rarely meet in one, few enough that
    /// each has room for several of the largest items.
    fn parts(&self, threads: usize, hasher: &Hasher) -> Result<Vec<Part>, Failure> {
        let (limit, item_max) = (self.memory_limit, u64::from(self.max_item_size));
        if limit < LIMIT_LEAST.max(2 * item_max) {
            return Err(Failure::usage(format!(
                "-m {}: at least {} is needed, twice the largest item (-I {})",
                Size(limit),
                Size(LIMIT_LEAST.max(2 * item_max)),
                Size(item_max)
            )));
        }
        let useful = if threads == 1 { 1 } else { 4 * threads as u64 };
        let roomy = limit / LIMIT_LEAST.max(8 * item_max);
        let least = limit.div_ceil(LIMIT_GREATEST).next_power_of_two();
        let count = useful.min(previous_power_of_two(roomy)).next_power_of_two().max(least);
        let store = |index| {
            let config = StoreConfig {
                item_max: self.max_item_size,
                evict: !self.disable_evictions,
                cas_first: index + 1,
                cas_step: count,
                ..StoreConfig::new(limit / count, hasher.clone())
            };
            Store::new(config).map(Part::new).map_err(Failure::usage)
        };
        (0..count).map(store).collect()
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (memory, item) = (Size(self.memory_limit), Size(self.max_item_size.into()));
        write!(f, "{memory} for items of up to {item}")
    }
}

/// Bytes in the largest unit that shows them exactly.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousands = if self.0 == 0 { 0 } else { (self.0.trailing_zeros() / 10).min(3) };
        let unit = ["", "k", "M", "G"][thousands as usize];
        write!(f, "{}{unit}", self.0 >> (10 * thousands))
    }
}

const fn previous_power_of_two(n: u64) -> u64 {
    match n.checked_ilog2() {
        Some(log) => 1 << log,
        None => 1,
    }
}

/// As memcached reads it, a bare number is megabytes.
fn megabytes(text: &str) -> Result<u64, String> {
    let bare = text.bytes().all(|b| b.is_ascii_digit());
    let size = units::size(text)?;
    let size = if bare { size.checked_mul(1 << 20) } else { Some(size) };
    size.filter(|size| *size <= 1 << 45).ok_or_else(|| format!("`{text}` is more than 32T"))
}

fn item_size(text: &str) -> Result<u32, String> {
    let size = units::size(text)?;
    let allowed = u64::from(ITEM_MAX_LEAST)..=u64::from(ITEM_MAX_GREATEST);
    u32::try_from(size).ok().filter(|size| allowed.contains(&u64::from(*size))).ok_or_else(|| {
        let (least, greatest) = (Size(*allowed.start()), Size(*allowed.end()));
        format!("an item size limit of `{text}`: allowed are {least} to {greatest}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(memory: &str, item: &str) -> Options {
        Options {
            memory_limit: megabytes(memory).unwrap(),
            max_item_size: item_size(item).unwrap(),
            disable_evictions: false,
            disable_flush_all: false,
        }
    }

    #[test]
    fn parts_are_a_power_of_two_and_roomy() {
        for (memory, item, threads, count) in [
            ("64", "1M", 1, 1),
            ("64", "1M", 2, 8),
            ("64", "1M", 4, 8),
            ("1G", "1M", 4, 16),
            ("1G", "1M", 3, 16),
            ("8M", "1M", 4, 1),
            ("2M", "1M", 4, 1),
            ("256k", "1k", 4, 1),
            ("1M", "1k", 4, 4),
            ("100G", "1M", 1, 4),
        ] {
            let parts = options(memory, item).parts(threads, &Hasher::new(1)).unwrap();
            assert_eq!(parts.len(), count, "-m {memory} -I {item} -t {threads}");
        }
    }

    #[test]
    fn too_little_memory_is_told_with_how_much_is_needed() {
        for (memory, item, needed) in [("1", "1M", "2M"), ("0", "1k", "256k"), ("64", "1G", "2G")] {
            let error = options(memory, item).parts(1, &Hasher::new(1)).unwrap_err();
            assert!(error.message.contains(needed), "{}", error.message);
            assert_eq!(error.code, 2);
        }
    }

    #[test]
    fn sizes_are_read_as_memcached_does() {
        assert_eq!(megabytes("64"), Ok(64 << 20));
        assert_eq!(megabytes("512k"), Ok(512 << 10));
        assert_eq!(megabytes("2G"), Ok(2 << 30));
        assert_eq!(item_size("2048"), Ok(2048));
        assert!(item_size("2G").is_err_and(|e| e.contains("1k to 1G")));
        assert!(megabytes("99999999999999").is_err());
        assert_eq!(Size(0).to_string(), "0");
        assert_eq!(Size(1536 << 20).to_string(), "1536M");
    }
}
