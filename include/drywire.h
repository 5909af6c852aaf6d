/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * drywire: framing, a memcached server and client, and servers of your own, for any event loop.
 *
 * The library opens no socket or file, reads no clock, starts no thread and calls nothing back.
 * Bytes and the time go in; bytes, events and deadlines come out. The same calls with the same
 * bytes and times always give the same result.
 *
 *   tier A  drywire_framer_*              cut byte streams into frames, in your own buffers
 *   tier B  drywire_server_*, _conn_*     a server: one handle for all connections of a service
 *   tier C  drywire_client_*              a client: one handle for one connection
 *
 * A server's loop, around epoll or anything like it:
 *
 *   wait until drywire_deadline_ms(drywire_server_next_deadline(server), now)
 *   for each readable socket:  drywire_conn_input_reserve, recv, drywire_conn_input_commit
 *   if that deadline has come: read for each connection of drywire_server_due what waits in its
 *       socket, then drywire_server_tick(server, now)
 *   for each connection touched, and each one from drywire_server_ready, as its _wants say:
 *       WRITE     drywire_conn_output, writev, drywire_conn_output_consume
 *       AGAIN     drywire_conn_resume
 *       SHUTDOWN  shutdown(fd, SHUT_WR), drywire_conn_was_shut_down
 *       CLOSE     close(fd), drywire_conn_free; with RESET too, so that the peer sees a reset
 *
 * Pointers. Handles and outputs must not be NULL, or the call fails with DRYWIRE_ERR_NULL; _free
 * takes NULL. Input may be NULL when its length is 0. Other pointers must be valid and aligned;
 * inputs and outputs must not overlap. Handles are freed once, in any order, and not used then.
 *
 * Borrowed memory:
 *
 *   pointer                                 good until
 *   drywire_event.a, .b of _framer_decode   you change the buffer you passed
 *   drywire_event.a, .b of _server_poll     the next _server_poll on that server
 *   drywire_event.a, .b of _client_poll     the next _client_poll, _feed or _free on that client
 *   room of _input_reserve                  its _input_commit, or _free of the connection
 *   segments of _output                     _output_consume covers them, or _free; until then
 *                                           they neither move nor change
 *   text of _status_name, _version_string   for ever
 *   drywire_error_info.text                 for ever
 *   bytes that you pass in                  the call returns: the library copies what it keeps
 *
 * Threads. A handle may move between threads. A framer, a client, or a server together with all its
 * connections is used by one call at a time; a second call at the same time is refused with
 * DRYWIRE_ERR_REENTRANT. Different ones are independent. There is no global state.
 *
 * Time. now_ns is nanoseconds on any clock that does not go back, such as CLOCK_MONOTONIC; deadlines
 * are on the same clock. A time earlier than one seen before counts as that one.
 *
 * Memory. Everything a peer can make the library hold has a limit in the options. Where the amount
 * depends on the peer in one step, running out is DRYWIRE_ERR_NOMEM; elsewhere a failed allocation of
 * a few bytes ends the process, as Rust has it.
 *
 * Growth. Structs that begin with struct_size may get longer: fill them with their _init function,
 * or set struct_size to sizeof. The other structs never change. Unknown event kinds are skipped.
 *
 * Generated from ffi/src by cbindgen; do not edit.
 */


#ifndef DRYWIRE_H
#define DRYWIRE_H

#include <stddef.h>
#include <stdint.h>
/** @file
 * The C interface of drywire; the rules that hold for all functions are in the comment at its top. */

#if defined(DRYWIRE_STATIC) || !defined(_WIN32)
#if defined(__GNUC__) && !defined(DRYWIRE_STATIC)
/** A function of the library. Define DRYWIRE_STATIC to link it statically on Windows. */
#define DRYWIRE_API __attribute__((visibility("default")))
#else
#define DRYWIRE_API
#endif
#else
#define DRYWIRE_API __declspec(dllimport)
#endif

#if defined(__GNUC__)
/** What it returns has to be looked at. */
#define DRYWIRE_WARN_UNUSED __attribute__((warn_unused_result))
/** It goes in a later version; the message says what to use instead. */
#define DRYWIRE_DEPRECATED(message) __attribute__((deprecated(message)))
#else
#define DRYWIRE_WARN_UNUSED
#define DRYWIRE_DEPRECATED(message)
#endif

/// For deadlines: never.
#define DRYWIRE_NO_DEADLINE UINT64_MAX

/// `strip`: the whole header, so that the payload is just that.
#define DRYWIRE_STRIP_HEADER UINT32_MAX


/// A framing: a length, then the payload. Options from `length_width` to `strip`.
#define DRYWIRE_FRAMING_LENGTH_PREFIX 1

/// A framing: lines, or anything that ends at a delimiter. Options from `terminator` on.
#define DRYWIRE_FRAMING_LINES 2

/// A framing: records of exactly `max_payload` bytes.
#define DRYWIRE_FRAMING_FIXED 3

/// A framing: drywire's own, with a 16-byte header and checksums (docs/tlv.md).
#define DRYWIRE_FRAMING_TLV 4

/// A framing: the same with an 8-byte header and no checksums.
#define DRYWIRE_FRAMING_TLV_COMPACT 5

/// A framing: records with version, time, host, tag and message; up to 32767 bytes.
#define DRYWIRE_FRAMING_RECORDS 6

/// A framing: RESP as a Redis server reads it. Only to decode.
#define DRYWIRE_FRAMING_RESP_REQUESTS 7

/// A framing: RESP as a Redis client reads it. Only to decode.
#define DRYWIRE_FRAMING_RESP_REPLIES 8

/// A framing: HTTP/1.1 as a server reads it: heads, pieces of bodies (`max_payload` limits a whole
/// body) and trailers. Only to decode.
#define DRYWIRE_FRAMING_HTTP_REQUESTS 9

/// A framing: HTTP/1.1 as a client reads it. Only to decode.
#define DRYWIRE_FRAMING_HTTP_RESPONSES 10

/// `flags`: the length and type are little-endian.
#define DRYWIRE_FRAMING_LITTLE_ENDIAN 1

/// `flags`: the payload shows the header too.
#define DRYWIRE_FRAMING_KEEP_HEADER 2

/// `flags`: a CR without LF is an error, for `DRYWIRE_LINES_CRLF` and `_LF_OR_CRLF`.
#define DRYWIRE_FRAMING_LONE_CR_ERROR 4

/// `flags`: an LF without CR is an error, for `DRYWIRE_LINES_CRLF`.
#define DRYWIRE_FRAMING_LONE_LF_ERROR 8

/// `oversize`: a frame over the limit ends the stream.
#define DRYWIRE_OVERSIZE_FATAL 0

/// `oversize`: a frame over the limit is one error, then dropped as it arrives.
#define DRYWIRE_OVERSIZE_SKIP 1

/// `oversize`: a line over the limit is cut there. Lines only.
#define DRYWIRE_OVERSIZE_TRUNCATE 2

/// `oversize`: as skip, and after a damaged header the next valid one is searched for. TLV only; for
/// files and serial lines.
#define DRYWIRE_OVERSIZE_RESYNC 3

/// `length_width`: LEB128 of a 32-bit number, as in delimited protobuf. 1, 2, 3, 4 and 8 are
/// widths in bytes.
#define DRYWIRE_WIDTH_VARINT32 32

/// `length_width`: LEB128 of a 64-bit number.
#define DRYWIRE_WIDTH_VARINT64 64

/// `counts`: the length counts the payload.
#define DRYWIRE_COUNTS_BODY 0

/// `counts`: the length counts everything after itself.
#define DRYWIRE_COUNTS_AFTER_FIELD 1

/// `counts`: the length counts itself and everything after it.
#define DRYWIRE_COUNTS_FIELD_AND_BODY 2

/// `counts`: the length counts the whole frame.
#define DRYWIRE_COUNTS_WHOLE_FRAME 3

/// `counts`: the frame ends `length + adjustment` bytes after the length field.
#define DRYWIRE_COUNTS_ADJUSTED 4

/// `terminator`: LF; a CR is a byte like any other.
#define DRYWIRE_LINES_LF 0

/// `terminator`: CR LF and nothing else.
#define DRYWIRE_LINES_CRLF 1

/// `terminator`: LF; one CR right before it belongs to the terminator.
#define DRYWIRE_LINES_LF_OR_CRLF 2

/// `terminator`: CR, LF or CR LF.
#define DRYWIRE_LINES_ANY_NEWLINE 3

/// `terminator`: the `delimiter_len` bytes of `delimiter`, in this order.
#define DRYWIRE_LINES_DELIMITER 4

/// `terminator`: any one of the `delimiter_len` bytes of `delimiter`; the first is written.
#define DRYWIRE_LINES_ANY_OF 5

/// In `drywire_conn_wants`: it has room for input.
#define DRYWIRE_WANT_READ 1

/// In `drywire_conn_wants`: output is waiting.
#define DRYWIRE_WANT_WRITE 2

/// In `drywire_conn_wants`: call `drywire_conn_resume` after the other connections had a turn.
#define DRYWIRE_WANT_AGAIN 4

/// In `drywire_conn_wants`: shut the write side of the socket down, then call
/// `drywire_conn_was_shut_down`.
#define DRYWIRE_WANT_SHUTDOWN 8

/// In `drywire_conn_wants`: it is over; close the socket and free the connection.
#define DRYWIRE_WANT_CLOSE 16

/// In `drywire_conn_wants` beside `DRYWIRE_WANT_CLOSE`: something owed is lost, so close the socket in a
/// way that resets the connection (`SO_LINGER` with 0 seconds): the peer must be able to tell that from
/// a peaceful end.
#define DRYWIRE_WANT_RESET 32

/// `code` of a connection's `drywire_error_info`: it is open.
#define DRYWIRE_CLOSE_NONE 0

/// `code`: the peer ended its input and everything owed was delivered.
#define DRYWIRE_CLOSE_PEER_DONE 1

/// `code`: the protocol ended it.
#define DRYWIRE_CLOSE_FINISHED 2

/// `code`: this side closed it.
#define DRYWIRE_CLOSE_LOCAL 3

/// `code`: refused at the door, too many connections.
#define DRYWIRE_CLOSE_REFUSED 4

/// `code`: the peer broke the protocol.
#define DRYWIRE_CLOSE_FAULT 5

/// `code`: the peer took none of its output for too long.
#define DRYWIRE_CLOSE_SLOW_READER 6

/// `code`: the transport failed, or the caller gave it up.
#define DRYWIRE_CLOSE_TRANSPORT 7

/// `code`: nothing happened for too long.
#define DRYWIRE_CLOSE_IDLE 8

/// For `drywire_conn_abort`: the transport failed in some way.
#define DRYWIRE_TRANSPORT_OTHER 0

/// For `drywire_conn_abort`: the peer reset the connection.
#define DRYWIRE_TRANSPORT_RESET 1

/// For `drywire_conn_abort`: the peer cannot be reached any more.
#define DRYWIRE_TRANSPORT_TIMED_OUT 2

/// `flags` of `drywire_server_options`: every view is a copy that is overwritten with 0xDD as soon as
/// it may not be used any more, so that tests find late use. Slow.
#define DRYWIRE_DEBUG_VIEWS 1

/// From `drywire_admission_admit`: queue it, and keep `time_ns`, its last moment, with it; `why` is 0
/// or `DRYWIRE_ACCEPT_AHEAD`.
#define DRYWIRE_ADMISSION_ACCEPT 1

/// From `drywire_admission_admit` and `_dequeue`: refuse it, not executed; `why` is a
/// `DRYWIRE_SHED_*`, `time_ns` the span after which to try again at the earliest.
#define DRYWIRE_ADMISSION_SHED 2

/// From `drywire_admission_admit`: neither; leave it unread until its connection has taken its output.
#define DRYWIRE_ADMISSION_HOLD 3

/// From `drywire_admission_dequeue`: start it.
#define DRYWIRE_ADMISSION_SERVE 4

/// `why` of an accept: queue it before those that wait, behind others that were. Its connection asks
/// for one at a time, while others have several there.
#define DRYWIRE_ACCEPT_AHEAD 1

/// `why`: another reason, of a later version.
#define DRYWIRE_SHED_OTHER 0

/// `why`: the server goes away; retry elsewhere.
#define DRYWIRE_SHED_DRAINING 1

/// `why`: the answer would come after the request's own deadline.
#define DRYWIRE_SHED_LATE 2

/// `why`: the wait would be longer than the budget.
#define DRYWIRE_SHED_WAIT 3

/// `why`: the queue stands, and the wait would be longer than the target.
#define DRYWIRE_SHED_STANDING 4

/// `why`: the queue stands, and this connection has more than its share of it.
#define DRYWIRE_SHED_SHARE 5

/// `why`: the queue is full.
#define DRYWIRE_SHED_FULL 6

/// `why`: it waited until it was not worth starting any more.
#define DRYWIRE_SHED_EXPIRED 7

/// `flags` of `drywire_admission_ask`: this server refuses new work because it goes away.
#define DRYWIRE_ASK_DRAINING 1

/// From `drywire_drain_poll`: tell everybody, and go on serving. Once.
#define DRYWIRE_DRAIN_ANNOUNCE 1

/// From `drywire_drain_poll`: refuse new connections and new requests, not executed. Once.
#define DRYWIRE_DRAIN_REFUSE_NEW 2

/// From `drywire_drain_poll`: close `num` more connections, each after what it is owed.
#define DRYWIRE_DRAIN_CLOSE 3

/// From `drywire_drain_poll`: time is up; end everything that is left, visibly. Once.
#define DRYWIRE_DRAIN_ABORT 4

/// From `drywire_drain_poll`: exit. Once.
#define DRYWIRE_DRAIN_DONE 5

/// From `drywire_drain_flags`: new connections and requests are taken.
#define DRYWIRE_DRAIN_ACCEPTS 1

/// From `drywire_drain_flags`: heartbeats and health answers should say that the server goes away.
#define DRYWIRE_DRAIN_ANNOUNCES 2

/// From `drywire_read_gate_poll`: read at most `num` bytes and `why` messages; both are at least 1.
#define DRYWIRE_READ_GATE_GO 1

/// From `drywire_read_gate_poll`: this turn's share is used; go on after the others had theirs.
#define DRYWIRE_READ_GATE_TURN_OVER 2

