/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Every function with a panic inside: the call says DRYWIRE_ERR_PANIC, the handle is poisoned, other
 * handles and the process go on, and freeing works. Needs the library built with test-hooks.
 */
#include "fixture.h"

#include <pthread.h>

uint32_t drywire_test_arm_panic(uint32_t n);

static void arm(uint32_t n) {
    drywire_test_arm_panic(n);
}

static void tripped(const char *name) {
    if (drywire_test_arm_panic(0) != 0) {
        fprintf(stderr, "%s: enters no guard\n", name);
        failures++;
    }
}

/* A poisoned server does not hurt another one in another thread. */
static void *elsewhere(void *arg) {
    drywire_framer *framer = arg;
    static const uint8_t frame[] = {0, 0, 0, 1, 'x'};
    drywire_event event;
    size_t n, consumed, i, good = 0;
    for (i = 0; i < 1000; i++) {
        good += drywire_framer_decode(framer, frame, 5, &event, 1, &n, &consumed) >= 0 && n == 1;
    }
    return good == 1000 ? arg : NULL;
}

int main(void) {
    static fixture all;
    fixture *f = &all;
    pthread_t thread;
    void *result;
    int cases = 0;
#include "panic.inc"
    fresh(f);
    arm(1);
    CASE_HERE("tick panics", IS_PANIC, status(drywire_server_tick(f->server, 9)))
    pthread_create(&thread, NULL, elsewhere, f->framer);
    CASE_HERE("wants of a poisoned connection", g.status == DRYWIRE_WANT_CLOSE,
              value(drywire_conn_wants(f->conn)))
    pthread_join(thread, &result);
    must(result != NULL, "another handle works on in another thread");
    fixture_free(f);
    printf("panic: %d cases, %d failures\n", cases, failures);
    return failures != 0;
}
