/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The library's memcached server as a node of the simulator. Settings: input limit, output marks,
 * messages a turn, largest item, connections, flags.
 */
#include "sim_host.h"

static drywire_status make(const uint64_t *settings, drywire_server **server) {
    drywire_server_options options;
    drywire_memcached_options memcached;
    drywire_server_options_init(&options, sizeof options);
    drywire_memcached_options_init(&memcached, sizeof memcached);
    options.input_limit = settings[0];
    options.output_high = settings[1];
    options.output_low = settings[2];
    options.messages_per_turn = (uint32_t)settings[3];
    memcached.item_max = (uint32_t)settings[4];
    options.max_connections = (uint32_t)settings[5];
    options.flags = (uint32_t)settings[6];
    memcached.memory = 64 << 20;
    memcached.seed = 7;
    memcached.unix_start = 1800000000;
    return drywire_memcached_server_new(&options, &memcached, server);
}

const sim_protocol sim_protocol_here = {make, NULL, NULL};
