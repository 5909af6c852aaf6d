//! What one connection may cost, the same for all services.

use crate::units;
use core::ops::RangeInclusive;
use core::time::Duration;
use drywire::conn::Limits;
use drywire::guard::OutGateConfig;

#[derive(clap::Args)]
#[command(next_help_heading = "Limits of connections")]
#[group(id = "limits")]
pub(super) struct Options {
    /// Requests served in one turn, before the other connections get theirs
    #[arg(short = 'R', long, value_name = "N", default_value = "128", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_reqs_per_event: u32,
    /// Output waiting from which nothing more is read until the client has taken most of it
    #[arg(long, value_name = "SIZE", default_value = "64k", value_parser = output)]
    output_limit: usize,
    /// Input and output waiting in all connections together, over all services and threads. From
    /// three quarters of it on a connection is read only once its own output is taken; at all of
    /// it requests are refused: memcached answers `SERVER_ERROR server too busy`, sudoku
    /// `ServerTooBusy`
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = total)]
    buffer_limit: usize,
    /// While many requests are refused because there is too much to do, those whose requests were
    /// are served again after this: requests and answers gather, and refusing many at once is
    /// cheap. At most an eighth of --sudoku-deadline for sudoku; 0 is off
    #[arg(long, value_name = "TIME", default_value = "4ms", value_parser = pause)]
    refusal_pause: Duration,
    /// Many are so many requests refused within a --refusal-pause, on all connections of a service
    /// and a thread; below that a refusal is followed by no pause
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    refusal_pause_from: u32,
    /// A client that takes none of its waiting output for so long is closed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::time)]
    stall: Duration,
    /// A connection on which nothing comes for so long, and that is owed nothing, is closed; 0 is
    /// never
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = units::time)]
    idle: Duration,
}

impl Options {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            total: self.buffer_limit,
            idle: self.idle,
            refusal_pause: self.refusal_pause,
            refusal_pause_from: self.refusal_pause_from,
            messages_per_turn: self.max_reqs_per_event,
            output_high: self.output_limit,
            output_low: self.output_limit / 4,
            output: OutGateConfig { no_progress: self.stall, ..OutGateConfig::REPLIES },
            ..Limits::default()
        }
    }
}

fn output(text: &str) -> Result<usize, String> {
    within(text, 1 << 10..=1 << 30)
        .ok_or_else(|| format!("`{text}` of output: allowed are 1k to 1G"))
}

fn pause(text: &str) -> Result<Duration, String> {
    let time = units::time(text)?;
    let most = Duration::from_secs(1);
    (time <= most).then_some(time).ok_or_else(|| format!("`{text}` of pause: allowed are 0 to 1s"))
}

fn within(text: &str, allowed: RangeInclusive<u64>) -> Option<usize> {
    units::size(text).ok().filter(|size| allowed.contains(size))?.try_into().ok()
}

fn total(text: &str) -> Result<usize, String> {
    within(text, 1 << 20..=1 << 40)
        .ok_or_else(|| format!("`{text}` for all buffers: allowed are 1M to 1T"))
}
