//! What a process costs: resident memory and CPU time, as Linux tells them in `/proc`.

use crate::Failure;
use core::time::Duration;
use std::fs;

/// A process to watch, usually the server under load on the same machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    /// Fails if the process does not exist or may not be looked at.
    pub(crate) fn new(pid: u32) -> Result<Self, Failure> {
        let process = Self { pid };
        process.resident().and_then(|_| process.cpu_time()).map(|_| process).ok_or_else(|| {
            Failure::usage(format!(
                "--pid {pid}: no such process, or no right to read its memory and CPU time in /proc"
            ))
        })
    }

    /// Resident memory in bytes, exact at this moment (`smaps_rollup`, not the sampled `VmRSS`).
    pub(crate) fn resident(self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        let line = text.lines().find(|line| line.starts_with("Rss:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    }

    /// The cores on which both it and the calling thread may run; none where the system does not
    /// tell.
    pub(crate) fn shared_cores(self) -> Vec<u32> {
        let its = cores(&format!("/proc/{}/status", self.pid));
        let ours = cores("/proc/thread-self/status");
        its.into_iter().filter(|core| ours.contains(core)).collect()
    }

    /// CPU time of all its living threads.
    pub(crate) fn cpu_time(self) -> Option<Duration> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
        Some(threads.flatten().filter_map(|thread| on_cpu(thread.path().join("schedstat"))).sum())
    }
}

/// CPU time of the calling thread; zero where the system does not tell.
pub(crate) fn own_cpu_time() -> Duration {
    on_cpu("/proc/thread-self/schedstat".into()).unwrap_or_default()
}

/// CPU time that was due to this machine and that its host gave to others, on all cores since the
/// boot; zero where the system does not tell (`steal` in `/proc/stat`, in hundredths of a second).
pub(crate) fn stolen_time() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let steal = text.split_whitespace().nth(8).and_then(|ticks| ticks.parse().ok());
    Duration::from_millis(steal.unwrap_or(0) * 10)
}

/// The cores in the `Cpus_allowed_list` of a status file, such as `0-2,5`.
fn cores(status: &str) -> Vec<u32> {
    let text = fs::read_to_string(status).unwrap_or_default();
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.unwrap_or_default().split(',').filter_map(range).flatten().collect()
}

fn on_cpu(schedstat: std::path::PathBuf) -> Option<Duration> {
    let text = fs::read_to_string(schedstat).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_written_and_time_spent_are_seen() {
        let me = Process::new(std::process::id()).unwrap();
        let (memory, time) = (me.resident().unwrap(), own_cpu_time());
        let mut block = vec![1_u8; 32 << 20];
        for _ in 0..4 {
            block.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(3));
        }
        assert!(
            me.resident().unwrap() >= memory + (24 << 20),
            "{}",
            core::hint::black_box(&block).len()
        );
        assert!(own_cpu_time() > time && me.cpu_time().unwrap() >= own_cpu_time() - time);
    }

    #[test]
    fn a_process_shares_its_cores_with_itself() {
        let me = Process::new(std::process::id()).unwrap();
        let cores = std::thread::available_parallelism().unwrap().get();
        assert!(me.shared_cores().len() >= cores.min(1));
    }

    #[test]
    fn a_process_that_is_not_there_is_a_usage_error() {
        assert_eq!(Process::new(u32::MAX).unwrap_err().code, 2);
    }
}
