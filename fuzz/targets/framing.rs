//! Any bytes, cut into any reads, beside httparse: the bytes before the first NUL say how long the
//! reads are and when the answers come.
#![no_main]

use async_drain::hyper::framing_property::check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let turns = data.iter().position(|&byte| byte == 0).unwrap_or(0);
    let stream = data.get(turns + 1..).unwrap_or_default();
    check(stream, &data[..turns]);
});
