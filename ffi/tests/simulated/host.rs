//! A C host as a node of the simulator: the shared library that `cc` made of a protocol and
//! `sim_host.c`, linked with the library under test.

use core::time::Duration;
use drywire::Tick;
use drywire_sim::decide::{Key, Site};
use drywire_sim::{Call, Ending, Io, LONGEST_JOB, LinkId, Node, Violation};
use libloading::{Library, Symbol};
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A C program, loaded. It is never unloaded.
#[derive(Debug)]
pub(crate) struct Program {
    library: Library,
}

impl Program {
    /// Compiles `sources` of this folder, with `flags`, against the header and the shared library
    /// of this build.
    pub(crate) fn compile(sources: &[&str], flags: &[&str]) -> &'static Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let made = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("simulated-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&made).unwrap();
        let library = made.join("libdrywire.so.0.1");
        std::fs::copy(under_test(), &library).unwrap();
        let out = made.join("program.so");
        let folder = here.join("tests/simulated");
        let done = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-std=c11", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"])
            .arg("-I")
            .arg(here.join("../include"))
            .args(flags)
            .args(sources.iter().map(|source| folder.join(source)))
            .arg(&library)
            .arg(format!("-Wl,-rpath,{}", made.display()))
            .arg("-o")
            .arg(&out)
            .output()
            .expect("a C compiler");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        // SAFETY: what it runs when it is loaded is this library's and libc's.
        let library = unsafe { Library::new(&out) }.unwrap();
        // The loader has them mapped.
        std::fs::remove_dir_all(&made).unwrap();
        Box::leak(Box::new(Self { library }))
    }

    fn call<F>(&self, name: &str) -> Symbol<'_, F> {
        // SAFETY: the types below are those of `sim_host.h`.
        unsafe { self.library.get(name) }.unwrap()
    }

    /// A server with these settings: which of its lives this is, and a number for the checkers, go
    /// into its transcripts.
    pub(crate) fn start(&'static self, settings: &[u64], life: u32, remark: u64) -> CHost {
        let new = self.call::<unsafe extern "C" fn(*const u64) -> *mut c_void>("sim_host_new");
        // SAFETY: as the header has it.
        let host = unsafe { new(settings.as_ptr()) };
        assert!(!host.is_null(), "the protocol refuses {settings:?}");
        CHost {
            host,
            free: *self.call("sim_host_free"),
            event: *self.call("sim_host_event"),
            deadline: *self.call("sim_host_deadline"),
            connections: *self.call("sim_host_connections"),
            standing: *self.call("sim_host_link"),
            books: Books::default(),
            life,
            remark,
            quick: 10_000,
        }
    }
}

/// The shared library, built as this test was: cargo does not build one for a test.
fn under_test() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let me = std::env::current_exe().unwrap();
        let profile = me.parent().and_then(Path::parent).expect("TARGET/PROFILE/deps/test");
        let name = match profile.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            name => name,
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--lib", "--profile", name, "--target-dir"])
            .arg(profile.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success(), "the library does not build");
        profile.join("libdrywire_ffi.so")
    })
}

/// A server behind the C interface, and its C host loop.
pub(crate) struct CHost {
    host: *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    event: unsafe extern "C" fn(*mut c_void, *const SimIo, u32, u32),
    deadline: unsafe extern "C" fn(*const c_void) -> u64,
    connections: unsafe extern "C" fn(*const c_void) -> u64,
    standing: unsafe extern "C" fn(*const c_void, u32, *mut Standing),
    books: Books,
    life: u32,
    remark: u64,
    /// What a quick job takes, in nanoseconds.
    quick: u64,
}

impl CHost {
    /// What a quick job takes.
    pub(crate) fn quick(mut self, quick: Duration) -> Self {
        self.quick = u64::try_from(quick.as_nanos()).expect("less than centuries");
        self
    }
}

/// What the host wrote down.
#[derive(Default)]
struct Books {
    watching: bool,
    /// Calls into the server that may have changed something.
    calls: u64,
    /// Pieces of work begun.
    jobs: u32,
}

/// `sim_standing`.
#[repr(C)]
#[derive(Default)]
struct Standing {
    held: u32,
    wants: u32,
    ending: u32,
    ended: u32,
    unsent: u64,
}

/// `drywire_iov`.
#[repr(C)]
struct Iov {
    base: *const u8,
    len: usize,
}

