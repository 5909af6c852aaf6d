// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What drywire.hpp promises: owners, spans, results. Built as C++17 and newer, without exceptions
// and RTTI.

#include <drywire.hpp>

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
    std::array<std::uint8_t, 20> out{};
    CHECK(drywire::bytes(conn->output_copy(out)).text() == "pong\nnews\n");
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
    empty_handles_fail_softly();
#if defined(__cpp_lib_span)
    standard_spans();
#endif
    std::puts("drywire.hpp: fine");
    return 0;
}
