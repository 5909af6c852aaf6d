/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The guard policies within a sequence of calls: any numbers in the states, the settings and the
 * arguments. Included by ops.h.
 */
#ifndef OPS_POLICIES_H
#define OPS_POLICIES_H

typedef struct policies {
    drywire_admission admission;
    drywire_read_gate read_gate;
    drywire_refusal_window refusal_window;
    drywire_refusal_pause refusal_pause;
    drywire_out_gate out_gate;
    drywire_patience patience;
    drywire_heartbeat heartbeat;
    drywire_phi phi;
    drywire_ping_flood ping_flood;
    drywire_stall_guard stall_guard;
    drywire_drain drain;
    drywire_throttle throttle;
    drywire_retry retry;
    drywire_backend backends[3];
} policies;

static void policies_setup(policies *p) {
    unsigned i;
    MUST(drywire_admission_init(&p->admission, sizeof p->admission, NULL, 0) == DRYWIRE_OK);
    MUST(drywire_read_gate_init(&p->read_gate, sizeof p->read_gate) == DRYWIRE_OK);
    MUST(drywire_refusal_window_init(&p->refusal_window, sizeof p->refusal_window) == DRYWIRE_OK);
    MUST(drywire_refusal_pause_init(&p->refusal_pause, sizeof p->refusal_pause) == DRYWIRE_OK);
    MUST(drywire_out_gate_init(&p->out_gate, sizeof p->out_gate) == DRYWIRE_OK);
    MUST(drywire_patience_init(&p->patience, sizeof p->patience, 0) == DRYWIRE_OK);
    MUST(drywire_heartbeat_init(&p->heartbeat, sizeof p->heartbeat, NULL, 0, 1) == DRYWIRE_OK);
    MUST(drywire_phi_init(&p->phi, sizeof p->phi, NULL, 0, 1000) == DRYWIRE_OK);
    MUST(drywire_ping_flood_init(&p->ping_flood, sizeof p->ping_flood) == DRYWIRE_OK);
    MUST(drywire_stall_guard_init(&p->stall_guard, sizeof p->stall_guard, 0) == DRYWIRE_OK);
    MUST(drywire_drain_init(&p->drain, sizeof p->drain) == DRYWIRE_OK);
    MUST(drywire_throttle_init(&p->throttle, sizeof p->throttle, 0) == DRYWIRE_OK);
    MUST(drywire_retry_init(&p->retry, sizeof p->retry, NULL, 0) == DRYWIRE_OK);
    for (i = 0; i < 3; i++) {
        MUST(drywire_backend_init(&p->backends[i], i, i) == DRYWIRE_OK);
    }
}

/* A number that matters: near the ends, near now, or any. */
static uint64_t any_number(ops *o) {
    unsigned kind = ops_byte(o);
    uint64_t wide = (uint64_t)ops_byte(o) << (kind >> 2 & 63) | ops_byte(o);
    switch (kind & 3) {
    case 0:
        return wide;
    case 1:
        return UINT64_MAX - wide;
    case 2:
        return o->now + (wide & 0xffff) - 0x8000;
    default:
        return wide & 0xff;
    }
}

/* Sets every number of a sized struct but its size to any number. */
static void scramble(ops *o, void *sized) {
    uint32_t size, i;
    memcpy(&size, sized, sizeof size);
    for (i = 8; i + 8 <= size; i += 8) {
        uint64_t number = any_number(o);
        memcpy((uint8_t *)sized + i, &number, sizeof number);
    }
}

static void ops_decided(ops *o, drywire_status status, const drywire_decision *d) {
    ops_say(o, (uint64_t)status);
    ops_say(o, ops_mix(0, d, sizeof *d));
}

static void ops_admission(ops *o, policies *p, int any) {
    drywire_admission_options options;
    drywire_admission_ask ask;
    drywire_decision d;
    drywire_admission_options_init(&options, sizeof options);
    drywire_admission_options_for_deadline(&options, any_number(o));
    drywire_admission_ask_init(&ask, sizeof ask);
    ask.queue_len = ops_byte(o);
    if (any) {
        scramble(o, &options);
        scramble(o, &ask);
        ask.flags &= DRYWIRE_ASK_DRAINING;
    }
    ops_decided(o, drywire_admission_admit(&p->admission, &options, o->now, &ask, &d), &d);
    MUST(d.what != 0);
    ops_decided(o, drywire_admission_dequeue(&p->admission, o->now, d.time_ns, any_number(o), &d), &d);
    drywire_admission_complete(&p->admission, any_number(o));
}

