//! Tables as the kernel prints them, tables that it does not, and answers of `sock_diag(7)`.
#![no_main]

use async_drain::net::connection_requests_property::{Line, check_dump, check_table, check_text};

#[derive(arbitrary::Arbitrary, Debug)]
enum Input<'a> {
    Table(Vec<Line>),
    Text(u16, &'a str),
    Dump(&'a [u8]),
}

libfuzzer_sys::fuzz_target!(|input: Input<'_>| match input {
    Input::Table(lines) => check_table(&lines),
    Input::Text(port, text) => check_text(text, port),
    Input::Dump(answer) => check_dump(answer),
});
