//! The chat and hub services: their options, and disk for slow receivers.

use super::{bridge, listen};
use crate::{Failure, units};
use drywire::conn::Limits;
use drywire::engine::Engine;
use drywire::fanout::{self, Fate, OpenSpill, SpillError, SpillFile};
use drywire::{chat, hub};
use drywire_mio::{Handle, Host, Listen};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[group(id = "fanout")]
#[command(next_help_heading = "Chat and hub")]
pub(super) struct Options {
    /// Serve chat here too: everyone in a room hears every message (docs/chat.md)
    #[arg(long, value_name = "HOST:PORT")]
    chat: Option<String>,
    /// Serve a hub here too: publish and subscribe by line (docs/hub.md)
    #[arg(long, value_name = "HOST:PORT")]
    hub: Option<String>,
    /// What becomes of receivers that are too slow: kick, drop-oldest, coalesce or spill; for the
    /// rooms or topics of a name (or, with a *, of a beginning): `scores/*=coalesce`. Repeat it;
    /// the first match counts, without one they are kicked
    #[arg(long, value_name = "[NAME=]FATE", value_parser = fate)]
    slow: Vec<(String, Fate)>,
    /// Memory for what rooms and topics keep, on each thread
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = units::size)]
    fanout_memory: u64,
    /// Memory of one room or topic: its history, and how far a receiver may be behind
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = units::size)]
    topic_memory: u64,
    /// Rooms or topics at most
    #[arg(long, value_name = "N", default_value = "4096", value_parser = units::count)]
    topics: u64,
    /// Where receivers spill to
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    spill_dir: PathBuf,
    /// Disk for each receiver that spills
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = units::size)]
    spill_size: u64,
    #[command(flatten)]
    bridge: bridge::Options,
}

/// What was added to a host.
pub(super) struct Added {
    pub(super) places: Vec<Place>,
    bridge: bridge::Options,
    process: u64,
    mail: Vec<bridge::Mail>,
}

impl Added {
    /// Links the services to other servers, if that is wanted. Before the host runs.
    pub(super) fn link(&mut self, handle: &Handle) -> Result<(), Failure> {
        self.bridge.start(handle, self.process, core::mem::take(&mut self.mail))
    }
}

/// A service and where it listens.
pub(super) struct Place {
    pub(super) service: &'static str,
    pub(super) listen: Vec<Listen>,
}

impl Options {
    pub(super) fn is_wanted(&self) -> bool {
        self.chat.is_some() || self.hub.is_some()
    }

    /// Adds the services to a host with so many connections, which hold `total` bytes at most.
    pub(super) fn serve(
        &self,
        host: Host,
        conns: u32,
        total: usize,
    ) -> Result<(Host, Added), Failure> {
        let config = self.config(&host)?;
        let (process, bridge) = (config.process, self.bridge.clone());
        let (mut host, mut places, mut all_mail) = (host, Vec::new(), Vec::new());
        if let Some(text) = &self.chat {
            let listen = listen::at("--chat", text).map_err(Failure::usage)?;
            let config = config.clone();
            host = host.serve(listen.clone(), move || {
                let shared = chat::Shared::new(chat::Config::default(), config.clone());
                let limits = Limits { total, ..chat::limits() };
                Engine::<chat::Server>::new(shared, limits, conns as usize)
            });
            if self.bridge.is_wanted() {
                let (carry, mail) = bridge::mail("chat", host.services() - 1, chat::codec::redraft);
                host = host.beside(carry);
                all_mail.push(mail);
            }
            places.push(Place { service: "chat", listen });
        }
        if let Some(text) = &self.hub {
            let listen = listen::at("--hub", text).map_err(Failure::usage)?;
            host = host.serve(listen.clone(), move || {
                let shared = hub::Shared::new(config.clone());
                let limits = Limits { total, ..hub::limits() };
                Engine::<hub::Server>::new(shared, limits, conns as usize)
            });
            if self.bridge.is_wanted() {
                let (carry, mail) = bridge::mail("hub", host.services() - 1, hub::codec::redraft);
                host = host.beside(carry);
                all_mail.push(mail);
            }
            places.push(Place { service: "hub", listen });
        }
        Ok((host, Added { places, bridge, process, mail: all_mail }))
    }

    fn config(&self, host: &Host) -> Result<fanout::Config, Failure> {
        let spills = self.slow.iter().any(|(_, fate)| *fate == Fate::Spill);
        let spill = spills.then(|| disk(&self.spill_dir)).transpose()?;
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let unix_ms = u64::try_from(host.clock().unix_start().as_millis()).unwrap_or(0);
        let fates = self.slow.iter().map(|(name, fate)| (name.as_bytes().into(), *fate)).collect();
        Ok(fanout::Config {
            fates,
            total_bytes: bytes(self.fanout_memory),
            log_bytes: bytes(self.topic_memory),
            topics: bytes(self.topics),
            spill,
            spill_bytes: self.spill_size,
            unix_ms,
            bridged: self.bridge.is_wanted(),
            process: if self.bridge.is_wanted() { fastrand::u64(1..) } else { 0 },
            ..fanout::Config::default()
        })
    }
}

/// Files without a name: the system takes them back whatever happens to this process.
struct Scratch(File);

impl SpillFile for Scratch {
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), SpillError> {
        self.0.write_all_at(bytes, at).map_err(|_| SpillError)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), SpillError> {
        self.0.read_exact_at(into, at).map_err(|_| SpillError)
    }
}

fn disk(dir: &Path) -> Result<OpenSpill, Failure> {
    // Found out now, not when the first receiver is slow.
    tempfile::tempfile_in(dir)
        .map_err(|error| Failure::usage(format!("--spill-dir {}: {error}", dir.display())))?;
    let dir = dir.to_owned();
    Ok(OpenSpill::new(move || {
        let file = tempfile::tempfile_in(&dir).map_err(|_| SpillError)?;
        Ok(Box::new(Scratch(file)) as Box<dyn SpillFile>)
    }))
}

fn fate(text: &str) -> Result<(String, Fate), String> {
    let (name, fate) = text.rsplit_once('=').unwrap_or(("*", text));
    let fate = match fate {
        "kick" => Fate::Kick,
        "drop-oldest" => Fate::DropOldest,
        "coalesce" => Fate::Coalesce,
        "spill" => Fate::Spill,
        _ => {
            return Err(format!(
                "`{fate}` is no fate: allowed are kick, drop-oldest, coalesce and spill"
            ));
        }
    };
    Ok((name.to_owned(), fate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fate_is_for_all_or_for_a_name() {
        assert_eq!(fate("spill"), Ok(("*".into(), Fate::Spill)));
        assert_eq!(fate("scores/*=coalesce"), Ok(("scores/*".into(), Fate::Coalesce)));
        assert_eq!(fate("a=b=kick"), Ok(("a=b".into(), Fate::Kick)));
        assert!(fate("a=banish").is_err_and(|e| e.contains("drop-oldest")));
    }

    #[test]
    fn scratch_files_hold_what_was_written() {
        let mut file = Scratch(tempfile::tempfile().unwrap());
        file.write(10, b"hello").unwrap();
        let mut into = [0; 4];
        file.read(11, &mut into).unwrap();
        assert_eq!(&into, b"ello");
        assert_eq!(file.read(12, &mut into), Err(SpillError));
    }
}