/// From `drywire_read_gate_poll`: do not read until what `why`, a `DRYWIRE_FULL_*`, names has drained.
#define DRYWIRE_READ_GATE_STOP 3

/// `why`: another measure, of a later version.
#define DRYWIRE_FULL_OTHER 0

/// `why`: unconsumed input of the connection.
#define DRYWIRE_FULL_CONN_IN 1

/// `why`: unsent output of the connection; its peer does not read.
#define DRYWIRE_FULL_CONN_OUT 2

/// `why`: requests that wait for a worker.
#define DRYWIRE_FULL_QUEUE 3

/// `why`: all connections together.
#define DRYWIRE_FULL_TOTAL 4

/// From `drywire_out_gate_offer`: queue it. The producer should pause for `time_ns`, which is 0 most
/// of the time.
#define DRYWIRE_OUT_GATE_QUEUE 1

/// From `drywire_out_gate_offer`: drop it, and count it.
#define DRYWIRE_OUT_GATE_DROP_NEW 2

/// From `drywire_out_gate_offer`: drop pending droppable messages of at least `num` bytes, then queue
/// it.
#define DRYWIRE_OUT_GATE_DROP_OLDEST 3

/// From `drywire_out_gate_offer`: replace the pending message about the same thing; if there is none,
/// drop it.
#define DRYWIRE_OUT_GATE_CONFLATE 4

/// From `drywire_out_gate_offer` and `_poll`: end the connection; `why` is a `DRYWIRE_KICK_*`. Said
/// once.
#define DRYWIRE_OUT_GATE_KICK 5

/// From `drywire_out_gate_offer`: the connection was given up before; emit nothing.
#define DRYWIRE_OUT_GATE_GONE 6

/// `why`: another cause, of a later version.
#define DRYWIRE_KICK_OTHER 0

/// `why`: more bytes than allowed would be pending.
#define DRYWIRE_KICK_HARD_BYTES 1

/// `why`: too many bytes for too long.
#define DRYWIRE_KICK_SOFT_TOO_LONG 2

/// `why`: the transport took nothing for too long.
#define DRYWIRE_KICK_NO_PROGRESS 3

/// `when_full` of `drywire_out_gate_options`: the new message is dropped.
#define DRYWIRE_WHEN_FULL_DROP_NEW 0

/// `when_full`: the oldest ones make room.
#define DRYWIRE_WHEN_FULL_DROP_OLDEST 1

/// `when_full`: it replaces the pending message about the same thing.
#define DRYWIRE_WHEN_FULL_CONFLATE 2

/// `flags` of `drywire_out_gate_offer`: this message may be lost.
#define DRYWIRE_OFFER_DROPPABLE 1

/// From `drywire_heartbeat_poll`: send a ping, ahead of bulk output, and tell
/// `drywire_heartbeat_ping_left` when its last byte went.
#define DRYWIRE_HEARTBEAT_PING 1

/// From `drywire_heartbeat_poll`: the peer has been silent for `num` intervals; said once for each from
/// the second on.
#define DRYWIRE_HEARTBEAT_SUSPECT 2

/// From `drywire_heartbeat_poll`: the peer is dead, of `why`, a `DRYWIRE_DEATH_*`; end the connection.
/// Said once; nothing follows.
#define DRYWIRE_HEARTBEAT_DEAD 3

/// `why`: another cause, of a later version.
#define DRYWIRE_DEATH_OTHER 0

/// `why`: no byte for the whole timeout.
#define DRYWIRE_DEATH_SILENT 1

/// `why`: no answer in time to a ping that left.
#define DRYWIRE_DEATH_NO_PONG 2

/// `why`: it takes none of our output.
#define DRYWIRE_DEATH_STALLED 3

/// `flags` of `drywire_heartbeat_options_every`: the peer does the pinging.
#define DRYWIRE_HEARTBEAT_EXPECT 1

/// From `drywire_refusal_pause_poll`: leave what the peer sends unread until `next_ns`.
#define DRYWIRE_REFUSAL_PAUSE_INPUT 1

/// From `drywire_refusal_pause_poll`: neither read nor write until `next_ns`.
#define DRYWIRE_REFUSAL_PAUSE_BOTH 2

/// `progress` of `drywire_patience_observe`: between requests, and nothing is owed or unsent.
#define DRYWIRE_PROGRESS_IDLE 0

/// `progress`: inside the same request as before.
#define DRYWIRE_PROGRESS_PARTIAL 1

/// `progress`: inside a request, and at least one was finished since the last look.
#define DRYWIRE_PROGRESS_NEXT_PARTIAL 2

/// `progress`: an answer is owed or not taken yet.
#define DRYWIRE_PROGRESS_BUSY 3

/// From `drywire_patience_poll`: the connection was idle for too long. Said once; nothing follows.
#define DRYWIRE_PATIENCE_IDLE 1

/// From `drywire_patience_poll`: a request took too long to arrive. Said once; nothing follows.
#define DRYWIRE_PATIENCE_REQUEST 2

/// From `drywire_ping_flood_ping`: answer it.
#define DRYWIRE_PING_FLOOD_PONG 1

/// From `drywire_ping_flood_ping`: do not answer it.
#define DRYWIRE_PING_FLOOD_IGNORE 2

/// From `drywire_ping_flood_ping`: end the connection.
#define DRYWIRE_PING_FLOOD_KICK 3

/// From `drywire_pick`: to the backend with index `num`.
#define DRYWIRE_PICK_TO 1

/// From `drywire_pick`: nowhere; all backends have as many pending as they may have.
#define DRYWIRE_PICK_SHED 2

/// From `drywire_pick`: nowhere; none is left that may be picked.
#define DRYWIRE_PICK_NONE_ALIVE 3

/// `how` of `drywire_pick`: any backend can serve it; `key` is not looked at.
#define DRYWIRE_PICK_LEAST_PENDING 0

/// `how`: requests with the same `key`, a hash, go to the same backend where possible.
#define DRYWIRE_PICK_KEYED 1

/// From `drywire_throttle_ask`: send it.
#define DRYWIRE_THROTTLE_SEND 1

/// From `drywire_throttle_ask`: refuse it here, not sent.
#define DRYWIRE_THROTTLE_SHED 2

/// From `drywire_retry_ask`: send it again after the span `time_ns`, elsewhere. It is paid for.
#define DRYWIRE_RETRY_AFTER 1

/// From `drywire_retry_ask`: do not; the failure is the answer.
#define DRYWIRE_RETRY_GIVE_UP 2

/// From `drywire_retry_hedge`: ask again at `time_ns`.
#define DRYWIRE_HEDGE_AT 1

/// From `drywire_retry_hedge`: send a second copy now. It is paid for.
#define DRYWIRE_HEDGE_NOW 2

/// From `drywire_retry_hedge`: do not.
#define DRYWIRE_HEDGE_NO 3

/// `flags` of `drywire_retry_ask` and `_hedge`: the request may be executed twice.
#define DRYWIRE_IDEMPOTENT 1

/// How a request ended: answered.
#define DRYWIRE_REPLY_OK 0

/// How a request ended: refused, not executed.
#define DRYWIRE_REPLY_NACK 1

/// How a request ended: the connection broke, or the answer says that it failed.
#define DRYWIRE_REPLY_ERROR 2

/// How a request ended: no answer in time.
#define DRYWIRE_REPLY_TIMEOUT 3

/// `verb`: get, or gets with `DRYWIRE_REQUEST_CAS`, or gat(s) with `DRYWIRE_REQUEST_TOUCH`.
#define DRYWIRE_MEMCACHED_GET 1

/// `verb`: set.
#define DRYWIRE_MEMCACHED_SET 2

/// `verb`: add, store if there is no such item.
#define DRYWIRE_MEMCACHED_ADD 3

/// `verb`: replace, store if there is such an item.
#define DRYWIRE_MEMCACHED_REPLACE 4

/// `verb`: append.
#define DRYWIRE_MEMCACHED_APPEND 5

/// `verb`: prepend.
#define DRYWIRE_MEMCACHED_PREPEND 6

/// `verb`: cas, store if the item's cas number is still `num`.
#define DRYWIRE_MEMCACHED_CAS 7

/// `verb`: delete.
#define DRYWIRE_MEMCACHED_DELETE 8

/// `verb`: incr by `num`; wraps at 2^64.
#define DRYWIRE_MEMCACHED_INCR 9

/// `verb`: decr by `num`; stops at 0.
#define DRYWIRE_MEMCACHED_DECR 10

/// `verb`: touch, set `exptime`.
#define DRYWIRE_MEMCACHED_TOUCH 11

/// `verb`: flush_all, after `num` seconds if that is not 0.
#define DRYWIRE_MEMCACHED_FLUSH_ALL 12

/// `verb`: version.
#define DRYWIRE_MEMCACHED_VERSION 13

/// `verb`: stats, the general ones.
#define DRYWIRE_MEMCACHED_STATS 14

/// `verb`: quit; the server finishes and closes. Nothing can be sent after it.
#define DRYWIRE_MEMCACHED_QUIT 15

/// `flags` of a request: ask for no answer.
#define DRYWIRE_REQUEST_NOREPLY 1

/// `flags` of a get: also ask for the cas numbers.
#define DRYWIRE_REQUEST_CAS 2

/// `flags` of a get: also give what is found a new `exptime`.
#define DRYWIRE_REQUEST_TOUCH 4

/// `flags` of `DRYWIRE_EVENT_DONE`: a retrieval or statistics are complete; `num` hits or lines.
#define DRYWIRE_OUTCOME_END 1

/// `flags` of `DRYWIRE_EVENT_DONE`: stored.
#define DRYWIRE_OUTCOME_STORED 2

/// `flags` of `DRYWIRE_EVENT_DONE`: the condition of add, replace, append or prepend does not hold.
#define DRYWIRE_OUTCOME_NOT_STORED 3

/// `flags` of `DRYWIRE_EVENT_DONE`: the item has another cas number by now.
#define DRYWIRE_OUTCOME_EXISTS 4

/// `flags` of `DRYWIRE_EVENT_DONE`: no such item.
#define DRYWIRE_OUTCOME_NOT_FOUND 5

/// `flags` of `DRYWIRE_EVENT_DONE`: deleted.
#define DRYWIRE_OUTCOME_DELETED 6

/// `flags` of `DRYWIRE_EVENT_DONE`: touched.
#define DRYWIRE_OUTCOME_TOUCHED 7

/// `flags` of `DRYWIRE_EVENT_DONE`: done.
#define DRYWIRE_OUTCOME_OK 8

/// `flags` of `DRYWIRE_EVENT_DONE`: `num` is the new number.
#define DRYWIRE_OUTCOME_NUMBER 9

/// `flags` of `DRYWIRE_EVENT_DONE`: `a` is the server's version.
#define DRYWIRE_OUTCOME_VERSION 10

/// `flags` of `DRYWIRE_EVENT_DONE`: the server answered ERROR, `a` its text.
#define DRYWIRE_OUTCOME_ERROR 11

/// `flags` of `DRYWIRE_EVENT_DONE`: the server answered CLIENT_ERROR, `a` its text.
#define DRYWIRE_OUTCOME_CLIENT_ERROR 12

/// `flags` of `DRYWIRE_EVENT_DONE`: the server answered SERVER_ERROR, `a` its text.
#define DRYWIRE_OUTCOME_SERVER_ERROR 13

/// `flags` of `DRYWIRE_EVENT_DONE`: no answer will come; -`aux` is the status that says why.
#define DRYWIRE_OUTCOME_FAILED 14

/// `code` of a client's `drywire_error_info`: a reply line without an end.
#define DRYWIRE_CLIENT_FAULT_LINE_TOO_LONG 1

/// `code`: a line that is no reply.
#define DRYWIRE_CLIENT_FAULT_MALFORMED 2

/// `code`: a value over the limit was announced.
#define DRYWIRE_CLIENT_FAULT_VALUE_TOO_LARGE 3

/// `code`: a value that does not end where it was announced to.
#define DRYWIRE_CLIENT_FAULT_BAD_DATA_END 4

/// `code`: a reply without a request.
#define DRYWIRE_CLIENT_FAULT_UNSOLICITED 5

/// `code`: a reply that does not fit its request.
#define DRYWIRE_CLIENT_FAULT_UNEXPECTED 6

/// `flags` of `drywire_server_reply` and `_send`: the bytes go out as they are, without a frame.
#define DRYWIRE_RAW 1

/// `flags` of `drywire_server_reply`: this request gets no answer on the wire.
#define DRYWIRE_NO_ANSWER 2

/// `fate`: they are told why, and their connection ends.
#define DRYWIRE_FATE_KICK 0

/// `fate`: the oldest messages they have not had are dropped, and they are told how many.
#define DRYWIRE_FATE_DROP_OLDEST 1

/// `fate`: until they have caught up they get only the latest message of each key.
#define DRYWIRE_FATE_COALESCE 2

/// Nothing; not handed out.
#define DRYWIRE_EVENT_NONE 0

/// From `drywire_framer_decode`: a frame. `a` its payload, `b` all of it, `num` its offset in the
/// stream, `flags` its type or how it ended, `id` a second number of the framing.
#define DRYWIRE_EVENT_FRAME 1

/// From `drywire_framer_decode`: a bad frame that was dropped; decoding goes on behind it. `flags`
/// a `DRYWIRE_FRAME_ERROR_*`, `num` the offset in the stream, `id` the size or value found, `aux`
/// what is allowed, `a` a static text.
#define DRYWIRE_EVENT_FRAME_ERROR 2

/// From `drywire_server_poll`: a request. `id` the connection, `num` the token to answer with
/// `drywire_server_reply`, `a` the payload, `flags` its type, `aux` the `user` of the connection.
#define DRYWIRE_EVENT_REQUEST 3

/// From `drywire_server_poll`: a bad frame that was dropped. It waits for its answer like a
/// request. `flags` a `DRYWIRE_FRAME_ERROR_*`, `a` a static text, otherwise as a request.
#define DRYWIRE_EVENT_BAD_REQUEST 4

/// From `drywire_client_poll`: a hit of a retrieval that goes on. `id` the token, `a` the key, `b`
/// the value, `flags` the item's flags, `num` its cas number, or 0.
#define DRYWIRE_EVENT_VALUE 5

/// From `drywire_client_poll`: a line of statistics; more follow. `id` the token, `a` the name,
/// `b` the value.
#define DRYWIRE_EVENT_STAT 6

