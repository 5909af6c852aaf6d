//! A proxy that does harm: between callers and a server on real sockets, without privileges.
//!
//! Each caller has a [`Front`] of its own, so that faults can be aimed. One piece at a time is
//! under way in each direction, so that latency also limits the rate.
//!
//! Ends are passed on as they come: what was read first is written first, an end of one direction
//! leaves the other one open, and a reset of either side resets the other. A side that can no longer
//! be written to is still heard: a server that has said its last words has closed its input.

use crate::plan::{Nemesis, Toward};
use core::time::Duration;
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::{Rc, Weak};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// Where the server is now, and in which of its lives; `None` while it is down.
pub(super) type Upstream = Rc<Cell<Option<(SocketAddr, u32)>>>;

/// One caller's way to the server.
pub(super) struct Front {
    upstream: Upstream,
    weather: RefCell<Weather>,
    lines: RefCell<Vec<Weak<Line>>>,
    /// The life of the server that each connection reached, by the caller's port.
    lives: RefCell<BTreeMap<u16, u32>>,
    chance: RefCell<u64>,
}

#[derive(Clone, Copy, Default)]
struct Weather {
    least: Duration,
    most: Duration,
    /// 0 for no limit, each.
    cut: usize,
    rate: u64,
    narrow: usize,
    /// What callers and what the server write gets through from then on.
    dark_until: [Option<Instant>; 2],
}

/// A connection.
struct Line {
    passed: [Cell<u64>; 2],
    reset_at: [Cell<u64>; 2],
    kill: Notify,
}

/// The connection is to be reset on both sides.
struct Broken;