static void ops_gates(ops *o, policies *p, int any) {
    drywire_read_gate_options reading;
    drywire_out_gate_options writing;
    drywire_decision d;
    uint64_t pending = any_number(o), until = 0;
    drywire_read_gate_options_init(&reading, sizeof reading);
    drywire_out_gate_options_init_fanout(&writing, sizeof writing);
    if (any) {
        scramble(o, &reading);
        scramble(o, &writing);
        writing.when_full = ops_byte(o) % 3;
    }
    drywire_read_gate_took(&p->read_gate, any_number(o), ops_byte(o));
    ops_decided(o, drywire_read_gate_poll(&p->read_gate, &reading, any_number(o), any_number(o),
                                          any_number(o), any_number(o), &d), &d);
    drywire_read_gate_new_turn(&p->read_gate);
    ops_decided(o, drywire_read_gate_poll(&p->read_gate, &reading, 0, 0, 0, 0, &d), &d);
    MUST(d.what == DRYWIRE_READ_GATE_GO && d.num > 0 && d.why > 0); /* never stuck */
    ops_decided(o, drywire_out_gate_offer(&p->out_gate, &writing, o->now, pending, any_number(o),
                                          ops_byte(o) & 1, &d), &d);
    drywire_out_gate_sent(&p->out_gate, &writing, o->now, any_number(o), pending);
    ops_decided(o, drywire_out_gate_poll(&p->out_gate, &writing, o->now, pending, &d), &d);
    MUST(d.next_ns == drywire_out_gate_next_deadline(&p->out_gate, &writing, pending));
    ops_say(o, drywire_out_gate_progress(&p->out_gate));
    if (ops_byte(o) & 1) {
        MUST(drywire_refusal_window_refused(&p->refusal_window, any ? any_number(o) : 1000, ops_byte(o) & 7, 1, o->now,
                                            &until) == DRYWIRE_OK);
        MUST(until > o->now); /* it ends, and no spinning */
        ops_say(o, drywire_refusal_window_pauses_until(&p->refusal_window, 3, o->now));
        drywire_refusal_pause_refused(&p->refusal_pause, until);
    } else {
        drywire_refusal_pause_drained(&p->refusal_pause);
    }
    ops_decided(o, drywire_refusal_pause_poll(&p->refusal_pause, o->now, &d), &d);
    MUST(d.next_ns == drywire_refusal_pause_next_deadline(&p->refusal_pause));
    MUST((d.what != 0) == (d.next_ns != DRYWIRE_NO_DEADLINE) && d.next_ns > o->now);
}

static void ops_beats(ops *o, policies *p, int any) {
    drywire_heartbeat_options beat;
    drywire_phi_options phi;
    drywire_patience_options patience;
    drywire_ping_flood_options flood;
    drywire_decision d;
    uint64_t gap = 0, pending = any_number(o), progress = any_number(o);
    unsigned turns = 0;
    drywire_heartbeat_options_init(&beat, sizeof beat);
    drywire_heartbeat_options_every(&beat, any_number(o), ops_byte(o) & 1);
    drywire_phi_options_init(&phi, sizeof phi);
    drywire_patience_options_init(&patience, sizeof patience);
    drywire_ping_flood_options_init(&flood, sizeof flood);
    if (any) {
        scramble(o, &beat);
        scramble(o, &phi);
        scramble(o, &patience);
        scramble(o, &flood);
    }
    do { /* it is asked until it says nothing, which has to come */
        MUST(turns++ < 8);
        ops_decided(o, drywire_heartbeat_poll(&p->heartbeat, &beat, o->now, pending, progress, &d), &d);
        MUST(d.next_ns == drywire_heartbeat_next_deadline(&p->heartbeat, &beat, pending, progress));
    } while (d.what != 0);
    switch (ops_byte(o) & 7) {
    case 0:
        drywire_heartbeat_received(&p->heartbeat, o->now);
        break;
    case 1:
        drywire_heartbeat_progressed(&p->heartbeat, o->now);
        break;
    case 2:
        drywire_heartbeat_ping_left(&p->heartbeat, o->now);
        break;
    case 3:
        drywire_heartbeat_stalled(&p->heartbeat, any_number(o));
        break;
    case 4:
        drywire_phi_beat(&p->phi, &phi, o->now);
        drywire_phi_stalled(&p->phi, any_number(o));
        break;
    default:
        drywire_patience_observe(&p->patience, o->now, ops_byte(o) & 3);
        drywire_patience_stalled(&p->patience, ops_byte(o));
    }
    ops_say(o, drywire_phi_next_deadline(&p->phi, &phi));
    ops_decided(o, drywire_patience_poll(&p->patience, &patience, o->now, &d), &d);
    MUST(d.next_ns == drywire_patience_next_deadline(&p->patience, &patience));
    MUST(d.what != 0 || d.next_ns > o->now);
    ops_decided(o, drywire_ping_flood_ping(&p->ping_flood, &flood, o->now, &d), &d);
    drywire_stall_guard_woke(&p->stall_guard, any_number(o), o->now, any_number(o), &gap);
    ops_say(o, gap);
}