/// From `drywire_client_poll`: the one end of a request. `id` the token, `flags` a
/// `DRYWIRE_OUTCOME_*`, `num` the number of hits or lines, or the new number, `a` the text of a
/// refusal or version. For `DRYWIRE_OUTCOME_FAILED`, `aux` is the status, negated.
#define DRYWIRE_EVENT_DONE 7

/// Major version of the header; 0 while the interface may change with the minor version.
#define DRYWIRE_VERSION_MAJOR 0

/// Minor version of the header.
#define DRYWIRE_VERSION_MINOR 1

/// Patch version of the header.
#define DRYWIRE_VERSION_PATCH 0

/// The version of the header as one number: major * 1000000 + minor * 1000 + patch.
#define DRYWIRE_VERSION_NUM 1000

/// The revision of the binary interface; the SONAME carries the version it belongs to.
#define DRYWIRE_ABI 1

/// For `drywire_has_feature`: the framings (`drywire_framer_*`).
#define DRYWIRE_FEATURE_FRAMING 1

/// For `drywire_has_feature`: the memcached server.
#define DRYWIRE_FEATURE_MEMCACHED_SERVER 2

/// For `drywire_has_feature`: the memcached client.
#define DRYWIRE_FEATURE_MEMCACHED_CLIENT 3

/// For `drywire_has_feature`: protocols made by the caller on top of a framing.
#define DRYWIRE_FEATURE_CUSTOM_SERVER 4

/// For `drywire_has_feature`: chat servers.
#define DRYWIRE_FEATURE_CHAT_SERVER 5

/// For `drywire_has_feature`: hub servers.
#define DRYWIRE_FEATURE_HUB_SERVER 6

/// For `drywire_has_feature`: sudoku servers and work for other threads.
#define DRYWIRE_FEATURE_SUDOKU_SERVER 7

/// For `drywire_has_feature`: the guard policies (`drywire_admission_*` to `drywire_pick`).
#define DRYWIRE_FEATURE_POLICIES 8

/// What a call did. 0 is success; above 0 is success with a hint; below 0 is failure, and the
/// call did nothing unless its documentation says otherwise.
///
/// -1 to -99: the caller broke the rules of this header. -100 to -199: the peer broke its
/// protocol; only that connection is concerned. -200 to -299: a resource or limit. -900 and
/// below: a defect of the library. Numbers are never reused; new ones are added.
typedef enum drywire_status {
    /// Done.
    DRYWIRE_OK = 0,
    /// Done; more input is needed before anything else can come out.
    DRYWIRE_NEED_INPUT = 1,
    /// Not all input was taken: send output first. This is back-pressure.
    DRYWIRE_NEED_OUTPUT_DRAIN = 2,
    /// There is more of it: call again.
    DRYWIRE_MORE = 3,
    /// Nothing was taken: not wanted now. `drywire_conn_wants` tells what is.
    DRYWIRE_NOT_NOW = 4,
    /// A pointer that must not be NULL is NULL.
    DRYWIRE_ERR_NULL = -1,
    /// A number is outside its range, or an option makes no sense.
    DRYWIRE_ERR_RANGE = -2,
    /// The call is not allowed in this state.
    DRYWIRE_ERR_STATE = -3,
    /// Another call is using this handle: from another thread or from a signal handler.
    DRYWIRE_ERR_REENTRANT = -4,
    /// An earlier call on this handle ended in `DRYWIRE_ERR_PANIC`; it can only be freed.
    DRYWIRE_ERR_POISONED = -5,
    /// A sized struct is too small, or larger than this library knows with something in the part
    /// it does not know.
    DRYWIRE_ERR_ABI = -6,
    /// The caller's buffer is too small; the size needed was written.
    DRYWIRE_ERR_BUFFER = -7,
    /// The connection, request or token is not there any more.
    DRYWIRE_ERR_GONE = -8,
    /// This build, framing or protocol does not have that.
    DRYWIRE_ERR_UNSUPPORTED = -9,
    /// The peer's bytes do not follow the protocol.
    DRYWIRE_ERR_PROTOCOL = -100,
    /// The peer asked for something that is refused by choice.
    DRYWIRE_ERR_REFUSED = -101,
    /// The peer was silent or too slow for too long.
    DRYWIRE_ERR_TIMED_OUT = -102,
    /// A message of the peer is longer than allowed.
    DRYWIRE_ERR_TOO_LONG = -103,
    /// The peer's input ended inside a message.
    DRYWIRE_ERR_TRUNCATED = -104,
    /// The peer took none of its output for too long.
    DRYWIRE_ERR_SLOW_READER = -105,
    /// The connection ended before the answer came.
    DRYWIRE_ERR_CONNECTION_LOST = -106,
    /// No memory.
    DRYWIRE_ERR_NOMEM = -200,
    /// A limit set by the caller is reached.
    DRYWIRE_ERR_LIMIT = -201,
    /// Too many connections: close the socket.
    DRYWIRE_ERR_OVERLOADED = -202,
    /// A defect of this library was caught. The handle is poisoned, the process is fine.
    DRYWIRE_ERR_PANIC = -900,
} drywire_status;

/// The client's side of one connection: requests in, bytes out; bytes in, answers out. No socket.
/// One call at a time; may move between threads.
typedef struct drywire_client drywire_client;

/// One connection of a server: bytes in, bytes out, no socket. It belongs to its server: of a
/// server and all its connections, one is used at a time. May be freed before or after it.
typedef struct drywire_conn drywire_conn;

/// Cuts one stream into frames. It keeps no bytes: frames point into what the caller passes.
/// One call at a time; may move between threads.
typedef struct drywire_framer drywire_framer;

/// All connections of one service. Of a server and its connections one is used at a time, from any
/// thread; different servers are independent.
typedef struct drywire_server drywire_server;

/// A piece of slow work on its way to a thread and back. It belongs to no other handle: run it on any
/// thread, while the server goes on.
typedef struct drywire_work drywire_work;

/// Settings of a client. Start with `drywire_client_options_init`.
typedef struct drywire_client_options {
    /// `sizeof(drywire_client_options)`.
    uint32_t struct_size;
    /// 0 or `DRYWIRE_DEBUG_VIEWS`.
    uint32_t flags;
    /// Requests in flight at most, at least 1. Default 1024.
    uint32_t window;
    /// 0.
    uint32_t reserved;
    /// Longest value sent or accepted, in bytes, to 1 GiB. Default 1 MiB.
    uint64_t value_max;
    /// How long a request without its own `timeout_ns` may take. Default `DRYWIRE_NO_DEADLINE`.
    uint64_t timeout_ns;
} drywire_client_options;

/// Bytes that somebody else owns; whoever hands them out says how long they stay. Never NULL when
/// the library hands them out, also when `len` is 0.
typedef struct drywire_bytes {
    /// The first byte.
    const uint8_t *data;
    /// How many.
    size_t len;
} drywire_bytes;

/// One memcached request. Start with `drywire_memcached_request_init`; set what the verb needs.
typedef struct drywire_memcached_request {
    /// `sizeof(drywire_memcached_request)`.
    uint32_t struct_size;
    /// A `DRYWIRE_MEMCACHED_*`.
    uint32_t verb;
    /// 0, or `DRYWIRE_REQUEST_NOREPLY` and so on added up.
    uint32_t flags;
    /// The item's own flags, for storing.
    uint32_t item_flags;
    /// The keys: 1 for most verbs, any number for a get. 1 to 250 bytes each, without spaces and
    /// control characters.
    const struct drywire_bytes *keys;
    /// How many keys.
    size_t key_count;
    /// The value, for storing.
    struct drywire_bytes value;
    /// The cas number, the delta or the delay.
    uint64_t num;
    /// When the item dies, in seconds: 0 never, up to 30 days from now on, more is Unix time.
    int32_t exptime;
    /// 0.
    uint32_t reserved;
    /// How long it may take; 0 is the client's `timeout_ns`, `DRYWIRE_NO_DEADLINE` for ever.
    uint64_t timeout_ns;
} drywire_memcached_request;

/// A piece of output; the same layout as `struct iovec`, so that an array of them can be handed to
/// `writev` or `sendmsg` as it is. The bytes are only to be read.
typedef struct drywire_iov {
    /// The first byte.
    void *base;
    /// How many.
    size_t len;
} drywire_iov;

/// One thing that happened. What the fields mean depends on `kind`; unused ones are 0 and empty.
/// Skip kinds you do not know: later versions add some. 64 bytes where pointers have 8, frozen.
typedef struct drywire_event {
    /// A `DRYWIRE_EVENT_*`.
    uint32_t kind;
    /// A second number, see the kind.
    uint32_t flags;
    /// A connection, a token or a number, see the kind.
    uint64_t id;
    /// Bytes, see the kind.
    struct drywire_bytes a;
    /// More bytes, see the kind.
    struct drywire_bytes b;
    /// A number, see the kind.
    uint64_t num;
    /// Another number, see the kind.
    uint64_t aux;
} drywire_event;

/// What `drywire_client_get_stats` tells: sent = answered + refused + failed + in_flight, always.
typedef struct drywire_client_stats {
    /// `sizeof(drywire_client_stats)`, set by the caller.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// Requests that ask for an answer.
    uint64_t sent;
    /// Of these, those that got it.
    uint64_t answered;
    /// Those that got an error reply.
    uint64_t refused;
    /// Those that will never be answered.
    uint64_t failed;
    /// Those that wait.
    uint64_t in_flight;
} drywire_client_stats;

/// What went wrong, in detail. Set `struct_size`, then pass it to a `_last_error` function.
typedef struct drywire_error_info {
    /// `sizeof(drywire_error_info)`, set by the caller.
    uint32_t struct_size;
    /// A `drywire_status`: 0 if nothing went wrong.
    int32_t status;
    /// A finer code: `DRYWIRE_CLOSE_*` for a connection, `DRYWIRE_FRAME_ERROR_*` for a framing,
    /// `DRYWIRE_CLIENT_FAULT_*` for a client.
    uint32_t code;
    /// 0.
    uint32_t reserved;
    /// Where in the stream, if that is known.
    uint64_t offset;
    /// The size, count or value that was found, if there is one.
    uint64_t found;
    /// What is allowed in its place, if there is a bound.
    uint64_t limit;
    /// What is wrong, in words. Static text, not terminated by a NUL.
    struct drywire_bytes text;
} drywire_error_info;

/// How a stream is cut into frames. Start with `drywire_framer_options_init`; then set `kind`,
/// `max_payload` and what the kind needs.
typedef struct drywire_framer_options {
    /// `sizeof(drywire_framer_options)`.
    uint32_t struct_size;
    /// Which framing: `DRYWIRE_FRAMING_LENGTH_PREFIX` and those after it.
    uint32_t kind;
    /// The longest payload, in bytes, without header and terminator. Must be set.
    uint64_t max_payload;
    /// `DRYWIRE_FRAMING_LITTLE_ENDIAN` and so on, added up.
    uint32_t flags;
    /// What happens to a frame over the limit: a `DRYWIRE_OVERSIZE_*`.
    uint32_t oversize;
    /// Length prefix: width of the length, 1, 2, 3, 4, 8 or a `DRYWIRE_WIDTH_*`. Default 4.
    uint32_t length_width;
    /// Length prefix: opaque bytes before the length.
    uint32_t length_offset;
    /// Length prefix: what the length counts, a `DRYWIRE_COUNTS_*`.
    uint32_t counts;
    /// Length prefix: see `DRYWIRE_COUNTS_ADJUSTED`.
    int32_t adjustment;
    /// Length prefix: bytes of a type word after the length: 0, 1, 2 or 4.
    uint32_t type_width;
    /// Length prefix: opaque bytes between header and payload.
    uint32_t extra;
    /// Length prefix: bytes at the front of the frame that the payload leaves out.
    uint32_t strip;
    /// Lines: a `DRYWIRE_LINES_*`.
    uint32_t terminator;
    /// Lines: see the terminator.
    uint8_t delimiter[8];
    /// Lines: how many bytes of `delimiter` are used, 1 to 8.
    uint32_t delimiter_len;
    /// 0.
    uint32_t reserved;
} drywire_framer_options;

/// Limits of a server and its connections. Start with `drywire_server_options_init`.
typedef struct drywire_server_options {
    /// `sizeof(drywire_server_options)`.
    uint32_t struct_size;
    /// 0 or `DRYWIRE_DEBUG_VIEWS`.
    uint32_t flags;
    /// Connections at most; further ones are told so and closed. Default 1024.
    uint32_t max_connections;
    /// Requests served in one turn before other connections get theirs. Default 128.
    uint32_t messages_per_turn;
    /// Unconsumed input of one connection at most, in bytes: 2048 to 1 GiB. Default 64 KiB.
    uint64_t input_limit;
    /// Output waiting from which no further request is started, in bytes, 1 to 1 GiB. Default 64 KiB.
    uint64_t output_high;
    /// Output waiting down to which work goes on, in bytes, below `output_high`. Default 16 KiB.
    uint64_t output_low;
    /// How long a connection that is ending may go without its peer taking output. Default 10 s.
    uint64_t drain_stall_ns;
    /// How long input is discarded after the write side was shut down. Default 1 s.
    uint64_t linger_ns;
    /// How many bytes are discarded then at most. Default 256 KiB.
    uint64_t linger_bytes;
    /// A connection on which nothing comes in for this long, and with nothing owed or unsent, is
    /// ended. 0, the default, is for ever.
    uint64_t idle_ns;
    /// How much later than asked for the server may be called before this process itself counts as
    /// having been away; that time is held against no peer. Default 1 s.
    uint64_t own_stall_ns;
    /// An open connection that takes nothing of its waiting output for this long is ended. 0, the
    /// default, is the service's own: 10 s, 5 minutes for chat and hub.
    uint64_t output_stall_ns;
    /// Waiting output with which a connection is ended, in bytes; at least `output_high`. Only what is
    /// pushed to it can reach that. 0, the default, is 4 MiB.
    uint64_t output_hard;
    /// More waiting output than this is tolerated for `output_soft_ns` only; 0, the default, is no such
    /// limit.
    uint64_t output_soft;
    /// How long.
    uint64_t output_soft_ns;
    /// Input and output held by all connections together, in bytes: from three quarters of it on a
    /// connection is read only once its own output is taken; at all of it the service refuses what it
    /// can. Default 256 MiB.
    uint64_t total_limit;
    /// How long a connection is not read after a request of it was refused, so that refusing stays
    /// cheap. 0, the default, is not at all.
    uint64_t refusal_pause_ns;
    /// How many requests of all connections have to be refused within such a time for it: choose it so
    /// that reading and answering each alone takes a few percent of the time. Default 1.
    uint32_t refusal_pause_from;
    /// 0.
    uint32_t reserved;
} drywire_server_options;

