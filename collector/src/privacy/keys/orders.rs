//! Every order of what happens to the ring of keys while a day turns: a request that reads it, the task that turns it at midnight and at a key's death,
//! another thread that does the same, and a new configuration.
//!
//! Threads share two things: the ring's pointer, which is loaded and stored whole, and the store of keys, which is behind a lock that is held from the second
//! look at the ring until the new one is stored. So a request has three steps (it loads the ring, looks for its key, lets go), whoever turns has three
//! (it looks whether a turn is due, takes the lock and prepares, publishes and gives the lock back), and a new configuration the last two of these. What lies
//! between two of those touches nothing that another thread can see, so the orders of these steps are all orders that there are. Requests share nothing
//! with each other but the ring, which they do not change: one stands for all.

use std::path::Path;
use std::sync::Weak;

use super::tests::{Place, at, sites, zone};
use super::*;
use crate::leak;

const NOON: &str = "2026-11-21T12:00:00Z";
const MIDNIGHT: &str = "2026-11-22T00:00:00Z";
const DEATH: &str = "2026-11-22T00:30:00Z";

/// One thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    /// A request that came at that time.
    Request(&'static str),
    /// Somebody who turns the keys at that time.
    Turn(&'static str),
    /// A configuration with another zone is read.
    Follow,
}

impl Actor {
    fn steps(self) -> usize {
        match self {
            Self::Request(_) | Self::Turn(_) => 3,
            Self::Follow => 2,
        }
    }

    /// Whether that step takes the lock, and the one after it gives it back.
    fn locks(self, step: usize) -> bool {
        match self {
            Self::Request(_) => false,
            Self::Turn(_) => step == 1,
            Self::Follow => step == 0,
        }
    }
}

const SCENES: [[Actor; 3]; 4] = [
    [Actor::Request("2026-11-21T23:59:59.999Z"), Actor::Turn(MIDNIGHT), Actor::Turn(DEATH)],
    [Actor::Request("2026-11-22T00:29:59.999Z"), Actor::Turn(DEATH), Actor::Turn(DEATH)],
    [Actor::Request(DEATH), Actor::Turn(DEATH), Actor::Follow],
    [Actor::Request(MIDNIGHT), Actor::Turn(MIDNIGHT), Actor::Follow],
];

/// Gives `visit` every order of the actors' steps in which nobody takes the lock while another has it.
fn orders(actors: &[Actor; 3], visit: &mut impl FnMut(&[usize])) {
    fn go(actors: &[Actor; 3], done: [usize; 3], order: &mut Vec<usize>, visit: &mut impl FnMut(&[usize])) {
        let left = |actor: &usize| done[*actor] < actors[*actor].steps();
        if (0..3).filter(left).count() == 0 {
            return visit(order);
        }
        let holds = |actor: usize| done[actor] > 0 && actors[actor].locks(done[actor] - 1);
        let is_locked = (0..3).any(holds) && !leak::planted("keys_unlocked");
        for actor in (0..3).filter(left) {
            if is_locked && actors[actor].locks(done[actor]) {
                continue;
            }
            let mut done = done;
            done[actor] += 1;
            order.push(actor);
            go(actors, done, order, visit);
            order.pop();
        }
    }
    go(actors, [0; 3], &mut Vec::new(), visit);
}

fn mark(ring: &Ring, received: UnixMillis) -> Option<[u8; 32]> {
    let key = ring.site_key(&zone("UTC"), "2026-11-21".parse().unwrap(), "s0.example", received)?;
    Some(key.mac().finalize().into_bytes().into())
}

/// What a play has come to so far.
struct Stage<'k> {
    keys: &'k Keys,
    /// What the key of the first day makes of a fixed text.
    right: [u8; 32],
    key: Weak<DayKey>,
    ring: Option<arc_swap::Guard<Arc<Ring>>>,
    /// Whether the first day's key was in the ring that the request has loaded.
    loaded_alive: bool,
    is_dead: bool,
}

