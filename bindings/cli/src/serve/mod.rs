//! `drywire serve`: the services, on one host.

mod bridge;
mod fanout;
mod limits;
mod listen;
mod log;
mod memcached;
mod sudoku;

use crate::{Failure, Verdict, units};
use core::time::Duration;
use drywire::conn::HostSettings;
use drywire_mio::{Ended, Host, HostError, Listen, Server};
use log::Log;
use std::io::{self, ErrorKind, Write};

/// Serve memcached (the classic text protocol of 1.6.45) until SIGINT or SIGTERM.
///
/// Without arguments: on 127.0.0.1:11211, with 64 MiB for items and 1024 connections. Short
/// options are memcached's own. A port of 0 takes any free port; what is listened on is printed.
///
/// The first signal closes the listeners and lets connections finish what they are owed, for at
/// most --grace; a second one ends at once. SIGUSR1 announces the end to clients that ask (sudoku:
/// `pong draining`) and stops when they have left, so that a restart loses nothing.
///
/// Exit codes: 0 stopped in order, 1 could not serve (a port in use), 2 wrong command line.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  drywire serve                              memcached on 127.0.0.1:11211
  drywire serve -m 1G -t 4 -l 0.0.0.0        one gibibyte, four threads, all IPv4 addresses
  drywire serve -l 127.0.0.1 -l [::1]:11212  two addresses
  drywire serve -s /run/drywire.sock -a 770  a unix socket for user and group, no TCP
  drywire serve --chat 127.0.0.1:4000        chat beside memcached
  drywire serve --no-memcache --hub 127.0.0.1:4001 --slow 'scores/*=coalesce'
                                             a hub whose score boards skip to the latest value
  drywire serve --no-memcache --sudoku 127.0.0.1:9981 -t 1 --workers 0
                                             sudoku alone, all on one thread")]
pub(crate) struct Args {
    #[command(flatten)]
    places: listen::Places,
    #[command(flatten)]
    memcached: memcached::Options,
    /// Leave memcached out
    #[arg(long)]
    no_memcache: bool,
    #[command(flatten)]
    fanout: fanout::Options,
    #[command(flatten)]
    sudoku: sudoku::Options,
    #[command(flatten)]
    limits: limits::Options,
    /// Connections at a time; more are told so and closed
    #[arg(short = 'c', long, value_name = "N", default_value = "1024", value_parser = conns)]
    conn_limit: u32,
    /// Threads that serve [default: one for each core, at most 4]
    #[arg(short = 't', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// How long connections may take to finish after a stop
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::time)]
    grace: Duration,
    /// On SIGUSR1: how long to serve on while clients are told, before stopping; less once all
    /// have left
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::time)]
    announce: Duration,
    /// Log connections and why they end; twice: each read and write
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Not here: runs in the foreground
    #[arg(short = 'd', long, hide = true)]
    daemon: bool,
    /// Not here: runs as whoever starts it
    #[arg(short = 'u', long, hide = true, value_name = "USER")]
    user: Option<String>,
    /// UDP is not served; 0 is accepted because scripts pass it
    #[arg(short = 'U', long, hide = true, value_name = "PORT")]
    udp_port: Option<u16>,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failure> {
    args.check()?;
    let listen = if args.no_memcache { Vec::new() } else { args.places.resolve()? };
    allow_descriptors(args.conn_limit)?;
    let threads = args.threads();
    let log = Log::new(args.verbose);
    let host = Host::new()
        .threads(threads)
        .workers(args.sudoku.workers())
        .max_conns(args.conn_limit as usize)
        .grace(args.grace)
        .announce(args.announce)
        .stop_on_signals()
        .observe(move |event| log.event(&event));
    let host = if args.verbose > 1 { host.trace() } else { host };
    let (conns, limits) = (args.conn_limit, args.limits.limits());
    let told = HostSettings {
        threads: threads as u32,
        workers: args.sudoku.workers() as u32,
        max_connections: conns,
        grace: args.grace,
        announce: args.announce,
    };
    let host = match args.no_memcache {
        true => host,
        false => args.memcached.serve(host, &listen, told, limits)?,
    };
    let (host, mut added) = args.fanout.serve(host, conns, limits.total)?;
    added.places.extend(args.sudoku.place());
    let host = args.sudoku.serve(host, told, limits);
    let server = host.bind().map_err(|error| explain(&error))?;
    added.link(&server.handle())?;
    // Whoever waits for the first line can connect by now; nobody has to read it.
    let _ = args.announce(&listen, &added.places, &server, threads);
    let Ended { cut } = server.run().map_err(Failure::system)?;
    if cut > 0 {
        eprintln!("drywire: {cut} connections were cut off before they took all they were owed");
    }
    Ok(Verdict::Good)
}