/// Settings of a memcached server. Start with `drywire_memcached_options_init`.
typedef struct drywire_memcached_options {
    /// `sizeof(drywire_memcached_options)`.
    uint32_t struct_size;
    /// The item size limit in bytes, 1 KiB to 1 GiB and at most half of `memory`. Default 1 MiB.
    uint32_t item_max;
    /// All memory of the store, in bytes, 256 KiB to 32 GiB. Default 64 MiB.
    uint64_t memory;
    /// Secret seed of the hash, from a random source. A fixed one gives a fixed trace. Default 0.
    uint64_t seed;
    /// Unix time in seconds when `now_ns` is 0, for absolute expiry times. Default 0.
    int64_t unix_start;
    /// Not 0: a full store refuses instead of removing cold items.
    uint32_t no_evict;
    /// Not 0: `flush_all` is refused.
    uint32_t no_flush;
    /// The process id that `stats` shows. Default 0.
    uint32_t pid;
    /// 0.
    uint32_t reserved;
} drywire_memcached_options;

/// Settings of a custom server. Start with `drywire_custom_options_init`.
typedef struct drywire_custom_options {
    /// `sizeof(drywire_custom_options)`.
    uint32_t struct_size;
    /// Requests of one connection that wait for their answer at most, at least 1; then its input is
    /// not read. Default 64.
    uint32_t window;
    /// A connection without input for this long, and with nothing owed, is ended.
    /// Default `DRYWIRE_NO_DEADLINE`.
    uint64_t idle_ns;
} drywire_custom_options;

/// The promises of one queue. Start with `drywire_admission_options_init`.
typedef struct drywire_admission_options {
    /// `sizeof(drywire_admission_options)`.
    uint32_t struct_size;
    /// How much of the wait in force each class may use, in percent; a class never gets more than
    /// the one before it. Default 100, 75, 50, 25.
    uint8_t shares[4];
    /// The longest predicted wait accepted: 0.9 of the clients' deadline, less what the network
    /// takes. Default 45 ms.
    uint64_t budget_ns;
    /// The longest actual wait after which a request is still started. Default 47.5 ms.
    uint64_t give_up_ns;
    /// The longest predicted wait while the queue stands. Default 5 ms.
    uint64_t target_ns;
    /// A queue that was not empty for this long stands. Default 100 ms.
    uint64_t interval_ns;
    /// Requests waiting at most, whatever the prediction. Default 65536.
    uint64_t queue_max;
    /// Their bytes at most. Default 16 MiB.
    uint64_t queue_bytes;
    /// Unsent output of a connection from which its requests are held. Default 256 KiB.
    uint64_t conn_out;
    /// Mean service time assumed before the first is measured. Default 100 us.
    uint64_t service_guess_ns;
} drywire_admission_options;

/// The state of one queue's admission: refuses at the door by the wait that a newcomer would have
/// (requests waiting x mean service time / workers), and gives up what waited too long. Yours to
/// copy; the numbers in it are the library's.
typedef struct drywire_admission {
    /// Set by `drywire_admission_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[6];
} drywire_admission;

/// A request at the door. Start with `drywire_admission_ask_init`.
typedef struct drywire_admission_ask {
    /// `sizeof(drywire_admission_ask)`.
    uint32_t struct_size;
    /// The request's priority: 0 is the most important, everything from 3 on the least. Default 0.
    uint32_t request_class;
    /// Workers that serve this queue. Default 1.
    uint32_t workers;
    /// 0 or `DRYWIRE_ASK_DRAINING`.
    uint32_t flags;
    /// Requests waiting; those being served do not count.
    uint64_t queue_len;
    /// Their bytes.
    uint64_t queue_bytes;
    /// When the oldest waiting request was queued; `DRYWIRE_NO_DEADLINE`, the default, if none waits.
    uint64_t oldest_ns;
    /// What this request is known to cost; `DRYWIRE_NO_DEADLINE`, the default, if that is not known.
    uint64_t cost_ns;
    /// When its answer becomes useless; `DRYWIRE_NO_DEADLINE`, the default, if it does not say.
    uint64_t deadline_ns;
    /// Unsent output of its connection, in bytes.
    uint64_t conn_out;
    /// Requests of its connection that wait.
    uint64_t conn_waiting;
    /// Connections that have requests waiting; 0, the default, switches the fair share off, and that
    /// anything goes ahead.
    uint64_t conns_waiting;
    /// When a request of its connection last came while another of it waited, or was refused;
    /// `DRYWIRE_NO_DEADLINE`, the default, if never.
    uint64_t conn_crowded_ns;
} drywire_admission_ask;

/// What a policy decided. What the fields mean is said by the function that fills it; those it does not
/// name are 0.
typedef struct drywire_decision {
    /// What to do: one of the function's constants, or 0 for nothing.
    uint32_t what;
    /// Why, or a small number.
    uint32_t why;
    /// A number.
    uint64_t num;
    /// A moment or a span.
    uint64_t time_ns;
    /// When to ask again at the latest, if nothing happens before: the value of the policy's
    /// `_next_deadline`. `DRYWIRE_NO_DEADLINE` if never, and for policies that wait for nothing.
    uint64_t next_ns;
} drywire_decision;

/// How long each step may take. Start with `drywire_drain_options_init`.
typedef struct drywire_drain_options {
    /// `sizeof(drywire_drain_options)`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// Serving on while clients are told. Default 5 s.
    uint64_t announce_ns;
    /// Refusing new work while what is in flight finishes. Default 10 s.
    uint64_t grace_ns;
    /// Closing the connections, evenly. Default 5 s.
    uint64_t spread_ns;
    /// Everything together. Default 25 s.
    uint64_t hard_ns;
} drywire_drain_options;

/// The state of one server that may go away: announce, refuse, close evenly, stop, each step with a
/// last moment. For servers of your own; `drywire_server_drain` is the short way for the library's.
/// Yours to copy; the numbers in it are the library's.
typedef struct drywire_drain {
    /// Set by `drywire_drain_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[4];
} drywire_drain;

/// The caps on what is buffered: at `_high` reading stops, at `_low` it goes on; at least one below
/// `_high` counts. `UINT64_MAX` is no limit. Start with `drywire_read_gate_options_init`.
typedef struct drywire_read_gate_options {
    /// `sizeof(drywire_read_gate_options)`.
    uint32_t struct_size;
    /// Messages of one connection in one turn; at least one. Default 20.
    uint32_t turn_messages;
    /// Bytes of one connection in one turn; at least one. Default 64 KiB.
    uint64_t turn_bytes;
    /// Unconsumed input of the connection. Default 64 KiB.
    uint64_t conn_in_high;
    /// Default 16 KiB.
    uint64_t conn_in_low;
    /// Unsent output of the connection. Default 256 KiB.
    uint64_t conn_out_high;
    /// Default 64 KiB.
    uint64_t conn_out_low;
    /// Bytes of requests that wait for a worker. Default 16 MiB.
    uint64_t queue_high;
    /// Default 4 MiB.
    uint64_t queue_low;
    /// Bytes of all connections together. Default 256 MiB.
    uint64_t total_high;
    /// Default 192 MiB.
    uint64_t total_low;
} drywire_read_gate_options;

/// The state of one connection's read gate: whether to read from it, and how much. Yours to copy; the
/// numbers in it are the library's.
typedef struct drywire_read_gate {
    /// Set by `drywire_read_gate_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[2];
} drywire_read_gate;

/// The limits on one connection's output. Start with `drywire_out_gate_options_init`.
typedef struct drywire_out_gate_options {
    /// `sizeof(drywire_out_gate_options)`.
    uint32_t struct_size;
    /// What to do at the hard limit with a message that may be lost, a `DRYWIRE_WHEN_FULL_*`.
    /// Default the new one is dropped.
    uint32_t when_full;
    /// Bytes pending at most; one message is always taken when nothing is pending. Default 4 MiB.
    uint64_t hard;
    /// More than this many bytes are tolerated for `soft_for_ns` only. Default 4 MiB.
    uint64_t soft;
    /// How long; `UINT64_MAX`, the default, is for ever.
    uint64_t soft_for_ns;
    /// How long the transport may take nothing while something is pending; `UINT64_MAX` is for ever.
    /// Default 10 s.
    uint64_t no_progress_ns;
    /// Pending bytes from which the producer is slowed down; `UINT64_MAX`, the default, is never.
    uint64_t stall;
    /// How long it pauses for one message. Default 0.
    uint64_t stall_each_ns;
    /// And for one episode, until pending is below `stall` again. Default 0.
    uint64_t stall_total_ns;
} drywire_out_gate_options;

/// The state of one connection's output gate: what to do with a peer that does not read fast enough.
/// Yours to copy; the numbers in it are the library's.
typedef struct drywire_out_gate {
    /// Set by `drywire_out_gate_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[4];
} drywire_out_gate;

/// How to tell a dead peer; 0 switches a rule off. Start with `drywire_heartbeat_options_init`.
typedef struct drywire_heartbeat_options {
    /// `sizeof(drywire_heartbeat_options)`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// Silence after which a ping goes out; 0 if the peer does the pinging. Default 10 s.
    uint64_t interval_ns;
    /// Silence after which the peer is dead. Default 30 s.
    uint64_t timeout_ns;
    /// Time for a pong, from the moment the ping left. Default 15 s.
    uint64_t pong_ns;
    /// How long pending output may make no progress. Default 30 s.
    uint64_t stall_ns;
} drywire_heartbeat_options;

/// The state of one connection's heartbeat: any byte received proves life, silence is answered with one
/// ping, a slow link is not taken for a dead one. Yours to copy; the numbers in it are the library's.
typedef struct drywire_heartbeat {
    /// Set by `drywire_heartbeat_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[4];
} drywire_heartbeat;

/// How sure to be that a peer is gone. Start with `drywire_phi_options_init`.
typedef struct drywire_phi_options {
    /// `sizeof(drywire_phi_options)`.
    uint32_t struct_size;
    /// The threshold, as standard deviations in thousandths: 5230 for phi 8, 5800 for 10, 6290 for 12.
    /// Default 5230.
    uint32_t z;
    /// A pause of the peer that is tolerated on top. Default 1 s.
    uint64_t pause_ns;
    /// The deviation counts as at least this. Default 100 ms.
    uint64_t deviation_min_ns;
} drywire_phi_options;

/// The state of one peer that beats by itself: a deadline from how regular its beats were, for links on
/// which a fixed one is wrong. Yours to copy; the numbers in it are the library's.
typedef struct drywire_phi {
    /// Set by `drywire_phi_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[4];
} drywire_phi;

/// What is refused on all connections together, in spans as long as a pause: a refusal among few is
/// no burden and no pause follows. One for all connections of a server of your own;
/// `refusal_pause_ns` of `drywire_server_options` is that of the library's. Yours to copy; the numbers
/// in it are the library's.
typedef struct drywire_refusal_window {
    /// Set by `drywire_refusal_window_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[2];
} drywire_refusal_window;

/// The state of one connection's pause: who was refused is read a moment later, many requests at once,
/// and what is answered meanwhile goes out in one write. Yours to copy; the numbers in it are the
/// library's.
typedef struct drywire_refusal_pause {
    /// Set by `drywire_refusal_pause_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[2];
} drywire_refusal_pause;

/// How long a peer may take to ask; 0 switches a limit off. Start with
/// `drywire_patience_options_init`.
typedef struct drywire_patience_options {
    /// `sizeof(drywire_patience_options)`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// Between two requests. Default 0.
    uint64_t idle_ns;
    /// From the first byte of a request to its last. Default 0.
    uint64_t request_ns;
} drywire_patience_options;

/// The state of one connection: the idle limit and the whole-request deadline. Yours to copy; the
/// numbers in it are the library's.
typedef struct drywire_patience {
    /// Set by `drywire_patience_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[2];
} drywire_patience;

/// How often a peer may ping. Start with `drywire_ping_flood_options_init`.
typedef struct drywire_ping_flood_options {
    /// `sizeof(drywire_ping_flood_options)`.
    uint32_t struct_size;
    /// Pings at once; at least one. Default 5.
    uint32_t burst;
    /// Unanswered pings in a row that are tolerated. Default 20.
    uint32_t strikes;
    /// 0.
    uint32_t reserved;
    /// One ping per this span in the long run. Default 500 ms.
    uint64_t gap_ns;
} drywire_ping_flood_options;

/// The state of one connection: how many pings it may send. Yours to copy; the numbers in it are the
/// library's.
typedef struct drywire_ping_flood {
    /// Set by `drywire_ping_flood_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[2];
} drywire_ping_flood;

/// The state of one event loop: was it the peers that were silent, or was this process away? Yours to
/// copy; the number in it is the library's.
typedef struct drywire_stall_guard {
    /// Set by `drywire_stall_guard_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[1];
} drywire_stall_guard;

/// How to balance. Start with `drywire_pick_options_init`.
typedef struct drywire_pick_options {
    /// `sizeof(drywire_pick_options)`.
    uint32_t struct_size;
    /// Requests pending at one backend at most. Default `UINT32_MAX`.
    uint32_t pending_max;
    /// For keyed traffic: the most that one backend may have pending, in percent of the mean; 0 for no
    /// bound, otherwise at least 100. Default 125.
    uint32_t bound_percent;
    /// With fewer than this share of the backends in, those that are out are tried too. Default 50.
    uint32_t panic_percent;
    /// Pending requests that one refusal or failure counts as. Default 8.
    uint32_t penalty;
    /// Failures in a row that put a backend out; 0 for never, 255 at most. Default 5.
    uint32_t out_after;
    /// Half of the penalty is forgotten in this time. Default 1 s.
    uint64_t half_life_ns;
    /// For how long a backend is out, times how often it happened. Default 10 s.
    uint64_t out_for_ns;
    /// For how long at most. Default 5 minutes.
    uint64_t out_max_ns;
} drywire_pick_options;

