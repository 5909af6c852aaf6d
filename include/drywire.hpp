// SPDX-License-Identifier: MIT OR Apache-2.0
//
// drywire for C++17: the calls of drywire.h with owners, spans and results. Header-only; needs no
// exceptions and no RTTI. What the calls mean, how long borrowed bytes stay good and the rules for
// threads are in drywire.h.
//
//   drywire::server_options options;                       // filled with the defaults
//   auto server = drywire::server::memcached(options);
//   if (!server) return fail(server.error().name());
//   auto conn = server->open(now, my_connection);
//
// Handles are owners: movable, not copyable, freed at the end of their scope. They may be empty
// (default-made or moved from); calls on an empty one fail with DRYWIRE_ERR_NULL. Nothing here
// allocates.
#ifndef DRYWIRE_HPP
#define DRYWIRE_HPP

#include "drywire.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#if defined(__has_include)
#if __has_include(<version>)
#include <version>
#endif
#endif
#if defined(__cpp_lib_expected)
#include <expected>
#endif

namespace drywire {

/// What a call did: a drywire_status with words. True while nothing went wrong.
class [[nodiscard]] status {
  public:
    constexpr status() noexcept = default;
    constexpr status(drywire_status code) noexcept : code_(code) {}

    constexpr drywire_status code() const noexcept { return code_; }
    constexpr bool ok() const noexcept { return static_cast<std::int32_t>(code_) >= 0; }
    constexpr explicit operator bool() const noexcept { return ok(); }
    /// There is more: call again.
    constexpr bool more() const noexcept { return code_ == DRYWIRE_MORE; }
    std::string_view name() const noexcept {
        return drywire_status_name(static_cast<std::int32_t>(code_));
    }

    friend constexpr bool operator==(status a, status b) noexcept { return a.code_ == b.code_; }
    friend constexpr bool operator!=(status a, status b) noexcept { return a.code_ != b.code_; }

  private:
    drywire_status code_ = DRYWIRE_OK;
};

/// A run of values that somebody else owns, as std::span is in C++20: each can be made from the other.
/// Never an alias of it, so that files of different standards in one program agree on every signature.
template <class T> class span {
  public:
    using value_type = std::remove_cv_t<T>;

    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <std::size_t N> constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
    /// From anything with data() and size() of the same values: vectors, arrays, strings, std::span.
    template <class Range,
              class = std::enable_if_t<
                  !std::is_same_v<std::decay_t<Range>, span> &&
                  std::is_convertible_v<
                      std::remove_pointer_t<decltype(std::declval<Range &>().data())> (*)[],
                      T (*)[]> &&
                  std::is_convertible_v<decltype(std::declval<Range &>().size()), std::size_t>>>
    constexpr span(Range &&range) noexcept : data_(range.data()), size_(range.size()) {}

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t at) const noexcept { return data_[at]; }
    constexpr span first(std::size_t n) const noexcept { return {data_, n < size_ ? n : size_}; }
    constexpr span from(std::size_t at) const noexcept {
        return at < size_ ? span{data_ + at, size_ - at} : span{};
    }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/// Bytes that somebody else owns. Made from drywire_bytes, from text, and from spans of bytes.
class bytes : public span<const std::uint8_t> {
  public:
    using span::span;
    constexpr bytes(span<const std::uint8_t> other) noexcept : span(other) {}
    constexpr bytes(drywire_bytes other) noexcept : span(other.data, other.len) {}
    /// From text: std::string, std::string_view, a literal without its NUL.
    template <class Text,
              class = std::enable_if_t<std::is_convertible_v<const Text &, std::string_view>>>
    bytes(const Text &text) noexcept : bytes(std::string_view(text), 0) {}

    std::string_view text() const noexcept {
        return {reinterpret_cast<const char *>(data()), size()};
    }
    constexpr operator drywire_bytes() const noexcept { return {data(), size()}; }

