//! Storage commands, arriving values, incr and decr.

use super::log::{Head, Place, REFERENCED, SHARED};
use super::shared::{self, Reservation, Value};
use super::types::{Body, DeltaError, NoMemory, Refusal, Stored, Verb};
use super::{Expiry, Found, KEY_MAX, SHARED_MIN, Secs, Store, cost, index, item_limit, number};

impl Store {
    /// Runs a storage command. It is decided now, when the value is complete: what other
    /// connections did since its command line counts.
    ///
    /// append and prepend ignore `flags` and `expiry` except for the size limit of the piece.
    ///
    /// # Panics
    /// If the key is longer than [`KEY_MAX`], or a reservation is incomplete or another store's.
    #[expect(clippy::too_many_arguments, reason = "the fields of one command line")]
    pub fn store(
        &mut self,
        now: Secs,
        hash: u64,
        key: &[u8],
        verb: Verb,
        flags: u32,
        expiry: Expiry,
        body: Body<'_>,
    ) -> Stored {
        assert!(key.len() <= KEY_MAX, "the session checks keys");
        if let Body::Reserved(reservation) = &body {
            self.check_owner(reservation);
            assert_eq!(reservation.missing(), 0, "the value is complete");
        }
        self.counters.cmd_set += 1;
        if body.as_slice().len() > item_limit(self.item_max, key.len(), flags) as usize {
            self.refuse(now, hash, key, verb, Refusal::TooLarge);
            return Stored::TooLarge;
        }
        let tag = hash as u32;
        let found = match self.find(now, tag, key) {
            Found::Live(place, head) => Some((place, head)),
            _ => None,
        };
        let stored = match (verb, found) {
            (Verb::Add, Some(_)) | (Verb::Replace | Verb::Append | Verb::Prepend, None) => {
                return Stored::NotStored;
            }
            (Verb::Cas(_), None) => {
                self.counters.cas_misses += 1;
                return Stored::NotFound;
            }
            (Verb::Cas(unique), Some((_, head))) if head.cas != unique => {
                self.counters.cas_badval += 1;
                return Stored::Exists;
            }
            (Verb::Append | Verb::Prepend, Some(found)) => {
                self.join(now, tag, key, found, body.as_slice(), verb == Verb::Append)
            }
            _ => self.put(now, tag, key, found, flags, expiry, body).map(|()| true),
        };
        match stored {
            Ok(true) => {
                self.counters.cas_hits += u64::from(matches!(verb, Verb::Cas(_)));
                Stored::Stored
            }
            Ok(false) => Stored::NotStored,
            Err(NoMemory) => {
                self.refuse(now, hash, key, verb, Refusal::NoMemory);
                Stored::NoMemory
            }
        }
    }

    /// Records that a storage command was given up before its value was complete, once its data
    /// block has been swallowed: counts it and, for a `set`, drops the old value, so that nobody
    /// takes it for the new one.
    pub fn refuse(&mut self, now: Secs, hash: u64, key: &[u8], verb: Verb, why: Refusal) {
        match why {
            Refusal::TooLarge => self.counters.store_too_large += 1,
            Refusal::NoMemory => self.counters.store_no_memory += 1,
        }
        if verb == Verb::Set
            && let Found::Live(place, head) = self.find(now, hash as u32, key)
        {
            self.unlink(place, &head, hash as u32);
        }
    }

    /// Starts a value of `declared` bytes that will arrive in pieces. Takes no memory yet.
    pub fn reserve(&self, declared: u32) -> Reservation {
        Reservation::new(declared as usize, self.budget.returns())
    }

    /// Adds a piece to a value that is arriving. After an error the reservation is as it was.
    ///
    /// # Panics
    /// If the piece goes beyond the declared length, or the reservation is another store's.
    pub fn grow(
        &mut self,
        now: Secs,
        reservation: &mut Reservation,
        piece: &[u8],
    ) -> Result<(), NoMemory> {
        self.check_owner(reservation);
        assert!(piece.len() <= reservation.missing(), "a piece beyond the declared length");
        self.settle_flush(now);
        if let Some(capacity) =
            reservation.next_capacity(reservation.as_slice().len() + piece.len())
        {
            self.raise(now, &mut reservation.value, capacity)?;
        }
        reservation.value.push(piece);
        Ok(())
    }

