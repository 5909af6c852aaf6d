// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The C interface from Go: frames in batches, and a memcached server and client that talk in memory.
// CGO_CFLAGS and CGO_LDFLAGS say where the header and the library are (ffi/check.sh).
package main

/*
#include <drywire.h>
#include <stdlib.h>
*/
import "C"

import (
	"bytes"
	"fmt"
	"os"
	"unsafe"
)

func must(what bool, words ...any) {
	if !what {
		fmt.Fprintln(os.Stderr, words...)
		os.Exit(1)
	}
}

func ok(status int32) {
	must(status >= 0, C.GoString(C.drywire_status_name(C.int32_t(status))))
}

// view copies bytes that the library lends.
func view(b C.drywire_bytes) []byte {
	return C.GoBytes(unsafe.Pointer(b.data), C.int(b.len))
}

// frames finds lines. The input lies in C memory: events point into it, and C may not store pointers to
// Go memory.
func frames() {
	var options C.drywire_framer_options
	ok(C.drywire_framer_options_init(&options, C.sizeof_drywire_framer_options))
	options.kind = C.DRYWIRE_FRAMING_LINES
	options.max_payload = 100
	var framer *C.drywire_framer
	ok(C.drywire_framer_new(&options, &framer))
	defer C.drywire_framer_free(framer)

	text := bytes.Repeat([]byte("a line\n"), 100)
	data := C.CBytes(text)
	defer C.free(data)
	var events [64]C.drywire_event
	var n, consumed C.size_t
	at, found, calls := 0, 0, 0
	for status := int32(C.DRYWIRE_MORE); status == C.DRYWIRE_MORE; calls++ {
		rest := (*C.uint8_t)(unsafe.Add(data, at))
		status = C.drywire_framer_decode(framer, rest, C.size_t(len(text)-at), &events[0], 64, &n, &consumed)
		ok(status)
		for _, event := range events[:n] {
			must(string(view(event.a)) == "a line", "a frame is", view(event.a))
			found++
		}
		at += int(consumed)
	}
	must(found == 100 && at == len(text) && calls == 2, found, at, calls)
}

// send moves all output of one side to where feed takes it.
func send(output func(*C.drywire_iov, *C.size_t, *C.size_t), feed func(*C.uint8_t, C.size_t), consume func(C.size_t)) {
	var iov [8]C.drywire_iov
	var n, size C.size_t
	output(&iov[0], &n, &size)
	for _, piece := range iov[:n] {
		feed((*C.uint8_t)(piece.base), piece.len)
	}
	consume(size)
}

func memcached() {
	var server *C.drywire_server
	var conn *C.drywire_conn
	var client *C.drywire_client
	ok(C.drywire_memcached_server_new(nil, nil, &server))
	defer C.drywire_server_free(server)
	ok(C.drywire_conn_open(server, 1, nil, &conn))
	defer C.drywire_conn_free(conn)
	ok(C.drywire_memcached_client_new(nil, &client))
	defer C.drywire_client_free(client)

	// What a request points at has to be C's too.
	key, value := C.CBytes([]byte("key")), C.CBytes([]byte("value"))
	keys := (*C.drywire_bytes)(C.malloc(C.sizeof_drywire_bytes))
	defer C.free(key)
	defer C.free(value)
	defer C.free(unsafe.Pointer(keys))
	keys.data, keys.len = (*C.uint8_t)(key), 3
	var token C.uint64_t
	for number, verb := range []C.uint32_t{C.DRYWIRE_MEMCACHED_SET, C.DRYWIRE_MEMCACHED_GET} {
		var request C.drywire_memcached_request
		ok(C.drywire_memcached_request_init(&request, C.sizeof_drywire_memcached_request))
		request.verb = verb
		request.keys, request.key_count = keys, 1
		request.value = C.drywire_bytes{data: (*C.uint8_t)(value), len: 5}
		ok(C.drywire_client_submit(client, 1, &request, &token))
		must(token == C.uint64_t(number+1), "token", token)
	}
	var took C.size_t
	send(func(iov *C.drywire_iov, n, size *C.size_t) { ok(C.drywire_client_output(client, iov, 8, n, size)) },
		func(data *C.uint8_t, n C.size_t) { ok(C.drywire_conn_feed(conn, 1, data, n, &took)) },
		func(n C.size_t) { ok(C.drywire_client_output_consume(client, n)) })
	send(func(iov *C.drywire_iov, n, size *C.size_t) { ok(C.drywire_conn_output(conn, iov, 8, n, size)) },
		func(data *C.uint8_t, n C.size_t) { ok(C.drywire_client_feed(client, 1, data, n, &took)) },
		func(n C.size_t) { ok(C.drywire_conn_output_consume(conn, 1, n)) })

	var events [8]C.drywire_event
	var n C.size_t
	ok(C.drywire_client_poll(client, &events[0], 8, &n))
	must(n == 3, n, "events")
	must(events[0].kind == C.DRYWIRE_EVENT_DONE && events[0].flags == C.DRYWIRE_OUTCOME_STORED, events[0])
	must(events[1].kind == C.DRYWIRE_EVENT_VALUE && string(view(events[1].b)) == "value", events[1])
	must(events[2].kind == C.DRYWIRE_EVENT_DONE && events[2].id == 2, events[2])
}

func main() {
	must(C.drywire_abi_version() == C.DRYWIRE_ABI, "the library does not fit the header")
	frames()
	memcached()
	fmt.Println("go: frames in batches, a memcached exchange")
}