  private:
    bytes(std::string_view text, int) noexcept
        : span(reinterpret_cast<const std::uint8_t *>(text.data()), text.size()) {}
};

/// A value, or the status that says why there is none. Looking at the one that is not there ends the
/// program: it is a mistake of the caller's.
template <class T> class [[nodiscard]] expected {
  public:
    expected(T value) noexcept : value_(std::move(value)) {}
    expected(status error) noexcept : status_(error), has_(false) {
        if (error.ok()) {
            std::abort();
        }
    }

    bool has_value() const noexcept { return has_; }
    explicit operator bool() const noexcept { return has_; }
    T &operator*() & noexcept { return checked(); }
    const T &operator*() const & noexcept { return const_cast<expected *>(this)->checked(); }
    T &&operator*() && noexcept { return std::move(checked()); }
    T *operator->() noexcept { return &checked(); }
    /// The error; DRYWIRE_OK if there is a value.
    status error() const noexcept { return status_; }

  private:
    T &checked() noexcept {
        if (!has_) {
            std::abort();
        }
        return value_;
    }

    T value_{};
    status status_{};
    bool has_ = true;
};

#if defined(__cpp_lib_expected)
/// The same as the standard's type.
template <class T> std::expected<T, status> to_std(expected<T> &&result) noexcept {
    if (result) {
        return *std::move(result);
    }
    return std::unexpected(result.error());
}
#endif

namespace detail {
/// A sized struct of drywire.h, filled with its defaults.
template <class T, drywire_status (*Init)(T *, std::size_t)> struct filled : T {
    filled() noexcept { (void)Init(this, sizeof(T)); }
};
} // namespace detail

using framer_options = detail::filled<drywire_framer_options, drywire_framer_options_init>;
using server_options = detail::filled<drywire_server_options, drywire_server_options_init>;
using memcached_options = detail::filled<drywire_memcached_options, drywire_memcached_options_init>;
using custom_options = detail::filled<drywire_custom_options, drywire_custom_options_init>;
using client_options = detail::filled<drywire_client_options, drywire_client_options_init>;
using fanout_options = detail::filled<drywire_fanout_options, drywire_fanout_options_init>;
using sudoku_options = detail::filled<drywire_sudoku_options, drywire_sudoku_options_init>;
using out_gate_options = detail::filled<drywire_out_gate_options, drywire_out_gate_options_init>;

/// A memcached request for one key or none; set more through the fields of drywire_memcached_request.
/// Owns no bytes: what it was made from must stay until it is submitted.
struct memcached_request : drywire_memcached_request {
    explicit memcached_request(std::uint32_t what) noexcept {
        (void)drywire_memcached_request_init(this, sizeof(drywire_memcached_request));
        verb = what;
    }
    memcached_request(std::uint32_t what, span<const drywire_bytes> all) noexcept
        : memcached_request(what) {
        keys = all.data();
        key_count = all.size();
    }
    memcached_request &set_value(bytes data) noexcept {
        value = data;
        return *this;
    }
};

/// What happened while `n` values were written to an array of the caller's.
template <class T> struct [[nodiscard]] batch {
    status result;
    span<T> values;
};

namespace detail {
template <class T, void (*Free)(T *)> struct freer {
    void operator()(T *handle) const noexcept { Free(handle); }
};
template <class T, void (*Free)(T *)> using owner = std::unique_ptr<T, freer<T, Free>>;

template <class Handle>
drywire_error_info last_error(drywire_status (*get)(const Handle *, drywire_error_info *),
                              const Handle *handle) noexcept {
    drywire_error_info info{};
    info.struct_size = static_cast<std::uint32_t>(sizeof info);
    (void)get(handle, &info);
    return info;
}
} // namespace detail

/// Cuts one stream into frames that point into the caller's buffer.
class framer {
  public:
    framer() noexcept = default;

    static expected<framer> make(const drywire_framer_options &options) noexcept {
        drywire_framer *handle = nullptr;
        const status result = drywire_framer_new(&options, &handle);
        if (!result) {
            return result;
        }
        return framer(handle);
    }

    /// Frames at the front of `data`, as many as `events` takes; `consumed` bytes are done with.
    batch<drywire_event> decode(bytes data, span<drywire_event> events,
                                std::size_t &consumed) noexcept {
        std::size_t n = 0;
        consumed = 0;
        const status result = drywire_framer_decode(get(), data.data(), data.size(), events.data(),
                                                    events.size(), &n, &consumed);
        return {result, events.first(n)};
    }