    /// Adds to a number, wrapping at 2^64. Flags and expiry stay, the cas unique changes.
    ///
    /// A result not longer than the old value is written over it, filled up with spaces; a longer
    /// one replaces the item. The value may have zeros, a `+` and white space before the number
    /// and white space behind it; one of [`SHARED_MIN`] bytes or more counts as no number.
    pub fn incr(
        &mut self,
        now: Secs,
        hash: u64,
        key: &[u8],
        delta: u64,
    ) -> Result<u64, DeltaError> {
        let result = self.change(now, hash as u32, key, |number| number.wrapping_add(delta));
        match result {
            Ok(_) => self.counters.incr_hits += 1,
            Err(DeltaError::NotFound) => self.counters.incr_misses += 1,
            Err(_) => {}
        }
        result
    }

    /// Subtracts from a number, stopping at 0. Otherwise as [`Store::incr`].
    pub fn decr(
        &mut self,
        now: Secs,
        hash: u64,
        key: &[u8],
        delta: u64,
    ) -> Result<u64, DeltaError> {
        let result = self.change(now, hash as u32, key, |number| number.saturating_sub(delta));
        match result {
            Ok(_) => self.counters.decr_hits += 1,
            Err(DeltaError::NotFound) => self.counters.decr_misses += 1,
            Err(_) => {}
        }
        result
    }