impl Front {
    /// Listens; the address is what its caller connects to.
    pub(super) async fn open(upstream: Upstream, seed: u64) -> io::Result<(Rc<Self>, SocketAddr)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let front = Rc::new(Self {
            upstream,
            weather: RefCell::default(),
            lines: RefCell::default(),
            lives: RefCell::default(),
            chance: RefCell::new(seed | 1),
        });
        let serving = Rc::clone(&front);
        tokio::task::spawn_local(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        let front = Rc::clone(&serving);
                        tokio::task::spawn_local(front.line(stream, peer.port()));
                    }
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        });
        Ok((front, address))
    }

    /// A strike on this caller's connections.
    pub(super) fn strike(&self, nemesis: Nemesis) {
        let mut weather = self.weather.borrow_mut();
        let mut dark = |writers: &[usize], lasts| {
            for writer in writers {
                let until = &mut weather.dark_until[*writer];
                *until = (*until).max(Some(Instant::now() + lasts));
            }
        };
        match nemesis {
            Nemesis::Hold { lasts }
            | Nemesis::Partition { lasts }
            | Nemesis::PowerLoss { lasts } => dark(&[0, 1], lasts),
            Nemesis::Hole { toward, lasts } => dark(&[toward.writer()], lasts),
            Nemesis::Latency { least, most } => (weather.least, weather.most) = (least, most),
            Nemesis::Cut { bytes } => weather.cut = bytes,
            Nemesis::Thin { rate } => weather.rate = rate,
            Nemesis::Narrow { bytes } => weather.narrow = bytes,
            Nemesis::Reset { toward, byte } => self.reset_after(toward, byte),
            _ => {}
        }
    }

    /// Resets all connections.
    pub(super) fn kill(&self) {
        for line in self.lines.borrow_mut().drain(..).filter_map(|line| line.upgrade()) {
            line.kill.notify_one();
        }
    }

    /// The life of the server that the connection from `port` reached, if it reached one.
    pub(super) fn life(&self, port: u16) -> Option<u32> {
        self.lives.borrow().get(&port).copied()
    }

    fn reset_after(&self, toward: Toward, byte: u64) {
        for line in self.lines.borrow().iter().filter_map(Weak::upgrade) {
            let writer = toward.writer();
            line.reset_at[writer].set(line.passed[writer].get().saturating_add(byte));
        }
    }

    /// Serves one connection until it is over.
    async fn line(self: Rc<Self>, mut caller: TcpStream, port: u16) {
        let line = Rc::new(Line {
            passed: [Cell::new(0), Cell::new(0)],
            reset_at: [Cell::new(u64::MAX), Cell::new(u64::MAX)],
            kill: Notify::new(),
        });
        self.lines.borrow_mut().push(Rc::downgrade(&line));
        let narrow = self.weather.borrow().narrow;
        if narrow > 0 {
            let socket = SockRef::from(&caller);
            let _ = socket.set_recv_buffer_size(narrow);
            let _ = socket.set_send_buffer_size(narrow);
        }
        self.light(0).await;
        self.light(1).await;
        let Ok(mut server) = self.dial(port, narrow).await else {
            let _ = caller.set_zero_linger();
            return;
        };
        let _ = caller.set_nodelay(true);
        let (to_server, to_caller) = (caller.split(), server.split());
        let ((hear_caller, tell_caller), (hear_server, tell_server)) = (to_server, to_caller);
        let pumps = async {
            tokio::try_join!(
                self.pump(&line, 0, hear_caller, tell_server),
                self.pump(&line, 1, hear_server, tell_caller),
            )
        };
        let broken = tokio::select! {
            ended = pumps => ended.is_err(),
            () = line.kill.notified() => true,
        };
        if broken {
            // One that its peer has reset already needs no reset.
            let _ = caller.set_zero_linger();
            let _ = server.set_zero_linger();
        }
    }

    async fn dial(&self, port: u16, narrow: usize) -> io::Result<TcpStream> {
        let down = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let (address, life) = self.upstream.get().ok_or_else(down)?;
        let socket = TcpSocket::new_v4()?;
        if narrow > 0 {
            let bytes = u32::try_from(narrow).unwrap_or(u32::MAX);
            socket.set_recv_buffer_size(bytes)?;
            socket.set_send_buffer_size(bytes)?;
        }
        let server = socket.connect(address).await?;
        server.set_nodelay(true)?;
        self.lives.borrow_mut().insert(port, life);
        Ok(server)
    }

    /// Carries what end `writer` writes.
    async fn pump(
        &self,
        line: &Line,
        writer: usize,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> Result<(), Broken> {
        let mut buf = vec![0; 16 << 10];
        loop {
            self.light(writer).await;
            let n = from.read(&mut buf).await.map_err(|_| Broken)?;
            let weather = *self.weather.borrow();
            let delay = self.between(weather.least, weather.most);
            if !delay.is_zero() {
                sleep(delay).await;
            }
            self.light(writer).await;
            if n == 0 {
                // One that is gone needs no end.
                let _ = to.shutdown().await;
                return Ok(());
            }
            let left = line.reset_at[writer].get().saturating_sub(line.passed[writer].get());
            let whole = usize::try_from(left).is_ok_and(|left| left < n);
            let n = n.min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = if weather.cut == 0 { n.max(1) } else { weather.cut };
            for part in buf[..n].chunks(piece) {
                if to.write_all(part).await.is_err() {
                    return discard(from, buf).await;
                }
                line.passed[writer].set(line.passed[writer].get() + part.len() as u64);
                if weather.cut > 0 {
                    // The reader gets a chance to see the piece alone.
                    tokio::task::yield_now().await;
                }
            }
            if whole {
                return Err(Broken);
            }
            if weather.rate > 0 {
                sleep(Duration::from_secs_f64(n as f64 / weather.rate as f64)).await;
            }
        }
    }

    /// Waits until what `writer` writes gets through.
    async fn light(&self, writer: usize) {
        loop {
            let until = self.weather.borrow().dark_until[writer];
            match until {
                Some(until) if Instant::now() < until => sleep_until(until).await,
                _ => return,
            }
        }
    }

    fn between(&self, least: Duration, most: Duration) -> Duration {
        let mut chance = self.chance.borrow_mut();
        *chance = crate::decide::mix(*chance);
        let part = (*chance >> 11) as f64 / (1_u64 << 53) as f64;
        least + most.saturating_sub(least).mul_f64(part)
    }
}

/// The other side takes nothing any more; this one may still be writing.
async fn discard(mut from: ReadHalf<'_>, mut buf: Vec<u8>) -> Result<(), Broken> {
    while from.read(&mut buf).await.map_err(|_| Broken)? > 0 {}
    Ok(())
}