    /// Calls `each(const drywire_event &)` for all frames of `data`; returns how the last batch ended.
    template <class Each> status for_each(bytes data, Each &&each, std::size_t &consumed) {
        drywire_event events[64];
        consumed = 0;
        for (;;) {
            std::size_t used = 0;
            const auto found = decode(data.from(consumed), events, used);
            consumed += used;
            for (const drywire_event &event : found.values) {
                each(event);
            }
            if (!found.result.more()) {
                return found.result;
            }
        }
    }

    status finish(bytes rest) const noexcept {
        return drywire_framer_finish(get(), rest.data(), rest.size());
    }
    status reset() noexcept { return drywire_framer_reset(get()); }
    std::size_t need() const noexcept { return drywire_framer_need(get()); }
    std::uint64_t position() const noexcept { return drywire_framer_position(get()); }
    std::size_t max_pending() const noexcept { return drywire_framer_max_pending(get()); }
    drywire_error_info last_error() const noexcept {
        return detail::last_error(drywire_framer_last_error, get());
    }

    /// Writes one frame to `out`; `n` is its size, also when DRYWIRE_ERR_BUFFER says that it did not
    /// fit.
    status encode(bytes payload, span<std::uint8_t> out, std::size_t &n, std::uint32_t kind = 0,
                  std::uint32_t extra = 0) const noexcept {
        return drywire_framer_encode(get(), kind, extra, payload.data(), payload.size(), out.data(),
                                     out.size(), &n);
    }
    status encode_header(std::size_t payload, span<std::uint8_t> out, std::size_t &n,
                         std::uint32_t kind = 0, std::uint32_t extra = 0) const noexcept {
        return drywire_framer_encode_header(get(), kind, extra, payload, out.data(), out.size(), &n);
    }

    drywire_framer *get() const noexcept { return handle_.get(); }

  private:
    explicit framer(drywire_framer *handle) noexcept : handle_(handle) {}
    detail::owner<drywire_framer, drywire_framer_free> handle_;
};

/// One connection of a server.
class conn {
  public:
    conn() noexcept = default;
    explicit conn(drywire_conn *handle) noexcept : handle_(handle) {}

    std::uint64_t id() const noexcept { return drywire_conn_id(get()); }
    void *user() const noexcept { return drywire_conn_user(get()); }
    /// DRYWIRE_WANT_* added up.
    std::uint32_t wants() const noexcept { return drywire_conn_wants(get()); }
    bool wants(std::uint32_t flag) const noexcept { return (wants() & flag) != 0; }

    status feed(std::uint64_t now_ns, bytes data, std::size_t &consumed) noexcept {
        return drywire_conn_feed(get(), now_ns, data.data(), data.size(), &consumed);
    }
    /// Room to read into; empty when input is not wanted. Ends with commit.
    span<std::uint8_t> reserve() noexcept {
        std::uint8_t *room = nullptr;
        std::size_t size = 0;
        (void)!drywire_conn_input_reserve(get(), &room, &size);
        return {room, size};
    }
    status commit(std::uint64_t now_ns, std::size_t n) noexcept {
        return drywire_conn_input_commit(get(), now_ns, n);
    }
    status eof(std::uint64_t now_ns) noexcept { return drywire_conn_eof(get(), now_ns); }
    status resume(std::uint64_t now_ns) noexcept { return drywire_conn_resume(get(), now_ns); }

    /// The output that waits, as far as `iov` takes it.
    span<drywire_iov> output(span<drywire_iov> iov) noexcept {
        std::size_t n = 0;
        std::size_t size = 0;
        (void)!drywire_conn_output(get(), iov.data(), iov.size(), &n, &size);
        return iov.first(n);
    }
    span<std::uint8_t> output_copy(span<std::uint8_t> buffer) noexcept {
        std::size_t n = 0;
        (void)!drywire_conn_output_copy(get(), buffer.data(), buffer.size(), &n);
        return buffer.first(n);
    }
    status consume(std::uint64_t now_ns, std::size_t n) noexcept {
        return drywire_conn_output_consume(get(), now_ns, n);
    }
    status was_shut_down(std::uint64_t now_ns) noexcept {
        return drywire_conn_was_shut_down(get(), now_ns);
    }
    status close_begin(std::uint64_t now_ns) noexcept {
        return drywire_conn_close_begin(get(), now_ns);
    }
    status abort(std::uint64_t now_ns, std::uint32_t why = DRYWIRE_TRANSPORT_OTHER) noexcept {
        return drywire_conn_abort(get(), now_ns, why);
    }
    drywire_error_info last_error() const noexcept {
        return detail::last_error(drywire_conn_last_error, get());
    }

