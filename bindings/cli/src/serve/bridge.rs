//! Rooms and topics that several servers share, by way of a NATS server with JetStream.
//!
//! JetStream keeps one log of what is said, in one order, and says it to every server: plain NATS
//! promises no order across publishers. The rules are [`drywire::fanout::Bridge`]'s; here is what
//! carries them out, one thread beside the loops, which never wait for it.

use crate::{Failure, units};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::stream::{self, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use core::time::Duration;
use drywire::engine::Letter;
use drywire::fanout::{Bridge, Outgoing, Redraft};
use drywire_mio::Handle;
use std::fmt::Display;
use std::io::Write;
use std::thread;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt;

#[derive(Clone, clap::Args)]
#[group(id = "bridge-options")]
#[command(next_help_heading = "Chat and hub on several servers")]
pub(super) struct Options {
    /// Share rooms and topics with other servers, by way of a NATS server with JetStream
    /// (`nats-server -js`): one order for all (docs/bridge.md)
    #[arg(long, value_name = "nats://HOST:PORT")]
    bridge: Option<String>,
    /// Servers share rooms and topics with those of the same name
    #[arg(long, value_name = "NAME", default_value = "drywire", value_parser = name)]
    bridge_name: String,
    /// What the NATS server keeps of chat and of the hub, each: what a server that comes back can
    /// still be told
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = units::size)]
    bridge_size: u64,
}

/// How long an answer of the broker may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A broker that has been silent for so long is pinged. The client gives a connection up when the
/// third ping is due and the first is not answered: after three times as much (docs/bridge.md).
const PING: Duration = Duration::from_secs(1);
/// The pauses between two attempts double, within these.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Bytes that the broker sends ahead.
const BATCH: usize = 256 << 10;

/// The engines' side of a bridge.
pub(super) struct Mail {
    service: &'static str,
    /// The service's number in the host.
    index: usize,
    redraft: Redraft,
    letters: mpsc::UnboundedReceiver<Letter>,
}

/// Mail that engines write, for [`Options::start`] to carry on. As much as they have under way.
pub(super) fn mail(
    service: &'static str,
    index: usize,
    redraft: Redraft,
) -> (impl Fn(Letter) + Send + Sync, Mail) {
    let (send, letters) = mpsc::unbounded_channel();
    // Nobody takes it any more when the process ends.
    let carry = move |letter| drop(send.send(letter));
    (carry, Mail { service, index, redraft, letters })
}

impl Options {
    pub(super) fn is_wanted(&self) -> bool {
        self.bridge.is_some()
    }