    fn change(
        &mut self,
        now: Secs,
        tag: u32,
        key: &[u8],
        f: impl FnOnce(u64) -> u64,
    ) -> Result<u64, DeltaError> {
        let Found::Live(place, mut head) = self.find(now, tag, key) else {
            return Err(DeltaError::NotFound);
        };
        if head.is(SHARED) {
            return Err(DeltaError::NonNumeric);
        }
        let number = f(number::parse(self.log.tail(place, &head)).ok_or(DeltaError::NonNumeric)?);
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number).as_bytes();
        head.bits |= REFERENCED;
        if digits.len() <= head.len as usize {
            head.cas = self.take_cas();
            self.log.set_head(place, &head);
            let (start, rest) = self.log.tail_mut(place, &head).split_at_mut(digits.len());
            start.copy_from_slice(digits);
            rest.fill(b' ');
        } else {
            self.log.set_head(place, &head);
            let expiry = Expiry::from_bits(head.expiry);
            self.put(now, tag, key, Some((place, head)), head.flags, expiry, Body::Copy(digits))
                .map_err(|NoMemory| DeltaError::NoMemory)?;
        }
        Ok(number)
    }

    /// append and prepend. False when the result would be too large, or when the item had to go
    /// to make room for it.
    fn join(
        &mut self,
        now: Secs,
        tag: u32,
        key: &[u8],
        found: (Place, Head),
        piece: &[u8],
        behind: bool,
    ) -> Result<bool, NoMemory> {
        let (place, head) = found;
        let total = head.len as usize + piece.len();
        if total > item_limit(self.item_max, key.len(), head.flags) as usize {
            return Ok(false);
        }
        let expiry = Expiry::from_bits(head.expiry);
        let head = Head { bits: head.bits | REFERENCED, ..head };
        self.log.set_head(place, &head);
        if total < SHARED_MIN {
            let mut joined = [0; SHARED_MIN];
            let old = self.hit(place, &head).value.as_slice();
            let (first, second) = if behind { (old, piece) } else { (piece, old) };
            joined[..first.len()].copy_from_slice(first);
            joined[first.len()..total].copy_from_slice(second);
            self.put(
                now,
                tag,
                key,
                Some((place, head)),
                head.flags,
                expiry,
                Body::Copy(&joined[..total]),
            )?;
            return Ok(true);
        }
        let mut joined = self.reserve(total as u32);
        let kills = self.kills;
        self.raise(now, &mut joined.value, total)?;
        let Some(found) = self.again(kills, Some((place, head)), tag, key) else {
            return Ok(false);
        };
        let old = self.hit(found.0, &found.1).value.as_slice();
        let (first, second) = if behind { (old, piece) } else { (piece, old) };
        joined.value.push(first);
        joined.value.push(second);
        self.put(now, tag, key, Some(found), head.flags, expiry, Body::Reserved(joined))?;
        Ok(true)
    }

    /// Writes an item over what was `found` for its key, in place if it has the same form and
    /// size.
    #[expect(clippy::too_many_arguments, reason = "the fields of an item")]
    fn put(
        &mut self,
        now: Secs,
        tag: u32,
        key: &[u8],
        found: Option<(Place, Head)>,
        flags: u32,
        expiry: Expiry,
        body: Body<'_>,
    ) -> Result<(), NoMemory> {
        let kills = self.kills;
        let len = body.as_slice().len();
        let is_shared = len >= SHARED_MIN;
        let mut head = Head {
            cas: 0,
            expiry: expiry.to_bits(),
            flags,
            len: len as u32,
            key_len: key.len() as u8,
            bits: if is_shared { SHARED } else { 0 },
        };
        let (inline, value) = match &body {
            _ if is_shared => (&[][..], Some(self.large_value(now, body)?)),
            _ => (body.as_slice(), None),
        };
        let found = self.again(kills, found, tag, key);
        let in_place =
            found.filter(|(_, old)| old.size() == head.size() && old.is(SHARED) == is_shared);
        let kills = self.kills;
        if in_place.is_none() {
            self.make_item_room(now, head.size(), is_shared)?;
        }
        let found = self.again(kills, found, tag, key);

        self.met_mortal |= expiry != Expiry::NEVER;
        head.cas = self.take_cas();
        self.counters.total_items += 1;
        self.counters.bytes += cost(&head);
        if let Some((place, old)) = in_place {
            if is_shared {
                self.shared.remove(self.log.shared_id(place, &old));
            }
            self.counters.bytes -= cost(&old);
            head.bits |= old.bits & REFERENCED;
        }
        let number;
        let tail = match value {
            Some(value) => {
                number = self.shared.insert(value.share()).to_le_bytes();
                &number[..]
            }
            None => inline,
        };
        if let Some((place, _)) = in_place {
            self.log.set_head(place, &head);
            self.log.tail_mut(place, &head).copy_from_slice(tail);
            return Ok(());
        }
        let place = self.log.append(&head, key, tail);
        if let Some((old_place, old)) = found {
            self.index.replace(tag, old_place, place);
            self.discard(old_place, &old);
        } else {
            self.index.insert(tag, place);
            self.counters.curr_items += 1;
        }
        Ok(())
    }

    /// Makes room for one more item with a record of `size` bytes. Every step may undo another,
    /// so it goes on until all hold.
    fn make_item_room(&mut self, now: Secs, size: usize, is_shared: bool) -> Result<(), NoMemory> {
        loop {
            if self.index.wants_page() {
                self.pay(now, index::PAGE_COST)?;
                self.index.add_page();
            } else if is_shared && self.shared.wants_page() {
                self.pay(now, shared::PAGE_COST)?;
                self.shared.add_page();
            } else if !self.log.fits(size) {
                self.make_record_room(now, size)?;
            } else {
                return Ok(());
            }
        }
    }

    /// A large body as its own buffer.
    fn large_value(&mut self, now: Secs, body: Body<'_>) -> Result<Value, NoMemory> {
        match body {
            Body::Reserved(reservation) => Ok(reservation.value),
            Body::Copy(bytes) => {
                let mut value = Value::new(self.budget.returns());
                self.raise(now, &mut value, bytes.len())?;
                value.push(bytes);
                Ok(value)
            }
        }
    }

    /// Raises the capacity of a buffer, charging the old and the new one while both exist.
    fn raise(&mut self, now: Secs, value: &mut Value, capacity: usize) -> Result<(), NoMemory> {
        let cost = value.cost_of(capacity);
        self.pay(now, cost)?;
        match value.grow(capacity) {
            Ok(freed) => self.budget.release(freed),
            Err(NoMemory) => {
                self.budget.release(cost);
                return Err(NoMemory);
            }
        }
        Ok(())
    }

    /// What was found for a key, looked up again if records have gone or moved since `kills`.
    fn again(
        &self,
        kills: u64,
        found: Option<(Place, Head)>,
        tag: u32,
        key: &[u8],
    ) -> Option<(Place, Head)> {
        if kills == self.kills || found.is_none() {
            return found;
        }
        let place = self.index.find(tag, |place| self.log.has_key(place, key))?;
        Some((place, self.log.head(place)))
    }

    const fn take_cas(&mut self) -> u64 {
        let cas = self.next_cas;
        self.next_cas = cas.wrapping_add(self.cas_step);
        cas
    }

    fn check_owner(&self, reservation: &Reservation) {
        assert!(self.budget.owns(reservation.value.returns()), "a reservation of another store");
    }
}
