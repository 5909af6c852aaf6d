// SPDX-License-Identifier: MIT OR Apache-2.0
//
// drywire's guard policies for C++17: small values to copy and to keep where what they judge is
// kept. What the fields of a decision mean is said in drywire.h.
//
//   drywire::admission admission(now);
//   auto decision = admission.admit(now, ask);
//   if (!decision) return fail(decision.error().name());
//   if (decision->what == DRYWIRE_ADMISSION_SHED) refuse(decision->why);
#ifndef DRYWIRE_GUARD_HPP
#define DRYWIRE_GUARD_HPP

#include "drywire.hpp"

namespace drywire {

using admission_options = detail::filled<drywire_admission_options, drywire_admission_options_init>;
using read_gate_options = detail::filled<drywire_read_gate_options, drywire_read_gate_options_init>;
using patience_options = detail::filled<drywire_patience_options, drywire_patience_options_init>;
using heartbeat_options = detail::filled<drywire_heartbeat_options, drywire_heartbeat_options_init>;
using phi_options = detail::filled<drywire_phi_options, drywire_phi_options_init>;
using ping_flood_options =
    detail::filled<drywire_ping_flood_options, drywire_ping_flood_options_init>;
using drain_options = detail::filled<drywire_drain_options, drywire_drain_options_init>;
using throttle_options = detail::filled<drywire_throttle_options, drywire_throttle_options_init>;
using retry_options = detail::filled<drywire_retry_options, drywire_retry_options_init>;
using pick_options = detail::filled<drywire_pick_options, drywire_pick_options_init>;
using admission_ask = detail::filled<drywire_admission_ask, drywire_admission_ask_init>;

namespace detail {
/// Calls something that decides.
template <class Call, class... Arguments>
expected<drywire_decision> decided(Call call, Arguments... arguments) noexcept {
    drywire_decision decision{};
    const status result = call(arguments..., &decision);
    if (!result) {
        return result;
    }
    return decision;
}
} // namespace detail

/// Whether a request that needs work may join the queue.
class admission {
  public:
    explicit admission(std::uint64_t now_ns,
                       const drywire_admission_options &options = admission_options()) noexcept
        : options_(options) {
        (void)drywire_admission_init(&state_, sizeof state_, &options_, now_ns);
    }
    expected<drywire_decision> admit(std::uint64_t now_ns,
                                     const drywire_admission_ask &ask) noexcept {
        return detail::decided(drywire_admission_admit, &state_, &options_, now_ns, &ask);
    }
    expected<drywire_decision> dequeue(std::uint64_t now_ns, std::uint64_t expires_ns,
                                       std::uint64_t left) noexcept {
        return detail::decided(drywire_admission_dequeue, &state_, now_ns, expires_ns, left);
    }
    status complete(std::uint64_t service_ns) noexcept {
        return drywire_admission_complete(&state_, service_ns);
    }

  private:
    drywire_admission_options options_;
    drywire_admission state_{};
};

/// How much may be read from a connection.
class read_gate {
  public:
    explicit read_gate(const drywire_read_gate_options &options = read_gate_options()) noexcept
        : options_(options) {
        (void)drywire_read_gate_init(&state_, sizeof state_);
    }
    expected<drywire_decision> poll(std::uint64_t conn_in, std::uint64_t conn_out,
                                    std::uint64_t queue, std::uint64_t total) noexcept {
        return detail::decided(drywire_read_gate_poll, &state_, &options_, conn_in, conn_out, queue,
                               total);
    }
    status took(std::uint64_t size, std::uint32_t messages) noexcept {
        return drywire_read_gate_took(&state_, size, messages);
    }
    status new_turn() noexcept { return drywire_read_gate_new_turn(&state_); }

