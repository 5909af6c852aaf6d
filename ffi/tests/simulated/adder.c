/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_host.h"

#include <stdio.h>
#include <string.h>

/* A protocol in C: `2+3` in a line is answered with `5`. */
static drywire_status make(const uint64_t *settings, drywire_server **server) {
    drywire_server_options options;
    drywire_framer_options lines;
    (void)settings;
    drywire_server_options_init(&options, sizeof options);
    options.flags = DRYWIRE_DEBUG_VIEWS; /* what may not be looked at any more is overwritten */
    drywire_framer_options_init(&lines, sizeof lines);
    lines.kind = DRYWIRE_FRAMING_LINES;
    lines.max_payload = 100;
    return drywire_custom_server_new(&options, &lines, NULL, server);
}

static uint64_t number(const uint8_t **at, const uint8_t *end) {
    uint64_t n = 0;
    while (*at < end && **at >= '0' && **at <= '9') {
        n = n * 10 + (uint64_t)(*(*at)++ - '0');
    }
    return n;
}

static void answer(drywire_server *server, uint64_t now, const drywire_event *request) {
    const uint8_t *at = request->a.data, *end = at + request->a.len;
    uint64_t sum = number(&at, end);
    char text[32];
    if (at < end && *at == '+') {
        at++;
        sum += number(&at, end);
    }
    snprintf(text, sizeof text, at == end ? "%llu" : "what?", (unsigned long long)sum);
    (void)!drywire_server_reply(server, now, request->id, request->num, 0, 0, (const uint8_t *)text,
                                strlen(text));
}

/* Takes all requests first, so that long ones could be put last. */
static void turn(drywire_server *server, uint64_t now) {
    static _Thread_local drywire_event requests[1024];
    size_t count = 0, n, i;
    drywire_status status;
    do {
        status = drywire_server_poll(server, requests + count, 8, &n);
        count += n;
#ifdef FIXED
        for (i = 0; i < count; i++) {
            answer(server, now, &requests[i]);
        }
        count = 0;
#endif
    } while (status == DRYWIRE_MORE && count + 8 <= 1024);
    for (i = 0; i < count; i++) {
        answer(server, now, &requests[i]);
    }
}

const sim_protocol sim_protocol_here = {make, turn, NULL};
