use std::{borrow::Cow, collections::HashMap, fmt, panic::Location, time::Duration};

/// Describes a guard that is still alive, or work that was abandoned.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Straggler {
    /// The label that [`Guard::labeled`](crate::Guard::labeled) set.
    pub label: Option<Cow<'static, str>>,
    /// Where in the source the guard was created.
    pub place: &'static Location<'static>,
    /// How long ago the guard was created or, for a connection, its work began: never too short,
    /// and too long by 10 ms at most.
    pub age: Duration,
    /// Set if the work was lost with its connection, and not alive when aborting began.
    pub(crate) lost: bool,
}

impl fmt::Display for Straggler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label.as_deref().unwrap_or("unlabeled");
        write!(f, "{label}, for {:.1?}, from {}", self.age, self.place)
    }
}

/// Lists the guards that were alive at one moment, or the work that was abandoned: oldest first,
/// those created within 10 ms of each other in no order.
///
/// [`total`](Self::total) is known in every drain; the guards themselves only if they are
/// [tracked](crate::Drain::tracked).
#[derive(Clone, Debug, Default)]
pub struct Stragglers {
    known: Vec<Straggler>,
    total: usize,
    /// How many of the total were lost with their connections.
    lost: usize,
}

impl Stragglers {
    pub(crate) const fn none() -> Self {
        Self {
            known: Vec::new(),
            total: 0,
            lost: 0,
        }
    }

    /// Describes this many guards that are alive, of which some are `known`.
    pub(crate) fn alive(total: usize, known: Vec<Straggler>) -> Self {
        // Guards come and go while we look.
        let total = total.max(known.len());
        Self {
            known,
            total,
            lost: 0,
        }
    }

    /// Describes the work of one connection that was lost, which is `known` if guards are tracked.
    pub(crate) fn lost(known: Option<Straggler>) -> Self {
        let known = known.map(|straggler| Straggler {
            lost: true,
            ..straggler
        });
        Self {
            known: known.into_iter().collect(),
            total: 1,
            lost: 1,
        }
    }

    /// Adds all `others`, in no order.
    pub(crate) fn append(&mut self, others: Self) {
        self.total += others.total;
        self.lost += others.lost;
        self.known.extend(others.known);
    }

    /// Restores the order, oldest first.
    pub(crate) fn sort(&mut self) {
        (self.known).sort_by_key(|straggler| std::cmp::Reverse(straggler.age));
    }

    /// Returns how many there are, tracked or not.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns how many were alive, as opposed to lost.
    pub(crate) fn total_alive(&self) -> usize {
        self.total - self.lost
    }

    /// Returns the tracked ones, oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Straggler> {
        self.known.iter()
    }
}

impl<'a> IntoIterator for &'a Stragglers {
    type Item = &'a Straggler;
    type IntoIter = std::slice::Iter<'a, Straggler>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Stragglers {
    /// One line for each tracked guard and one for the rest; if these are more than 20, one for
    /// each label and place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, MOST_LINES)
    }
}

/// The most lines of a report: enough to see what is wrong, and few enough to be read.
pub(crate) const MOST_LINES: usize = 20;

/// Stragglers of one label, from one place.
struct Group<'a> {
    oldest: &'a Straggler,
    count: usize,
}

/// Returns what the lines of lost work, or of work that was alive, begin with.
fn verb(lost: bool) -> &'static str {
    if lost { "abandoned" } else { "still in flight" }
}

impl Stragglers {
    /// Writes at most `most` lines, the last one without its end.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, most: usize) -> fmt::Result {
        let known_lost = self.known.iter().filter(|straggler| straggler.lost).count();
        let untracked_lost = self.lost - known_lost;
        let untracked = self.total - self.known.len() - untracked_lost;
        let most = most - usize::from(untracked > 0) - usize::from(untracked_lost > 0);
        let mut newline = "";
        let mut shown = 0;
        for Group { oldest, count } in self.groups(most) {
            shown += count;
            write!(f, "{newline}{}: ", verb(oldest.lost))?;
            newline = "\n";
            if count == 1 {
                write!(f, "{oldest}")?;
                continue;
            }
            let label = oldest.label.as_deref().unwrap_or("unlabeled");
            write!(
                f,
                "{label} ×{}, oldest {:.1?}, from {}",
                Thousands(count),
                oldest.age,
                oldest.place
            )?;
        }
        if shown < self.known.len() {
            let others = Thousands(self.known.len() - shown);
            let verb = verb(self.total_alive() == 0);
            write!(f, "{newline}{verb}: {others} others")?;
            newline = "\n";
        }
        for (lost, untracked) in [(false, untracked), (true, untracked_lost)] {
            if untracked > 0 {
                let untracked = Thousands(untracked);
                write!(f, "{newline}{}: {untracked} untracked", verb(lost))?;
                newline = "\n";
            }
        }
        Ok(())
    }

    /// Returns the known ones, oldest first: each by itself or, if these are more than `most`, by
    /// label and place. If the groups are too many as well, returns the first `most - 1`.
    fn groups(&self, most: usize) -> Vec<Group<'_>> {
        if self.known.len() <= most {
            let alone = self.known.iter();
            return alone.map(|oldest| Group { oldest, count: 1 }).collect();
        }
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut found = HashMap::new();
        for straggler in &self.known {
            let group = *found
                .entry((straggler.label.as_deref(), straggler.place, straggler.lost))
                .or_insert_with(|| {
                    groups.push(Group {
                        oldest: straggler,
                        count: 0,
                    });
                    groups.len() - 1
                });
            groups[group].count += 1;
        }
        if groups.len() > most {
            groups.truncate(most - 1);
        }
        groups
    }
}

/// Displays a number with a comma after each thousand.
struct Thousands(usize);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        if number < 1000 {
            return write!(f, "{number}");
        }
        write!(f, "{},{:03}", Self(number / 1000), number % 1000)
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::Location, time::Duration};

    use super::{MOST_LINES, Straggler, Stragglers};

    /// Guards that come and go while a report looks may be counted and not known.
    #[test]
    fn the_lines_of_what_is_not_known_are_among_the_20() {
        let known = (0..MOST_LINES + 5).map(|label| Straggler {
            label: Some(label.to_string().into()),
            place: Location::caller(),
            age: Duration::ZERO,
            lost: label % 2 == 0,
        });
        let known: Vec<_> = known.collect();
        let known_lost = known.iter().filter(|straggler| straggler.lost).count();
        let both = Stragglers {
            total: known.len() + 7,
            lost: known_lost + 3,
            known,
        };
        let text = both.to_string();
        assert_eq!(text.lines().count(), MOST_LINES, "{text}");
        let ends = "\nstill in flight: 4 untracked\nabandoned: 3 untracked";
        assert!(text.ends_with(ends), "{text}");
    }
}
