/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A memcached client on poll(2): stores COUNT values, reads them back in one pipeline, checks each,
 * and prints what it saw. Exit code 0 if every request got its one right answer.
 *
 *   client PORT COUNT
 */
#define _GNU_SOURCE
#include <drywire.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef struct tally {
    unsigned long stored, hits, wrong, failed;
} tally;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static size_t make_value(unsigned long i, char *value) {
    size_t len = (size_t)(i * 37 % 3000);
    memset(value, 'a' + (int)(i % 26), len);
    return len;
}

/* Request number `i`: the first half store, the second half read. */
static drywire_status submit(drywire_client *client, unsigned long i, unsigned long count) {
    static char value[3000];
    char key[32];
    drywire_memcached_request request;
    drywire_bytes one;
    uint64_t token;
    one.len = (size_t)snprintf(key, sizeof key, "key-%lu", i % count);
    one.data = (const uint8_t *)key;
    drywire_memcached_request_init(&request, sizeof request);
    request.verb = i < count ? DRYWIRE_MEMCACHED_SET : DRYWIRE_MEMCACHED_GET;
    request.keys = &one;
    request.key_count = 1;
    if (i < count) {
        request.value.data = (const uint8_t *)value;
        request.value.len = make_value(i, value);
        request.item_flags = (uint32_t)i;
    }
    return drywire_client_submit(client, now_ns(), &request, &token);
}

static void check(const drywire_event *e, tally *t) {
    char expected[3000];
    if (e->kind == DRYWIRE_EVENT_VALUE) {
        unsigned long i = strtoul((const char *)e->a.data + 4, NULL, 10);
        size_t len = make_value(i, expected);
        if (e->b.len == len && memcmp(e->b.data, expected, len) == 0 && e->flags == i) {
            t->hits++;
        } else {
            t->wrong++;
        }
    } else if (e->kind == DRYWIRE_EVENT_DONE) {
        t->stored += e->flags == DRYWIRE_OUTCOME_STORED;
        t->failed += e->flags == DRYWIRE_OUTCOME_FAILED;
    }
}

static int send_some(drywire_client *client, int fd) {
    drywire_iov iov[16];
    struct msghdr message = {0};
    size_t count, bytes;
    ssize_t n;
    if (drywire_client_output(client, iov, 16, &count, &bytes) < 0) {
        return -1;
    }
    message.msg_iov = (struct iovec *)iov; /* the same layout, see drywire.h */
    message.msg_iovlen = count;
    n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        return errno == EAGAIN ? 0 : -1;
    }
    return drywire_client_output_consume(client, (size_t)n) < 0 ? -1 : 0;
}

static int receive_some(drywire_client *client, int fd) {
    static uint8_t buffer[65536];
    size_t at = 0, consumed;
    ssize_t n = recv(fd, buffer, 4096, MSG_DONTWAIT);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN ? 0 : drywire_client_eof(client);
    }
    while (at < (size_t)n) {
        if (drywire_client_feed(client, now_ns(), buffer + at, (size_t)n - at, &consumed) < 0) {
            return -1;
        }
        at += consumed;
    }
    return 0;
}

static tally run(drywire_client *client, int fd, unsigned long count) {
    unsigned long next = 0;
    tally t = {0};
    for (;;) {
        struct pollfd p = {0};
        drywire_event events[64];
        drywire_client_stats stats;
        uint32_t wants;
        size_t n;
        while (next < 2 * count && submit(client, next, count) == DRYWIRE_OK) {
            next++;
        }
        stats.struct_size = sizeof stats;
        drywire_client_get_stats(client, &stats);
        wants = drywire_client_wants(client);
        if ((next == 2 * count && stats.in_flight == 0) ||
            (wants & (DRYWIRE_WANT_CLOSE | DRYWIRE_WANT_AGAIN)) == DRYWIRE_WANT_CLOSE) {
            t.failed += 2 * count - next;
            return t;
        }
        p.fd = fd;
        p.events = (short)((wants & DRYWIRE_WANT_READ ? POLLIN : 0) |
                           (wants & DRYWIRE_WANT_WRITE ? POLLOUT : 0));
        poll(&p, 1,
             wants & DRYWIRE_WANT_AGAIN
                 ? 0
                 : drywire_deadline_ms(drywire_client_next_deadline(client), now_ns()));
        drywire_client_tick(client, now_ns());
        if (((p.revents & POLLOUT) && send_some(client, fd) < 0) ||
            ((p.revents & (POLLIN | POLLHUP | POLLERR)) && receive_some(client, fd) < 0)) {
            drywire_client_eof(client);
        }
        while (drywire_client_poll(client, events, 64, &n) >= 0 && n > 0) {
            size_t i;
            for (i = 0; i < n; i++) {
                check(&events[i], &t);
            }
        }
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {0};
    drywire_client_options options;
    drywire_client *client;
    unsigned long count;
    tally t;
    int fd;
    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT COUNT\n", argv[0]);
        return 2;
    }
    count = strtoul(argv[2], NULL, 10);
    drywire_client_options_init(&options, sizeof options);
    options.timeout_ns = 10000000000u;
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        drywire_memcached_client_new(&options, &client) != DRYWIRE_OK) {
        perror("client");
        return 1;
    }
    t = run(client, fd, count);
    printf("stored %lu, read %lu, wrong %lu, failed %lu\n", t.stored, t.hits, t.wrong, t.failed);
    drywire_client_free(client);
    close(fd);
    return t.stored == count && t.hits == count ? 0 : 1;
}
