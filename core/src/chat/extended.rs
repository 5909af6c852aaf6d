//! What a connection that said hello can do.

use crate::chat::codec::{
    self, Event, KEY_MAX, MAGIC, ROOM_MAX, ROSTER_MAX, Request, Said, TEXT_MAX,
};
use crate::chat::server::{Server, say};
use crate::conn::{Cx, Deadline, Fault, FaultKind};
use crate::fanout::{self, Feed, Label, Published, Refusal, Reply, Start};
use crate::tick::Tick;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// A client's own side of an extended connection.
#[derive(Debug)]
pub(super) struct Extended {
    id: u64,
    name: Bytes,
    heartbeat: Duration,
    heard_at: Tick,
    pinged: bool,
}

/// Silence after which a client is given up, in heartbeats.
const MISSED: u32 = 3;

impl Extended {
    pub(super) fn new(id: u64, name: Bytes, now: Tick, heartbeat: Duration) -> Self {
        Self { id, name, heartbeat, heard_at: now, pinged: false }
    }

    /// Any byte proves life.
    pub(super) fn heard(&mut self, now: Tick) {
        self.heard_at = now;
        self.pinged = false;
    }

    /// Silence while this process was away is not the client's.
    pub(super) fn lost_time(&mut self, gap: Duration) {
        self.heard_at = self.heard_at + gap;
    }

    pub(super) fn deadline(&self) -> Deadline {
        let beats = if self.pinged { MISSED } else { 1 };
        Deadline { at: self.heard_at + self.heartbeat * beats, why: "heartbeat" }
    }

    /// Pings after silence; gives up after more of it.
    pub(super) fn beat(&mut self, cx: &mut Cx<'_, Server>) -> Result<(), Fault> {
        if self.deadline().at > cx.now {
            return Ok(());
        }
        if self.pinged {
            return Err(Fault::new(FaultKind::TimedOut, "nothing was heard for too long"));
        }
        self.pinged = true;
        say(cx.out, &Event::Ping(cx.now.0));
        Ok(())
    }

    /// Executes a request. True if the exchange will answer it, at once or later.
    pub(super) fn request(
        &self,
        cx: &mut Cx<'_, Server>,
        request: Request<'_>,
    ) -> Result<bool, Fault> {
        let kind = request.kind();
        let (room, number) = match request {
            Request::Ping(n) => {
                say(cx.out, &Event::Pong(n));
                return Ok(false);
            }
            Request::Pong(_) => return Ok(false),
            Request::Stats => {
                let conn = cx.id;
                fanout::with(&mut cx.upkeep(), |exchange, at| exchange.count(at, conn));
                return Ok(true);
            }
            Request::Say { room, number, .. } => (room, number),
            Request::Join { room, .. } | Request::Leave { room } | Request::Who { room } => {
                (room, 0)
            }
        };
        if room.len() > ROOM_MAX {
            return Err(Fault::new(FaultKind::TooLong, "the name of a room is over 64 bytes"));
        }
        let refuse = |why, cx: &mut Cx<'_, Server>| {
            say(cx.out, &codec::refused(kind, room, number, why));
            Ok(false)
        };
        if !codec::is_name(room, ROOM_MAX) {
            return refuse(Refusal::BadField, cx);
        }
        let (conn, topic) = (cx.id, Bytes::copy_from_slice(room));
        match request {
            Request::Join { start, .. } => {
                let start = match start {
                    Start::Last(n) => Start::Last(n.min(cx.shared.config.history)),
                    start => start,
                };
                let label = Some(Label { name: self.name.clone(), owner: self.id });
                let came = codec::presence(room, true, self.id, &self.name);
                let went = codec::presence(room, false, self.id, &self.name);
                let joined = fanout::with(&mut cx.upkeep(), |exchange, at| {
                    exchange.join(at, conn, &topic, start, label, (Some(came), Some(went)))
                });
                joined.map_or_else(|why| refuse(why, cx), |()| Ok(true))
            }
            Request::Leave { .. } => {
                let left =
                    fanout::with(&mut cx.upkeep(), |exchange, at| exchange.leave(at, conn, room));
                // Behind what was said until now comes that it has left.
                left.map_or_else(|why| refuse(why, cx), |()| Ok(true))
            }
            Request::Say { again, key, text, .. } => {
                let good_key = key.is_empty() || codec::is_name(key, KEY_MAX);
                if !good_key || text.len() > TEXT_MAX || text.starts_with(MAGIC) {
                    return refuse(Refusal::BadField, cx);
                }
                if !cx.shared.exchange.is_member(conn, room) {
                    return refuse(Refusal::NotMember, cx);
                }
                let (from, name) = (self.id, &self.name[..]);
                let said = Said { room, from, number, again, name, key, text, seq: 0, time: 0 };
                let draft = codec::said(&said);
                let published = fanout::with(&mut cx.upkeep(), |exchange, at| {
                    exchange.publish(at, conn, &topic, draft, (number, false))
                });
                match published {
                    Ok(at) => Ok(at == Published::Sent),
                    Err(why) => refuse(why, cx),
                }
            }
            Request::Who { .. } => {
                fanout::with(&mut cx.upkeep(), |exchange, at| {
                    exchange.who(at, conn, &topic, ROSTER_MAX);
                });
                Ok(true)
            }
            Request::Ping(_) | Request::Pong(_) | Request::Stats => Ok(false),
        }
    }

    /// Tells the client what the exchange answered.
    pub(super) fn reply(&self, cx: &mut Cx<'_, Server>, reply: Reply, feed: &mut Feed) {
        let join = Request::Join { room: b"", start: Start::Next }.kind();
        match reply {
            Reply::Joined { topic: room, life, next, end, lost, members } => {
                say(cx.out, &Event::Joined { room: &room, life, next, end, members });
                if let Some(lost) = lost {
                    let (from, count, why) = (lost.from, lost.count, lost.why as u8);
                    say(cx.out, &Event::Lost { room: &room, from, count, why });
                }
            }
            Reply::NotJoined { topic, why } => say(cx.out, &codec::refused(join, &topic, 0, why)),
            // Its own copy of the message says so.
            Reply::Took { result: Ok(_), .. } => {}
            Reply::Took { number, topic, result: Err(why) } => {
                let say_kind = 0x03;
                say(cx.out, &codec::refused(say_kind, &topic, number, why));
            }
            Reply::Roster { topic, total, labels } => {
                let mut bytes = Vec::new();
                codec::roster(&mut bytes, &topic, total, labels.iter().map(|l| &l.name[..]));
                cx.out.put(&bytes);
            }
            Reply::Stats(stats) => {
                let mut text = Vec::new();
                stats.put(&mut text);
                say(cx.out, &Event::Stats { text: &text });
            }
            Reply::Left { topic } => say(cx.out, &Event::Left { room: &topic }),
            Reply::Displaced { .. } => {
                let why = "the same client has come back on another connection";
                feed.condemn(Fault::new(FaultKind::Refused, why));
            }
        }
    }
}
