//! Every server example against every promise that can be seen from outside, in one table.
//!
//! `cargo test --test conformance` checks this package's own; `ci/conformance.sh` adds those that
//! are built elsewhere, and writes the table to `docs/conformance.md`.

mod promises;
mod subject;
mod table;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use promises::PROMISES;
use table::{Cell, Table};

/// More at once would delay each other.
const AT_ONCE: usize = 3;

#[test]
fn every_server_keeps_every_promise_or_says_whose_limit_it_is() {
    let subjects = subject::all();
    let total = subjects.len() * PROMISES.len();
    let cells = Mutex::new(vec![Cell::Kept; total]);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    // Relaxed: it only hands out numbers.
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= total {
                        break;
                    }
                    let promise = &PROMISES[n / subjects.len()];
                    let cell = subjects[n % subjects.len()].judge(promise);
                    cells.lock().unwrap_or_else(PoisonError::into_inner)[n] = cell;
                }
            });
        }
    });

    let cells = cells.into_inner().unwrap_or_else(PoisonError::into_inner);
    let table = Table {
        subjects: &subjects,
        cells: &cells,
    };
    println!("{table}");
    if let Some(path) = std::env::var_os("CONFORMANCE_TABLE") {
        std::fs::write(&path, table.page()).expect("a path that can be written to");
    }
    let broken: Vec<_> = table.broken().collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
