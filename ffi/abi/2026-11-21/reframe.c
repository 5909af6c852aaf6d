/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A filter: reads frames of one framing from standard input and writes them in another.
 *
 *   reframe lines u32 < text > binary
 *   reframe u32 lines < binary > text
 *
 * Framings: lines (LF), crlf, u8, u16, u32 (big-endian), u32le, varint. Exit code 1, with the offset
 * on standard error, if the input breaks its framing or ends inside a frame.
 */
#include <drywire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 20, PAYLOAD_MAX = BUFFER - 64 };

static drywire_framer *framer(const char *name) {
    static const struct {
        const char *name;
        uint32_t kind, width, flags, terminator;
    } known[] = {
        {"lines", DRYWIRE_FRAMING_LINES, 4, 0, DRYWIRE_LINES_LF},
        {"crlf", DRYWIRE_FRAMING_LINES, 4, 0, DRYWIRE_LINES_CRLF},
        {"u8", DRYWIRE_FRAMING_LENGTH_PREFIX, 1, 0, 0},
        {"u16", DRYWIRE_FRAMING_LENGTH_PREFIX, 2, 0, 0},
        {"u32", DRYWIRE_FRAMING_LENGTH_PREFIX, 4, 0, 0},
        {"u32le", DRYWIRE_FRAMING_LENGTH_PREFIX, 4, DRYWIRE_FRAMING_LITTLE_ENDIAN, 0},
        {"varint", DRYWIRE_FRAMING_LENGTH_PREFIX, DRYWIRE_WIDTH_VARINT32, 0, 0},
    };
    size_t i;
    for (i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) == 0) {
            drywire_framer_options options;
            drywire_framer *result;
            drywire_framer_options_init(&options, sizeof options);
            options.kind = known[i].kind;
            options.length_width = known[i].width;
            options.flags = known[i].flags;
            options.terminator = known[i].terminator;
            options.max_payload = PAYLOAD_MAX;
            return drywire_framer_new(&options, &result) == DRYWIRE_OK ? result : NULL;
        }
    }
    return NULL;
}

static int complain(const drywire_framer *from, drywire_status status) {
    drywire_error_info info;
    info.struct_size = sizeof info;
    drywire_framer_last_error(from, &info);
    fprintf(stderr, "reframe: %s at byte %llu: %.*s\n", drywire_status_name(status),
            (unsigned long long)(info.status ? info.offset : drywire_framer_position(from)),
            (int)info.text.len, (const char *)info.text.data);
    return 1;
}

/* Writes one frame; returns 0, or 1 after a message. */
static int put(const drywire_framer *to, drywire_bytes payload) {
    static uint8_t frame[BUFFER + 64];
    size_t n;
    drywire_status status =
        drywire_framer_encode(to, 0, 0, payload.data, payload.len, frame, sizeof frame, &n);
    if (status != DRYWIRE_OK) {
        fprintf(stderr, "reframe: a payload of %zu bytes cannot be written: %s\n", payload.len,
                drywire_status_name(status));
        return 1;
    }
    return fwrite(frame, 1, n, stdout) != n;
}

static int run(drywire_framer *from, const drywire_framer *to) {
    static uint8_t buffer[BUFFER];
    size_t have = 0;
    for (;;) {
        drywire_event events[64];
        drywire_status status;
        size_t consumed, i, n, at = 0;
        ssize_t got = read(STDIN_FILENO, buffer + have, sizeof buffer - have);
        if (got < 0) {
            perror("reframe");
            return 1;
        }
        if (got == 0) {
            status = drywire_framer_finish(from, buffer, have);
            return status == DRYWIRE_OK ? fflush(stdout) != 0 : complain(from, status);
        }
        have += (size_t)got;
        do {
            status = drywire_framer_decode(from, buffer + at, have - at, events, 64, &n, &consumed);
            for (i = 0; i < n; i++) {
                if (put(to, events[i].a) != 0) {
                    return 1;
                }
            }
            at += consumed;
            if (status < 0) {
                return complain(from, status);
            }
        } while (status == DRYWIRE_MORE);
        memmove(buffer, buffer + at, have - at); /* less than a frame */
        have -= at;
    }
}

int main(int argc, char **argv) {
    drywire_framer *from = argc == 3 ? framer(argv[1]) : NULL;
    drywire_framer *to = argc == 3 ? framer(argv[2]) : NULL;
    int result = 2;
    if (from == NULL || to == NULL) {
        fprintf(stderr, "usage: %s FROM TO, each of lines crlf u8 u16 u32 u32le varint\n", argv[0]);
    } else {
        result = run(from, to);
    }
    drywire_framer_free(from);
    drywire_framer_free(to);
    return result;
}
