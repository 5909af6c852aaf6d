//! One chat room of 10,000 members, some of whom read nothing, as Markdown.
//!
//! ```text
//! cargo bench -p drywire --bench crowd              # over a minute, on one idle core
//! cargo bench -p drywire --bench crowd -- 1000 10   # 1,000 members and 10 that read nothing
//! ```
//!
//! A message of 1 KiB each millisecond, to each member's pipe: virtual, so no kernel copies. The
//! engine takes what is due, as a loop reads what is there: while it serves everybody once, further
//! messages become due. The latency is wall-clock time, from the moment a message is due until a
//! healthy member's pipe has all of it, for each message and each member. The engine's own time, which
//! decides who is too slow, goes by the messages, a millisecond each: so a machine that is busy with
//! other things makes latencies longer, and nobody's fate another. Each row is a process of its own,
//! for its memory.
//!
//! Exit code 1 if a row's p99 is over 1.5 times that of the row without stuck members, if its memory is
//! over the stated cap, or if a stuck member did not meet the room's fate in time.

#![expect(clippy::disallowed_methods, reason = "it is the host, which owns the clock")]

use drywire::Tick;
use drywire::chat::codec::{self, Event, Request};
use drywire::chat::{Config, Server, Shared, limits};
use drywire::conn::{CloseReason, FaultKind, Job, Peer, Wants};
use drywire::engine::{ConnId, Engine};
use drywire::fanout::{self, Fate, OpenSpill, SpillError, SpillFile, Start};
use drywire::frame::frames;
use hdrhistogram::Histogram;
use std::fs::File;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

const SIZE: usize = 1024;
const MESSAGES: u64 = 4000;
/// Of those, the first ones are not timed: memory comes from the system then.
const WARM: u64 = 500;
/// Runs of each row; the table has the one with the median p99.
const ROUNDS: usize = 3;
/// After so long a run gives up: this machine cannot keep up.
const PATIENCE: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(1);
/// Messages that the loop reads at once at most.
const TURN: u64 = 24;
/// For jobs in one turn, as of the mio host's loop where it has no other threads for them.
const SLICE: Duration = Duration::from_micros(500);
/// Bytes on their way to disk or back, of one who spills.
const BATCH: usize = 256 << 10;
/// What a pipe takes before nobody has read from it.
const PIPE: usize = 64 << 10;
const ROOM: &[u8] = b"lobby";
const FATES: [(&str, Fate); 4] = [
    ("kick", Fate::Kick),
    ("drop-oldest", Fate::DropOldest),
    ("coalesce", Fate::Coalesce),
    ("spill", Fate::Spill),
];

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number =
        |at: usize, default| args.get(at).map_or(default, |n| n.parse().expect("a number"));
    let (members, stuck) = (number(0, 10_000), number(1, 100));
    if let Some(fate) = args.get(2) {
        let (_, fate) = FATES.into_iter().find(|(name, _)| name == fate).expect("a fate");
        Crowd::new(members, stuck, fate).run().print();
        return ExitCode::SUCCESS;
    }
    println!(
        "| members | stuck | fate | p50 | p99 | most | resident | cap | what became of the stuck |"
    );
    println!("|---:|---:|---|---:|---:|---:|---:|---:|---|");
    let rows = [(0, "kick")].into_iter().chain(FATES.map(|(name, _)| (stuck, name)));
    let mut rows: Vec<_> = rows.map(|(stuck, fate)| (stuck, fate, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (stuck, fate, runs) in &mut rows {
            runs.push(Row::of_a_process(members, *stuck, fate));
        }
    }
    for (.., runs) in &mut rows {
        runs.sort_by_key(|run| run.p99);
    }
    let alone = &rows[0].2[ROUNDS / 2];
    let mut good = true;
    for (stuck, fate, runs) in &rows {
        let row = &runs[ROUNDS / 2];
        row.show(members, *stuck, fate, alone);
        good &= row.p99 * 2 <= alone.p99 * 3 && row.resident <= cap(alone, *stuck, fate);
    }
    ExitCode::from(u8::from(!good))
}

