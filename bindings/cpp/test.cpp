// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What drywire.hpp promises: owners, spans, results. Built as C++17 and newer, without exceptions
// and RTTI.

#include <drywire_guard.hpp>

#include <array>
#include <cstdio>
#include <string>
#include <type_traits>
#include <vector>
#if defined(__cpp_lib_span)
#include <span>
#endif

#define CHECK(what)                                                              \
    do {                                                                         \
        if (!(what)) {                                                           \
            std::fprintf(stderr, "test.cpp:%d: not so: %s\n", __LINE__, #what);  \
            std::exit(1);                                                        \
        }                                                                        \
    } while (0)

static_assert(!std::is_copy_constructible_v<drywire::server>);
static_assert(std::is_nothrow_move_constructible_v<drywire::conn>);
static_assert(sizeof(drywire::framer) == sizeof(void *));
static_assert(std::is_convertible_v<std::vector<drywire_event> &, drywire::span<drywire_event>>);
static_assert(!std::is_convertible_v<const std::vector<drywire_event> &, drywire::span<drywire_event>>);

static std::string text(drywire_bytes bytes) {
    return std::string(drywire::bytes(bytes).text());
}

static void framing() {
    drywire::framer_options options;
    CHECK(options.struct_size == sizeof(drywire_framer_options));
    CHECK(drywire::framer::make(options).error() == DRYWIRE_ERR_RANGE);
    options.kind = DRYWIRE_FRAMING_LINES;
    options.max_payload = 20;
    auto made = drywire::framer::make(options);
    CHECK(made);
    drywire::framer framer = *std::move(made);
    const std::string stream = "one\ntwo\nthr";
    std::vector<std::string> lines;
    std::size_t consumed = 0;
    const auto end = framer.for_each(
        stream, [&](const drywire_event &event) { lines.push_back(text(event.a)); }, consumed);
    CHECK(end == DRYWIRE_NEED_INPUT && consumed == 8 && framer.position() == 8);
    CHECK((lines == std::vector<std::string>{"one", "two"}));
    CHECK(framer.finish("thr") == DRYWIRE_ERR_TRUNCATED);
    std::array<std::uint8_t, 8> out{};
    std::size_t n = 0;
    CHECK(framer.encode("much more", out, n) == DRYWIRE_ERR_BUFFER && n == 10);
    CHECK(framer.encode("fits", out, n).ok() && n == 5 && out[4] == '\n');
}

static void client_and_server() {
    auto server = drywire::server::memcached();
    auto client = drywire::client::memcached();
    CHECK(server && client);
    auto conn = server->open(1, nullptr);
    CHECK(conn && conn->wants(DRYWIRE_WANT_READ));
    const auto set = client->submit(
        1, drywire::memcached_request(DRYWIRE_MEMCACHED_SET).set_value("value"), "key");
    CHECK(set && *client->submit(1, drywire::memcached_request(DRYWIRE_MEMCACHED_GET), "key") == 2);
    std::size_t consumed = 0;
    drywire_iov iov[4];
    for (const auto &piece : client->output(iov)) {
        const drywire::bytes data(drywire_bytes{static_cast<const std::uint8_t *>(piece.base), piece.len});
        CHECK(conn->feed(1, data, consumed).ok());
        CHECK(client->consume(consumed).ok());
    }
    std::array<std::uint8_t, 200> reply{};
    const auto bytes = conn->output_copy(reply);
    CHECK(client->feed(1, bytes, consumed).ok() && consumed == bytes.size());
    CHECK(conn->consume(1, bytes.size()).ok());
    std::vector<drywire_event> events(8);
    const auto seen = client->poll(events);
    CHECK(seen.result.ok() && seen.values.size() == 3);
    CHECK(seen.values[0].flags == DRYWIRE_OUTCOME_STORED && seen.values[0].id == *set);
    CHECK(text(seen.values[1].a) == "key" && text(seen.values[1].b) == "value");
    CHECK(seen.values[2].flags == DRYWIRE_OUTCOME_END && client->stats().answered == 2);
    CHECK(server->memcached_stats().items == 1 && server->stats().connections == 1);
    CHECK(conn->last_error().code == DRYWIRE_CLOSE_NONE);
    server = drywire::server{}; // freed first: the order does not matter
    CHECK(conn->feed(1, "version\r\n", consumed).ok());
}

static void custom_protocol() {
    drywire::framer_options lines;
    lines.kind = DRYWIRE_FRAMING_LINES;
    lines.max_payload = 20;
    auto server = drywire::server::custom(lines);
    CHECK(server);
    int me = 0;
    auto conn = server->open(0, &me);
    std::size_t n = 0;
    CHECK(conn->user() == &me && conn->feed(0, "ping\n", n).ok());
    drywire_event events[2];
    for (const auto &request : server->poll(events).values) {
        CHECK(text(request.a) == "ping" && request.id == conn->id());
        CHECK(server->reply(0, request, "pong").ok());
        CHECK(server->reply(0, request, "pong") == DRYWIRE_ERR_GONE);
    }
    const std::uint64_t ids[] = {conn->id()};
    CHECK(server->send(0, ids, "news", n).ok() && n == 1);
    drywire_ready ready[2];
    CHECK(server->ready(0, ready).values.size() == 1 && ready[0].user == &me);
    const auto due = server->due(server->next_deadline(), ready); // its output is not taken
    CHECK(due.result.ok() && due.values.size() == 1 && due.values[0].id == conn->id());
    std::array<std::uint8_t, 20> out{};
    CHECK(drywire::bytes(conn->output_copy(out)).text() == "pong\nnews\n");
}

static void services() {
    auto chat = drywire::server::chat();
    auto ann = chat->open(0, nullptr);
    auto bob = chat->open(0, nullptr);
    std::size_t n = 0;
    CHECK(ann->feed(0, std::string_view("\0\0\0\2hi", 6), n).ok());
    drywire_ready ready[4];
    CHECK(chat->ready(0, ready).values.size() > 0);
    while (bob->wants(DRYWIRE_WANT_AGAIN)) {
        CHECK(bob->resume(0).ok());
    }
    std::array<std::uint8_t, 100> out{};
    CHECK(drywire::bytes(bob->output_copy(out)).text() == std::string_view("\0\0\0\2hi", 6));

    drywire::sudoku_options settings;
    settings.under_way = 0;
    CHECK(drywire::server::sudoku(drywire::server_options(), settings).error() == DRYWIRE_ERR_RANGE);
    auto sudoku = drywire::server::sudoku();
    auto conn = sudoku->open(0, nullptr);
    drywire::work work;
    CHECK(sudoku->next_work(0, work) == DRYWIRE_NOT_NOW && !work);
    CHECK(conn->feed(0, "000000010400000000020000000000050407008000300001090000300400200050100000000806000\r\n",
                     n).ok());
    CHECK(sudoku->next_work(0, work).ok() && work.run().ok() && sudoku->complete(0, work).ok());
    CHECK(drywire::bytes(conn->output_copy(out)).text() ==
          "693784512487512936125963874932651487568247391741398625319475268856129743274836159\r\n");
}

static void policies() {
    drywire::admission admission(0);
    drywire::admission_ask ask;
    ask.queue_len = 1000000;
    CHECK(admission.admit(0, ask)->what == DRYWIRE_ADMISSION_SHED);
    ask.flags = 8;
    CHECK(admission.admit(0, ask).error() == DRYWIRE_ERR_RANGE);
    CHECK(admission.dequeue(9, 8, 0)->why == DRYWIRE_SHED_EXPIRED && admission.complete(5).ok());

    drywire::read_gate reading;
    CHECK(reading.poll(0, 0, 0, 0)->what == DRYWIRE_READ_GATE_GO && reading.took(1, 20).ok());
    CHECK(reading.poll(0, 0, 0, 0)->what == DRYWIRE_READ_GATE_TURN_OVER && reading.new_turn().ok());
    drywire::out_gate writing;
    CHECK(writing.offer(0, 0, 10)->what == DRYWIRE_OUT_GATE_QUEUE && writing.sent(0, 1, 9).ok());
    CHECK(writing.next_deadline(9) == 10000000000u && writing.progress() == 0);
    CHECK(writing.poll(10000000000u, 9)->why == DRYWIRE_KICK_NO_PROGRESS && writing.stalled(1).ok());

    drywire::refusal_window refusals;
    drywire::refusal_pause pause;
    CHECK(refusals.refused(5, 2, 1, 10) == DRYWIRE_NO_DEADLINE && refusals.refused(5, 2, 1, 10) == 15);
    CHECK(refusals.pauses_until(2, 11) == 15 && pause.refused(15).ok());
    CHECK(pause.poll(11)->what == DRYWIRE_REFUSAL_PAUSE_INPUT);
    CHECK(pause.drained().ok() && pause.poll(12)->what == DRYWIRE_REFUSAL_PAUSE_BOTH);
    CHECK(pause.next_deadline() == 15 && pause.poll(15)->what == 0);

    drywire::patience_options limits;
    limits.idle_ns = 5;
    drywire::patience patience(1, limits);
    CHECK(patience.observe(2, DRYWIRE_PROGRESS_IDLE).ok() && patience.stalled(0).ok());
    CHECK(patience.poll(patience.next_deadline())->what == DRYWIRE_PATIENCE_IDLE);
    drywire::heartbeat beat(0, 1);
    const std::uint64_t due = beat.next_deadline();
    CHECK(beat.poll(due)->what == DRYWIRE_HEARTBEAT_PING && beat.ping_left(due).ok());
    CHECK(beat.received(due + 1).ok() && beat.progressed(due + 1).ok() && beat.stalled(1).ok());
    CHECK(beat.poll(due + 1)->what == 0);
    drywire::phi phi(0, 1000);
    CHECK(phi.beat(1000).ok() && phi.stalled(5).ok() && phi.next_deadline() > 1000);
    drywire::ping_flood flood;
    CHECK(flood.ping(0)->what == DRYWIRE_PING_FLOOD_PONG);
    drywire::stall_guard guard(0);
    CHECK(guard.woke(10, 100, 20) == 90 && guard.woke(10, 100, 100) == 0);

    drywire::drain drain;
    CHECK(drain.flags() == DRYWIRE_DRAIN_ACCEPTS && drain.start(0).ok());
    CHECK(drain.poll(0, 1, 1, 0, 0)->what == DRYWIRE_DRAIN_ANNOUNCE);
    CHECK(drain.next_deadline(1, 1, 0, 0) > 0);
    drywire::throttle throttle(0);
    CHECK(throttle.ask(0, 0)->what == DRYWIRE_THROTTLE_SEND && throttle.accepted(0).ok());
    drywire::retry retry(0);
    CHECK(retry.request(0).ok());
    CHECK(retry.ask(0, 1, DRYWIRE_REPLY_NACK, 0, 0, DRYWIRE_NO_DEADLINE, 0)->what == DRYWIRE_RETRY_AFTER);
    CHECK(retry.hedge(5, 0, 10, DRYWIRE_IDEMPOTENT)->time_ns == 10);

    drywire::backend backends[] = {drywire::backend(1, 0), drywire::backend(2)};
    drywire::pick_options options;
    CHECK(drywire::pick(options, backends, 0, 7)->num == 1);
    CHECK(backends[1].sent().ok() && backends[1].pending == 1);
    CHECK(backends[1].replied(options, 0, DRYWIRE_REPLY_OK).ok() && backends[1].pending == 0);
    CHECK(drywire::pick(options, backends, 0, 7, DRYWIRE_PICK_LEAST_PENDING, 0, 1)->what ==
          DRYWIRE_PICK_NONE_ALIVE);
}

static void empty_handles_fail_softly() {
    drywire::conn none;
    std::size_t n = 0;
    CHECK(none.feed(0, "x", n) == DRYWIRE_ERR_NULL && none.wants() == DRYWIRE_WANT_CLOSE);
    CHECK(none.feed(0, "x", n).name() == "DRYWIRE_ERR_NULL");
    CHECK(drywire::server{}.next_deadline() == DRYWIRE_NO_DEADLINE);
}

#if defined(__cpp_lib_span)
static void standard_spans() {
    std::array<drywire_event, 3> events{};
    const drywire::span<drywire_event> ours = std::span(events);
    const std::span<const drywire_event> theirs = ours;
    CHECK(theirs.size() == 3 && theirs.data() == events.data());
}
#endif

int main() {
    framing();
    client_and_server();
    custom_protocol();
    services();
    policies();
    empty_handles_fail_softly();
#if defined(__cpp_lib_span)
    standard_spans();
#endif
    std::puts("drywire.hpp: fine");
    return 0;
}
