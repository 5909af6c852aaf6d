//! The layout of every public struct is what `ffi/layout.txt` says; a C program that prints the same
//! table from the header is compared with that file too (`ffi/check.sh`).

use crate::client::*;
use crate::codec::*;
use crate::options::*;
use crate::request::*;
use crate::services::*;
use crate::types::*;
use core::fmt::Write;
use core::mem::offset_of;

macro_rules! table {
    ($($name:ident { $($field:ident)* })*) => {{
        let mut table = String::new();
        $(
            writeln!(table, "{} {} {}", stringify!($name), size_of::<$name>(), align_of::<$name>()).unwrap();
            $(
                let at = offset_of!($name, $field);
                let size = field_size(|s: &$name| size_of_val(&s.$field));
                writeln!(table, "{}.{} {at} {size}", stringify!($name), stringify!($field)).unwrap();
            )*
        )*
        table
    }};
}

/// The size of a field, from a struct of zeros.
fn field_size<T>(size: impl Fn(&T) -> usize) -> usize {
    // SAFETY: numbers and pointers only, for which zeros are a value.
    let zeros: T = unsafe { core::mem::zeroed() };
    size(&zeros)
}

#[test]
#[cfg(target_pointer_width = "64")]
fn layout_is_the_committed_one() {
    let here = table! {
        drywire_bytes { data len }
        drywire_client_options { struct_size flags window reserved value_max timeout_ns }
        drywire_client_stats { struct_size reserved sent answered refused failed in_flight }
        drywire_custom_options { struct_size window idle_ns }
        drywire_error_info { struct_size status code reserved offset found limit text }
        drywire_event { kind flags id a b num aux }
        drywire_fanout_options {
            struct_size history subscriptions members topic_bytes total_bytes heartbeat_ns unix_ms
        }
        drywire_framer_options {
            struct_size kind max_payload flags oversize length_width length_offset counts adjustment
            type_width extra strip terminator delimiter delimiter_len reserved
        }
        drywire_iov { base len }
        drywire_memcached_options {
            struct_size item_max memory seed unix_start no_evict no_flush pid reserved
        }
        drywire_memcached_request {
            struct_size verb flags item_flags keys key_count value num exptime reserved timeout_ns
        }
        drywire_memcached_stats {
            struct_size reserved items item_bytes memory memory_limit gets hits sets evictions
        }
        drywire_ready { id user flags reserved }
        drywire_server_options {
            struct_size flags max_connections messages_per_turn input_limit output_high output_low
            drain_stall_ns linger_ns linger_bytes
        }
        drywire_server_stats {
            struct_size reserved connections accepted overloaded bytes_in bytes_out memory
        }
        drywire_sudoku_options { struct_size workers under_way guesses budget_ns }
    };
    let committed: String = include_str!("../../layout.txt")
        .lines()
        .filter(|line| !line.starts_with("DRYWIRE_"))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(here, committed);
}