/// One backend of one client; an array of them is what `drywire_pick` picks from. Yours to copy. The
/// first four fields are yours to read and write. 64 bytes, frozen.
typedef struct drywire_backend {
    /// Its identity for keyed traffic; stable over restarts and reorderings.
    uint64_t key;
    /// Its share; 0 takes it out.
    uint32_t weight;
    /// Requests sent and not answered.
    uint32_t pending;
    /// Not 0: it announced that it goes away.
    uint32_t draining;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[5];
} drywire_backend;

/// How much to hold back. Start with `drywire_throttle_options_init`.
typedef struct drywire_throttle_options {
    /// `sizeof(drywire_throttle_options)`.
    uint32_t struct_size;
    /// In percent: 200, the default, sends up to twice what was accepted; take 110 where refusing
    /// costs the server as much as serving.
    uint32_t k_percent;
    /// The most that is held back, in percent; 99 at most. Default 90.
    uint32_t most_percent;
    /// 0.
    uint32_t reserved;
    /// What is remembered. Default 2 minutes.
    uint64_t window_ns;
} drywire_throttle_options;

/// The state of one client towards one service: does not send what would be refused anyway. Yours to
/// copy; the numbers in it are the library's.
typedef struct drywire_throttle {
    /// Set by `drywire_throttle_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[12];
} drywire_throttle;

/// How much to insist. Start with `drywire_retry_options_init`.
typedef struct drywire_retry_options {
    /// `sizeof(drywire_retry_options)`.
    uint32_t struct_size;
    /// Retries per hundred requests. Default 10.
    uint32_t percent;
    /// Retries per second on top. Default 1.
    uint32_t floor;
    /// Retries saved up at most. Default 10.
    uint32_t burst;
    /// Attempts of one request, the first included. Default 3.
    uint32_t attempts;
    /// 0.
    uint32_t reserved;
    /// The pause before the first retry, doubled for each further one. Default 10 ms.
    uint64_t backoff_ns;
    /// The longest pause, unless the server asked for more. Default 1 s.
    uint64_t backoff_max_ns;
} drywire_retry_options;

/// The state of one client: retries and hedges under one budget. Yours to copy; the numbers in it are
/// the library's.
typedef struct drywire_retry {
    /// Set by `drywire_retry_init`.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// The library's.
    uint64_t state[2];
} drywire_retry;

/// A connection that something other than its own socket touched, or that is due.
typedef struct drywire_ready {
    /// Its id.
    uint64_t id;
    /// What the caller gave at `drywire_conn_open`.
    void *user;
    /// What it wants now: `DRYWIRE_WANT_*`.
    uint32_t flags;
    /// 0.
    uint32_t reserved;
} drywire_ready;

/// What `drywire_server_get_stats` tells.
typedef struct drywire_server_stats {
    /// `sizeof(drywire_server_stats)`, set by the caller.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// Connections held now, refused ones included.
    uint64_t connections;
    /// Connections ever opened.
    uint64_t accepted;
    /// Connections turned away with `DRYWIRE_ERR_OVERLOADED`.
    uint64_t overloaded;
    /// Bytes of input taken.
    uint64_t bytes_in;
    /// Bytes of output consumed.
    uint64_t bytes_out;
    /// Memory held by connections and queues, without the store, in bytes.
    uint64_t memory;
} drywire_server_stats;

/// What `drywire_server_get_memcached_stats` tells.
typedef struct drywire_memcached_stats {
    /// `sizeof(drywire_memcached_stats)`, set by the caller.
    uint32_t struct_size;
    /// 0.
    uint32_t reserved;
    /// Items held now.
    uint64_t items;
    /// Bytes that items take now.
    uint64_t item_bytes;
    /// Memory charged to the limit now, in bytes.
    uint64_t memory;
    /// The limit, in bytes.
    uint64_t memory_limit;
    /// Keys looked up.
    uint64_t gets;
    /// Keys found.
    uint64_t hits;
    /// Storage commands.
    uint64_t sets;
    /// Live items removed to make room.
    uint64_t evictions;
} drywire_memcached_stats;

/// What becomes of slow receivers in some rooms or topics.
typedef struct drywire_fate_rule {
    /// A name, or the beginning of names followed by `*`.
    struct drywire_bytes pattern;
    /// A `DRYWIRE_FATE_*`.
    uint32_t fate;
    /// 0.
    uint32_t reserved;
} drywire_fate_rule;

/// Settings of a chat or hub server. Start with `drywire_fanout_options_init`.
typedef struct drywire_fanout_options {
    /// `sizeof(drywire_fanout_options)`.
    uint32_t struct_size;
    /// Chat: messages repeated to a client that joins, at most. Default 200.
    uint32_t history;
    /// Chat: rooms of one client, 1 to 65535. Hub: subscriptions of one connection. Default 16.
    uint32_t subscriptions;
    /// Members of one room or topic. Default 100000.
    uint32_t members;
    /// Bytes that one room or topic keeps. Default 1 MiB.
    uint64_t topic_bytes;
    /// Bytes that all of them keep. Default 64 MiB.
    uint64_t total_bytes;
    /// Chat: silence after which an extended client is pinged. Default 10 s.
    uint64_t heartbeat_ns;
    /// Unix time in milliseconds when `now_ns` is 0. Default 0.
    uint64_t unix_ms;
    /// What becomes of receivers that are too slow, a `DRYWIRE_FATE_*`, where no rule says otherwise.
    /// Default they are kicked.
    uint32_t fate;
    /// Keys remembered in a room or topic that coalesces. Default 1024.
    uint32_t keys;
    /// Messages that one room or topic keeps. Default 10000.
    uint64_t topic_messages;
    /// Rooms or topics at most. Default 4096.
    uint64_t topics;
    /// How long one that nobody follows is kept. Default 10 minutes.
    uint64_t keep_unused_ns;
    /// When a receiver counts as slow. NULL, the default, is as
    /// `drywire_out_gate_options_init_fanout` has it.
    const struct drywire_out_gate_options *slow;
    /// 0.
    size_t reserved;
    /// Rules for rooms or topics by name; the first that matches counts. NULL, the default, is none.
    const struct drywire_fate_rule *rules;
    /// How many.
    size_t rule_count;
    /// Chat: the room that plain clients are in, at most 64 bytes. Empty, the default, is "lobby".
    struct drywire_bytes lobby;
} drywire_fanout_options;

/// Settings of a sudoku server. Start with `drywire_sudoku_options_init`.
typedef struct drywire_sudoku_options {
    /// `sizeof(drywire_sudoku_options)`.
    uint32_t struct_size;
    /// Threads that run its work, at least 1. Default 1.
    uint32_t workers;
    /// Boards of one connection under way at most, at least 1. Default 1024.
    uint32_t under_way;
    /// Guesses for one board. Default 10000.
    uint32_t guesses;
    /// The longest predicted wait that is accepted; beyond it boards are refused. Default 45 ms.
    uint64_t budget_ns;
    /// The longest actual wait after which a board is still solved. Default 47.5 ms.
    uint64_t give_up_ns;
    /// The longest predicted wait while the queue stands. Default 5 ms.
    uint64_t target_ns;
    /// A queue that was not empty for this long stands. Default 100 ms.
    uint64_t interval_ns;
    /// Time for one board assumed before the first is measured. Default 20 us.
    uint64_t service_guess_ns;
    /// Boards waiting at most, whatever the prediction. Default 65536.
    uint64_t queue_max;
    /// Their bytes at most. Default 16 MiB.
    uint64_t queue_bytes;
    /// Unsent output of a connection from which its boards are left unread. Default 256 KiB.
    uint64_t conn_out;
} drywire_sudoku_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_client_options_init(struct drywire_client_options *options,
                                                size_t size);

/// Makes a memcached client for one connection. NULL `options` are all defaults; they are copied.
/// Free it with `drywire_client_free`. To connect again, make a new one.
///
/// Errors: `DRYWIRE_ERR_RANGE`, `DRYWIRE_ERR_ABI`, `DRYWIRE_ERR_NULL`. On failure `*client` is NULL.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_memcached_client_new(const struct drywire_client_options *options,
                                                 struct drywire_client **client);

/// Frees a client. NULL is fine. Requests in flight get no event any more.
DRYWIRE_API void drywire_client_free(struct drywire_client *client);

/// Appends a request to the output. Its token goes to `token` (0 if it asks for no answer, so that
/// nothing more is heard of it); tokens count up from 1. Everything is copied.
///
/// Each token gets exactly one `DRYWIRE_EVENT_DONE`, also when the connection ends or time runs out.
///
/// Errors, nothing is sent then: `DRYWIRE_ERR_RANGE` for a key, value or verb that the protocol
/// cannot carry; `DRYWIRE_ERR_LIMIT` when `window` requests are in flight: poll first;
/// `DRYWIRE_ERR_STATE` when the connection has ended; `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_ABI`;
/// `DRYWIRE_ERR_NOMEM`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_client_submit(struct drywire_client *client,
                                          uint64_t now_ns,
                                          const struct drywire_memcached_request *request,
                                          uint64_t *token);

/// Takes input; the number of bytes taken goes to `consumed`. They are copied; `drywire_client_poll`
/// reads the answers out of them.
///
/// Returns `DRYWIRE_OK` when all was taken, `DRYWIRE_MORE` when the buffer is full: poll, then offer
/// the rest again.
/// Errors: `DRYWIRE_ERR_STATE` after `drywire_client_eof` or an error; `DRYWIRE_ERR_NOMEM`;
/// `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_RANGE`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_client_feed(struct drywire_client *client,
                                        uint64_t now_ns,
                                        const uint8_t *data,
                                        size_t len,
                                        size_t *consumed);

/// The connection has ended: the peer's end of input, or a failure. What was fed before is still
/// read; then everything in flight fails with `DRYWIRE_ERR_CONNECTION_LOST`.
///
/// Errors: `DRYWIRE_ERR_NULL`.
DRYWIRE_API enum drywire_status drywire_client_eof(struct drywire_client *client);

/// What the client wants: `DRYWIRE_WANT_READ`, `DRYWIRE_WANT_WRITE`; `DRYWIRE_WANT_AGAIN` when
/// `drywire_client_poll` may have something; `DRYWIRE_WANT_CLOSE` when the connection is over, also for
/// NULL or an unusable client.
DRYWIRE_API
uint32_t drywire_client_wants(const struct drywire_client *client);

/// Shows the output that waits, exactly as `drywire_conn_output` does: segments stay where they are
/// until they are consumed or the client is freed.
///
/// Returns `DRYWIRE_OK`, or `DRYWIRE_MORE` when there are more than `cap` segments.
/// Errors: `DRYWIRE_ERR_NULL`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_client_output(struct drywire_client *client,
                                          struct drywire_iov *iov,
                                          size_t cap,
                                          size_t *n,
                                          size_t *bytes);

/// The first `bytes` bytes of the output were sent.
///
/// Errors: `DRYWIRE_ERR_RANGE` for more than the last `drywire_client_output` showed;
/// `DRYWIRE_ERR_NULL`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_client_output_consume(struct drywire_client *client,
                                                  size_t bytes);

/// Reads answers out of what was fed: at most `cap` events (`DRYWIRE_EVENT_VALUE`, `_STAT`, `_DONE`)
/// go to `events`, their number to `n`. Their bytes are good until the next `drywire_client_poll`,
/// `_feed` or `_free`.
///
/// Returns `DRYWIRE_OK` when there are no more, `DRYWIRE_MORE` when there may be.
/// Errors: `DRYWIRE_ERR_NULL`. A broken peer is no error here: its requests fail, each with its
/// event, and `drywire_client_last_error` tells why.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_client_poll(struct drywire_client *client,
                                        struct drywire_event *events,
                                        size_t cap,
                                        size_t *n);

/// When `drywire_client_tick` is due; `DRYWIRE_NO_DEADLINE` if never, and for NULL or an unusable
/// client.
DRYWIRE_API uint64_t drywire_client_next_deadline(const struct drywire_client *client);

/// Time has passed. When a request has run out of it, the connection is over: answers come in order,
/// so the ones behind it cannot come either. Everything in flight fails with
/// `DRYWIRE_ERR_TIMED_OUT`.
///
/// Errors: `DRYWIRE_ERR_NULL`.
DRYWIRE_API
enum drywire_status drywire_client_tick(struct drywire_client *client,
                                        uint64_t now_ns);

/// Where the requests went. Set `stats->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_client_get_stats(const struct drywire_client *client,
                                             struct drywire_client_stats *stats);

/// Why the connection ended; `status` 0 while it is open. `code` is a `DRYWIRE_CLIENT_FAULT_*` if the
/// peer broke the protocol. Set `info->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_client_last_error(const struct drywire_client *client,
                                              struct drywire_error_info *info);

/// Opens a connection; the caller has accepted a socket for it. `user` is handed back with
/// everything that concerns the connection. Past the limit of connections, and once the server goes
/// away, the new one is told so and ends: drive it like any other. Free it with `drywire_conn_free`.
///
/// Errors: `DRYWIRE_ERR_OVERLOADED` when too many are being refused already, and instead of a refusal
/// by a custom server, which has no words for it: close the socket in a way that resets it;
/// `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`; `DRYWIRE_ERR_NULL`. On failure
/// `*conn` is NULL.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_conn_open(struct drywire_server *server,
                                      uint64_t now_ns,
                                      void *user,
                                      struct drywire_conn **conn);

/// Frees a connection; one that was not over is aborted. NULL is fine. Its output segments are
/// gone with it.
DRYWIRE_API void drywire_conn_free(struct drywire_conn *conn);

/// The id of a connection: not 0, and never used again by its server. 0 for NULL.
DRYWIRE_API uint64_t drywire_conn_id(const struct drywire_conn *conn);

/// The `user` given at `drywire_conn_open`; NULL for NULL or an unusable connection.
DRYWIRE_API void *drywire_conn_user(const struct drywire_conn *conn);

/// What the connection wants now: `DRYWIRE_WANT_*` added up. May be asked at any time, any number of
/// times. `DRYWIRE_WANT_CLOSE` for NULL or an unusable connection.
DRYWIRE_API
uint32_t drywire_conn_wants(const struct drywire_conn *conn);

