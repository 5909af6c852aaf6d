//! `drywire hub`: publish and subscribe.

mod publish;
mod subscribe;

use crate::address::Address;
use crate::{Failure, Verdict};
use core::net::SocketAddr;
use drywire::hub::codec::TOPIC_MAX;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Pub(publish::Args),
    Sub(subscribe::Args),
}

pub(crate) fn run(command: Command) -> Result<Verdict, Failure> {
    let runtime = crate::link::runtime()?;
    let result = match command {
        Command::Pub(args) => runtime.block_on(publish::run(&args)),
        Command::Sub(args) => runtime.block_on(subscribe::run(&args)),
    };
    // The thread that reads standard input may be in the middle of it.
    runtime.shutdown_background();
    result
}

fn tcp(address: &Address) -> Result<SocketAddr, Failure> {
    match address {
        Address::Tcp(addr) => Ok(*addr),
        Address::Unix(_) => Err(Failure::usage("the hub is over TCP: write HOST:PORT")),
    }
}

fn check_topic(topic: &str) -> Result<(), Failure> {
    if topic.len() > TOPIC_MAX || topic.contains(['\r', '\n']) {
        return Err(Failure::usage(format!(
            "the topic {topic:?}: a topic is one line of up to {TOPIC_MAX} bytes"
        )));
    }
    Ok(())
}