static void ops_drain(ops *o, policies *p, int any) {
    drywire_drain_options options;
    drywire_decision d;
    uint64_t requests = ops_byte(o) & 3, conns = any ? any_number(o) : ops_byte(o), closing = 0;
    drywire_drain_options_init(&options, sizeof options);
    if (any) {
        scramble(o, &options);
    }
    if (ops_byte(o) % 8 == 0) {
        drywire_drain_start(&p->drain, o->now);
    }
    ops_decided(o, drywire_drain_poll(&p->drain, &options, o->now, requests, conns, closing, conns, &d), &d);
    MUST(d.what != DRYWIRE_DRAIN_CLOSE || (d.num > 0 && d.num <= conns));
    MUST(d.next_ns == drywire_drain_next_deadline(&p->drain, &options, requests, conns, closing, conns));
    ops_say(o, drywire_drain_flags(&p->drain));
    if (d.what == DRYWIRE_DRAIN_DONE) {
        drywire_drain_init(&p->drain, sizeof p->drain);
    }
}

static void ops_sending(ops *o, policies *p, int any) {
    drywire_throttle_options throttle;
    drywire_retry_options retry;
    drywire_pick_options pick;
    drywire_decision d;
    drywire_throttle_options_init(&throttle, sizeof throttle);
    drywire_retry_options_init(&retry, sizeof retry);
    drywire_pick_options_init(&pick, sizeof pick);
    if (any) {
        scramble(o, &throttle);
        scramble(o, &retry);
        scramble(o, &pick);
    }
    drywire_retry_request(&p->retry, &retry, o->now);
    ops_decided(o, drywire_throttle_ask(&p->throttle, &throttle, o->now, any_number(o), &d), &d);
    drywire_throttle_accepted(&p->throttle, &throttle, o->now);
    ops_decided(o, drywire_retry_ask(&p->retry, &retry, o->now, ops_byte(o), ops_byte(o) & 3,
                                     ops_byte(o) & 1, any_number(o), any_number(o), any_number(o), &d), &d);
    MUST(d.what != 0);
    ops_decided(o, drywire_retry_hedge(&p->retry, &retry, o->now, any_number(o), any_number(o),
                                       ops_byte(o) & 1, &d), &d);
    MUST(d.what != 0);
    ops_decided(o, drywire_pick(&pick, p->backends, 3, ops_byte(o) & 1, any_number(o), ops_byte(o) & 7,
                                o->now, any_number(o), &d), &d);
    MUST(d.what != 0);
    if (d.what == DRYWIRE_PICK_TO) {
        MUST(d.num < 3 && p->backends[d.num].weight > 0 && !p->backends[d.num].draining);
        drywire_backend_sent(&p->backends[d.num]);
        drywire_backend_replied(&p->backends[d.num], &pick, o->now, ops_byte(o) & 3);
    }
    p->backends[ops_byte(o) % 3].draining = ops_byte(o) & 1;
}

static void ops_policies(ops *o, policies *p) {
    unsigned which = ops_byte(o);
    int any = which >> 3 & 1;
    if (which >> 4 == 15) { /* what lies in memory by mistake is a state too */
        scramble(o, &p->admission);
        scramble(o, &p->out_gate);
        scramble(o, &p->heartbeat);
        scramble(o, &p->phi);
        scramble(o, &p->patience);
        scramble(o, &p->drain);
        scramble(o, &p->throttle);
        scramble(o, &p->retry);
        scramble(o, &p->read_gate);
        scramble(o, &p->refusal_window);
        scramble(o, &p->refusal_pause);
    }
    switch (which & 7) {
    case 0:
    case 5:
        ops_admission(o, p, any);
        break;
    case 1:
    case 6:
        ops_gates(o, p, any);
        break;
    case 2:
    case 7:
        ops_beats(o, p, any);
        break;
    case 3:
        ops_drain(o, p, any);
        break;
    default:
        ops_sending(o, p, any);
    }
}

#endif
