//! Joining and leaving.

use crate::engine::ConnId;
use crate::fanout::exchange::{At, Effect, Exchange, Receiver, State, Sub, receiver, wake};
use crate::fanout::home::{Join, Member, Opening, begin, home_of};
use crate::fanout::mail::Letter;
use crate::fanout::{Draft, Label, Refusal, Reply, Start};
use alloc::collections::{BTreeMap, VecDeque};
use bytes::Bytes;

impl Exchange {
    /// A connection that may join topics.
    pub fn attach(&mut self, conn: ConnId) {
        let slot = conn.slot as usize;
        if self.receivers.len() <= slot {
            self.receivers.resize_with(slot + 1, || None);
        }
        let (subs, ready) = (BTreeMap::new(), VecDeque::new());
        let receiver = Receiver { conn, subs, ready, woken: false, held_back: false };
        self.receivers[slot] = Some(receiver);
    }

    /// Lets a connection into a topic, which begins with its first member. `came` is published
    /// when it is in under a name that was not there, `went` when that name goes.
    ///
    /// [`Reply::Joined`] or [`Reply::NotJoined`] follows; entries after [`Exchange::begin`].
    ///
    /// # Errors
    /// What can be said at once; no reply follows.
    pub fn join(
        &mut self,
        at: At,
        conn: ConnId,
        topic: &Bytes,
        start: Start,
        label: Option<Label>,
        (came, went): (Option<Draft>, Option<Draft>),
    ) -> Result<(), Refusal> {
        let most = self.config.subscriptions;
        let known = self.names.get(topic).copied();
        let receiver = self.receiver(conn).ok_or(Refusal::NotMember)?;
        if known.is_some_and(|index| receiver.subs.contains_key(&index)) {
            return Err(Refusal::AlreadyMember);
        }
        if receiver.subs.len() >= most {
            return Err(Refusal::TooManySubscriptions);
        }
        let home = home_of(topic, at.place);
        if self.is_jammed(home) {
            return Err(Refusal::Busy);
        }
        self.joins += 1;
        let number = self.joins;
        let join = Join { topic: topic.clone(), conn, number, label, came };
        let result = if home == at.place.index {
            Some(self.admit(at, home, join))
        } else {
            self.ask(at.place, home, Letter::Join(join));
            None
        };
        if let Some(Err(why)) = result {
            return Err(why);
        }
        let index = self.names.get(topic).copied();
        let index = index.unwrap_or_else(|| self.new_topic(topic, 0, false));
        self.topic(index).local += 1;
        let sub = Sub {
            cursor: 0,
            state: State::Joining(number, start),
            behind: false,
            alarm: 0,
            member: true,
            until: u64::MAX,
            asked: false,
            cut: false,
            went,
        };
        if let Some(receiver) = self.receiver(conn) {
            receiver.subs.insert(index, sub);
        }
        if let Some(result) = result {
            self.joined((conn, number), topic, result);
        }
        Ok(())
    }

    /// The session is ready for what it joined: entries follow.
    pub fn begin(&mut self, conn: ConnId, topic: &[u8]) {
        let Some(&index) = self.names.get(topic) else { return };
        let Some(receiver) = receiver(&mut self.receivers, conn) else { return };
        if let Some(sub) = receiver.subs.get_mut(&index)
            && matches!(sub.state, State::Joined)
        {
            sub.state = State::Ready;
            receiver.ready.push_back(index);
            wake(receiver, &mut self.effects);
        }
    }

    /// Whether the connection is, or is about to be, in the topic.
    #[must_use]
    pub fn is_member(&self, conn: ConnId, topic: &[u8]) -> bool {
        let receiver = self.receivers.get(conn.slot as usize).and_then(Option::as_ref);
        let index = self.names.get(topic);
        receiver.is_some_and(|receiver| {
            receiver.conn == conn
                && index.and_then(|index| receiver.subs.get(index)).is_some_and(|sub| sub.member)
        })
    }

    /// Takes a connection out of a topic. It still gets what was published until its request
    /// reached the topic's home, its own messages among that, and then
    /// [`Style::left`](crate::fanout::Style::left).
    ///
    /// # Errors
    /// [`Refusal::NotMember`].
    pub fn leave(&mut self, at: At, conn: ConnId, topic: &[u8]) -> Result<(), Refusal> {
        let index = *self.names.get(topic).ok_or(Refusal::NotMember)?;
        let receiver = self.receiver(conn).ok_or(Refusal::NotMember)?;
        let sub = receiver.subs.get_mut(&index).filter(|s| s.member).ok_or(Refusal::NotMember)?;
        sub.asked = true;
        self.say_goodbye(at, conn, index);
        Ok(())
    }

    /// Takes a connection out of a topic without a word: nothing more comes from it.
    pub fn forget(&mut self, at: At, conn: ConnId, topic: &[u8]) {
        if let Some(&index) = self.names.get(topic) {
            self.say_goodbye(at, conn, index);
            self.drop_sub(conn, index);
        }
    }

    /// The home has let a connection go that asked for it.
    pub(super) fn left(&mut self, conn: ConnId, topic: &[u8]) {
        let Some(receiver) = receiver(&mut self.receivers, conn) else { return };
        let index = self.names.get(topic).copied();
        let sub = index.and_then(|index| receiver.subs.get_mut(&index)).filter(|sub| sub.asked);
        let (Some(index), Some(sub)) = (index, sub) else {
            // It asked to join and to leave at once, and was not let in.
            let topic = Bytes::copy_from_slice(topic);
            return self.effects.push(Effect::Post(conn, Reply::Left { topic }));
        };
        let topic = self.topics[index as usize].as_mut().expect("a topic that has a name");
        sub.end(topic);
        if let State::Waiting(place) = sub.state {
            sub.state = State::Ready;
            receiver.ready.push_back(index);
            wake(receiver, &mut self.effects);
            self.unwait(index, place);
        }
    }

