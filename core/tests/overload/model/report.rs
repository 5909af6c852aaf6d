//! What came of it.

use super::MS;

/// One request, as its client sees it. Times in ns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// When it was due to be sent.
    pub at: u64,
    /// When its end was heard.
    pub done: u64,
    pub end: End,
    pub conn: u32,
    /// The logical call it belongs to, and which attempt it is.
    pub call: u32,
    pub attempt: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Waiting,
    Done,
    Refused,
}

/// The best possible share of the capacity at load `x`, when looking at a request costs `parse`
/// and refusing it `refuse`, as fractions of the service time, on the same core.
pub(crate) fn ceiling(x: f64, parse: f64, refuse: f64) -> f64 {
    // What is served is looked at too: below saturation x (1 + parse) must fit.
    let served = (1.0 - x * (parse + refuse)) / (1.0 - refuse);
    x.min(served).max(0.0)
}

/// The requests of a run, and what the run was.
#[derive(Debug)]
pub(crate) struct Report {
    pub requests: Vec<Request>,
    pub deadline: u64,
    pub service: u64,
    pub parse: f64,
    pub refuse: f64,
    pub longest_queue: usize,
}

/// The figures of one span of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Offered load, as a multiple of the capacity.
    pub offered: f64,
    /// Answers in time, as a share of the capacity.
    pub goodput: f64,
    pub ceiling: f64,
    /// Answers after the deadline, as a share of all answers.
    pub late: f64,
    /// Refusals, as a share of all requests.
    pub refused: f64,
    /// Latency of answers, in ms.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// Latency of refusals, in ms.
    pub refusal_p99: f64,
}

impl Report {
    /// Requests scheduled from `from` to `to`.
    pub(crate) fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(move |r| (from..to).contains(&r.at))
    }

    pub(crate) fn in_time(&self, r: &Request) -> bool {
        r.end == End::Done && r.done - r.at <= self.deadline
    }

    pub(crate) fn figures(&self, from: u64, to: u64) -> Figures {
        let capacity = (to - from) as f64 / self.service as f64;
        let count = |end| self.between(from, to).filter(|r| r.end == end).count() as f64;
        let all = self.between(from, to).count() as f64;
        let good = self.between(from, to).filter(|r| self.in_time(r)).count() as f64;
        let done = count(End::Done);
        let mut answers = self.latencies(from, to, End::Done);
        let mut refusals = self.latencies(from, to, End::Refused);
        let offered = all / capacity;
        Figures {
            offered,
            goodput: good / capacity,
            ceiling: ceiling(offered, self.parse, self.refuse),
            late: (done - good) / done.max(1.0),
            refused: count(End::Refused) / all.max(1.0),
            p50: percentile(&mut answers, 0.5),
            p99: percentile(&mut answers, 0.99),
            p999: percentile(&mut answers, 0.999),
            refusal_p99: percentile(&mut refusals, 0.99),
        }
    }

    /// Answers in time in each window of `width`, as a share of the capacity, by scheduled send.
    pub(crate) fn goodput_by(&self, width: u64, until: u64) -> Vec<f64> {
        let mut windows = vec![0.0; (until / width) as usize];
        for r in &self.requests {
            if let Some(window) = windows.get_mut((r.at / width) as usize)
                && self.in_time(r)
            {
                *window += self.service as f64 / width as f64;
            }
        }
        windows
    }

    /// The share of logical calls of a span that succeeded at some attempt.
    pub(crate) fn calls_answered(&self, from: u64, to: u64) -> f64 {
        let calls = self.requests.iter().map(|r| r.call as usize + 1).max().unwrap_or(0);
        let (mut began, mut good) = (vec![u64::MAX; calls], vec![false; calls]);
        for r in &self.requests {
            let call = r.call as usize;
            began[call] = began[call].min(r.at);
            good[call] |= self.in_time(r);
        }
        let of_span = || began.iter().zip(&good).filter(|(at, _)| (from..to).contains(*at));
        of_span().filter(|(_, good)| **good).count() as f64 / of_span().count().max(1) as f64
    }

    fn latencies(&self, from: u64, to: u64, end: End) -> Vec<f64> {
        let of_end = self.between(from, to).filter(|r| r.end == end);
        of_end.map(|r| (r.done - r.at) as f64 / MS as f64).collect()
    }
}

/// Zero of nothing.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    let at = (values.len() as f64 * share) as usize;
    if values.is_empty() {
        return 0.0;
    }
    let at = at.min(values.len() - 1);
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}