/// Takes input from the caller's memory; replies are appended to the output. The number of bytes
/// taken goes to `consumed`; what is not taken is to be offered again. The bytes are copied as far
/// as they are kept. 0 bytes is not the end of input: that is `drywire_conn_eof`.
///
/// Returns `DRYWIRE_OK` when all was taken; `DRYWIRE_NEED_OUTPUT_DRAIN` to send output first,
/// `DRYWIRE_MORE` to call `drywire_conn_resume` first, `DRYWIRE_NOT_NOW` when input is not wanted.
/// Errors: `DRYWIRE_ERR_PROTOCOL` to `DRYWIRE_ERR_TRUNCATED`: the peer broke the protocol, replies owed
/// and last words are in the output, drive the connection to its end; `DRYWIRE_ERR_STATE` between
/// `_input_reserve` and `_input_commit`; `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_RANGE`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_conn_feed(struct drywire_conn *conn,
                                      uint64_t now_ns,
                                      const uint8_t *data,
                                      size_t len,
                                      size_t *consumed);

/// Lends room to read input into: its address goes to `room`, its size to `cap`. The read ends with
/// `drywire_conn_input_commit`; until then every call on this server and its connections fails with
/// `DRYWIRE_ERR_STATE`, except those that only look and `_free`. The room is good until then.
///
/// Returns `DRYWIRE_OK`; or, with `cap` 0 and nothing to commit, `DRYWIRE_NEED_OUTPUT_DRAIN`,
/// `DRYWIRE_MORE` or `DRYWIRE_NOT_NOW` as `drywire_conn_feed` does.
/// Errors: as `drywire_conn_feed`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_conn_input_reserve(struct drywire_conn *conn,
                                               uint8_t **room,
                                               size_t *cap);

/// Ends a read into the room lent by `drywire_conn_input_reserve`: `n` bytes are there. 0 is fine and
/// is not the end of input.
///
/// Returns `DRYWIRE_OK`. Errors: `DRYWIRE_ERR_RANGE` for more than was lent (the reservation
/// stays); `DRYWIRE_ERR_STATE` without a reservation; otherwise as `drywire_conn_feed`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_conn_input_commit(struct drywire_conn *conn,
                                              uint64_t now_ns,
                                              size_t n);

/// The peer will send no more (a read returned 0). What it sent before is still answered.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_STATE`.
DRYWIRE_API enum drywire_status drywire_conn_eof(struct drywire_conn *conn, uint64_t now_ns);

/// Goes on after `DRYWIRE_WANT_AGAIN`; does nothing otherwise.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_STATE`.
DRYWIRE_API enum drywire_status drywire_conn_resume(struct drywire_conn *conn, uint64_t now_ns);

/// Shows the output that waits: at most `cap` segments go to `iov`, their number to `n`, the sum of
/// their sizes to `bytes`. Changes nothing.
///
/// Segments stay where they are, unchanged, until `drywire_conn_output_consume` covers them or the
/// connection is freed, whatever is called in between: they may be handed to the kernel and left
/// there. Later calls show them again, with later output behind them.
///
/// Returns `DRYWIRE_OK`, or `DRYWIRE_MORE` when there are more than `cap` segments.
/// Errors: `DRYWIRE_ERR_NULL`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_conn_output(struct drywire_conn *conn,
                                        struct drywire_iov *iov,
                                        size_t cap,
                                        size_t *n,
                                        size_t *bytes);

/// Copies up to `cap` bytes of the output that waits to `buf` and their number to `n`. Nothing is
/// consumed: say with `drywire_conn_output_consume` how much of it was sent.
///
/// Errors: `DRYWIRE_ERR_NULL`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_conn_output_copy(struct drywire_conn *conn,
                                             uint8_t *buf,
                                             size_t cap,
                                             size_t *n);

/// The first `bytes` bytes of the output were sent; any part of what was shown is fine.
///
/// Errors: `DRYWIRE_ERR_RANGE` for more than the last `drywire_conn_output` or `_output_copy`
/// showed; `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_conn_output_consume(struct drywire_conn *conn,
                                                uint64_t now_ns,
                                                size_t bytes);

/// The write side of the socket is shut down, as `DRYWIRE_WANT_SHUTDOWN` asked.
///
/// Errors: `DRYWIRE_ERR_STATE` if it was not asked for, and between `_input_reserve` and
/// `_input_commit`; `DRYWIRE_ERR_NULL`.
DRYWIRE_API
enum drywire_status drywire_conn_was_shut_down(struct drywire_conn *conn,
                                               uint64_t now_ns);

/// Ends the connection from this side: complete requests already received are answered, everything
/// owed is sent, then it wants `DRYWIRE_WANT_SHUTDOWN` and `DRYWIRE_WANT_CLOSE`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_STATE`.
DRYWIRE_API
enum drywire_status drywire_conn_close_begin(struct drywire_conn *conn,
                                             uint64_t now_ns);

/// Ends the connection at once: its transport failed. `why` is a `DRYWIRE_TRANSPORT_*`. What is owed
/// fails with it.
///
/// Errors: `DRYWIRE_ERR_RANGE`, `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_STATE`.
DRYWIRE_API
enum drywire_status drywire_conn_abort(struct drywire_conn *conn,
                                       uint64_t now_ns,
                                       uint32_t why);

/// Why the connection ended or is ending: `info->code` is a `DRYWIRE_CLOSE_*`, `info->status` below 0
/// if something went wrong. Set `info->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_conn_last_error(const struct drywire_conn *conn,
                                            struct drywire_error_info *info);

/// Fills `options` (`size` bytes of it) with defaults. `kind` and `max_payload` must be set.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_framer_options_init(struct drywire_framer_options *options,
                                                size_t size);

/// Makes a framer. Free it with `drywire_framer_free`. `options` are copied.
///
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_ABI`; `DRYWIRE_ERR_RANGE` for a setting that makes no
/// sense. On failure `*framer` is NULL.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_framer_new(const struct drywire_framer_options *options,
                                       struct drywire_framer **framer);

/// Frees a framer. NULL is fine. Frames it found stay good: they are in the caller's memory.
DRYWIRE_API void drywire_framer_free(struct drywire_framer *framer);

/// Finds the frames at the front of `data`, at most `cap` of them, and writes them to `events`
/// (`DRYWIRE_EVENT_FRAME`, `DRYWIRE_EVENT_FRAME_ERROR`), their number to `n` and the bytes that are
/// done with to `consumed`. `data` must begin with the first byte not yet consumed; pass what is
/// left again with more behind it. Work is linear in the bytes, however they are cut up.
///
/// Events point into `data` and are good until the caller changes that memory. Nothing is copied.
///
/// Returns `DRYWIRE_NEED_INPUT` when all frames were found and more bytes are needed,
/// `DRYWIRE_MORE` when `events` is full.
/// Errors: `DRYWIRE_ERR_PROTOCOL`, `DRYWIRE_ERR_TOO_LONG`: the stream is broken beyond repair;
/// frames before the break were delivered and `n` and `consumed` are set. The error stays until
/// `drywire_framer_reset`. `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_RANGE`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_framer_decode(struct drywire_framer *framer,
                                          const uint8_t *data,
                                          size_t len,
                                          struct drywire_event *events,
                                          size_t cap,
                                          size_t *n,
                                          size_t *consumed);

/// At least how many more bytes are needed behind those the last `drywire_framer_decode` left
/// before anything can come out; 0 when its `events` were full. A hint: the peer may never send
/// them. 0 for a NULL or unusable framer.
DRYWIRE_API size_t drywire_framer_need(const struct drywire_framer *framer);

/// The offset in the stream of the first byte not yet consumed. 0 for a NULL or unusable framer.
DRYWIRE_API uint64_t drywire_framer_position(const struct drywire_framer *framer);

/// The most bytes that can be waiting without a decision: a buffer of this size is always enough.
/// 0 for a NULL or unusable framer.
DRYWIRE_API size_t drywire_framer_max_pending(const struct drywire_framer *framer);

/// Judges the end of input; `rest` is what the last `drywire_framer_decode` left. Changes nothing.
///
/// Returns `DRYWIRE_OK` between two frames.
/// Errors: `DRYWIRE_ERR_TRUNCATED` inside a frame or an unterminated line; the stream's own error if
/// it has one; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_RANGE`.
DRYWIRE_API
enum drywire_status drywire_framer_finish(const struct drywire_framer *framer,
                                          const uint8_t *rest,
                                          size_t len);

/// Goes back to the start of a stream: position 0, no error.
///
/// Errors: `DRYWIRE_ERR_NULL`.
DRYWIRE_API enum drywire_status drywire_framer_reset(struct drywire_framer *framer);

/// What broke the stream, in detail; `status` 0 if nothing did. Set `info->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_framer_last_error(const struct drywire_framer *framer,
                                              struct drywire_error_info *info);

/// Writes the frame around `payload` to `out` and its size to `n`. `kind` and `extra` are what
/// decoding gives as `flags` and `id`; 0 and 0 where the framing has nothing to say there, for
/// lines the normal end.
///
/// Errors: `DRYWIRE_ERR_BUFFER` if `cap` is too small, with the size needed in `n` (`out` may be
/// NULL if `cap` is 0: ask, then fill); `DRYWIRE_ERR_RANGE` for what the decoder would refuse;
/// `DRYWIRE_ERR_UNSUPPORTED` for framings that are only read; `DRYWIRE_ERR_NULL`. Nothing is written
/// then.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_framer_encode(const struct drywire_framer *framer,
                                          uint32_t kind,
                                          uint32_t extra,
                                          const uint8_t *payload,
                                          size_t len,
                                          uint8_t *out,
                                          size_t cap,
                                          size_t *n);

/// Writes only the header of a frame with `payload_len` bytes of payload, for a gathered write that
/// leaves the payload where it is. At most 64 bytes; otherwise as `drywire_framer_encode`.
///
/// Errors: also `DRYWIRE_ERR_UNSUPPORTED` for any other framing than the length prefix.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_framer_encode_header(const struct drywire_framer *framer,
                                                 uint32_t kind,
                                                 uint32_t extra,
                                                 size_t payload_len,
                                                 uint8_t *out,
                                                 size_t cap,
                                                 size_t *n);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_server_options_init(struct drywire_server_options *options,
                                                size_t size);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_memcached_options_init(struct drywire_memcached_options *options,
                                                   size_t size);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_custom_options_init(struct drywire_custom_options *options,
                                                size_t size);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_admission_options_init(struct drywire_admission_options *options,
                                                   size_t size);

/// Sets the times in `options` for clients that give up after `deadline_ns`, the network not counted:
/// a budget of 0.9 of it, the last start at 0.95, a target of a tenth (5 ms at most), an interval of
/// twice the deadline. The rest stays.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_admission_options_for_deadline(struct drywire_admission_options *options,
                                                           uint64_t deadline_ns);

/// Makes the state for a queue that is empty: `size` is `sizeof *admission`. NULL options are all
/// defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_admission_init(struct drywire_admission *admission,
                                           size_t size,
                                           const struct drywire_admission_options *options,
                                           uint64_t now_ns);

/// Fills `ask` (`size` bytes of it) with a request of the highest class at an empty queue with one
/// worker.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_admission_ask_init(struct drywire_admission_ask *ask,
                                               size_t size);

/// Decides on a request at the door: `DRYWIRE_ADMISSION_ACCEPT`, `_SHED` or `_HOLD` goes to
/// `decision`, with the wait that was predicted, in ns, in `num`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`, `DRYWIRE_ERR_RANGE` for unknown flags.
DRYWIRE_API
enum drywire_status drywire_admission_admit(struct drywire_admission *admission,
                                            const struct drywire_admission_options *options,
                                            uint64_t now_ns,
                                            const struct drywire_admission_ask *ask,
                                            struct drywire_decision *decision);

/// Decides on a waiting request when a worker is free for it: `DRYWIRE_ADMISSION_SERVE` or `_SHED` goes
/// to `decision`. `expires_ns` is what `DRYWIRE_ADMISSION_ACCEPT` said, `left` how many requests wait
/// still.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_admission_dequeue(struct drywire_admission *admission,
                                              uint64_t now_ns,
                                              uint64_t expires_ns,
                                              uint64_t left,
                                              struct drywire_decision *decision);

/// A worker served a request in `service_ns`. Call it for work that ran.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_admission_complete(struct drywire_admission *admission,
                                               uint64_t service_ns);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_drain_options_init(struct drywire_drain_options *options,
                                               size_t size);

/// Makes the state of a server that serves: `size` is `sizeof *drain`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API enum drywire_status drywire_drain_init(struct drywire_drain *drain, size_t size);

/// The server is to go away. Only the first call counts.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API enum drywire_status drywire_drain_start(struct drywire_drain *drain, uint64_t now_ns);

/// What to do now, given how many `requests` are accepted and not answered, `conns` open, `closing` of
/// them told to close already, and `acked` of them aware of the announcement or in no need of one: a
/// `DRYWIRE_DRAIN_*` or nothing goes to `decision`. Ask until it says nothing, at the deadline, and
/// whenever the numbers changed. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_drain_poll(struct drywire_drain *drain,
                                       const struct drywire_drain_options *options,
                                       uint64_t now_ns,
                                       uint64_t requests,
                                       uint64_t conns,
                                       uint64_t closing,
                                       uint64_t acked,
                                       struct drywire_decision *decision);

/// When `drywire_drain_poll` is due while the numbers stay as they are; `DRYWIRE_NO_DEADLINE` if never,
/// and for what cannot be read. NULL options are all defaults.
DRYWIRE_API
uint64_t drywire_drain_next_deadline(const struct drywire_drain *drain,
                                     const struct drywire_drain_options *options,
                                     uint64_t requests,
                                     uint64_t conns,
                                     uint64_t closing,
                                     uint64_t acked);

/// `DRYWIRE_DRAIN_ACCEPTS` and `DRYWIRE_DRAIN_ANNOUNCES`, as they hold now, added up. 0 for what cannot
/// be read.
DRYWIRE_API
uint32_t drywire_drain_flags(const struct drywire_drain *drain);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_read_gate_options_init(struct drywire_read_gate_options *options,
                                                   size_t size);

/// Makes the state of an open gate at the start of a turn: `size` is `sizeof *gate`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API enum drywire_status drywire_read_gate_init(struct drywire_read_gate *gate, size_t size);

/// Whether to read now, from what is buffered: unconsumed input and unsent output of this connection,
/// requests of all connections that wait for a worker, and everything together, in bytes.
/// `DRYWIRE_READ_GATE_GO`, `_TURN_OVER` or `_STOP` goes to `decision`. Where nothing is buffered and the
/// turn is new it is always `_GO`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_read_gate_poll(struct drywire_read_gate *gate,
                                           const struct drywire_read_gate_options *options,
                                           uint64_t conn_in,
                                           uint64_t conn_out,
                                           uint64_t queue,
                                           uint64_t total,
                                           struct drywire_decision *decision);

