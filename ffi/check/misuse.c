/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Every function with every pointer NULL, numbers out of range, handles after their end: a status,
 * never a crash. The cases are generated from the header.
 */
#include "fixture.h"

/* Statuses are looked at, not obeyed. */
#pragma GCC diagnostic ignored "-Wunused-result"

int main(void) {
    static fixture all;
    fixture *f = &all;
    int cases = 0;
#include "misuse.inc"
    /* What is valid as a second step only. */
    fresh(f);
    CASE_HERE("reserve", IS_NULL || g.status == 0, status(drywire_conn_input_reserve(f->conn, &f->room, f->n)))
    CASE_HERE("commit too much", FAILS, status(drywire_conn_input_commit(f->conn, 7, SIZE_MAX)))
    CASE_HERE("commit", g.status == 0, status(drywire_conn_input_commit(f->conn, 7, 0)))
    CASE_HERE("close", g.status == 0, status(drywire_conn_close_begin(f->conn, 8)))
    CASE_HERE("answer", g.status == 0,
              status(drywire_server_reply(f->server, 8, f->id, f->token, 0, DRYWIRE_NO_ANSWER, NULL, 0)))
    CASE_HERE("wants", g.status == DRYWIRE_WANT_SHUTDOWN, value(drywire_conn_wants(f->conn)))
    CASE_HERE("shut down", g.status == 0, status(drywire_conn_was_shut_down(f->conn, 9)))
    fixture_free(f);
    printf("misuse: %d cases, %d failures\n", cases, failures);
    return failures != 0;
}
