//! The table in Markdown.

use std::fmt;

use crate::{promises::PROMISES, subject::Subject};

/// The result of one promise with one server.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Kept,
    NotApplicable(String),
    /// Not kept, and the reason with its owner.
    Limit(&'static str),
    Broken(String),
}

pub(crate) struct Table<'a> {
    pub(crate) subjects: &'a [Subject],
    /// Promise by promise.
    pub(crate) cells: &'a [Cell],
}

impl Table<'_> {
    /// Returns the whole file.
    pub(crate) fn page(&self) -> String {
        format!(
            "# What each server keeps\n\n\
             Made by `ci/conformance.sh`, which starts each server anew for each line and looks at it from\n\
             outside. The promises are those of [promises.md](promises.md).\n\n{self}"
        )
    }

    /// Returns the promises that were not kept, and why.
    pub(crate) fn broken(&self) -> impl Iterator<Item = String> {
        let names = PROMISES.iter().flat_map(|promise| {
            let subjects = self.subjects.iter();
            subjects.map(move |subject| (subject.name.as_str(), promise))
        });
        names
            .zip(self.cells)
            .filter_map(|((name, promise), cell)| match cell {
                Cell::Broken(why) => {
                    Some(format!("{name}: {} {}: {why}", promise.id, promise.what))
                }
                _ => None,
            })
    }

    /// Returns the numbers of the notes, in the order in which they are first needed.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for note in self.cells.iter().filter_map(Cell::note) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        notes
    }
}

impl Cell {
    fn note(&self) -> Option<String> {
        match self {
            Self::Kept => None,
            Self::NotApplicable(why) => Some(format!("Not applicable: {why}.")),
            Self::Limit(whose) => Some(format!("Not possible: {whose}.")),
            Self::Broken(why) => Some(format!("Broken: {why}.")),
        }
    }

    fn mark(&self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::NotApplicable(_) => "n/a",
            Self::Limit(_) => "no",
            Self::Broken(_) => "**BROKEN**",
        }
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes = self.notes();
        let names = self.subjects.iter().map(|subject| subject.name.as_str());
        writeln!(
            f,
            "| promise | | {} |",
            names.collect::<Vec<_>>().join(" | ")
        )?;
        writeln!(f, "|---|---|{}", "---|".repeat(self.subjects.len()))?;
        for (promise, cells) in PROMISES.iter().zip(self.cells.chunks(self.subjects.len())) {
            write!(f, "| {} | {} |", promise.id, promise.what)?;
            for cell in cells {
                write!(f, " {}", cell.mark())?;
                let number = cell
                    .note()
                    .and_then(|note| notes.iter().position(|n| *n == note));
                if let Some(number) = number {
                    write!(f, " ({})", number + 1)?;
                }
                f.write_str(" |")?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for (number, note) in notes.iter().enumerate() {
            writeln!(f, "{}. {note}", number + 1)?;
        }
        Ok(())
    }
}