    /// Takes a connection out of all its topics, but lets it have what was published until now.
    pub fn finish(&mut self, at: At, conn: ConnId) {
        for index in self.sub_indices(conn) {
            self.say_goodbye(at, conn, index);
            let (topics, receivers) = self.parts();
            let Some(receiver) = receiver(receivers, conn) else { return };
            let Some(sub) = receiver.subs.get_mut(&index) else { continue };
            sub.end(topics[index as usize].as_mut().expect("a topic with a receiver"));
            let done = !matches!(sub.state, State::Ready) && !sub.asked;
            if done {
                self.drop_sub(conn, index);
            }
        }
    }

    /// Forgets a connection.
    pub fn detach(&mut self, at: At, conn: ConnId) {
        for index in self.sub_indices(conn) {
            self.say_goodbye(at, conn, index);
            self.drop_sub(conn, index);
        }
        if self.receiver(conn).is_some() {
            self.receivers[conn.slot as usize] = None;
        }
    }

    /// The home has answered a join; the connection hears of it in any case.
    pub(super) fn joined(
        &mut self,
        (conn, number): (ConnId, u64),
        name: &Bytes,
        result: Result<Opening, Refusal>,
    ) {
        let reply = match result {
            Ok(opening) => self.open(conn, number, name, opening),
            Err(why) => Err(why),
        };
        let reply = reply.unwrap_or_else(|why| {
            if let Some(&index) = self.names.get(name)
                && let Some(sub) = self.receiver(conn).and_then(|r| r.subs.get(&index))
                && matches!(sub.state, State::Joining(n, _) if n == number)
            {
                self.drop_sub(conn, index);
            }
            Reply::NotJoined { topic: name.clone(), why }
        });
        self.effects.push(Effect::Post(conn, reply));
    }

    fn open(
        &mut self,
        conn: ConnId,
        number: u64,
        name: &Bytes,
        opening: Opening,
    ) -> Result<Reply, Refusal> {
        // Everyone here may have left in the meantime.
        let index = *self.names.get(name).ok_or(Refusal::NotMember)?;
        if let Some(seed) = opening.seed {
            self.plant(index, opening.life, seed);
        }
        let topic = self.topics[index as usize].as_ref().expect("a topic that has a name");
        let receiver = receiver(&mut self.receivers, conn).ok_or(Refusal::NotMember)?;
        let sub = receiver.subs.get_mut(&index).ok_or(Refusal::NotMember)?;
        let State::Joining(of, start) = sub.state else { return Err(Refusal::NotMember) };
        if of != number {
            return Err(Refusal::NotMember);
        }
        let (cursor, lost) = begin(topic, start, opening.next);
        let end = topic.log.next().min(opening.next);
        // What is gone since it is a member is a loss like any later one; what was gone before it
        // came back lies before the place where it goes on.
        let next = match (start, lost) {
            (Start::Next | Start::Last(_), Some(lost)) => lost.from,
            _ => cursor,
        };
        sub.cursor = cursor;
        sub.state = State::Joined;
        let (topic, life, members) = (name.clone(), opening.life, opening.members);
        Ok(Reply::Joined { topic, life, next, end, lost, members })
    }

    /// Tells the home that a member is gone, once.
    fn say_goodbye(&mut self, at: At, conn: ConnId, index: u32) {
        let topic = self.topic(index).name.clone();
        let Some(sub) = self.receiver(conn).and_then(|r| r.subs.get_mut(&index)) else { return };
        if !core::mem::replace(&mut sub.member, false) {
            return;
        }
        let (went, answer) = (sub.went.take(), sub.asked);
        let home = home_of(&topic, at.place);
        if home != at.place.index {
            let leave = Letter::Leave { topic, conn, went, answer };
            return self.ask(at.place, home, leave);
        }
        self.dismiss(at, Member { engine: home, conn }, &topic, went);
        if answer {
            self.left(conn, &topic);
        }
    }

    /// Forgets a receiver's part in a topic, and a copied topic with its last one.
    pub(super) fn drop_sub(&mut self, conn: ConnId, index: u32) {
        let Some(receiver) = receiver(&mut self.receivers, conn) else { return };
        let Some(sub) = receiver.subs.remove(&index) else { return };
        receiver.ready.retain(|ready| *ready != index);
        let topic = self.topics[index as usize].as_mut().expect("a topic with a receiver");
        topic.local -= 1;
        topic.alarms.remove(&(sub.alarm, conn.slot));
        if sub.is_ending() && !sub.cut {
            topic.remove_end(sub.until);
        }
        let unused = topic.local == 0;
        if let State::Waiting(place) = sub.state {
            self.unwait(index, place);
        }
        if unused && !self.homes.contains_key(&index) {
            self.free_topic(index);
        }
    }

    /// Takes a receiver off its place in a topic's list of waiters.
    fn unwait(&mut self, index: u32, place: u32) {
        let topic = self.topics[index as usize].as_mut().expect("a topic with a receiver");
        if let Some(moved) = topic.unwait(place)
            && let Some(Some(moved)) = self.receivers.get_mut(moved as usize)
            && let Some(sub) = moved.subs.get_mut(&index)
        {
            sub.state = State::Waiting(place);
        }
    }
}