/// What a run may hold: for a stuck member one filled outbox, twice because vectors double, what it
/// is kept by, and a batch if it spills; here also its pipe. And something for the allocator.
fn cap(alone: &Row, stuck: usize, fate: &str) -> u64 {
    let outbox = 2 * (fanout::Config::default().fill + SIZE) + (4 << 10);
    let batch = if fate == "spill" { BATCH + SIZE } else { 0 };
    alone.resident + (stuck * (outbox + batch + PIPE) + (4 << 20)) as u64
}

/// What one run found: times in nanoseconds, memory in bytes.
struct Row {
    p50: u64,
    p99: u64,
    most: u64,
    resident: u64,
    words: String,
}

impl Row {
    fn of_a_process(members: usize, stuck: usize, fate: &str) -> Self {
        let args = [&members.to_string(), &stuck.to_string(), fate];
        let exe = std::env::current_exe().expect("this program");
        let output = Command::new(exe).args(args).output().expect("a process");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{members} members, {stuck} stuck, {fate}: {errors}");
        let text = String::from_utf8(output.stdout).expect("words");
        let (numbers, words) = text.trim_end().split_once(';').expect("numbers; words");
        let numbers: Vec<u64> = numbers.split(' ').map(|n| n.parse().expect("a number")).collect();
        let [p50, p99, most, resident] = numbers[..] else { panic!("{text}") };
        Self { p50, p99, most, resident, words: words.into() }
    }

    fn print(&self) {
        let Self { p50, p99, most, resident, words } = self;
        println!("{p50} {p99} {most} {resident};{words}");
    }

    fn show(&self, members: usize, stuck: usize, fate: &str, alone: &Self) {
        let [p50, p99, most] = [self.p50, self.p99, self.most].map(|ns| ns as f64 / 1e6);
        let resident = self.resident as f64 / f64::from(1 << 20);
        let cap = cap(alone, stuck, fate) as f64 / f64::from(1 << 20);
        let fate = if stuck == 0 { "-" } else { fate };
        println!(
            "| {members} | {stuck} | {fate} | {p50:.2} ms | {p99:.2} ms | {most:.2} ms | {resident:.1} MiB | {cap:.1} MiB | {} |",
            self.words
        );
    }
}

/// When the first message was due, and the numbers of those that are new.
type Fresh = (Instant, RangeInclusive<u64>);

/// A member, as the far end of its pipe.
struct Member {
    id: ConnId,
    /// Bytes that were in its pipe altogether.
    heard: u64,
    /// Of one that reads nothing: what is in the pipe, and what it has read in the end.
    stuck: Option<Vec<u8>>,
}

struct Crowd {
    engine: Engine<Server>,
    members: Vec<Member>,
    speaker: ConnId,
    fate: Fate,
    stuck: usize,
    latency: Histogram<u64>,
    /// When the first and the last of them were kicked.
    kicked: Vec<Tick>,
    jobs: u64,
}

impl Crowd {
    fn new(members: usize, stuck: usize, fate: Fate) -> Self {
        let spill = (fate == Fate::Spill).then(|| OpenSpill::new(scratch));
        let fanout = fanout::Config { fate, spill, ..fanout::Config::default() };
        let shared = Shared::new(Config::default(), fanout);
        let mut engine = Engine::new(shared, limits(), members + stuck + 1);
        let now = Tick::from_secs(1);
        let mut accept = || engine.accept(now, &Peer::Virtual(1)).expect("room for all");
        let healthy: Vec<_> = (0..members).map(|_| accept()).collect();
        let deaf: Vec<_> = (0..stuck).map(|_| accept()).collect();
        let speaker = accept();
        for (number, id) in (1..).zip(deaf.iter().chain([&speaker])) {
            let mut hello = Vec::new();
            codec::encode_hello(&mut hello, number, format!("member {number}").as_bytes());
            Request::Join { room: ROOM, start: Start::Next }.encode(&mut hello);
            engine.receive(*id, now, &hello);
        }
        let healthy = healthy.into_iter().map(|id| Member { id, heard: 0, stuck: None });
        let deaf = deaf.into_iter().map(|id| Member {
            id,
            heard: 0,
            stuck: Some(Vec::with_capacity(PIPE)),
        });
        let mut members: Vec<_> = healthy.chain(deaf).collect();
        members.push(Member { id: speaker, heard: 0, stuck: None });
        // A member's place here is its slot there.
        assert!(members.iter().enumerate().all(|(at, member)| member.id.slot as usize == at));
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("good bounds");
        let (kicked, jobs) = (Vec::new(), 0);
        let mut crowd = Self { engine, members, speaker, fate, stuck, latency, kicked, jobs };
        crowd.serve(now, None);
        crowd.members.iter_mut().for_each(|member| member.heard = 0);
        crowd
    }

