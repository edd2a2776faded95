//! What the worker does about what its shoppers hear.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Worker, agenda::Errand, count, micros, task::Goal};
use crate::scenario::crowd::shopper::{News, Place};

impl Worker {
    /// Takes in what one shopper has heard.
    pub(super) fn take_in(&mut self, nth: usize, news: News) {
        match news {
            News::Welcomed { place } => {
                let member = &mut self.members[nth];
                (member.is_welcome, member.failures, member.called_back_ms) = (true, 0, None);
                self.note_asking(nth, false);
                let member = &self.members[nth];
                let must_join = member.shopper.wants_place && !member.shopper.has_place();
                self.tally.moved += u32::from(place == Place::Moved);
                self.tally.displaced += u32::from(place == Place::Gone);
                self.reach(nth, Goal::Welcome);
                self.reach(nth, Goal::Return);
                if must_join {
                    self.join(nth);
                }
            }
            News::Placed { moved } => {
                self.note_asking(nth, false);
                self.tally.moved += u32::from(moved);
                self.reach(nth, Goal::Place);
                // While the room fills, each join is news for everybody: that would be what is measured.
                if self.is_about(Goal::Place) {
                    self.say_about(nth, "unwatch");
                }
            }
            News::Queue { awaited } => {
                if self.is_about(Goal::Watch) {
                    self.note_asking(nth, false);
                    self.reach(nth, Goal::Watch);
                }
                if awaited {
                    self.note_heard();
                }
            }
            News::Goodbye { after_ms } => self.members[nth].called_back_ms = Some(after_ms),
            News::Error(code) => {
                count(&mut self.tally.errors, code);
                self.note_asking(nth, false);
                self.join_again(nth);
            }
        }
    }

    /// Whether this is the goal that is being waited for.
    pub(super) fn is_about(&self, goal: Goal) -> bool {
        self.task.as_ref().is_some_and(|task| task.goal == goal)
    }

    /// Who was refused a place asks again after a pause.
    fn join_again(&mut self, nth: usize) {
        let member = &mut self.members[nth];
        if member.shopper.wants_place && !member.shopper.has_place() {
            member.failures = member.failures.saturating_add(1);
            let pause = member.pause(&mut self.chance);
            self.agenda.put(Instant::now() + pause, nth, Errand::Join);
        }
    }

    fn note_heard(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let moment = micros(now);
        match &mut self.task {
            Some(task) if task.goal == Goal::Frame => task.note(moment),
            _ => self.heard_us.push(moment),
        }
    }

    /// The shopper has reached the goal, if it is the one that is being waited for.
    fn reach(&mut self, nth: usize, goal: Goal) {
        let member = &mut self.members[nth];
        if let Some(task) = &mut self.task
            && task.goal == goal
            && !member.is_done
        {
            member.is_done = true;
            task.note(micros(member.meant.elapsed()));
        }
    }
}
