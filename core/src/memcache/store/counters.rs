//! What the store counts, for `stats`.

use core::ops::AddAssign;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Outcomes counted by a store since it was made, and the gauges `curr_items` and `bytes`.
        /// Names are those of memcached's `stats`; sums over shards are made with `+=`.
        ///
        /// A command for many keys counts once per key. Not here, because a store cannot know
        /// them: `cmd_flush` (one command flushes every shard) and everything about connections.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Calls `f` with the name and value of each, in the order of the fields.
            pub fn each(&self, mut f: impl FnMut(&'static str, u64)) {
                $(f(stringify!($name), self.$name);)*
            }

            /// Forgets what was counted; the gauges `curr_items` and `bytes` stay.
            pub fn reset(&mut self) {
                *self = Self {
                    curr_items: self.curr_items,
                    bytes: self.bytes,
                    ..Self::default()
                };
            }
        }

        impl AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)*
            }
        }
    };
}

counters! {
    /// Items held now, including expired ones that nobody has met yet.
    curr_items,
    /// Items stored.
    total_items,
    /// Bytes that items take now: keys, values and their headers.
    bytes,
    /// Live items removed to make room.
    evictions,
    /// Live items removed to make room that no client had fetched.
    evicted_unfetched,
    /// Expired or flushed items removed that no client had fetched.
    expired_unfetched,
    /// Expired or flushed items removed while making room.
    reclaimed,
    /// Expired or flushed items removed by background upkeep.
    crawler_reclaimed,
    /// Items looked at by background upkeep.
    crawler_items_checked,
    /// Keys looked up by get.
    cmd_get,
    /// Keys found by get.
    get_hits,
    /// Keys not found by get, or found dead.
    get_misses,
    /// Keys found by get, but expired.
    get_expired,
    /// Keys found by get, but flushed.
    get_flushed,
    /// Storage commands that reached the store.
    cmd_set,
    /// Keys named by touch or get-and-touch.
    cmd_touch,
    /// Keys found by touch or get-and-touch.
    touch_hits,
    /// Keys not found by touch or get-and-touch.
    touch_misses,
    /// Keys deleted.
    delete_hits,
    /// Keys not found by delete.
    delete_misses,
    /// Keys found by incr.
    incr_hits,
    /// Keys not found by incr.
    incr_misses,
    /// Keys found by decr.
    decr_hits,
    /// Keys not found by decr.
    decr_misses,
    /// cas commands that stored.
    cas_hits,
    /// cas commands for a key that is not there.
    cas_misses,
    /// cas commands with an outdated unique.
    cas_badval,
    /// Values refused because they exceed the item size limit.
    store_too_large,
    /// Values refused because nothing could be removed to make room.
    store_no_memory,
}