    /// Carries mail of services to the broker and back, on a thread of its own, for good.
    pub(super) fn start(
        &self,
        handle: &Handle,
        process: u64,
        all: Vec<Mail>,
    ) -> Result<(), Failure> {
        let Some(url) = self.bridge.clone() else { return Ok(()) };
        if all.is_empty() {
            return Err(Failure::usage("--bridge is for rooms and topics: add --chat or --hub"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::system)?;
        let links = all.into_iter().map(|mail| Link {
            url: url.clone(),
            subject: format!("{}.{}", self.bridge_name, mail.service),
            size: i64::try_from(self.bridge_size).unwrap_or(i64::MAX),
            bridge: Bridge::new(handle.loops(), process, mail.redraft),
            handle: handle.clone(),
            position: None,
            said: String::new(),
            stands: None,
            mail,
        });
        let links: Vec<_> = links.collect();
        let run = move || {
            runtime.block_on(async {
                let mut tasks: JoinSet<()> = links.into_iter().map(Link::run).collect();
                while tasks.join_next().await.is_some() {}
            });
        };
        thread::Builder::new().name("drywire-bridge".into()).spawn(run).map_err(Failure::system)?;
        Ok(())
    }
}

/// One service's way to the broker, over any number of connections.
struct Link {
    url: String,
    /// Stands before topics.
    subject: String,
    size: i64,
    bridge: Bridge,
    handle: Handle,
    mail: Mail,
    /// The broker's log, by its birth, and how far it was read.
    position: Option<(i128, u64)>,
    /// Why there is no link, as it was logged last.
    said: String,
    /// Since when there is one.
    stands: Option<Instant>,
}

/// Why a link ended.
type Lost = Box<dyn std::error::Error + Send + Sync>;

impl Link {
    async fn run(mut self) {
        let mut pause = PAUSES.0;
        loop {
            let Err(lost) = self.serve().await else { return };
            self.bridge.disconnected();
            self.deliver();
            let lost = lost.to_string();
            if self.said != lost {
                self.log(format_args!("no link to {}: {lost}; trying again", self.url));
                self.said = lost;
            }
            // A link that goes at once, each time, is no reason to hurry.
            if self.stands.take().is_some_and(|since| since.elapsed() > PAUSES.1) {
                pause = PAUSES.0;
            }
            let until = Instant::now() + pause;
            pause = (pause * 2).min(PAUSES.1);
            // What is said in the meantime is refused.
            loop {
                tokio::select! {
                    () = sleep_until(until) => break,
                    letter = self.mail.letters.recv() => {
                        let Some(letter) = letter else { return };
                        self.bridge.receive(letter);
                        self.deliver();
                    }
                }
            }
        }
    }

    /// One connection. Ends well when the server does.
    async fn serve(&mut self) -> Result<(), Lost> {
        let (lost, mut is_lost) = mpsc::unbounded_channel();
        let options = async_nats::ConnectOptions::new()
            .name("drywire")
            .connection_timeout(PATIENCE)
            .ping_interval(PING)
            .max_reconnects(1)
            .event_callback(move |event| {
                let over = match event {
                    async_nats::Event::Disconnected | async_nats::Event::Closed => true,
                    // Messages were dropped on the way: they are read again.
                    async_nats::Event::SlowConsumer(_) => true,
                    _ => false,
                };
                if over {
                    drop(lost.send(event.to_string()));
                }
                async {}
            });
        let client = timeout(PATIENCE, options.connect(&self.url)).await??;
        let mut context = jetstream::new(client);
        context.set_timeout(PATIENCE);
        let stream = timeout(PATIENCE, context.get_or_create_stream(self.stream())).await??;
        let info = timeout(PATIENCE, stream.get_info()).await??;
        let (born, state) = (info.created.unix_timestamp_nanos(), info.state);
        let (mut read, gap) = match self.position {
            None => (state.first_sequence.saturating_sub(1), false),
            Some((before, read)) if before == born && read <= state.last_sequence => (read, false),
            Some(_) => (state.first_sequence.saturating_sub(1), true),
        };
        let consumer = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: read + 1 },
            ack_policy: AckPolicy::None,
            inactive_threshold: Duration::from_secs(30),
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = timeout(PATIENCE, stream.create_consumer(consumer)).await??;
        let messages = consumer
            .stream()
            .max_bytes_per_batch(BATCH)
            .expires(Duration::from_secs(30))
            .heartbeat(PATIENCE)
            .messages();
        let mut messages = timeout(PATIENCE, messages).await??;
        self.bridge.connected(gap);
        if read >= state.last_sequence {
            self.bridge.caught_up();
        }
        self.deliver();
        self.stands = Some(Instant::now());
        self.said.clear();
        self.log(format_args!("linked to {}", self.url));
        let mut acks = JoinSet::new();
        // What is read first may be gone by now, and then nothing may come at all.
        let mut hurry = Some(Instant::now() + PATIENCE);
        loop {
            hurry = hurry.filter(|_| read < state.last_sequence);
            while let Some(outgoing) = self.bridge.next_publish() {
                timeout(PATIENCE, publish(&context, &self.subject, outgoing, &mut acks)).await??;
            }
            self.deliver();
            tokio::select! {
                letter = self.mail.letters.recv() => {
                    let Some(letter) = letter else { return Ok(()) };
                    self.bridge.receive(letter);
                }
                message = messages.next(), if self.bridge.has_room() => {
                    let message = message.ok_or("the broker ends its log")??;
                    let info = message.info()?;
                    let sequence = info.stream_sequence;
                    if sequence <= read {
                        return Err("the broker's log goes back".into());
                    }
                    // Before the first one that is still there nothing was missed by a new server.
                    if sequence != read + 1 && self.position.is_some() {
                        self.bridge.gap();
                    }
                    read = sequence;
                    self.position = Some((born, read));
                    let unix_ms = info.published.unix_timestamp_nanos() / 1_000_000;
                    let topic = message.subject.strip_prefix(&self.subject).and_then(decode);
                    let unix_ms = u64::try_from(unix_ms).unwrap_or(0);
                    let topic = topic.unwrap_or_default();
                    if !self.bridge.stored(&topic, &message.payload, unix_ms)
                        && self.bridge.strange() == 1
                    {
                        self.log(format_args!("{} is no message of ours", message.subject));
                    }
                    if read >= state.last_sequence {
                        self.bridge.caught_up();
                    }
                    hurry = Some(Instant::now() + PATIENCE);
                }
                () = sleep_until(hurry.unwrap_or_else(Instant::now)),
                    if hurry.is_some() && self.bridge.has_room() =>
                {
                    return Err("the broker does not say what its log holds".into());
                }
                Some(ack) = acks.join_next(), if !acks.is_empty() => {
                    let (count, result): (u64, Result<(), PublishError>) = ack?;
                    match result {
                        Ok(()) => {}
                        Err(error) if is_unknown(&error) => return Err(error.into()),
                        Err(error) => {
                            self.log(format_args!("the broker refuses a message: {error}"));
                            if !self.bridge.refused(count) {
                                return Err("it may have that message from an earlier link".into());
                            }
                        }
                    }
                }
                Some(why) = is_lost.recv() => return Err(why.into()),
            }
            if self.position.is_none() && read >= state.last_sequence {
                self.position = Some((born, read));
            }
        }
    }

    fn stream(&self) -> stream::Config {
        stream::Config {
            name: self.subject.replace('.', "_"),
            description: Some("rooms or topics that drywire servers share".into()),
            subjects: vec![format!("{}.>", self.subject)],
            max_bytes: self.size,
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            ..stream::Config::default()
        }
    }

    fn deliver(&mut self) {
        while let Some(letter) = self.bridge.next_mail() {
            self.handle.deliver(self.mail.index, letter);
        }
    }

    fn log(&self, what: impl Display) {
        let (service, pending) = (self.mail.service, self.bridge.pending());
        // One write: several links and servers may share the terminal.
        let line = format!("drywire: bridge of {service}: {what} ({pending} messages under way)\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

async fn publish(
    context: &Context,
    subject: &str,
    outgoing: Outgoing,
    acks: &mut JoinSet<(u64, Result<(), PublishError>)>,
) -> Result<(), PublishError> {
    let Outgoing { count, topic, payload } = outgoing;
    let subject = format!("{subject}{}", encode(&topic));
    let ack = context.publish(subject, payload.into()).await?;
    acks.spawn(async move { (count, ack.await.map(drop)) });
    Ok(())
}

/// Whether the broker may or may not have the message: anything but a word of it that it has not.
fn is_unknown(error: &PublishError) -> bool {
    matches!(error.kind(), PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe)
}

/// A topic as the last part of a subject, which holds neither spaces nor wildcards nor further
/// dots. The percent sign alone is the topic without a name.
fn encode(topic: &[u8]) -> String {
    let mut subject = String::from(".");
    for byte in topic {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => subject.push(*byte as char),
            _ => subject.push_str(&format!("%{byte:02X}")),
        }
    }
    if topic.is_empty() {
        subject.push('%');
    }
    subject
}

fn decode(subject: &str) -> Option<Vec<u8>> {
    let mut rest = subject.strip_prefix('.')?.as_bytes();
    let mut topic = Vec::new();
    if rest == b"%" {
        return Some(topic);
    }
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let digits = str::from_utf8(rest.get(..2)?).ok()?;
            topic.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            topic.push(*byte);
        }
    }
    Some(topic)
}

fn name(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(good) {
        return Err(format!("`{text}`: allowed are 1 to 64 letters, digits, - and _"));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_topic_is_one_token_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        for topic in [&b""[..], b"den", b"a.b *>%", b"%41", &all] {
            let subject = encode(topic);
            assert!(!subject[1..].contains(['.', ' ', '*', '>', '\r']), "{subject}");
            assert_eq!(decode(&subject).as_deref(), Some(topic));
        }
        assert_eq!(decode(".%4"), None);
        assert_eq!(decode("x"), None);
    }
}
