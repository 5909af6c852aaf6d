// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A memcached server on drywire.hpp and epoll; the same as bindings/c/memcached.c, with owners.
//
//   memcached-cpp --port 11211 [--sndbuf BYTES]

#include <drywire.hpp>

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <random>
#include <string_view>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

volatile std::sig_atomic_t stopping = 0;

std::uint64_t now_ns() {
    using namespace std::chrono;
    return static_cast<std::uint64_t>(
        duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

class descriptor {
  public:
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    descriptor(descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor &operator=(descriptor &&) = delete;
    ~descriptor() { reset(); }
    void reset() noexcept {
        if (fd_ >= 0) {
            close(std::exchange(fd_, -1));
        }
    }
    int get() const noexcept { return fd_; }

  private:
    int fd_;
};

/// A socket and its connection. The engine hands its address back as `user`.
struct peer {
    descriptor socket;
    drywire::conn conn;
    bool readable = false, writable = false, queued = false;
    bool ended = false; ///< the end of input is in the socket, behind what can be read
};

class loop {
  public:
    loop(drywire::server server, descriptor listener, int send_buffer)
        : server_(std::move(server)), listener_(std::move(listener)),
          epoll_(epoll_create1(EPOLL_CLOEXEC)), send_buffer_(send_buffer) {
        epoll_event event{};
        event.events = EPOLLIN;
        epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event);
    }

    void run() {
        for (;;) {
            epoll_event events[256];
            const int timeout =
                todo_.empty() ? drywire_deadline_ms(server_.next_deadline(), now_ns()) : 0;
            const int n = epoll_wait(epoll_.get(), events, 256, timeout);
            const auto now = now_ns();
            if (stopping != 0 && listener_.get() >= 0) {
                listener_.reset();
                (void)server_.drain(now).ok();
            }
            for (int i = 0; i < n; i++) {
                if (events[i].data.ptr == nullptr) {
                    accept_all(now);
                    continue;
                }
                auto &p = *static_cast<peer *>(events[i].data.ptr);
                p.ended |= (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
                p.readable |= p.ended || (events[i].events & EPOLLIN) != 0;
                p.writable |= (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
                enqueue(p);
            }
            serve_all(now);
            if (server_.next_deadline() <= now) {
                hear_due(now);
                serve_all(now);
                (void)server_.tick(now).ok();
                serve_all(now);
            }
            if (stopping != 0 && server_.stats().connections == 0) {
                return;
            }
        }
    }

  private:
    void enqueue(peer &p) {
        if (!std::exchange(p.queued, true)) {
            todo_.push_back(&p);
        }
    }

    void accept_all(std::uint64_t now) {
        for (;;) {
            descriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
            if (socket.get() < 0) {
                return;
            }
            const int on = 1;
            setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            if (send_buffer_ > 0) {
                setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &send_buffer_, sizeof send_buffer_);
            }
            auto p = std::make_unique<peer>(peer{std::move(socket), {}});
            auto conn = server_.open(now, p.get());
            if (!conn) {
                continue; // overloaded: the socket closes with its descriptor
            }
            p->conn = *std::move(conn);
            epoll_event event{};
            event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
            event.data.ptr = p.get();
            epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, p->socket.get(), &event);
            enqueue(*p.release()); // its connection wants CLOSE in the end: serve() takes it back
        }
    }

    static void read_some(peer &p, std::uint64_t now) {
        const auto room = p.conn.reserve();
        const auto n = recv(p.socket.get(), room.data(), room.size(), 0);
        // A status below 0 is a peer that broke the protocol: its last words are in the output.
        (void)p.conn.commit(now, n > 0 ? static_cast<std::size_t>(n) : 0).ok();
        if (n == 0) {
            (void)p.conn.eof(now).ok();
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            (void)p.conn.abort(now, DRYWIRE_TRANSPORT_RESET).ok();
        }
        if (n != static_cast<ssize_t>(room.size())) {
            // A short read has emptied the socket, but of its end, which is told of only once.
            p.readable = n < 0 ? errno == EINTR : p.ended;
        }
    }

    static void write_some(peer &p, std::uint64_t now) {
        drywire_iov iov[64];
        const auto segments = p.conn.output(iov);
        msghdr message{};
        message.msg_iov = reinterpret_cast<iovec *>(segments.data());
        message.msg_iovlen = segments.size();
        const auto n = sendmsg(p.socket.get(), &message, MSG_NOSIGNAL);
        if (n >= 0) {
            (void)p.conn.consume(now, static_cast<std::size_t>(n)).ok();
        } else if (errno == EAGAIN) {
            p.writable = false;
        } else if (errno != EINTR) {
            (void)p.conn.abort(now, DRYWIRE_TRANSPORT_RESET).ok();
        }
    }

    void serve(peer &p, std::uint64_t now) {
        for (int turns = 16; turns > 0; turns--) {
            const auto wants = p.conn.wants();
            if (wants & DRYWIRE_WANT_CLOSE) {
                if (wants & DRYWIRE_WANT_RESET) {
                    const linger at_once{1, 0};
                    setsockopt(p.socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
                }
                const std::unique_ptr<peer> gone(&p);
                return;
            }
            if (wants & DRYWIRE_WANT_SHUTDOWN) {
                shutdown(p.socket.get(), SHUT_WR);
                (void)p.conn.was_shut_down(now).ok();
            } else if ((wants & DRYWIRE_WANT_READ) && p.readable) {
                read_some(p, now);
            } else if ((wants & DRYWIRE_WANT_WRITE) && p.writable) {
                write_some(p, now);
            } else if (wants & DRYWIRE_WANT_AGAIN) {
                (void)p.conn.resume(now).ok();
            } else {
                return;
            }
        }
        enqueue(p); // the others first
    }

    void serve_all(std::uint64_t now) {
        for (bool more = true; more;) {
            drywire_ready ready[64];
            const auto touched = server_.ready(now, ready);
            for (const auto &r : touched.values) {
                enqueue(*static_cast<peer *>(r.user));
            }
            more = touched.result.more();
        }
        for (auto *p : std::exchange(todo_, {})) {
            p->queued = false;
            serve(*p, now);
        }
    }

    // Nobody is given up whose words lie unread: there may be more events than one epoll_wait brings.
    void hear_due(std::uint64_t now) {
        for (bool more = true; more;) {
            drywire_ready ready[64];
            const auto due = server_.due(now, ready);
            for (const auto &r : due.values) {
                auto &p = *static_cast<peer *>(r.user);
                p.readable = p.writable = true;
                enqueue(p);
            }
            more = due.result.more();
        }
    }

    drywire::server server_;
    descriptor listener_, epoll_;
    int send_buffer_;
    std::vector<peer *> todo_;
};

descriptor listen_on(std::uint16_t port) {
    descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    socklen_t size = sizeof address;
    const int on = 1;
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    auto *generic = reinterpret_cast<sockaddr *>(&address);
    if (bind(socket.get(), generic, sizeof address) != 0 || listen(socket.get(), 1024) != 0 ||
        getsockname(socket.get(), generic, &size) != 0) {
        std::perror("listen");
        std::exit(1);
    }
    std::printf("listening on %u\n", static_cast<unsigned>(ntohs(address.sin_port)));
    std::fflush(stdout);
    return socket;
}

} // namespace

int main(int argc, char **argv) {
    std::uint16_t port = 11211;
    int send_buffer = 0;
    for (int i = 1; i < argc; i += 2) {
        const std::string_view option = argv[i];
        if (i + 1 < argc && option == "--port") {
            port = static_cast<std::uint16_t>(std::atoi(argv[i + 1]));
        } else if (i + 1 < argc && option == "--sndbuf") {
            send_buffer = std::atoi(argv[i + 1]);
        } else {
            std::fprintf(stderr, "usage: %s [--port N] [--sndbuf BYTES]\n", argv[0]);
            return 2;
        }
    }
    drywire::server_options options;
    drywire::memcached_options settings;
    std::random_device random;
    options.max_connections = 10000;
    settings.seed = std::uint64_t{random()} << 32 | random();
    settings.unix_start = std::time(nullptr) - static_cast<std::int64_t>(now_ns() / 1000000000);
    auto server = drywire::server::memcached(options, settings);
    if (!server) {
        std::fprintf(stderr, "drywire: %s\n", server.error().name().data());
        return 1;
    }
    struct sigaction action {};
    action.sa_handler = [](int) { stopping = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    loop(*std::move(server), listen_on(port), send_buffer).run();
    return 0;
}
