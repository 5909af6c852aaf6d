//! What one connection may cost, the same for all services.

use crate::units;
use core::time::Duration;
use drywire::conn::Limits;
use drywire::guard::OutGateConfig;

#[derive(clap::Args)]
#[command(next_help_heading = "Limits of each connection")]
#[group(id = "limits")]
pub(super) struct Options {
    /// Requests served in one turn, before the other connections get theirs
    #[arg(short = 'R', long, value_name = "N", default_value = "128", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_reqs_per_event: u32,
    /// Output waiting from which nothing more is read until the client has taken most of it
    #[arg(long, value_name = "SIZE", default_value = "64k", value_parser = output)]
    output_limit: usize,
    /// A client that takes none of its waiting output for so long is closed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::time)]
    stall: Duration,
}

impl Options {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            messages_per_turn: self.max_reqs_per_event,
            output_high: self.output_limit,
            output_low: self.output_limit / 4,
            output: OutGateConfig { no_progress: self.stall, ..OutGateConfig::REPLIES },
            ..Limits::default()
        }
    }
}

fn output(text: &str) -> Result<usize, String> {
    let size = units::size(text)?;
    usize::try_from(size)
        .ok()
        .filter(|size| (1 << 10..=1 << 30).contains(size))
        .ok_or_else(|| format!("`{text}` of output: allowed are 1k to 1G"))
}