  private:
    drywire_read_gate_options options_;
    drywire_read_gate state_{};
};

/// What becomes of output that its peer does not take.
class out_gate {
  public:
    explicit out_gate(const drywire_out_gate_options &options = out_gate_options()) noexcept
        : options_(options) {
        (void)drywire_out_gate_init(&state_, sizeof state_);
    }
    expected<drywire_decision> offer(std::uint64_t now_ns, std::uint64_t pending,
                                     std::uint64_t message_len, std::uint32_t flags = 0) noexcept {
        return detail::decided(drywire_out_gate_offer, &state_, &options_, now_ns, pending,
                               message_len, flags);
    }
    status sent(std::uint64_t now_ns, std::uint64_t sent, std::uint64_t pending) noexcept {
        return drywire_out_gate_sent(&state_, &options_, now_ns, sent, pending);
    }
    expected<drywire_decision> poll(std::uint64_t now_ns, std::uint64_t pending) noexcept {
        return detail::decided(drywire_out_gate_poll, &state_, &options_, now_ns, pending);
    }
    std::uint64_t next_deadline(std::uint64_t pending) const noexcept {
        return drywire_out_gate_next_deadline(&state_, &options_, pending);
    }
    std::uint64_t progress() const noexcept { return drywire_out_gate_progress(&state_); }
    status stalled(std::uint64_t gap_ns) noexcept {
        return drywire_out_gate_stalled(&state_, gap_ns);
    }

  private:
    drywire_out_gate_options options_;
    drywire_out_gate state_{};
};

/// How long a peer may take to ask.
class patience {
  public:
    explicit patience(std::uint64_t now_ns,
                      const drywire_patience_options &options = patience_options()) noexcept
        : options_(options) {
        (void)drywire_patience_init(&state_, sizeof state_, now_ns);
    }
    status observe(std::uint64_t now_ns, std::uint32_t progress) noexcept {
        return drywire_patience_observe(&state_, now_ns, progress);
    }
    expected<drywire_decision> poll(std::uint64_t now_ns) noexcept {
        return detail::decided(drywire_patience_poll, &state_, &options_, now_ns);
    }
    std::uint64_t next_deadline() const noexcept {
        return drywire_patience_next_deadline(&state_, &options_);
    }
    status stalled(std::uint64_t gap_ns) noexcept {
        return drywire_patience_stalled(&state_, gap_ns);
    }

  private:
    drywire_patience_options options_;
    drywire_patience state_{};
};

/// Whether a silent peer is alive.
class heartbeat {
  public:
    explicit heartbeat(std::uint64_t now_ns, std::uint64_t random,
                       const drywire_heartbeat_options &options = heartbeat_options()) noexcept
        : options_(options) {
        (void)drywire_heartbeat_init(&state_, sizeof state_, &options_, now_ns, random);
    }
    status received(std::uint64_t now_ns) noexcept {
        return drywire_heartbeat_received(&state_, now_ns);
    }
    status progressed(std::uint64_t now_ns) noexcept {
        return drywire_heartbeat_progressed(&state_, now_ns);
    }
    status ping_left(std::uint64_t now_ns) noexcept {
        return drywire_heartbeat_ping_left(&state_, now_ns);
    }
    expected<drywire_decision> poll(std::uint64_t now_ns, std::uint64_t pending = 0,
                                    std::uint64_t progress_ns = 0) noexcept {
        return detail::decided(drywire_heartbeat_poll, &state_, &options_, now_ns, pending,
                               progress_ns);
    }
    std::uint64_t next_deadline(std::uint64_t pending = 0,
                                std::uint64_t progress_ns = 0) const noexcept {
        return drywire_heartbeat_next_deadline(&state_, &options_, pending, progress_ns);
    }
    status stalled(std::uint64_t gap_ns) noexcept {
        return drywire_heartbeat_stalled(&state_, gap_ns);
    }