/// `sim_io`.
#[repr(C)]
struct SimIo {
    world: *mut c_void,
    now_ns: u64,
    watching: u32,
    reserved: u32,
    input: unsafe extern "C" fn(*mut c_void, u32, *mut usize) -> *const u8,
    take: unsafe extern "C" fn(*mut c_void, u32, usize),
    write: unsafe extern "C" fn(*mut c_void, u32, *const u8, usize) -> usize,
    finish: unsafe extern "C" fn(*mut c_void, u32),
    close: unsafe extern "C" fn(*mut c_void, u32),
    reset: unsafe extern "C" fn(*mut c_void, u32),
    again: unsafe extern "C" fn(*mut c_void, u32),
    way: unsafe extern "C" fn(*mut c_void, u32) -> u32,
    look: unsafe extern "C" fn(*mut c_void, u32, u64, u64, *const Iov, usize, u32),
    over: unsafe extern "C" fn(*mut c_void, u32),
    work: unsafe extern "C" fn(*mut c_void, u32),
    spins: unsafe extern "C" fn(*mut c_void),
}

const CAUGHT_UP: u32 = 1;
const ENDING: u32 = 2;
const TIMED_OUT: u32 = 4;

/// The `SIM_*` of what happens.
#[derive(Clone, Copy)]
enum What {
    Opened,
    Readable,
    Writable,
    Fin,
    Reset,
    TimedOut,
    Turn,
    Woke,
    Drain,
    Result,
}

/// What the C side is lent during one call.
struct World<'a, 'b> {
    io: &'a mut Io<'b>,
    books: &'a mut Books,
    life: u32,
    remark: u64,
    quick: u64,
}

// As drywire_sim's own host loop has it, so that the same seed makes the same decisions.
const FEED: Site = Site::new("serve.feed");
const WORK: Site = Site::new("c.work");
/// A slow job takes up to 2^16 times as long as a quick one, and `LONGEST_JOB` at most.
const DOUBLED: u64 = 16;
/// Turn tokens from here on are results of work.
const RESULTS: u32 = 1 << 31;

/// # Safety
/// `world` is the [`World`] of the call under way.
unsafe fn world<'a>(world: *mut c_void) -> &'a mut World<'a, 'a> {
    // SAFETY: promised by the caller.
    unsafe { &mut *world.cast() }
}

unsafe extern "C" fn input(w: *mut c_void, link: u32, len: *mut usize) -> *const u8 {
    // SAFETY: as `sim_host.c` keeps it: `w` is what it was lent, other pointers are valid. So below.
    unsafe {
        let bytes = world(w).io.input(LinkId(link));
        len.write(bytes.len());
        bytes.as_ptr()
    }
}

unsafe extern "C" fn take(w: *mut c_void, link: u32, n: usize) {
    // SAFETY: as above.
    unsafe { world(w) }.io.take(LinkId(link), n);
}

unsafe extern "C" fn write(w: *mut c_void, link: u32, data: *const u8, len: usize) -> usize {
    // SAFETY: as above.
    unsafe { world(w).io.write(LinkId(link), core::slice::from_raw_parts(data, len)) }
}

unsafe extern "C" fn finish(w: *mut c_void, link: u32) {
    // SAFETY: as above.
    unsafe { world(w) }.io.finish(LinkId(link));
}

unsafe extern "C" fn close(w: *mut c_void, link: u32) {
    // SAFETY: as above.
    unsafe { world(w) }.io.close(LinkId(link));
}

unsafe extern "C" fn reset(w: *mut c_void, link: u32) {
    // SAFETY: as above.
    unsafe { world(w) }.io.reset(LinkId(link));
}

unsafe extern "C" fn again(w: *mut c_void, link: u32) {
    // SAFETY: as above.
    unsafe { world(w) }.io.again(link);
}

unsafe extern "C" fn way(w: *mut c_void, link: u32) -> u32 {
    // SAFETY: as above.
    let io = &mut *unsafe { world(w) }.io;
    let key = io.key(LinkId(link));
    io.below(FEED, key, 2) as u32
}

unsafe extern "C" fn look(
    w: *mut c_void,
    link: u32,
    fed: u64,
    sent: u64,
    iov: *const Iov,
    n: usize,
    flags: u32,
) {
    // SAFETY: as above.
    let w = unsafe { world(w) };
    w.books.calls += 1;
    let (event, now, real) = (w.books.calls, w.io.now().0, w.io.real_now().0);
    let Some(transcript) = w.io.transcript(LinkId(link)) else { return };
    (transcript.life, transcript.remark) = (w.life, w.remark);
    let mut skip = (transcript.produced.len() as u64 - sent) as usize;
    // SAFETY: as above.
    for segment in unsafe { core::slice::from_raw_parts(iov, n) } {
        // SAFETY: as above.
        let bytes = unsafe { core::slice::from_raw_parts(segment.base, segment.len) };
        transcript.produced.extend_from_slice(bytes.get(skip..).unwrap_or(&[]));
        skip = skip.saturating_sub(bytes.len());
    }
    let produced = transcript.produced.len() as u64;
    let caught_up = flags & CAUGHT_UP != 0;
    transcript.calls.push(Call { event, now, real, fed, produced, sent, caught_up });
    if flags & ENDING != 0 {
        transcript.over.get_or_insert(now);
    }
    if flags & TIMED_OUT != 0 {
        transcript.timed_out.get_or_insert(now);
    }
}

