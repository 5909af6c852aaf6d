//! Where to listen: memcached's `-l`, `-p`, `-s` and `-a`.

use crate::Failure;
use core::net::{IpAddr, SocketAddr};
use drywire_mio::Listen;
use std::net::{ToSocketAddrs, UdpSocket};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Places {
    /// Address to listen on: HOST or HOST:PORT, IPv6 as `[::1]:PORT`; repeat it or use commas
    /// [default: 127.0.0.1, without -s]
    #[arg(short = 'l', long = "listen", value_name = "ADDR", value_delimiter = ',')]
    addrs: Vec<String>,
    /// TCP port for addresses without one; 0 takes any free port [default: 11211]
    #[arg(short = 'p', long, value_name = "PORT")]
    port: Option<u16>,
    /// Unix socket to listen on; no TCP then, unless -l or -p asks for it
    #[arg(short = 's', long, value_name = "PATH")]
    unix_socket: Option<PathBuf>,
    /// Who may connect to the unix socket: permission bits, octal
    #[arg(short = 'a', long, value_name = "MASK", default_value = "0700", value_parser = mask)]
    unix_mask: u32,
}

const PORT: u16 = 11211;

impl Places {
    /// All places to listen on, each once.
    pub(super) fn resolve(&self) -> Result<Vec<Listen>, Failure> {
        let port = self.port.unwrap_or(PORT);
        let mut places: Vec<Listen> = Vec::new();
        let default = ["127.0.0.1".to_owned()];
        let alone = self.unix_socket.is_some() && self.port.is_none();
        let addrs = if self.addrs.is_empty() && !alone { &default[..] } else { &self.addrs };
        for text in addrs {
            for addr in resolve(text, port).map_err(Failure::usage)? {
                let place = Listen::tcp(addr);
                if addr.port() == 0 || !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        places.extend(self.unix_socket.iter().map(|path| Listen::unix(path, self.unix_mask)));
        Ok(places)
    }
}

/// The addresses of `HOST:PORT`, given with `flag`.
pub(super) fn at(flag: &str, text: &str) -> Result<Vec<Listen>, String> {
    let wrong =
        || format!("{flag} {text}: not an address; write HOST:PORT, such as 127.0.0.1:4000");
    if text.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Err(wrong());
    }
    let found = resolve(text, 0).map_err(|_| wrong())?;
    Ok(found.into_iter().map(Listen::tcp).collect())
}

/// The addresses of `HOST[:PORT]`. A name may have several; those that this machine lacks (an
/// IPv6 localhost where there is no IPv6) are left out if others remain.
fn resolve(text: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let wrong = || {
        format!(
            "-l {text}: not an address; write HOST or HOST:PORT, such as 127.0.0.1, 0.0.0.0:11212 or [::1]:11211"
        )
    };
    if text.is_empty() {
        return Err(wrong());
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if let Ok(addr) = text.parse() {
        return Ok(vec![addr]);
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().map_err(|_| wrong())?),
        None => (text, port),
    };
    let found = (name, port).to_socket_addrs().map_err(|error| format!("{} ({error})", wrong()))?;
    let mut found: Vec<_> = found.collect();
    if found.iter().any(|addr| is_here(addr.ip())) {
        found.retain(|addr| is_here(addr.ip()));
    }
    Ok(found)
}

fn is_here(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

fn mask(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777).ok_or_else(|| {
        format!("`{text}` is not a mask: write permission bits in octal, such as 0700 or 770")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        places: Places,
    }

    fn places(line: &str) -> Result<Vec<String>, String> {
        let words = ["serve"].into_iter().chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|e| e.to_string())?;
        let places = cli.places.resolve().map_err(|f| f.message)?;
        Ok(places.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn memcacheds_ways_to_say_where() {
        for (line, expected) in [
            ("", &["127.0.0.1:11211"][..]),
            ("-p 4000", &["127.0.0.1:4000"]),
            ("-l 0.0.0.0 -p 4000", &["0.0.0.0:4000"]),
            ("-l 127.0.0.1,127.0.0.2:5 -p 4", &["127.0.0.1:4", "127.0.0.2:5"]),
            ("-l 127.0.0.1 -l 127.0.0.1:11211", &["127.0.0.1:11211"]),
            ("-l 127.0.0.1:0 -l 127.0.0.1:0", &["127.0.0.1:0", "127.0.0.1:0"]),
            ("-l ::1 -l [::1]:5 -l [::1]", &["[::1]:11211", "[::1]:5"]),
            ("-s /run/x", &["/run/x"]),
            ("-s /run/x -p 11211", &["127.0.0.1:11211", "/run/x"]),
            ("-s /run/x -l 127.0.0.3", &["127.0.0.3:11211", "/run/x"]),
        ] {
            let expected = expected.iter().map(ToString::to_string).collect();
            assert_eq!(places(line), Ok(expected), "{line}");
        }
        assert!(places("-l localhost").unwrap().contains(&"127.0.0.1:11211".into()));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_right() {
        for (line, part) in [
            ("-l 127.0.0.1:x", "-l 127.0.0.1:x"),
            ("-l ,", "HOST:PORT"),
            ("-p 70000", "70000"),
            ("-a 888", "octal"),
            ("-a 1777", "octal"),
        ] {
            let error = places(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
