//! The layout of every public struct is what `ffi/layout.txt` says; a C program that prints the same
//! table from the header is compared with that file too (`ffi/check.sh`).

use crate::client::*;
use crate::codec::*;
use crate::options::*;
use crate::policy::{
    admission::*, drain::*, gates::*, heartbeat::*, pause::*, peers::*, pick::*, sending::*, *,
};
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
        drywire_admission { struct_size reserved state }
        drywire_admission_ask {
            struct_size request_class workers flags queue_len queue_bytes oldest_ns cost_ns
            deadline_ns conn_out conn_waiting conns_waiting conn_crowded_ns
        }
        drywire_admission_options {
            struct_size shares budget_ns give_up_ns target_ns interval_ns queue_max queue_bytes
            conn_out service_guess_ns
        }
        drywire_backend { key weight pending draining reserved state }
        drywire_bytes { data len }
        drywire_client_options { struct_size flags window reserved value_max timeout_ns }
        drywire_client_stats { struct_size reserved sent answered refused failed in_flight }
        drywire_custom_options { struct_size window idle_ns }
        drywire_decision { what why num time_ns next_ns }
        drywire_drain { struct_size reserved state }
        drywire_drain_options { struct_size reserved announce_ns grace_ns spread_ns hard_ns }
        drywire_error_info { struct_size status code reserved offset found limit text }
        drywire_event { kind flags id a b num aux }
        drywire_fanout_options {
            struct_size history subscriptions members topic_bytes total_bytes heartbeat_ns unix_ms
            fate keys topic_messages topics keep_unused_ns slow reserved rules rule_count lobby
        }
        drywire_fate_rule { pattern fate reserved }
        drywire_framer_options {
            struct_size kind max_payload flags oversize length_width length_offset counts adjustment
            type_width extra strip terminator delimiter delimiter_len reserved
        }
        drywire_heartbeat { struct_size reserved state }
        drywire_heartbeat_options { struct_size reserved interval_ns timeout_ns pong_ns stall_ns }
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
        drywire_out_gate { struct_size reserved state }
        drywire_out_gate_options {
            struct_size when_full hard soft soft_for_ns no_progress_ns stall stall_each_ns
            stall_total_ns
        }
        drywire_patience { struct_size reserved state }
        drywire_patience_options { struct_size reserved idle_ns request_ns }
        drywire_phi { struct_size reserved state }
        drywire_phi_options { struct_size z pause_ns deviation_min_ns }
        drywire_pick_options {
            struct_size pending_max bound_percent panic_percent penalty out_after half_life_ns
            out_for_ns out_max_ns
        }
        drywire_ping_flood { struct_size reserved state }
        drywire_ping_flood_options { struct_size burst strikes reserved gap_ns }
        drywire_read_gate { struct_size reserved state }
        drywire_read_gate_options {
            struct_size turn_messages turn_bytes conn_in_high conn_in_low conn_out_high conn_out_low
            queue_high queue_low total_high total_low
        }
        drywire_ready { id user flags reserved }
        drywire_refusal_pause { struct_size reserved state }
        drywire_refusal_window { struct_size reserved state }
        drywire_retry { struct_size reserved state }
        drywire_retry_options {
            struct_size percent floor burst attempts reserved backoff_ns backoff_max_ns
        }
        drywire_server_options {
            struct_size flags max_connections messages_per_turn input_limit output_high output_low
            drain_stall_ns linger_ns linger_bytes idle_ns own_stall_ns output_stall_ns output_hard
            output_soft output_soft_ns total_limit refusal_pause_ns refusal_pause_from reserved
        }
        drywire_server_stats {
            struct_size reserved connections accepted overloaded bytes_in bytes_out memory
        }
        drywire_stall_guard { struct_size reserved state }
        drywire_sudoku_options {
            struct_size workers under_way guesses budget_ns give_up_ns target_ns interval_ns
            service_guess_ns queue_max queue_bytes conn_out
        }
        drywire_throttle { struct_size reserved state }
        drywire_throttle_options { struct_size k_percent most_percent reserved window_ns }
    };
    let committed: String = include_str!("../../layout.txt")
        .lines()
        .filter(|line| !line.starts_with("DRYWIRE_"))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(here, committed);
}
