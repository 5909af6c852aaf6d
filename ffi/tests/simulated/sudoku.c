/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The library's sudoku server, whose requests are slow work, as a node of the simulator. Settings:
 * input limit, output marks, messages a turn, connections, deadline, workers, guesses, boards under way,
 * what one is assumed to take at first.
 */
#include "sim_host.h"

static drywire_status make(const uint64_t *settings, drywire_server **server) {
    drywire_server_options options;
    drywire_sudoku_options sudoku;
    drywire_server_options_init(&options, sizeof options);
    drywire_sudoku_options_init(&sudoku, sizeof sudoku);
    options.input_limit = settings[0];
    options.output_high = settings[1];
    options.output_low = settings[2];
    options.messages_per_turn = (uint32_t)settings[3];
    options.max_connections = (uint32_t)settings[4];
    drywire_sudoku_options_for_deadline(&sudoku, settings[5]);
    sudoku.workers = (uint32_t)settings[6];
    sudoku.guesses = (uint32_t)settings[7];
    sudoku.under_way = (uint32_t)settings[8];
    sudoku.service_guess_ns = settings[9];
    return drywire_sudoku_server_new(&options, &sudoku, server);
}

static uint32_t workers(const uint64_t *settings) {
    return (uint32_t)settings[6];
}

const sim_protocol sim_protocol_here = {make, NULL, workers};