  private:
    drywire_heartbeat_options options_;
    drywire_heartbeat state_{};
};

/// When a peer that beats regularly becomes suspect.
class phi {
  public:
    explicit phi(std::uint64_t now_ns, std::uint64_t expected_ns,
                 const drywire_phi_options &options = phi_options()) noexcept
        : options_(options) {
        (void)drywire_phi_init(&state_, sizeof state_, &options_, now_ns, expected_ns);
    }
    status beat(std::uint64_t now_ns) noexcept {
        return drywire_phi_beat(&state_, &options_, now_ns);
    }
    std::uint64_t next_deadline() const noexcept {
        return drywire_phi_next_deadline(&state_, &options_);
    }
    status stalled(std::uint64_t gap_ns) noexcept { return drywire_phi_stalled(&state_, gap_ns); }

  private:
    drywire_phi_options options_;
    drywire_phi state_{};
};

/// How often a peer may ping.
class ping_flood {
  public:
    explicit ping_flood(const drywire_ping_flood_options &options = ping_flood_options()) noexcept
        : options_(options) {
        (void)drywire_ping_flood_init(&state_, sizeof state_);
    }
    expected<drywire_decision> ping(std::uint64_t now_ns) noexcept {
        return detail::decided(drywire_ping_flood_ping, &state_, &options_, now_ns);
    }

  private:
    drywire_ping_flood_options options_;
    drywire_ping_flood state_{};
};

/// What is refused on all connections: few refusals are no burden.
class refusal_window {
  public:
    refusal_window() noexcept { (void)drywire_refusal_window_init(&state_, sizeof state_); }
    /// Until when whoever was refused is not served, for its refusal_pause.
    std::uint64_t refused(std::uint64_t length_ns, std::uint32_t from, std::uint32_t requests,
                          std::uint64_t now_ns) noexcept {
        std::uint64_t until = DRYWIRE_NO_DEADLINE;
        (void)drywire_refusal_window_refused(&state_, length_ns, from, requests, now_ns, &until);
        return until;
    }
    std::uint64_t pauses_until(std::uint32_t from, std::uint64_t now_ns) const noexcept {
        return drywire_refusal_window_pauses_until(&state_, from, now_ns);
    }

  private:
    drywire_refusal_window state_{};
};

/// Who was refused is read a moment later, many requests at once.
class refusal_pause {
  public:
    refusal_pause() noexcept { (void)drywire_refusal_pause_init(&state_, sizeof state_); }
    status refused(std::uint64_t until_ns) noexcept {
        return drywire_refusal_pause_refused(&state_, until_ns);
    }
    status drained() noexcept { return drywire_refusal_pause_drained(&state_); }
    /// DRYWIRE_REFUSAL_PAUSE_INPUT, _BOTH, or nothing is held back.
    expected<drywire_decision> poll(std::uint64_t now_ns) noexcept {
        return detail::decided(drywire_refusal_pause_poll, &state_, now_ns);
    }
    std::uint64_t next_deadline() const noexcept { return drywire_refusal_pause_next_deadline(&state_); }

  private:
    drywire_refusal_pause state_{};
};

/// Whether this process was away.
class stall_guard {
  public:
    explicit stall_guard(std::uint64_t now_ns) noexcept {
        (void)drywire_stall_guard_init(&state_, sizeof state_, now_ns);
    }
    /// The time to give back to every `stalled`, in ns; 0 if it was not away.
    std::uint64_t woke(std::uint64_t slack_ns, std::uint64_t now_ns,
                       std::uint64_t due_ns) noexcept {
        std::uint64_t gap = 0;
        (void)drywire_stall_guard_woke(&state_, slack_ns, now_ns, due_ns, &gap);
        return gap;
    }

