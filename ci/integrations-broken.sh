#!/bin/sh
# Checks that the tests of async-drain-tide and of integrations/runtimes catch what they are for:
# takes out one defence at a time, in a copy of the tree, and expects the test named beside it to
# fail. With a name: only the variants whose names contain it. DRY=1 only checks that each original
# still occurs exactly once.
set -eu
cd "$(dirname "$0")/.."
. ci/verdict.sh
only="${1:-}"
target=$(pwd)/crates/async-drain-tide/target/broken
copy="$target/tree"
log="$target/log"
export CARGO_TARGET_DIR="$target" RUST_BACKTRACE=0
# Variants whose tests wait for ever rather than fail.
hangs="head-without-limit limit-while-idle reader-left-asleep clones-keep-the-connection"

rm -rf "${copy:?}"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"

# broken NAME TEST FILE FROM TO
broken() {
    name=$1 test=$2 file=$crate/src/$3
    case $name in *"$only"*) ;; *) return 0 ;; esac
    cp "$file" "$target/original"
    ci/replace.pl "$file" "$4" "$5" || exit 2
    if [ -n "${DRY:-}" ]; then
        cp "$target/original" "$file"
        return 0
    fi
    # The tests would build the examples themselves, in the time that they have.
    if ! (cd "$crate" && cargo test --quiet --no-run && cargo build --quiet --examples) >"$log" 2>&1; then
        cat "$log"
        echo "$0: $name does not compile" >&2
        exit 2
    fi
    status=0
    # shellcheck disable=SC2086 # several words
    (cd "$crate" && timeout 60 cargo test --quiet $tests -- --exact "$test") >"$log" 2>&1 || status=$?
    verdict "$name" "$test" $status
    # As it was, and newer than what was built from it.
    cp "$target/original" "$file"
}

crate=$copy/crates/async-drain-tide tests="--lib --test server"

# --- what is a request

broken empty-line-is-a-request idle::an_empty_line_is_not_a_request ahead/mod.rs \
    'dropped = blank(bytes);' 'dropped = 0;'
broken kept-empty-line-is-a-request idle::half_a_head_behind_a_request_may_be_finished ahead/mod.rs \
    'let blank = blank(&self.kept);' 'let blank = self.kept.len();'
broken chunks-unframed in_flight::a_request_behind_a_chunked_one_is_answered ahead/mod.rs \
    'length.map_or(Part::Chunks(Chunks::default()), Part::Body)' 'length.map_or(Part::All, Part::Body)'
broken trailers-in-pieces in_flight::trailers_may_arrive_in_pieces ahead/mod.rs \
    'None => return (dropped, 0),' 'None => self.part = Part::All,'
broken none-spared-in-lame-duck newcomers::peers_that_connect_in_lame_duck_are_told_when_draining_begins \
    driver.rs 'if self.drain.phase() == Phase::LameDuck {' 'if false {'
broken head-without-limit driver::a_head_that_is_never_completed_is_closed connection.rs \
    'Pin::new(head).poll(cx).map(|_| Next::TimedOut)' '{ let _ = head; Poll::Pending }'
broken limit-while-idle driver::a_head_that_is_never_completed_is_closed connection.rs \
    'if !io.is_in_head() {' 'if false {'
broken unknown-coding-read driver::a_body_in_an_unknown_coding_is_refused connection.rs \
    'if codings.is_some_and(|codings| codings.iter().count() > 1 || request.len().is_some()) {' \
    'if codings.is_none() && codings.is_some() {'
broken value-beyond-ascii-decoded heads::a_header_value_that_is_not_ascii_gets_a_400 ahead/head.rs \
    'self.beyond_ascii |= self.in_fields && !byte.is_ascii();' ''
broken path-beyond-ascii-refused heads::a_path_that_is_not_ascii_is_served ahead/head.rs \
    'self.in_fields && !byte' '!byte'
broken refused-head-unanswered heads::a_header_value_that_is_not_ascii_gets_a_400 connection.rs \
    'if io.is_head_refused() {' 'if false {'
broken trailers-beyond-ascii-decoded heads::trailers_that_are_not_ascii_are_discarded ahead/mod.rs \
    'Some(end) if !bytes[..end].is_ascii() => {' 'Some(end) if false => {'

broken upload-discarded in_flight::an_upload_that_was_answered_early_is_read_by_its_handler connection.rs \
    'poll_fn(|cx| io.poll_body(cx)).await' 'true'
broken upload-freed-by-the-last uploads::a_request_that_is_kept_does_not_cut_the_next_upload io.rs \
    'if self.number == state.requests {' 'if self.number <= state.requests {'
broken reader-left-asleep driver::a_task_that_reads_an_upload_is_woken_by_aborting io.rs \
    'wake(reader);' 'drop(reader);'

# --- answers

broken continue-in-an-answer in_flight::an_answer_is_not_mixed_with_a_continue io.rs \
    'Interim::Wanted => self.interim = Interim::TooLate,' 'Interim::Wanted => {}'
broken refused-body-awaited in_flight::a_body_that_was_refused_is_not_waited_for connection.rs \
    'if io.may_withhold_body() {
        return' 'if false {
        return'
broken close-replaces-upgrade driver::close_is_said_where_http_allows_it header.rs \
    'value.push_str(option);' 'let _ = option;'
broken close-in-a-tunnel driver::close_is_said_where_http_allows_it header.rs \
    '|| method == Method::Connect && status.is_success()' ''

# --- the report

broken dropped-is-done driver::a_connection_dropped_with_its_executor_is_abandoned io.rs \
    '.abandoned_if_dropped()' ''
broken clones-keep-the-connection driver::a_connection_whose_body_outlives_it_is_abandoned connection.rs \
    'if !self.0.is_handed_over() {' 'if false {'
broken gone-peer-abandoned driver::a_peer_that_disconnects_is_not_abandoned connection.rs \
    'guard.finished();' ''
broken upgraded-abandoned driver::an_upgraded_connection_that_ends_is_not_abandoned io.rs \
    'guard.finished();' ''
broken rejected-upload-awaited uploads::an_upload_that_was_rejected_does_not_hold_the_exit connection.rs \
    'Timer::after(STALL_LIMIT).await;' 'std::future::pending::<()>().await;'
broken upload-limited-while-running uploads::a_rejected_upload_has_no_limit_before_draining \
    connection.rs 'io.until_draining().await;' ''
broken rejected-upload-not-read uploads::a_rejected_upload_that_pauses_is_not_reset connection.rs \
    'if upgrade.is_none() &&' 'if !close && upgrade.is_none() &&'

broken loss-unreported in_flight::an_answer_that_its_peer_does_not_take_is_abandoned io.rs \
    'ConnectionGuard::new(guard).with_connection(&mut conn)' \
    '{ let _ = &mut conn; ConnectionGuard::new(guard) }'

# --- accept loops that end before the queue is empty

crate=$copy/integrations/runtimes tests="--test runtimes"
for program in on-tokio on-async-std on-smol-hyper on-compio; do
    broken "$program-leaves-its-queue" connections_queued_without_descriptors_are_served \
        "bin/$program.rs" 'while !retired.is_empty() {' 'while false && !retired.is_empty() {'
done

conclude