    fn run(mut self) -> Row {
        let begin = Tick::from_secs(1);
        let frame = (SIZE + 4) as u64;
        let (start, mut said) = (Instant::now(), 0);
        while said < MESSAGES {
            while start.elapsed() < EVERY * (said + 1) as u32 {
                std::hint::spin_loop();
            }
            assert!(start.elapsed() < PATIENCE, "this machine cannot keep up: fewer members");
            let due = (start.elapsed().as_nanos() / EVERY.as_nanos()) as u64;
            let fresh = said + 1..=due.min(said + TURN).min(MESSAGES);
            said = *fresh.end();
            let now = begin + EVERY * said as u32;
            if self.engine.deadline().is_some_and(|due| due.at <= now) {
                self.engine.tick(now);
            }
            for number in fresh.clone() {
                let mut say = Vec::new();
                let (key, again, text) = (format!("key {}", number % 10), false, &[b'x'; SIZE][..]);
                let key = key.as_bytes();
                Request::Say { room: ROOM, number, again, key, text }.encode(&mut say);
                let taken = self.engine.receive(self.speaker, now, &say);
                assert_eq!(taken, say.len(), "the speaker is held up");
            }
            self.serve(now, Some((start, fresh)));
            let healthy = &self.members[..self.members.len() - 1 - self.stuck];
            assert!(healthy.iter().all(|member| member.heard == said * frame), "not all have it");
        }
        let resident = peak();
        let words = if self.stuck == 0 { "-".into() } else { self.fates(begin) };
        Row {
            p50: self.latency.value_at_quantile(0.5),
            p99: self.latency.value_at_quantile(0.99),
            most: self.latency.max(),
            resident,
            words,
        }
    }

    /// Everybody who has something to do has a turn, then jobs have theirs, as on an event loop.
    fn serve(&mut self, now: Tick, fresh: Option<Fresh>) {
        let mut slice = None;
        loop {
            while let Some(id) = self.engine.next_dirty(now) {
                self.turn(now, id, fresh.as_ref());
            }
            // A condemned one is due at once.
            if self.engine.deadline().is_some_and(|due| due.at <= now) {
                self.engine.tick(now);
                continue;
            }
            let end = *slice.get_or_insert_with(|| Instant::now() + SLICE);
            let before = self.jobs;
            while (fresh.is_none() || Instant::now() < end)
                && let Some((id, job)) = self.engine.next_job(now)
            {
                self.jobs += 1;
                self.engine.complete(now, id, job.run());
            }
            if self.jobs == before {
                return;
            }
        }
    }

    fn turn(&mut self, now: Tick, id: ConnId, fresh: Option<&Fresh>) {
        let member = &mut self.members[id.slot as usize];
        loop {
            let wants = self.engine.wants(id);
            if wants.has(Wants::AGAIN) {
                self.engine.resume(id, now);
                continue;
            }
            let room = member.stuck.as_ref().map_or(usize::MAX, |pipe| PIPE - pipe.len().min(PIPE));
            if !wants.has(Wants::WRITE) || room == 0 {
                break;
            }
            let mut taken = 0;
            for slice in self.engine.outgoing(id) {
                let n = slice.len().min(room - taken);
                if let Some(pipe) = &mut member.stuck {
                    pipe.extend_from_slice(&slice[..n]);
                }
                taken += n;
            }
            self.engine.sent(id, now, taken);
            member.heard += taken as u64;
        }
        if member.stuck.is_none() {
            if let Some((start, fresh)) = fresh.filter(|_| id != self.speaker) {
                let now = start.elapsed();
                for number in fresh.clone().filter(|number| *number > WARM) {
                    let late = now.saturating_sub(EVERY * number as u32);
                    self.latency.saturating_record(late.as_nanos() as u64);
                }
            }
        } else if self.engine.close_reason(id).is_some() && fresh.is_some() {
            self.kicked.push(now);
        }
    }

