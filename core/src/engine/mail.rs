//! What leaves a call besides replies: posts, wakes, and mail between engines.

use crate::conn::{Place, Session};
use crate::engine::ConnId;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

/// Messages from one engine to another of the same service, for the host to carry.
pub struct Letter {
    from: usize,
    to: usize,
    count: usize,
    messages: Box<dyn Any + Send>,
}

impl Letter {
    /// The engine that wrote it.
    #[must_use]
    pub const fn from(&self) -> usize {
        self.from
    }

    /// The engine to carry it to.
    #[must_use]
    pub const fn to(&self) -> usize {
        self.to
    }

    /// How many messages it holds.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn new<M: Send + 'static>(from: usize, to: usize, messages: Vec<M>) -> Self {
        Self { from, to, count: messages.len(), messages: Box::new(messages) }
    }

    pub(crate) fn open<M: 'static>(self) -> Vec<M> {
        let messages = self.messages.downcast::<Vec<M>>();
        debug_assert!(messages.is_ok(), "mail of another service");
        messages.map(|m| *m).unwrap_or_default()
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter").field("from", &self.from).field("to", &self.to).finish()
    }
}

/// What sessions leave behind for others.
pub(crate) struct Queues<S: Session> {
    pub(crate) posts: VecDeque<(ConnId, S::Message)>,
    pub(crate) wakes: Vec<ConnId>,
    pub(crate) place: Place,
    /// One bundle for each engine of the service and what is beside them; none for an engine that
    /// was given no seat.
    mail: Vec<Vec<S::Message>>,
}

impl<S: Session> Queues<S> {
    pub(crate) const fn new() -> Self {
        Self { posts: VecDeque::new(), wakes: Vec::new(), place: Place::ALONE, mail: Vec::new() }
    }

    pub(crate) fn seat(&mut self, place: Place) {
        assert!(place.index < place.count, "engine {} of {}", place.index, place.count);
        self.place = place;
        self.mail.resize_with(place.count + 1, Vec::new);
    }

    pub(crate) fn mail(&mut self, to: usize, message: S::Message) {
        assert!(to != self.place.index && to <= self.place.count, "mail to engine {to}");
        self.mail[to].push(message);
    }

    pub(crate) fn next_mail(&mut self) -> Option<Letter> {
        let (to, bundle) = self.mail.iter_mut().enumerate().find(|(_, b)| !b.is_empty())?;
        Some(Letter::new(self.place.index, to, core::mem::take(bundle)))
    }

    pub(crate) fn footprint(&self) -> usize {
        self.posts.capacity() * size_of::<(ConnId, S::Message)>()
            + self.wakes.capacity() * size_of::<ConnId>()
            + self.mail.iter().map(Vec::capacity).sum::<usize>() * size_of::<S::Message>()
    }
}
