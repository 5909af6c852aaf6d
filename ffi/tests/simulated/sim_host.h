/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A server written against drywire.h as a node of the simulator: the host loop is sim_host.c, the
 * simulator's side is host.rs. A protocol is one more C file, which defines `sim_protocol`.
 */
#ifndef SIM_HOST_H
#define SIM_HOST_H

#include <drywire.h>

/* What the C file of a protocol gives. */
typedef struct sim_protocol {
    /* Makes the server of one run. `settings` are numbers of the test's. */
    drywire_status (*make)(const uint64_t *settings, drywire_server **server);
    /* Called after everything that happens: the place to poll requests and to answer them. NULL for
     * protocols that answer by themselves. */
    void (*turn)(drywire_server *server, uint64_t now_ns);
    /* How many pieces of slow work run at a time. NULL for protocols that have none. */
    uint32_t (*workers)(const uint64_t *settings);
} sim_protocol;

extern const sim_protocol sim_protocol_here;

/* What the simulator lends for one call: its clock and its network. */
typedef struct sim_io {
    void *world;
    uint64_t now_ns;
    uint32_t watching; /* `look` is wanted */
    uint32_t reserved;
    const uint8_t *(*input)(void *world, uint32_t link, size_t *len);
    void (*take)(void *world, uint32_t link, size_t n);
    size_t (*write)(void *world, uint32_t link, const uint8_t *data, size_t len);
    void (*finish)(void *world, uint32_t link);
    void (*close)(void *world, uint32_t link);
    void (*reset)(void *world, uint32_t link);
    void (*again)(void *world, uint32_t link);
    /* 0 to feed, 1 to read into reserved room: a decision of the run. */
    uint32_t (*way)(void *world, uint32_t link);
    /* After a call that may have changed something: input given and output sent so far, all output
     * that waits, and SIM_* added up. */
    void (*look)(void *world, uint32_t link, uint64_t fed, uint64_t sent, const drywire_iov *iov,
                 size_t n, uint32_t flags);
    void (*over)(void *world, uint32_t link);
    /* A piece of work has begun: its SIM_RESULT comes later, when is a decision of the run. */
    void (*work)(void *world, uint32_t slot);
    void (*spins)(void *world);
} sim_io;

#define SIM_CAUGHT_UP 1u
#define SIM_ENDING 2u
#define SIM_TIMED_OUT 4u

/* What happens to a node. */
enum { SIM_OPENED, SIM_READABLE, SIM_WRITABLE, SIM_FIN, SIM_RESET, SIM_TIMEOUT, SIM_TURN, SIM_WOKE, SIM_DRAIN, SIM_RESULT };

/* How a link stands. */
typedef struct sim_standing {
    uint32_t held, wants, ending, ended;
    uint64_t unsent;
} sim_standing;

typedef struct sim_host sim_host;

sim_host *sim_host_new(const uint64_t *settings);
void sim_host_free(sim_host *host);
void sim_host_event(sim_host *host, const sim_io *io, uint32_t what, uint32_t link);
uint64_t sim_host_deadline(const sim_host *host);
uint64_t sim_host_connections(const sim_host *host);
void sim_host_link(const sim_host *host, uint32_t link, sim_standing *standing);

#endif