    /// What became of those that read nothing. Panics if it is not what the room promises.
    fn fates(&mut self, begin: Tick) -> String {
        let first = self.members.len() - 1 - self.stuck;
        let deaf: Vec<_> = self.members[first..first + self.stuck].iter().map(|m| m.id).collect();
        if self.fate == Fate::Kick {
            // A megabyte beyond what the pipe and the outbox took.
            let config = fanout::Config::default();
            let bytes = (config.slow.hard + config.fill + PIPE) as u64;
            let bound = EVERY * (bytes / SIZE as u64 + 16) as u32;
            for id in deaf {
                let reason = self.engine.close_reason(id);
                let slow = |r| matches!(r, CloseReason::Fault(f) if f.kind == FaultKind::TooSlow);
                assert!(reason.is_some_and(slow), "{reason:?}");
            }
            let last = self.kicked.iter().max().expect("all were kicked").since(begin);
            assert!(last <= bound, "kicked after {last:?}, not {bound:?}");
            return format!("kicked after {last:.3?} (within {bound:.3?})");
        }
        // The others read now, all of it.
        let now = begin + EVERY * MESSAGES as u32;
        let (mut heard, mut lost) = (0, 0);
        for id in deaf {
            let mut all = Vec::new();
            loop {
                let pipe = self.members[id.slot as usize].stuck.as_mut().expect("one of those");
                all.append(pipe);
                let had = all.len();
                self.turn(now, id, None);
                self.serve(now, None);
                let pipe = self.members[id.slot as usize].stuck.as_ref().expect("one of those");
                if pipe.is_empty() && had == all.len() && !self.engine.wants(id).has(Wants::WRITE) {
                    break;
                }
            }
            let (h, l) = tally(&all);
            assert_eq!(h + l, MESSAGES, "{h} heard, {l} lost");
            (heard, lost) = (heard + h, lost + l);
        }
        let of = |count: u64| count / self.stuck as u64;
        match self.fate {
            Fate::Spill => {
                assert_eq!(lost, 0);
                format!(
                    "all {} heard in the end, over {} writes and reads of disk",
                    of(heard),
                    self.jobs
                )
            }
            _ => format!("told of {} lost, {} heard in the end", of(lost), of(heard)),
        }
    }
}

/// The messages that a member heard, and those it was told are lost. Panics at a silent gap.
fn tally(bytes: &[u8]) -> (u64, u64) {
    let (mut heard, mut lost, mut next) = (0, 0, None);
    let (extended, mut state) = (codec::extended(), Default::default());
    for frame in frames(&extended, &mut state, bytes) {
        let event = Event::parse(frame.expect("a frame").payload);
        let mut pass = |seq: u64, count| {
            assert!(next.is_none_or(|next| next == seq), "a gap that was not reported");
            next = Some(seq + count);
        };
        match event {
            Ok(Event::Said(said)) => {
                pass(said.seq, 1);
                heard += 1;
            }
            Ok(Event::Presence { seq, .. }) => pass(seq, 1),
            Ok(Event::Lost { from, count, .. }) => {
                pass(from, count);
                lost += count;
            }
            _ => {}
        }
    }
    (heard, lost)
}

/// A file without a name.
fn scratch() -> Result<Box<dyn SpillFile>, SpillError> {
    struct Scratch(File);
    impl SpillFile for Scratch {
        fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), SpillError> {
            self.0.write_all_at(bytes, at).map_err(|_| SpillError)
        }
        fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), SpillError> {
            self.0.read_exact_at(into, at).map_err(|_| SpillError)
        }
    }
    let file = tempfile::tempfile().map_err(|_| SpillError)?;
    Ok(Box::new(Scratch(file)))
}

/// The most memory that this process had.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