/// This much was taken in.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_read_gate_took(struct drywire_read_gate *gate,
                                           uint64_t bytes,
                                           uint32_t messages);

/// A new turn begins: the others had theirs.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API enum drywire_status drywire_read_gate_new_turn(struct drywire_read_gate *gate);

/// Fills `options` (`size` bytes of it) with defaults that suit replies.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_out_gate_options_init(struct drywire_out_gate_options *options,
                                                  size_t size);

/// Fills `options` (`size` bytes of it) with what suits fan-out (chat, publish and subscribe): 1 MiB
/// hard, 256 KiB for 10 s, 10 s without progress, producers slowed down by 2 ms a message from 768 KiB
/// on, 10 ms in one episode.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_out_gate_options_init_fanout(struct drywire_out_gate_options *options,
                                                         size_t size);

/// Makes the state of a gate with nothing pending: `size` is `sizeof *gate`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API enum drywire_status drywire_out_gate_init(struct drywire_out_gate *gate, size_t size);

/// A message of `len` bytes is to follow the `pending` bytes: a `DRYWIRE_OUT_GATE_*` goes to
/// `decision`. `flags`: 0 or `DRYWIRE_OFFER_DROPPABLE`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for unknown flags or `when_full`; `DRYWIRE_ERR_NULL`,
/// `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_out_gate_offer(struct drywire_out_gate *gate,
                                           const struct drywire_out_gate_options *options,
                                           uint64_t now_ns,
                                           uint64_t pending,
                                           uint64_t message_len,
                                           uint32_t flags,
                                           struct drywire_decision *decision);

/// The transport took `n` bytes; `pending` are left. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `when_full`; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_out_gate_sent(struct drywire_out_gate *gate,
                                          const struct drywire_out_gate_options *options,
                                          uint64_t now_ns,
                                          uint64_t sent,
                                          uint64_t pending);

/// Whether this reader is to be given up: `DRYWIRE_OUT_GATE_KICK`, said once, or nothing goes to
/// `decision`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `when_full`; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_out_gate_poll(struct drywire_out_gate *gate,
                                          const struct drywire_out_gate_options *options,
                                          uint64_t now_ns,
                                          uint64_t pending,
                                          struct drywire_decision *decision);

/// When `drywire_out_gate_poll` is due while `pending` stays as it is; `DRYWIRE_NO_DEADLINE` if never,
/// and for what cannot be read. NULL options are all defaults.
DRYWIRE_API
uint64_t drywire_out_gate_next_deadline(const struct drywire_out_gate *gate,
                                        const struct drywire_out_gate_options *options,
                                        uint64_t pending);

/// When the transport last took bytes, or output began to wait: `progress_ns` of a heartbeat. 0 for
/// what cannot be read.
DRYWIRE_API uint64_t drywire_out_gate_progress(const struct drywire_out_gate *gate);

/// This process did not run for `gap_ns`: that time does not count.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_out_gate_stalled(struct drywire_out_gate *gate,
                                             uint64_t gap_ns);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_heartbeat_options_init(struct drywire_heartbeat_options *options,
                                                   size_t size);

/// Sets `options` for a ping after `interval_ns` of silence, death after three intervals, 1.5 of them
/// for the pong. 10 s suits the internet, 1 s a LAN. `flags`: 0, or `DRYWIRE_HEARTBEAT_EXPECT` for the
/// side that does not ping.
///
/// Errors: `DRYWIRE_ERR_RANGE` for unknown flags; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_heartbeat_options_every(struct drywire_heartbeat_options *options,
                                                    uint64_t interval_ns,
                                                    uint32_t flags);

/// Makes the state of a connection that begins, or begins again, now: `size` is `sizeof *heartbeat`.
/// `random` spreads the first ping over 20 % of the interval to either side. NULL options are all
/// defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_heartbeat_init(struct drywire_heartbeat *heartbeat,
                                           size_t size,
                                           const struct drywire_heartbeat_options *options,
                                           uint64_t now_ns,
                                           uint64_t random);

/// Bytes came in, whichever.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_heartbeat_received(struct drywire_heartbeat *heartbeat,
                                               uint64_t now_ns);

/// The transport took output that it had refused before: the peer takes it, slowly.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_heartbeat_progressed(struct drywire_heartbeat *heartbeat,
                                                 uint64_t now_ns);

/// The last byte of the ping went to the transport.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_heartbeat_ping_left(struct drywire_heartbeat *heartbeat,
                                                uint64_t now_ns);

/// What to do now: `DRYWIRE_HEARTBEAT_PING`, `_SUSPECT`, `_DEAD` or nothing goes to `decision`. Ask
/// until it says nothing. `pending` are bytes of ours that wait for the transport, `progress_ns` is when
/// it last took some of them or when they began to wait (`drywire_out_gate_progress`); it is not looked
/// at while nothing is pending. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_heartbeat_poll(struct drywire_heartbeat *heartbeat,
                                           const struct drywire_heartbeat_options *options,
                                           uint64_t now_ns,
                                           uint64_t pending,
                                           uint64_t progress_ns,
                                           struct drywire_decision *decision);

/// When `drywire_heartbeat_poll` is due while the line stays as it is; `DRYWIRE_NO_DEADLINE` if never,
/// and for what cannot be read. Receiving only stores a time, so a timer that is set once fires early
/// now and then: poll and set it again. NULL options are all defaults.
DRYWIRE_API
uint64_t drywire_heartbeat_next_deadline(const struct drywire_heartbeat *heartbeat,
                                         const struct drywire_heartbeat_options *options,
                                         uint64_t pending,
                                         uint64_t progress_ns);

/// This process did not run for `gap_ns`: that time was nobody's silence.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_heartbeat_stalled(struct drywire_heartbeat *heartbeat,
                                              uint64_t gap_ns);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_phi_options_init(struct drywire_phi_options *options,
                                             size_t size);

/// Makes the state of a peer that was heard now and should beat every `expected_ns`: `size` is
/// `sizeof *phi`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_phi_init(struct drywire_phi *phi,
                                     size_t size,
                                     const struct drywire_phi_options *options,
                                     uint64_t now_ns,
                                     uint64_t expected_ns);

/// A beat came in. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_phi_beat(struct drywire_phi *phi,
                                     const struct drywire_phi_options *options,
                                     uint64_t now_ns);

/// When the peer becomes suspect, unless it beats before; `DRYWIRE_NO_DEADLINE` for what cannot be
/// read. NULL options are all defaults.
DRYWIRE_API
uint64_t drywire_phi_next_deadline(const struct drywire_phi *phi,
                                   const struct drywire_phi_options *options);

/// This process did not run for `gap_ns`: that time was nobody's silence.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API enum drywire_status drywire_phi_stalled(struct drywire_phi *phi, uint64_t gap_ns);

/// Makes the state of a server that has refused nobody: `size` is `sizeof *window`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_refusal_window_init(struct drywire_refusal_window *window,
                                                size_t size);

/// So many requests were refused, which came in one read. When their connection is to be served again
/// goes to `until_ns`, at most `length_ns` from now: hand it to `drywire_refusal_pause_refused`. It is
/// `DRYWIRE_NO_DEADLINE`, and no pause follows, if less than `from` were refused in this span and in
/// the one before; a `length_ns` of 0 is off.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_refusal_window_refused(struct drywire_refusal_window *window,
                                                   uint64_t length_ns,
                                                   uint32_t from,
                                                   uint32_t requests,
                                                   uint64_t now_ns,
                                                   uint64_t *until_ns);

/// When the pause of whoever would be refused now ends: what a refusal can say about when to ask
/// again. `DRYWIRE_NO_DEADLINE` if there would be none, and for what cannot be read.
DRYWIRE_API
uint64_t drywire_refusal_window_pauses_until(const struct drywire_refusal_window *window,
                                             uint32_t from,
                                             uint64_t now_ns);

/// Makes the state of a connection without a pause: `size` is `sizeof *pause`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_refusal_pause_init(struct drywire_refusal_pause *pause,
                                               size_t size);

/// A request was refused: a pause until `until_ns`, as `drywire_refusal_window_refused` gave it, begins,
/// unless there is one already or it is `DRYWIRE_NO_DEADLINE`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_refusal_pause_refused(struct drywire_refusal_pause *pause,
                                                  uint64_t until_ns);

/// All output of the connection is sent: what comes from now on waits for the end of the pause.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API enum drywire_status drywire_refusal_pause_drained(struct drywire_refusal_pause *pause);

/// Ends the pause if its time has come; what is held back then, a `DRYWIRE_REFUSAL_PAUSE_*` or nothing,
/// goes to `decision`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_refusal_pause_poll(struct drywire_refusal_pause *pause,
                                               uint64_t now_ns,
                                               struct drywire_decision *decision);

/// When `drywire_refusal_pause_poll` is due; `DRYWIRE_NO_DEADLINE` if there is no pause, and for what
/// cannot be read.
DRYWIRE_API
uint64_t drywire_refusal_pause_next_deadline(const struct drywire_refusal_pause *pause);

/// Fills `options` (`size` bytes of it) with defaults: no limit.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_patience_options_init(struct drywire_patience_options *options,
                                                  size_t size);

/// Makes the state of a connection that begins now, idle: `size` is `sizeof *patience`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_patience_init(struct drywire_patience *patience,
                                          size_t size,
                                          uint64_t now_ns);

/// Bytes came in or went out, and `progress`, a `DRYWIRE_PROGRESS_*`, is where that left the
/// connection.
///
/// Errors: `DRYWIRE_ERR_RANGE`, `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_patience_observe(struct drywire_patience *patience,
                                             uint64_t now_ns,
                                             uint32_t progress);

/// Whether a limit is broken now: `DRYWIRE_PATIENCE_IDLE`, `_REQUEST` or nothing goes to `decision`.
/// NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_patience_poll(struct drywire_patience *patience,
                                          const struct drywire_patience_options *options,
                                          uint64_t now_ns,
                                          struct drywire_decision *decision);

/// When `drywire_patience_poll` is due; `DRYWIRE_NO_DEADLINE` if never, and for what cannot be read.
/// NULL options are all defaults.
DRYWIRE_API
uint64_t drywire_patience_next_deadline(const struct drywire_patience *patience,
                                        const struct drywire_patience_options *options);

/// This process did not run for `gap_ns`: that time does not count.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_patience_stalled(struct drywire_patience *patience,
                                             uint64_t gap_ns);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_ping_flood_options_init(struct drywire_ping_flood_options *options,
                                                    size_t size);

/// Makes the state of a connection without a ping yet: `size` is `sizeof *flood`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_ping_flood_init(struct drywire_ping_flood *flood,
                                            size_t size);

/// The peer sent a ping: `DRYWIRE_PING_FLOOD_PONG`, `_IGNORE` or `_KICK` goes to `decision`. NULL
/// options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_ping_flood_ping(struct drywire_ping_flood *flood,
                                            const struct drywire_ping_flood_options *options,
                                            uint64_t now_ns,
                                            struct drywire_decision *decision);

/// Makes the state of a loop that begins now: `size` is `sizeof *guard`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_stall_guard_init(struct drywire_stall_guard *guard,
                                             size_t size,
                                             uint64_t now_ns);

/// The loop looks at the clock; it had asked to be woken at `due_ns` (`DRYWIRE_NO_DEADLINE` if at no
/// time). Comes it more than `slack_ns` too late, the time that it was away, less the slack, goes to
/// `gap_ns`: pass that to every `_stalled`, and declare nobody dead before everything readable was read
/// once. 0 otherwise. A slack of 1 s is reasonable.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_stall_guard_woke(struct drywire_stall_guard *guard,
                                             uint64_t slack_ns,
                                             uint64_t now_ns,
                                             uint64_t due_ns,
                                             uint64_t *gap_ns);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_pick_options_init(struct drywire_pick_options *options,
                                              size_t size);

/// Makes a backend that nothing is known about.
///
/// Errors: `DRYWIRE_ERR_NULL`.
DRYWIRE_API
enum drywire_status drywire_backend_init(struct drywire_backend *backend,
                                         uint64_t key,
                                         uint32_t weight);

/// A request goes to it: one more is pending.
///
/// Errors: `DRYWIRE_ERR_NULL`.
DRYWIRE_API enum drywire_status drywire_backend_sent(struct drywire_backend *backend);

/// A request that was sent to it ended, as `reply` (`DRYWIRE_REPLY_*`) says: one less is pending. A
/// refusal or failure makes it dearer for a while, failures in a row put it out. NULL options are all
/// defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `reply`; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_backend_replied(struct drywire_backend *backend,
                                            const struct drywire_pick_options *options,
                                            uint64_t now_ns,
                                            uint32_t reply);

/// Picks the backend for one request: a `DRYWIRE_PICK_*` goes to `decision`. `avoid` is the index of
/// the one that failed, for a retry, or `count` or more. `random` is uniform over all of 64 bits. Work
/// grows with the number of backends. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `how` or an impossible `count`; `DRYWIRE_ERR_NULL`,
/// `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_pick(const struct drywire_pick_options *options,
                                 const struct drywire_backend *backends,
                                 size_t count,
                                 uint32_t how,
                                 uint64_t key,
                                 uint64_t avoid,
                                 uint64_t now_ns,
                                 uint64_t random,
                                 struct drywire_decision *decision);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_throttle_options_init(struct drywire_throttle_options *options,
                                                  size_t size);

/// Makes the state of a client that has sent nothing yet: `size` is `sizeof *throttle`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_throttle_init(struct drywire_throttle *throttle,
                                          size_t size,
                                          uint64_t now_ns);

/// Whether a request goes out: `DRYWIRE_THROTTLE_SEND` or `_SHED` goes to `decision`. The request is
/// counted here, before it is sent, and also if it is not. `random` is uniform over all of 64 bits.
/// NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_throttle_ask(struct drywire_throttle *throttle,
                                         const struct drywire_throttle_options *options,
                                         uint64_t now_ns,
                                         uint64_t random,
                                         struct drywire_decision *decision);

/// The server took a request: answered it, with success or not, instead of refusing it. NULL options
/// are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_throttle_accepted(struct drywire_throttle *throttle,
                                              const struct drywire_throttle_options *options,
                                              uint64_t now_ns);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_retry_options_init(struct drywire_retry_options *options,
                                               size_t size);

