//! Where to listen, and the listening sockets.

use drywire::conn::Peer;
use mio::event::Source;
use mio::net::{TcpListener, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Connections that the kernel may hold for us before they are accepted; it cuts this down to
/// its own limit (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Listen {
    /// A TCP address; port 0 takes any free port. `[::]` does not include IPv4.
    Tcp(SocketAddr),
    /// A unix socket. A socket file that nobody listens on is replaced; anything else in its
    /// place is an error. The file is removed at the end.
    Unix {
        /// The socket file.
        path: PathBuf,
        /// Its permission bits: who may connect. From the first moment on.
        mode: u32,
    },
}

impl Listen {
    /// A TCP address.
    #[must_use]
    pub fn tcp(addr: impl Into<SocketAddr>) -> Self {
        Self::Tcp(addr.into())
    }

    /// A unix socket with permission bits `mode`, such as `0o700`.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>, mode: u32) -> Self {
        Self::Unix { path: path.into(), mode }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

/// A bound socket. Dropping it closes it and removes its file.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] SocketFile),
}

impl Listener {
    pub(crate) fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(addr) => {
                let socket = Socket::new(Domain::for_address(*addr), Type::STREAM, None)?;
                socket.set_nonblocking(true)?;
                // A restart must not wait for the old connections' TIME_WAIT.
                socket.set_reuse_address(true)?;
                if addr.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                socket.bind(&SockAddr::from(*addr))?;
                socket.listen(BACKLOG)?;
                Ok(Self::Tcp(TcpListener::from(OwnedFd::from(socket))))
            }
            Listen::Unix { path, mode } => {
                remove_stale(path)?;
                // The file's mode follows the socket's (unix(7), Linux): never wider than asked,
                // whatever the umask; afterwards exactly what was asked.
                let file =
                    File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
                file.set_permissions(Permissions::from_mode(*mode))?;
                let socket = Socket::from(OwnedFd::from(file));
                socket.set_nonblocking(true)?;
                socket.bind(&SockAddr::unix(path)?)?;
                let file = SocketFile { path: path.clone(), identity: identity(path)? };
                fs::set_permissions(path, Permissions::from_mode(*mode))?;
                socket.listen(BACKLOG)?;
                Ok(Self::Unix(UnixListener::from(OwnedFd::from(socket)), file))
            }
        }
    }

    pub(crate) fn tcp_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Self::Unix(listener, _) => listener.register(registry, token, Interest::READABLE),
        }
    }

    /// The next connection, not blocking and ready to be served.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, addr) = listener.accept()?;
                let socket = Socket::from(OwnedFd::from(stream));
                // Fails only for a peer that is gone already, which the first read tells.
                let _ = socket.set_tcp_nodelay(true);
                Ok((socket, Peer::Tcp(addr)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::from(OwnedFd::from(stream)), Peer::Unix))
            }
        }
    }
}

/// A socket file that is ours to remove, unless someone has put another in its place.
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Removes a socket file that nobody listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            Err(io::Error::new(ErrorKind::AlreadyExists, "a file that is no socket is there"))
        }
        // Without blocking: a live server with a full backlog says "would block".
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Err(io::Error::new(ErrorKind::AddrInUse, "another server listens there")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