impl Args {
    fn check(&self) -> Result<(), Failure> {
        if self.daemon {
            return Err(Failure::usage(
                "-d: drywire stays in the foreground; let systemd run it, or append `&`",
            ));
        }
        if self.user.is_some() {
            return Err(Failure::usage(
                "-u: drywire runs as whoever starts it; use systemd's User= or `runuser -u USER`",
            ));
        }
        if self.udp_port.is_some_and(|port| port != 0) {
            return Err(Failure::usage("-U: UDP is not served; leave it out or pass 0"));
        }
        if self.no_memcache && !self.fanout.is_wanted() && self.sudoku.place().is_none() {
            return Err(Failure::usage(
                "--no-memcache leaves nothing to serve: add --chat, --hub or --sudoku HOST:PORT",
            ));
        }
        Ok(())
    }

    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
        self.threads.map_or_else(cores, usize::from)
    }

    fn announce(
        &self,
        listen: &[Listen],
        others: &[fanout::Place],
        server: &Server,
        threads: usize,
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let mut ports = server.tcp_addrs().iter();
        let mut try_it = None;
        for listen in listen {
            let (place, line) = match (listen, ports.as_slice().first()) {
                (Listen::Tcp(_), Some(addr)) => {
                    ports.next();
                    let ip = match addr.ip() {
                        ip if ip.is_unspecified() && ip.is_ipv4() => "127.0.0.1".into(),
                        ip if ip.is_unspecified() => "::1".into(),
                        ip => ip.to_string(),
                    };
                    (addr.to_string(), bash_line(&ip, addr.port()))
                }
                _ => (listen.to_string(), format!("printf '{TRY_IT}' | nc -U {listen}")),
            };
            writeln!(out, "memcached on {place}")?;
            try_it.get_or_insert(line);
        }
        for fanout::Place { service, listen } in others {
            for (_, addr) in listen.iter().zip(&mut ports) {
                writeln!(out, "{service} on {addr}")?;
            }
        }
        let conns = self.conn_limit;
        if !self.no_memcache {
            write!(out, "{}, ", self.memcached)?;
        }
        writeln!(out, "{conns} connections, threads: {threads}")?;
        if let Some(line) = try_it {
            writeln!(out, "try it: {line}")?;
        }
        out.flush()
    }
}

/// What the line to try says.
const TRY_IT: &str = r"set k 0 0 5\r\nhello\r\nget k\r\nquit\r\n";

/// A line for bash, which reaches TCP by itself: a fresh Debian has no netcat.
fn bash_line(ip: &str, port: u16) -> String {
    format!("(exec 3<>/dev/tcp/{ip}/{port}; printf '{TRY_IT}' >&3; cat <&3)")
}

/// Descriptors beside those of connections: listeners, event queues, the refused, the spare.
const OTHER_DESCRIPTORS: u64 = 256;

/// Raises the soft limit on descriptors as far as it has to be, or says how to.
fn allow_descriptors(conns: u32) -> Result<(), Failure> {
    let needed = u64::from(conns) + OTHER_DESCRIPTORS;
    let (soft, _) = rlimit::Resource::NOFILE.get().map_err(Failure::system)?;
    if soft >= needed {
        return Ok(());
    }
    let allowed = rlimit::increase_nofile_limit(needed).map_err(Failure::system)?;
    if allowed < needed {
        return Err(Failure::usage(format!(
            "-c {conns} needs {needed} file descriptors and {allowed} are allowed: raise the limit (`ulimit -Hn {needed}`, systemd's LimitNOFILE=) or lower -c to {}",
            allowed.saturating_sub(OTHER_DESCRIPTORS)
        )));
    }
    Ok(())
}

/// What to do about a listener that cannot be had.
fn explain(error: &HostError) -> Failure {
    let HostError::Listen { listen, source } = error else { return Failure::system(error) };
    let advice = match (listen, source.kind()) {
        (Listen::Tcp(_), ErrorKind::AddrInUse) => {
            "the port is in use: stop what listens there (`ss -ltnp` names it), or choose another port with -p".into()
        }
        (Listen::Tcp(_), ErrorKind::PermissionDenied) => {
            "no right to take this port: those below 1024 are for root, choose another with -p".into()
        }
        (Listen::Tcp(_), ErrorKind::AddrNotAvailable) => {
            "this machine has no such address: see `ip addr`, choose another with -l".into()
        }
        (Listen::Unix { .. }, ErrorKind::AddrInUse) => {
            "another server listens on this socket: stop it, or choose another path with -s".into()
        }
        (Listen::Unix { .. }, ErrorKind::AlreadyExists) => {
            "a file that is no socket is in the way: remove it, or choose another path with -s".into()
        }
        (Listen::Unix { path, .. }, ErrorKind::NotFound) => {
            let dir = path.parent().unwrap_or(path).display();
            format!("the directory {dir} does not exist: `mkdir -p {dir}`, or choose another path with -s")
        }
        (Listen::Unix { .. }, ErrorKind::PermissionDenied) => {
            "no right to make a socket there: choose another path with -s".into()
        }
        (Listen::Unix { .. }, ErrorKind::InvalidInput) => {
            "the path is longer than a socket's may be: choose a shorter one with -s".into()
        }
        _ => source.to_string(),
    };
    Failure::system(format!("cannot listen on {listen}: {advice}"))
}

fn conns(text: &str) -> Result<u32, String> {
    let n = units::count(text)?;
    u32::try_from(n)
        .ok()
        .filter(|n| (1..=10_000_000).contains(n))
        .ok_or_else(|| format!("`{text}` connections: allowed are 1 to 10M"))
}