/// Makes the state of a client with a full budget: `size` is `sizeof *retry`. NULL options are all
/// defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_retry_init(struct drywire_retry *retry,
                                       size_t size,
                                       const struct drywire_retry_options *options,
                                       uint64_t now_ns);

/// A request is sent for the first time. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_retry_request(struct drywire_retry *retry,
                                          const struct drywire_retry_options *options,
                                          uint64_t now_ns);

/// Whether to send a failed request again: `DRYWIRE_RETRY_AFTER` or `_GIVE_UP` goes to `decision`.
/// `attempt` counts from 1, `reply` is how it failed (`DRYWIRE_REPLY_*`), `flags` 0 or
/// `DRYWIRE_IDEMPOTENT`, `retry_after_ns` what the server asked to wait or 0, `deadline_ns` when the
/// answer becomes useless or `DRYWIRE_NO_DEADLINE`. `random` spreads the pause over its upper half. NULL
/// options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `reply` or flag; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_retry_ask(struct drywire_retry *retry,
                                      const struct drywire_retry_options *options,
                                      uint64_t now_ns,
                                      uint32_t attempt,
                                      uint32_t reply,
                                      uint32_t flags,
                                      uint64_t retry_after_ns,
                                      uint64_t deadline_ns,
                                      uint64_t random,
                                      struct drywire_decision *decision);

/// Whether to send a second copy of a request that is unanswered since `sent_ns`, where 95 % of the
/// answers come within the span `p95_ns`: a `DRYWIRE_HEDGE_*` goes to `decision`. `flags`: 0 or
/// `DRYWIRE_IDEMPOTENT`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown flag; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_retry_hedge(struct drywire_retry *retry,
                                        const struct drywire_retry_options *options,
                                        uint64_t now_ns,
                                        uint64_t sent_ns,
                                        uint64_t p95_ns,
                                        uint32_t flags,
                                        struct drywire_decision *decision);

/// Fills `request` (`size` bytes of it) with defaults; `verb` must be set.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_memcached_request_init(struct drywire_memcached_request *request,
                                                   size_t size);

/// Makes a memcached server with its own item store. NULL options are all defaults; they are
/// copied. Free it with `drywire_server_free`.
///
/// Errors: `DRYWIRE_ERR_RANGE` for a setting outside its range; `DRYWIRE_ERR_ABI`;
/// `DRYWIRE_ERR_NULL`. On failure `*server` is NULL.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_memcached_server_new(const struct drywire_server_options *options,
                                                 const struct drywire_memcached_options *memcached,
                                                 struct drywire_server **server);

/// Makes a server for a protocol of the caller's own, on top of a framing: requests are pulled with
/// `drywire_server_poll` and answered with `drywire_server_reply`. Each connection may hold the
/// framing's `drywire_framer_max_pending` bytes of input, even if `input_limit` is less. NULL
/// `options` and `custom` are all defaults; all are copied.
///
/// Errors: as `drywire_framer_new` and `drywire_memcached_server_new`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_custom_server_new(const struct drywire_server_options *options,
                                              const struct drywire_framer_options *framing,
                                              const struct drywire_custom_options *custom,
                                              struct drywire_server **server);

/// Frees a server. NULL is fine. Its memory goes when its last connection is freed; until then
/// connections go on working.
DRYWIRE_API void drywire_server_free(struct drywire_server *server);

/// Drains the list of connections that something other than their own socket touched since the
/// last call (another connection, an answer, a deadline): look at their `flags` and drive them.
/// Writes at most `cap` to `ready` and their number to `n`.
///
/// Returns `DRYWIRE_OK` when the list is empty now, `DRYWIRE_MORE` when there may be more.
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_server_ready(struct drywire_server *server,
                                         uint64_t now_ns,
                                         struct drywire_ready *ready,
                                         size_t cap,
                                         size_t *n);

/// Pulls requests of a custom protocol: at most `cap` `DRYWIRE_EVENT_REQUEST` and
/// `DRYWIRE_EVENT_BAD_REQUEST` to `events`, their number to `n`. Each must be answered once with
/// `drywire_server_reply`, in any order; answers go out in the order of the requests. Other
/// protocols answer by themselves and give none.
///
/// The bytes of events are good until the next `drywire_server_poll` on this server.
///
/// Returns `DRYWIRE_OK` when there are no more, `DRYWIRE_MORE` when there may be.
/// Errors: `DRYWIRE_ERR_NULL`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_server_poll(struct drywire_server *server,
                                        struct drywire_event *events,
                                        size_t cap,
                                        size_t *n);

/// Answers request `token` of connection `id`, both from a `DRYWIRE_EVENT_REQUEST`, with one frame
/// around `data`, which is copied. `kind` is the frame's type, 0 where the framing has none.
/// `flags`: 0, `DRYWIRE_RAW` or `DRYWIRE_NO_ANSWER`. The connection then shows up in
/// `drywire_server_ready`.
///
/// Errors: `DRYWIRE_ERR_GONE` if the connection has ended or the request was answered already:
/// harmless; `DRYWIRE_ERR_RANGE` for what the framing cannot carry, the request still waits then;
/// `DRYWIRE_ERR_UNSUPPORTED` if this is no custom server; `DRYWIRE_ERR_NOMEM`; `DRYWIRE_ERR_NULL`;
/// `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_server_reply(struct drywire_server *server,
                                         uint64_t now_ns,
                                         uint64_t id,
                                         uint64_t token,
                                         uint32_t kind,
                                         uint32_t flags,
                                         const uint8_t *data,
                                         size_t len);

/// Sends one frame around `data` to each of `count` connections, asked or not: the way to push and
/// to fan out. The frame is made once and shared. How many took it goes to `sent`; connections that
/// are gone, ending, or have `output_high` bytes of output waiting are passed over. Those that took
/// it show up in `drywire_server_ready`. `flags`: 0 or `DRYWIRE_RAW`.
///
/// Errors: as `drywire_server_reply`, without `DRYWIRE_ERR_GONE`; nothing is sent then.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_server_send(struct drywire_server *server,
                                        uint64_t now_ns,
                                        const uint64_t *ids,
                                        size_t count,
                                        uint32_t kind,
                                        uint32_t flags,
                                        const uint8_t *data,
                                        size_t len,
                                        size_t *sent);

/// When `drywire_server_tick` is due, on the clock of `now_ns`; may be early, never late.
/// `DRYWIRE_NO_DEADLINE` if nothing is due ever, and for NULL or an unusable server.
DRYWIRE_API uint64_t drywire_server_next_deadline(const struct drywire_server *server);

/// Lists the connections that a `drywire_server_tick` at `now_ns` may give up, each once. Read what waits in
/// their sockets before that tick: after a pause of the caller's own, a peer would otherwise be blamed for a
/// silence in which it was only not listened to. Writes at most `cap` to `ready` and their number to `n`.
///
/// The list is made when the one before is used up, and a tick ends it: on `DRYWIRE_MORE` ask again
/// for the rest of it. Cheap when nothing is due.
///
/// Returns `DRYWIRE_OK` when there are no more, `DRYWIRE_MORE` when there are.
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_server_due(struct drywire_server *server,
                                       uint64_t now_ns,
                                       struct drywire_ready *ready,
                                       size_t cap,
                                       size_t *n);

/// Time has passed: does what is due (expiry, idle connections, slow readers). Whoever is in
/// `drywire_server_due` is to be read before. Connections that it touched show up in
/// `drywire_server_ready`. Cheap when nothing is due.
///
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`.
DRYWIRE_API enum drywire_status drywire_server_tick(struct drywire_server *server, uint64_t now_ns);

/// The server is going away: new connections are refused, each open one finishes what it owes and
/// shows up in `drywire_server_ready`.
///
/// Errors: as `drywire_server_tick`.
DRYWIRE_API
enum drywire_status drywire_server_drain(struct drywire_server *server,
                                         uint64_t now_ns);

/// Counters and gauges that all protocols have. Set `stats->struct_size` first. Work grows with the
/// number of connections; fine once a second.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_server_get_stats(const struct drywire_server *server,
                                             struct drywire_server_stats *stats);

/// Counters and gauges of a memcached server's store. Set `stats->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_UNSUPPORTED` if this is no memcached server; `DRYWIRE_ERR_NULL`,
/// `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_server_get_memcached_stats(const struct drywire_server *server,
                                                       struct drywire_memcached_stats *stats);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_fanout_options_init(struct drywire_fanout_options *options,
                                                size_t size);

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_sudoku_options_init(struct drywire_sudoku_options *options,
                                                size_t size);

/// Sets the times in `options` for clients that give up after `deadline_ns`: what would be answered
/// later is refused at once. The rest stays.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
DRYWIRE_API
enum drywire_status drywire_sudoku_options_for_deadline(struct drywire_sudoku_options *options,
                                                        uint64_t deadline_ns);

/// Makes a chat server (docs/chat.md): what one client says, all in the room hear. Each connection may
/// hold the longest message, even if `input_limit` is less. NULL options are all defaults; they are
/// copied. Free it with `drywire_server_free`.
///
/// Errors: `DRYWIRE_ERR_RANGE`, `DRYWIRE_ERR_ABI`, `DRYWIRE_ERR_NULL`. On failure `*server` is NULL.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_chat_server_new(const struct drywire_server_options *options,
                                            const struct drywire_fanout_options *fanout,
                                            struct drywire_server **server);

/// Makes a hub: publish and subscribe by line (docs/hub.md). Otherwise as `drywire_chat_server_new`.
///
/// Errors: as `drywire_chat_server_new`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_hub_server_new(const struct drywire_server_options *options,
                                           const struct drywire_fanout_options *fanout,
                                           struct drywire_server **server);

/// Makes a sudoku server: its requests are slow work, to be run with `drywire_server_next_work`.
/// Otherwise as `drywire_chat_server_new`.
///
/// Errors: as `drywire_chat_server_new`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_sudoku_server_new(const struct drywire_server_options *options,
                                              const struct drywire_sudoku_options *sudoku,
                                              struct drywire_server **server);

/// Takes the next piece of work of a server, oldest first, to `work`. Run it with `drywire_work_run`,
/// bring it back with `drywire_server_complete`, free it with `drywire_work_free`. One that is freed
/// without that leaves its request unanswered.
///
/// Returns `DRYWIRE_OK`, or `DRYWIRE_NOT_NOW` and a NULL `work` if there is none.
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`;
/// `DRYWIRE_ERR_UNSUPPORTED` for a custom server, see `drywire_server_poll`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_server_next_work(struct drywire_server *server,
                                             uint64_t now_ns,
                                             struct drywire_work **work);

/// Does the work: bounded, but long. On any thread.
///
/// Errors: `DRYWIRE_ERR_STATE` if it was run before; `DRYWIRE_ERR_NULL`.
DRYWIRE_API DRYWIRE_WARN_UNUSED enum drywire_status drywire_work_run(struct drywire_work *work);

/// Brings work that was run back to its server. The connection that asked shows up in
/// `drywire_server_ready`; if it is gone, the result is dropped.
///
/// Errors: `DRYWIRE_ERR_RANGE` if it is another server's; `DRYWIRE_ERR_STATE` if it was not run, was
/// brought back before, or between `_input_reserve` and `_input_commit`; `DRYWIRE_ERR_NULL`.
DRYWIRE_API
DRYWIRE_WARN_UNUSED
enum drywire_status drywire_server_complete(struct drywire_server *server,
                                            uint64_t now_ns,
                                            struct drywire_work *work);

/// Frees a piece of work in any state. NULL is fine.
DRYWIRE_API void drywire_work_free(struct drywire_work *work);

/// The name of a status, such as "DRYWIRE_ERR_NULL"; "DRYWIRE_UNKNOWN" for a number that is none.
/// Static text. Any thread, any time.
DRYWIRE_API const char *drywire_status_name(int32_t status);

/// 1 if a status means that the handle is of no more use than to be freed (a panic, a poisoned
/// handle), else 0. Any thread, any time.
DRYWIRE_API int32_t drywire_status_is_fatal(int32_t status);

/// The version of the library that runs, in the form of `DRYWIRE_VERSION_NUM`. Any thread.
DRYWIRE_API uint32_t drywire_version_num(void);

/// The version of the library that runs, as text such as "0.1.0". Static text. Any thread.
DRYWIRE_API const char *drywire_version_string(void);

/// The revision of the binary interface of the library that runs; compare with `DRYWIRE_ABI`.
/// Any thread.
DRYWIRE_API uint32_t drywire_abi_version(void);

/// 1 if this build has `feature` (a `DRYWIRE_FEATURE_*`), 0 if not or if the number is unknown.
/// Functions of a feature that is off exist and return `DRYWIRE_ERR_UNSUPPORTED`. Any thread.
DRYWIRE_API int32_t drywire_has_feature(uint32_t feature);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DRYWIRE_H */

/** Milliseconds from now_ns to a deadline, for poll and epoll_wait: -1 for none, rounded up so that the
 * loop does not spin just before it. */
static inline int32_t drywire_deadline_ms(uint64_t deadline_ns, uint64_t now_ns) {
    uint64_t ms;
    if (deadline_ns == DRYWIRE_NO_DEADLINE) {
        return -1;
    }
    if (deadline_ns <= now_ns) {
        return 0;
    }
    ms = (deadline_ns - now_ns - 1) / 1000000 + 1;
    return ms > (uint64_t)INT32_MAX ? INT32_MAX : (int32_t)ms;
}

/* What the layout rests on, checked where the compiler can. */
/** @cond */
#if defined(__cplusplus) && __cplusplus >= 201103L
#define DRYWIRE_ASSERT(what) static_assert(what, #what)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define DRYWIRE_ASSERT(what) _Static_assert(what, #what)
#else
#define DRYWIRE_ASSERT(what) extern int drywire_assert_[(what) ? 1 : -1]
#endif
DRYWIRE_ASSERT(sizeof(drywire_status) == 4);
DRYWIRE_ASSERT(sizeof(drywire_iov) == 2 * sizeof(void *));
DRYWIRE_ASSERT(sizeof(void *) != 8 || sizeof(drywire_event) == 64);
DRYWIRE_ASSERT(sizeof(void *) != 8 || sizeof(drywire_ready) == 24);
#undef DRYWIRE_ASSERT
/** @endcond */