  private:
    drywire_stall_guard state_{};
};

/// How a server goes away without losing a request.
class drain {
  public:
    explicit drain(const drywire_drain_options &options = drain_options()) noexcept
        : options_(options) {
        (void)drywire_drain_init(&state_, sizeof state_);
    }
    status start(std::uint64_t now_ns) noexcept { return drywire_drain_start(&state_, now_ns); }
    expected<drywire_decision> poll(std::uint64_t now_ns, std::uint64_t requests,
                                    std::uint64_t conns, std::uint64_t closing,
                                    std::uint64_t acked) noexcept {
        return detail::decided(drywire_drain_poll, &state_, &options_, now_ns, requests, conns,
                               closing, acked);
    }
    std::uint64_t next_deadline(std::uint64_t requests, std::uint64_t conns, std::uint64_t closing,
                                std::uint64_t acked) const noexcept {
        return drywire_drain_next_deadline(&state_, &options_, requests, conns, closing, acked);
    }
    std::uint32_t flags() const noexcept { return drywire_drain_flags(&state_); }

  private:
    drywire_drain_options options_;
    drywire_drain state_{};
};

/// Does not send what would be refused anyway.
class throttle {
  public:
    explicit throttle(std::uint64_t now_ns,
                      const drywire_throttle_options &options = throttle_options()) noexcept
        : options_(options) {
        (void)drywire_throttle_init(&state_, sizeof state_, now_ns);
    }
    expected<drywire_decision> ask(std::uint64_t now_ns, std::uint64_t random) noexcept {
        return detail::decided(drywire_throttle_ask, &state_, &options_, now_ns, random);
    }
    status accepted(std::uint64_t now_ns) noexcept {
        return drywire_throttle_accepted(&state_, &options_, now_ns);
    }

  private:
    drywire_throttle_options options_;
    drywire_throttle state_{};
};

/// Retries and hedges under one budget.
class retry {
  public:
    explicit retry(std::uint64_t now_ns,
                   const drywire_retry_options &options = retry_options()) noexcept
        : options_(options) {
        (void)drywire_retry_init(&state_, sizeof state_, &options_, now_ns);
    }
    status request(std::uint64_t now_ns) noexcept {
        return drywire_retry_request(&state_, &options_, now_ns);
    }
    expected<drywire_decision> ask(std::uint64_t now_ns, std::uint32_t attempt, std::uint32_t reply,
                                   std::uint32_t flags, std::uint64_t retry_after_ns,
                                   std::uint64_t deadline_ns, std::uint64_t random) noexcept {
        return detail::decided(drywire_retry_ask, &state_, &options_, now_ns, attempt, reply, flags,
                               retry_after_ns, deadline_ns, random);
    }
    expected<drywire_decision> hedge(std::uint64_t now_ns, std::uint64_t sent_ns,
                                     std::uint64_t p95_ns, std::uint32_t flags) noexcept {
        return detail::decided(drywire_retry_hedge, &state_, &options_, now_ns, sent_ns, p95_ns,
                               flags);
    }

  private:
    drywire_retry_options options_;
    drywire_retry state_{};
};

/// One of the backends that `pick` picks from.
struct backend : drywire_backend {
    explicit backend(std::uint64_t identity, std::uint32_t share = 1) noexcept {
        (void)drywire_backend_init(this, identity, share);
    }
    status sent() noexcept { return drywire_backend_sent(this); }
    status replied(const drywire_pick_options &options, std::uint64_t now_ns,
                   std::uint32_t reply) noexcept {
        return drywire_backend_replied(this, &options, now_ns, reply);
    }
};
static_assert(sizeof(backend) == sizeof(drywire_backend), "an array of one is one of the other");

/// Which of several backends gets a request; `avoid` is the index of the one that failed before.
inline expected<drywire_decision>
pick(const drywire_pick_options &options, span<const backend> backends, std::uint64_t now_ns,
     std::uint64_t random, std::uint32_t how = DRYWIRE_PICK_LEAST_PENDING, std::uint64_t key = 0,
     std::uint64_t avoid = UINT64_MAX) noexcept {
    return detail::decided(drywire_pick, &options, backends.data(), backends.size(), how, key,
                           avoid, now_ns, random);
}

} // namespace drywire

#endif