    drywire_conn *get() const noexcept { return handle_.get(); }

  private:
    detail::owner<drywire_conn, drywire_conn_free> handle_;
};

/// A piece of slow work: run it on any thread, bring it back to the server that gave it.
class work {
  public:
    work() noexcept = default;
    explicit work(drywire_work *handle) noexcept : handle_(handle) {}

    status run() noexcept { return drywire_work_run(get()); }
    explicit operator bool() const noexcept { return handle_ != nullptr; }
    drywire_work *get() const noexcept { return handle_.get(); }

  private:
    detail::owner<drywire_work, drywire_work_free> handle_;
};

/// All connections of one service.
class server {
  public:
    server() noexcept = default;

    static expected<server> memcached(const drywire_server_options &options = server_options(),
                                      const drywire_memcached_options &settings =
                                          memcached_options()) noexcept {
        return made(drywire_memcached_server_new, options, settings);
    }
    static expected<server> chat(const drywire_server_options &options = server_options(),
                                 const drywire_fanout_options &settings =
                                     fanout_options()) noexcept {
        return made(drywire_chat_server_new, options, settings);
    }
    static expected<server> hub(const drywire_server_options &options = server_options(),
                                const drywire_fanout_options &settings = fanout_options()) noexcept {
        return made(drywire_hub_server_new, options, settings);
    }
    static expected<server> sudoku(const drywire_server_options &options = server_options(),
                                   const drywire_sudoku_options &settings =
                                       sudoku_options()) noexcept {
        return made(drywire_sudoku_server_new, options, settings);
    }

    static expected<server> custom(const drywire_framer_options &framing,
                                   const drywire_server_options &options = server_options(),
                                   const drywire_custom_options &settings =
                                       custom_options()) noexcept {
        drywire_server *handle = nullptr;
        const status result = drywire_custom_server_new(&options, &framing, &settings, &handle);
        if (!result) {
            return result;
        }
        return server(handle);
    }

    expected<conn> open(std::uint64_t now_ns, void *user) noexcept {
        drywire_conn *handle = nullptr;
        const status result = drywire_conn_open(get(), now_ns, user, &handle);
        if (!result) {
            return result;
        }
        return conn(handle);
    }

    batch<drywire_ready> ready(std::uint64_t now_ns, span<drywire_ready> ready) noexcept {
        std::size_t n = 0;
        const status result =
            drywire_server_ready(get(), now_ns, ready.data(), ready.size(), &n);
        return {result, ready.first(n)};
    }
    /// Who is to be read before the tick at `now_ns`.
    batch<drywire_ready> due(std::uint64_t now_ns, span<drywire_ready> ready) noexcept {
        std::size_t n = 0;
        const status result = drywire_server_due(get(), now_ns, ready.data(), ready.size(), &n);
        return {result, ready.first(n)};
    }
    batch<drywire_event> poll(span<drywire_event> events) noexcept {
        std::size_t n = 0;
        const status result = drywire_server_poll(get(), events.data(), events.size(), &n);
        return {result, events.first(n)};
    }
    /// Answers a DRYWIRE_EVENT_REQUEST.
    status reply(std::uint64_t now_ns, const drywire_event &request, bytes data,
                 std::uint32_t flags = 0, std::uint32_t kind = 0) noexcept {
        return drywire_server_reply(get(), now_ns, request.id, request.num, kind, flags,
                                    data.data(), data.size());
    }
    /// Sends one frame to each of `ids`; `sent` of them took it.
    status send(std::uint64_t now_ns, span<const std::uint64_t> ids, bytes data, std::size_t &sent,
                std::uint32_t flags = 0, std::uint32_t kind = 0) noexcept {
        return drywire_server_send(get(), now_ns, ids.data(), ids.size(), kind, flags, data.data(),
                                   data.size(), &sent);
    }

    /// The oldest piece of slow work; DRYWIRE_NOT_NOW and an empty one if there is none.
    status next_work(std::uint64_t now_ns, work &next) noexcept {
        drywire_work *handle = nullptr;
        const status result = drywire_server_next_work(get(), now_ns, &handle);
        next = work(handle);
        return result;
    }
    /// Brings back work that was run.
    status complete(std::uint64_t now_ns, const work &done) noexcept {
        return drywire_server_complete(get(), now_ns, done.get());
    }

