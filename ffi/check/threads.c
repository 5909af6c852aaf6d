/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the header says of threads, for helgrind: servers of their own on several threads at once, and
 * handles that move from thread to thread. With an argument also what is forbidden: one server from
 * two threads at once, which is refused; that is for the address sanitizer and for plain runs, as
 * helgrind cannot know that refusing is the point.
 */
#include <drywire.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, TURNS = 200 };

#define MUST(what)                                                     \
    do {                                                               \
        if (!(what)) {                                                 \
            fprintf(stderr, "threads.c:%d: %s\n", __LINE__, #what);    \
            abort();                                                   \
        }                                                              \
    } while (0)

static const uint8_t commands[] = "set k 0 0 5\r\nhello\r\nget k\r\n";
static const char answers[] = "STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n";

static void exchange(drywire_conn *conn, uint64_t now) {
    char out[100];
    size_t n, consumed;
    MUST(drywire_conn_feed(conn, now, commands, sizeof commands - 1, &consumed) == DRYWIRE_OK);
    MUST(drywire_conn_output_copy(conn, (uint8_t *)out, sizeof out, &n) >= 0);
    MUST(n == sizeof answers - 1 && memcmp(out, answers, n) == 0);
    MUST(drywire_conn_output_consume(conn, now, n) == DRYWIRE_OK);
}

/* A server, its connections and its clients are this thread's alone. */
static void *alone(void *arg) {
    drywire_server *server;
    drywire_conn *conn;
    uint64_t turn;
    MUST(drywire_memcached_server_new(NULL, NULL, &server) == DRYWIRE_OK);
    MUST(drywire_conn_open(server, 0, NULL, &conn) == DRYWIRE_OK);
    for (turn = 0; turn < TURNS; turn++) {
        exchange(conn, turn);
    }
    drywire_server_free(server);
    drywire_conn_free(conn);
    return arg;
}

/* One server that goes round: whoever holds the lock has it. */
static struct shared {
    pthread_mutex_t lock;
    drywire_server *server;
    drywire_conn *conns[THREADS];
    uint64_t now;
} shared = {PTHREAD_MUTEX_INITIALIZER, NULL, {NULL}, 0};

static void *in_turns(void *arg) {
    int turn;
    for (turn = 0; turn < TURNS; turn++) {
        pthread_mutex_lock(&shared.lock);
        exchange(shared.conns[(turn + (int)(intptr_t)arg) % THREADS], ++shared.now);
        pthread_mutex_unlock(&shared.lock);
    }
    return arg;
}

/* Slow work runs while its server goes on. */
static void *work(void *arg) {
    MUST(drywire_work_run(arg) == DRYWIRE_OK);
    return arg;
}

static void slow_work(void) {
    /* Named, so that several of one connection are under way at once. */
    uint8_t board[] = "a:530070000600195000098000060800060003400803001700020006060000280000419005000080079\r\n";
    drywire_server *server;
    drywire_conn *conn;
    drywire_work *boards[THREADS];
    pthread_t threads[THREADS];
    size_t n, i;
    MUST(drywire_sudoku_server_new(NULL, NULL, &server) == DRYWIRE_OK);
    MUST(drywire_conn_open(server, 0, NULL, &conn) == DRYWIRE_OK);
    for (i = 0; i < THREADS; i++) {
        board[0] = (uint8_t)('a' + i);
        MUST(drywire_conn_feed(conn, i, board, sizeof board - 1, &n) == DRYWIRE_OK);
        MUST(drywire_server_next_work(server, i, &boards[i]) == DRYWIRE_OK);
        pthread_create(&threads[i], NULL, work, boards[i]);
    }
    for (i = THREADS; i-- > 0;) {
        pthread_join(threads[i], NULL);
        MUST(drywire_server_complete(server, 10, boards[i]) == DRYWIRE_OK);
        drywire_work_free(boards[i]);
    }
    MUST(drywire_conn_wants(conn) & DRYWIRE_WANT_WRITE);
    drywire_conn_free(conn);
    drywire_server_free(server);
}

/* Forbidden, and refused: never a crash, never a torn state. */
static void *at_once(void *arg) {
    uint64_t *refused = arg;
    int turn;
    for (turn = 0; turn < 100 * TURNS; turn++) {
        drywire_status status = drywire_server_tick(shared.server, 1000000);
        MUST(status == DRYWIRE_OK || status == DRYWIRE_ERR_REENTRANT);
        *refused += status != DRYWIRE_OK;
    }
    return NULL;
}

static void run(void *(*what)(void *), void *args[THREADS]) {
    pthread_t threads[THREADS];
    int i;
    for (i = 0; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, what, args[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

int main(int argc, char **argv) {
    static uint64_t refused[THREADS];
    void *numbers[THREADS], *counts[THREADS];
    int i;
    (void)argv;
    for (i = 0; i < THREADS; i++) {
        numbers[i] = (void *)(intptr_t)i;
        counts[i] = &refused[i];
    }
    MUST(drywire_memcached_server_new(NULL, NULL, &shared.server) == DRYWIRE_OK);
    for (i = 0; i < THREADS; i++) {
        MUST(drywire_conn_open(shared.server, 0, NULL, &shared.conns[i]) == DRYWIRE_OK);
    }
    /* What is found out once about the processor is kept in an atomic, which helgrind knows nothing of:
     * here it is found out before there are threads. */
    alone(NULL);
    run(alone, numbers);
    run(in_turns, numbers);
    slow_work();
    if (argc > 1) {
        run(at_once, counts);
        exchange(shared.conns[0], 1000001);
    }
    for (i = 0; i < THREADS; i++) {
        drywire_conn_free(shared.conns[i]);
    }
    drywire_server_free(shared.server);
    printf("threads: servers on %d threads, handles that moved between them, work beside its server\n", THREADS);
    return 0;
}