impl<'k> Stage<'k> {
    fn request(&mut self, step: usize, received: UnixMillis) -> Result<(), String> {
        match step {
            0 => {
                self.ring = Some(self.keys.ring());
                self.loaded_alive = !self.is_dead;
            }
            1 => {
                let expected = (self.loaded_alive && received < at(DEATH)).then_some(self.right);
                let found = self.ring.as_ref().and_then(|ring| mark(ring, received));
                if found != expected {
                    return Err(format!("the request finds {} key", if found.is_some() { "a wrong or dead" } else { "no" }));
                }
            }
            _ => self.ring = None,
        }
        Ok(())
    }

    /// Publishes what was prepared at `now`.
    fn publish(&mut self, turning: Option<Turning<'k>>, now: UnixMillis) -> Result<(), String> {
        let Some(turning) = turning else { return Ok(()) };
        turning.finish().map_err(|error| error.to_string())?;
        self.is_dead |= now >= at(DEATH);
        Ok(())
    }
}

/// Plays one order; says what went wrong.
fn play(actors: &[Actor; 3], order: &[usize]) -> Result<(), String> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let place = Place::within(&folder, &format!("orders-{:?}", std::thread::current().id()));
    let more = sites(&["UTC", "Europe/Berlin"]);
    let (keys, _) = place.open(&sites(&["UTC"]), NOON);
    let right = mark(&keys.ring(), at(NOON)).ok_or("no key at noon")?;
    let key = Arc::downgrade(&keys.ring().zones[0].living[0].key);
    let mut stage = Stage { keys: &keys, right, key, ring: None, loaded_alive: false, is_dead: false };
    let (mut done, mut due) = ([0; 3], [false; 3]);
    let mut turning: [Option<Turning<'_>>; 3] = [None, None, None];
    for actor in order {
        let step = done[*actor];
        done[*actor] += 1;
        match (actors[*actor], step) {
            (Actor::Request(received), step) => stage.request(step, at(received))?,
            (Actor::Turn(now), 0) => due[*actor] = at(now) >= keys.turn_at(),
            (Actor::Turn(now), 1) => turning[*actor] = if due[*actor] { keys.begin_turn(at(now)) } else { None },
            (Actor::Turn(now), _) => stage.publish(turning[*actor].take(), at(now))?,
            (Actor::Follow, 0) => turning[*actor] = Some(keys.begin_follow(&more, at(MIDNIGHT))),
            (Actor::Follow, _) => stage.publish(turning[*actor].take(), at(MIDNIGHT))?,
        }
        let is_held = stage.ring.is_some() && stage.loaded_alive || turning.iter().any(Option::is_some);
        if stage.is_dead && !is_held && stage.key.strong_count() > 0 {
            return Err("a dead key is still in memory".to_owned());
        }
    }
    let zones = if actors.contains(&Actor::Follow) { &["UTC", "Europe/Berlin"][..] } else { &["UTC"] };
    let last = if stage.is_dead { DEATH } else { MIDNIGHT };
    for name in zones {
        keys.ring().today(&zone(name), at(last)).ok_or_else(|| format!("{name} has no key in the end"))?;
    }
    let files = place.files();
    let old = files.iter().any(|name| name.contains("2026-11-21"));
    if old == stage.is_dead { Err(format!("in the end there are {files:?}")) } else { Ok(()) }
}

/// The first order of any scene that goes wrong, and how many there are.
fn explore() -> (Option<String>, usize) {
    let (mut fault, mut count) = (None, 0);
    for actors in &SCENES {
        orders(actors, &mut |order| {
            count += 1;
            if fault.is_none() {
                fault = play(actors, order).err().map(|found| format!("{actors:?} {order:?}: {found}"));
            }
        });
    }
    (fault, count)
}

#[test]
fn in_every_order_a_request_has_its_days_key_or_none_and_a_dead_key_goes_with_its_last_reader() {
    let (fault, count) = explore();
    assert_eq!(fault, None);
    assert!(count > 1_000, "{count}");
}

#[test]
fn an_order_in_which_a_key_outlives_its_day_or_is_lost_is_found() {
    for (taken_out, found) in [("key_kept", "still in memory"), ("dead_key_used", "a wrong or dead key"), ("keys_unlocked", "")] {
        let fault = leak::here::with(taken_out, explore).0.unwrap_or_else(|| panic!("{taken_out} is not found"));
        assert!(fault.contains(found), "{taken_out}: {fault}");
    }
}