unsafe extern "C" fn over(w: *mut c_void, link: u32) {
    // SAFETY: as above.
    let io = &mut *unsafe { world(w) }.io;
    let now = io.now().0;
    if let Some(transcript) = io.transcript(LinkId(link)) {
        transcript.over.get_or_insert(now);
    }
}

unsafe extern "C" fn work(w: *mut c_void, slot: u32) {
    // SAFETY: as above.
    let w = unsafe { world(w) };
    w.books.jobs += 1;
    let slow = w.io.decider().size(WORK, Key::of(u32::MAX, w.books.jobs), DOUBLED);
    let longest = u64::try_from(LONGEST_JOB.as_nanos()).expect("less than a second");
    w.io.turn_after((w.quick << slow).min(longest), RESULTS + slot);
}

unsafe extern "C" fn spins(w: *mut c_void) {
    // SAFETY: as above.
    unsafe { world(w) }.io.fail(Violation::new("live", "the host loop in C spins"));
}

impl CHost {
    fn tell(&mut self, io: &mut Io<'_>, what: What, link: LinkId) {
        let (now_ns, watching) = (io.now().0, u32::from(self.books.watching));
        let (life, remark, quick) = (self.life, self.remark, self.quick);
        let mut lent = World { io, books: &mut self.books, life, remark, quick };
        let world = (&raw mut lent).cast();
        let sim = SimIo {
            world,
            now_ns,
            watching,
            reserved: 0,
            input,
            take,
            write,
            finish,
            close,
            reset,
            again,
            way,
            look,
            over,
            work,
            spins,
        };
        // SAFETY: a live host; what it is lent outlives the call.
        unsafe { (self.event)(self.host, &sim, what as u32, link.0) };
    }

    fn standing(&self, link: LinkId) -> Standing {
        let mut standing = Standing::default();
        // SAFETY: a live host.
        unsafe { (self.standing)(self.host, link.0, &mut standing) };
        standing
    }
}

impl Node for CHost {
    fn start(&mut self, io: &mut Io<'_>) {
        self.books.watching = io.keeps_transcripts();
    }

    fn opened(&mut self, io: &mut Io<'_>, link: LinkId) {
        self.tell(io, What::Opened, link);
    }

    fn readable(&mut self, io: &mut Io<'_>, link: LinkId) {
        self.tell(io, What::Readable, link);
    }

    fn writable(&mut self, io: &mut Io<'_>, link: LinkId) {
        self.tell(io, What::Writable, link);
    }

    fn ended(&mut self, io: &mut Io<'_>, link: LinkId, how: Ending) {
        let what = match how {
            Ending::Fin => What::Fin,
            Ending::TimedOut => What::TimedOut,
            _ => What::Reset,
        };
        self.tell(io, what, link);
    }

    fn turn(&mut self, io: &mut Io<'_>, token: u32) {
        match token.checked_sub(RESULTS) {
            Some(slot) => self.tell(io, What::Result, LinkId(slot)),
            None => self.tell(io, What::Turn, LinkId(token)),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        // SAFETY: a live host.
        let at = unsafe { (self.deadline)(self.host) };
        (at != u64::MAX).then_some(Tick(at))
    }

    fn woke(&mut self, io: &mut Io<'_>) {
        self.tell(io, What::Woke, LinkId(u32::MAX));
    }

    fn drain(&mut self, io: &mut Io<'_>) {
        self.tell(io, What::Drain, LinkId(u32::MAX));
    }

    fn phase(&self, link: LinkId) -> &'static str {
        let standing = self.standing(link);
        match standing.held {
            0 => "closed",
            _ if standing.ending != 0 => "ending",
            _ if standing.unsent > 0 => "replying",
            _ => "idle",
        }
    }

    fn links(&self) -> usize {
        // SAFETY: a live host.
        unsafe { (self.connections)(self.host) as usize }
    }

    fn owes(&self, io: &Io<'_>) -> Option<String> {
        for link in (0..1 << 12).map(LinkId) {
            let standing = self.standing(link);
            if standing.held == 0 {
                continue;
            }
            let waiting = io.input(link).len();
            let place = format!("link {} wants {:#b}", link.0, standing.wants);
            if standing.ended != 0 {
                return Some(format!("{place}: the peer ended long ago, and it is still held"));
            }
            if standing.ending != 0 {
                return Some(format!("{place}: it has been ending for long, and is still held"));
            }
            if standing.unsent > 0 && io.room(link) > 0 {
                return Some(format!("{place}: output is owed and could be sent"));
            }
            if waiting > 0 && standing.unsent == 0 {
                return Some(format!("{place}: {waiting} bytes wait to be read"));
            }
        }
        None
    }
}

impl Drop for CHost {
    fn drop(&mut self) {
        // SAFETY: made by `sim_host_new`, freed once.
        unsafe { (self.free)(self.host) };
    }
}
