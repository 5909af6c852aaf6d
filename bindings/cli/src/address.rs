//! Where a server is: `HOST:PORT` or the path of a unix socket.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;
use std::net::ToSocketAddrs;
use std::path::PathBuf;

/// A TCP address or a unix socket. Parsed from `127.0.0.1:11211`, `localhost:11211`,
/// `[::1]:11211`, `/run/drywire.sock` or `unix:drywire.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        let wrong = || {
            format!(
                "`{text}` is not an address: write HOST:PORT such as 127.0.0.1:11211, or the path of a unix socket"
            )
        };
        let mut resolved =
            text.to_socket_addrs().map_err(|error| format!("{} ({error})", wrong()))?;
        resolved.next().map(Self::Tcp).ok_or_else(wrong)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tcp_or_paths() {
        assert_eq!("127.0.0.1:1".parse(), Ok(Address::Tcp(([127, 0, 0, 1], 1).into())));
        assert!(matches!("[::1]:11211".parse(), Ok(Address::Tcp(a)) if a.is_ipv6()));
        assert_eq!("/run/x.sock".parse(), Ok(Address::Unix("/run/x.sock".into())));
        assert_eq!("unix:x.sock".parse(), Ok(Address::Unix("x.sock".into())));
    }

    #[test]
    fn a_wrong_address_is_named_with_what_is_allowed() {
        for text in ["", "11211", "127.0.0.1", "127.0.0.1:99999"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains("HOST:PORT") && error.contains(text), "{error}");
        }
    }
}