    std::uint64_t next_deadline() const noexcept { return drywire_server_next_deadline(get()); }
    status tick(std::uint64_t now_ns) noexcept { return drywire_server_tick(get(), now_ns); }
    status drain(std::uint64_t now_ns) noexcept { return drywire_server_drain(get(), now_ns); }
    drywire_server_stats stats() const noexcept {
        drywire_server_stats stats{};
        stats.struct_size = static_cast<std::uint32_t>(sizeof stats);
        (void)drywire_server_get_stats(get(), &stats);
        return stats;
    }
    drywire_memcached_stats memcached_stats() const noexcept {
        drywire_memcached_stats stats{};
        stats.struct_size = static_cast<std::uint32_t>(sizeof stats);
        (void)drywire_server_get_memcached_stats(get(), &stats);
        return stats;
    }

    drywire_server *get() const noexcept { return handle_.get(); }

  private:
    template <class Settings>
    static expected<server> made(drywire_status (*make)(const drywire_server_options *,
                                                        const Settings *, drywire_server **),
                                 const drywire_server_options &options,
                                 const Settings &settings) noexcept {
        drywire_server *handle = nullptr;
        const status result = make(&options, &settings, &handle);
        if (!result) {
            return result;
        }
        return server(handle);
    }

    explicit server(drywire_server *handle) noexcept : handle_(handle) {}
    detail::owner<drywire_server, drywire_server_free> handle_;
};

/// The client's side of one connection.
class client {
  public:
    client() noexcept = default;

    static expected<client>
    memcached(const drywire_client_options &options = client_options()) noexcept {
        drywire_client *handle = nullptr;
        const status result = drywire_memcached_client_new(&options, &handle);
        if (!result) {
            return result;
        }
        return client(handle);
    }

    /// The token of the request, 0 if it asks for no answer.
    expected<std::uint64_t> submit(std::uint64_t now_ns,
                                   const drywire_memcached_request &request) noexcept {
        std::uint64_t token = 0;
        const status result = drywire_client_submit(get(), now_ns, &request, &token);
        if (!result) {
            return result;
        }
        return token;
    }
    /// Submits a request for one key.
    expected<std::uint64_t> submit(std::uint64_t now_ns, memcached_request request,
                                   bytes key) noexcept {
        const drywire_bytes one = key;
        request.keys = &one;
        request.key_count = 1;
        return submit(now_ns, request);
    }

    status feed(std::uint64_t now_ns, bytes data, std::size_t &consumed) noexcept {
        return drywire_client_feed(get(), now_ns, data.data(), data.size(), &consumed);
    }
    status eof() noexcept { return drywire_client_eof(get()); }
    std::uint32_t wants() const noexcept { return drywire_client_wants(get()); }
    span<drywire_iov> output(span<drywire_iov> iov) noexcept {
        std::size_t n = 0;
        std::size_t size = 0;
        (void)!drywire_client_output(get(), iov.data(), iov.size(), &n, &size);
        return iov.first(n);
    }
    status consume(std::size_t n) noexcept { return drywire_client_output_consume(get(), n); }
    batch<drywire_event> poll(span<drywire_event> events) noexcept {
        std::size_t n = 0;
        const status result = drywire_client_poll(get(), events.data(), events.size(), &n);
        return {result, events.first(n)};
    }
    std::uint64_t next_deadline() const noexcept { return drywire_client_next_deadline(get()); }
    status tick(std::uint64_t now_ns) noexcept { return drywire_client_tick(get(), now_ns); }
    drywire_client_stats stats() const noexcept {
        drywire_client_stats stats{};
        stats.struct_size = static_cast<std::uint32_t>(sizeof stats);
        (void)drywire_client_get_stats(get(), &stats);
        return stats;
    }
    drywire_error_info last_error() const noexcept {
        return detail::last_error(drywire_client_last_error, get());
    }

    drywire_client *get() const noexcept { return handle_.get(); }

  private:
    explicit client(drywire_client *handle) noexcept : handle_(handle) {}
    detail::owner<drywire_client, drywire_client_free> handle_;
};

} // namespace drywire

#endif
